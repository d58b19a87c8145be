"""Checks of documents, which come with each run; their verdicts are in evaluate.py."""

import dagster as dg

from batch_assets.defs.documents.asset_keys import chunks_key_of, documents_key_of
from batch_assets.sources.documents.sources import DocumentSource

EVERY_FILE_HAS_ENDED = "every_file_has_ended"
FAILURE_RATE = "failure_rate_within_budget"
NO_DEAD_LETTERS = "no_open_dead_letters"
OFFSETS = "chunk_offsets_are_right"


def build_check_specs(source: DocumentSource) -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the step that reads the documents, once for each run."""
    documents, chunks = documents_key_of(source), chunks_key_of(source)
    return [
        dg.AssetCheckSpec(
            EVERY_FILE_HAS_ENDED,
            asset=documents,
            blocking=True,
            description="Each file that was in the landing folder is done or failed, in exactly "
            "one state, and found = ok + unchanged + each failure. A day that could not be ended "
            "has an evaluation of its own, with the reason.",
        ),
        dg.AssetCheckSpec(
            FAILURE_RATE,
            asset=documents,
            description="On no day do more documents fail than failure_limit_documents and "
            "failure_limit_ratio of the source allow. The others are stored in any case.",
        ),
        dg.AssetCheckSpec(
            NO_DEAD_LETTERS,
            asset=documents,
            description="No document of these days waits for a person; a warning otherwise.",
        ),
        dg.AssetCheckSpec(
            OFFSETS,
            asset=chunks,
            blocking=True,
            description="A sample of pieces is cut out of the stored text again, by its offsets.",
        ),
    ]
