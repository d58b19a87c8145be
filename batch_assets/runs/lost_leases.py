"""Leases of processes outside of Dagster that ended without a word: a killed command, a script.

This imports no Dagster, so that a command can look at its start.
"""

import psycopg

from batch_assets.execution.process_identity import is_running_here, this_process
from batch_assets.loading.abandoned import Hold, end_holds, read_holds

# A lease that was not renewed for its whole term and this long after is not going to be: the
# heartbeat beats three times in a term, and a network that is back within the time is forgiven.
SILENT_SECONDS = 30.0


def find_lost_leases(conn: psycopg.Connection) -> list[Hold]:
    """Leases without a run that nobody holds any more.

    Lost is a lease whose process was on this host and is gone, as is the backend it was taken
    with; without the latter a process of another container of the same name would be taken for a
    dead one. Of another host is lost what ran out long ago.
    """
    host = this_process().host
    return [
        hold
        for hold in read_holds(conn, grace_seconds=SILENT_SECONDS)
        if hold.run_id is None
        and not (hold.host == host and is_running_here(hold.pid))
        and (hold.is_silent or _was_here(hold, host))
    ]


def end_lost_lease(conn: psycopg.Connection, hold: Hold) -> tuple[int, int]:
    """Free one of them, commit, and return the numbers of leases ended and of loads closed."""
    is_dead = _was_here(hold, this_process().host)
    message = f"{seen_of(hold)}; {DONE}"
    ended = end_holds(conn, [hold], run_id=None, is_dead=is_dead, message=message)
    conn.commit()
    return ended


def end_lost_leases(conn: psycopg.Connection) -> None:
    """Free all of them, at the start of something that would else wait for them to run out."""
    for hold in find_lost_leases(conn):
        end_lost_lease(conn, hold)
    conn.commit()


DONE = "the lease is free and its load is closed as failed; load the window again"
"""What was done about a lost lease, for a person."""


def seen_of(hold: Hold) -> str:
    """What says that a lease is lost, for a person."""
    process = f"process {hold.pid} on host {hold.host}"
    if hold.is_silent:
        return (
            f"{process} has not renewed its lease on {hold.resource} for {SILENT_SECONDS:.0f} s "
            "after it ran out"
        )
    return f"{process} held the lease on {hold.resource} and is gone"


def _was_here(hold: Hold, host: str) -> bool:
    return hold.host == host and not hold.has_backend
