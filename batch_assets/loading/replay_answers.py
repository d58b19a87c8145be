"""Answers to dead letters, judged, on their way into ops.dead_letters; see replay.py."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from batch_assets.contracts.batch import Violation
from batch_assets.contracts.dead_letter import Given

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
        return _json([asdict(violation) | sheet for violation in self.refused[number]])


def _json(value: object) -> str:
    # PostgreSQL's jsonb cannot hold the NUL character; its visible picture keeps it readable.
    return json.dumps(value, ensure_ascii=False).replace("\\u0000", "\N{SYMBOL FOR NULL}")
