import threading
from collections.abc import Iterator

import psycopg
import pytest

from batch_assets.loading.load import load_windows
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import WindowSource
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    DAY,
    SCOPE,
    connector,
    create_table,
    days,
    load,
    many_rows,
    rows_of,
    source_of,
)
from batch_assets_tests.polling import wait_until


def test_a_slow_publisher_holds_the_reader_back_and_no_window_is_lost(postgres: str) -> None:
    create_table(postgres)
    opened: list[int] = []

    def sources() -> Iterator[WindowSource]:
        for number, day in enumerate(days(200)):
            opened.append(number)
            yield source_of(many_rows(500), day)

    with connector(postgres)() as blocker:
        blocker.execute("LOCK TABLE prices IN SHARE MODE")
        options = LoadOptions(queue_bytes=100_000, publish_connections=1)
        reports = load_windows(connector(postgres), CONTRACT, SCOPE, sources(), options)
        states: list[str] = []
        reader = threading.Thread(target=lambda: states.extend(r.state.value for r in reports))
        reader.start()
        with connector(postgres)() as watching:
            watching.autocommit = True
            wait_until(
                lambda: watching.execute(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'prices'::regclass"
                ).fetchone(),
                "a publisher that waits",
            )
        # Slices of 4 and 16 windows are looked up ahead; of the second, the budget admits few.
        assert len(opened) <= 20
        blocker.rollback()
        reader.join(timeout=60)

    assert states == ["success"] * 200
    assert len(rows_of(postgres)) == 100_000


def test_the_same_window_twice_in_one_call_is_loaded_twice(postgres: str) -> None:
    create_table(postgres)

    reports = load(
        postgres, source_of([("A", "1", None)]), source_of([("A", "2", None), ("B", "1", None)])
    )

    assert [report.error for report in reports] == [None, None]
    assert {report.window.key for report in reports} == {DAY.isoformat()}


def test_a_failing_source_of_windows_ends_the_call_with_its_own_error(postgres: str) -> None:
    create_table(postgres)

    def sources() -> Iterator[WindowSource]:
        yield from (source_of(many_rows(3_000), day) for day in days(64))
        raise KeyError("the list of days broke")

    with pytest.raises(KeyError, match="the list of days broke"):
        list(load_windows(connector(postgres), CONTRACT, SCOPE, sources(), LoadOptions()))

    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith(("load-", "lease-"))] == []


def test_a_call_with_one_window_opens_two_connections(postgres: str) -> None:
    create_table(postgres)
    opened = 0

    def connect() -> psycopg.Connection:
        nonlocal opened
        opened += 1
        return connector(postgres)()

    options = LoadOptions(publish_connections=4)
    reports = load_windows(connect, CONTRACT, SCOPE, [source_of(many_rows(500), DAY)], options)

    assert [report.state.value for report in reports] == ["success"]
    assert opened == 2
