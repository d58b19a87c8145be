"""Small markets of by-day files that tests write, and definitions that load them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.runs.run_log import run_log_path
from batch_assets.settings import Settings, load_settings

HEADER = "date,symbol,open,high,low,close,volume,amount"

# Trade dates of 2024 in Shanghai around the National Day, the way tests use them.
GOOD = "2024-09-27"
GOOD_TOO = "2024-09-30"
HOLIDAY = "2024-10-01"
LONG_AFTER = "2025-03-03T12:00:00+00:00"


def lines_of(state_dir: Path, run_id: str) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    text = run_log_path(state_dir, run_id).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def day_text(day: str, symbols: int, *, close: float = 10.5, bad: int = 0) -> str:
    """A day's file: `symbols` good rows, then `bad` rows whose close is no number."""
    rows = [f"{day},{600000 + n}.SH,10,11,9,{close},{1000 + n},{10500 + n}" for n in range(symbols)]
    rows += [f"{day},{610000 + n}.SH,10,11,9,a|b,1000,10500" for n in range(bad)]
    return "\n".join([HEADER, *rows]) + "\n"


@dataclass
class Market:
    """A project folder with feeds, and the Dagster objects built from it.

    Attributes:
        folder: Holds batch_assets.toml and a folder of files for each feed.
        url: Database that the assets load into.
        state_dir: Caches, shared by the tests of one session: a calendar costs 3 seconds.
        environment: More variables, such as tokens.
    """

    folder: Path
    url: str
    state_dir: Path
    feeds: dict[str, str] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    environment: dict[str, str] = field(default_factory=dict)

    def add_feed(self, name: str, calendar: str = "XSHG", **settings: str) -> None:
        """A feed of by-day files; further settings are TOML texts."""
        symbol = '{ style = "cn" }' if calendar == "XSHG" else '{ exchange = "US" }'
        lines = {
            "folder": f'"{name}"',
            "layout": '"by_day"',
            "files": '"{date}.csv"',
            "calendar": f'"{calendar}"',
            "symbol": symbol,
            **settings,
        }
        body = "\n".join(f"{key} = {value}" for key, value in lines.items())
        self.feeds[name] = f"[market.feeds.{name}]\n{body}\n"
        (self.folder / name).mkdir(exist_ok=True)

    def write(self, feed: str, day: str, text: str) -> Path:
        """Write a day's file."""
        path = self.folder / feed / f"{day}.csv"
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def settings(self) -> Settings:
        """The settings of the project folder."""
        first = next(iter(self.feeds))
        text = f'[market]\ndefault_feed = "{first}"\n' + "\n".join(self.feeds.values())
        (self.folder / "batch_assets.toml").write_text(text, encoding="utf-8")
        environment = {
            "BATCH_ASSETS_DATABASE_URL": self.url,
            "BATCH_ASSETS_HOME": str(self.state_dir),
            **self.environment,
        }
        return load_settings(environment, working_dir=self.folder)

    def definitions(self, **resources: object) -> dg.Definitions:
        """The real definitions on this folder and database, long after the days of the files."""
        given = {
            "postgres": PostgresCopyResource(url=self.url, pool_min=1),
            "clock": ClockResource(fixed_at=LONG_AFTER),
            **resources,
        }
        return build_definitions(self.settings, resources=given)

    def sync(
        self,
        *days: str,
        job: str = "market_sync",
        run_config: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
        **resources: object,
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process, for one day or for the range between two."""
        definition = self.definitions(**resources).resolve_job_def(job)
        target: dict[str, object] = {"partition_key": days[0]}
        if len(days) == 2:
            start, end = days
            tags = {
                **(tags or {}),
                "dagster/asset_partition_range_start": start,
                "dagster/asset_partition_range_end": end,
            }
            target = {"tags": tags}
        return definition.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            run_config=run_config,
            **target,  # type: ignore[arg-type]  # reason: one of two sets of arguments
        )

    def log_of(self, run_id: str) -> list[dict[str, Any]]:
        """The lines of a run's log."""
        return lines_of(self.state_dir, run_id)

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """What the database answers."""
        with psycopg.connect(self.url) as conn:
            return conn.execute(query, parameters or None).fetchall()  # type: ignore[arg-type]

    def stored_days(self, source: str) -> dict[str, int]:
        """Rows of a source by trade date."""
        return {
            str(day): int(str(count))
            for day, count in self.rows(
                "SELECT trade_date, count(*) FROM market.daily_bars WHERE source = %s GROUP BY 1",
                source,
            )
        }


def materializations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    """Materialisations of a run by partition key; each key may have one."""
    found: dict[str, dg.AssetMaterialization] = {}
    for event in result.all_events:
        if event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            assert materialization.partition is not None
            assert materialization.partition not in found
            found[materialization.partition] = materialization
    return found


def observations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetObservation]:
    """Observations of a run by partition key."""
    found = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION:
            observation = event.asset_observation_data.asset_observation
            assert observation.partition is not None
            found[observation.partition] = observation
    return found


def evaluations(result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckEvaluation]:
    """All check evaluations of a run."""
    return [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]


def verdict_of(
    result: dg.ExecuteInProcessResult, check: str, partition: str | None = None
) -> dg.AssetCheckEvaluation:
    """The one evaluation of a check, of one partition or of the whole run."""
    [found] = [
        evaluation
        for evaluation in evaluations(result)
        if evaluation.check_name == check and evaluation.partition == partition
    ]
    return found


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """What the failed steps say, with the causes."""
    texts = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        error = data.error
        texts += [data.user_failure_data.description or ""] if data.user_failure_data else []
        while error is not None:
            texts.append(error.message)
            error = error.cause
    return "\n".join(texts)
