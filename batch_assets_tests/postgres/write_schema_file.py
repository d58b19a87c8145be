"""Write sql/schema.sql; run as `python -m batch_assets_tests.postgres.write_schema_file`.

Uses a throw-away embedded server, so the text never depends on anybody's database.
"""

import tempfile
from pathlib import Path

from batch_assets.postgres import embedded, migrate
from batch_assets.settings import shipped_path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = embedded.ensure_server(Path(folder)).url("postgres")
        try:
            migrate.apply_pending(url)
            text = migrate.dump_schema(url)
        finally:
            embedded.remove_server(Path(folder))
    (shipped_path("sql") / "schema.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
