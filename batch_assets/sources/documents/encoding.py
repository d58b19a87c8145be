"""Bytes of unknown encoding to text.

A byte order mark or valid UTF-8 decides. Otherwise the old encodings of East Asia are tried by
how common the characters are that they give, then single-byte ones by their commonest letters.
charset-normalizer has the last word where none of this is sure: on short Western and Chinese
texts it is often wrong (windows-1250 for German, Greek for Russian).
"""

import codecs
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes

# Enough to tell an encoding; the whole is decoded afterwards.
_SAMPLE_BYTES = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# Share of common characters below which bytes are not taken for an East Asian encoding.
_MIN_COMMON_RATIO = 0.75
_HIGH = re.compile(rb"[\x80-\xff]")
# The ten commonest letters of running text, more than half of it in each language.
_FREQUENT = {
    "cp1251": frozenset("оеаинтсрвл"),
    "koi8_r": frozenset("оеаинтсрвл"),
    "cp866": frozenset("оеаинтсрвл"),
    "cp1253": frozenset("αοιετνσηρςό"),
    "cp1255": frozenset("יוהלאתמרבנ"),
    "cp1256": frozenset("اليمنوترةب"),
    "cp874": frozenset("านรอกเงมยล่"),
}
_MIN_FREQUENT_RATIO = 0.45
# In a word, these bytes are letters in Central European windows-1250 and signs in windows-1252.
_CENTRAL_EUROPEAN = re.compile(rb"[a-z][\x9a\x9e\xb3\xb9\xbf\x9d]|[\x9a\x9e\xb3\xb9][a-z]")
_KANA = re.compile("[\u3041-\u30ff]")
_HALF_WIDTH_KANA = re.compile("[\uff61-\uff9f]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
# Declared by programs that do not know.
_UNDECLARED = frozenset({"", "unknown", "unknown-8bit", "x-unknown", "default", "none"})
# What pages and mails declare, and what their programs mean by it.
_MEANT = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "x-gbk": "gb18030",
    "iso-8859-9": "cp1254",
    "hz-gb-2312": "hz",
}


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Text, the encoding it was read with, and how many bytes fitted no character."""

    text: str
    encoding: str
    replaced: int


def decode_text(data: bytes, declared: str = "") -> DecodedText:
    """Decode bytes; a declared encoding is believed when the bytes agree with it."""
    marked = marked_encoding(data)
    if marked:
        return _decoded(data, marked)
    switching = _switching(data, _known(declared))
    if switching:
        return _decoded(data, switching)
    for name in ("utf-8", _known(declared)):
        # UTF-8 first: text that is valid UTF-8 by chance does not occur, wrong labels do.
        if name and (name == "utf-8" or not name.startswith("utf-")):
            try:
                return DecodedText(data.decode(name), name, 0)
            except UnicodeDecodeError:
                continue
    return _decoded(data, guess_encoding(data))


def marked_encoding(data: bytes) -> str:
    """Encoding told by a byte order mark or by the zeros of UTF-16 text; empty when neither."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    sample = data[:4096]
    if len(sample) >= 4 and len(data) % 2 == 0:
        # ASCII letters in UTF-16 have a zero byte each, always on the same side.
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        half = len(sample) // 2
        if odd > 0.4 * half and even < 0.05 * half:
            return "utf-16-le"
        if even > 0.4 * half and odd < 0.05 * half:
            return "utf-16-be"
    return ""


def _switching(data: bytes, declared: str) -> str:
    """A 7-bit encoding that switches character sets: its bytes are valid ASCII too."""
    if b"\x1b$" in data and data.isascii():
        return declared if declared.startswith("iso2022") else "iso2022_jp_2"
    return declared if declared in ("hz", "utf-7") and data.isascii() else ""


def guess_encoding(data: bytes) -> str:
    """Name of the most probable encoding of bytes that are not valid UTF-8."""
    sample = data[:_SAMPLE_BYTES]
    if _is_nearly_utf8(sample):
        return "utf-8"
    east_asian = _east_asian(sample)
    if east_asian:
        return east_asian
    high = len(_HIGH.findall(sample))
    letters = len(re.findall(rb"[A-Za-z]", sample))
    if high > letters / 2 and re.search(rb"[\x80-\xff]{3}", sample):
        return _other_script(sample)
    if len(_CENTRAL_EUROPEAN.findall(sample)) > 0.12 * high:
        return "cp1250"
    return "cp1252"


