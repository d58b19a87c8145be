from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from batch_assets.ops.backfills import texts
from batch_assets.ops.backfills.values import Backfill, Progress
from batch_assets.ops.language import Language
from batch_assets.runs.backfill_states import BackfillState, Wanted

ASKED_AT = datetime(2025, 10, 18, 4, 0, tzinfo=UTC)


def progress(state: str = "running", **counts: object) -> Progress:
    ended = ASKED_AT + timedelta(minutes=15, seconds=30)
    backfill = Backfill(
        backfill_id=1,
        asset_key="market/cn/daily_bars",
        feed="cn",
        first_key="2025-10-01",
        last_key="2025-10-10",
        partitions=10,
        is_forced=False,
        symbols=(),
        priority=-10,
        wanted=Wanted.RUN,
        state=BackfillState(state),
        is_feed_paused=False,
        problem="",
        retry_of=None,
        requested_by="ann",
        requested_at=ASKED_AT,
        started_at=ASKED_AT,
        ended_at=ended if BackfillState(state).is_final else None,
        dagster_backfill_ids=(),
    )
    none = dict.fromkeys(
        (
            *("success", "partial", "failed", "skipped", "not_ready", "unconfirmed_empty"),
            *("running", "waiting", "rows_read", "rows_inserted", "rows_updated"),
            *("rows_unchanged", "rows_duplicate", "rows_rejected", "rows_skipped"),
        ),
        0,
    )
    return Progress(
        backfill=backfill,
        current_key="2025-10-03",
        rows_per_second=None,
        symbols_per_second=None,
        eta=None,
        updated_at=None,
        **{**none, **counts},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("language", "line", "counts", "summary"),
    [
        (
            Language.CHINESE,
            "🔄 正在同步 2025-10-03... (30.0%)",
            "进度: 3/10  成功: 2, 失败: 0, 跳过: 1",
            "✅ 批量同步完成: 成功7, 失败0, 跳过3, 耗时15分30秒",
        ),
        (
            Language.ENGLISH,
            "🔄 syncing 2025-10-03... (30.0%)",
            "progress: 3/10  success: 2, failed: 0, skipped: 1",
            "✅ batch sync finished: success 7, failed 0, skipped 3, took 15 min 30 s",
        ),
    ],
)
def test_lines_are_those_people_know(
    language: Language, line: str, counts: str, summary: str
) -> None:
    running = progress(success=2, skipped=1, waiting=7)

    assert texts.headline(running, language) == line
    assert texts.counts_text(running, language) == counts
    assert texts.headline(progress("success", success=7, skipped=3), language) == summary


def test_days_that_never_came_are_failed_at_the_end() -> None:
    seen = progress("partial", success=7, waiting=3)

    assert "success 7, failed 3, skipped 0" in texts.summary(seen, Language.ENGLISH)


def test_speed_and_rejected_rows_are_told_when_they_are_known() -> None:
    seen = replace(progress(), rows_per_second=5.1, symbols_per_second=5.1, rows_rejected=12)

    told = list(texts.details(seen, Language.CHINESE, ZoneInfo("Asia/Shanghai")))

    assert told == ["5 行/秒, 5.1 股/秒", "拒绝: 12"]


@pytest.mark.parametrize(
    ("running", "said"),
    [
        (1, "⏸ pausing: 2025-10-03 ends, no other begins (30.0%)"),
        (0, "⏸ pausing: no day is being loaded, runs that were started end (30.0%)"),
    ],
)
def test_pausing_names_a_day_only_while_one_is_loaded(running: int, said: str) -> None:
    seen = progress(success=2, skipped=1, running=running, waiting=7 - running)
    held = replace(seen, backfill=replace(seen.backfill, wanted=Wanted.PAUSE))

    assert texts.headline(held, Language.ENGLISH) == said
