"""Channels against receivers on loopback: shapes, order, retries, secrets."""

import base64
import email
import email.policy
import hashlib
import hmac
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from psycopg.types.json import Jsonb

from batch_assets.monitoring import delivery
from batch_assets.monitoring.delivery import Delivery, deliver_messages
from batch_assets.monitoring.settings import read_alert_settings
from batch_assets_tests.fakes.alert_receivers import mail_server, webhook
from batch_assets_tests.monitoring.conftest import System

WEBHOOK = """
[alerts.channels.{name}]
kind = "webhook"
shape = "{shape}"
url_env = "HOOK_URL"
secret_env = "{secret}"
"""
MAIL = """
[alerts.channels.mail]
kind = "email"
host = "127.0.0.1"
port = {port}
security = "none"
sender = "alerts@example.com"
recipients = ["a@example.com", "b@example.com"]
"""
PAYLOAD = {"title": "严重 告警: lag", "text": "数据处理延迟过大。", "kind": "fired"}


class Post:
    """Messages of one alert, and their delivery."""

    def __init__(self, system: System, text: str, url: str = "") -> None:
        self.system = system
        self.settings = system.settings(text, HOOK_URL=f"{url}/secret-path", HOOK_KEY="secret-key")
        self.alerts = read_alert_settings(self.settings)
        [(self.alert_id,)] = system.execute(
            "INSERT INTO ops.alerts (rule, subject, metric, severity, state, value, allowed,"
            " broken_since, fired_at) VALUES ('lag', '', 'm', 'critical', 'firing', 1, 0, now(),"
            " now()) RETURNING alert_id"
        )

    def put(self, channel: str, kind: str = "fired") -> None:
        self.system.execute(
            "INSERT INTO ops.alert_messages (alert_id, channel, kind, payload)"
            " VALUES (%s, %s, %s, %s)",
            self.alert_id, channel, kind, Jsonb({**PAYLOAD, "kind": kind}),
        )  # fmt: skip

    def deliver(self) -> Delivery:
        return deliver_messages(self.system.connect, self.alerts, self.settings.secret)

    def make_due(self) -> None:
        self.system.execute("UPDATE ops.alert_messages SET next_attempt_at = now()")


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("slack", {"text": "严重 告警: lag\n数据处理延迟过大。"}),
        (
            "wecom",
            {"msgtype": "text", "text": {"content": "严重 告警: lag\n数据处理延迟过大。"}},
        ),
        ("json", {"message_id": 1, **PAYLOAD}),
    ],
)
def test_webhook_gets_the_shape_its_receiver_reads(
    system: System, shape: str, body: object
) -> None:
    with webhook() as receiver:
        post = Post(system, WEBHOOK.format(name="hook", shape=shape, secret=""), receiver.url)
        post.put("hook")

        assert post.deliver() == Delivery(sent=1)
        assert post.deliver() == Delivery()

    [(path, headers, got)] = receiver.received
    assert (path, got) == ("/secret-path", body)
    assert headers["Idempotency-Key"] == "batch-assets-alert-1"


def test_dingtalk_requests_are_signed_and_a_refusal_under_status_200_is_one(
    system: System,
) -> None:
    with webhook() as receiver:
        receiver.answers = [(200, '{"errcode": 310000, "errmsg": "sign not match"}')]
        text = WEBHOOK.format(name="hook", shape="dingtalk", secret="HOOK_KEY")
        post = Post(system, text, receiver.url)
        post.put("hook")

        assert post.deliver() == Delivery(failed=1)
        post.make_due()
        assert post.deliver() == Delivery(sent=1)

    query = parse_qs(urlsplit(receiver.received[0][0]).query)
    signed = f"{query['timestamp'][0]}\nsecret-key".encode()
    expected = base64.b64encode(hmac.new(b"secret-key", signed, hashlib.sha256).digest())
    assert query["sign"] == [expected.decode()]


