import json
import logging
from datetime import UTC
from pathlib import Path

import pytest

from batch_assets.runs.run_log import Places, open_run_log, run_log_path

NO_PLACES = Places({}, 0)


def test_a_run_tried_again_goes_on_behind_a_line_that_a_crash_cut_off(tmp_path: Path) -> None:
    path = run_log_path(tmp_path, "r")
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 1, "at"')

    with open_run_log(tmp_path, "r", zone=UTC, places=Places({"d": 3}, 7), facts={}) as log:
        log.write("partition", "天", partition="d", load=5, error=None)
        logging.getLogger("batch_assets.loading.leases").warning("silent for %d s", 9)

    torn, day, warning, end = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"version": 1, "at"'
    assert json.loads(day) | {"at": ""} == {
        "version": 1,
        "at": "",
        "level": "INFO",
        "event": "partition",
        "message": "天",
        "run": "r",
        "partition": "d",
        "i": 3,
        "n": 7,
        "load": 5,
    }
    assert json.loads(warning)["message"] == "silent for 9 s"
    assert json.loads(end)["event"] == "run_ended"


def test_a_run_that_fails_says_why_at_its_end(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="boom"),
        open_run_log(tmp_path, "r", zone=UTC, places=NO_PLACES, facts={}),
    ):
        raise ValueError("boom")

    end = json.loads(run_log_path(tmp_path, "r").read_text())
    assert (end["level"], end["message"]) == ("ERROR", "ValueError: boom")


def test_a_folder_that_cannot_be_written_costs_the_log_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")

    with open_run_log(tmp_path, "r", zone=UTC, places=NO_PLACES, facts={}) as log:
        log.write("partition", "goes on")

    assert "the run has no log file" in caplog.text
