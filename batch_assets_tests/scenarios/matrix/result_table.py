"""The page of docs/ that says what was broken on purpose, and what came of it."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from batch_assets_tests.scenarios.matrix.faults import FAULTS, Fault
from batch_assets_tests.scenarios.matrix.scenario import SAMPLED, Scenario, all_scenarios

_MARK = "<!-- results: "
_TESTS = "../batch_assets_tests/scenarios/matrix/test_crash_matrix.py"
_INTRODUCTION = f"""# Reliability: broken on purpose

Every scenario breaks a load of four days: two fit into one chunk and two do not, and of each kind
one is new to the table and one is merged into older rows. A fault meets `dagster job execute`, or a
range backfill that a daemon launched, under the in-process or the multiprocess executor, with
Dagster's storage in PostgreSQL. Then the same days are run again, and it is checked that

- I1 the ledger balances, and the table has the rows that it says;
- I2 the table holds what plain Python reads from the files, nothing lost and nothing twice;
- I3 a reader that polled throughout saw old days and new days, never a part of one;
- I4 within 60 seconds no lease, pool slot, staged chunk or unfinished run is left;
- I6 a second run rewrites no row; with `force` it mends what somebody edited, and no other row;
- I7 no command took more than 512 MiB.

I5, the order per device, belongs to streams and is tested by
[test_crash_devices_run.py](../batch_assets_tests/scenarios/test_crash_devices_run.py).

`pytest -m crash` runs a fixed sample of {len(SAMPLED)} ([test_crash_matrix.py]({_TESTS})).
This page is written by

    python -m batch_assets_tests.scenarios.soak --minutes 30 --seed 1 --table docs/reliability.md

which draws combinations at random and stops at the first invariant that does not hold. `open` means
that no run of this command has drawn it yet; `--only` narrows the choice, as in most runs below.
"""
_ELSEWHERE = """
## Broken elsewhere

| fault | test |
| --- | --- |
| S1 429, storms of 5xx, half answers | `batch_assets_tests/sources/market/vendors/` |
| F1, F2 poison files, bad rows | `batch_assets_tests/sources/`, `ingest/spreadsheets/` |
| U1 the same file twice, renamed, changed | `batch_assets_tests/scenarios/test_landing_folder.py` |
| C1 eight writers of one partition | `batch_assets_tests/scenarios/matrix/test_many_writers.py` |
| C2 shards change during a run | `batch_assets_tests/scenarios/test_crash_devices_run.py` |
| M1 memory | `batch_assets_tests/scenarios/test_memory.py` |
| R1 replay that dies, twice, stale | `batch_assets_tests/ops/cli/test_crash_replay.py` |

Not injected: a failover to another server, expired TLS certificates, a full disk under the reports
or the write-ahead log, a full table of real connections. The refusals of P3 carry the server's own
codes, but a trigger raises them.
"""


@dataclass(frozen=True)
class Result:
    """A scenario whose invariants all held."""

    scenario: str
    seed: int
    seconds: float


def read_results(page: Path) -> list[Result]:
    """What earlier runs have written into the page."""
    found = (
        re.search(re.escape(_MARK) + "(.*) -->", page.read_text("utf-8")) if page.exists() else None
    )
    return [Result(**each) for each in json.loads(found[1])] if found else []


def write_table(page: Path, results: Sequence[Result]) -> None:
    """Write the page anew, with a line for each fault."""
    held: dict[str, list[int]] = {}
    for result in results:
        held.setdefault(result.scenario, []).append(result.seed)
    seeds = sorted({result.seed for result in results})
    combinations = all_scenarios()
    done = sum(each.name in held for each in combinations)
    lines = [
        _INTRODUCTION,
        "## Results",
        "",
        f"{len(results)} scenarios with seeds {', '.join(map(str, seeds))}: {done} of "
        f"{len(combinations)} combinations, every invariant held. J: `job execute`, B: backfill of "
        "a daemon, i: in-process, m: multiprocess.",
        "",
        "| | fault | injected | must hold beside the invariants | held (seed) | open |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(fault, combinations, held) for fault in FAULTS),
        _ELSEWHERE,
        f"{_MARK}{json.dumps([asdict(result) for result in results])} -->",
    ]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(fault: Fault, scenarios: Sequence[Scenario], held: dict[str, list[int]]) -> str:
    ours = [each for each in scenarios if each.fault is fault]
    kept = [
        f"{_short(s)} ({', '.join(map(str, sorted(set(held[s.name]))))})"
        for s in ours
        if s.name in held
    ]
    waiting = [_short(s) for s in ours if s.name not in held]
    name = f"`{fault.name}`"
    cells = (fault.code, name, fault.injected, fault.must_hold, " ".join(kept), " ".join(waiting))
    return f"| {' | '.join(cells)} |"


def _short(scenario: Scenario) -> str:
    way = "J" if scenario.way == "job execute" else "B"
    return way + scenario.executor[0]
