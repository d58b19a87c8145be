"""An endpoint on loopback that speaks as OpenAI's /embeddings; its vectors say what they are of."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer, Request

TOKEN = "test-token"
DIMENSIONS = 3
REFUSED = "POISON"


def vector_of(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)) % 1000), 0.5]


def texts_of(request: Request) -> list[str]:
    texts: list[str] = json.loads(request.body)["input"]
    return texts


def answer_with(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Request], Answer]:
    """Answers as a good endpoint does, after a change of its items."""

    def answer(request: Request) -> Answer:
        items = [
            {"object": "embedding", "index": number, "embedding": vector_of(text)}
            for number, text in enumerate(texts_of(request))
        ]
        change(items)
        return Answer(json.dumps({"object": "list", "data": items, "model": "m"}).encode())

    return answer


def embedding_answer(request: Request) -> Answer:
    """A strict endpoint: path, token, and no text with REFUSED in it."""
    if request.path != "/v1/embeddings" or request.method != "POST":
        return Answer(b'{"error": "not found"}', 404)
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return Answer(b'{"error": "invalid api key"}', 401)
    if any(REFUSED in text for text in texts_of(request)):
        return Answer(b'{"error": "maximum context length"}', 400)
    return answer_with(lambda items: items.reverse())(request)


def all_texts(server: HttpVendorServer) -> Sequence[str]:
    return [text for request in server.requests for text in texts_of(request)]
