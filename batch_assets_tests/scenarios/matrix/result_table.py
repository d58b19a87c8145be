"""The page of docs/ that says what was broken on purpose, and what came of it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batch_assets_tests.scenarios.matrix.faults import FAULTS, Fault
from batch_assets_tests.scenarios.matrix.scenario import SAMPLED, Scenario, all_scenarios

_MARK = "<!-- results: "
_DAYS_MARK = "<!-- thousand days: "
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
that no run of this command has drawn it yet; `--only` narrows the choice and `--open` leaves out
what the page has, as in most runs below. Leases last 3 seconds instead of 30, and the daemon looks
at backfills every 2 seconds instead of 30, so that waiting is short. Repetitions run in-process.
"""
_ELSEWHERE = """
## Broken elsewhere

| fault | test |
| --- | --- |
| N1 a certificate of another authority or name | `batch_assets_tests/security/test_tls.py` |
| S1 429, storms of 5xx, half answers | `batch_assets_tests/sources/market/vendors/` |
| F1 poison files, files still being written | `batch_assets_tests/sources/` |
| F2 bad rows | `batch_assets_tests/sources/`, `ingest/spreadsheets/` |
| U1 the same file twice, renamed, changed | `batch_assets_tests/scenarios/test_landing_folder.py` |
| T1 change of the clocks, leap day | `batch_assets_tests/defs/market/test_automation.py` |
| T1 a clock that is set back, for rate limits | `batch_assets_tests/postgres/test_rate_limits.py` |
| C1 eight writers of one partition | `batch_assets_tests/scenarios/matrix/test_many_writers.py` |
| C1 overlapping ranges | `batch_assets_tests/ops/backfills/test_requests.py` |
| C2 shards change during a run | `batch_assets_tests/scenarios/test_crash_devices_run.py` |
| M1 memory | `batch_assets_tests/scenarios/test_memory.py` |
| M1 a parser that runs out of it | `batch_assets_tests/sources/documents/test_parse.py` |
| R1 replay that dies, twice, stale | `batch_assets_tests/ops/cli/test_crash_replay.py` |
| V1 columns that are new or missing | `batch_assets_tests/ingest/spreadsheets/test_load.py` |
| V1 columns of another type | `batch_assets_tests/loading/test_load.py` |

Not injected: a failover to another server; names that do not resolve and certificates that have
expired, in the middle of a run; a full disk under the write-ahead log, temporary files, the landing
folder or reports; a stop of ten minutes (the lease is scaled down instead, and so is the latency);
a code server that comes back with other definitions; the same post to the API twice while its
process dies; a soak of 24 hours.
"""


@dataclass(frozen=True)
class Result:
    """A scenario whose invariants all held.

    Attributes:
        load: Processes that ran or waited for a core, averaged over the minute before the end.
    """

    scenario: str
    seed: int
    seconds: float
    load: float | None = None


def read_results(page: Path) -> list[Result]:
    """What earlier runs have written into the page."""
    return [Result(**each) for each in _read(page, _MARK) or []]


def write_table(page: Path, results: Sequence[Result]) -> None:
    """Write the page anew, with a line for each fault."""
    _write(page, results, _read(page, _DAYS_MARK))


def write_thousand_days(page: Path, figures: Mapping[str, float]) -> None:
    """Write the page anew, with what came of a backfill of 1,000 days."""
    _write(page, read_results(page), dict(figures))


def _read(page: Path, mark: str) -> Any:
    found = (
        re.search(re.escape(mark) + "(.*) -->", page.read_text("utf-8")) if page.exists() else None
    )
    return json.loads(found[1]) if found else None


def _write(page: Path, results: Sequence[Result], days: Mapping[str, float] | None) -> None:
    held: dict[str, list[int]] = {}
    for result in results:
        held.setdefault(result.scenario, []).append(result.seed)
    combinations = all_scenarios()
    lines = [
        _INTRODUCTION,
        "## Results",
        "",
        *_summary(results, combinations),
        "",
        "| | fault | injected | must hold beside the invariants | held (seed) | open |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(fault, combinations, held) for fault in FAULTS),
        *(_thousand_days(days) if days else ()),
        _ELSEWHERE,
        f"{_MARK}{json.dumps([asdict(result) for result in results])} -->",
        *([f"{_DAYS_MARK}{json.dumps(days)} -->"] if days else ()),
    ]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _summary(results: Sequence[Result], combinations: Sequence[Scenario]) -> list[str]:
    names = {each.name for each in combinations}
    seeds = sorted({result.seed for result in results})
    by_seed = [
        f"{len({r.scenario for r in results if r.seed == seed} & names)} with seed {seed}"
        for seed in seeds
    ]
    done = names & {result.scenario for result in results}
    loads = [result.load for result in results if result.load is not None]
    busy = f" The load of its 2 cores was {min(loads):.0f} to {max(loads):.0f}." if loads else ""
    return [
        f"{len(done)} of {len(names)} combinations have held every invariant, "
        f"{', '.join(by_seed)}; {len(results)} scenarios in all.{busy}",
        "J: `job execute`, B: backfill of a daemon, i: in-process, m: multiprocess.",
    ]


def _thousand_days(days: Mapping[str, float]) -> list[str]:
    return [
        "",
        "## A backfill of 1,000 days",
        "",
        "    python -m batch_assets_tests.scenarios.thousand_days --table docs/reliability.md",
        "",
        "kills the daemon in the middle, later the code server, starts each again and launches",
        f"nothing anew. {days['days']:,} days, {days['sessions']} of them days of the exchange,",
        f"were done in {days['runs']} runs and {days['seconds']:.0f} s; "
        f"{days['runs_not_successful']} runs did not end well.",
        f"{days['rows']:,} rows are stored, each once; Dagster's history has {days['events']:,} "
        "materialisations, one a day.",
    ]


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
