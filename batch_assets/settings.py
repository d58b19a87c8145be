"""Settings: the only reader of the environment and of batch_assets.toml.

Order, first wins: environment variable, batch_assets.toml, default. Each domain validates its own
section of the file (`Settings.section`), so that adding a domain does not change this module.

A secret comes from the variable itself or from the file that the same name with `_FILE` names, as
container engines hand them over; never from both.
"""

import os
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from batch_assets.errors import ConfigurationError

CONFIG_NAME = "batch_assets.toml"
ENVIRONMENT_PREFIX = "BATCH_ASSETS_"
_URL_NAME = f"{ENVIRONMENT_PREFIX}DATABASE_URL"
_PASSWORD_NAME = f"{ENVIRONMENT_PREFIX}DATABASE_PASSWORD"
_ADDRESS_NAMES = (_URL_NAME, f"{_URL_NAME}_FILE", _PASSWORD_NAME, f"{_PASSWORD_NAME}_FILE")
_PACKAGE = Path(__file__).resolve().parent


_DEVELOPMENT_CONNECTIONS = 10
_CONNECTIONS_PER_CORE = 10
_PRODUCTION_CONNECTIONS_MOST = 30


def _default_pool_max(environment: str) -> int:
    if environment != "prod":
        return _DEVELOPMENT_CONNECTIONS
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_PRODUCTION_CONNECTIONS_MOST, _CONNECTIONS_PER_CORE * (cores or 1))


class DatabaseSettings(BaseModel):
    """`[database]`: how this process uses PostgreSQL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr | None = Field(
        default=None, description="PostgreSQL 14 or newer; unset starts the embedded server"
    )
    environment: Literal["dev", "prod"] = Field(
        default="dev", description="also BATCH_ASSETS_ENV; decides the default of pool_max"
    )
    pool_min: int = Field(default=1, ge=0, description="connections kept open by one process")
    pool_max: int = Field(
        default_factory=lambda data: _default_pool_max(data.get("environment", "dev")),
        ge=1,
        description="connections one process may open; default: 10, in production 10 for each "
        "core and at most 30, less where the server has no room",
    )
    pool_processes: int = Field(
        default=4, ge=1, description="processes that open a pool at the same time"
    )
    connect_timeout_seconds: int = Field(default=10, ge=1)
    lock_timeout_seconds: float = Field(default=30.0, gt=0)
    statement_timeout_seconds: float = Field(default=3600.0, gt=0)


class LoadingSettings(BaseModel):
    """`[loading]`: bounds of the loading core."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    publish_connections: int = Field(default=2, ge=1, le=16)
    chunk_rows: int = Field(default=65_536, ge=500, description="upper bound of one chunk")
    chunk_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    queue_bytes: int = Field(default=96 * 1024 * 1024, ge=1024 * 1024)
    lease_seconds: float = Field(default=30.0, gt=0)
    reject_limit_rows: int = Field(default=1_000, ge=0)
    reject_limit_ratio: float = Field(default=0.01, ge=0, le=1)


class ExecutionSettings(BaseModel):
    """`[execution]`: worker processes for what computes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_workers: int | None = Field(
        default=None,
        ge=1,
        description="workers at once; default: one core less than there are, as memory allows",
    )
    worker_memory_bytes: int = Field(
        default=1024 * 1024 * 1024, ge=64 * 1024 * 1024, description="the most that one task needs"
    )
    tasks_per_worker: int = Field(default=200, ge=1, description="then a fresh process takes over")
    spare_workers: int = Field(
        default=1, ge=0, description="processes ready to take the place of one that was lost"
    )
    stop_seconds: float = Field(
        default=10.0, ge=0, description="what running tasks get when the workers are stopped"
    )


class DagsterSettings(BaseModel):
    """`[dagster]`: what Dagster is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_day: date = Field(
        default=date(2000, 1, 1), description="first daily partition of every asset"
    )


