"""Names that assets, checks, jobs and sensors of documents share."""

import dagster as dg

from batch_assets.sources.documents.sources import DocumentSource

# On jobs and runs: the source they read, or ALL_SOURCES.
SOURCE_TAG = "batch_assets/documents"
ALL_SOURCES = "all"

# On runs that a sensor or schedule started: what was waiting (WaitingDay.fingerprint).
WAITING_TAG = "batch_assets/waiting"


def documents_key_of(source: DocumentSource) -> dg.AssetKey:
    """`documents/<source>/documents`."""
    return dg.AssetKey(["documents", source.name, "documents"])


def chunks_key_of(source: DocumentSource) -> dg.AssetKey:
    """`documents/<source>/chunks`."""
    return dg.AssetKey(["documents", source.name, "chunks"])


def step_name_of(source: DocumentSource) -> str:
    """The step that writes both assets of a source, and the name its run configuration is under."""
    return f"documents_{source.name}"
