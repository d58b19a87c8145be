"""The code of docs/extending.md, run as it stands there."""

import os
import sys
import threading
import types
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings
from batch_assets.sources.documents import formats
from batch_assets.sources.documents.formats import DocumentFormat
from batch_assets.sources.documents.library_versions import STANDARD_LIBRARY
from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parse import parse_document
from batch_assets.sources.documents.readers import READERS, Reader
from batch_assets_tests.docs.pages import PROJECT, list_blocks

PAGE = PROJECT / "docs" / "extending.md"
PARSER, RECEIVER = list_blocks(PAGE, "python")


@pytest.fixture
def _ini(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "batch_assets.sources.documents.ini"
    module = types.ModuleType(name)
    exec(compile(PARSER, str(PAGE), "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    # A closed set cannot grow in a test: the text kind stands for the one to be added.
    monkeypatch.setitem(formats._TEXT_EXTENSIONS, ".ini", DocumentFormat.TEXT)
    monkeypatch.setitem(READERS, DocumentFormat.TEXT, Reader("ini", "parse_ini", STANDARD_LIBRARY))


@pytest.mark.usefixtures("_ini")
def test_the_format_of_the_page_is_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.ini"
    file.write_text("[server]\nhost = example.org\nport = 80\n\n[log]\nlevel = info\n")

    document = parse_document(file, ParseLimits())

    assert [(part.label, part.text) for part in document.segments] == [
        ("server", "host = example.org\nport = 80"),
        ("log", "level = info"),
    ]


@pytest.mark.usefixtures("_ini")
def test_the_format_of_the_page_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.ini"
    file.write_text("no section = here\n")

    with pytest.raises(DocumentRefused, match="not an INI file") as refused:
        parse_document(file, ParseLimits())

    assert refused.value.outcome is DocumentOutcome.CORRUPT


def test_the_places_to_register_a_format_are_there() -> None:
    (lines,) = list_blocks(PAGE, "text")
    package = PROJECT / "batch_assets" / "sources" / "documents"
    for line in lines.splitlines():
        file, place = line.split()[:2]
        name = line.split()[2].rstrip(":") if place == "class" else place
        assert name in (package / file).read_text(encoding="utf-8"), line


def test_the_receiver_of_the_page_takes_a_message(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(RECEIVER, str(PAGE), "exec"), scope)
    server = ThreadingHTTPServer(("127.0.0.1", 0), scope["Receiver"])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (configuration,) = list_blocks(PAGE, "toml")
    (tmp_path / "batch_assets.toml").write_text(configuration)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MY_RECEIVER_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("LANG", os.environ.get("LANG", "C"))
    current_settings.cache_clear()

    try:
        status = run(["alerts", "test", "mine"])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        current_settings.cache_clear()

    assert status == 0
    (alert,) = scope["taken"].values()
    assert alert["kind"] == "test"
    assert alert["title"]
