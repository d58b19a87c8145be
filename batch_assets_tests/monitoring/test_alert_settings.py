import logging

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.monitoring.settings import (
    DEFAULT_RULES,
    is_configured,
    message_language,
    read_alert_settings,
)
from batch_assets.monitoring.watch import watch_alerts
from batch_assets.ops.monitoring import send_test
from batch_assets_tests.fakes.alert_receivers import webhook
from batch_assets_tests.monitoring.conftest import System


def test_without_the_section_the_default_rules_go_to_the_log(system: System) -> None:
    settings = system.settings()
    alerts = read_alert_settings(settings)

    assert set(alerts.rules) == set(DEFAULT_RULES)
    assert [one.kind for one in alerts.channels.values()] == ["log"]
    assert not is_configured(settings)


def test_what_is_written_is_laid_over_the_default(system: System) -> None:
    settings = system.settings("[alerts.rules.error_rate]\ncritical_above = 0.2\n")
    rule = read_alert_settings(settings).rules["error_rate"]

    assert (rule.warning_above, rule.critical_above) == (0.05, 0.2)
    assert is_configured(settings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[alerts.rules.mine]\nmetric = 'nonsense'\nwarning_above = 1", "metric is unknown"),
        ("[alerts.rules.mine]\nmetric = 'batch_assets_leases'", "no limit is set"),
        (
            "[alerts.rules.mine]\nmetric = 'batch_assets_leases'\nwarning_above = 1\n"
            "where = { feed = 'a' }",
            "where names",
        ),
        ("[alerts.channels.a]\nkind = 'pigeon'", "pigeon"),
        ("[alerts]\nrules = 5", "not tables"),
        ("[alerts]\nevery = 5", "every"),
    ],
)
def test_a_wrong_setting_is_named(system: System, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_alert_settings(system.settings(text))


@pytest.mark.parametrize(
    ("text", "locale", "language"),
    [
        ("", "zh_CN.UTF-8", "zh"),
        ("", "en_US.UTF-8", "en"),
        ("[display]\nlanguage = 'zh'", "en_US.UTF-8", "zh"),
        ("[alerts]\nlanguage = 'en'\n[display]\nlanguage = 'zh'", "zh_CN.UTF-8", "en"),
    ],
)
def test_language_of_messages(system: System, text: str, locale: str, language: str) -> None:
    assert message_language(system.settings(text, LANG=locale)) == language


def test_the_log_says_it_in_chinese_with_the_first_command(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.execute(
        "INSERT INTO devices.inbox (bucket, body, received_at)"
        " VALUES (1, '{}', now() - interval '10 min')"
    )
    settings = system.settings("[alerts]\nlanguage = 'zh'\n[alerts.rules.lag]\nfor_seconds = 0\n")

    with caplog.at_level(logging.WARNING):
        assert watch_alerts(system.connect, settings, "test").fired == 1

    assert "严重 告警: lag [queue=device_inbox]" in caplog.text
    assert "数值 10.0 min，允许 5.0 min" in caplog.text
    assert "batch-assets devices status" in caplog.text


def test_channels_are_tried_one_by_one(system: System) -> None:
    with webhook() as receiver:
        settings = system.settings(
            "[alerts.channels.good]\nkind = 'webhook'\nurl_env = 'GOOD'\n"
            "[alerts.channels.bad]\nkind = 'webhook'\nurl_env = 'BAD'\n",
            GOOD=receiver.url,
        )
        tried = dict(send_test(settings))

    assert tried["good"] == ""
    assert "BAD is not set" in tried["bad"]
    assert receiver.received[0][2]["kind"] == "test"
