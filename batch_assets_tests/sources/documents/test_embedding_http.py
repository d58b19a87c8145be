"""The adapter for HTTP endpoints, against one on loopback with every fault a network has."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from batch_assets.errors import (
    BatchAssetsError,
    ConfigurationError,
    SchemaMismatch,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
)
from batch_assets.settings import load_settings
from batch_assets.sources.documents.embedding import (
    EmbeddingSettings,
    TextsRefused,
    read_embedding_settings,
)
from batch_assets.sources.documents.embedding_http import HttpEmbedder, open_embedder
from batch_assets.sources.documents.sources import read_document_sources
from batch_assets_tests.fakes.embedding_server import (
    DIMENSIONS,
    REFUSED,
    TOKEN,
    answer_with,
    embedding_answer,
    texts_of,
    vector_of,
)
from batch_assets_tests.fakes.http_vendor import HttpVendorServer


@pytest.fixture
def server() -> Iterator[HttpVendorServer]:
    with HttpVendorServer(embedding_answer) as server:
        yield server


def embedder(server: HttpVendorServer, token: str = TOKEN, **values: Any) -> HttpEmbedder:
    settings = {
        "base_url": f"{server.base_url}/v1",
        "model": "m",
        "dimensions": DIMENSIONS,
        "token_env": "EMBEDDING_TOKEN",
        "first_wait_seconds": 0.01,
        **values,
    }
    return HttpEmbedder(EmbeddingSettings(**settings), SecretStr(token))


def test_vectors_come_in_the_order_of_the_texts_though_answered_out_of_order(
    server: HttpVendorServer,
) -> None:
    texts = ["one", "营业收入", "three three"]
    with embedder(server) as model:
        assert model.embed(texts) == [vector_of(text) for text in texts]
        assert model.embed(["four"]) == [vector_of("four")]

    assert texts_of(server.requests[0]) == texts
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault", ["reset", "close", "half_body", "truncated", "html", "500", "503", "429:0"]
)
def test_a_failure_that_time_may_mend_is_asked_again(server: HttpVendorServer, fault: str) -> None:
    server.faults.extend([fault, fault])
    with embedder(server) as model:
        assert model.embed(["one"]) == [vector_of("one")]

    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [
        "silent",
        pytest.param("drip", marks=pytest.mark.long),
        pytest.param("drip_head", marks=pytest.mark.long),
    ],
)
def test_an_answer_that_does_not_end_is_given_up_in_time(
    server: HttpVendorServer, fault: str
) -> None:
    server.faults.extend([fault, fault])
    begun = time.monotonic()
    with (
        embedder(server, timeout_seconds=2.0, attempts=2) as model,
        pytest.raises(SourceUnavailable, match=r"within 2 s \(timeout_seconds\)"),
    ):
        model.embed(["one"])

    assert time.monotonic() - begun < 60
    assert len(server.requests) == 2


def test_retries_are_bounded(server: HttpVendorServer) -> None:
    server.faults.extend(["500"] * 10)
    with embedder(server, attempts=3) as model, pytest.raises(SourceUnavailable, match="500"):
        model.embed(["one"])

    assert len(server.requests) == 3


def test_retry_after_is_kept(server: HttpVendorServer) -> None:
    server.faults.append("429:1")
    begun = time.monotonic()
    with embedder(server) as model:
        model.embed(["one"])

    assert time.monotonic() - begun >= 1
    assert len(server.requests) == 2


def test_a_longer_wait_than_allowed_is_told_and_not_waited(server: HttpVendorServer) -> None:
    server.faults.append("429:3600")
    with (
        embedder(server, max_wait_seconds=60) as model,
        pytest.raises(SourceRateLimited, match="after 3600 s") as caught,
    ):
        model.embed(["one"])

    assert caught.value.retry_after_seconds == 3600
    assert len(server.requests) == 1


def test_a_wrong_token_is_fatal_and_never_repeated_in_words(server: HttpVendorServer) -> None:
    with (
        embedder(server, token="wrong-secret") as model,
        pytest.raises(SourceRefused, match=r"401.*check the token in EMBEDDING_TOKEN") as caught,
    ):
        model.embed(["one"])

    assert "wrong-secret" not in str(caught.value)
    assert not caught.value.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "kind"), [("403", SourceRefused), ("404", SourceRefused), ("400", TextsRefused)]
)
def test_other_refusals_are_asked_once(
    server: HttpVendorServer, fault: str, kind: type[BatchAssetsError]
) -> None:
    server.faults.append(fault)
    with embedder(server) as model, pytest.raises(kind, match=fault):
        model.embed(["one"])

    assert len(server.requests) == 1


def test_a_text_that_is_refused_is_told_from_an_endpoint_that_refuses_all(
    server: HttpVendorServer,
) -> None:
    with embedder(server) as model, pytest.raises(TextsRefused, match="maximum context length"):
        model.embed(["fine", REFUSED])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda items: items.pop(), "1 vectors came back for 2 texts"),
        (lambda items: items.append(dict(items[0])), "no list of vectors"),
        (lambda items: items[0].update(index=1), "no list of vectors"),
        (lambda items: items[0].update(embedding=[1.0, 2.0]), "2 dimensions, expected 3"),
        (lambda items: items[0].update(embedding=[1.0, None, 2.0]), "no list of vectors"),
        (lambda items: items[0].update(embedding=[1.0, float("nan"), 2.0]), "no list of vectors"),
        (lambda items: items[0].update(embedding=[1.0, 10**400, 2.0]), "no list of vectors"),
        (lambda items: items[0].update(embedding=[0.0] * 100_000), "more than 65776 bytes"),
    ],
)
def test_an_answer_of_another_shape_is_refused_in_words(
    server: HttpVendorServer, change: Callable[[list[dict[str, Any]]], object], words: str
) -> None:
    server.answers = answer_with(change)
    with embedder(server) as model, pytest.raises(SchemaMismatch, match=words):
        model.embed(["one", "two"])

    assert len(server.requests) == 1


def test_an_answer_without_indexes_keeps_its_order(server: HttpVendorServer) -> None:
    server.answers = answer_with(lambda items: [item.pop("index") for item in items])
    with embedder(server) as model:
        assert model.embed(["one", "two 2"]) == [vector_of("one"), vector_of("two 2")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("model = 'm'\ndimensions = 3", "base_url: Field required"),
        ("base_url = 'ftp://x'\nmodel = 'm'\ndimensions = 3", "base_url: .*is no address"),
        ("base_url = 'http://u:p@x'\nmodel = 'm'\ndimensions = 3", "has a user or query"),
        ("base_url = 'http://x'\nmodel = 'm'\ndimensions = 0", "dimensions: "),
        ("base_url = 'http://x'\nmodel = 'm'\ndimensions = 3\nmodle = 1", "modle: "),
    ],
)
def test_a_wrong_section_names_the_setting(tmp_path: Path, body: str, words: str) -> None:
    (tmp_path / "batch_assets.toml").write_text(f"[documents.embedding]\n{body}\n")

    with pytest.raises(ConfigurationError, match=words):
        read_embedding_settings(load_settings({}, working_dir=tmp_path))


def test_no_section_means_off(tmp_path: Path) -> None:
    (tmp_path / "batch_assets.toml").write_text("[documents.sources.inbox]\nurl = 'inbox'\n")

    assert read_embedding_settings(load_settings({}, working_dir=tmp_path)) is None


def test_section_stands_beside_sources_and_its_token_comes_from_the_environment(
    tmp_path: Path, server: HttpVendorServer
) -> None:
    (tmp_path / "batch_assets.toml").write_text(
        f"[documents.sources.inbox]\nurl = 'inbox'\n[documents.embedding]\nmodel = 'm'\n"
        f"base_url = '{server.base_url}/v1/'\ndimensions = 3\ntoken_env = 'MY_TOKEN'\n"
    )
    settings = load_settings({"MY_TOKEN": TOKEN}, working_dir=tmp_path)
    section = read_embedding_settings(settings)
    assert section is not None

    with open_embedder(settings, section) as model:
        assert model.embed(["one"]) == [vector_of("one")]

    assert list(read_document_sources(settings)) == ["inbox"]
    with pytest.raises(ConfigurationError, match="MY_TOKEN is not set"):
        open_embedder(load_settings({}, working_dir=tmp_path), section)


def test_commented_example_has_every_setting_with_its_default(tmp_path: Path) -> None:
    from batch_assets.settings import shipped_path

    lines = shipped_path("batch_assets.toml").read_text("utf-8").splitlines()
    begin = lines.index("# [documents.embedding]")
    example = "\n".join(line.removeprefix("# ") for line in lines[begin : begin + 10])
    (tmp_path / "batch_assets.toml").write_text(example)

    section = read_embedding_settings(load_settings({}, working_dir=tmp_path))

    assert section is not None
    required = {name: getattr(section, name) for name in ("base_url", "model", "dimensions")}
    assert section == EmbeddingSettings(**required)
    assert all(f"\n{name} = " in example for name in EmbeddingSettings.model_fields)
