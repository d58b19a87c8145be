"""A source table, transfers of it, and what they leave; made by the tests of transfers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.ingest.tables.replay import replay_transfer
from batch_assets.ingest.tables.stream import continue_transfer
from batch_assets.ingest.tables.transfer import options_of, transfer_windows
from batch_assets.loading.report import LoadReport
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.tables.transfer import Transfer

LEASE_WAIT_SECONDS = 60.0

CREATE_ORDERS = """
CREATE TABLE public.orders (
    id bigint PRIMARY KEY, day date NOT NULL, customer varchar(20), amount numeric(20, 6),
    details jsonb, tags text[], changed_at timestamptz NOT NULL DEFAULT now(),
    processed boolean NOT NULL DEFAULT false
)
"""
FILL_ORDERS = """
INSERT INTO public.orders (id, day, customer, amount, details, tags)
SELECT g, DATE '2024-09-30' + g % 3, 'customer ' || g, g / 7.0, jsonb_build_object('g', g),
       CASE WHEN g % 2 = 0 THEN ARRAY['a', NULL, 'b ' || g] END
FROM generate_series({first}, {last}) AS g
"""


@dataclass(frozen=True)
class Project:
    """Two databases, or one twice."""

    source: str
    target: str

    @property
    def connect(self) -> Callable[[], psycopg.Connection]:
        return partial(connect, self.target, application_name="test")

    @property
    def connect_source(self) -> Callable[[], psycopg.Connection]:
        return partial(connect, self.source, application_name="test source")

    def create_orders(self, rows: int) -> None:
        with self.connect_source() as conn:
            conn.execute(CREATE_ORDERS)
        self.add_orders(1, rows)

    def add_orders(self, first: int, last: int) -> None:
        with self.connect_source() as conn:
            conn.execute(FILL_ORDERS.format(first=first, last=last))
        with connect(self.source, application_name="test", autocommit=True) as conn:
            conn.execute("ANALYZE public.orders")

    def run(
        self, transfer: Transfer, days: Sequence[date] | None = None, *, force: bool = False
    ) -> list[LoadReport]:
        options = options_of(transfer, LoadingSettings(lease_seconds=3.0), force=force)
        return list(transfer_windows(self.connect, transfer, self.connect_source, days, options))

    def go_on(self, transfer: Transfer) -> LoadReport:
        options = replace(
            options_of(transfer, LoadingSettings(lease_seconds=3.0)),
            lease_wait_seconds=LEASE_WAIT_SECONDS,
        )
        return continue_transfer(self.connect, transfer, self.connect_source, options)

    def replay(self, transfer: Transfer) -> list[LoadReport]:
        options = options_of(transfer, LoadingSettings(lease_seconds=3.0))
        return list(
            replay_transfer(self.connect, transfer, self.connect_source, options, who="tester")
        )

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with self.connect() as conn:
            return conn.execute(statement).fetchall()

    def change_source(self, statement: str) -> None:
        with self.connect_source() as conn:
            conn.execute(statement)

    def differences(self, target: str = "copies.orders") -> int:
        """Rows that one side has and the other has not."""
        listed = "id, day, customer, amount, details, tags, changed_at, processed"
        with self.connect_source() as theirs, self.connect() as ours:
            there = theirs.execute(f"SELECT {listed} FROM public.orders ORDER BY id").fetchall()
            here = ours.execute(f"SELECT {listed} FROM {target} ORDER BY id").fetchall()
        return len(set(map(str, there)) ^ set(map(str, here)))


def orders(**changes: object) -> Transfer:
    values = {
        "name": "orders",
        "source_url_env": "TEST_SOURCE_URL",
        "table": "public.orders",
        "target": "copies.orders",
        "key": ("id",),
        **changes,
    }
    return Transfer.model_validate(values)


def queue(project: Project) -> Transfer:
    """The orders as a queue, in chunks of 1,000 rows."""
    return orders(
        mode="queue",
        columns=("id", "customer", "amount"),
        target="copies.taken",
        source_url_env="" if project.source == project.target else "TEST_SOURCE_URL",
        min_batch_rows=1_000,
        max_batch_rows=1_000,
    )


def double_amounts(table: pa.Table) -> pa.Table:
    """A transform: two columns, the second one doubled, without the rows that are not wanted."""
    table = table.filter(pc.not_equal(table["customer"], "customer 3"))
    ids = table["id"].to_pylist()
    if 5 in ids:
        raise ValueError("five is not a number we like")
    doubled = pc.add(table["amount"], table["amount"]).cast(pa.decimal128(20, 6))
    return pa.table({"id": table["id"], "doubled": doubled})


def number_small_amounts(table: pa.Table) -> pa.Table:
    """A transform that names the key otherwise, and fails on large amounts."""
    if pc.max(table["amount"]).as_py() >= 1_000_000:
        raise ValueError("too much")
    doubled = pc.add(table["amount"], table["amount"]).cast(pa.decimal128(20, 6))
    return pa.table({"number": table["id"], "doubled": doubled})


def count_in_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """A transform of frames: the rows with an even id, one column more."""
    even = frame[frame["id"] % 2 == 0]
    return even.assign(length=even["customer"].str.len())
