"""The one connection of a vendor, between processes that share nothing but the database."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import LeaseHeld
from batch_assets.ingest.market.vendor_lease import PostgresSoleUse, sole_use_of
from batch_assets.postgres.connect import connect
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.baostock import BaostockVendor
from batch_assets.sources.market.vendors.vendor import VendorAccess
from batch_assets.sources.market.vendors.vendor_source import Gate
from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.bars import a_share_market
from batch_assets_tests.polling import wait_until
from batch_assets_tests.sources.market.vendors.conftest import DAY, build_vendor_feed, secret

LEASE_SECONDS = 1.5

# Asks once, says so, and keeps the connection until it is told to go.
HOLDER = """
import sys
from datetime import date
from functools import partial
from pathlib import Path
from batch_assets.ingest.market.vendor_lease import PostgresSoleUse
from batch_assets.postgres.connect import connect
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.market.vendors.baostock import BaostockVendor
from batch_assets.sources.market.vendors.vendor import VendorAccess, no_secrets
url, port, lock_dir, lease_seconds = sys.argv[1:]
body = {"vendor": "baostock", "host": "127.0.0.1", "port": int(port), "connection_wait_seconds": 20}
feed = build_feeds({"feeds": {"vendor": body}}, Path())["vendor"]
sole_use = PostgresSoleUse(
    partial(connect, url, application_name="holder"), feed, run_id="run-of-the-holder",
    lease_seconds=float(lease_seconds),
)
vendor = BaostockVendor(feed, VendorAccess(no_secrets, Path(lock_dir), sole_use=sole_use))
print(vendor.fetch_day(date(2024, 9, 30)).read_rows, flush=True)
sys.stdin.readline()
vendor.close()
print("closed", flush=True)
"""


@pytest.fixture
def server() -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        server.add_day(DAY, a_share_market(DAY))
        yield server


def feed_of(server: BaostockServer, wait_seconds: float) -> VendorFeed:
    return build_vendor_feed(
        "baostock",
        host="127.0.0.1",
        port=server.port,
        connection_wait_seconds=wait_seconds,
        read_timeout_seconds=10.0,
        reply_timeout_seconds=20.0,
    )


def vendor_of(
    url: str, server: BaostockServer, folder: Path, wait_seconds: float
) -> tuple[BaostockVendor, PostgresSoleUse]:
    sole_use = PostgresSoleUse(
        partial(connect, url, application_name="test"),
        feed_of(server, wait_seconds),
        run_id=None,
        lease_seconds=LEASE_SECONDS,
    )
    # A folder of its own, as on another host: the lock file would not be seen there.
    access = VendorAccess(secret, folder / "elsewhere", sole_use=sole_use)
    return BaostockVendor(feed_of(server, wait_seconds), access), sole_use


@pytest.fixture
def holder(
    postgres: str, server: BaostockServer, tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    arguments = [postgres, str(server.port), str(tmp_path), str(LEASE_SECONDS)]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "30\n"
    yield process
    process.kill()
    process.communicate()


def holders(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [name for [name] in conn.execute("SELECT holder FROM ops.leases")]


def test_second_process_is_told_who_holds_the_connection_and_gets_it_when_that_ends(
    postgres: str, server: BaostockServer, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    impatient, _ = vendor_of(postgres, server, tmp_path, wait_seconds=2.5)
    patient, _ = vendor_of(postgres, server, tmp_path, wait_seconds=20)

    # Longer than the lease: the holder's heartbeat renews it.
    with pytest.raises(LeaseHeld) as caught:
        impatient.fetch_day(DAY)
    assert holder.stdin is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    rows = patient.fetch_day(DAY).read_rows
    patient.close()

    message = str(caught.value)
    assert "baostock allows one connection, and " in message
    assert f":{holder.pid} run run-of-the-holder holds it since 20" in message
    assert "waited 2.5 s for it (connection_wait_seconds of feed vendor)" in message
    assert "run the partition again when that process has ended" in message
    assert rows == 30
    assert server.logins == 2
    assert server.most_open == 1
    assert holders(postgres) == []


@pytest.mark.crash
def test_connection_of_a_killed_process_is_free_after_its_lease(
    postgres: str, server: BaostockServer, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    vendor, _ = vendor_of(postgres, server, tmp_path, wait_seconds=20)

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    rows = vendor.fetch_day(DAY).read_rows
    vendor.close()

    assert rows == 30
    assert server.most_open == 1


@pytest.mark.crash
def test_process_that_was_stopped_too_long_asks_nothing_more_over_its_old_connection(
    postgres: str, server: BaostockServer, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    vendor, sole_use = vendor_of(postgres, server, tmp_path, wait_seconds=20)

    # Its connection cannot be closed from outside; that it is not used again is what we can do.
    holder.send_signal(signal.SIGSTOP)
    vendor.fetch_day(DAY)
    holder.send_signal(signal.SIGCONT)
    assert holder.stdin is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    assert holder.wait(timeout=20) == 0

    assert sole_use.is_held()
    assert f":{holder.pid}" not in holders(postgres)[0]
    assert [fields[0] for fields in server.questions] == ["query_daily_history_k_AStock"] * 2
    vendor.close()


def test_lease_that_was_taken_over_is_noticed_before_the_next_question(
    postgres: str, server: BaostockServer, tmp_path: Path
) -> None:
    vendor, sole_use = vendor_of(postgres, server, tmp_path, wait_seconds=0.2)
    vendor.fetch_day(DAY)

    with psycopg.connect(postgres) as conn:
        conn.execute(
            "UPDATE ops.leases SET token = nextval('ops.lease_tokens'), holder = 'other:1',"
            " expires_at = now() + interval '1 hour'"
        )
    with pytest.raises(LeaseHeld, match="other:1 holds it since"):
        vendor.fetch_day(DAY)

    wait_until(lambda: not server.open_connections, "the old connection is closed")
    assert not sole_use.is_held()
    assert len(server.questions) == 1
    vendor.close()
    assert holders(postgres) == ["other:1"]


def test_vendors_with_several_connections_need_no_lease(postgres: str) -> None:
    open_connection = partial(connect, postgres, application_name="test")

    tushare = build_vendor_feed("tushare")
    assert sole_use_of(tushare, open_connection, run_id=None, lease_seconds=30) is None
    baostock = build_vendor_feed("baostock")
    assert sole_use_of(baostock, open_connection, run_id=None, lease_seconds=30) is not None


def test_range_waits_once_for_a_connection_that_somebody_keeps(server: BaostockServer) -> None:
    gate = Gate(feed_of(server, 0))
    waits: list[int] = []

    def wait_in_vain() -> None:
        waits.append(1)
        raise LeaseHeld("somebody has it")

    for _ in range(3):
        with pytest.raises(LeaseHeld, match="somebody has it"):
            gate.ask(wait_in_vain)

    assert waits == [1]