def _other_script(sample: bytes) -> str:
    ratios: dict[str, float] = {}
    for name, frequent in _FREQUENT.items():
        foreign = _NOT_ASCII.findall(sample.decode(name, "replace"))
        ratios[name] = sum(character in frequent for character in foreign) / len(foreign)
    name = max(ratios, key=lambda key: ratios[key])
    if ratios[name] >= _MIN_FREQUENT_RATIO:
        return name
    best = from_bytes(sample).best()
    return best.encoding if best is not None else "cp1252"


def _known(declared: str) -> str:
    name = declared.strip().strip("\"'").lower()
    if name in _UNDECLARED:
        return ""
    try:
        return _MEANT.get(name) or codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""


def _decoded(data: bytes, encoding: str) -> DecodedText:
    text = data.decode(encoding, "replace")
    return DecodedText(text, encoding, text.count("\ufffd"))


def _is_nearly_utf8(sample: bytes) -> bool:
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    return text.count("\ufffd") * 50 < len(_NOT_ASCII.findall(text))


def _east_asian(sample: bytes) -> str:
    """The East Asian encoding that gives the most common characters, if one gives enough."""
    ratios = {name: _common_ratio(sample, name) for name in _COMMON}
    name = max(ratios, key=lambda key: ratios[key])
    return name if ratios[name] >= _MIN_COMMON_RATIO else ""


def _common_ratio(sample: bytes, name: str) -> float:
    try:
        # Incremental: the sample may end within a character.
        text = codecs.getincrementaldecoder(name)("strict").decode(sample)
    except UnicodeDecodeError:
        return 0.0
    foreign = _NOT_ASCII.findall(text)
    if not foreign:
        return 0.0
    return _COMMON[name]("".join(foreign), len(foreign))


def _gb_ratio(foreign: str, count: int) -> float:
    # Rows 16 to 55 of GB 2312 are the 3,755 common characters; kana there mean EUC-JP.
    if len(_KANA.findall(foreign)) > 0.1 * count:
        return 0.0
    leads = foreign.encode("gb18030")[0::2]
    common = _in_rows(foreign, "gb2312", ((0xA1, 0xA3), (0xB0, 0xD7)))
    # Characters sort by sound: none in the last third of the rows means Korean.
    late = sum(0xC9 <= lead <= 0xD7 for lead in leads)
    return common / count if late or count < 8 else 0.7 * common / count


def _big5_ratio(foreign: str, count: int) -> float:
    return _in_rows(foreign, "big5", ((0xA1, 0xA3), (0xA4, 0xC6))) / count


def _sjis_ratio(foreign: str, count: int) -> float:
    half_width = len(_HALF_WIDTH_KANA.findall(foreign))
    common = _in_rows(foreign, "shift_jis", ((0x81, 0x83), (0x88, 0x97)))
    return max(common - 2 * half_width, 0) / count


def _euc_jp_ratio(foreign: str, count: int) -> float:
    if not _KANA.search(foreign):
        return 0.0
    return _in_rows(foreign, "euc_jp", ((0xA1, 0xA5), (0xB0, 0xCF))) / count


def _korean_ratio(foreign: str, count: int) -> float:
    hangul = len(_HANGUL.findall(foreign))
    common = _in_rows(foreign, "euc_kr", ((0xA1, 0xA3), (0xB0, 0xC8)))
    return common / count if hangul > 0.6 * count else 0.0


def _in_rows(text: str, encoding: str, rows: tuple[tuple[int, int], ...]) -> int:
    """How many characters lie in the given rows (first bytes) of a two-byte encoding."""
    encoded = (character.encode(encoding, "ignore") for character in text)
    return sum(
        any(low <= code[0] <= high for low, high in rows) for code in encoded if len(code) == 2
    )


_COMMON = {
    "gb18030": _gb_ratio,
    "cp949": _korean_ratio,
    "euc_jp": _euc_jp_ratio,
    "cp932": _sjis_ratio,
    "big5hkscs": _big5_ratio,
}
