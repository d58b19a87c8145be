"""Run by a peer's own Python: loads day files again and again, one line of JSON for each load.

Imports nothing but the peer and the standard library. Asked are the files (CSV or Parquet, by their
names), the server, the table with its key, a folder, whether rows that are there already are to be
overwritten (`is_upsert`), and whether the table is new (`is_fresh`); an answer tells processor
seconds and the most memory so far, tools that run as a process of their own included, or what went
wrong. With `once` as third argument no version is asked for: the whole process is measured.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

_DECIMALS = {
    "open": (20, 6), "high": (20, 6), "low": (20, 6), "close": (20, 6), "pre_close": (20, 6),
    "volume": (24, 8), "amount": (24, 4),
}  # fmt: skip
_SLING_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


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

    if str(path).endswith(".parquet"):
        import pyarrow.parquet as pa_parquet

        return pa_parquet.read_table(path)
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

    return lambda: adbc_driver_postgresql.__version__, load


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
        columns = asked["columns"]
        if asked["is_upsert"]:
            names = ", ".join(columns)
            await conn.execute(
                f"CREATE TEMP TABLE staging AS SELECT {names} FROM {asked['table']} LIMIT 0"
            )
        for path in asked["files"]:
            if not asked["is_upsert"]:
                await conn.copy_to_table(
                    table, schema_name=schema, columns=columns, source=path, format="csv",
                    header=True,
                )  # fmt: skip
                continue
            async with conn.transaction():
                await conn.execute("TRUNCATE staging")
                await conn.copy_to_table(
                    "staging", columns=columns, source=path, format="csv", header=True
                )
                await conn.execute(asked["upsert"])
        await conn.close()

    return lambda: asyncpg.__version__, lambda asked: asyncio.run(copy(asked))


def _pgcopy():
    from importlib import metadata

    import pgcopy
    import psycopg2

    def load(asked):
        with psycopg2.connect(_url_of(asked["server"])) as conn:
            manager = pgcopy.CopyManager(conn, asked["table"], asked["columns"])
            for path in asked["files"]:
                rows = _read_arrow(path, asked["columns"])
                columns = [rows[name].to_pylist() for name in asked["columns"]]
                manager.copy(zip(*columns, strict=True))
                conn.commit()
        conn.close()

    return lambda: metadata.version("pgcopy"), load


def _duckdb():
    import duckdb
    import duckdb_extension_postgres

    [folder] = (Path(duckdb_extension_postgres.__file__).parent / "extensions").iterdir()
    # DuckDB looks for the entry point that the file's name says; the wheel has another name for it.
    extension = folder / "postgres_scanner.duckdb_extension"
    if not extension.exists():
        extension.symlink_to("postgres.duckdb_extension")

    conn = duckdb.connect()
    conn.load_extension(str(extension))
    # A second thread takes as much processor time again and is no faster.
    conn.execute("SET threads = 1")
    # Decimals of more than 18 digits, as the table has them, cost it 6 µs each: read_csv parses
    # them so even where they are only what its columns are cast to. So it fills a table of its own
    # with shorter ones, and the server puts them into the one that is asked for.
    kinds = {name: f"decimal(18, {scale})" for name, (_, scale) in _DECIMALS.items()}
    kinds.update(symbol="text", trade_date="date")

    def load(asked):
        columns, table = ", ".join(asked["columns"]), asked["table"]
        staging = f"{table.split('.')[0]}.duckdb_staging"
        typed = ", ".join(f"{name} {kinds[name]}" for name in asked["columns"])
        files = ", ".join(f"'{path}'" for path in asked["files"])
        named = ", ".join(f"'{name}': '{kinds[name]}'" for name in asked["columns"])
        read = f"read_csv([{files}], header = true, columns = {{{named}}})"
        if asked["files"][0].endswith(".parquet"):
            read = f"read_parquet([{files}])"
        conn.execute(f"ATTACH '{_url_of(asked['server'])}' AS target (TYPE postgres)")

        def tell_server(statement):
            conn.execute("CALL postgres_execute('target', ?)", [statement])

        tell_server(f"CREATE UNLOGGED TABLE {staging} ({typed})")
        conn.execute("BEGIN")
        conn.execute(f"INSERT INTO target.{staging} ({columns}) SELECT {columns} FROM {read}")
        tell_server(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging}")
        conn.execute("COMMIT")
        tell_server(f"DROP TABLE {staging}")
        conn.execute("DETACH target")

    return lambda: duckdb.__version__, load


def _to_sql(method=None):
    import pandas as pd
    import sqlalchemy

    def load(asked):
        schema, table = asked["table"].split(".")
        engine = sqlalchemy.create_engine(_url_of(asked["server"], "postgresql+psycopg"))
        for path in asked["files"]:
            frame = pd.read_csv(path, parse_dates=["trade_date"], dtype={"symbol": str})
            frame["trade_date"] = frame["trade_date"].dt.date
            frame.to_sql(
                table, engine, schema=schema, if_exists="append", index=False, method=method
            )
        engine.dispose()

    return lambda: pd.__version__, load


def _to_sql_multi():
    return _to_sql("multi")


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
        if asked["is_fresh"]:
            # It would remember tables that are gone.
            pipeline.drop()
        resource = dlt.resource(
            (_read_arrow(path, asked["columns"]) for path in asked["files"]), name=table,
            primary_key=asked["key"] if asked["is_upsert"] else None,
        )  # fmt: skip
        how = {"disposition": "merge", "strategy": "upsert"}
        pipeline.run(
            resource,
            write_disposition=how if asked["is_upsert"] else "append",
            loader_file_format="csv",
        )

    return lambda: dlt.__version__, load


def _sling():
    from importlib import metadata

    # The wheel named after the machine holds the program; that of PyPI's `sling` would fetch it.
    name = f"sling-linux-{_SLING_MACHINES[platform.machine()]}"
    [program] = Path(sys.executable).parent.parent.glob(f"lib/*/site-packages/*/bin/{name}")
    program.chmod(0o755)

    def load(asked):
        url = _url_of(asked["server"])
        url += f"{'&' if '?' in url else '?'}sslmode=disable"
        environment = {**os.environ, "PEER": url}
        folder = Path(asked["files"][0]).parent
        _run(
            [str(program), "run", "--src-stream", f"file://{folder}/", "--tgt-conn", "PEER",
             "--tgt-object", asked["table"], "--mode", "incremental",
             "--primary-key", ",".join(asked["key"])],
            environment,
        )  # fmt: skip

    return lambda: metadata.version(name), load


def _pgloader():
    home = Path(sys.argv[2]) / "pgloader"
    program = str(home / "usr" / "bin" / "pgloader")
    libraries = ":".join(str(path.parent) for path in home.glob("usr/lib/*/libsybdb.so.5"))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}

    def version():
        return _run([program, "--version"], environment).split('"')[1]

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
    peers = {"adbc": _adbc, "asyncpg": _asyncpg, "pgcopy": _pgcopy, "duckdb": _duckdb,
             "to_sql": _to_sql, "to_sql_multi": _to_sql_multi, "dlt": _dlt, "sling": _sling,
             "pgloader": _pgloader}  # fmt: skip
    is_measured_whole = sys.argv[3:] == ["once"]
    try:
        version, load = peers[sys.argv[1]]()
        described = {} if is_measured_whole else {"version": version()}
    except Exception as exc:  # noqa: BLE001 - it is absent, and says why
        print(json.dumps({"error": f"{exc}".splitlines()[-1]}), file=answers, flush=True)
        return
    print(json.dumps(described), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(load, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
