"""PDF to text, page by page, with PDFium.

PDFium is not thread-safe: one document at a time in one process. What is special to text laid out
on pages (hyphens at line ends, ligatures, radicals in place of Han characters) is decided here.
"""

import ctypes
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property

import pypdfium2
from pypdfium2 import raw

from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.limits import ParseLimits, too_large
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parsed import Draft, Segment, SegmentKind

# A number larger than a PDF integer may be (ISO 32000-1, annex C): the page tree is nonsense.
_ABSURD_COUNT = re.compile(rb"/Count\s+(\d{10,})")
_MAX_PDF_INTEGER = 2**31 - 1
# PDFium writes U+FFFE for a hyphen at the end of a line and joins the lines. No word is longer
# than the bounds, which keep the search linear. The part before it is looked for backwards: a
# pattern that begins with it is tried at every character of the text.
_LINE_HYPHEN = re.compile("\ufffe[ \r\n]{0,4}(\\w{0,40})")
_WORD_BEFORE = re.compile(r"\w{0,40}\Z")
_WORD_BEFORE_CHARACTERS = 40
_WORD = re.compile(r"\w+(?:-\w+)*")
_SEARCHES = 200
# Drawn as text, but no keyboard and no query has them: ligatures, and the radicals that some
# producers map in place of the Han characters they look like.
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st"}
_RADICALS = str.maketrans(
    "⺟⻄⻅⻆⻉⻋⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻩⻬⻮⻰",
    "母西见角贝车长门青韦页风飞食马骨鬼鱼鸟黄齐齿龙",
)
_KANGXI = re.compile("[\u2f00-\u2fd5]")
_REPLACED_LETTERS = re.compile("[\u2e80-\u2fd5\ufb00-\ufb05]")
_QUIET_ANNOTATIONS = (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP)
_DATE = re.compile(r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?)?")


def parse_pdf(data: bytes, context: ParseContext) -> Draft:
    """Text of each page, form fields and comments included; the number is the page's."""
    _refuse_absurd_count(data)
    draft, lost_pages = _read(data, context.limits)
    if lost_pages:
        repaired = _repaired(data, context.limits)
        if repaired is not None and len(repaired[1]) < len(lost_pages):
            draft, lost_pages = repaired
    if lost_pages and len(lost_pages) == len(draft.segments):
        raise _corrupt(f"none of its {len(draft.segments)} pages can be loaded")
    if lost_pages:
        draft.notes.append(
            f"{len(lost_pages)} of {len(draft.segments)} pages are damaged and were not read: "
            f"{', '.join(map(str, lost_pages[:20]))}"
        )
    draft.segments = _rejoined(draft.segments)
    return draft


def _refuse_absurd_count(data: bytes) -> None:
    for match in _ABSURD_COUNT.finditer(data):
        if int(match[1][:20]) > _MAX_PDF_INTEGER:
            raise _corrupt(f"its page tree declares {match[1][:20].decode()} pages")


def _corrupt(what: str) -> DocumentRefused:
    return DocumentRefused(
        DocumentOutcome.CORRUPT, f"damaged PDF: {what}; print it to a new PDF and drop that"
    )


def _repaired(data: bytes, limits: ParseLimits) -> tuple[Draft, list[int]] | None:
    # Without a pointer to its table of objects PDFium searches the file for the objects.
    position = data.rfind(b"startxref")
    if position < 0:
        return None
    without_pointer = data[:position] + b"startxxxx" + data[position + 9 :]
    try:
        return _read(without_pointer, limits, may_repair=False)
    except DocumentRefused:
        return None


def _read(data: bytes, limits: ParseLimits, *, may_repair: bool = True) -> tuple[Draft, list[int]]:
    """The pages as drawn, and the numbers of those that could not be loaded."""
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise DocumentRefused(
                DocumentOutcome.ENCRYPTED,
                "this PDF asks for a password; save a copy without one and drop that",
            ) from error
        repaired = _repaired(data, limits) if may_repair else None
        if repaired is None:
            raise _corrupt("it has no readable structure") from error
        return repaired
    try:
        return _read_pages(pdf, limits)
    finally:
        pdf.close()


def _read_pages(pdf: pypdfium2.PdfDocument, limits: ParseLimits) -> tuple[Draft, list[int]]:
    page_count = len(pdf)
    if page_count == 0:
        raise _corrupt("it has no pages")
    if page_count > limits.max_pages:
        raise too_large("pages", page_count, "max_pages", limits.max_pages)
    # Draws the fields of a form that bring no drawing of their own.
    pdf.init_forms()
    draft = _with_properties(pdf)
    lost: list[int] = []
    pictures: list[int] = []
    for index in range(page_count):
        text = ""
        try:
            text, is_picture = _read_page(pdf, index)
            if is_picture:
                pictures.append(index + 1)
        except pypdfium2.PdfiumError:
            lost.append(index + 1)
        draft.segments.append(Segment(SegmentKind.PAGE, index + 1, _page_label(pdf, index), text))
    _describe_pictures(draft, pictures)
    return draft, lost


def _read_page(pdf: pypdfium2.PdfDocument, index: int) -> tuple[str, bool]:
    """Text of a page, and whether it is an image without text."""
    with _page(pdf, index) as page:
        is_changed, remarks = _flatten(page)
        if not is_changed:
            return _page_text(page, remarks)
    with _page(pdf, index) as page:
        return _page_text(page, remarks)


@contextmanager
def _page(pdf: pypdfium2.PdfDocument, index: int) -> Iterator[pypdfium2.PdfPage]:
    page = pdf[index]
    try:
        yield page
    finally:
        page.close()


