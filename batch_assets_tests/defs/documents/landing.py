"""A project folder with a landing folder, and the Dagster objects built from it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.postgres.connect import connect
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.documents.sources import DocumentSource, read_document_sources

DAY, DAY_TOO, DAY_WITHOUT = "2024-09-27", "2024-09-30", "2024-10-01"
NOW = "2024-10-02T12:00:00+00:00"


@dataclass
class Landing:
    """One source `inbox`, by default with date folders.

    Attributes:
        folder: Holds batch_assets.toml and the folder `inbox`.
        url: Database.
        settings_lines: Of the source, TOML texts by name.
    """

    folder: Path
    url: str
    settings_lines: dict[str, str] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def drop(self, name: str, content: str | bytes, *, day: str = DAY) -> Path:
        """Put a file into a date folder, written long ago."""
        path = self.folder / "inbox" / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        changed = datetime.fromisoformat(f"{day}T08:00:00").replace(tzinfo=UTC).timestamp()
        os.utime(path, (changed, changed))
        return path

    @property
    def settings(self) -> Settings:
        """The settings of the folder, written anew."""
        (self.folder / "inbox").mkdir(exist_ok=True)
        lines = {"url": '"inbox"', "day": '"folder"', **self.settings_lines}
        body = "\n".join(f"{name} = {value}" for name, value in lines.items())
        (self.folder / "batch_assets.toml").write_text(
            f"[execution]\ncpu_workers = 1\nspare_workers = 0\n[documents.sources.inbox]\n{body}\n"
        )
        environment = {
            "BATCH_ASSETS_DATABASE_URL": self.url,
            "BATCH_ASSETS_HOME": str(self.folder / "state"),
        }
        return load_settings(environment, working_dir=self.folder)

    @property
    def source(self) -> DocumentSource:
        return read_document_sources(self.settings)["inbox"]

    def resources(self) -> dict[str, object]:
        return {
            "postgres": PostgresCopyResource(url=self.url, pool_min=1),
            "clock": ClockResource(fixed_at=NOW),
        }

    def definitions(self) -> dg.Definitions:
        return build_definitions(self.settings, resources=self.resources())

    def run(
        self, *days: str, job: str = "document_ingest", config: Mapping[str, object] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process, for a day or the range between two."""
        target: dict[str, object] = {"partition_key": days[0]}
        if len(days) == 2:
            tags = {
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[1],
            }
            target = {"tags": tags}
        return (
            self.definitions()
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                raise_on_error=False,
                run_config={"ops": {"documents_inbox": {"config": dict(config or {})}}},
                **target,  # type: ignore[arg-type]  # reason: one of two sets of arguments
            )
        )

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        """Evaluate the sensor once."""
        sensor = self.definitions().resolve_sensor_def("document_ingest_inbox_sensor")
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, resources=self.resources()
        )
        with context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def open(self) -> psycopg.Connection:
        return connect(self.url, application_name="test of documents")

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as conn:
            return conn.execute(query, parameters or None).fetchall()  # type: ignore[arg-type]  # reason: a test's own text

    def files(self) -> dict[object, object]:
        """State and outcome of each file, by path."""
        rows = self.rows(
            "SELECT path, state || ':' || coalesce(outcome, '') FROM documents.files ORDER BY 1"
        )
        return dict(rows)


def materializations(
    result: dg.ExecuteInProcessResult,
) -> dict[tuple[str, str], dg.AssetMaterialization]:
    """Materialisations of a run by asset and partition; each may have one."""
    found: dict[tuple[str, str], dg.AssetMaterialization] = {}
    for event in result.all_events:
        if event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            assert materialization.partition is not None
            key = (materialization.asset_key.path[-1], materialization.partition)
            assert key not in found
            found[key] = materialization
    return found
