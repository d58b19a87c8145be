"""SQL identifiers made from names in contracts.

The only place where a table or column name becomes SQL text; values are always parameters.
"""

from collections.abc import Iterable

from psycopg import sql

from batch_assets.errors import ContractError


def table_identifier(qualified_name: str) -> sql.Identifier:
    """Quote `schema.table`.

    Raises:
        ContractError: The name is not exactly a schema and a table.
    """
    parts = qualified_name.split(".")
    if len(parts) != 2 or not all(parts):
        raise ContractError(
            f"table name {qualified_name!r} was given, expected 'schema.table'; "
            "name the schema and the table, without quotes and without further dots"
        )
    return sql.Identifier(*parts)


def column_list(names: Iterable[str]) -> sql.Composed:
    """Quote column names and join them with commas, in the given order."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
