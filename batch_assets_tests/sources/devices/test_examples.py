"""The synthetic records that a fresh clone loads."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_the_generator_writes_the_committed_files(tmp_path: Path) -> None:
    script = tmp_path / "generate_devices.py"
    script.write_bytes((EXAMPLES / script.name).read_bytes())

    subprocess.run([sys.executable, str(script)], check=True)

    written = {path.name: path.read_bytes() for path in (tmp_path / "devices").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (EXAMPLES / "devices").iterdir()}
    assert sorted(written) == ["2025-01-30.ndjson", "2025-01-31.ndjson"]
