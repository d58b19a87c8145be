"""Words of the status page in English and Chinese; a test holds the two to the same names."""

from batch_assets.ops.language import Language

_WRITTEN: dict[str, tuple[str, str]] = {
    # Frame
    "title": ("Status", "状态"),
    "language": ("Language", "语言"),
    "sign_out": ("Sign out", "退出"),
    "signed_in_as": ("signed in as", "当前用户"),
    "live": ("live", "实时"),
    "stale": ("not live: no answer since {time}", "已断开：自 {time} 起无响应"),
    "as_of": ("as of {time}", "截至 {time}"),
    "back": ("Status", "状态"),
    "nothing_done": ("Nothing was changed.", "没有任何更改。"),
    "error_title": ("That did not work", "操作未成功"),
    "not_found": (
        "There is no such page, expected one that the status page links to.",
        "没有此页面，请从状态页面进入。",
    ),
    "bad_input": (
        "{fields}: not what the form asks for; correct it and send it again.",
        "{fields}：与表单要求不符，请更正后重新提交。",
    ),
    # Signing in
    "sign_in": ("Sign in", "登录"),
    "sign_in_hint": (
        "Paste a token. `batch-assets tokens create NAME --scope launch` makes one.",
        "请粘贴令牌。使用 `batch-assets tokens create NAME --scope launch` 创建。",
    ),
    "token": ("Token", "令牌"),
    "token_refused": (
        "No token in force is spelt like that. Paste it whole, from ba_ on, or make another one.",
        "没有这样的有效令牌。请完整粘贴（以 ba_ 开头），或新建一个。",
    ),
    "form_stale": (
        "The form was too old. Nothing was changed; send it again.",
        "表单已过期，没有任何更改，请重新提交。",
    ),
    "signed_in_elsewhere": (
        "Came here by a link and signed in already? Go on",
        "通过链接进入且已登录？继续",
    ),
    "scope_short": (
        "The token {actor} may look but not change anything; sign in with one of scope launch.",
        "令牌 {actor} 只能查看，不能更改；请使用 launch 权限的令牌登录。",
    ),
    # Verdict
    "all_well": ("All is well", "一切正常"),
    "attention": ("Needs a look", "需要关注"),
    "trouble": ("Something is wrong", "出现问题"),
    "verdict_alerts": ("Alerts firing: {count}", "{count} 条告警"),
    "verdict_behind": ("Feeds behind: {count}", "{count} 个数据源落后"),
    "verdict_failures": ("Failed loads not mended: {count}", "{count} 个失败加载未修复"),
    "verdict_paused": ("Feeds paused: {count}", "{count} 个数据源已暂停"),
    "verdict_no_daemon": (
        "Dagster's daemon does not run: what is launched does not begin until "
        "`batch-assets up` runs it",
        "Dagster 守护进程未运行：启动的任务要等 `batch-assets up` 运行后才会开始",
    ),
    "verdict_leases": ("Writers silent: {count}", "{count} 个写入进程无响应"),
    # Feeds
    "feeds": ("Feeds", "数据源"),
    "no_feeds": (
        "No feed is configured. Add [market.feeds.<name>] to batch_assets.toml.",
        "尚未配置数据源，请在 batch_assets.toml 中添加 [market.feeds.<name>]。",
    ),
    "fresh": ("up to date", "最新"),
    "behind": ("{count} behind", "落后 {count} 天"),
    "empty": ("never loaded", "从未加载"),
    "unknown": ("no calendar", "无日历"),
    "paused": ("paused", "已暂停"),
    "newest_day": ("Newest day", "最新日期"),
    "due_day": ("Due", "应有日期"),
    "rows_count": ("{count} rows", "{count} 行"),
    "written": ("Written", "写入时间"),
    "paused_by": ("paused by {who}", "由 {who} 暂停"),
    # Backfills
    "running": ("Running", "运行中"),
    "nothing_runs": ("No backfill is running.", "没有正在运行的回填任务。"),
    "launch": ("Launch a range", "启动区间"),
    "launch_button": ("Launch", "启动"),
    "backfill": ("Backfill", "回填"),
    "history": ("History", "历史"),
    "no_history": ("No backfill has ended yet.", "尚无已结束的回填任务。"),
    "done_of": ("{done} of {total} days", "{done} / {total} 天"),
    "now_at": ("at {key}", "正在处理 {key}"),
    "expected_end": ("expected end", "预计完成"),
    "in_nine_of_ten": ("by {time} in 9 of 10 cases", "九成把握不晚于 {time}"),
    "rate": ("{rows} rows/s", "{rows} 行/秒"),
    "succeeded": ("succeeded", "成功"),
    "partial_days": ("incomplete", "不完整"),
    "failed": ("failed", "失败"),
    "skipped": ("skipped", "跳过"),
    "without_data": ("without data yet", "暂无数据"),
    "in_work": ("being loaded", "加载中"),
    "waiting": ("waiting", "等待中"),
    "rejected": ("rejected rows", "拒绝行"),
    "rows_written": ("rows written", "写入行"),
    "rows_read": ("rows read", "读取行"),
    "requested_by": ("requested by {who}", "由 {who} 发起"),
    "took": ("took {duration}", "耗时 {duration}"),
    "began": ("began", "开始"),
    "ended": ("ended", "结束"),
    "retry_of": ("retry of {id}", "重试 {id}"),
    "phase_requested": ("waiting for Dagster", "等待 Dagster"),
    "phase_running": ("running", "运行中"),
    "phase_pausing": ("pausing", "正在暂停"),
    "phase_paused": ("paused", "已暂停"),
    "phase_canceling": ("canceling", "正在取消"),
    "phase_success": ("success", "成功"),
    "phase_partial": ("partial", "部分成功"),
    "phase_failed": ("failed", "失败"),
    "phase_canceled": ("canceled", "已取消"),
    "pause": ("Pause", "暂停"),
    "resume": ("Resume", "继续"),
    "cancel": ("Cancel", "取消"),
    "cancel_ask": (
        "Running days are stopped; what is loaded stays.",
        "正在运行的日期会停止，已加载的数据保留。",
    ),
    "cancel_yes": ("Yes, cancel it", "确认取消"),
    "retry": ("Retry failed days", "重试失败日期"),
    "workbook": ("Error workbook", "错误工作簿"),
    "dagster_run": ("Dagster run", "Dagster 运行"),
    "in_dagster": ("In Dagster", "在 Dagster 中查看"),
    "problems": ("Days that did not end well", "未成功的日期"),
    "no_problems": ("Every day that ended, ended well.", "已结束的日期全部成功。"),
    "older": ("Older", "更早"),
    "newest": ("Newest", "最新"),
    "audit": ("Who did what", "操作记录"),
    "symbols": ("Symbols", "代码"),
    # Launching
    "feed": ("Feed", "数据源"),
    "first_day": ("First day", "开始日期"),
    "last_day": ("Last day", "结束日期"),
    "last_day_hint": ("Empty: the newest day that is due", "留空：最新应有日期"),
    "symbols_hint": ("Empty: all. Separated by spaces or commas", "留空：全部。以空格或逗号分隔"),
    "force": ("Fetch days that are there, too", "重新获取已有日期"),
    "force_hint": (
        "Unchanged rows are not rewritten either way.",
        "未变化的行在任何情况下都不会重写。",
    ),
    # Failures
    "failures": ("Last failures", "最近失败"),
    "no_failures": ("No load has failed.", "没有失败的加载。"),
    "mended": ("mended since", "已修复"),
    "no_message": (
        "No reason was recorded; the log of the run has it.",
        "未记录原因，请查看运行日志。",
    ),
    # Letters
    "letters": ("Rows to answer", "待处理的行"),
    "no_letters": ("No rejected row waits for an answer.", "没有待处理的拒绝行。"),
    "open_rows": ("{count} open", "{count} 行待处理"),
    "commonest": ("mostly {rule}", "主要原因 {rule}"),
    "since": ("since", "自"),
    # Alerts
    "alerts": ("Alerts", "告警"),
    "no_alerts": ("Nothing fires, and nothing did within a day.", "当前及最近一天内没有告警。"),
    "critical": ("critical", "严重"),
    "warning": ("warning", "警告"),
    "resolved": ("resolved", "已恢复"),
    "limit": ("{value}, limit {allowed}", "{value}，上限 {allowed}"),
    # Activity and resources
    "activity": ("Tables", "数据表"),
    "activity_hint": ("among the newest {count} loads", "最近 {count} 次加载"),
    "no_activity": ("Nothing has been loaded yet.", "尚未加载任何数据。"),
    "table": ("Table", "表"),
    "good": ("good", "成功"),
    "open": ("open", "未完成"),
    "resources": ("Resources", "资源"),
    "cpu": ("Processor", "处理器"),
    "memory": ("Memory", "内存"),
    "connections": ("Connections", "连接"),
    "database": ("Database", "数据库"),
    "of": ("{used} of {all}", "{used} / {all}"),
    "cores": ("cores", "核"),
    "writers": ("Windows being written", "正在写入的窗口"),
    "workers": ("Worker processes", "工作进程"),
    "daemon": ("Dagster's daemon", "Dagster 守护进程"),
    "daemon_alive": ("heard {duration} ago", "{duration}前有响应"),
    "daemon_never": ("never heard of", "从未响应"),
    # What was done
    "said_launch": ("Backfill {id} is launched.", "回填 {id} 已启动。"),
    "said_same": (
        "The same range is running already: backfill {id}.",
        "相同区间已在运行：回填 {id}。",
    ),
    "said_pause": (
        "Backfill {id}: running days end, no other begins.",
        "回填 {id}：运行中的日期完成后不再开始新的日期。",
    ),
    "said_resume": ("Backfill {id} goes on.", "回填 {id} 继续运行。"),
    "said_cancel": ("Backfill {id} is being canceled.", "回填 {id} 正在取消。"),
    "said_retry": (
        "Failed days are loaded again as backfill {id}.",
        "失败日期将作为回填 {id} 重新加载。",
    ),
    "said_feed_pause": ("No more days of the feed begin.", "该数据源不再开始新的日期。"),
    "said_feed_resume": ("The feed goes on.", "该数据源继续运行。"),
    # Time
    "just_now": ("just now", "刚刚"),
    "ago": ("{duration} ago", "{duration}前"),
    "ahead": ("in {duration}", "{duration}后"),
    "seconds": ("{n} s", "{n} 秒"),
    "minutes": ("{n} min", "{n} 分钟"),
    "hours": ("{n} h", "{n} 小时"),
    "days": ("{n} d", "{n} 天"),
}

TEXTS: dict[Language, dict[str, str]] = {
    Language.ENGLISH: {name: pair[0] for name, pair in _WRITTEN.items()},
    Language.CHINESE: {name: pair[1] for name, pair in _WRITTEN.items()},
}
SAID = frozenset(name.removeprefix("said_") for name in _WRITTEN if name.startswith("said_"))
"""What a page may be asked to say after a change; nothing else is said."""


def choose_language(asked: str | None, accepted: str, default: Language) -> Language:
    """The language of an answer.

    Args:
        asked: What was chosen by hand, in the address or before; anything else is ignored.
        accepted: The header Accept-Language.
        default: Where neither says.
    """
    if asked in tuple(Language):
        return Language(asked)
    weighed = []
    for place, item in enumerate(accepted.split(",")):
        name, _, parameter = item.strip().partition(";")
        primary = name.partition("-")[0].lower()
        if primary in tuple(Language):
            weighed.append((-_weight(parameter), place, primary))
    best = min(weighed, default=None)
    return default if best is None or best[0] == 0 else Language(best[2])


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
