import pytest

from batch_assets.sources.documents.language import guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The revenue of the company grew and it is the best year for us.", "en"),
        ("Der Umsatz ist gestiegen und das war nicht zu erwarten.", "de"),
        ("Le chiffre des ventes est dans le rapport que nous lisons pour vous.", "fr"),
        ("El informe de los resultados que se publica con las cuentas del año.", "es"),
        ("本公司发布年度报告", "zh"),
        ("根据 2024 年 revenue 报告，净利润同比增长", "zh"),
        ("これは株式会社の年次報告書です", "ja"),
        ("이것은 연례 보고서입니다", "ko"),
        ("Это годовой отчёт компании", "ru"),
        ("Це річний звіт компанії", None),
        ("Αυτή είναι η ετήσια έκθεση", "el"),
        ("1 2 3", None),
        ("", None),
        ("xyzzy plugh foo bar baz qux", None),
    ],
)
def test_language_is_guessed_where_the_text_says_enough(text: str, language: str | None) -> None:
    assert guess_language(text) == language
