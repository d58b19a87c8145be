"""Answers of vendors to text cells: what was written, digit by digit.

A number of JSON stays the text it is on the wire, because a binary float would change it. What a
cell means belongs in parse.py.

Modules of vendors import this one, and are imported themselves where definitions are built: Arrow
is imported where an answer is read.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from batch_assets.errors import SourceUnavailable, UnreadableSource
from batch_assets.sources.market.vendors.json_rows import PLACEHOLDER, TextRows, take_rows
from batch_assets.sources.market.vendors.vendor import Fetched

if TYPE_CHECKING:
    import pyarrow as pa

    from batch_assets.sources.market.raw_table import Malformed

_QUOTED_CHARACTERS = 120


def read_json(body: bytes | str, label: str) -> Any:
    """Parse JSON; numbers, NaN and Infinity become the text they are.

    Raises:
        SourceUnavailable: The text is not JSON, or only a part of it.
    """
    try:
        return json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise SourceUnavailable(
            f"{label}: {len(body)} bytes that are not complete JSON ({error}), beginning "
            f"{_beginning(body)}; expected one JSON document; try again later, and check that the "
            "address is the vendor's"
        ) from error


def read_json_rows(body: bytes, member: str, label: str) -> Any:
    """Parse JSON as `read_json`, but give the rows under `member` as TextRows where that is faster.

    Args:
        body: The document.
        member: Name of an array of arrays, anywhere in the document.
        label: What was asked.

    Raises:
        SourceUnavailable: The text is not JSON, or only a part of it.
    """
    taken = take_rows(body, member)
    if taken is not None:
        rest, rows = taken
        places: list[dict[str, Any]] = []

        def put_back(found: dict[str, Any]) -> dict[str, Any]:
            if found.get(member) == PLACEHOLDER:
                found[member] = rows
                places.append(found)
            return found

        # A cut document, or one with brackets in its texts, is told by the parser below.
        with suppress(ValueError, RecursionError):
            answer = json.loads(
                rest, parse_float=str, parse_int=str, parse_constant=str, object_hook=put_back
            )
            if len(places) == 1:
                return answer
    return read_json(body, label)


def _beginning(body: bytes | str) -> str:
    text = (
        body if isinstance(body, str) else body[: 4 * _QUOTED_CHARACTERS].decode("utf-8", "replace")
    )
    return repr(text[:_QUOTED_CHARACTERS])


def require_mapping(value: Any, label: str) -> Mapping[str, Any]:
    """The value, which must be a JSON object.

    Raises:
        UnreadableSource: It is not.
    """
    if not isinstance(value, Mapping):
        raise _unexpected(label, value, "a JSON object")
    return value


def require_list(value: Any, label: str) -> list[Any]:
    """The value, which must be a JSON array.

    Raises:
        UnreadableSource: It is not.
    """
    if not isinstance(value, list):
        raise _unexpected(label, value, "a JSON array")
    return value


def _unexpected(label: str, value: Any, expected: str) -> UnreadableSource:
    seen = json.dumps(value, ensure_ascii=False, default=str)[:_QUOTED_CHARACTERS]
    return UnreadableSource(
        f"{label}: the answer has {seen} where {expected} was expected; the vendor may have "
        "changed its format: compare with its documentation"
    )


def require_rows(value: Any, label: str) -> "list[Any] | TextRows":
    """The value, which must be a JSON array; see `read_json_rows`.

    Raises:
        UnreadableSource: It is not.
    """
    return value if isinstance(value, TextRows) else require_list(value, label)


def fetched_rows(label: str, header: Sequence[Any], items: "Sequence[Any] | TextRows") -> Fetched:
    """An answer of records that are lists.

    Args:
        label: What was asked.
        header: The vendor's column names, in the order of the lists.
        items: One list for each row; anything else, and a list of another length, is malformed.
    """
    import numpy as np

    names = [str(name) for name in header]
    width = len(names)
    if isinstance(items, TextRows):
        if items.columns.num_columns == width:
            places = np.arange(1, items.columns.num_rows + 1, dtype=np.int64)
            return Fetched(label, items.columns.rename_columns(names), places)
        items = items.to_lists()
    is_row = [isinstance(item, list) and len(item) == width for item in items]
    rows = (
        items if all(is_row) else [item for item, good in zip(items, is_row, strict=True) if good]
    )
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    return _fetched(label, names, columns, _malformed(items, is_row))


def fetched_records(label: str, names: Sequence[str], items: Sequence[Any]) -> Fetched:
    """An answer of records that are objects.

    Args:
        label: What was asked.
        names: Members to take; one that an object does not have is null.
        items: One object for each row; anything else is malformed.
    """
    is_row = [isinstance(item, dict) for item in items]
    rows = [item for item, good in zip(items, is_row, strict=True) if good]
    columns = [[row.get(name) for row in rows] for name in names]
    return _fetched(label, names, columns, _malformed(items, is_row))


def _malformed(items: Sequence[Any], is_row: list[bool]) -> "tuple[Malformed, ...]":
    from batch_assets.sources.market.raw_table import Malformed

    if all(is_row):
        return ()
    return tuple(
        Malformed(
            row=number,
            text=json.dumps(item, ensure_ascii=False)[:2000],
            field_count=len(item) if isinstance(item, list | dict) else 0,
        )
        for number, (item, good) in enumerate(zip(items, is_row, strict=True), start=1)
        if not good
    )


def _fetched(
    label: str,
    names: Sequence[str],
    columns: Sequence[Sequence[Any]],
    malformed: "tuple[Malformed, ...]",
) -> Fetched:
    import numpy as np
    import pyarrow as pa

    cells = pa.table([_text_column(values) for values in columns], names=list(names))
    places = np.arange(1, cells.num_rows + len(malformed) + 1, dtype=np.int64)
    if malformed:
        places = np.setdiff1d(places, [record.row for record in malformed])
    return Fetched(label, cells, places, malformed)


def _text_column(values: Sequence[Any]) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, TypeError):  # a boolean, or a list where a number should be
        return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def join_fetched(label: str, parts: Sequence[Fetched]) -> Fetched:
    """Several answers as one, places counted on."""
    import numpy as np
    import pyarrow as pa

    from batch_assets.sources.market.raw_table import Malformed

    if len(parts) == 1:
        return parts[0]
    places: list[np.ndarray] = []
    malformed: list[Malformed] = []
    start = 0
    for part in parts:
        places.append(part.places + start)
        malformed += [
            Malformed(record.row + start, record.text, record.field_count)
            for record in part.malformed
        ]
        start += part.read_rows
    cells = pa.concat_tables([part.cells for part in parts]).combine_chunks()
    return Fetched(label, cells, np.concatenate(places), tuple(malformed))


def rows_where(fetched: Fetched, column: str, value: str) -> Fetched:
    """The rows of an answer that have a value in a column.

    Raises:
        UnreadableSource: The answer has no such column.
    """
    import numpy as np
    import pyarrow.compute as pc

    require_columns(fetched, [column])
    kept = pc.fill_null(pc.equal(fetched.cells.column(column), value), False)
    places = fetched.places[np.asarray(kept.to_numpy(), bool)]
    return Fetched(fetched.label, fetched.cells.filter(kept), places, fetched.malformed)


def rows_with(fetched: Fetched, columns: Sequence[str]) -> Fetched:
    """An answer with these columns alone.

    Raises:
        UnreadableSource: The answer has not all of them.
    """
    require_columns(fetched, columns)
    return Fetched(
        fetched.label, fetched.cells.select(list(columns)), fetched.places, fetched.malformed
    )


def require_columns(fetched: Fetched, columns: Sequence[str]) -> None:
    """See that an answer has these columns.

    Raises:
        UnreadableSource: It has not all of them.
    """
    names = fetched.cells.column_names
    missing = [name for name in columns if name not in names]
    if missing:
        raise UnreadableSource(
            f"{fetched.label}: the answer has the columns {', '.join(names)}, expected also "
            f"{', '.join(missing)}; the vendor may have changed its format"
        )
