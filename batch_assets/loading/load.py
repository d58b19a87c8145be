"""Load windows: the owner of every transaction that writes data.

    caller's items -> prepare (one thread) -> hand over -> publish (n connections) -> reports

Each group of windows is one transaction: rows, ledger, window memory, dead letters and the end
of the lease are committed together, or not at all. A window that fails is reported and the rest
goes on; a database that fails ends the call, and what was committed stays committed.
"""

import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from batch_assets.contracts.table import Scope, TableContract
from batch_assets.loading.column_types import check_columns, read_columns
from batch_assets.loading.hand_over import HandOver
from batch_assets.loading.history import check_history
from batch_assets.loading.known_rows import tells_versions
from batch_assets.loading.leases import Connector, Heartbeat
from batch_assets.loading.loads import LoadContext, Outcome
from batch_assets.loading.merge import Target
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.pipeline import Group, prepare_groups
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.publisher import Publisher
from batch_assets.loading.report import LoadReport
from batch_assets.loading.windows import WindowSql
from batch_assets.postgres.connect import translating_errors

logger = logging.getLogger(__name__)


def load_windows(
    connect: Connector,
    contract: TableContract,
    scope: Scope,
    items: Iterable[WindowSource | Outcome],
    options: LoadOptions | None = None,
) -> Iterator[LoadReport]:
    """Load windows of one scope and report each as soon as it is committed.

    Args:
        connect: Opens a connection; one per publishing thread, one for recognising, and one for
            the heartbeat if the load lasts.
        items: Windows to load, or outcomes to record. Read lazily, in another thread.

    Yields:
        One report per item, in the order of commits. `state` is `failed` for a window whose
        data is wrong or whose lease is held for too long.

    Raises:
        SchemaMismatch: Contract and table disagree; nothing was read.
        DatabaseUnavailable: The database failed; windows reported before are committed.
    """
    options = options or LoadOptions()
    context = LoadContext(contract, scope, options.run_id, options.is_part)
    with translating_errors(), connect() as conn:
        target = read_target(conn, context)
        conn.commit()
        with Heartbeat(connect, options.lease_seconds) as heartbeat:
            yield from _Session(connect, conn, context, target, options, heartbeat).run(items)


def read_target(conn: psycopg.Connection, context: LoadContext) -> Target:
    """Compare contract and table, and prepare the statements' parts.

    Raises:
        SchemaMismatch: They disagree.
    """
    contract = context.contract
    columns = read_columns(conn, contract.target)
    check_columns(contract, columns)
    check_history(conn, contract, has_revision="revision" in columns)
    window_type = columns[contract.window_column].type_name if contract.window_column else "text"
    return Target(
        contract=contract,
        parts=WindowSql.of(context, window_type),
        has_revision="revision" in columns,
        tells_versions=tells_versions(conn, contract),
    )


@dataclass(slots=True)
class _Session:
    """The threads of one call and what they share."""

    connect: Connector
    recogniser: psycopg.Connection
    context: LoadContext
    target: Target
    options: LoadOptions
    heartbeat: Heartbeat
    _hand_over: HandOver = field(init=False)
    _failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _first_has_taken: threading.Event = field(default_factory=threading.Event)
    _reports: "queue.Queue[LoadReport | None]" = field(default_factory=queue.Queue)

    def run(self, items: Iterable[WindowSource | Outcome]) -> Iterator[LoadReport]:
        options = self.options
        self._hand_over = HandOver(
            options.queue_bytes, options.group_rows, self._stop, options.publish_connections
        )
        threads = [
            threading.Thread(target=self._prepare, args=(items,), name="load-prepare"),
            *(
                threading.Thread(
                    target=self._publish,
                    kwargs={"is_first": number == 0},
                    name=f"load-publish-{number}",
                )
                for number in range(self.options.publish_connections)
            ),
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._collect()
        finally:
            # Reached at the end, on failure, and when the caller stops early: nobody is left.
            self._halt()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _collect(self) -> Iterator[LoadReport]:
        publishers_left = self.options.publish_connections
        while publishers_left:
            report = self._reports.get()
            if report is None:
                publishers_left -= 1
            else:
                yield report

    def _prepare(self, items: Iterable[WindowSource | Outcome]) -> None:
        with self._failing_together():
            groups = prepare_groups(
                items,
                self.recogniser,
                self.context,
                self.target,
                chunk_rows=self.options.chunk_rows,
                reject_limit=self.options.reject_limit,
                force=self.options.force,
                recognise_windows=self.options.recognise_windows,
                may_begin=self.options.may_begin,
            )
            for group in groups:
                if not self._hand_over.put(group):
                    return
            self._hand_over.finish()

    def _publish(self, *, is_first: bool) -> None:
        try:
            with self._failing_together():
                # The first connects while windows are prepared. Others do when there is work for
                # them too: most calls have one window.
                group = None if is_first else self._take_after_first()
                if is_first or group is not None:
                    with self.connect() as conn:
                        self._publish_on(conn, group)
        finally:
            self._reports.put(None)

    def _take_after_first(self) -> Group | None:
        self._first_has_taken.wait()
        return self._hand_over.take()

    def _publish_on(self, conn: psycopg.Connection, group: Group | None) -> None:
        publisher = Publisher(
            conn, self.context, self.target, self.options, self.heartbeat, self._stop
        )
        group = group or self._hand_over.take()
        self._first_has_taken.set()
        while group is not None:
            # Large windows hold no memory yet: any number of them may wait here.
            if group.oversized is None or self.options.may_begin():
                for report in publisher.publish(group):
                    self._reports.put(report)
                self._hand_over.release(group.size_bytes)
            group = self._hand_over.take()

    @contextmanager
    def _failing_together(self) -> Iterator[None]:
        """The first failure of any thread stops all of them and is raised to the caller."""
        try:
            with translating_errors():
                yield
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread and raised there
            if self._failure is None:
                self._failure = error
            self._halt()

    def _halt(self) -> None:
        """Wake everybody who waits, so that all threads end after what they are doing."""
        self._stop.set()
        self._first_has_taken.set()
        self._hand_over.wake()
