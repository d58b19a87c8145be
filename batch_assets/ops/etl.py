"""Start the configured transfer, and say how far it is; what the original ETL service did.

The transfer runs in a process of its own, as `batch-assets tables run` does by hand: its memory
is not the service's, and it goes on where it was when either of them is killed.
"""

import logging
import subprocess
import sys
import threading
from dataclasses import dataclass

import psycopg

from batch_assets.errors import ConfigurationError, LeaseHeld
from batch_assets.ingest.tables.counts import count_waiting
from batch_assets.ops.access import record_audit
from batch_assets.postgres.connect import connect
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings, child_environment
from batch_assets.sources.tables.open import Connector, source_connector
from batch_assets.sources.tables.transfer import Transfer, build_transfers

logger = logging.getLogger(__name__)

_ACTION = "transfer.start"
# What is shown of a process that ended badly.
_LAST_WORDS_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class EtlProgress:
    """How far the transfer that was started last is.

    Attributes:
        total: Rows that were to be moved when it was started; 0 before the first start.
        processed: Rows that were read.
        status: idle, running, completed or failed.
        error: Why it failed.
    """

    total: int
    processed: int
    status: str
    error: str = ""


class EtlRunner:
    """Runs one transfer at a time in a process of its own; safe to share between threads."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._settings = settings
        self._database_url = database_url
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""

    def start(self, conn: psycopg.Connection, name: str | None, actor: str) -> Transfer:
        """Begin; it has begun when the caller has committed.

        Args:
            conn: The audit row is written on it, and committed here: the process counts from it.
            name: Of `[api] etl_transfer`; None where only one transfer is configured.
            actor: Who asks.

        Raises:
            ConfigurationError: No transfer is named, it is daily, or its source is not configured.
            LeaseHeld: One is running.
            SourceUnavailable: The source does not answer.
        """
        transfer = self._choose(name)
        with self._lock:
            if self._is_running:
                raise LeaseHeld("a transfer is running, expected none; ask /progress how far it is")
            total = count_waiting(self._connect, transfer, self._source(transfer))
            record_audit(conn, actor, _ACTION, transfer.name, total=total, target=transfer.target)
            conn.commit()
            self._failure = ""
            self._process = subprocess.Popen(  # noqa: S603 - our own program and a checked name
                [sys.executable, "-m", "batch_assets.ops.cli.main", "tables", "run", transfer.name],
                env=child_environment(self._settings),
                cwd=self._settings.config_dir,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # A service that is interrupted at a terminal does not interrupt what it began.
                start_new_session=True,
            )
            threading.Thread(
                target=self._reap, args=(self._process, transfer.name), daemon=True, name="etl"
            ).start()
        return transfer

    def progress(self, conn: psycopg.Connection) -> EtlProgress:
        """How far it is; also of one that another process of the service started."""
        row = conn.execute(read_query("read_transfer_progress")).fetchone()
        if row is None:
            return EtlProgress(0, 0, "idle")
        total, processed, state, error = int(row[1]), int(row[2]), row[3], str(row[4])
        with self._lock:
            is_running, failure = self._is_running, self._failure
        if is_running or state == "running":
            return EtlProgress(total, min(processed, total), "running")
        if failure or state in ("failed", "unconfirmed_empty"):
            return EtlProgress(total, min(processed, total), "failed", error or failure or state)
        if state is None:
            return EtlProgress(total, 0, "failed", "its process ended before it began to load")
        # Rows that came or went meanwhile: what was read is what there was.
        whole = processed if state in ("success", "partial") else total
        return EtlProgress(whole, whole, "completed")

    @property
    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _choose(self, name: str | None) -> Transfer:
        transfers = build_transfers(self._settings.section("tables"))
        chosen = next(iter(transfers), "") if name is None and len(transfers) == 1 else name or ""
        if chosen not in transfers:
            raise ConfigurationError(
                f"which transfer to start is {chosen or 'not said'}, and {len(transfers)} are "
                f"configured ({', '.join(transfers) or 'none'}); name one: etl_transfer in [api]"
            )
        if transfers[chosen].window_column:
            raise ConfigurationError(
                f"the transfer {chosen} is loaded day by day, expected one without window_column; "
                "launch its days in Dagster, or name another one: etl_transfer in [api]"
            )
        return transfers[chosen]

    def _reap(self, process: subprocess.Popen[bytes], name: str) -> None:
        _, said = process.communicate()
        if process.returncode:
            words = said[-_LAST_WORDS_BYTES:].decode("utf-8", "replace").strip()
            logger.error("transfer %s ended with status %d: %s", name, process.returncode, words)
            with self._lock:
                if self._process is process:
                    self._failure = words or f"its process ended with status {process.returncode}"

    def _connect(self) -> psycopg.Connection:
        return connect(
            self._database_url,
            application_name="batch_assets serve",
            options=self._settings.database,
        )

    def _source(self, transfer: Transfer) -> Connector:
        return source_connector(
            transfer,
            self._connect,
            secret=self._settings.secret,
            options=self._settings.database,
        )
