from collections.abc import Iterator

from fastapi import FastAPI

from batch_assets.errors import DatabaseUnavailable
from batch_assets.ops.api.authentication import Launcher
from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api


def build(api: Api, configuration: str = "") -> FastAPI:
    """The application with routes of a test beside its own."""
    app = api.build(configuration)

    @app.post("/test/launch")
    def launch(token: Launcher) -> dict[str, str]:
        return {"name": token.name}

    @app.get("/test/broken")
    def broken() -> None:
        raise RuntimeError("secret detail of /etc/passwd")

    @app.get("/test/unavailable")
    def unavailable() -> None:
        raise DatabaseUnavailable("the database is restarting; try again")

    @app.post("/test/body")
    def body(content: dict[str, str]) -> int:
        return len(content)

    return app


def test_health_needs_no_token(api: Api) -> None:
    with api.client() as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ok"}


def test_a_request_without_a_token_is_refused_with_the_next_step(api: Api) -> None:
    with api.client(build(api)) as client:
        answer = client.post("/test/launch")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "batch-assets tokens create" in answer.json()["detail"]


def test_a_token_that_allows_too_little_is_refused(api: Api) -> None:
    with api.client(build(api)) as client:
        refused = client.post("/test/launch", headers=api.headers(Scope.READ))
        taken = client.post("/test/launch", headers=api.headers(Scope.LAUNCH))

    assert refused.status_code == 403
    assert taken.json() == {"name": "tester launch"}


def test_what_nobody_foresaw_shows_nothing_of_the_inside(api: Api) -> None:
    with api.client(build(api)) as client:
        answer = client.get("/test/broken")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_what_may_pass_says_when_to_come_back(api: Api) -> None:
    with api.client(build(api)) as client:
        answer = client.get("/test/unavailable")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_a_body_above_the_limit_is_refused_declared_or_not(api: Api) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(4):
            yield b" " * 1000

    with api.client(build(api, "[api]\nmax_body_bytes = 2000\n")) as client:
        declared = client.post("/test/body", content=b" " * 4000)
        streamed = client.post("/test/body", content=chunks())

    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert "max_body_bytes" in streamed.json()["detail"]
