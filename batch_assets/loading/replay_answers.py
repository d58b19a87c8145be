"""Answers to dead letters, judged, on their way into ops.dead_letters; see replay.py."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from batch_assets.contracts.batch import Violation
from batch_assets.contracts.dead_letter import Given
from batch_assets.contracts.personal import masked_violations
from batch_assets.contracts.table import TableContract
from batch_assets.loading.prepare import join_batches

# Beside the contract's columns.
LETTER = pa.field("letter_id", pa.int64())
LOAD = pa.field("load_id", pa.int64())

# Answers written in one trip.
_ANSWERS = 1_000


@dataclass(frozen=True, slots=True)
class AnsweredLetters:
    """Some dead letters with their answers, judged.

    Attributes:
        rows: Good rows with the contract's columns.
        letter_ids: The dead letter of each of them.
        read_load_ids: The load that read each of them from its source.
        refused: What is still wrong, by dead letter.
        dropped: Why a row is not to be loaded, by dead letter.
        given: The values that were given instead, by dead letter.
        sheets: Sheet of each dead letter that is refused, kept with its violations.
    """

    rows: pa.RecordBatch
    letter_ids: Sequence[int]
    read_load_ids: Sequence[int]
    refused: Mapping[int, tuple[Violation, ...]]
    dropped: Mapping[int, str]
    given: Mapping[int, Given]
    sheets: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class ReplayAnswers:
    """All answers of a replay, as the statement that writes them wants them."""

    refused: Mapping[int, tuple[Violation, ...]]
    dropped: Mapping[int, str]
    fixed: Sequence[int]
    pieces: Sequence[AnsweredLetters]
    contract: TableContract

    def arrays(self) -> Iterator[dict[str, list[object]]]:
        """Parameters of the statement, a thousand answers at a time."""
        given = {key: value for piece in self.pieces for key, value in piece.given.items()}
        sheets = {key: value for piece in self.pieces for key, value in piece.sheets.items()}
        ids = [*self.refused, *self.dropped, *self.fixed]
        for first in range(0, len(ids), _ANSWERS):
            chosen = ids[first : first + _ANSWERS]
            yield {
                "ids": list(chosen),
                "states": [self._state_of(number) for number in chosen],
                "givens": [_json(given.get(number, {})) for number in chosen],
                "violations": [self._violations_of(number, sheets) for number in chosen],
                "resolutions": [self.dropped.get(number) for number in chosen],
            }

    def _state_of(self, number: int) -> str:
        if number in self.refused:
            return "open"
        return "discarded" if number in self.dropped else "replayed"

    def _violations_of(self, number: int, sheets: Mapping[int, str]) -> str | None:
        if number not in self.refused:
            return None
        sheet = {"sheet": sheets[number]} if sheets.get(number) else {}
        contract = self.contract
        shown = masked_violations(self.refused[number], contract.personal, contract.columns.names)
        return _json([asdict(violation) | sheet for violation in shown])


def join_answered(contract: TableContract, pieces: Sequence[AnsweredLetters]) -> pa.RecordBatch:
    """All good rows, each with its dead letter and the load that read it."""
    schema = contract.columns.append(LETTER).append(LOAD)
    rows = join_batches(contract, [piece.rows for piece in pieces])
    ids = [number for piece in pieces for number in piece.letter_ids]
    loads = [number for piece in pieces for number in piece.read_load_ids]
    columns = [*rows.columns, pa.array(ids, pa.int64()), pa.array(loads, pa.int64())]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def without_letters(rows: pa.RecordBatch, letter_ids: Sequence[int]) -> pa.RecordBatch:
    """Rows that do not come from these dead letters."""
    if not letter_ids:
        return rows
    left_out = set(letter_ids)
    kept = [number not in left_out for number in rows.column(LETTER.name).to_pylist()]
    return rows.filter(pa.array(kept, pa.bool_()))


def conflict_of(contract: TableContract) -> Violation:
    """What is wrong with a row that another row of the file contradicts."""
    return Violation(
        rule="conflicting_duplicate_key",
        column=contract.key[-1],
        observed=None,
        expected="one row for each key, or copies that agree in every column",
        hint="another row of the file has the same key and other values: correct the key, or drop "
        "this row",
    )


def _json(value: object) -> str:
    # PostgreSQL's jsonb cannot hold the NUL character; its visible picture keeps it readable.
    return json.dumps(value, ensure_ascii=False).replace("\\u0000", "\N{SYMBOL FOR NULL}")
