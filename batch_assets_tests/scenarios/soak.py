"""Go on breaking runs at random until the time is over or an invariant is violated.

    python -m batch_assets_tests.scenarios.soak --minutes 30 --seed 1 [--table docs/reliability.md]

Scenarios are drawn without repetition until all combinations have been tried, then anew. Each
result is printed; the first violation ends it with the command that reproduces it, or with
`--keep-going` is counted, and decides the exit status at the end.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from batch_assets_tests.scenarios.matrix.result_table import (
    Result,
    read_results,
    write_table,
)
from batch_assets_tests.scenarios.matrix.running import prepared_server, run_scenario
from batch_assets_tests.scenarios.matrix.scenario import Scenario, all_scenarios


def main() -> int:
    """Run the soak; 0 if every invariant held."""
    arguments = build_parser().parse_args()
    # Told to end, it ends what it started too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    results = read_results(arguments.table) if arguments.table else []
    held = {result.scenario for result in results}
    violations = 0
    deadline = time.monotonic() + arguments.minutes * 60
    with prepared_server() as server:
        for scenario in drawn(arguments.seed, arguments.only, held if arguments.open else None):
            if time.monotonic() >= deadline:
                break
            if lacking := scenario.fault.missing():
                say(scenario, arguments.seed, f"skipped: {lacking}", 0.0)
                continue
            started = time.monotonic()
            try:
                seconds = run_scenario(server, scenario, evidence=arguments.evidence)
            except Exception as error:  # noqa: BLE001 - whatever ends a scenario is a finding
                said = f"VIOLATED: {type(error).__name__}: {error}"
                say(scenario, arguments.seed, said, time.monotonic() - started)
                sys.stderr.write(
                    f"reproduce: python -m {__spec__.name} --seed {arguments.seed} "
                    f"--only '{scenario.name}'\n"
                )
                violations += 1
                if not arguments.keep_going:
                    break
                continue
            say(scenario, arguments.seed, "held", seconds)
            results.append(Result(scenario.name, arguments.seed, seconds, os.getloadavg()[0]))
            if arguments.table:
                write_table(arguments.table, results)
    return int(violations > 0)


def drawn(seed: int, only: str = "", held: Collection[str] | None = None) -> Iterator[Scenario]:
    """All combinations in an order that the seed decides, again and again.

    Args:
        only: Parts of names, between bars; a scenario has at least one of them in its name.
        held: Names of scenarios to leave out; the others are then drawn once.
    """
    source = random.Random(seed)
    scenarios = [
        each for each in all_scenarios() if any(part in each.name for part in only.split("|"))
    ]
    if not scenarios:
        raise SystemExit(f"no scenario has {only!r} in its name")
    while True:
        source.shuffle(scenarios)
        yield from (each for each in scenarios if each.name not in (held or ()))
        if held is not None:
            return


def say(scenario: Scenario, seed: int, result: str, seconds: float) -> None:
    """One JSON line for one scenario."""
    line = {"scenario": scenario.name, "seed": seed, "result": result, "seconds": round(seconds, 1)}
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="parts of names, between bars")
    parser.add_argument("--open", action="store_true", help="only what the page lacks, once")
    parser.add_argument("--keep-going", action="store_true", help="go on after a violation")
    parser.add_argument("--evidence", type=Path, help="folder for logs and records of violations")
    parser.add_argument("--table", type=Path, help="page to add the results to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
