"""TLS to a server of PostgreSQL whose certificate an authority of our own signed."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy
from typer.testing import CliRunner

from batch_assets.errors import ConfigurationError
from batch_assets.ops.cli.main import app
from batch_assets.postgres.connect import connect
from batch_assets.runs.instance_storage import storage_url
from batch_assets.settings import load_settings
from batch_assets_tests.postgres.test_other_server_versions import INSTALLED, running_server

pytestmark = pytest.mark.long

# The certificate is for this name alone; 127.0.0.1, the same server, is another one.
_NAME = "localhost"
_WHO_AM_I = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@dataclass(frozen=True)
class TlsServer:
    """A server with ssl = on, the authority that signed its certificate, and one that did not."""

    port: int
    authority: Path
    stranger: Path

    def url(self, authority: Path, *, host: str = _NAME, mode: str = "verify-full") -> str:
        return (
            f"postgresql://postgres@{host}:{self.port}/postgres"
            f"?sslmode={mode}&sslrootcert={authority}"
        )


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _make_authority(folder: Path, name: str) -> Path:
    _openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
    )
    return folder / f"{name}.pem"


def _make_certificate(folder: Path, authority: str) -> None:
    (folder / "names").write_text(f"subjectAltName=DNS:{_NAME}\n")
    _openssl(
        folder,
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={_NAME}"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    _openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-out", "server.pem", "-days", "2"),
        *("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial"),
        *("-extfile", "names"),
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module", params=INSTALLED or [None], ids=str)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsServer]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = (_make_authority(folder, name) for name in ("authority", "stranger"))
    _make_certificate(folder, "authority")
    port = _free_port()

    def prepare(data: Path) -> Sequence[str]:
        for name in ("server.key", "server.pem"):
            shutil.copy(folder / name, data)
            (data / name).chmod(0o600)
        options = {
            "ssl": "on",
            "ssl_cert_file": data / "server.pem",
            "ssl_key_file": data / "server.key",
            "listen_addresses": "127.0.0.1",
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    with running_server(request.param, prepare, port):
        yield TlsServer(port, authority, stranger)


def test_a_server_that_proves_its_name_is_let_in(server: TlsServer) -> None:
    with closing(connect(server.url(server.authority), application_name="test")) as conn:
        seen = conn.execute(_WHO_AM_I).fetchone()

    assert seen is not None
    assert seen[0] in ("TLSv1.2", "TLSv1.3")


def test_dagsters_storage_asks_for_the_same_proof(server: TlsServer) -> None:
    settings = load_settings({})
    trusted, untrusted = (
        sqlalchemy.create_engine(
            storage_url(server.url(authority), settings), poolclass=sqlalchemy.pool.NullPool
        )
        for authority in (server.authority, server.stranger)
    )

    with trusted.connect() as conn:
        assert conn.execute(sqlalchemy.text(_WHO_AM_I)).scalar_one().startswith("TLS")
    with pytest.raises(sqlalchemy.exc.OperationalError, match="certificate verify failed"):
        untrusted.connect()


def test_a_server_that_another_authority_vouches_for_is_refused(server: TlsServer) -> None:
    with pytest.raises(ConfigurationError, match=r"not signed by .*sslrootcert.*let sslrootcert"):
        connect(server.url(server.stranger), application_name="test")


def test_a_server_of_another_name_is_refused(server: TlsServer) -> None:
    by_number = server.url(server.authority, host="127.0.0.1")

    with pytest.raises(ConfigurationError, match=r"for another host name.*write the host"):
        connect(by_number, application_name="test")
    # It is the name alone that was wrong.
    weaker = server.url(server.authority, host="127.0.0.1", mode="verify-ca")
    connect(weaker, application_name="test").close()


def test_an_authority_whose_file_is_missing_is_named(server: TlsServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sslrootcert cannot be read.*name the file"):
        connect(server.url(tmp_path / "absent.pem"), application_name="test")


def test_doctor_tells_a_refused_certificate_from_a_server_that_is_down(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", server.url(server.stranger))

    told = CliRunner().invoke(app, ["doctor"])

    assert told.exit_code == 7
    assert "not signed by the authority" in " ".join(told.output.split())


def test_a_server_without_tls_is_refused_where_proof_is_asked_for() -> None:
    port = _free_port()
    with (
        running_server(INSTALLED[0] if INSTALLED else None, _on_loopback, port),
        pytest.raises(ConfigurationError, match=r"does not speak TLS.*ssl = on"),
    ):
        connect(f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=require",
                application_name="test")  # fmt: skip


def _on_loopback(_: Path) -> Sequence[str]:
    return ("-c", "listen_addresses=127.0.0.1")
