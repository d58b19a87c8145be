import pytest

from batch_assets.sources.market.symbols import SymbolRule

CN = SymbolRule(style="cn")


@pytest.mark.parametrize(
    "spelling",
    [
        "600000.SH", "600000.SS", "600000.XSHG", "600000.sh", "sh.600000", "sh600000", "SH600000",
        "SHSE.600000", "1.600000", "'600000.SH", " 600000.SH ", '="600000.SH"',
    ],
)  # fmt: skip
def test_every_spelling_of_a_shanghai_code_becomes_one_symbol(spelling: str) -> None:
    assert CN.canonical(spelling) == "600000.SH"


@pytest.mark.parametrize(
    ("spelling", "symbol"),
    [
        ("000001.SZ", "000001.SZ"), ("000001.XSHE", "000001.SZ"), ("sz000001", "000001.SZ"),
        ("0.000001", "000001.SZ"), ("0.430047", "430047.BJ"), ("bj.430047", "430047.BJ"),
        ("1.SZ", "000001.SZ"),
    ],
)  # fmt: skip
def test_shenzhen_and_beijing_codes_are_told_apart(spelling: str, symbol: str) -> None:
    assert CN.canonical(spelling) == symbol


def test_six_digits_alone_are_refused_because_000001_is_a_bank_and_an_index() -> None:
    assert CN.canonical("000001") is None


@pytest.mark.parametrize(
    ("kind", "spelling", "symbol"),
    [
        ("stock", "000001", "000001.SZ"), ("stock", "'600519", "600519.SH"),
        ("stock", "1", "000001.SZ"), ("stock", "688981", "688981.SH"),
        ("stock", "900901", "900901.SH"), ("stock", "920819", "920819.BJ"),
        ("stock", "300750", "300750.SZ"), ("index", "000001", "000001.SH"),
        ("index", "399001", "399001.SZ"),
    ],
)  # fmt: skip
def test_six_digits_follow_what_the_feed_declares(kind: str, spelling: str, symbol: str) -> None:
    assert SymbolRule(style="cn", bare=kind).canonical(spelling) == symbol


@pytest.mark.parametrize("spelling", ["", "ABC", "60000a.SH", "600000.XX", "6000001.SH", "\0"])
def test_what_is_no_code_has_no_symbol(spelling: str) -> None:
    assert CN.canonical(spelling) is None


def test_the_series_is_part_of_the_symbol() -> None:
    rule = SymbolRule(exchange="NS")

    assert rule.canonical("SBIN", " EQ") == "SBIN-EQ.NS"
    assert rule.canonical("M&M", "T0") == "M&M-T0.NS"


def test_a_code_with_a_dot_keeps_it_before_the_exchange() -> None:
    rule = SymbolRule(exchange="US")

    assert rule.canonical("BRK.B") == "BRK.B.US"
    assert rule.canonical("aapl.us") == "AAPL.US"


def test_digits_are_filled_with_zeros_lost_in_a_workbook() -> None:
    assert SymbolRule(exchange="TW", width=4).canonical("50") == "0050.TW"


def test_an_alias_replaces_the_spelling() -> None:
    assert SymbolRule(exchange="US", aliases={"FB": "META"}).canonical("FB") == "META.US"


def test_a_pattern_takes_code_and_exchange_from_the_cell() -> None:
    rule = SymbolRule(pattern=r"(?P<code>\w+) (?P<exchange>\w+) Equity")

    assert rule.canonical("VOD LN Equity") == "VOD.LN"
    assert rule.canonical("VOD LN Index") is None


def test_the_symbol_may_come_from_the_file_name() -> None:
    rule = SymbolRule(file_pattern=r"(?P<code>[^/]+)\.(?P<exchange>us)\.txt$")

    assert rule.canonical(rule.from_file("schw_b.us.txt") or "") == "SCHW_B.US"
    assert rule.from_file("readme.md") == ""


def test_a_pattern_without_code_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have a group \(\?P<code>"):
        SymbolRule(pattern=r"\d+")
