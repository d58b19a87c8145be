"""One load of a market's day files by one way, measured: ours, psql, or a peer.

Who loads what in which order belongs in the modules of the benchmarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from benchmarks.command import OpenServer
from benchmarks.core_load import Loaded, load_days
from benchmarks.load_figures import PeerCost
from benchmarks.load_peers import LoadPeer, PeerLoad, Peers
from benchmarks.market_year import DayFiles
from benchmarks.measure import Cost, children_cpu_seconds, measure
from benchmarks.peer_environment import PeerAbsent
from benchmarks.psql_copy import (
    PEER_TABLE,
    Psql,
    copy_commands,
    create_peer_table,
    find_psql,
    upsert_commands,
)
from benchmarks.server import BenchmarkServer

Checksums = tuple[object, ...]


@dataclass(slots=True)
class DayLoads:
    """Ways to load day files on one server.

    Attributes:
        psql: None if this machine has none.
        cache_dir: For calendars.
        admin: A connection in autocommit.
        peers: Who takes part; one that fails becomes absent.
    """

    server: BenchmarkServer
    psql: Psql | None
    cache_dir: Path
    admin: psycopg.Connection
    postmaster: psutil.Process | None = None
    peers: Peers = field(default_factory=Peers)

    @classmethod
    def on(cls, opened: OpenServer, cache_dir: Path, peers: Peers | None = None) -> "DayLoads":
        """On an open server, with the peers' table."""
        create_peer_table(opened.admin)
        psql = find_psql(opened.server)
        return cls(
            opened.server, psql, cache_dir, opened.admin, opened.postmaster, peers or Peers()
        )

    def ours(
        self,
        files: DayFiles,
        *,
        unchanged: int,
        how: str | None = None,
        force: bool = False,
        checkpoint: bool = True,
    ) -> Cost:
        """The core, everything on.

        Args:
            unchanged: Rows that have to be found unchanged.
            how: By what all days have to be recognised.

        Raises:
            RuntimeError: Other work was done than is to be measured.
        """
        results: list[Loaded] = []

        def work() -> None:
            connect, feed = self.server.connect, files.feed()
            results.append(load_days(connect, feed, self.cache_dir, files.days, force=force))

        cost = measure(self.admin, work, checkpoint=checkpoint, postmaster=self.postmaster)
        ledger = results[0].ledger
        if (ledger.read, ledger.unchanged) != (files.row_count, unchanged):
            raise RuntimeError(
                f"{files.folder.name}: {ledger}, expected {files.row_count} read and {unchanged} "
                "unchanged; the figures would be those of another work"
            )
        if how is not None and results[0].recognised != {how: len(files.days)}:
            raise RuntimeError(f"recognised {results[0].recognised}, expected all days by {how}")
        return cost

    def psql_copy(self, files: DayFiles) -> Cost:
        r"""`psql \copy` of each file into the keyed table, which is emptied first."""
        self.admin.execute(f"TRUNCATE {PEER_TABLE}")
        return self._psql(copy_commands(files))

    def psql_upsert(self, files: DayFiles, *, only_where_distinct: bool = False) -> Cost:
        """A script of psql: staging table and INSERT … ON CONFLICT DO UPDATE."""
        return self._psql(upsert_commands(files, only_where_distinct=only_where_distinct))

    def _psql(self, commands: Sequence[str]) -> Cost:
        assert self.psql is not None
        psql = self.psql
        # Our imports are warm, so the start of the client program is not counted either.
        start = measure(self.admin, lambda: psql.run(self.server, ["SELECT 1 \\g /dev/null"]))
        before = children_cpu_seconds()
        cost = measure(
            self.admin, lambda: psql.run(self.server, commands), postmaster=self.postmaster
        )
        return replace(
            cost,
            seconds=cost.seconds - start.seconds,
            client_cpu_seconds=children_cpu_seconds() - before,
        )

    def peer(
        self, peer: LoadPeer, files: DayFiles, *, is_upsert: bool = False, is_fresh: bool = True
    ) -> PeerCost | None:
        """A peer, into its table, which is emptied first where it has to be fresh.

        Returns:
            None if it failed; it is absent from then on.
        """
        days = files.days[: peer.kind.max_days]
        if is_fresh:
            self.empty(peer.kind.table)
        paths = [files.file_of(day) for day in days]
        answers: list[PeerLoad] = []

        def work() -> None:
            url = self.server.url
            answers.append(peer.load(url, paths, is_upsert=is_upsert, is_fresh=is_fresh))

        try:
            cost = measure(self.admin, work, postmaster=self.postmaster)
        except PeerAbsent as absent:
            self.peers.absent[peer.name] = f"it failed: {absent}"
            return None
        cost = replace(cost, client_cpu_seconds=answers[0].cpu_seconds)
        rows = files.row_count // len(files.days) * len(days)
        return PeerCost(cost, rows, answers[0].peak_memory_mb)

    def empty(self, table: str) -> None:
        """Empty the peers' table, or drop the schema of one that a peer makes itself."""
        if table == PEER_TABLE:
            self.admin.execute(f"TRUNCATE {table}")
        else:
            self.admin.execute(f"DROP SCHEMA IF EXISTS {table.split('.')[0]} CASCADE")

    def checksums(self, table: str, days: Sequence[date]) -> Checksums:
        """Count, sums and key hashes of days."""
        row = self.admin.execute(
            sql.SQL(
                "SELECT count(*), sum(volume), sum(close), sum(open + high + low + pre_close), "
                "sum(amount), sum(hashtext(symbol || trade_date)::bigint) FROM {} "
                "WHERE trade_date = ANY (%s)"
            ).format(sql.Identifier(*table.split("."))),
            (list(days),),
        ).fetchone()
        assert row is not None
        return row

    def refuse_other_rows(self, way: str, days: Sequence[date], theirs: Checksums) -> None:
        """Compare what a way has stored with what the core has.

        Raises:
            RuntimeError: They differ.
        """
        ours = self.checksums("market.daily_bars", days)
        if ours != theirs:
            raise RuntimeError(f"the core stored {ours}, {way} {theirs}, expected the same")
