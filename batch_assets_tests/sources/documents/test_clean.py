import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.sources.documents.clean import clean_text, one_line


@given(st.text(alphabet=st.characters(codec=None), max_size=80))
def test_cleaned_text_can_always_be_stored(text: str) -> None:
    cleaned, refused = clean_text(text)

    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert 0 <= refused <= len(text)
    assert clean_text(cleaned) == (cleaned, 0)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc\x0cd\u2028e", "a\nb\nc\nd\ne"),
        ("soft\u00adly, zero\u200bwidth, \ufeffmark", "softly, zerowidth, mark"),
        ("ភាសា\u200bខ្មែរ", "ភាសា\u200bខ្មែរ"),
        ("می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"),
        ("line  \t\nnext\u3000\n", "line\nnext"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb"),
        ("\x00\ud800", ""),
    ],
)
def test_what_nobody_sees_goes_and_what_matters_stays(text: str, cleaned: str) -> None:
    assert clean_text(text)[0] == cleaned


def test_a_label_is_one_line() -> None:
    assert one_line("  Annual\r\n report\x00 ") == "Annual report"
