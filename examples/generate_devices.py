"""Write the synthetic records of devices again, byte for byte the same.

Nothing in them is measured: values come from a fixed seed. Run it from anywhere:
`python examples/generate_devices.py`.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "devices"
FIRST_MOMENT = datetime(2025, 1, 30, tzinfo=UTC)
DAYS, DEVICES, MINUTES = 2, 12, 60
SEED = 20250130


def main() -> None:
    """Write one file for each day; the second day has a correction and two impossible values."""
    chance = random.Random(SEED)  # noqa: S311 - reproducible, not secret
    FOLDER.mkdir(parents=True, exist_ok=True)
    for day in range(DAYS):
        begun = FIRST_MOMENT + timedelta(days=day)
        bodies = [
            _body(chance, device, begun + timedelta(minutes=minute), steps=minute * 5)
            for minute in range(0, 24 * 60, MINUTES)
            for device in range(DEVICES)
        ]
        if day:
            bodies.append(_body(chance, 3, begun, steps=7))
            bodies.append(_impossible(bodies[0], heart_rate=900))
            bodies.append(_impossible(bodies[1], blood_oxygen="n/a"))
        lines = [json.dumps(body, ensure_ascii=False) for body in bodies]
        path = FOLDER / f"{begun:%Y-%m-%d}.ndjson"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _body(chance: random.Random, device: int, moment: datetime, *, steps: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        "device_sn": f"EXAMPLE{device:03d}",
        "main_data": {
            "timestamp": moment.isoformat(),
            "heart_rate": chance.randint(55, 110),
            "blood_oxygen": chance.randint(93, 99),
            "temperature": chance.randint(361, 374) / 10,
            "pressure_high": chance.randint(105, 140),
            "pressure_low": chance.randint(65, 90),
            "step": steps,
        },
    }
    if moment.hour == 23:
        body["daily_data"] = {"date": f"{moment:%Y-%m-%d}", "step": steps + device % 2}
    return body


def _impossible(body: dict[str, Any], **values: object) -> dict[str, Any]:
    return {**body, "main_data": {**body["main_data"], **values}}


if __name__ == "__main__":
    main()
