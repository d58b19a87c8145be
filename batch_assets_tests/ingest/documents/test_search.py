"""Full-text search: English by stems, Chinese, Japanese and Korean by neighbouring characters."""

from collections.abc import Iterator

import psycopg
import pytest

from batch_assets.ingest.documents.search import search_documents
from batch_assets_tests.conftest import PostgresServer

TEXTS = {
    "report_en.pdf": "Net income of the companies was rising in 2024; table 3.2 has the margin.",
    "other_en.pdf": "The company moved its tables. Income tax was netted; nothing else.",
    "report_zh.pdf": "二〇二四年营业收入同比增长百分之十二，机器学习平台投入使用。",
    "apart_zh.pdf": "学机构负责收集数据，营收入账，业务稳定。",
    "mixed.docx": "2024年 revenue 机器学习 model rose; １２３ ＡＢＣ full width.",
    "japanese.html": "東京都の人口は増えている。ﾃﾞｰﾀ分析とコンピュータ。",
    "korean.txt": "한국어를 공부합니다. 데이터분석 보고서",
    "thai.txt": "ภาษาไทยไม่มีช่องว่าง",
    "german.md": "Die Umsatzerlöse der Müller-Werke; soft\u00adware, state-of-the-art.",
}


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer, _migrated_template: str) -> Iterator[str]:
    url = postgres_server.create_database(_migrated_template)
    with psycopg.connect(url) as conn:
        for number, (path, text) in enumerate(TEXTS.items(), start=1):
            store(conn, number, path, text)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    """The stored texts; what a test changes is undone."""
    with psycopg.connect(database) as conn:
        yield conn
        conn.rollback()


def store(
    conn: psycopg.Connection, number: int, path: str, text: str, source: str = "inbox"
) -> None:
    conn.execute(
        "INSERT INTO documents.documents (document_id, source, path, version, arrival_day, sha256, "
        "size_bytes, outcome, chunk_count, load_id) "
        "VALUES (%s, %s, %s, 1, '2024-09-30', %s, 1, 'ok', 1, 1)",
        (number, source, path, f"{number:064d}"),
    )
    conn.execute(
        "INSERT INTO documents.chunks (document_id, ordinal, segment_kind, segment_from, "
        "segment_to, start_offset, end_offset, text, load_id) "
        "VALUES (%s, 0, 'page', 2, 3, 0, %s, %s, 1)",
        (number, len(text), text),
    )


def found(conn: psycopg.Connection, query: str) -> set[str]:
    return {hit.path for hit in search_documents(conn, query)}


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        # Two characters inside a sentence, never two that do not touch.
        ("收入", {"report_zh.pdf", "apart_zh.pdf"}),
        ("营业", {"report_zh.pdf"}),
        ("营业收入", {"report_zh.pdf"}),
        ("机器", {"report_zh.pdf", "mixed.docx"}),
        ("机器学习", {"report_zh.pdf", "mixed.docx"}),
        ("学机", {"apart_zh.pdf"}),
        ("业收", {"report_zh.pdf"}),
        ("据营", set()),
        ("增长，投入", {"report_zh.pdf"}),
        ("增长投入", set()),
        # One character: at the beginning of a run, inside, at its end.
        ("二", {"report_zh.pdf"}),
        ("营", {"report_zh.pdf", "apart_zh.pdf"}),
        ("定", {"apart_zh.pdf"}),
        ("无", set()),
        # English: stems, case, all words needed, phrases, exclusion, decimals.
        ("company", {"report_en.pdf", "other_en.pdf"}),
        ("RISES", {"report_en.pdf"}),
        ("income margin", {"report_en.pdf"}),
        ('"net income"', {"report_en.pdf"}),
        ('"income of the company"', {"report_en.pdf"}),
        ('"income the company"', set()),
        ("income -margin", {"other_en.pdf"}),
        ("3.2", {"report_en.pdf"}),
        ("2.3", set()),
        # Mixed scripts.
        ("2024年 revenue", {"mixed.docx"}),
        ("2024年", {"mixed.docx"}),
        ('"revenue 机器学习 model"', {"mixed.docx"}),
        ('"revenue 机器 model"', set()),
        ('"revenue 机器"', {"mixed.docx"}),
        ("model机器", set()),
        ("123 abc", {"mixed.docx"}),
        # Japanese, half-width kana, Korean with its endings, Thai.
        ("東京", {"japanese.html"}),
        ("京都", {"japanese.html"}),
        ("データ", {"japanese.html"}),
        ("コンピュータ", {"japanese.html"}),
        ("한국어", {"korean.txt"}),
        ("분석", {"korean.txt"}),
        ("ไทย", {"thai.txt"}),
        # Accents, soft hyphens, hyphenated words.
        ("umsatzerlöse", {"german.md"}),
        ("software", {"german.md"}),
        ("müller", {"german.md"}),
        ("state-of-the-art", {"german.md"}),
        # Nothing to look for.
        ("the", set()),
        ("", set()),
        ("，。!", set()),
        ("'; DROP TABLE documents.chunks --", set()),
        ("a\x00b'c", set()),
    ],
)
def test_search_finds_exactly(conn: psycopg.Connection, query: str, paths: set[str]) -> None:
    assert found(conn, query) == paths


def test_hit_names_pages_offsets_and_marks_every_word(conn: psycopg.Connection) -> None:
    [hit] = search_documents(conn, "margin company incomes")

    assert (hit.path, hit.segment_kind, hit.segment_from, hit.segment_to) == (
        "report_en.pdf",
        "page",
        2,
        3,
    )
    assert (hit.start_offset, hit.end_offset, hit.rank > 0) == (0, len(hit.text), True)
    assert "Net «income» of the «companies» was rising" in hit.snippet
    assert "the «margin»." in hit.snippet


def test_snippet_marks_chinese_words_and_no_other(conn: psycopg.Connection) -> None:
    [hit] = search_documents(conn, "营业收入 平台 -model", marks=("[", "]"))

    assert hit.snippet == "二〇二四年[营业收入]同比增长百分之十二，机器学习[平台]投入使用。"


def test_long_pieces_are_cut_around_the_first_word(conn: psycopg.Connection) -> None:
    store(conn, 90, "long.txt", f"{'word ' * 200}needle {'word ' * 200}")

    [hit] = search_documents(conn, "needle")

    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert "«needle»" in hit.snippet
    assert len(hit.snippet) < 250


def test_old_versions_and_deleted_documents_are_not_found(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE documents.documents SET is_current = false WHERE path = 'report_zh.pdf'")
    conn.execute("UPDATE documents.documents SET deleted_at = now() WHERE path = 'mixed.docx'")

    assert found(conn, "机器学习") == set()


def test_search_can_be_limited_to_a_source_and_a_number(conn: psycopg.Connection) -> None:
    store(conn, 91, "a.txt", "income everywhere", source="other")

    assert [hit.path for hit in search_documents(conn, "income", source="other")] == ["a.txt"]
    assert len(search_documents(conn, "income", limit=2)) == 2


def test_search_uses_the_index(conn: psycopg.Connection) -> None:
    for number in range(100, 1_100):
        store(conn, number, f"{number}.txt", f"数据平台 number {number} 报告内容 report text")
    conn.execute("ANALYZE documents.chunks, documents.documents")

    for query in ("营业收入", "margin", "二", "2024年 revenue"):
        plan = conn.execute(
            "EXPLAIN SELECT path FROM documents.search(%s, 10)", (query,)
        ).fetchall()
        assert any("chunks_by_words" in line for (line,) in plan), (query, plan)
