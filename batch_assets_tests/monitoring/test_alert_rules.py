from datetime import UTC, datetime, timedelta

from batch_assets.monitoring.alert_rules import Alert, Change, MessageKind, evaluate_alerts
from batch_assets.monitoring.metrics import Sample
from batch_assets.monitoring.settings import RuleSettings

BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
RULE = RuleSettings(
    metric="batch_assets_recent_error_ratio",
    warning_above=0.05,
    critical_above=0.10,
    for_seconds=60,
    keep_seconds=120,
)


class Course:
    """Alerts through time: what one evaluation leaves is what the next one finds."""

    def __init__(self, rule: RuleSettings = RULE) -> None:
        self.rules = {"error_rate": rule}
        self.open: dict[tuple[str, str], Alert] = {}

    def at(self, seconds: float, **values: float) -> list[tuple[str, str, str]]:
        """Evaluate values by target; messages as (kind, severity, subject)."""
        samples = [
            Sample("batch_assets_recent_error_ratio", {"target": name}, value)
            for name, value in values.items()
        ]
        now = BEGIN + timedelta(seconds=seconds)
        changes = evaluate_alerts(self.rules, samples, list(self.open.values()), now)
        for change in changes:
            self._keep(change)
        return [
            (change.message.value, change.alert.severity, change.alert.subject)
            for change in changes
            if change.message is not None
        ]

    def _keep(self, change: Change) -> None:
        if change.is_forgotten or change.message is MessageKind.RESOLVED:
            self.open.pop(change.alert.key, None)
        else:
            self.open[change.alert.key] = change.alert


def test_a_limit_must_be_passed_without_a_break_and_is_told_once() -> None:
    course = Course()

    assert course.at(0, bars=0.06) == []
    assert course.at(30, bars=0.01) == []
    assert course.at(60, bars=0.06) == []
    assert course.at(119, bars=0.06) == []
    assert course.at(120, bars=0.06) == [("fired", "warning", "target=bars")]
    assert course.at(150, bars=0.07) == []


def test_an_alert_ends_only_after_the_limit_was_kept_long_enough() -> None:
    course = Course()
    course.at(0, bars=0.06)
    course.at(60, bars=0.06)

    assert course.at(90, bars=0.05) == []
    assert course.at(120, bars=0.06) == []
    assert course.at(150, bars=0.0) == []
    assert course.at(269, bars=0.0) == []
    assert course.at(270, bars=0.0) == [("resolved", "warning", "target=bars")]
    assert course.at(300, bars=0.0) == []
    assert course.open == {}


def test_a_warning_that_becomes_critical_is_raised_once_after_its_own_wait() -> None:
    course = Course()
    course.at(0, bars=0.06)

    assert course.at(60, bars=0.2) == [("fired", "warning", "target=bars")]
    assert course.at(119, bars=0.2) == []
    assert course.at(120, bars=0.2) == [("raised", "critical", "target=bars")]
    assert course.at(150, bars=0.06) == []
    assert course.at(180, bars=0.2) == []


def test_each_label_set_is_an_alert_of_its_own() -> None:
    course = Course()
    course.at(0, bars=0.2, files=0.0)

    assert course.at(60, bars=0.2, files=0.2) == [("fired", "critical", "target=bars")]
    assert course.at(120, files=0.2) == [
        ("fired", "critical", "target=files"),
        ("resolved", "critical", "target=bars"),
    ]


def test_one_label_value_may_have_a_limit_of_its_own() -> None:
    rule = RULE.model_copy(update={"above": {"strict": 0.01}, "for_seconds": 0})
    course = Course(rule)

    assert course.at(0, strict=0.02, bars=0.02) == [("fired", "critical", "target=strict")]


def test_a_rule_that_was_taken_away_ends_its_alerts() -> None:
    course = Course(RULE.model_copy(update={"for_seconds": 0}))
    course.at(0, bars=0.2)

    course.rules = {}

    assert course.at(1, bars=0.2) == [("resolved", "critical", "target=bars")]
