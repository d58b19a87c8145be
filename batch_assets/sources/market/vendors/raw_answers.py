"""Answers of vendors as the parser takes them, and what they are known by."""

import hashlib
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import Original
from batch_assets.sources.market.raw_table import RawTable, layout_of
from batch_assets.sources.market.vendors.json_rows import content_of
from batch_assets.sources.market.vendors.replies import require_columns
from batch_assets.sources.market.vendors.vendor import Fetched


def as_raw_table(
    fetched: Fetched, columns: Mapping[str, str], *, required: Sequence[str]
) -> RawTable:
    """An answer as the parser takes it.

    Args:
        fetched: The answer.
        columns: For each value of a bar, the vendor's column.
        required: Values without which there is no bar.

    Raises:
        UnreadableSource: A required column is not in the answer.
    """
    require_columns(fetched, [columns[target] for target in required if target in columns])
    names = fetched.cells.column_names
    return RawTable(
        file=fetched.label,
        columns={
            target: fetched.cells.column(name).combine_chunks()
            for target, name in columns.items()
            if name in names
        },
        rows=fetched.places,
        read_rows=fetched.read_rows,
        column_count=len(names),
        originals=lambda indices: _originals(fetched.cells, indices),
        malformed=fetched.malformed,
        layout=layout_of(
            names,
            {target: names.index(name) for target, name in columns.items() if name in names},
        ),
    )


def _originals(cells: pa.Table, indices: Sequence[int]) -> list[Original]:
    rows: list[Original] = cells.take(pa.array(indices, pa.int64())).to_pylist()
    return rows


def hash_answer(fetched: Fetched, names: Sequence[str], fingerprint: str) -> str:
    """Identity of the cells that become bars; the rest of an answer may differ each time.

    Args:
        fetched: The answer.
        names: The vendor's columns that matter.
        fingerprint: Identity of what decides which rows the cells become.
    """
    digest = hashlib.sha256(f"{fingerprint}\n{fetched.read_rows}\n".encode())
    for name in names:
        if name not in fetched.cells.column_names:
            continue
        # Lengths first, so that no two different columns give the same bytes; -1 is a null.
        texts = fetched.cells.column(name).combine_chunks()
        lengths = pc.fill_null(pc.binary_length(texts), -1).to_numpy()
        digest.update(f"{name}\n".encode() + lengths.tobytes())
        digest.update(content_of(texts))
    for record in fetched.malformed:
        digest.update(f"{record.row}\0{record.text}\n".encode())
    return digest.hexdigest()
