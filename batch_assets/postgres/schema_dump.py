"""The schema of a database as text, the same from every server version.

Made from the catalog rather than with `pg_dump`, which is not everywhere and changes its output
with each release. The text is SQL that recreates the schema; sql/schema.sql holds the expected one.
"""

import itertools
from collections.abc import Iterator, Sequence
from difflib import unified_diff

import psycopg

from batch_assets.postgres.sql_files import read_query

# Tables in these schemas come and go with the loads that use them; migrations make only the schema.
_WORKSPACES = ["staging"]

# Made where embeddings are configured, and only there: it needs an extension.
_OPTIONAL_TABLE = "documents.embeddings"

_TABLES = 3  # their rank in describe_schema.sql

_HEADER = """\
-- The schema after all migrations. Do not edit: a test compares it with a migrated database.
-- Write it again with `python -m batch_assets_tests.postgres.write_schema_file`.

-- Functions may name views, which come after them.
SET check_function_bodies = off;
"""


def read_schema(conn: psycopg.Connection, schemas: Sequence[str]) -> str:
    """Describe the objects of some schemas as SQL.

    Args:
        conn: Any connection; its transaction, if it has one, sees its own changes.
        schemas: The schemas to describe; those that do not exist are left out.
    """
    with conn.transaction():
        # Names are qualified only when their schema is not on the path.
        conn.execute("SET LOCAL search_path = ''")
        rows = conn.execute(
            read_query("describe_schema"),
            {
                "schemas": list(schemas),
                "workspaces": _WORKSPACES,
                "optional": _OPTIONAL_TABLE,
            },
        )
        groups = [
            ("\n\n" if rank == _TABLES else "\n").join(f"{statement};" for _, statement in group)
            for rank, group in itertools.groupby(rows, key=lambda row: row[0])
        ]
    return "\n\n".join([_HEADER.rstrip(), *groups]) + "\n"


def differences(expected: str, actual: str) -> list[str]:
    """What a database has too little, too much, or otherwise; one line per object.

    Args:
        expected: A text of `read_schema`, usually sql/schema.sql.
        actual: Another one.
    """
    wanted, found = _objects(expected), _objects(actual)
    return [
        *(f"missing: {head}" for head in wanted if head not in found),
        *(f"unexpected: {head}" for head in found if head not in wanted),
        *(
            f"changed: {head}: {'; '.join(_changed_lines(wanted[head], found[head]))}"
            for head in wanted
            if head in found and wanted[head] != found[head]
        ),
    ]


def _objects(text: str) -> dict[str, list[str]]:
    body = "".join(line for line in text.splitlines(True) if not line.startswith("--"))
    statements = (statement.strip() for statement in body.split(";\n"))
    return {
        statement.splitlines()[0].removesuffix(" ("): statement.splitlines()
        for statement in statements
        if statement
    }


def _changed_lines(wanted: list[str], found: list[str]) -> Iterator[str]:
    for line in itertools.islice(unified_diff(wanted, found, n=0, lineterm=""), 2, None):
        if not line.startswith("@@"):
            meaning = "expected" if line.startswith("-") else "found"
            yield f"{meaning} {line[1:].strip().rstrip(',')}"