class Settings(BaseModel):
    """Everything a process needs to know before it starts.

    Attributes:
        config_file: The batch_assets.toml in force; relative paths in it start at its folder.
        state_dir: Where the embedded server, caches and reports live.
        database: The `[database]` section.
        loading: The `[loading]` section.
        execution: The `[execution]` section.
        dagster: The `[dagster]` section.
        failpoints: BATCH_ASSETS_FAILPOINTS, for tests alone (execution/failpoints.py).
        sections: Every other section, as parsed; each domain validates its own.
    """

    model_config = ConfigDict(frozen=True)

    config_file: Path
    state_dir: Path
    database: DatabaseSettings
    loading: LoadingSettings
    execution: ExecutionSettings = ExecutionSettings()
    dagster: DagsterSettings = DagsterSettings()
    failpoints: str = ""
    sections: Mapping[str, Any]
    _environ: Mapping[str, str] = PrivateAttr(default_factory=lambda: os.environ)

    @property
    def config_dir(self) -> Path:
        """Folder that relative paths of the configuration start from."""
        return self.config_file.parent

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the file, empty if it is absent."""
        value = self.sections.get(name, {})
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"{self.config_file}: '{name}' is {value!r}, expected a table; write [{name}]"
            )
        return value

    @property
    def locale(self) -> str:
        """The locale of messages as POSIX orders its variables; empty where none is set."""
        names = ("LC_ALL", "LC_MESSAGES", "LANG")
        return next((self._environ[name] for name in names if self._environ.get(name)), "")

    def given_address(self) -> dict[str, str]:
        """The variables that say where the database is, as they were set."""
        return {name: self._environ[name] for name in _ADDRESS_NAMES if name in self._environ}

    def secret(self, name: str) -> SecretStr | None:
        """A token that the environment holds; None if the variable is unset or empty.

        Read when it is asked for, so that a process needs only the tokens it uses.

        Raises:
            ConfigurationError: The file that `<name>_FILE` names cannot be read, or both are set.
        """
        value = _secret_text(self._environ, name)
        return SecretStr(value) if value else None


def shipped_path(name: str) -> Path:
    """A file or folder that travels with the package (`sql`, `examples`, `dagster.yaml`).

    Found beside the package in a checkout, inside it in an installed wheel.
    """
    inside = _PACKAGE / "shipped" / name
    return inside if inside.exists() else _PACKAGE.parent / name


def find_config_file(environ: Mapping[str, str], working_dir: Path) -> Path:
    """The configuration in force: named by the environment, else nearest, else shipped."""
    named = environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ConfigurationError(
                f"BATCH_ASSETS_CONFIG names {path}, which is not a file; "
                "correct it, or unset it to use the shipped configuration"
            )
        return path.resolve()
    for folder in (working_dir, *working_dir.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    return shipped_path(CONFIG_NAME)


def load_settings(
    environ: Mapping[str, str] | None = None, *, working_dir: Path | None = None
) -> Settings:
    """Read the environment and the configuration file.

    Raises:
        ConfigurationError: A file cannot be read or a value is not allowed; says which.
    """
    environ = os.environ if environ is None else environ
    working_dir = (working_dir or Path.cwd()).resolve()
    config_file = find_config_file(environ, working_dir)
    try:
        document = tomllib.loads(config_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"{config_file} cannot be read: {error}; expected a TOML file in UTF-8"
        ) from error
    database = _database_section(document.pop("database", {}), environ)
    execution = dict(document.pop("execution", {}))
    if workers := environ.get("CPU_EXECUTOR_WORKERS"):
        execution["cpu_workers"] = workers
    try:
        settings = Settings(
            config_file=config_file,
            state_dir=_state_dir(environ, config_file, working_dir),
            database=DatabaseSettings(**database),
            loading=LoadingSettings(**document.pop("loading", {})),
            execution=ExecutionSettings(**execution),
            dagster=DagsterSettings(**document.pop("dagster", {})),
            failpoints=environ.get(f"{ENVIRONMENT_PREFIX}FAILPOINTS", ""),
            sections=document,
        )
    except ValidationError as error:
        raise ConfigurationError(f"{config_file}: {describe_validation(error)}") from None
    settings._environ = environ  # noqa: SLF001 - its own module
    return settings


def _database_section(written: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The section as written, with what the environment says in its place."""
    section = dict(written)
    if url := _secret_text(environ, _URL_NAME):
        section["url"] = url
    if password := _secret_text(environ, _PASSWORD_NAME):
        section["url"] = _with_password(str(section.get("url", "")), password)
    for name, key in (
        (f"{ENVIRONMENT_PREFIX}ENV", "environment"),
        ("PGPOOL_SIZE", "pool_max"),
        ("DB_POOL_SIZE", "pool_max"),
    ):
        if value := environ.get(name):
            section[key] = value
    # A pool here has one bound: what others keep open and what they open beyond it, together.
    if overflow := environ.get("DB_MAX_OVERFLOW"):
        size = section.get("pool_max", _default_pool_max(section.get("environment", "dev")))
        section["pool_max"] = _count("DB_POOL_SIZE", size) + _count("DB_MAX_OVERFLOW", overflow)
    return section