def _page_text(page: pypdfium2.PdfPage, remarks: list[str]) -> tuple[str, bool]:
    textpage = page.get_textpage()
    try:
        text = str(textpage.get_text_range())
    finally:
        textpage.close()
    if remarks:
        # A remark whose drawing is on the page is part of its text already.
        drawn = "".join(text.split())
        text = "\n".join([text, *(r for r in remarks if "".join(r.split()) not in drawn)])
    return text, not text.strip() and _has_image(page)


def _has_image(page: pypdfium2.PdfPage) -> bool:
    objects = page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE,), max_depth=3)
    return next(iter(objects), None) is not None


def _flatten(page: pypdfium2.PdfPage) -> tuple[bool, list[str]]:
    """Draw form fields and remarks onto the page, which shows when it is loaded again.

    Returns:
        Whether the page was changed, and the text of the remarks.
    """
    kinds: set[int] = set()
    remarks: list[str] = []
    for index in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, index)
        if not annotation:
            continue
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        kinds.add(kind)
        if kind not in (raw.FPDF_ANNOT_WIDGET, *_QUIET_ANNOTATIONS):
            remarks.append(_wide_text(raw.FPDFAnnot_GetStringValue, annotation, b"Contents"))
        raw.FPDFPage_CloseAnnot(annotation)
    if not kinds.difference(_QUIET_ANNOTATIONS):
        return False, []
    is_changed = raw.FPDFPage_Flatten(page.raw, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS
    return is_changed, [remark for remark in remarks if remark.strip()]


def _wide_text(ask: Callable[..., int], handle: object, key: bytes) -> str:
    """A string that PDFium gives in two calls, length first, as UTF-16."""
    size_bytes = ask(handle, key, None, 0)
    buffer = ctypes.create_string_buffer(max(size_bytes, 2))
    ask(handle, key, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size_bytes)
    return buffer.raw[: max(size_bytes - 2, 0)].decode("utf-16-le", "replace")


def _page_label(pdf: pypdfium2.PdfDocument, index: int) -> str:
    label = str(pdf.get_page_label(index))
    return "" if label == str(index + 1) else label


def _describe_pictures(draft: Draft, pictures: list[int]) -> None:
    if not pictures:
        return
    seen = f"{len(pictures)} of {len(draft.segments)} pages have images and no text"
    draft.empty_reason = f"scanned: {seen}; run OCR (for example ocrmypdf) and drop the file again"
    draft.notes.append(f"{seen}; run OCR (for example ocrmypdf) if they matter")


def _with_properties(pdf: pypdfium2.PdfDocument) -> Draft:
    properties = pdf.get_metadata_dict()
    return Draft(
        title=properties.get("Title", ""),
        author=properties.get("Author", ""),
        created_at=_moment(properties.get("CreationDate", "")),
        modified_at=_moment(properties.get("ModDate", "")),
    )


def _moment(text: str) -> datetime | None:
    """A PDF date (ISO 32000-1, 7.9.4) as UTC; a time without a zone is taken for UTC."""
    match = _DATE.match(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    offset = timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0))
    try:
        zone = timezone(-offset if match[7] == "-" else offset)
        moment = datetime(year, month or 1, day or 1, hour, minute, second, tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _rejoined(segments: list[Segment]) -> list[Segment]:
    """Words whole again: hyphens of line ends resolved, ligatures and radicals replaced."""
    compounds = _Compounds(segments)
    return [
        Segment(s.kind, s.number, s.label, _plain_letters(_joined(s.text, compounds)))
        for s in segments
    ]


class _Compounds:
    """Whether a document writes two parts with a hyphen between; looks at words when asked."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._searches_left = _SEARCHES

    @cached_property
    def _text(self) -> str:
        return "\n".join(segment.text for segment in self._segments).lower()

    @cached_property
    def _with_hyphen(self) -> set[str]:
        pieces = {piece for piece in self._text.split() if "-" in piece}
        return set(_WORD.findall("\n".join(pieces)))

    @cached_property
    def _words(self) -> set[str]:
        return set(_WORD.findall(self._text))

    def has(self, left: str, right: str) -> bool:
        """Whether the text has the word `left-right`, and not the word `leftright`."""
        if f"{left}-{right}".lower() not in self._with_hyphen:
            return False
        whole = f"{left}{right}".lower()
        # A few searches cost less than the set of all words, and mostly find nothing.
        self._searches_left -= 1
        if self._searches_left > 0 and whole not in self._text:
            return True
        return whole not in self._words


def _joined(text: str, compounds: _Compounds) -> str:
    if "\ufffe" not in text:
        return text
    parts: list[str] = []
    done = 0
    for match in _LINE_HYPHEN.finditer(text):
        first = max(done, match.start() - _WORD_BEFORE_CHARACTERS)
        before = _WORD_BEFORE.search(text, first, match.start())
        left, right = before[0] if before else "", match[1]
        # The document itself tells a divided word from a compound: `man-cub` or `mancub`?
        parts += (
            text[done : match.start()],
            "-" if not right or compounds.has(left, right) else "",
            right,
        )
        done = match.end()
    return "".join([*parts, text[done:]])


def _plain_letters(text: str) -> str:
    # Almost no page has any, and looking is ten times as cheap as replacing.
    if text.isascii() or _REPLACED_LETTERS.search(text) is None:
        return text
    text = text.translate(_LIGATURES).translate(_RADICALS)
    return _KANGXI.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
