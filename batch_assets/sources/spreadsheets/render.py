"""A proposed template as commented TOML."""

import re
from collections.abc import Iterator, Sequence

from batch_assets.sources.spreadsheets.infer import InferredColumn, InferredTemplate


def render_toml(proposal: InferredTemplate, name: str, table: str) -> str:
    """The proposal as a section of batch_assets.toml, with the evidence in comments."""
    lines = [
        f"# Proposed from {proposal.file}: {proposal.rows} rows looked at, header in row "
        f"{proposal.header_row}.",
        "# Correct it, then try it: batch-assets spreadsheets check FILE --template THIS_FILE",
        *(f"# {note}" for note in proposal.notes),
        f"[spreadsheets.templates.{name}]",
        f"files = {_quoted(_pattern_of(proposal.file))}",
    ]
    if proposal.sheet:
        lines.append(f"sheet = {_quoted(proposal.sheet)}")
    lines.append(f"table = {_quoted(table)}")
    if proposal.key:
        lines.append(f"key = {_list(proposal.key)}  # no value stands there twice")
        lines.append('disposition = "merge"')
    else:
        lines.append("# no column or pair of columns is unique: rows are told apart by their place")
        lines.append('disposition = "append"')
    # The columns left out above are in the file all the same.
    lines.append(f'contract = "{"discard" if proposal.notes else "freeze"}"')
    for column in proposal.columns:
        lines += ["", *_render_column(column, name, column.name in proposal.key)]
    return "\n".join([*lines, ""])


def _render_column(column: InferredColumn, template: str, is_key: bool) -> Iterator[str]:
    yield f"[spreadsheets.templates.{template}.columns.{_key(column.name)}]"
    yield f"header = {_list((column.header,))}"
    yield f"type = {_quoted(column.type)}  # {column.evidence}"
    if column.date_formats:
        yield f"date_formats = {_list(column.date_formats)}"
    if column.decimal_comma:
        yield "decimal_comma = true"
    if is_key:
        yield "required = true"
    elif column.is_required:
        yield "# required = true  # every row has a value"
    if column.allowed:
        yield f"# allowed = {_list(column.allowed)}"


def _pattern_of(file: str) -> str:
    return re.sub(r"\d+", "*", file)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[a-z0-9_]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(value) for value in values) + "]"
