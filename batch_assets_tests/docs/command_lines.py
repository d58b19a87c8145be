"""What a command of a page asks of the program it names, judged without running anything.

Each program has a checker that raises `WrongCommand`: our own commands are given to their real
parsers, of the others the files, services and extras that they name must exist.
"""

import argparse
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import typer
import yaml
from click.exceptions import ClickException
from dagster._cli import create_dagster_cli
from typer import Exit
from typer._click.exceptions import ClickException as TyperClickException

from batch_assets.ops.api.app import build_app
from batch_assets.ops.cli.main import app
from batch_assets.settings import load_settings
from batch_assets_tests.docs.pages import PROJECT, list_commands, list_named_commands

# Words that stand for what a reader puts there.
PLACEHOLDERS = {
    "N": "1",
    "VALUE": "1",
    "COUNT": "2",
    "DAY": "2024-09-30",
    "F": "file",
    "…": "text",
    "<state folder>/dagster": "state",
}
_BRACKETS = re.compile(r"\[([^\]]*)\]")


class WrongCommand(Exception):
    """A command that its program would refuse, with what is wrong."""


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """One program and its arguments: no pipes, no redirections, no variables before it."""

    program: str
    arguments: tuple[str, ...]


def split_shell(text: str) -> Iterator[SimpleCommand]:
    """The simple commands of a shell line, placeholders filled in; comments are left out."""
    words = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    words.commenters = "#"
    command: list[str] = []
    is_file = False
    for word in words:
        if set(word) <= set("|&;"):
            yield from _simple(command)
            command = []
        elif set(word) <= set("<>"):
            is_file = True
        elif is_file:
            is_file = False
        else:
            command.append(word)
    yield from _simple(command)


def _simple(words: Sequence[str]) -> Iterator[SimpleCommand]:
    rest = list(words)
    while rest and re.match(r"^[A-Z_]+=", rest[0]):
        rest.pop(0)
    if rest:
        filled = [PLACEHOLDERS.get(word, word) for word in rest[1:]]
        yield SimpleCommand(rest[0], tuple(filled))


def check_line(text: str) -> None:
    """Judge every command of a shell line.

    Raises:
        WrongCommand: A program would refuse its arguments, or nothing is known of the program.
    """
    for command in split_shell(text):
        checker = _CHECKERS.get(command.program)
        if checker is None:
            raise WrongCommand(f"{command.program}: expected one of {', '.join(_CHECKERS)}")
        checker(command.arguments)


def our_path(arguments: Sequence[str]) -> str:
    """The words that choose a command: `db migrate` of `db migrate --dry-run`."""
    command, path = _ours(), []
    for word in arguments:
        children: Mapping[str, Any] = getattr(command, "commands", {})
        if word not in children:
            break
        command = children[word]
        path.append(word)
    return " ".join(path)


def name_of(command: SimpleCommand) -> str:
    """A command without its options, as `batch-assets db migrate`; empty for other programs."""
    words = command.arguments
    if command.program == "batch-assets":
        return f"batch-assets {our_path(words)}".rstrip()
    if command.program == "dagster":
        return " ".join(("dagster", *words[:2]))
    if command.program == "python" and words[:2] == ("-m", "benchmarks"):
        return " ".join(("python", *words[:3]))
    if command.program == "python" and words[1].startswith("batch_assets_tests."):
        return " ".join(("python", *words[:2]))
    return ""


def documented_names() -> set[str]:
    """Of every command on a page that is ours or Dagster's."""
    names = {
        name_of(simple)
        for command in (*list_commands(), *list_named_commands())
        for simple in split_shell(_BRACKETS.sub(r"\1", command.text))
    }
    # Groups are named in sentences, and named again with each of their commands.
    return {name for name in names if not any(other.startswith(f"{name} ") for other in names)}


@cache
def _ours() -> Any:
    return typer.main.get_command(app)


@cache
def _dagster() -> Any:
    return create_dagster_cli()


def _parse(command: Any, name: str, words: Sequence[str], parent: Any = None) -> None:
    """Parse as if the command were called, and call nothing."""
    children: Mapping[str, Any] = getattr(command, "commands", {})
    try:
        if children and not words and not getattr(command, "invoke_without_command", False):
            raise WrongCommand(f"{name}: expected one of {', '.join(children)} after it")
        context = command.make_context(name, list(words), parent=parent)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if children and rest:
            child_name, child, child_words = command.resolve_command(context, rest)
            _parse(child, f"{name} {child_name}", child_words, context)
    except Exit:
        # --version and --help answer at once.
        return
    except (ClickException, TyperClickException) as error:
        raise WrongCommand(f"{name}: {error.format_message()}") from error


def _check_ours(arguments: Sequence[str]) -> None:
    _parse(_ours(), "batch-assets", arguments)


def check_named(text: str) -> None:
    """Judge a command that is only named: it may be a group, or lack its arguments.

    Raises:
        WrongCommand: There is no such command, or an argument that is given is refused.
    """
    for command in split_shell(_BRACKETS.sub(r"\1", text)):
        path = our_path(command.arguments)
        is_whole = len(command.arguments) > len(path.split())
        is_group = command.program == "batch-assets" and path and not is_whole
        if not is_group and command.arguments != ("-m", "benchmarks"):
            check_line(shlex.join((command.program, *command.arguments)))


def _check_dagster(arguments: Sequence[str]) -> None:
    _parse(_dagster(), "dagster", arguments)
    if "--tags" in arguments:
        json.loads(arguments[arguments.index("--tags") + 1])


