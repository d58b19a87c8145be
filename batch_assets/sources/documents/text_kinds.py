"""Signs by which kinds of text are told apart: HTML, mail, tables, Markdown.

Each takes the decoded beginning of a file. What follows from them is decided in formats.py.
"""

import re
from collections import Counter

_HTML = re.compile(
    # Atomic: a comment once matched is not tried in other lengths.
    r"\s*(?>(?><\?xml[^>]*>\s*|<!--.*?-->\s*)*)"
    r"<(?:!doctype\s+html|html|head|body|title|meta|table|div|p|h[1-6]|span|ul|ol|article|section"
    r"|main|center|font|style)(?=[\s/>])[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_HEADER = re.compile(r"([!-9;-~]+)[ \t]*:(?:[ \t]|$)?")
_MAIL_HEADER_NAMES = (
    "from to cc bcc subject date received message-id mime-version content-type return-path "
    "delivered-to reply-to sender in-reply-to references content-transfer-encoding"
)
_MAIL_HEADERS = frozenset(_MAIL_HEADER_NAMES.split())
_MAILBOX_LINE = re.compile(r"^From \S[^\n]{1,200}\n[!-9;-~]+:", re.MULTILINE)
_DELIMITERS = ",\t;|"
_TABLE_LINES = 50
# Fewer lines prove nothing: two lines of prose often have one comma each.
_MIN_TABLE_LINES = 3
_MARKDOWN_SIGNS = (
    re.compile(r"^#{1,6} \S", re.MULTILINE),
    re.compile(r"^```", re.MULTILINE),
    re.compile(r"\[[^\[\]\n]+\]\([^()\n]+\)"),
    re.compile(r"^\|.*\|\s*\n\|[ :|-]+\|", re.MULTILINE),
    re.compile(r"\*\*[^*\n]+\*\*"),
    re.compile(r"^[-*+] \S.*\n[-*+] \S", re.MULTILINE),
)


def looks_like_html(head: str) -> bool:
    """Begins with markup of a page or of a piece of one."""
    return _HTML.match(head.lstrip("\ufeff")) is not None


def looks_like_mail(head: str, *, headers_needed: int) -> bool:
    """Begins with a block of headers of which enough are a mail's."""
    names: set[str] = set()
    lines = head.lstrip("\ufeff\r\n").splitlines()
    if lines and lines[0].startswith(("From ", ">From ")):
        del lines[0]
    for line in lines:
        if not line.strip():
            break
        if line[0] in " \t":
            continue
        match = _HEADER.match(line)
        if match is None:
            return False
        names.add(match[1].lower())
    return len(names & _MAIL_HEADERS) >= headers_needed


def looks_like_mailbox(head: str) -> bool:
    """Holds several mails, each after a `From ` line."""
    return head.startswith("From ") and len(_MAILBOX_LINE.findall(head)) > 1


def looks_like_table(head: str) -> bool:
    """Most lines have the same number of one delimiter, and at least one of it."""
    lines = [line for line in head.splitlines()[:_TABLE_LINES] if line.strip()]
    if len(lines) < _MIN_TABLE_LINES:
        return False
    for delimiter in _DELIMITERS:
        counts = Counter(line.count(delimiter) for line in lines)
        usual, lines_with_usual = counts.most_common(1)[0]
        if usual >= 1 and lines_with_usual >= 0.8 * len(lines):
            return True
    return False


def looks_like_markdown(head: str) -> bool:
    """Two different signs of Markdown."""
    return sum(sign.search(head) is not None for sign in _MARKDOWN_SIGNS) >= 2
