"""What people are told about an alert, in English or Chinese.

What is wrong, since when, what it affects, and the first command. docs/monitoring.md says more.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from batch_assets.monitoring.alert_rules import Alert, MessageKind

Language = Literal["en", "zh"]
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0

# Rule: what is wrong and affected in English, in Chinese, first command.
_RULES: dict[str, tuple[str, str, str]] = {
    "error_rate": (
        "rows are rejected or rolled back; they wait as dead letters",
        "批处理错误率过高，被拒绝的行已进入死信",
        "batch-assets dead-letters list",
    ),
    "failed_loads": (
        "loads fail; their partitions keep the rows they had",
        "加载失败率过高，相应分区保持原有数据",
        "batch-assets errors",
    ),
    "back_pressure": (
        "a queue is nearly full; when it is, senders are refused",
        "队列使用率过高，存在溢出风险，满后将拒绝新数据",
        "batch-assets devices status",
    ),
    "memory": (
        "memory of the container is nearly used up; the kernel may end processes",
        "内存使用率过高，进程可能被系统终止",
        "batch-assets doctor",
    ),
    "lag": (
        "what was accepted is not written or sent in time",
        "数据处理延迟过大",
        "batch-assets devices status",
    ),
    "freshness": (
        "a session that is due has no rows",
        "数据不新鲜：应到的交易日没有数据",
        "batch-assets plan market --from DAY",
    ),
    "silent_lease": (
        "a writer has gone silent and its window is not free",
        "写入者已失去响应，其窗口仍被占用",
        "batch-assets locks",
    ),
    "lock_wait": (
        "a statement waits for a lock of another",
        "数据库语句等待锁时间过长",
        "batch-assets locks",
    ),
    "vendor_breaker": (
        "a vendor failed repeatedly and is not asked for now",
        "数据源多次失败，暂停请求",
        "batch-assets doctor",
    ),
    "silent_devices": (
        "devices sent records and then stopped",
        "设备停止上报数据",
        "batch-assets devices silent",
    ),
    "undelivered": (
        "messages of devices were refused too often and are given up",
        "设备消息多次被拒绝，已放弃发送",
        "batch-assets devices relay",
    ),
}
_WORDS = {
    "en": {"fired": "firing", "raised": "now critical", "resolved": "resolved"},
    "zh": {"fired": "告警", "raised": "升级为严重", "resolved": "已恢复"},
}
_TIME = "%Y-%m-%d %H:%M:%S%z"
_OVER = {
    "en": "Over at {over}, since {since}: {why}.",
    "zh": "已恢复：{over}（自 {since}，{why}）。",
}
_SEVERITIES = {
    "en": {"warning": "WARNING", "critical": "CRITICAL"},
    "zh": {"warning": "警告", "critical": "严重"},
}


def build_message(
    alert: Alert,
    kind: MessageKind,
    language: Language,
    now: datetime,
    names: Sequence[str] = (),
) -> dict[str, object]:
    """What is stored and sent: a title, a text, and the fields they are made of.

    Args:
        alert: As it is stored.
        kind: What people are told of it.
        language: In which.
        now: The present.
        names: Of what is counted, the first ones.
    """
    english, chinese, command = _RULES.get(
        alert.rule, ("the limit of a rule is passed", "超过规则限值", "batch-assets alerts list")
    )
    what = chinese if language == "zh" else english
    value, allowed = amount(alert.metric, alert.value), amount(alert.metric, alert.allowed)
    where = f" [{alert.subject}]" if alert.subject else ""
    severity = _SEVERITIES[language][alert.severity]
    title = f"{severity} {_WORDS[language][kind.value]}: {alert.rule}{where}"
    since, over = f"{alert.broken_since:{_TIME}}", f"{now:{_TIME}}"
    if kind is MessageKind.RESOLVED:
        lines = [_OVER[language].format(over=over, since=since, why=_ending(alert, language))]
    elif language == "zh":
        seen = f"数值 {value}，允许 {allowed}；自 {since}。"
        lines = [f"{what}。", seen, *_named(names, language), f"命令：{command}"]
    else:
        seen = f"Seen {value}, allowed {allowed}; since {since}."
        lines = [f"{what}.", seen, *_named(names, language), f"Run: {command}"]
    return {
        "title": title,
        "text": "\n".join(lines),
        "kind": kind.value,
        "rule": alert.rule,
        "severity": alert.severity,
        "subject": alert.subject,
        "metric": alert.metric,
        "value": alert.value,
        "allowed": alert.allowed,
        "since": alert.broken_since.isoformat(),
        "names": list(names),
        "alert_id": alert.alert_id,
    }


def _named(names: Sequence[str], language: Language) -> list[str]:
    if not names:
        return []
    return [f"最久的：{'、'.join(names)}"] if language == "zh" else [f"Longest: {', '.join(names)}"]


def message_of_test(language: Language, now: datetime) -> dict[str, object]:
    """What `alerts test` sends."""
    texts = {
        "en": ("TEST: batch-assets alerts", "This channel works. Nothing is wrong."),
        "zh": ("测试: batch-assets 告警", "此通道可用，没有异常。"),
    }
    title, text = texts[language]
    return {
        "title": title,
        "text": text,
        "kind": "test",
        "severity": "warning",
        "since": now.isoformat(),
    }


def amount(metric: str, value: float) -> str:
    """A value as a person reads it, by the unit in the metric's name."""
    if metric.endswith("_ratio"):
        return f"{100 * value:.1f} %"
    if metric.endswith("_seconds"):
        for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
            if value >= unit:
                return f"{value / unit:.1f} {name}"
        return f"{value:.0f} s"
    return f"{value:g}"


def _ending(alert: Alert, language: Language) -> str:
    texts = {
        "normal": ("within the limit again", "数值恢复正常"),
        "absent": ("no longer measured", "不再有测量值"),
        "no_rule": ("the rule was taken away", "规则已取消"),
    }
    return texts[alert.resolution or "normal"][language == "zh"]
