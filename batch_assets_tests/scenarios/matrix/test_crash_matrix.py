"""A fixed sample of the matrix; the soak runs every combination."""

from collections.abc import Iterator

import pytest

from batch_assets_tests.scenarios.matrix.running import prepared_server, run_scenario
from batch_assets_tests.scenarios.matrix.scenario import Scenario, sample
from batch_assets_tests.scenarios.matrix.server import MatrixServer


@pytest.fixture(scope="module")
def server() -> Iterator[MatrixServer]:
    with prepared_server() as made:
        yield made


@pytest.mark.crash
@pytest.mark.parametrize("scenario", sample(), ids=lambda each: each.name)
def test_invariants_hold_after(scenario: Scenario, server: MatrixServer) -> None:
    if lacking := scenario.fault.missing():
        pytest.skip(lacking)

    run_scenario(server, scenario)
