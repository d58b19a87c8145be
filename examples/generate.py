"""Write the synthetic example files again, byte for byte the same.

Nothing in them is a real price: codes and values come from a fixed seed. Run it from anywhere:
`python examples/generate.py`.
"""

import random
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "market" / "cn_by_day"
# The National Day closure, 1 to 7 October, lies between the fourth and the fifth session.
SESSIONS = tuple(
    date(2024, month, day) for month, day in ((9, 25), (9, 26), (9, 27), (9, 30), (10, 8), (10, 9))
)
HEADER = "日期,股票代码,开盘价,最高价,最低价,收盘价,前收盘价,成交量(手),成交额(千元)"
BOARDS = (("600", "SH", 130), ("688", "SH", 60), ("000", "SZ", 120), ("300", "SZ", 90))
SUSPENDED_ROWS_PER_DAY = 4
CENT = Decimal("0.01")
MILL = Decimal("0.001")
SEED = 20240925


def main() -> None:
    """Write one file for each session."""
    chance = random.Random(SEED)  # noqa: S311 - reproducible, not secret
    closes = {
        f"{board}{number:03d}.{exchange}": Decimal(chance.randint(250, 9000)) / 100
        for board, exchange, count in BOARDS
        for number in range(1, count + 1)
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for session in SESSIONS:
        suspended = set(chance.sample(sorted(closes), SUSPENDED_ROWS_PER_DAY))
        lines = [HEADER]
        for symbol in sorted(closes):
            if symbol in suspended:
                lines.append(f"{session},{symbol},0,0,0,0,{closes[symbol]:.2f},0,0")
            else:
                lines.append(f"{session},{symbol},{_bar(chance, symbol, closes)}")
        path = FOLDER / f"{session}.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _bar(chance: random.Random, symbol: str, closes: dict[str, Decimal]) -> str:
    """One bar within the board's price limit; changes the symbol's last close."""
    limit = 0.2 if symbol.startswith(("300", "688")) else 0.1
    before = closes[symbol]

    def moved(share: float) -> Decimal:
        bounded = max(-limit, min(limit, share))
        return (before * (1 + Decimal(f"{bounded:.4f}"))).quantize(CENT, ROUND_HALF_UP)

    drift = chance.gauss(0.004, limit / 5)
    opened, closed = moved(drift / 2 + chance.gauss(0, 0.008)), moved(drift)
    high = max(opened, closed) + CENT * chance.randint(0, 12)
    low = max(CENT, min(opened, closed) - CENT * chance.randint(0, 12))
    lots = Decimal(chance.randint(80_000, 60_000_000)) / 100
    average = low + (high - low) * Decimal(chance.randint(200, 800)) / 1000
    amount = (average * lots * 100 / 1000).quantize(MILL, ROUND_HALF_UP)
    closes[symbol] = closed
    return f"{opened},{high},{low},{closed},{before:.2f},{lots},{amount}"


if __name__ == "__main__":
    main()
