import base64
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parse import parse_bytes
from batch_assets.sources.documents.parsed import ParsedDocument
from batch_assets_tests.sources.documents.sample_files import compound_file, docx, pdf


def parse(data: bytes, limits: ParseLimits | None = None) -> ParsedDocument:
    return parse_bytes(data, "a.eml", limits or ParseLimits())


def mail(body: str = "Body text") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ann <ann@example.org>"
    message["To"] = "bob@example.org"
    message["Subject"] = "关于年度报告"
    message["Date"] = "Mon, 30 Sep 2024 18:00:00 +0800"
    message.set_content(body)
    return message


def test_headers_and_body_are_one_message() -> None:
    parsed = parse(mail().as_bytes())

    assert parsed.text == (
        "Subject: 关于年度报告\nFrom: Ann <ann@example.org>\nTo: bob@example.org\n"
        "Date: Mon, 30 Sep 2024 18:00:00 +0800\n\nBody text"
    )
    assert (parsed.title, parsed.author) == ("关于年度报告", "Ann <ann@example.org>")
    assert parsed.created_at == datetime(2024, 9, 30, 10, tzinfo=UTC)


def test_attachments_are_named_and_read_where_they_can_be() -> None:
    message = mail()
    message.add_attachment(
        docx("Inside the document"), maintype="application", subtype="octet-stream",
        filename="报告.docx",
    )  # fmt: skip
    message.add_attachment(pdf("Page"), maintype="application", subtype="pdf", filename="p.pdf")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="logo.png")
    message.add_attachment(
        compound_file({"EncryptedPackage": b""}), maintype="application", subtype="x",
        filename="locked.xlsx",
    )  # fmt: skip

    parsed = parse(message.as_bytes())

    assert "Attachments: 报告.docx, p.pdf, logo.png, locked.xlsx" in parsed.segments[0].text
    assert [(s.number, s.label, s.text) for s in parsed.segments[1:]] == [
        (2, "报告.docx", "Inside the document"),
        (3, "p.pdf", "Page"),
    ]
    assert len(parsed.notes) == 1
    assert parsed.notes[0].startswith("attachment locked.xlsx not read: encrypted")


def test_the_plain_form_is_taken_unless_it_says_nothing() -> None:
    full, empty = mail("The same words here"), mail("See HTML")
    full.add_alternative("<p>The same <b>words</b> here</p>", subtype="html")
    empty.add_alternative("<p>" + "The real words. " * 10 + "</p>", subtype="html")

    assert parse(full.as_bytes()).text.count("words") == 1
    assert "real words" in parse(empty.as_bytes()).text


def test_an_attached_mail_is_a_message_of_its_own() -> None:
    outer = mail("Outer")
    outer.add_attachment(mail("Inner"))

    parsed = parse(outer.as_bytes())

    assert len(parsed.segments) == 2
    assert "Inner" in parsed.segments[1].text
    assert "Inner" not in parsed.segments[0].text


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("shift_jis", "cp932"), ("iso-2022-jp", "iso2022_jp"), ("utf-16", "utf-16"), ("", "cp932"),
     ("x-nothing", "euc_jp"), ("gb2312", "gb18030")],
)  # fmt: skip
def test_bodies_are_decoded_whatever_they_declare(charset: str, encoding: str) -> None:
    body = "これはテストです。日本語の文章を読みます。"
    if encoding == "gb18030":
        body = "本公司发布年度报告，净利润同比增长。"
    declared = f"; charset={charset}" if charset else ""
    data = (
        f"Subject: s\r\nFrom: a@b\r\nContent-Type: text/plain{declared}\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + base64.encodebytes(body.encode(encoding))

    assert body in parse(data).text


def test_a_mail_saved_as_utf16_is_read() -> None:
    data = "Subject: 关于\r\nFrom: a@b\r\n\r\n正文在此。\r\n".encode("utf-16")

    assert parse(data).text == "Subject: 关于\nFrom: a@b\n\n正文在此。"


def test_raw_bytes_in_headers_are_decoded() -> None:
    data = b"Subject: " + "关于年度报告的通知".encode("gb18030") + b"\r\nFrom: a@b\r\n\r\nx\r\n"

    assert parse(data).title == "关于年度报告的通知"


@pytest.mark.parametrize(
    "header",
    [
        b"Date: not a date", b"Date: Mon, 99 Sep 2024 99:99:99 +9999", b"To: <<<>>@@",
        b"Subject: =?utf-8?b?broken", b"Subject: =?nothing?q?x?=", b"From: " + b"(" * 5000,
        b"Content-Type: text/plain; charset*=x''%ff", b"Content-Type: multipart/mixed",
    ],
)  # fmt: skip
def test_broken_headers_do_not_cost_the_body(header: bytes) -> None:
    data = b"Message-ID: <1@x>\r\nReceived: x\r\n" + header + b"\r\n\r\nThe body\r\n"

    assert "The body" in parse(data).text


def test_mails_inside_mails_end_at_the_limit() -> None:
    message = mail("innermost")
    for _ in range(4):
        outer = mail("outer")
        outer.add_attachment(message)
        message = outer

    with pytest.raises(DocumentRefused, match="max_mail_depth is 3") as refused:
        parse(message.as_bytes(), ParseLimits(max_mail_depth=3))

    assert refused.value.outcome is DocumentOutcome.TOO_LARGE


def test_too_many_attachments_are_refused() -> None:
    message = mail()
    for number in range(4):
        message.add_attachment(f"text {number}", filename=f"{number}.txt")

    with pytest.raises(DocumentRefused, match="4 attachments, the limit max_attachments is 3"):
        parse(message.as_bytes(), ParseLimits(max_attachments=3))
