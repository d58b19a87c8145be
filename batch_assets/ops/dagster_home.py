"""The folder `up` gives Dagster as DAGSTER_HOME.

It holds the dagster.yaml in force and the workspace of the running code server. Logs of steps are
written below it by Dagster.
"""

import json
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


def write_dagster_home(settings: Settings, *, code_server_host: str, code_server_port: int) -> Path:
    """Write dagster.yaml and workspace.yaml; return the folder.

    Only one `up` at a time may do this for a state folder.
    """
    home = settings.state_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_bytes(find_instance_file(settings).read_bytes())
    server = {
        "host": code_server_host,
        "port": code_server_port,
        "location_name": LOCATION_NAME,
    }
    # JSON is YAML.
    (home / "workspace.yaml").write_text(
        json.dumps({"load_from": [{"grpc_server": server}]}, indent=2) + "\n", encoding="utf-8"
    )
    return home
