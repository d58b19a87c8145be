"""Progress and summaries in words, English or Chinese, as the old system's users know them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from batch_assets.ops.backfills.values import Backfill, PartitionError, Progress
from batch_assets.ops.display import time_text
from batch_assets.ops.language import Language
from batch_assets.runs.eta_records import EtaAccuracy

# Errors quoted under the progress; `errors` has all of them.
QUOTED_ERRORS = 3

_ENGLISH = {
    "started": "backfill {id} started: {first} to {last}, {total} days",
    "running": "🔄 syncing {current}... ({pct:.1f}%)",
    "requested": "🔄 waiting for Dagster to begin ({pct:.1f}%)",
    "pausing": "⏸ pausing: {current} ends, no other begins ({pct:.1f}%)",
    "pausing_idle": "⏸ pausing: no day is being loaded, runs that were started end ({pct:.1f}%)",
    "paused": "⏸ paused ({pct:.1f}%); batch-assets resume {id} goes on",
    "canceling": "⏹ canceling ({pct:.1f}%)",
    "canceled": "⏹ canceled ({pct:.1f}%)",
    "counts": "progress: {done}/{total}  success: {success}, failed: {failed}, skipped: {skipped}",
    "open": ", without data yet: {open}",
    "rates": "{rows:.0f} rows/s, {symbols:.1f} symbols/s",
    "rejected": "rejected: {rejected}",
    "eta": "expected end: {p50}, by {p90} in 9 of 10 cases",
    "accuracy": "past estimates: the end came later than p50 in {p50:.0f} %, later than p90 in "
    "{p90:.0f} % of {estimates} (backfills: {backfills})",
    "errors": "⚠️ newest errors:",
    "ended": "batch sync finished: success {success}, failed {failed}, skipped {skipped}{open}, "
    "took {minutes} min {seconds} s",
    "open_short": ", without data yet {open}",
    "step": "[{i}/{total}] {current} ({pct:.1f}%)",
}

_CHINESE = {
    "started": "批量同步任务开始: {first} 至 {last}, 共 {total} 天",
    "running": "🔄 正在同步 {current}... ({pct:.1f}%)",
    "requested": "🔄 等待 Dagster 开始 ({pct:.1f}%)",
    "pausing": "⏸ 正在暂停: {current} 完成后不再开始新的日期 ({pct:.1f}%)",
    "pausing_idle": "⏸ 正在暂停: 没有正在加载的日期，等待已启动的运行结束 ({pct:.1f}%)",
    "paused": "⏸ 已暂停 ({pct:.1f}%)；batch-assets resume {id} 继续",
    "canceling": "⏹ 正在取消 ({pct:.1f}%)",
    "canceled": "⏹ 已取消 ({pct:.1f}%)",
    "counts": "进度: {done}/{total}  成功: {success}, 失败: {failed}, 跳过: {skipped}",
    "open": ", 暂无数据: {open}",
    "rates": "{rows:.0f} 行/秒, {symbols:.1f} 股/秒",
    "rejected": "拒绝: {rejected}",
    "eta": "预计完成: {p50}, 九成把握不晚于 {p90}",
    "accuracy": "预计完成时间的准确度: 晚于 p50 的占 {p50:.0f}%, 晚于 p90 的占 {p90:.0f}% "
    "({backfills} 个任务的 {estimates} 次预计)",
    "errors": "⚠️ 最近错误:",
    "ended": "批量同步完成: 成功{success}, 失败{failed}, 跳过{skipped}{open}, "
    "耗时{minutes}分{seconds}秒",
    "open_short": ", 暂无数据{open}",
    "step": "[{i}/{total}] {current} ({pct:.1f}%)",
}

_TEXTS = {Language.ENGLISH: _ENGLISH, Language.CHINESE: _CHINESE}


def started_text(backfill: Backfill, language: Language) -> str:
    """The line at the beginning."""
    return _TEXTS[language]["started"].format(
        id=backfill.backfill_id,
        first=backfill.first_key,
        last=backfill.last_key,
        total=backfill.partitions,
    )


def headline(progress: Progress, language: Language) -> str:
    """`🔄 syncing 2025-10-03... (30.0%)`; the summary, once it has ended."""
    backfill = progress.backfill
    if backfill.state.is_final and backfill.phase != "canceled":
        return summary(progress, language)
    texts = _TEXTS[language]
    phase = backfill.phase if backfill.phase in texts else "running"
    if phase == "pausing" and not progress.running:
        # Runs that were just started find out by themselves that nothing is wanted of them.
        phase = "pausing_idle"
    is_begun = progress.current_key is not None
    return texts[phase if phase != "running" or is_begun else "requested"].format(
        id=backfill.backfill_id,
        current=progress.current_key or backfill.first_key,
        pct=progress.done_pct,
    )


def counts_text(progress: Progress, language: Language) -> str:
    """`progress: 3/10  success: 2, failed: 0, skipped: 1`."""
    texts = _TEXTS[language]
    counts = outcome_counts(progress)
    text = texts["counts"].format(done=progress.done, total=progress.total, **counts)
    without = _without_data(progress)
    return text + (texts["open"].format(open=without) if without else "")


def details(progress: Progress, language: Language, zone: ZoneInfo) -> Iterator[str]:
    """Speed, rejected rows and the expected end, as far as they are known."""
    texts = _TEXTS[language]
    if progress.rows_per_second:
        yield texts["rates"].format(
            rows=progress.rows_per_second, symbols=progress.symbols_per_second or 0
        )
    if progress.rows_rejected:
        yield texts["rejected"].format(rejected=progress.rows_rejected)
    # What is paused ends when somebody resumes it.
    if progress.eta is not None and progress.backfill.phase == "running":
        yield texts["eta"].format(
            p50=_clock(progress.eta.p50_at, zone), p90=_clock(progress.eta.p90_at, zone)
        )


def accuracy_text(accuracy: EtaAccuracy, language: Language) -> str:
    """How good past estimates of the end were; 50 and 10 % are right."""
    return _TEXTS[language]["accuracy"].format(
        p50=accuracy.later_than_p50_pct,
        p90=accuracy.later_than_p90_pct,
        estimates=accuracy.estimates,
        backfills=accuracy.backfills,
    )


def error_lines(errors: Sequence[PartitionError], language: Language) -> Iterator[str]:
    """The newest errors under their headline; nothing where there is none."""
    if not errors:
        return
    yield _TEXTS[language]["errors"]
    for error in errors[:QUOTED_ERRORS]:
        yield f"  {error_line(error)}"


def error_line(error: PartitionError) -> str:
    """`2025-10-02: connection timeout`, in one line."""
    message = " ".join(error.message.split()) or error.state
    is_named = message.startswith(f"{error.partition_key}:")
    return message if is_named else f"{error.partition_key}: {message}"


def summary(progress: Progress, language: Language) -> str:
    """`✅ batch sync finished: success 7, failed 0, skipped 3, took 15 min 30 s`."""
    texts = _TEXTS[language]
    without = _without_data(progress)
    minutes, seconds = divmod(round(progress.seconds or 0), 60)
    mark = {"success": "✅", "partial": "⚠️", "failed": "❌"}.get(progress.backfill.phase, "⏹")
    text = texts["ended"].format(
        **outcome_counts(progress),
        open=texts["open_short"].format(open=without) if without else "",
        minutes=minutes,
        seconds=seconds,
    )
    return f"{mark} {text}"


def outcome_counts(progress: Progress) -> dict[str, int]:
    """Days as people count them: `success`, `failed`, `skipped`."""
    # What was never begun is not there, and a backfill that has ended will not bring it.
    is_over = progress.backfill.state.is_final and progress.backfill.phase != "canceled"
    lost = progress.waiting + progress.running if is_over else 0
    return {
        "success": progress.success + progress.partial,
        "failed": progress.failed + lost,
        "skipped": progress.skipped,
    }


def _without_data(progress: Progress) -> int:
    return progress.not_ready + progress.unconfirmed_empty


def _clock(instant: datetime, zone: ZoneInfo) -> str:
    """The time of day with its offset; with the date, where that is another day."""
    text = time_text(instant, zone)
    is_near = abs(instant - datetime.now(zone)) < timedelta(hours=12)
    return text[11:] if is_near else text
