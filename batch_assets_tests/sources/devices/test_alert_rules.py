"""`[devices.alerts]`: rules that can fire and can be resolved, and whom they concern."""

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.sources.devices.alert_rules import read_alert_settings

FAST = {"name": "fast", "metric": "heart_rate_bpm", "max": 120}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max": 400}, "can never fire: heart_rate_bpm is always from 0 to 350"),
        ({"max": -1}, "can never be resolved"),
        ({"min": 130}, "every value breaks the rule"),
        ({"max": None}, "neither min nor max"),
        ({"metric": "mood"}, "metric is none of heart_rate_bpm"),
        ({"group": "ward"}, "group ward, which is not in groups"),
        ({"records": 0}, "records"),
    ],
)
def test_rule_that_cannot_work_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^.devices") as refused:
        read_alert_settings({"rules": [{**FAST, **change}]})

    assert said in str(refused.value)


def test_two_rules_of_one_name_and_group_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="the same name and group"):
        read_alert_settings({"rules": [FAST, FAST]})
    with pytest.raises(ConfigurationError, match="used for two metrics"):
        read_alert_settings({"rules": [FAST, {**FAST, "metric": "steps"}]})


def test_general_rule_is_for_whoever_has_none_of_its_name() -> None:
    settings = read_alert_settings(
        {
            "groups": {"icu": ["W-9*"], "ward": ["W-*"]},
            "rules": [FAST, {**FAST, "max": 100, "group": "icu"}],
        }
    )

    assert [settings.groups_of(rule) for rule in settings.rules] == [["", "ward"], ["icu"]]
    assert [settings.group_of(name) for name in ("W-91", "W-1", "X")] == ["icu", "ward", ""]
