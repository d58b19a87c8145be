"""Run by a peer's own Python: loads day files again and again, one line of JSON for each load.

Imports nothing but the peer and the standard library. Asked are the files, the server, the table
and a folder; an answer tells processor seconds and the most memory so far, tools that run as a
process of their own included, or what went wrong.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

_DECIMALS = {
    "open": (20, 6), "high": (20, 6), "low": (20, 6), "close": (20, 6), "pre_close": (20, 6),
    "volume": (24, 8), "amount": (24, 4),
}  # fmt: skip


def _url_of(server, scheme="postgresql"):
    """A URL of libpq's settings; the host is a folder where the server listens on a socket."""
    settings = dict(server)
    host, name = settings.pop("host", ""), settings.pop("dbname")
    port = settings.pop("port", "5432")
    user = quote(settings.pop("user", ""), safe="")
    secret = settings.pop("password", None)
    login = f"{user}:{quote(secret, safe='')}" if secret else user
    if host.startswith("/"):
        return f"{scheme}://{login}@/{name}?{urlencode({'host': host, 'port': port})}"
    return f"{scheme}://{login}@{host}:{port}/{name}"


def _read_arrow(path, columns):
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    types = {name: pa.decimal128(*_DECIMALS[name]) for name in columns if name in _DECIMALS}
    types.update(symbol=pa.string(), trade_date=pa.date32())
    options = pa_csv.ConvertOptions(column_types=types)
    return pa_csv.read_csv(path, convert_options=options)


def _adbc():
    import adbc_driver_postgresql
    import adbc_driver_postgresql.dbapi

    def load(asked):
        schema, table = asked["table"].split(".")
        with adbc_driver_postgresql.dbapi.connect(_url_of(asked["server"])) as conn:
            for path in asked["files"]:
                with conn.cursor() as cursor:
                    rows = _read_arrow(path, asked["columns"])
                    cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)
                conn.commit()

    return adbc_driver_postgresql.__version__, load


def _asyncpg():
    import asyncio

    import asyncpg

    async def copy(asked):
        schema, table = asked["table"].split(".")
        server = asked["server"]
        conn = await asyncpg.connect(
            host=server.get("host"), port=int(server.get("port", 5432)), user=server.get("user"),
            password=server.get("password"), database=server["dbname"],
        )  # fmt: skip
        for path in asked["files"]:
            await conn.copy_to_table(
                table, schema_name=schema, columns=asked["columns"], source=path, format="csv",
                header=True,
            )  # fmt: skip
        await conn.close()

    return asyncpg.__version__, lambda asked: asyncio.run(copy(asked))


def _to_sql():
    import pandas as pd
    import sqlalchemy

    def load(asked):
        schema, table = asked["table"].split(".")
        engine = sqlalchemy.create_engine(_url_of(asked["server"], "postgresql+psycopg"))
        for path in asked["files"]:
            frame = pd.read_csv(path, parse_dates=["trade_date"], dtype={"symbol": str})
            frame["trade_date"] = frame["trade_date"].dt.date
            frame.to_sql(table, engine, schema=schema, if_exists="append", index=False)
        engine.dispose()

    return pd.__version__, load


def _dlt():
    import dlt

    def load(asked):
        schema, table = asked["table"].split(".")
        # It insists on a host; that of the query is what libpq takes.
        url = _url_of(asked["server"]).replace("@/", "@localhost/")
        pipeline = dlt.pipeline(
            pipeline_name="peer",
            destination=dlt.destinations.postgres(credentials=url),
            dataset_name=schema,
            pipelines_dir=asked["folder"],
        )
        # It would remember tables that are gone.
        pipeline.drop()
        resource = dlt.resource(
            (_read_arrow(path, asked["columns"]) for path in asked["files"]), name=table
        )
        pipeline.run(resource, write_disposition="append", loader_file_format="csv")

    return dlt.__version__, load


def _sling():
    from importlib import metadata

    program = str(Path(sys.executable).parent / "sling")
    # It downloads its real program when it is first called.
    _run([program, "--version"])

    def load(asked):
        environment = {**os.environ, "PEER": _url_of(asked["server"]) + "?sslmode=disable"}
        folder = Path(asked["files"][0]).parent
        _run(
            [program, "run", "--src-stream", f"file://{folder}/", "--tgt-conn", "PEER",
             "--tgt-object", asked["table"], "--mode", "incremental",
             "--primary-key", "symbol,trade_date"],
            environment,
        )  # fmt: skip

    return metadata.version("sling"), load


def _pgloader():
    home = Path(sys.argv[2]) / "pgloader"
    program = str(home / "usr" / "bin" / "pgloader")
    libraries = ":".join(str(path.parent) for path in home.glob("usr/lib/*/libsybdb.so.5"))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    version = _run([program, "--version"], environment).split('"')[1]

    def load(asked):
        server, columns = asked["server"], ", ".join(asked["columns"])
        host, port = server.get("host", ""), server.get("port", "5432")
        place = f"unix:{host}:{port}" if host.startswith("/") else f"{host}:{port}"
        secret = f":{server['password']}" if server.get("password") else ""
        target = f"postgresql://{server['user']}{secret}@{place}/{server['dbname']}"
        clauses = [
            f"LOAD CSV FROM '{path}' ({columns}) INTO {target} "
            f"TARGET TABLE {asked['table']} ({columns}) "
            "WITH skip header = 1, fields terminated by ',';"
            for path in asked["files"]
        ]
        commands = Path(asked["folder"]) / "days.load"
        commands.touch(mode=0o600)
        commands.write_text("\n".join(clauses))
        _run(
            [program, "--root-dir", asked["folder"], "--on-error-stop", str(commands)], environment
        )

    return version, load


def _run(command, environment=None):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {said[-1]}")
    return done.stdout


def _peak_memory_mb():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def _answer(load, asked):
    before = os.times()
    try:
        load(asked)
    except Exception as exc:  # noqa: BLE001 - whatever the peer cannot do is its figure
        return {"error": f"{type(exc).__name__}: {exc}".splitlines()[0]}
    cpu = sum(os.times()[:4]) - sum(before[:4])
    return {"cpu_seconds": cpu, "peak_memory_mb": _peak_memory_mb()}


def main():
    """Serve standard input."""
    # Peers print what they think; the answers go where nobody else writes.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peers = {"adbc": _adbc, "asyncpg": _asyncpg, "to_sql": _to_sql, "dlt": _dlt, "sling": _sling,
             "pgloader": _pgloader}  # fmt: skip
    try:
        version, load = peers[sys.argv[1]]()
    except Exception as exc:  # noqa: BLE001 - it is absent, and says why
        print(json.dumps({"error": f"{exc}".splitlines()[-1]}), file=answers, flush=True)
        return
    print(json.dumps({"version": version}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(load, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
