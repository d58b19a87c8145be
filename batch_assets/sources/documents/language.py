"""A cheap guess at a language: the script, and for Latin letters the commonest words."""

import re
from collections import Counter

# Enough to tell; the first pages speak for the document.
_SAMPLE_CHARACTERS = 20_000
_SCRIPTS = {
    "ja": re.compile("[\u3041-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7a3]"),
    "zh": re.compile("[\u4e00-\u9fff\u3400-\u4dbf]"),
    "ru": re.compile("[\u0410-\u044f\u0451]"),
    "el": re.compile("[\u0391-\u03c9]"),
    "ar": re.compile("[\u0621-\u064a]"),
    "he": re.compile("[\u05d0-\u05ea]"),
    "th": re.compile("[\u0e01-\u0e5b]"),
}
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_UKRAINIAN_OR_OTHER = re.compile("[\u0456\u0457\u0454\u0491\u045e\u0458\u0459\u045a\u040b]")
_COMMONEST = {
    "en": "the of and to in is that for it with as was are this",
    "de": "der die und das ist nicht mit ein eine den von zu auf",
    "fr": "le la les et des est une dans pour que qui sur pas",
    "es": "el los las que del una por con para como más pero",
}
_WORDS = {code: frozenset(words.split()) for code, words in _COMMONEST.items()}
# Share of words that are among the commonest; real text has 20 to 40 %.
_MIN_COMMON_RATIO = 0.08


def guess_language(text: str) -> str | None:
    """ISO 639-1 code, or None when the text does not say enough."""
    sample = text[:_SAMPLE_CHARACTERS]
    if sample.isascii():
        return _latin_language(sample)
    counts = {code: len(pattern.findall(sample)) for code, pattern in _SCRIPTS.items()}
    # A Han character carries about as much as two Latin letters; kana decide against Chinese.
    latin = len(_LATIN.findall(sample)) / 3
    if counts["ja"] > 0.08 * (counts["ja"] + counts["zh"]):
        counts["ja"] += counts.pop("zh")
    code = max(counts, key=lambda name: counts[name])
    if counts[code] >= 2 and counts[code] > latin:
        is_other_cyrillic = code == "ru" and _UKRAINIAN_OR_OTHER.search(sample) is not None
        return None if is_other_cyrillic else code
    return _latin_language(sample)


def _latin_language(sample: str) -> str | None:
    words = re.findall(r"[^\W\d_]+", sample.lower())
    if len(words) < 5:
        return None
    numbers = Counter(words)
    hits = {code: sum(numbers[word] for word in common) for code, common in _WORDS.items()}
    code = max(hits, key=lambda name: hits[name])
    return code if hits[code] >= _MIN_COMMON_RATIO * len(words) else None
