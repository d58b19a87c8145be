"""Our side: the days of a feed through the core, everything on, and what they came to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
from pydantic import SecretStr

from batch_assets.ingest.market.daily_bars import options_of, sync_days
from batch_assets.ingest.market.vendor_limits import throttle_of
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.files import open_feed


@dataclass(frozen=True, slots=True)
class Loaded:
    """All days of one call.

    Attributes:
        ledger: Rows by outcome.
        recognised: Days by how they were recognised as unchanged.
    """

    ledger: Ledger
    recognised: dict[str, int]


def _secret(name: str) -> SecretStr:  # noqa: ARG001 - the fakes know one token
    return SecretStr("token")


def load_days(
    connect: Callable[[], psycopg.Connection],
    feed: Feed,
    cache_dir: Path,
    days: Sequence[date],
    *,
    force: bool = False,
    publish_connections: int | None = None,
) -> Loaded:
    """Load days as an asset does.

    Raises:
        RuntimeError: A day was not loaded, nor skipped as a day without a session.
    """
    options = options_of(feed, LoadingSettings(), force=force)
    if publish_connections is not None:
        options = replace(options, publish_connections=publish_connections)
    ledger, recognised = Ledger(), dict[str, int]()
    source = open_feed(
        feed,
        cache_dir,
        secret=_secret,
        days=days,
        throttle=throttle_of(feed, connect),
    )
    for report in sync_days(connect, feed, source, days, now=datetime.now(UTC), options=options):
        if report.load.state not in (LoadState.SUCCESS, LoadState.SKIPPED):
            raise RuntimeError(
                f"{report.key} is {report.load.state}: {report.message}; expected success; the "
                "figures would be those of another work"
            )
        ledger += report.load.ledger
        how = str(report.load.recognised_by or "new")
        recognised[how] = recognised.get(how, 0) + 1
    return Loaded(ledger, recognised)
