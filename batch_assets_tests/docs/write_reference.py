"""`python -m batch_assets_tests.docs.write_reference` writes docs/reference from the programs.

Commands come from what `--help` is made of, settings from the models that read them. A test
compares the pages with what this writes.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from batch_assets.monitoring.retention_settings import RetentionSettings
from batch_assets.monitoring.settings import (
    AlertSettings,
    EmailChannel,
    LogChannel,
    RuleSettings,
    WebhookChannel,
)
from batch_assets.ops.api.settings import ApiSettings
from batch_assets.ops.cli.main import app
from batch_assets.ops.display import DisplaySettings
from batch_assets.settings import (
    DagsterSettings,
    DatabaseSettings,
    ExecutionSettings,
    LoadingSettings,
)
from batch_assets.sources.devices.alert_rules import AlertRule
from batch_assets.sources.devices.alert_rules import AlertSettings as DeviceAlertSettings
from batch_assets.sources.devices.settings import DeviceSettings
from batch_assets.sources.documents.embedding import EmbeddingSettings
from batch_assets.sources.documents.sources import DocumentLimits, DocumentSource
from batch_assets.sources.market.columns import Columns
from batch_assets.sources.market.feed import Feed, FileFeed, VendorFeed
from batch_assets.sources.market.symbols import SymbolRule
from batch_assets.sources.spreadsheets.settings import SpreadsheetSettings
from batch_assets.sources.spreadsheets.template import ColumnTemplate, SpreadsheetTemplate
from batch_assets.sources.tables.transfer import Transfer

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "docs" / "reference"

# These follow from the machine; the meaning says how.
BY_MACHINE = {("devices", "shards")}

# Each section of batch_assets.toml, in the order of that file.
SECTIONS: Mapping[str, type[BaseModel]] = {
    "database": DatabaseSettings,
    "loading": LoadingSettings,
    "execution": ExecutionSettings,
    "dagster": DagsterSettings,
    "display": DisplaySettings,
    "market.feeds.<name>": Feed,
    "market.feeds.<name>, of files": FileFeed,
    "market.feeds.<name>, of a vendor": VendorFeed,
    "market.feeds.<name>.symbol": SymbolRule,
    "market.feeds.<name>.columns": Columns,
    "documents.sources.<name>": DocumentSource,
    "documents.sources.<name>.limits": DocumentLimits,
    "documents.embedding": EmbeddingSettings,
    "spreadsheets": SpreadsheetSettings,
    "spreadsheets.templates.<name>": SpreadsheetTemplate,
    "spreadsheets.templates.<name>.columns.<column>": ColumnTemplate,
    "tables.transfers.<name>": Transfer,
    "devices": DeviceSettings,
    "devices.alerts": DeviceAlertSettings,
    "devices.alerts.rules": AlertRule,
    "alerts": AlertSettings,
    "alerts.rules.<name>": RuleSettings,
    "alerts.channels.<name>, kind log": LogChannel,
    "alerts.channels.<name>, kind webhook": WebhookChannel,
    "alerts.channels.<name>, kind email": EmailChannel,
    "retention": RetentionSettings,
    "api": ApiSettings,
}


def commands_page() -> str:
    """docs/reference/commands.md."""
    lines = [
        "# Commands",
        "",
        "Made from the commands' own `--help` by",
        "`python -m batch_assets_tests.docs.write_reference`; a test compares them.",
        "",
        "Exit status of all: 0 fine, 1 failed or the answer is no, 2 wrong usage, 3 over the error",
        "budget, 4 partial, 5 lease held, 6 source unavailable, 7 configuration or database,",
        "130 interrupted.",
        "",
        *_command_lines(typer.main.get_command(app), "batch-assets"),
    ]
    return "\n".join(lines).rstrip() + "\n"


def list_commands(command: Any = None, path: str = "batch-assets") -> Iterator[tuple[str, Any]]:
    """Every command that can be run, with its words."""
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", {})
    if not children or getattr(command, "invoke_without_command", False):
        yield path, command
    for name in sorted(children):
        if not children[name].hidden:
            yield from list_commands(children[name], f"{path} {name}")


def _command_lines(root: Any, _: str) -> Iterator[str]:
    for path, command in list_commands(root):
        yield f"## `{path}`"
        yield ""
        yield _prose(command.help)
        yield ""
        rows = [row for row in map(_parameter_row, command.params) if row]
        if rows:
            yield "| | default | meaning |"
            yield "| --- | --- | --- |"
            yield from rows
            yield ""


def _parameter_row(parameter: Any) -> str | None:
    if parameter.name == "help" or getattr(parameter, "hidden", False):
        return None
    if parameter.param_type_name == "argument":
        name = f"`{(parameter.metavar or parameter.name).upper()}`"
    else:
        name = ", ".join(f"`{word}`" for word in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = "" if default in (None, False, (), []) or callable(default) else f"`{_plain(default)}`"
    if parameter.required:
        shown = "required"
    help_ = _prose(parameter.help)
    if parameter.envvar:
        names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar
        help_ += f" Variable: {', '.join(f'`{name}`' for name in names)}."
    return f"| {name} | {shown} | {help_} |"


def settings_page() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "Of batch_assets.toml, made from the models that read it by",
        "`python -m batch_assets_tests.docs.write_reference`; a test compares them. The shipped",
        "batch_assets.toml shows each in its place. `required` has no default.",
        "",
    ]
    written = _comments_of_the_file()
    for section, model in SECTIONS.items():
        lines += [f"## `[{section}]`", "", _first_paragraph(model), ""]
        if model.model_fields:
            lines += ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
        described = _described_attributes(model)
        place = section.partition(",")[0]
        for name, field in model.model_fields.items():
            if model in (FileFeed, VendorFeed) and name in Feed.model_fields:
                continue
            meaning = field.description or described.get(name) or written.get((place, name), "")
            title = field.alias or name
            if name == "name" and "<" in section:
                continue
            default = "" if (section, name) in BY_MACHINE else _default_of(field)
            lines.append(
                f"| `{title}` | {_type_of(field.annotation)} | {default} | {_prose(meaning)} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _first_paragraph(model: type[BaseModel]) -> str:
    return _prose((model.__doc__ or "").strip().split("\n\n")[0])


def _described_attributes(model: type[BaseModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        text = (parent.__doc__ or "").partition("Attributes:\n")[2]
        found |= dict(re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE))
    return found


def _comments_of_the_file() -> dict[tuple[str, str], str]:
    """What the shipped file says behind a setting, by section and name."""
    found: dict[tuple[str, str], str] = {}
    section, last = "", None
    for line in (PROJECT / "batch_assets.toml").read_text("utf-8").splitlines():
        bare = line.removeprefix("# ")
        if heading := re.match(r"\[+([\w.]+)\]+", bare):
            section = heading[1].replace("my_vendor", "my_feed")
            last = None
        elif match := re.match(r"(\w+) = .*?  # (.*)$", bare):
            last = (section, match[1])
            found[last] = match[2]
        elif last and (more := re.match(r"#? *# +(\S.*)$", line)) and " = " not in bare[:30]:
            found[last] += f" {more[1]}"
        else:
            last = None
    return {(_general(section), name): text for (section, name), text in found.items()}


def _general(section: str) -> str:
    words = section.split(".")
    named = {"feeds", "sources", "templates", "transfers", "rules", "channels"}
    for place, word in enumerate(words[:-1]):
        if word in named:
            words[place + 1] = "<name>"
    return ".".join(words)


def _type_of(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _type_of(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value or '(empty)'}`" for value in get_args(annotation))
    arguments = [part for part in get_args(annotation) if part is not type(None)]
    name = getattr(annotation, "__name__", str(annotation))
    if get_origin(annotation) is not None and arguments:
        origin = get_origin(annotation)
        if origin in (tuple, list, frozenset, set):
            return "list of " + _type_of(arguments[0])
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return "table"
        return " or ".join(dict.fromkeys(_type_of(part) for part in arguments))
    plain = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    return {**plain, "SecretStr": "text", "Path": "path"}.get(name, _as_words(annotation, name))


def _as_words(annotation: Any, name: str) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    members = getattr(annotation, "__members__", None)
    if members:
        return " or ".join(f"`{member.value}`" for member in members.values())
    return name.strip("_")


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        try:
            value: Any = field.default_factory()  # type: ignore[call-arg]
        except TypeError:
            # It follows from other settings; the meaning says how.
            return ""
    else:
        value = field.default
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if value in ("", (), {}, []):
        return ""
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    value = getattr(value, "value", value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list, frozenset, set)):
        members = sorted(value) if isinstance(value, (set, frozenset)) else value
        return ", ".join(map(str, members)) or "[]"
    pattern = getattr(value, "pattern", value)
    return str(pattern).replace("|", "\\|")


def _prose(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip().replace("|", "\\|")


PAGES = {"commands.md": commands_page, "settings.md": settings_page}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