def test_a_refused_message_waits_and_holds_back_the_later_ones_of_its_alert(
    system: System,
) -> None:
    with webhook() as receiver:
        receiver.answers = [(503, "")]
        post = Post(system, WEBHOOK.format(name="hook", shape="json", secret=""), receiver.url)
        post.put("hook", "fired")
        post.put("hook", "resolved")

        assert post.deliver() == Delivery(failed=1)
        assert post.deliver() == Delivery()
        post.make_due()
        assert post.deliver() == Delivery(sent=2)

    assert [body["kind"] for _, _, body in receiver.received] == ["fired", "fired", "resolved"]


def test_many_senders_send_each_message_once(system: System) -> None:
    with webhook() as receiver:
        post = Post(system, WEBHOOK.format(name="hook", shape="json", secret=""), receiver.url)
        for kind in ("fired", "raised", "resolved"):
            post.put("hook", kind)
        barrier = threading.Barrier(4)

        def send(_: int) -> int:
            barrier.wait()
            return post.deliver().sent

        with ThreadPoolExecutor(4) as executor:
            list(executor.map(send, range(4)))
        post.deliver()

    assert [body["kind"] for _, _, body in receiver.received] == ["fired", "raised", "resolved"]


def test_who_dies_after_sending_leaves_a_copy_of_the_same_number(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as receiver:
        post = Post(system, WEBHOOK.format(name="hook", shape="json", secret=""), receiver.url)
        post.put("hook")
        really_send = delivery.send_message

        def send_and_die(*arguments: object) -> None:
            really_send(*arguments)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(delivery, "send_message", send_and_die)
            with pytest.raises(KeyboardInterrupt):
                post.deliver()
        assert post.deliver() == Delivery()
        post.make_due()
        assert post.deliver() == Delivery(sent=1)

    assert [body["message_id"] for _, _, body in receiver.received] == [1, 1]


def test_a_channel_that_refuses_for_too_long_is_given_up_loudly(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    with webhook() as receiver:
        receiver.answers = [(500, "")]
        text = "[alerts]\nattempts_seconds = 60\n" + WEBHOOK.format(
            name="hook", shape="json", secret=""
        )
        post = Post(system, text, receiver.url)
        post.put("hook")
        system.execute("UPDATE ops.alert_messages SET created_at = now() - interval '61 s'")

        assert post.deliver() == Delivery(failed=1)
        post.make_due()
        assert post.deliver() == Delivery()

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "is given up" in caplog.text


def test_mail_says_it_in_any_language_and_is_tried_again(system: System) -> None:
    with mail_server() as server:
        server.refuses = 1
        post = Post(system, MAIL.format(port=server.port))
        post.put("mail")

        assert post.deliver() == Delivery(failed=1)
        post.make_due()
        assert post.deliver() == Delivery(sent=1)

    mail = email.message_from_bytes(server.mails[0], policy=email.policy.default)
    assert mail["Subject"] == PAYLOAD["title"]
    assert mail["To"] == "a@example.com, b@example.com"
    assert mail.get_content().strip() == PAYLOAD["text"]


def test_no_secret_is_logged_or_stored(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with webhook() as receiver, mail_server() as server:
        receiver.answers = [(403, "secret-answer")]
        server.refuses = 1
        text = WEBHOOK.format(name="hook", shape="dingtalk", secret="HOOK_KEY")
        post = Post(system, text + MAIL.format(port=server.port), receiver.url)
        post.put("hook")
        post.put("mail")
        assert post.deliver() == Delivery(failed=2)
    post.make_due()
    assert post.deliver() == Delivery(failed=2)

    stored = system.execute("SELECT last_error FROM ops.alert_messages")
    assert "was not sent" in caplog.text
    assert "secret" not in caplog.text
    assert "secret" not in str(stored)


def test_a_variable_that_is_not_set_is_named(system: System) -> None:
    post = Post(system, WEBHOOK.format(name="hook", shape="json", secret="NOT_SET"))
    post.put("hook")

    assert post.deliver() == Delivery(failed=1)

    [(error,)] = system.execute("SELECT last_error FROM ops.alert_messages")
    assert "NOT_SET is not set" in str(error)
