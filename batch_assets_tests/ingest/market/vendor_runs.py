"""Days around a holiday, fake vendors that hold their bars, and planned runs against them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from batch_assets.ingest.market.daily_bars import DayReport, options_of
from batch_assets.ingest.market.plan import PlanRequest, plan_sync
from batch_assets.ingest.market.run import MarketAccess, sync_plan
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.plan import Plan
from batch_assets_tests.fakes.bars import Bar, make_bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.sources.market.vendors.conftest import secret

# The sessions of Shanghai around the National Day of 2024.
SESSIONS = [
    date(2024, 9, 26),
    date(2024, 9, 27),
    date(2024, 9, 30),
    date(2024, 10, 8),
    date(2024, 10, 9),
]


RANGE = [date(2024, 9, 26) + timedelta(days=number) for number in range(14)]


SYMBOLS = [f"{600000 + number}.SH" for number in range(30)]


LONG_AFTER = datetime(2025, 3, 3, tzinfo=UTC)


# 19:00 in Shanghai, when the rows of 9 October are due.
EVENING = datetime(2024, 10, 9, 11, tzinfo=UTC)


def bars_of(day: date) -> list[Bar]:
    return [make_bar(symbol, day, f"{10 + day.day}.{at:02d}") for at, symbol in enumerate(SYMBOLS)]


@dataclass
class Runs:
    """A feed, its database and everything a run of it needs."""

    url: str
    cache_dir: Path
    feed: VendorFeed
    now: datetime = LONG_AFTER
    plans: list[Plan] = field(default_factory=list)

    def plan(self, days: Sequence[date] = RANGE, **request: Any) -> Plan:
        return plan_sync(
            self.connect,
            self.feed,
            PlanRequest(days, **request),
            now=self.now,
            cache_dir=self.cache_dir,
        )

    def sync(self, days: Sequence[date] = RANGE, **request: Any) -> dict[str, DayReport]:
        plan = self.plan(days, **request)
        self.plans.append(plan)
        reports = sync_plan(
            self.connect,
            self.feed,
            plan,
            MarketAccess(self.cache_dir, secret),
            now=self.now,
            options=options_of(
                self.feed, LoadingSettings(), run_id="run", force=request.get("is_forced", False)
            ),
        )
        return {report.key: report for report in reports}

    @property
    def connect(self) -> "partial[psycopg.Connection]":
        return partial(connect, self.url, application_name="test")

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(query, parameters or None).fetchall()  # type: ignore[arg-type]

    def stored(self) -> dict[date, int]:
        query = "SELECT trade_date, count(*) FROM market.daily_bars GROUP BY 1 ORDER BY 1"
        return dict(self.rows(query))


def asked_days(server: HttpVendorServer) -> list[str]:
    return [json.loads(request.body)["params"]["trade_date"] for request in server.requests]


def asked_symbols(server: HttpVendorServer) -> list[str]:
    return [f"{request.query['secid'].partition('.')[2]}.SH" for request in server.requests]


def states(reports: dict[str, DayReport], days: Sequence[date] = SESSIONS) -> list[LoadState]:
    return [reports[day.isoformat()].load.state for day in days]


ALL_GOOD = [LoadState.SUCCESS] * 5


ALL_PASSED_OVER = [LoadState.SKIPPED] * 5
