"""docker-compose.yml and what it mounts, as far as they can be judged without an engine."""

import json
import re
import tomllib
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster._cli import cli as dagster_cli
from dagster._daemon.cli import cli as daemon_cli
from dagster_docker import DockerRunLauncher
from dagster_docker.container_context import DockerContainerContext
from dagster_webserver.cli import dagster_webserver
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from batch_assets.ops.cli.main import run
from batch_assets.settings import load_settings

PROJECT = Path(__file__).resolve().parents[2]
OURS = "batch_assets:latest"

Service = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def ours(compose: dict[str, Any]) -> dict[str, Service]:
    return {
        name: service
        for name, service in compose["services"].items()
        if service.get("image") == OURS
    }


@pytest.fixture(scope="module")
def run_container(ours: dict[str, Service]) -> DockerContainerContext:
    text = ours["code"]["environment"]["DAGSTER_CONTAINER_CONTEXT"]
    return DockerContainerContext.create_from_config(json.loads(text))


def test_only_the_proxy_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    published = {
        name: [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        for name, service in compose["services"].items()
    }

    assert {name for name, ports in published.items() if ports} == {"proxy"}
    assert all("network_mode" not in service for service in compose["services"].values())


def test_every_command_is_one_that_exists(ours: dict[str, Service]) -> None:
    assert set(ours) == {"migrate", "code", "webserver", "webserver-readonly", "daemon", "api"}
    for service in ours.values():
        for program, *arguments in (service["command"], *_health_commands(service)):
            if program == "python":
                compile(arguments[1], "healthcheck", "exec")
                continue
            # `--help` is answered last: a word before it that is unknown is refused first.
            assert _help_status(program, arguments) == 0, (program, arguments)
    assert _help_status("batch-assets", ["db", "migrateX"]) != 0
    assert _help_status("dagster", ["api", "grpc", "--no-such-option"]) != 0


def _health_commands(service: Service) -> list[list[str]]:
    test = service.get("healthcheck", {}).get("test")
    return [test[1:]] if test else []


def _help_status(program: str, arguments: list[str]) -> int:
    if program == "batch-assets":
        return run([*arguments, "--help"])
    command = {
        "dagster": dagster_cli,
        "dagster-daemon": daemon_cli,
        "dagster-webserver": dagster_webserver,
    }[program]
    return CliRunner().invoke(command, [*arguments, "--help"]).exit_code


def test_containers_of_ours_write_to_their_state_and_tmp_alone(
    ours: dict[str, Service], run_container: DockerContainerContext
) -> None:
    for service in (*ours.values(), run_container.container_kwargs):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        writable = [volume.split(":")[1] for volume in service["volumes"] if volume[-3:] != ":ro"]
        assert set(writable) == {"/config/landing", "/var/lib/batch_assets"}
        assert service["mem_limit"]
    assert re.search(r"^USER 10001$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)


def test_nothing_is_killed_before_it_could_end(compose: dict[str, Any]) -> None:
    seconds = {
        name: _seconds(service["stop_grace_period"])
        for name, service in compose["services"].items()
        if "stop_grace_period" in service
    }
    calls = int(compose["services"]["code"]["environment"]["DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD"])

    # The engine's own answer to all others is 10 s.
    assert set(seconds) == {
        *("postgres", "migrate", "code", "webserver", "webserver-readonly", "daemon", "api")
    }
    assert seconds["postgres"] >= 120
    assert min(seconds.values()) >= 30
    # Dagster waits five seconds more than it is told to, and its clean-up takes some.
    assert seconds["code"] >= calls + 30


def _seconds(duration: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def test_a_run_sees_the_same_files_and_settings_as_the_code_server(
    ours: dict[str, Service], compose: dict[str, Any], run_container: DockerContainerContext
) -> None:
    code = dict(ours["code"]["environment"])
    for name in ("CONTAINER_CONTEXT", "CURRENT_IMAGE", "GRPC_SHUTDOWN_GRACE_PERIOD"):
        del code[f"DAGSTER_{name}"]
    state = compose["volumes"]["state"]["name"]

    assert sorted(run_container.env_vars) == sorted(f"{key}={value}" for key, value in code.items())
    assert list(run_container.networks) == [compose["networks"]["data"]["name"]]
    mounted = {volume.split(":", 1)[1]: volume for volume in ours["code"]["volumes"]}
    # Only those who look for code servers read a workspace.
    del mounted["/config/workspace.yaml:ro"]
    expected = {
        volume.replace("./", "${PWD}/", 1).replace("state:", f"{state}:", 1)
        for volume in mounted.values()
    }
    secret = compose["secrets"]["postgres_password"]["file"].replace("./", "${PWD}/")
    expected.add(f"{secret}:/run/secrets/postgres_password:ro")
    assert set(run_container.container_kwargs["volumes"]) == expected
    launcher = DockerRunLauncher(container_kwargs=dict(run_container.container_kwargs))
    assert launcher.supports_check_run_worker_health


def test_the_instance_differs_from_the_shipped_one_in_its_launcher_alone() -> None:
    shipped = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8"))
    deployed = yaml.safe_load((PROJECT / "deploy/compose/dagster.yaml").read_text(encoding="utf-8"))

    launcher = deployed.pop("run_launcher")

    assert deployed == shipped
    assert (launcher["module"], launcher["class"]) == ("dagster_docker", "DockerRunLauncher")


def test_dagster_loads_the_instance_with_the_password_in_a_file(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = tmp_path / "url"
    url.write_text(postgres)
    monkeypatch.delenv("BATCH_ASSETS_DATABASE_URL", raising=False)
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL_FILE", str(url))
    (tmp_path / "dagster.yaml").write_text((PROJECT / "deploy/compose/dagster.yaml").read_text())

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_launcher.__class__.__name__ == "DockerRunLauncher"
        assert instance.get_runs_count() == 0


def test_the_database_is_durable_and_every_setting_is_explained(compose: dict[str, Any]) -> None:
    command = compose["services"]["postgres"]["command"]
    options = dict(word.removeprefix("-c").split("=") for word in command[1:])

    assert not {"fsync", "full_page_writes", "synchronous_commit", "wal_level"} & set(options)
    assert "127.0.0.1" in compose["services"]["postgres"]["healthcheck"]["test"]
    lines = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8").splitlines()
    unexplained = [
        line
        for before, line in pairwise(lines)
        if line.strip().startswith("- -c") and not before.strip().startswith(("#", "- -c"))
    ]
    assert not unexplained


def test_secrets_are_files_and_never_values(
    compose: dict[str, Any], ours: dict[str, Service]
) -> None:
    text = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    assert not re.search(r"://[^/\s:]+:[^/\s@]+@", text)
    for service in compose["services"].values():
        for name, value in dict(service.get("environment", {})).items():
            assert "PASSWORD" not in name or value.startswith("/run/secrets/"), name
    ignored = (PROJECT / ".gitignore").read_text().splitlines()
    assert "secrets/" in ignored
    allowed = (PROJECT / ".dockerignore").read_text().splitlines()
    assert allowed[1] == "*"
    assert "!secrets" not in allowed
    url = ours["code"]["environment"]["BATCH_ASSETS_DATABASE_URL"]
    settings = load_settings(
        {"BATCH_ASSETS_DATABASE_URL": url, "BATCH_ASSETS_DATABASE_PASSWORD": "x"}
    )
    assert settings.database.url is not None


def test_every_mounted_file_exists(compose: dict[str, Any]) -> None:
    # Made by the person who deploys; named in docs/docker.md.
    own = {"./landing"}
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and source not in own:
                assert (PROJECT / source).exists(), source


def test_prometheus_scrapes_the_api_of_the_compose_file(compose: dict[str, Any]) -> None:
    general = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
    ours = yaml.safe_load((PROJECT / "deploy/compose/prometheus.yml").read_text())
    (job,), (general_job,) = ours["scrape_configs"], general["scrape_configs"]

    command = compose["services"]["api"]["command"]
    target = f"api:{command[command.index('--port') + 1]}"
    assert job["static_configs"] == [{"targets": [target]}]
    token = job["authorization"]["credentials_file"]
    assert token.removeprefix("/run/secrets/") in compose["services"]["prometheus"]["secrets"]
    job["static_configs"] = general_job["static_configs"]
    job["authorization"] = general_job["authorization"]
    assert ours == general


def test_the_image_installs_versions_of_the_project_s_lock() -> None:
    pinned = _pins(PROJECT / "requirements.lock")
    image = _pins(PROJECT / "deploy/compose/requirements.lock")

    assert image.items() <= pinned.items()
    assert "dagster-docker" in image
    assert "pytest" not in image
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=]", line)[0] for line in declared}
    assert names <= set(image)


@pytest.mark.parametrize("lock", ["requirements.lock", "deploy/compose/requirements.lock"])
def test_the_locks_pin_the_extras_that_packages_ask_for(lock: str) -> None:
    # pip installs nothing with --require-hashes where `gql[requests]` is wanted and `gql` pinned.
    text = (PROJECT / lock).read_text()
    pinned = {
        name: set(extras.split(",")) - {""}
        for name, extras in re.findall(r"^([a-z0-9._-]+)(?:\[([^\]]*)\])?==", text, re.MULTILINE)
    }
    wanted = [
        requirement
        for name in pinned
        for requirement in map(Requirement, _requires(name))
        if requirement.extras
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]

    assert wanted
    for requirement in wanted:
        assert requirement.extras <= pinned[canonicalize_name(requirement.name)], requirement


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _pins(lock: Path) -> dict[str, str]:
    return dict(
        re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", lock.read_text(), re.MULTILINE)
    )
