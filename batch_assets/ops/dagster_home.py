"""The folder `up` gives Dagster as DAGSTER_HOME.

It holds the dagster.yaml in force and the workspace of the running code server. Logs of steps are
written below it by Dagster.
"""

import json
import os
from pathlib import Path

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, shipped_path

# Schedules that were switched on are remembered by this name; workspace.yaml says the same one.
LOCATION_NAME = "batch_assets"


def find_instance_file(settings: Settings) -> Path:
    """The dagster.yaml in force: beside the configuration, else the shipped one."""
    beside = settings.config_dir / "dagster.yaml"
    found = beside if beside.is_file() else shipped_path("dagster.yaml")
    if not found.is_file():
        raise ConfigurationError(
            f"no dagster.yaml at {beside} and none is shipped at {found}; expected one of them; "
            "copy dagster.yaml from the project beside your batch_assets.toml"
        )
    return found


def write_instance_file(settings: Settings) -> Path:
    """Put the dagster.yaml in force into our Dagster home; return that folder."""
    home = settings.state_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    _replace(home / "dagster.yaml", find_instance_file(settings).read_bytes())
    return home


def write_workspace_file(home: Path, *, host: str, port: int) -> Path:
    """Name the one code server there is; return the workspace file."""
    server = {"host": host, "port": port, "location_name": LOCATION_NAME}
    workspace = home / "workspace.yaml"
    # JSON is YAML.
    text = json.dumps({"load_from": [{"grpc_server": server}]}, indent=2)
    _replace(workspace, f"{text}\n".encode())
    return workspace


def _replace(file: Path, content: bytes) -> None:
    """Write a file that others may be reading: they see the old one or the new one."""
    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_bytes(content)
    unfinished.replace(file)