def _secret_text(environ: Mapping[str, str], name: str) -> str:
    """What a variable says, or the file that `<name>_FILE` names; empty if neither is set."""
    value = environ.get(name, "").strip()
    file = environ.get(f"{name}_FILE", "").strip()
    if not file:
        return value
    if value:
        raise ConfigurationError(
            f"{name} and {name}_FILE are both set, expected one of them; unset the other"
        )
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"{name}_FILE names {file}, which cannot be read: {reason}; expected a text file that "
            "this user may read; correct the path or the file's permissions"
        ) from None
    if not text:
        raise ConfigurationError(
            f"{name}_FILE names {file}, which is empty; expected the secret; write it there, or "
            f"unset {name}_FILE"
        )
    return text


def _with_password(url: str, password: str) -> str:
    """Put a password into a URL that names a user and no password."""
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if not (mark and at and user) or ":" in user:
        raise ConfigurationError(
            f"{_PASSWORD_NAME} is set, but the database URL names no user, or a password of its "
            f"own; expected postgresql://user@host:5432/database; write {_URL_NAME} like that"
        )
    return f"{scheme}://{user}:{quote(password, safe='')}@{hosts}{slash}{path}"


def _count(name: str, value: object) -> int:
    text = str(value).strip()
    if not text.isdigit():
        raise ConfigurationError(f"{name} is {text!r}, expected a number of connections; write one")
    return int(text)


def describe_validation(error: ValidationError) -> str:
    """One line per wrong value, without repeating the value (it may be a secret)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )


def child_environment(settings: Settings, **extra: str) -> dict[str, str]:
    """The environment of a process we start, so that it resolves these settings in any folder."""
    environment = {
        **os.environ,
        f"{ENVIRONMENT_PREFIX}CONFIG": str(settings.config_file),
        f"{ENVIRONMENT_PREFIX}HOME": str(settings.state_dir),
        **extra,
    }
    for name in _ADDRESS_NAMES:
        environment.pop(name, None)
    given = {name: value for name, value in settings.given_address().items() if value}
    if any(name.endswith("_FILE") for name in given):
        # What came as a file stays out of the environment, which others on this host may read.
        environment.update(given)
    elif settings.database.url is not None:
        environment[_URL_NAME] = settings.database.url.get_secret_value()
    return environment


def inherited_environment(**extra: str) -> dict[str, str]:
    """The environment of this process with additions, for one that needs no settings of ours."""
    return {**os.environ, **extra}


def default_environment(**values: str) -> None:
    """Set variables of this process for a library that has no other setting; what is set stays."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _state_dir(environ: Mapping[str, str], config_file: Path, working_dir: Path) -> Path:
    if named := environ.get(f"{ENVIRONMENT_PREFIX}HOME"):
        return Path(named).expanduser().resolve()
    shipped_in_wheel = config_file.is_relative_to(_PACKAGE)
    return (working_dir if shipped_in_wheel else config_file.parent) / ".batch_assets"


@lru_cache(maxsize=1)
def current_settings() -> Settings:
    """The settings of this process, read at first use."""
    return load_settings()
