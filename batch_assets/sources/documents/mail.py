"""Mail (.eml, .mht): headers, the body in its better form, and the text of attachments.

The headers are read as raw bytes: mails break every rule there is, and the strict parser of the
standard library raises on some of them.
"""

import email
import email.errors
import email.header
import email.utils
from datetime import UTC, datetime
from email.message import Message
from email.policy import Compat32

from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.encoding import decode_text, marked_encoding
from batch_assets.sources.documents.limits import too_large
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parsed import Draft, SegmentKind
from batch_assets.sources.documents.web import html_draft

_SHOWN_HEADERS = ("Subject", "From", "To", "Cc", "Date")
# A plain form this much shorter than the HTML form says only "see the HTML form".
_MIN_PLAIN_RATIO = 0.5


class _RawHeaders(Compat32):
    """Headers as they came, bytes that are not ASCII as surrogates."""

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002 - a policy's shape
        return value


def parse_mail(data: bytes, context: ParseContext) -> Draft:
    """The mail as message 1, attached mails and readable attachments after it."""
    draft = Draft()
    marked = marked_encoding(data)
    if marked:
        # Saved as UTF-16 text: the headers about encodings speak of what it was before.
        data = data.decode(marked, "replace").encode("utf-8")
    message = email.message_from_bytes(data.lstrip(b"\r\n"), policy=_RawHeaders())
    _Mail(draft, context).read(message, depth=1)
    return draft


class _Mail:
    def __init__(self, draft: Draft, context: ParseContext) -> None:
        self._draft = draft
        self._context = context
        self._attachments = 0

    def read(self, message: "Message[str, str]", *, depth: int, label: str = "") -> None:
        if depth > self._context.limits.max_mail_depth:
            limit = self._context.limits.max_mail_depth
            raise too_large("mails inside each other", depth, "max_mail_depth", limit)
        headers = {name: header_text(message, name) for name in _SHOWN_HEADERS}
        if depth == 1:
            self._draft.title = headers["Subject"]
            self._draft.author = headers["From"]
            self._draft.created_at = _sent_at(headers["Date"])
        parts = _Parts()
        _collect(message, parts)
        shown = [f"{name}: {text}" for name, text in headers.items() if text]
        names = [_file_name(part) or part.get_content_type() for part in parts.attached]
        if names:
            shown.append(f"Attachments: {', '.join(names)}")
        text = "\n".join(shown) + "\n\n" + _body(parts)
        self._draft.add(SegmentKind.MESSAGE, label or headers["Subject"], text)
        for part in parts.attached:
            self._read_attached(part, depth)

    def _read_attached(self, part: "Message[str, str]", depth: int) -> None:
        self._attachments += 1
        limit = self._context.limits.max_attachments
        if self._attachments > limit:
            raise too_large("attachments", self._attachments, "max_attachments", limit)
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload()
            if isinstance(inner, list) and inner and isinstance(inner[0], Message):
                self.read(inner[0], depth=depth + 1, label=_file_name(part))
            return
        name = _file_name(part) or "attachment"
        try:
            parsed = self._context.parse_nested(_payload(part), name)
        except DocumentRefused as refusal:
            # A logo or signature is no loss; a password, damage or size is.
            if refusal.outcome not in (DocumentOutcome.UNSUPPORTED, DocumentOutcome.EMPTY_TEXT):
                self._draft.notes.append(f"attachment {name} not read: {refusal}")
            return
        self._draft.add(SegmentKind.MESSAGE, name, parsed.text)
        self._draft.notes.extend(f"attachment {name}: {note}" for note in parsed.notes)


class _Parts:
    def __init__(self) -> None:
        self.plain: list[str] = []
        self.html: list[str] = []
        self.attached: list[Message[str, str]] = []


def _collect(message: "Message[str, str]", parts: _Parts) -> None:
    """Sort the leaves into body texts and attachments; an attached mail stays whole."""
    waiting: list[Message[str, str]] = [message]
    while waiting:
        part = waiting.pop(0)
        payload = part.get_payload()
        kind = part.get_content_type()
        is_attached = part is not message and _is_attached(part)
        if kind == "message/rfc822" and part is not message:
            parts.attached.append(part)
        elif isinstance(payload, list):
            waiting[:0] = [child for child in payload if isinstance(child, Message)]
        elif is_attached or (part is not message and part.get_content_maintype() != "text"):
            parts.attached.append(part)
        elif kind == "text/html":
            parts.html.append(_part_text(part))
        elif part.get_content_maintype() in ("text", "multipart", "message"):
            parts.plain.append(_part_text(part))
        else:
            parts.attached.append(part)


def _is_attached(part: "Message[str, str]") -> bool:
    disposition = str(part.get("Content-Disposition", "")).strip().lower()
    return disposition.startswith("attachment") or (
        bool(_file_name(part)) and part.get_content_type() not in ("text/plain", "text/html")
    )


def _body(parts: _Parts) -> str:
    plain = "\n\n".join(text.strip() for text in parts.plain if text.strip())
    if not parts.html:
        return plain
    sections = [html_draft(markup).segments for markup in parts.html]
    html = "\n\n".join(segment.text for found in sections for segment in found)
    return plain if len(plain) > _MIN_PLAIN_RATIO * len(html) else html


def _part_text(part: "Message[str, str]") -> str:
    declared = part.get_param("charset", "")
    if isinstance(declared, tuple):
        declared = declared[2]
    return decode_text(_payload(part), str(declared)).text


def _payload(part: "Message[str, str]") -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _file_name(part: "Message[str, str]") -> str:
    try:
        return _decoded_words(part.get_filename() or "")
    except (ValueError, LookupError, TypeError):
        # RFC 2231 parameters with an encoding that does not exist.
        return ""


def header_text(message: "Message[str, str]", name: str) -> str:
    """A header as text, on one line; the last word on raw bytes has the guess of encoding.py."""
    value = message.get(name)
    return "" if value is None else " ".join(_decoded_words(str(value)).split())


def _decoded_words(value: str) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    if not raw.isascii():
        return decode_text(raw).text
    pieces: list[str] = []
    try:
        words = email.header.decode_header(value)
    except email.errors.HeaderParseError:
        return value
    for word, charset in words:
        if isinstance(word, bytes):
            pieces.append(decode_text(word, charset or "").text)
        else:
            pieces.append(word)
    return "".join(pieces)


def _sent_at(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
