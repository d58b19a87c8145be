"""docs/runbook.md has a section for every alert, with the command that the alert names."""

import re

import yaml

from batch_assets.monitoring.messages import _RULES
from batch_assets.monitoring.settings import DEFAULT_RULES
from batch_assets_tests.docs.pages import PROJECT

PAGE = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL))


def test_every_rule_has_a_section_and_no_other() -> None:
    assert list(SECTIONS) == list(DEFAULT_RULES)


def test_the_first_command_is_the_one_of_the_message() -> None:
    first = {name: re.findall(r"```console\n\$ (.*)\n```", text) for name, text in SECTIONS.items()}

    assert first == {name: [_RULES[name][2]] for name in DEFAULT_RULES}


def test_every_section_says_what_it_means_and_what_next() -> None:
    for name, text in SECTIONS.items():
        meaning, _, steps = text.partition("```console")
        assert len(meaning.split()) > 10, name
        assert re.search(r"^1\. .*(?:\n.*)*^2\. ", steps, re.MULTILINE), name


def test_limits_are_those_of_the_rules() -> None:
    words = {0.05: "5 %", 0.1: "10 %", 0.8: "80 %", 300.0: "five minutes", 120.0: "two minutes"}
    words |= {14_400.0: "four hours", 86_400.0: "a day"}
    for name, rule in DEFAULT_RULES.items():
        for limit in ("warning_above", "critical_above"):
            value = rule.get(limit)
            if value:
                assert words[float(str(value))] in SECTIONS[name], (name, limit)


def test_rules_of_prometheus_that_no_message_has_are_explained() -> None:
    rules = yaml.safe_load((PROJECT / "deploy/prometheus/rules.yml").read_text("utf-8"))
    metrics = {str(rule["metric"]) for rule in DEFAULT_RULES.values()}

    for rule in rules["groups"][0]["rules"]:
        if not any(metric in rule["expr"] for metric in metrics):
            assert f"`{rule['alert']}`" in PAGE
