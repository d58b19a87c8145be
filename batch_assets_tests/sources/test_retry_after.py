from datetime import UTC, datetime

from batch_assets.sources.retry_after import retry_after_seconds


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2024, 9, 30, 12, 0, tzinfo=UTC)

    assert retry_after_seconds("17", now) == 17
    assert retry_after_seconds("Mon, 30 Sep 2024 12:01:00 GMT", now) == 60
    assert retry_after_seconds("Mon, 30 Sep 2024 11:00:00 GMT", now) == 0
    assert retry_after_seconds("soon", now) is None
    assert retry_after_seconds(None, now) is None
