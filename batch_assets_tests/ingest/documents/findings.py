"""A long text, what of an inbox is stored, and what a search finds."""

from batch_assets.ingest.documents.search import search_documents
from batch_assets_tests.ingest.documents.inbox import Inbox

LONG = "\n\n".join(f"Paragraph {n} about margins and 营业收入 in 2024." for n in range(120))


def chunks_of(inbox: Inbox) -> set[object]:
    rows = inbox.rows(
        "SELECT DISTINCT d.path FROM documents.chunks c JOIN documents.documents d "
        "USING (document_id)"
    )
    return {path for (path,) in rows}


def found(inbox: Inbox, query: str) -> set[str]:
    with inbox.open() as conn:
        return {hit.path for hit in search_documents(conn, query)}
