"""What real vendors answer, for the HTTP fake: one function a vendor."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from batch_assets_tests.fakes.bars import Bar
from batch_assets_tests.fakes.http_vendor import Answer, Answers, Request

Days = Mapping[str, Sequence[Bar]]
"""Bars by ISO date."""

TUSHARE_FIELDS = (
    "ts_code", "trade_date", "open", "high", "low", "close", "pre_close", "change", "pct_chg",
    "vol", "amount",
)  # fmt: skip
RATE_LIMIT = "抱歉，您每分钟最多访问该接口500次，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。"
NO_PERMISSION = (
    "抱歉，您没有接口访问权限，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。"
)
_SUFFIXES = {"SSE": "SH", "SZSE": "SZ", "BSE": "BJ"}


def as_json(document: Any, status: int = 200) -> Answer:
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(body, status, {"Content-Type": "application/json"})


def tushare_refusal(code: int, message: str) -> Answer:
    return as_json({"request_id": "x", "code": code, "msg": message, "data": None})


def tushare_answers(
    days: Days, *, token: str = "token", cap: int = 6000, more: Mapping[str, Any] | None = None
) -> Answers:
    """The API `daily`; `more` has replies of other APIs as (fields, items)."""

    def answer(request: Request) -> Answer:
        asked = json.loads(request.body)
        if asked["token"] != token:
            return tushare_refusal(40101, "您的token不对，请确认。")
        if more and asked["api_name"] in more:
            return _tushare_table(*more[asked["api_name"]], asked["fields"])
        if asked["api_name"] != "daily":
            return tushare_refusal(40203, NO_PERMISSION)
        rows = [tushare_row(bar) for bar in _tushare_bars(days, asked["params"])]
        return _tushare_table(TUSHARE_FIELDS, rows[:cap], asked["fields"])

    return answer


def _tushare_bars(days: Days, params: Mapping[str, str]) -> list[Bar]:
    bars = [bar for bars in days.values() for bar in bars]
    day, code = params.get("trade_date"), params.get("ts_code")
    start, end = params.get("start_date", "0"), params.get("end_date", "9")
    exchange = _SUFFIXES.get(params.get("exchange", ""))
    return [
        bar
        for bar in bars
        if (not day or f"{bar.day:%Y%m%d}" == day)
        and (not code or bar.symbol == code)
        and (not exchange or bar.exchange == exchange)
        and start <= f"{bar.day:%Y%m%d}" <= end
    ]


def _tushare_table(fields: Sequence[str], items: Sequence[Sequence[Any]], wanted: str) -> Answer:
    chosen = wanted.split(",") if wanted else list(fields)
    places = [list(fields).index(name) for name in chosen]
    rows = [[item[place] for place in places] for item in items]
    data = {"fields": chosen, "items": rows, "has_more": False, "count": -1}
    return as_json({"request_id": str(id(rows)), "code": 0, "msg": "", "data": data})


def tushare_row(bar: Bar) -> list[Any]:
    return [
        bar.symbol, f"{bar.day:%Y%m%d}", float(bar.open), float(bar.high), float(bar.low),
        float(bar.close), float(bar.pre_close), 0.1, 1.0, float(bar.volume / 100),
        float(bar.amount / 1000),
    ]  # fmt: skip


def massive_answers(days: Days, *, token: str = "token") -> Answers:
    def answer(request: Request) -> Answer:
        if request.headers.get("Authorization") != f"Bearer {token}":
            return as_json({"status": "ERROR", "error": "Unknown API Key"}, 401)
        bars = days.get(request.path.rpartition("/")[2], ())
        head = {"status": "OK", "queryCount": len(bars), "adjusted": False}
        if not bars:
            return as_json({**head, "resultsCount": 0})
        results = [massive_record(bar) for bar in bars]
        return as_json({**head, "resultsCount": len(bars), "results": results})

    return answer


def massive_record(bar: Bar) -> dict[str, Any]:
    close = datetime.combine(bar.day, time(16), tzinfo=ZoneInfo("America/New_York"))
    return {
        "T": bar.code, "o": float(bar.open), "h": float(bar.high), "l": float(bar.low),
        "c": float(bar.close), "v": float(bar.volume) + 0.25, "vw": float(bar.close),
        "t": int(close.timestamp() * 1000), "n": 5,
    }  # fmt: skip


def eodhd_answers(days: Days, *, token: str = "token", exchange: str = "US") -> Answers:
    def answer(request: Request) -> Answer:
        if request.query.get("api_token") != token:
            return Answer(b"Unauthenticated", 401)
        if request.path != f"/api/eod-bulk-last-day/{exchange}":
            return Answer(b"Exchange Not Found.", 404)
        return as_json([eodhd_record(bar) for bar in days.get(request.query["date"], ())])

    return answer


def eodhd_record(bar: Bar) -> dict[str, Any]:
    return {
        "code": bar.code, "exchange_short_name": "US", "date": bar.day.isoformat(),
        "open": float(bar.open), "high": float(bar.high), "low": float(bar.low),
        "close": float(bar.close), "adjusted_close": 1.0, "volume": int(bar.volume),
    }  # fmt: skip


def yahoo_answers(days: Days) -> Answers:
    def answer(request: Request) -> Answer:
        symbol = request.path.rpartition("/")[2]
        bars = [bar for bars in days.values() for bar in bars if bar.code == symbol]
        if not bars:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return as_json({"chart": {"result": None, "error": error}}, 404)
        begin, end = int(request.query["period1"]), int(request.query["period2"])
        opens = [
            datetime.combine(bar.day, time(9, 30), tzinfo=ZoneInfo("America/New_York"))
            for bar in bars
        ]
        chosen = [
            (bar, at) for bar, at in zip(bars, opens, strict=True) if begin <= at.timestamp() < end
        ]
        quote = {
            name: [float(getattr(bar, name)) for bar, _ in chosen]
            for name in ("open", "high", "low", "close", "volume")
        }
        stamps = [int(at.astimezone(UTC).timestamp()) for _, at in chosen]
        return as_json(yahoo_chart(stamps, quote))

    return answer


def yahoo_chart(
    stamps: Sequence[int], quote: Mapping[str, Sequence[float | None]]
) -> dict[str, Any]:
    meta = {"exchangeTimezoneName": "America/New_York", "currency": "USD"}
    result = {"meta": meta, "timestamp": list(stamps), "indicators": {"quote": [dict(quote)]}}
    return {"chart": {"result": [result], "error": None}}


def eastmoney_answers(days: Days) -> Answers:
    def answer(request: Request) -> Answer:
        market, _, code = request.query["secid"].partition(".")
        begin, end = request.query["beg"], request.query["end"]
        bars = [
            bar
            for bars in days.values()
            for bar in bars
            if bar.code == code and (bar.exchange == "SH") == (market == "1")
        ]
        if not bars:
            return as_json({"rc": 0, "data": None})
        lines = [
            ",".join(
                str(value)
                for value in (
                    bar.day,
                    bar.open,
                    bar.close,
                    bar.high,
                    bar.low,
                    bar.volume / 100,
                    bar.amount,
                )
            )
            for bar in bars
            if begin <= f"{bar.day:%Y%m%d}" <= end
        ]
        return as_json({"rc": 0, "data": {"code": code, "market": int(market), "klines": lines}})

    return answer
