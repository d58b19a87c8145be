"""Ways to tell people: the log, webhooks, e-mail. Secrets come from the environment alone.

No error here names a URL, an account or a key: receivers keep their password in the address.
"""

import base64
import hashlib
import hmac
import json
import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from pydantic import SecretStr

from batch_assets.errors import BatchAssetsError, ConfigurationError, DestinationUnavailable
from batch_assets.monitoring.settings import Channel, EmailChannel, LogChannel, WebhookChannel
from batch_assets.sources.secret_addresses import hide_paths

logger = logging.getLogger(__name__)
Payload = Mapping[str, object]
Secrets = Callable[[str], SecretStr | None]


def send_message(channel: Channel, payload: Payload, message_id: int, secret: Secrets) -> None:
    """Tell a channel one message; returns when the receiver has taken it.

    Args:
        channel: Where.
        payload: Of messages.build_message.
        message_id: Tells copies of one message.
        secret: Gives what an environment variable holds.

    Raises:
        DestinationUnavailable: It was not taken; trying again may help.
        ConfigurationError: A variable is not set.
    """
    if isinstance(channel, LogChannel):
        level = logging.WARNING if payload["kind"] != "resolved" else logging.INFO
        logger.log(level, "alert: %s\n%s", payload["title"], payload["text"])
    elif isinstance(channel, WebhookChannel):
        _post(channel, payload, message_id, secret)
    else:
        _mail(channel, payload, message_id, secret)


def _needed(name: str, secret: Secrets) -> str:
    found = secret(name)
    if found is None:
        raise ConfigurationError(
            f"the environment variable {name} is not set, which a channel of [alerts] names; "
            "set it where alerts are evaluated"
        )
    return found.get_secret_value()


def _post(channel: WebhookChannel, payload: Payload, message_id: int, secret: Secrets) -> None:
    import httpx

    url = httpx.URL(_needed(channel.url_env, secret))
    if channel.secret_env:
        url = url.copy_merge_params(_signature(_needed(channel.secret_env, secret)))
    hide_paths()
    key = {"Idempotency-Key": f"batch-assets-alert-{message_id}"}
    try:
        answer = httpx.post(
            url,
            json=_body(channel, payload, message_id),
            headers=key,
            timeout=channel.timeout_seconds,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The chain would carry the address into logs.
        raise _refused(type(error).__name__) from None
    if not answer.is_success:
        raise _refused(f"status {answer.status_code}")
    if channel.shape in ("wecom", "dingtalk"):
        _check_robot(answer.text)


def _check_robot(text: str) -> None:
    """Robots answer 200 to everything, and say in the body whether they took it."""
    try:
        code = json.loads(text).get("errcode", 0)
    except (ValueError, AttributeError):
        raise _refused("an answer that is no JSON object") from None
    if code != 0:
        raise _refused(f"errcode {code}")


def _body(channel: WebhookChannel, payload: Payload, message_id: int) -> Mapping[str, object]:
    text = f"{payload['title']}\n{payload['text']}"
    if channel.shape == "slack":
        return {"text": text}
    if channel.shape in ("wecom", "dingtalk"):
        return {"msgtype": "text", "text": {"content": text}}
    return {"message_id": message_id, **payload}


def _signature(key: str) -> dict[str, str]:
    # As DingTalk's robots want it: base64(HMAC-SHA256(key, "<milliseconds>\n<key>")).
    stamp = str(round(time.time() * 1000))
    digest = hmac.new(key.encode(), f"{stamp}\n{key}".encode(), hashlib.sha256).digest()
    return {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}


def _mail(channel: EmailChannel, payload: Payload, message_id: int, secret: Secrets) -> None:
    mail = EmailMessage()
    mail["Subject"] = str(payload["title"])
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.recipients)
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(f"batch-assets-alert-{message_id}")
    mail.set_content(str(payload["text"]))
    try:
        with _mail_server(channel) as server:
            if channel.username:
                server.login(channel.username, _needed(channel.password_env, secret))
            refused = server.send_message(mail)
    except BatchAssetsError:
        raise
    except smtplib.SMTPResponseException as error:
        # The server's words may repeat the account.
        raise _refused(f"status {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise _refused(type(error).__name__) from None
    if refused:
        logger.warning("%d recipients of an alert were refused by the mail server", len(refused))


def _mail_server(channel: EmailChannel) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if channel.security == "tls":
        return smtplib.SMTP_SSL(
            channel.host, channel.port, timeout=channel.timeout_seconds, context=context
        )
    server = smtplib.SMTP(channel.host, channel.port, timeout=channel.timeout_seconds)
    if channel.security == "starttls":
        try:
            server.starttls(context=context)
        except (OSError, smtplib.SMTPException):
            server.close()
            raise
    return server


def _refused(seen: str) -> DestinationUnavailable:
    return DestinationUnavailable(
        f"the receiver of alerts did not take a message ({seen}); it waits in ops.alert_messages "
        "and is sent again; see whether the receiver runs and its address is right"
    )
