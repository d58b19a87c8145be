import subprocess
import sys
from datetime import date
from pathlib import Path

from batch_assets.sources.spreadsheets.spool import (
    ReadRequest,
    ReadResult,
    hash_file,
    read_to_spool,
)
from batch_assets.sources.spreadsheets.template import build_template
from batch_assets_tests.sources.spreadsheets.conftest import write_xlsx

_READ_ALONE = """
import sys
from datetime import date
from pathlib import Path
from batch_assets_tests.sources.spreadsheets.test_spool import read
print(read(Path(sys.argv[1])).read_rows, "pandas" in sys.modules)
import pyarrow as pa
print(len(pa.table({"a": [1, 2]}).to_pandas()), sys.meta_path[0].__class__.__name__)
"""


def read(path: Path) -> ReadResult:
    columns = {"order_no": {"header": "Order no", "type": "integer"}, "customer": {}}
    template = build_template("orders", {"table": "a.b", "key": "order_no", "columns": columns})
    return read_to_spool(
        ReadRequest(
            path=path,
            file=path.name,
            sha256=hash_file(path),
            template=template,
            day=date(2024, 9, 30),
            spool=path.with_suffix(".spool"),
        )
    )


def test_reading_does_not_import_pandas_and_data_frames_are_still_to_be_had(tmp_path: Path) -> None:
    cells = (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>Order no</t></is></c>'
        '<c r="B1" t="inlineStr"><is><t>customer</t></is></c></row>'
        '<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="inlineStr"><is><t>Ann</t></is></c></row>'
    )
    book = write_xlsx(tmp_path / "a.xlsx", f"<sheetData>{cells}</sheetData>")

    done = subprocess.run(
        [sys.executable, "-c", _READ_ALONE, str(book)], capture_output=True, text=True, check=True
    )

    first, second = done.stdout.splitlines()
    assert first == "1 False"
    assert second.split()[0] == "2"
    assert "_WithoutPandas" not in second
