"""A run of Dagster ends by embedding what it read, where an endpoint is configured."""

from collections.abc import Iterator

import pytest

from batch_assets_tests.defs.documents.landing import DAY, Landing, materializations
from batch_assets_tests.defs.market_files import failure_text
from batch_assets_tests.fakes.embedding_server import answer_with
from batch_assets_tests.fakes.http_vendor import HttpVendorServer


@pytest.fixture
def server(landing: Landing) -> Iterator[HttpVendorServer]:
    if not landing.rows("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("the server of this test run has no pgvector")
    with HttpVendorServer(answer_with(lambda _items: None)) as server:
        # The settings' lines are the last of the file; a section of its own follows them.
        landing.settings_lines["watch"] = (
            f'true\n[documents.embedding]\nbase_url = "{server.base_url}/v1"\nmodel = "m"\n'
            "dimensions = 3\nattempts = 1"
        )
        yield server


def test_run_embeds_what_it_read(landing: Landing, server: HttpVendorServer) -> None:
    landing.drop("a.txt", "text a")

    result = landing.run(DAY)

    assert result.success, failure_text(result)
    assert landing.rows("SELECT model, embedding::text FROM documents.embeddings") != []
    assert "Authorization" not in server.requests[0].headers


def test_refused_token_fails_the_run_after_its_days_are_told(
    landing: Landing, server: HttpVendorServer
) -> None:
    landing.drop("a.txt", "text a")
    server.faults.append("401")

    result = landing.run(DAY)

    assert not result.success
    assert "401" in failure_text(result)
    assert set(materializations(result)) == {("documents", DAY), ("chunks", DAY)}
    assert landing.files() == {f"{DAY}/a.txt": "done:ok"}
