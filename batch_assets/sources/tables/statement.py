"""The SELECT of a transfer, whole or a range of it by key position.

Positions are the text of the key's values with the types of the source, so that they survive in a
checkpoint: {"p0": "2024-09-30 16:00:00+00", "p1": "4711"}.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position
from batch_assets.errors import ConfigurationError
from batch_assets.postgres.names import table_identifier
from batch_assets.postgres.result_columns import describe_statement
from batch_assets.sources.tables.transfer import Transfer


def written(text: str) -> sql.SQL:
    """SQL that an operator wrote into the configuration, as it is."""
    return sql.SQL(text)


@dataclass(frozen=True, slots=True)
class OrderedColumns:
    """The columns by which a source is walked, with their types as SQL writes them."""

    names: tuple[str, ...]
    type_names: tuple[str, ...]

    @property
    def listed(self) -> sql.Composed:
        """`t.a, t.b`."""
        return sql.SQL(", ").join(sql.Identifier("t", name) for name in self.names)

    @property
    def texts(self) -> sql.Composed:
        """`t.a::text, t.b::text`."""
        return sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier("t", name)) for name in self.names
        )

    @property
    def descending(self) -> sql.Composed:
        """`t.a DESC, t.b DESC`."""
        return sql.SQL(", ").join(
            sql.SQL("{} DESC").format(sql.Identifier("t", name)) for name in self.names
        )

    def compared(self, operator: str, position: Position) -> sql.Composed:
        """`(t.a, t.b) > (…)`: rows beyond, or up to, a position."""
        values = sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(str(position[f"p{place}"])), written(type_name))
            for place, type_name in enumerate(self.type_names)
        )
        return sql.SQL("({}) {} ({})").format(self.listed, written(operator), values)

    def among(self, rows: Sequence[Sequence[str]]) -> sql.Composed:
        """`(t.a, t.b) IN (…)`: the rows with these values, given as texts."""
        types = [written(name) for name in self.type_names]
        listed = sql.SQL(", ").join(
            sql.SQL("({})").format(
                sql.SQL(", ").join(
                    sql.SQL("{}::{}").format(sql.Literal(value), kind)
                    for value, kind in zip(row, types, strict=True)
                )
            )
            for row in rows
        )
        return sql.SQL("({}) IN ({})").format(self.listed, listed)


def position_of(row: Sequence[object]) -> dict[str, int | str]:
    """A position from the texts of the ordered columns.

    Raises:
        ConfigurationError: A value is NULL: there is no place after it.
    """
    if any(value is None for value in row):
        raise ConfigurationError(
            "a key column of the source holds NULL, expected a value in every row; "
            "leave such rows out with a query, or choose another key"
        )
    return {f"p{place}": str(value) for place, value in enumerate(row)}


@dataclass(frozen=True, slots=True)
class SourceStatement:
    """What a transfer reads."""

    transfer: Transfer

    @property
    def relation(self) -> sql.Composable:
        """The table or query, as `t`."""
        transfer = self.transfer
        if transfer.table:
            return sql.SQL("{} AS t").format(table_identifier(transfer.table))
        return sql.SQL("({}) AS t").format(written(transfer.query.rstrip().rstrip(";")))

    def select(
        self,
        *conditions: sql.Composable,
        constants: Mapping[str, sql.Composable] | None = None,
        order: sql.Composable | None = None,
    ) -> sql.Composed:
        """The rows that keep all conditions.

        Args:
            constants: Further columns with the same value in every row.
        """
        transfer = self.transfer
        items: list[sql.Composable] = [sql.Identifier("t", name) for name in transfer.columns]
        items += [written(expression) for expression in transfer.expressions]
        if not items:
            items.append(sql.SQL("t.*"))
        for name, value in (constants or {}).items():
            items.append(sql.SQL("{} AS {}").format(value, sql.Identifier(name)))
        return sql.SQL("SELECT {} FROM {}{}{}").format(
            sql.SQL(", ").join(items), self.relation, _where(conditions), _ordered(order)
        )

    def within(self, start: object, end: object) -> sql.Composed:
        """Rows whose window column lies in [start, end)."""
        column = sql.Identifier("t", self.transfer.window_column)
        return sql.SQL("{0} >= {1} AND {0} < {2}").format(
            column, sql.Literal(str(start)), sql.Literal(str(end))
        )

    def read_ordered(self, conn: psycopg.Connection, names: tuple[str, ...]) -> OrderedColumns:
        """The columns to walk by, with their types."""
        listed = sql.SQL(", ").join(sql.Identifier("t", name) for name in names)
        columns = describe_statement(
            conn, sql.SQL("SELECT {} FROM {}").format(listed, self.relation)
        )
        return OrderedColumns(names, tuple(column.type_name for column in columns))

    def find_range_end(
        self,
        conn: psycopg.Connection,
        ordered: OrderedColumns,
        conditions: Sequence[sql.Composable],
        rows: int,
    ) -> dict[str, int | str] | None:
        """Position of the row that ends a range of `rows` rows, or of the last row there is.

        Returns:
            None if no row keeps the conditions.
        """
        where = _where(conditions)
        found = conn.execute(
            sql.SQL("SELECT {} FROM {}{} ORDER BY {} OFFSET {} LIMIT 1").format(
                ordered.texts, self.relation, where, ordered.listed, sql.Literal(rows - 1)
            )
        ).fetchone()
        if found is None:
            found = conn.execute(
                sql.SQL("SELECT {} FROM {}{} ORDER BY {} LIMIT 1").format(
                    ordered.texts, self.relation, where, ordered.descending
                )
            ).fetchone()
        return position_of(found) if found else None


def _where(conditions: Sequence[sql.Composable]) -> sql.Composable:
    if not conditions:
        return sql.SQL("")
    return sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(conditions))


def _ordered(order: sql.Composable | None) -> sql.Composable:
    return sql.SQL(" ORDER BY {}").format(order) if order else sql.SQL("")
