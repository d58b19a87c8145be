"""A dead letter: a row that was not loaded, as it is kept until somebody answers it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from batch_assets.contracts.batch import Original, SourceCell, Violation

Given = Mapping[str, tuple[str | None, str]]
"""Values that a person gave instead: text and kind, by the source's column names."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected row.

    Attributes:
        load_id: Load whose ledger counts it as rejected.
        read_load_id: Last load that read it from its source.
        state: open, superseded, replayed or discarded.
        original: Its values as the source wrote them.
        layout: The same in the order of the source; empty where it cannot be corrected alone.
        corrected: The values last given instead; empty if none were.
        answered_from: Workbook that the answer came in.
        answer_load_id: The replay that answered it.
        resolution: Why it was discarded.
        personal: Names in `original` whose values are shown masked.
    """

    dead_letter_id: int
    target: str
    scope: str
    window_key: str
    load_id: int
    read_load_id: int
    state: str
    source_file: str
    sheet: str
    row: int
    rule: str
    violations: tuple[Violation, ...]
    original: Original
    layout: tuple[SourceCell, ...] = ()
    corrected: Given = field(default_factory=dict)
    seen_count: int = 1
    first_seen_at: datetime | None = None
    answered_by: str = ""
    answered_at: datetime | None = None
    answered_from: str = ""
    answer_load_id: int | None = None
    resolution: str = ""
    personal: tuple[str, ...] = ()
