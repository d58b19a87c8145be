import pytest

from batch_assets.sources.documents.encoding import decode_text

SAMPLES = [
    ("gb18030", "本公司于2024年发布年度报告，净利润同比增长百分之十二。"),
    ("gb18030", "姓名,城市\n张三,北京\n李四,上海\n"),
    ("gb18030", "你好"),
    ("big5", "本公司於2024年發布年度報告，淨利潤同比增長。"),
    ("big5", "姓名,城市\n張三,臺北\n"),
    ("cp932", "これはテストです。日本語の文章を読みます。株式会社"),
    ("cp932", "氏名,都市\n山田,東京\n"),
    ("euc_jp", "これはテストです。日本語の文章を読みます。"),
    ("euc_kr", "이것은 시험입니다. 한국어 문장을 읽습니다."),
    ("cp1252", "Café – “naïve” façade, Größe: 10 € für Müller"),
    ("cp1252", "Name;Ort\nMüller;Köln\n"),
    ("cp1252", "El niño mañana ¿cómo está?"),
    ("cp1252", "50°C ± 2"),
    ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
    ("cp1250", "Zażółć gęślą jaźń"),
    ("cp1251", "Это проверка русского текста в кодировке"),
    ("koi8_r", "Это проверка русского текста в кодировке"),
    ("cp1253", "Αυτό είναι ένα ελληνικό κείμενο για δοκιμή"),
    ("utf-8-sig", "姓名,城市"),
    ("utf-16", "你好，世界"),
    ("utf-16-le", "name,value\nfoo,1\n"),
    ("utf-16-be", "name,value\nfoo,1\n"),
    ("utf-32", "a 你"),
]


@pytest.mark.parametrize(("encoding", "text"), SAMPLES)
def test_text_is_decoded_without_being_told_its_encoding(encoding: str, text: str) -> None:
    decoded = decode_text(text.encode(encoding))

    assert decoded.text == text
    assert decoded.replaced == 0


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "cp932", "utf-8"])
def test_a_character_cut_by_the_sample_does_not_change_the_guess(encoding: str) -> None:
    text = "x" + "日本語文章年度報告" * 12_000

    assert decode_text(text.encode(encoding)).text == text


def test_a_declared_encoding_is_believed_when_the_bytes_agree() -> None:
    assert decode_text("Łódź".encode("iso8859_2"), "iso-8859-2").text == "Łódź"


def test_valid_utf8_wins_over_a_wrong_declaration() -> None:
    assert decode_text("Größe".encode(), "iso-8859-1").text == "Größe"


def test_unknown_declarations_do_not_stop_the_decoding() -> None:
    assert decode_text("Größe".encode("cp1252"), "x-user-defined\x00").text == "Größe"


def test_a_few_broken_bytes_in_utf8_are_replaced_and_counted() -> None:
    decoded = decode_text("净利润同比增长".encode() * 50 + b"\xff")

    assert decoded.encoding == "utf-8"
    assert decoded.replaced == 1
