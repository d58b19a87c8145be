"""Vectors from an endpoint that speaks as OpenAI's: POST {base_url}/embeddings.

The interface and its settings are in embedding.py.
"""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

import httpx
import stamina
from pydantic import SecretStr

from batch_assets.errors import (
    BatchAssetsError,
    ConfigurationError,
    SchemaMismatch,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
)
from batch_assets.settings import Settings
from batch_assets.sources.documents.embedding import EmbeddingSettings, TextsRefused
from batch_assets.sources.retry_after import retry_after_seconds

# What a 429 without Retry-After means.
_DEFAULT_WAIT_SECONDS = 20.0
_LONGEST_WAIT_SECONDS = 60.0
_LARGEST = 3.4e38

# A number is at most some 25 characters of JSON; what is larger is no answer to our question.
_BYTES_PER_NUMBER, _BYTES_AROUND = 40, 65_536

# Statuses with which endpoints refuse a text that is too long, or too many of them.
_ABOUT_THE_TEXTS = frozenset({400, 413, 422})


class HttpEmbedder:
    """An Embedder behind HTTP; a context manager that keeps its connections between questions."""

    def __init__(self, settings: EmbeddingSettings, token: SecretStr | None = None) -> None:
        self._settings = settings
        self._token = token
        # A private event loop: only a cancelled task ends a server that sends a byte a second.
        self._runner = asyncio.Runner()
        self._client: httpx.AsyncClient | None = None

    @property
    def model(self) -> str:
        """As the endpoint calls it."""
        return self._settings.model

    @property
    def dimensions(self) -> int:
        """Numbers in each vector."""
        return self._settings.dimensions

    @property
    def batch_texts(self) -> int:
        """Texts of one request."""
        return self._settings.batch_texts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._runner.run(self._client.aclose())
        self._runner.close()

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of the texts, in their order; see `Embedder`."""
        waits = _Waits(self._settings)
        for attempt in stamina.retry_context(
            on=waits.wait_after, attempts=self._settings.attempts, timeout=None
        ):
            with attempt:
                return self._read_vectors(self._ask(texts), len(texts))
        raise AssertionError("unreachable: the last failure is raised by the attempt")

    def _ask(self, texts: Sequence[str]) -> bytes:
        settings = self._settings
        try:
            response, body = self._runner.run(self._exchange(texts))
        except TimeoutError as error:
            raise self._unavailable(
                f"no complete answer within {settings.timeout_seconds:g} s (timeout_seconds)"
            ) from error
        except httpx.HTTPError as error:
            raise self._unavailable(
                f"no connection, or it broke ({type(error).__name__}: {error})"
            ) from error
        if not response.is_success:
            raise self._refusal(response, body, len(texts))
        return body

    async def _exchange(self, texts: Sequence[str]) -> tuple[httpx.Response, bytes]:
        settings = self._settings
        if self._client is None:
            # A redirect would carry the token to another place.
            self._client = httpx.AsyncClient(timeout=None, follow_redirects=False)  # noqa: S113 - the deadline below bounds all of it
        token = self._token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        most_bytes = _BYTES_AROUND + len(texts) * settings.dimensions * _BYTES_PER_NUMBER
        body = bytearray()
        async with (
            asyncio.timeout(settings.timeout_seconds),
            self._client.stream(
                "POST",
                f"{settings.base_url}/embeddings",
                json={"model": settings.model, "input": list(texts)},
                headers=headers,
            ) as response,
        ):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > most_bytes:
                    raise SchemaMismatch(
                        f"{self._name}: more than {most_bytes} bytes came back, expected vectors "
                        f"of {settings.dimensions} numbers for {len(texts)} texts; check model and "
                        "dimensions in [documents.embedding]"
                    )
        return response, bytes(body)

    def _read_vectors(self, body: bytes, expected: int) -> list[list[float]]:
        try:
            document = json.loads(body)
        except ValueError as error:
            # A proxy's page or a cut answer: another attempt may reach the endpoint itself.
            raise self._unavailable(f"the answer is no JSON: {_shorten(body)!r}") from error
        vectors = _vectors_of(document)
        if vectors is None or len(vectors) != expected:
            seen = "no list of vectors" if vectors is None else f"{len(vectors)} vectors"
            raise SchemaMismatch(
                f"{self._name}: {seen} came back for {expected} texts, expected one for each, "
                "numbered from 0, under data[].embedding; nothing of this batch was stored; check "
                "that base_url speaks as OpenAI's /embeddings does"
            )
        wrong = next((len(vector) for vector in vectors if len(vector) != self.dimensions), None)
        if wrong is not None:
            raise SchemaMismatch(
                f"{self._name}: vectors have {wrong} dimensions, expected {self.dimensions}; "
                "nothing of this batch was stored; correct model or dimensions in "
                "[documents.embedding]"
            )
        return vectors

    def _refusal(self, response: httpx.Response, body: bytes, texts: int) -> BatchAssetsError:
        status = response.status_code
        seen = f"HTTP status {status}, saying {_shorten(body)!r}"
        wait_seconds = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        if status == 429 or (status == 503 and wait_seconds is not None):
            wait_seconds = _DEFAULT_WAIT_SECONDS if wait_seconds is None else wait_seconds
            return SourceRateLimited(
                f"{self._name}: {seen}; expected vectors; run `batch-assets documents embed` after "
                f"{wait_seconds:g} s",
                retry_after_seconds=wait_seconds,
            )
        if status >= 500 or status == 408:
            return self._unavailable(seen)
        if status in _ABOUT_THE_TEXTS:
            return TextsRefused(
                f"{self._name}: {seen} to {texts} texts, expected vectors; check model in "
                "[documents.embedding], lower batch_texts, or chunk_characters of the source"
            )
        return SourceRefused(
            f"{self._name}: {seen}, expected vectors; {self._remedy(status)}; nothing more was "
            "asked"
        )

    def _remedy(self, status: int) -> str:
        if status in (401, 402, 403, 407):
            variable = self._settings.token_env or "the variable that token_env should name"
            return f"check the token in {variable}, and that it may use this model"
        return "check base_url and model in [documents.embedding]"

    def _unavailable(self, seen: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"{self._name}: {seen}; expected vectors; check the network and base_url in "
            "[documents.embedding], then run `batch-assets documents embed`"
        )

    @property
    def _name(self) -> str:
        return f"model {self.model} at {self._settings.base_url}/embeddings"


def open_embedder(settings: Settings, section: EmbeddingSettings) -> HttpEmbedder:
    """The embedder of a section, with its token from the environment.

    Raises:
        ConfigurationError: The variable of the token is not set.
    """
    token = settings.secret(section.token_env) if section.token_env else None
    if section.token_env and token is None:
        raise ConfigurationError(
            f"{section.token_env} is not set, expected the token of {section.base_url}; set it, or "
            "take token_env out of [documents.embedding] if the endpoint needs none"
        )
    return HttpEmbedder(section, token)


class _Waits:
    """How long to wait after each failure of one question."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._waited_seconds = 0.0

    def wait_after(self, error: Exception) -> float | bool:
        """Seconds to wait, or False where asking again cannot help."""
        if isinstance(error, SourceRateLimited):
            wait_seconds = error.retry_after_seconds + random.uniform(0, 0.5)  # noqa: S311 - no secret
            if self._waited_seconds + wait_seconds > self._settings.max_wait_seconds:
                return False
            self._waited_seconds += wait_seconds
            return wait_seconds
        if not isinstance(error, SourceUnavailable):
            return False
        longest = self._settings.first_wait_seconds * 2.0**self._failures
        self._failures += 1
        return random.uniform(0, min(longest, _LONGEST_WAIT_SECONDS))  # noqa: S311 - no secret


def _vectors_of(document: object) -> list[list[float]] | None:
    """Vectors in the order of their indexes; None where the answer is not made of them."""
    items = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        return None
    # Servers may answer out of order; some leave the index out, and keep the order.
    places = [item.get("index", number) for number, item in enumerate(items)]
    if sorted(map(str, places)) != sorted(map(str, range(len(items)))):
        return None
    vectors: list[list[float]] = [[] for _ in items]
    for place, item in zip(places, items, strict=True):
        vector = item.get("embedding")
        if not isinstance(vector, list) or not all(map(_is_number, vector)):
            return None
        vectors[int(place)] = [float(number) for number in vector]
    return vectors


def _is_number(value: object) -> bool:
    # Of single precision, as pgvector's are; neither NaN nor infinity is less than anything here.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _shorten(body: bytes) -> str:
    return " ".join(body[:400].decode("utf-8", "replace").split())[:160]
