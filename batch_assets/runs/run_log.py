"""The log of one run as JSON lines, in a file of its own under `<state folder>/logs/runs`.

It holds what the run says of its partitions, and every warning of the package while it works, each
line with run, backfill and, where it is about one, load, partition and its place [i/n]. What goes
to stdout and stderr is in Dagster's compute log.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TextIO

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.backfill_states import BACKFILL_TAG, DAGSTER_BACKFILL_TAG

logger = logging.getLogger(__name__)

VERSION = 1
_PACKAGE = "batch_assets"


def run_log_dir(state_dir: Path) -> Path:
    """Where the logs of runs are; a run that works elsewhere keeps its log there."""
    return state_dir / "logs" / "runs"


def run_log_path(state_dir: Path, run_id: str) -> Path:
    """The log of one run."""
    return run_log_dir(state_dir) / f"{run_id}.jsonl"


@dataclass(frozen=True, slots=True)
class Places:
    """The i and n of [i/n]: within the backfill, else within the run.

    Attributes:
        numbers: By partition, from 1.
        total: Partitions of the backfill, or of the run.
    """

    numbers: Mapping[str, int]
    total: int

    def text_of(self, partition: str) -> str:
        """`[3/10]`; a partition nobody asked for, such as rows without a date, has none."""
        number = self.numbers.get(partition)
        return "" if number is None else f"[{number}/{self.total}]"


def find_backfill_id(
    connect: Callable[[], psycopg.Connection], tags: Mapping[str, str], asset_keys: Sequence[str]
) -> int | None:
    """The number of the backfill that a run works for; None if it has none, or none yet.

    Args:
        connect: Opens a connection, which is closed here.
        tags: Of the run.
        asset_keys: What it loads, with slashes: a Dagster backfill of several assets is several.
    """
    dagster_backfill_id = tags.get(DAGSTER_BACKFILL_TAG)
    if dagster_backfill_id is None:
        number = tags.get(BACKFILL_TAG, "")
        return int(number) if number.isdigit() else None
    with closing(connect()) as conn:
        row = conn.execute(
            read_query("find_backfill_of_run"),
            {"dagster_backfill_id": dagster_backfill_id, "asset_keys": list(asset_keys)},
        ).fetchone()
    return None if row is None else int(row[0])


def read_places(
    connect: Callable[[], psycopg.Connection], backfill_id: int | None, keys: Sequence[str]
) -> Places:
    """The places of a run's partitions.

    Args:
        connect: Opens a connection, which is closed here.
        backfill_id: The backfill that the run works for.
        keys: Partitions of the run, in order.
    """
    if backfill_id is not None:
        with closing(connect()) as conn:
            rows = conn.execute(
                "SELECT partition_key, position FROM ops.backfill_partitions"
                " WHERE backfill_id = %s",
                (backfill_id,),
            ).fetchall()
        if rows:
            return Places({str(key): int(place) for key, place in rows}, len(rows))
    return Places({key: place for place, key in enumerate(keys, 1)}, len(keys))


class RunLog:
    """Writes lines; without a file, where none can be written, it writes nothing."""

    def __init__(
        self, stream: TextIO | None, zone: tzinfo, facts: Mapping[str, object], places: Places
    ) -> None:
        """A log on an open file.

        Args:
            stream: Where to; closed by the caller.
            zone: Of the times.
            facts: In each line: run, backfill, feed.
            places: The i and n of partitions.
        """
        self.places = places
        self._stream = stream
        self._zone = zone
        self._facts = facts
        # Threads of a run (heartbeats, publishers) warn, too.
        self._lock = threading.Lock()

    def write(
        self,
        event: str,
        message: str,
        *,
        level: str = "INFO",
        partition: str = "",
        **fields: object,
    ) -> None:
        """One line.

        Args:
            event: run_started, partition, loads, run_ended or message.
            message: For a person.
            level: As in logging.
            partition: It is about this one.
            fields: More of it; None is left out.
        """
        if self._stream is None:
            return
        document: dict[str, object] = {
            "version": VERSION,
            "at": datetime.now(UTC).astimezone(self._zone).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            "message": message,
            **self._facts,
        }
        if partition:
            document["partition"] = partition
            if place := self.places.numbers.get(partition):
                document |= {"i": place, "n": self.places.total}
        document |= {name: value for name, value in fields.items() if value is not None}
        line = json.dumps(document, ensure_ascii=False, default=str) + "\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


class _Forwarder(logging.Handler):
    """Brings what the package logs into the run's log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.write(
            "message",
            record.getMessage(),
            level=record.levelname,
            logger=record.name,
            error=None if error is None else f"{type(error).__name__}: {error}",
        )


@contextmanager
def open_run_log(
    state_dir: Path, run_id: str, *, zone: tzinfo, places: Places, facts: Mapping[str, object]
) -> Iterator[RunLog]:
    """The log of a run that works now; a step that is tried again goes on in the same file.

    A file that cannot be written costs the log and a warning, never the run.

    Args:
        state_dir: Of the settings.
        run_id: Of Dagster.
        zone: Of the times.
        places: The i and n of partitions.
        facts: In each line, after `run`; None is left out.
    """
    known = {name: value for name, value in facts.items() if value is not None}
    with ExitStack() as stack:
        stream: TextIO | None = None
        try:
            run_log_dir(state_dir).mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(_open(run_log_path(state_dir, run_id)))
        except OSError:
            logger.warning("the run has no log file", exc_info=True)
        log = RunLog(stream, zone, {"run": run_id, **known}, places)
        forwarder = _Forwarder(log)
        package = logging.getLogger(_PACKAGE)
        package.addHandler(forwarder)
        stack.callback(package.removeHandler, forwarder)
        try:
            yield log
        except BaseException as error:
            log.write("run_ended", f"{type(error).__name__}: {error}", level="ERROR")
            raise
        log.write("run_ended", "the run has ended")


def _open(path: Path) -> TextIO:
    """The file, at the beginning of a line: a process that died may have left half a one."""
    is_cut_off = path.exists() and not path.read_bytes().endswith(b"\n")
    stream = path.open("a", encoding="utf-8")
    if is_cut_off:
        stream.write("\n")
    return stream
