"""Store what an asset returns in PostgreSQL, and load it back.

    defs = dg.Definitions(
        assets=[orders],
        resources={"io_manager": PostgresCopyIOManager()},
    )

Rows go through the loading core: COPY, atomic publish for each partition, ledger, and only the
difference to what is there. Asset metadata says what the frame cannot: `table` (else the asset's
key), `key` (else rows are numbered), `window_column` (of assets partitioned by time; else the
partition's key is stored with each row) and `empty_ok`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PrivateAttr

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.errors import SchemaMismatch
from batch_assets.ingest.frames import FramePart, FrameTable, read_parts, store_parts
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.sources.tables.frames import as_pandas, read_frame


class PostgresCopyIOManager(dg.ConfigurableIOManager):
    """An IO manager for pandas and polars frames and pyarrow tables."""

    url: str | None = Field(
        default=None,
        description="postgresql://…; default: BATCH_ASSETS_DATABASE_URL, else [database] url, "
        "else the embedded server",
    )
    schema_name: str = Field(
        default="public", description="schema of assets whose key has one part only"
    )

    _postgres: PostgresCopyResource | None = PrivateAttr(default=None)

    def _connect(self) -> psycopg.Connection:
        # Not a nested resource: Dagster 1.13 warns of its own use of a deprecated property then.
        if self._postgres is None:
            self._postgres = PostgresCopyResource(url=self.url)
        return self._postgres.connect()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a frame, or a dictionary of frames by partition key.

        Raises:
            Failure: The frame cannot be stored; says why. Partitions stored before stay.
        """
        table = self._table_of(context)
        with translating_failures(0), tempfile.TemporaryDirectory() as folder:
            parts = _parts_of(context, table, obj, Path(folder))
            options = LoadOptions(run_id=context.run_id)
            reports = list(store_parts(self._connect, table, parts, options))
        context.add_output_metadata(_metadata_of(table, reports))
        _fail_if_any(reports)

    def load_input(self, context: dg.InputContext) -> Any:
        """Load a table, or the partitions of the run, as the input's annotation says.

        Returns:
            A pyarrow.Table or polars.DataFrame where that is the annotation, else a
            pandas.DataFrame.
        """
        upstream = context.upstream_output
        if upstream is None:
            raise SchemaMismatch("an input without an asset was asked for, expected an asset")
        table = self._table_of(upstream, context)
        start = end = None
        keys: Sequence[str] | None = None
        if context.has_asset_partitions and table.window_column:
            window = context.asset_partitions_time_window
            start, end = window.start, window.end
        elif context.has_asset_partitions:
            keys = list(context.asset_partition_keys)
        with translating_failures(0):
            rows = read_parts(self._connect, table, keys=keys, start=start, end=end)
        return _as_annotated(rows, context.dagster_type.typing_type)

    def _table_of(
        self, output: dg.OutputContext, reading: dg.InputContext | None = None
    ) -> FrameTable:
        metadata = output.definition_metadata or {}
        path = list((reading or output).asset_key.path)
        schema, name = (
            (path[0], "_".join(path[1:]))
            if len(path) > 1
            else (
                self.schema_name,
                path[0],
            )
        )
        key = _plain(metadata.get("key")) or ()
        is_partitioned = (reading or output).has_asset_partitions
        return FrameTable(
            target=str(_plain(metadata.get("table")) or f"{schema}.{name}"),
            key=(key,) if isinstance(key, str) else tuple(key),
            window_column=str(_plain(metadata.get("window_column")) or ""),
            is_partitioned=is_partitioned,
            empty_ok=bool(_plain(metadata.get("empty_ok"))),
        )


def _plain(value: Any) -> Any:
    """Metadata as it was written, whether or not Dagster has wrapped it."""
    return getattr(value, "value", value)


def _parts_of(
    context: dg.OutputContext, table: FrameTable, obj: Any, folder: Path
) -> list[FramePart]:
    if not context.has_asset_partitions:
        return [FramePart("all", read_frame(obj, folder / "rows"))]
    keys = list(context.asset_partition_keys)
    if table.window_column:
        return _by_time(context, table, read_frame(obj, folder / "rows"), keys)
    frames: Mapping[str, Any] = obj if isinstance(obj, Mapping) else {keys[0]: obj}
    if sorted(frames) != sorted(keys):
        raise SchemaMismatch(
            f"{table.target}: frames came for {', '.join(sorted(frames))}, expected one for each "
            f"of {', '.join(keys)}; return a dictionary by partition key, or set window_column"
        )
    return [
        FramePart(key, read_frame(frames[key], folder / f"rows-{number}"))
        for number, key in enumerate(keys)
    ]


def _by_time(
    context: dg.OutputContext, table: FrameTable, rows: pa.Table, keys: Sequence[str]
) -> list[FramePart]:
    definition = context.asset_partitions_def
    if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
        raise SchemaMismatch(
            f"{table.target}: window_column needs partitions of time, the asset has "
            f"{type(definition).__name__}; leave window_column out"
        )
    windows = {key: definition.time_window_for_partition_key(key) for key in keys}
    if len(keys) == 1:
        # Rows outside of the partition are rejected with a reason, not left out.
        [(key, window)] = windows.items()
        return [FramePart(key, rows, window.start, window.end)]
    return [
        FramePart(key, _within(rows, table.window_column, w.start, w.end), w.start, w.end)
        for key, w in windows.items()
    ]


def _within(rows: pa.Table, column: str, start: datetime, end: datetime) -> pa.Table:
    kind = rows.schema.field(column).type
    if pa.types.is_date(kind):
        low, high = pa.scalar(start.date(), kind), pa.scalar(end.date(), kind)
    elif kind.tz is None:
        low = pa.scalar(start.replace(tzinfo=None), kind)
        high = pa.scalar(end.replace(tzinfo=None), kind)
    else:
        low, high = pa.scalar(start, kind), pa.scalar(end, kind)
    values = rows.column(column)
    return rows.filter(pc.and_(pc.greater_equal(values, low), pc.less(values, high)))


def _metadata_of(table: FrameTable, reports: Sequence[LoadReport]) -> dict[str, Any]:
    names = ("read", "inserted", "updated", "unchanged", "duplicate", "rejected", "deleted")
    counts = {
        f"rows_{name}": sum(getattr(report.ledger, name) for report in reports) for name in names
    }
    return {
        "dagster/relation_identifier": table.target,
        "dagster/partition_row_count": counts["rows_inserted"]
        + counts["rows_updated"]
        + counts["rows_unchanged"],
        **counts,
        "load_ids": [report.load_id for report in reports],
    }


def _fail_if_any(reports: Sequence[LoadReport]) -> None:
    bad = [r for r in reports if r.state in (LoadState.FAILED, LoadState.UNCONFIRMED_EMPTY)]
    if not bad:
        return
    texts = [
        f"{report.window.key}: "
        + (
            str(report.error)
            if report.error
            else "the frame has no rows; what was stored stays; metadata empty_ok = True says "
            "that no rows is an answer"
        )
        for report in bad
    ]
    raise dg.Failure(
        description="; ".join(texts[:10]),
        allow_retries=any(report.error is not None and report.error.retryable for report in bad),
    )


def _as_annotated(rows: pa.Table, annotation: object) -> Any:
    if annotation is pa.Table:
        return rows
    if getattr(annotation, "__module__", "").partition(".")[0] == "polars":
        import polars as pl

        return pl.from_arrow(rows)
    return as_pandas(rows)