def _check_python(arguments: Sequence[str]) -> None:
    if arguments[0] != "-m":
        _exists(arguments[0])
        return
    module, rest = arguments[1], arguments[2:]
    if module == "pip":
        _check_pip(rest)
    elif module == "benchmarks":
        _check_benchmarks(rest)
    elif module.startswith("batch_assets_tests."):
        _check_module(module, rest)
    elif module != "build":
        raise WrongCommand(f"python -m {module}: expected a module of the project, pip or build")


def _check_benchmarks(arguments: Sequence[str]) -> None:
    from benchmarks.__main__ import build_parser

    _parse_by(build_parser(), arguments)


def _check_module(module: str, arguments: Sequence[str]) -> None:
    """A module of the tests; one that takes arguments has `build_parser`."""
    if importlib.util.find_spec(module) is None:
        raise WrongCommand(f"python -m {module}: expected a module that is there")
    if arguments:
        _parse_by(importlib.import_module(module).build_parser(), arguments)


def _parse_by(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    try:
        parser.parse_args(list(arguments))
    except SystemExit as error:
        raise WrongCommand(f"{parser.prog} {' '.join(arguments)}: refused") from error


def _check_pip(arguments: Sequence[str]) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    for word in arguments:
        if extras := re.search(r"\[(.+)\]$", word):
            unknown = set(extras[1].split(",")) - set(project["optional-dependencies"])
            if unknown:
                raise WrongCommand(f"pip: there is no extra {', '.join(sorted(unknown))}")
    _files_exist(arguments)


def _check_uv(arguments: Sequence[str]) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    for option, value in pairwise(arguments):
        if option == "--extra" and value not in project["optional-dependencies"]:
            raise WrongCommand(f"uv: there is no extra {value}")
    _files_exist(arguments)


def _files_exist(arguments: Sequence[str]) -> None:
    """Locks, sources and statements that are named are files of the project."""
    for word in arguments:
        if re.search(r"\.(lock|py|sql|yaml)$|^pyproject\.toml$", word):
            _exists(word)


def _exists(name: str) -> None:
    if not (PROJECT / name).exists():
        raise WrongCommand(f"{name}: expected a file of the project")


def _check_pytest(arguments: Sequence[str]) -> None:
    markers = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]
    known = {line.split(":")[0] for line in markers["ini_options"]["markers"]}
    for option, value in pairwise(arguments):
        if option == "-m" and (
            unknown := set(re.findall(r"\w+", value)) - known - {"or", "and", "not"}
        ):
            raise WrongCommand(f"pytest: there is no marker {', '.join(sorted(unknown))}")
    _files_exist(arguments)


@cache
def _compose() -> dict[str, Any]:
    return dict(yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8")))


_COMPOSE_OPTIONS = {"--build", "-d", "-T", "--force-recreate", "--volumes", "--rm"}
_COMPOSE_VERBS = {"up", "down", "exec", "build", "stop", "run", "logs"}


def _check_docker(arguments: Sequence[str]) -> None:
    if arguments[0] == "compose":
        _check_compose(list(arguments[1:]))
        return
    images = {str(service.get("image")) for service in _compose()["services"].values()}
    # The file pins the patch level, a page the major version.
    if not any(image == arguments[2] or image.startswith(f"{arguments[2]}.") for image in images):
        raise WrongCommand(f"docker: {arguments[2]} is no image of the compose file")


def _check_compose(words: list[str]) -> None:
    services = _compose()["services"]
    if words[:1] == ["--profile"]:
        profiles = {name for service in services.values() for name in service.get("profiles", ())}
        if words[1] not in {*profiles, "*"}:
            raise WrongCommand(f"docker compose: there is no profile {words[1]}")
        words = words[2:]
    verb, *rest = words
    if verb not in _COMPOSE_VERBS:
        raise WrongCommand(f"docker compose {verb}: expected one of {_COMPOSE_VERBS}")
    rest = [word for word in rest if word not in _COMPOSE_OPTIONS]
    takes_command = verb in ("exec", "run")
    if unknown := set(rest[:1] if takes_command else rest) - set(services):
        raise WrongCommand(f"docker compose {verb}: there is no service {', '.join(unknown)}")
    if takes_command and rest[1:2] == ["batch-assets"]:
        _check_ours(rest[2:])


def _check_curl(arguments: Sequence[str]) -> None:
    path = re.sub(r"^https?://[^/]+", "", arguments[-1])
    if not any(route.matches(_scope(path))[0].value for route in _routes()):
        raise WrongCommand(f"curl {path}: expected a path of the API")
    if "-d" in arguments:
        json.loads(arguments[arguments.index("-d") + 1])


def _scope(path: str) -> dict[str, Any]:
    return {"type": "http", "path": path, "method": "GET", "headers": []}


@cache
def _routes() -> tuple[Any, ...]:
    return tuple(build_app(load_settings({}, working_dir=PROJECT), "postgresql://nowhere").routes)


def _anything(_: Sequence[str]) -> None:
    """Programs of other people whose arguments name nothing of ours."""


_CHECKERS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "batch-assets": _check_ours,
    "dagster": _check_dagster,
    "python": _check_python,
    "pip": _check_pip,
    "pytest": _check_pytest,
    "uv": _check_uv,
    "pip-audit": _files_exist,
    "cyclonedx-py": _files_exist,
    "psql": _files_exist,
    "helm": _files_exist,
    "docker": _check_docker,
    "curl": _check_curl,
    **dict.fromkeys(("cd", "chmod", "export", "mkdir", "openssl", "sed", "touch"), _anything),
}
