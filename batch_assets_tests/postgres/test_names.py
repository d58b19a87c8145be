"""Identifiers made from names in contracts."""

import psycopg
import pytest
from psycopg import sql

from batch_assets.errors import ContractError
from batch_assets.postgres.names import column_list, table_identifier


def test_names_with_quotes_stay_names(postgres_empty: str) -> None:
    table = 'public.a "quoted" table; --'
    columns = ["select", 'with "quotes"', "数据"]

    with psycopg.connect(postgres_empty) as conn:
        definitions = sql.SQL(", ").join(
            sql.SQL("{} text").format(sql.Identifier(name)) for name in columns
        )
        conn.execute(sql.SQL("CREATE TABLE {} ({})").format(table_identifier(table), definitions))
        cursor = conn.execute(
            sql.SQL("SELECT {} FROM {}").format(column_list(columns), table_identifier(table))
        )

        assert cursor.description is not None
        assert [column.name for column in cursor.description] == columns


@pytest.mark.parametrize("name", ["daily_bars", "a.b.c", ".daily_bars", "market.", ""])
def test_name_that_is_not_schema_and_table_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match=r"expected 'schema\.table'"):
        table_identifier(name)
