"""Values for the Dagster chart and files for other people's CI, as far as a parser can judge."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_assets import __version__
from batch_assets.ops.cli.main import run

PROJECT = Path(__file__).resolve().parents[2]
PIPELINES = (".github/workflows/ci.yml", "deploy/ci/github-load.yml", "deploy/ci/gitlab-ci.yml")


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((PROJECT / name).read_text(encoding="utf-8")))


def test_the_cluster_has_the_limits_of_the_shipped_instance() -> None:
    shipped = read("dagster.yaml")
    values = read("deploy/kubernetes/values.yaml")

    daemon = values["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    runs = shipped["concurrency"]["runs"]
    assert queue["maxConcurrentRuns"] == runs["max_concurrent_runs"]
    assert queue["tagConcurrencyLimits"] == runs["tag_concurrency_limits"]
    pools = values["additionalInstanceConfig"]["concurrency"]
    assert pools == {"pools": shipped["concurrency"]["pools"]}
    monitoring = {_snake(key): value for key, value in daemon["runMonitoring"].items()}
    # A node may have to be started first.
    assert monitoring.pop("start_timeout_seconds") >= 180
    shipped["run_monitoring"].pop("start_timeout_seconds")
    assert monitoring == shipped["run_monitoring"]
    # With the shipped storage this is set by itself; the chart brings its own.
    assert daemon["env"] == {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def test_pods_write_nowhere_but_to_their_volumes_and_hold_no_password() -> None:
    values = read("deploy/kubernetes/values.yaml")
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    job = read("deploy/kubernetes/prepare.yaml")["spec"]["template"]["spec"]

    for security in (deployment["securityContext"], job["containers"][0]["securityContext"]):
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert deployment["podSecurityContext"]["runAsUser"] == 10001
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert "postgresqlPassword" not in values["postgresql"]
    assert {volume["name"] for volume in deployment["volumes"]} == {
        mount["name"] for mount in deployment["volumeMounts"]
    }
    assert deployment["image"]["tag"] == __version__
    assert job["containers"][0]["image"].endswith(f":{__version__}")


@pytest.mark.parametrize("name", PIPELINES)
def test_every_command_of_a_pipeline_exists(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    read(name)

    for line in re.findall(r"batch-assets [a-z -]+$", text, re.MULTILINE):
        assert run([*shlex.split(line)[1:], "--help"]) == 0, line
    for tags in re.findall(r'--tags "(\{.*\})"', text):
        keys = json.loads(tags.replace('\\"', '"'))
        assert set(keys) == {
            "dagster/asset_partition_range_start",
            "dagster/asset_partition_range_end",
        }
    assert ".ci/run" in text or "dagster job execute -m batch_assets.definitions" in text


@pytest.mark.parametrize("name", PIPELINES[1:])
def test_a_pipeline_migrates_before_it_asks_the_doctor(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")

    assert 0 < text.index("batch-assets db migrate") < text.index("batch-assets doctor")


def test_a_pipeline_never_puts_an_input_into_a_command() -> None:
    for step in read("deploy/ci/github-load.yml")["jobs"]["load"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    headings = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == __version__
