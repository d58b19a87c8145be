"""Hosts of their own network, name and process ids: four workers, and a host that is cut off."""

from pathlib import Path

import pytest

from benchmarks.hosts import HOSTS, LEASE_SECONDS, administer, cut_off, open_site
from benchmarks.market_year import write_year
from benchmarks.network import NotPermitted, opened_network


@pytest.mark.crash
def test_a_host_that_is_cut_off_while_it_commits_is_replaced_and_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    files = write_year(tmp_path / "days", cache, symbols=30, sessions=8)
    try:
        with opened_network(tmp_path, HOSTS) as network, administer(network) as admin:
            # It compares every row with the files, and the ledger with what one writer leaves.
            cut = cut_off(open_site(network, files, cache, admin), admin)
    except NotPermitted as reason:
        pytest.skip(str(reason))

    assert cut.takeover_seconds >= LEASE_SECONDS / 2
    # Its commit met a session that is no more; tried again, it found the days of the other host.
    assert "DatabaseUnavailable" in cut.late_words
    assert "STEP_UP_FOR_RETRY" in cut.late_words
    assert "8 already_present" in cut.late_words
    assert cut.late_status == 0
