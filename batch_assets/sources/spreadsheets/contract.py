"""From a template to the promises of its target table."""

from collections.abc import Mapping

import pyarrow as pa

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

_PROVENANCE_FIELDS = (
    pa.field("arrival_date", pa.date32()),
    pa.field("source_file", pa.string()),
    pa.field("source_sheet", pa.string()),
    pa.field("source_row", pa.int64()),
)
_PLACE = ("source_file", "source_sheet", "source_row")


def template_contract(
    template: SpreadsheetTemplate, extra: Mapping[str, str] | None = None
) -> TableContract:
    """The contract of a template's table.

    Rules about cells are applied where the cells are read, so that they can name the cell; their
    identity is part of the contract's version.

    Args:
        template: What a person wrote.
        extra: Text columns that files have besides, by name, with their header (evolve).

    Returns:
        A contract with the columns of the template, of `extra`, and of where a row came from. A
        template without a key counts rows by their place. One that replaces holds every arrival
        day on its own.
    """
    fields = [
        pa.field(column.name, column.column_type.arrow(with_zone=column.has_zone))
        for column in template.columns
    ]
    fields += [pa.field(name, pa.string()) for name in extra or {}]
    by_day = template.disposition is Disposition.REPLACE
    own_key = template.key or _PLACE
    key = ("arrival_date", *own_key) if by_day or not template.key else own_key
    return TableContract(
        target=template.table,
        columns=pa.schema([*fields, *_PROVENANCE_FIELDS]),
        key=key,
        disposition=template.disposition,
        window_column="arrival_date" if by_day else None,
        provenance=tuple(f.name for f in _PROVENANCE_FIELDS if f.name not in key),
        shares_target=not by_day,
        personal=template.personal,
        version=template.fingerprint,
    )
