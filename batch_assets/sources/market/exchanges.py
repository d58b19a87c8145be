"""When an exchange closes, for calendars whose feed does not say.

Regular close of a full session, local time; half days close earlier, so a feed waits longer
than needed on them, never less. Sources: the exchanges' published trading hours.
"""

from dataclasses import dataclass
from datetime import time


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Local close of a calendar; `close` None means midnight at the end of the day."""

    time_zone: str
    close: time | None
    calendar: str = ""


ALWAYS_OPEN = "24/7"
CLOSES: dict[str, TradingHours] = {
    "XSHG": TradingHours("Asia/Shanghai", time(15, 0)),
    # exchange-calendars has no Shenzhen, Beijing, Nasdaq or NSE; their sessions are the same days.
    "XSHE": TradingHours("Asia/Shanghai", time(15, 0), "XSHG"),
    "XBSE": TradingHours("Asia/Shanghai", time(15, 0), "XSHG"),
    "XHKG": TradingHours("Asia/Hong_Kong", time(16, 0)),
    "XTAI": TradingHours("Asia/Taipei", time(13, 30)),
    "XTKS": TradingHours("Asia/Tokyo", time(15, 30)),
    "XKRX": TradingHours("Asia/Seoul", time(15, 30)),
    "XBOM": TradingHours("Asia/Kolkata", time(15, 30)),
    "XNSE": TradingHours("Asia/Kolkata", time(15, 30), "XBOM"),
    "XSES": TradingHours("Asia/Singapore", time(17, 0)),
    "XASX": TradingHours("Australia/Sydney", time(16, 0)),
    "XLON": TradingHours("Europe/London", time(16, 30)),
    "XFRA": TradingHours("Europe/Berlin", time(17, 30)),
    "XPAR": TradingHours("Europe/Paris", time(17, 30)),
    "XNYS": TradingHours("America/New_York", time(16, 0)),
    "XNAS": TradingHours("America/New_York", time(16, 0), "XNYS"),
    "XTSE": TradingHours("America/Toronto", time(16, 0)),
    "BVMF": TradingHours("America/Sao_Paulo", time(18, 0)),
    ALWAYS_OPEN: TradingHours("UTC", None),
}
