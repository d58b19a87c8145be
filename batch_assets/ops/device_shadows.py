"""What the command line does with code in shadow: start, compare, switch, roll back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from batch_assets.errors import DataError
from batch_assets.loading.device_shadows import (
    Difference,
    ShadowBucket,
    parse_buckets,
    read_differences,
    read_shadow_buckets,
    roll_back_shadow,
    start_shadow,
    switch_shadow,
)
from batch_assets.ops.access import record_audit
from batch_assets.ops.service import asking, changing
from batch_assets.sources.tables.functions import find_function

ALL_BUCKETS = "0-255"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How code in shadow does.

    Attributes:
        buckets: That run code of the user, or have run it.
        differences: The newest ones.
    """

    buckets: list[ShadowBucket]
    differences: list[Difference]


def start(function: str, buckets: str, *, dry_run: bool = False) -> int:
    """Run a function beside what is stored, from the next part of each bucket on.

    Returns:
        In how many buckets.

    Raises:
        ConfigurationError: There is no such function or bucket.
    """
    find_function(function)
    chosen = parse_buckets(buckets)
    with _changing(dry_run=dry_run) as (conn, actor):
        start_shadow(conn, function, chosen)
        record_audit(conn, actor, "devices.shadow.start", buckets, function=function)
    return len(chosen)


def compare(buckets: str = ALL_BUCKETS, *, limit: int = 20) -> Comparison:
    """What was compared in these buckets, and where it differed."""
    chosen = parse_buckets(buckets)
    with asking() as conn:
        found = [one for one in read_shadow_buckets(conn) if one.bucket in chosen]
        return Comparison(found, read_differences(conn, chosen, limit))


def switch(
    buckets: str = ALL_BUCKETS, *, with_differences: bool = False, dry_run: bool = False
) -> int:
    """Store what the shadow gives, from the next part of each bucket on.

    Args:
        with_differences: Also where it differed, or was not compared yet.

    Returns:
        How many buckets have gone over.

    Raises:
        DataError: Some differ or were not compared; none has gone over.
    """
    chosen = parse_buckets(buckets)
    with _changing(dry_run=dry_run) as (conn, actor):
        waiting = [
            one
            for one in read_shadow_buckets(conn)
            if one.shadow_function is not None and one.bucket in chosen
        ]
        doubtful = [one for one in waiting if one.differing_rows or not one.compared_rows]
        if doubtful and not with_differences:
            raise DataError(_describe(doubtful, waiting))
        count = switch_shadow(conn, chosen)
        functions = sorted({one.shadow_function or "" for one in waiting})
        if count:
            record_audit(
                conn,
                actor,
                "devices.shadow.switch",
                buckets,
                functions=functions,
                count=count,
                differing_rows=sum(one.differing_rows for one in waiting),
            )
        return count


def roll_back(buckets: str = ALL_BUCKETS, *, dry_run: bool = False) -> int:
    """End shadows; where none runs, store again what was stored before the last switch.

    Returns:
        How many buckets have gone back. What was stored in the meantime stays.
    """
    chosen = parse_buckets(buckets)
    with _changing(dry_run=dry_run) as (conn, actor):
        count = roll_back_shadow(conn, chosen)
        if count:
            record_audit(conn, actor, "devices.shadow.rollback", buckets, count=count)
        return count


def _describe(doubtful: Sequence[ShadowBucket], waiting: Sequence[ShadowBucket]) -> str:
    differing = sum(one.differing_rows for one in doubtful)
    fresh = sum(not one.compared_rows for one in doubtful)
    return (
        f"of {len(waiting)} buckets in shadow, {fresh} have compared no row yet, and {differing} "
        "rows of the others differ; no bucket was switched; look at batch-assets devices shadow "
        "compare, or switch with --with-differences"
    )


@contextmanager
def _changing(*, dry_run: bool) -> Iterator[tuple[psycopg.Connection, str]]:
    with changing() as (conn, actor):
        yield conn, actor
        if dry_run:
            conn.rollback()
