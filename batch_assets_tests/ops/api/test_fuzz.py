"""Requests made up from the API's own description: nothing may end as a fault of the server."""

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api

CONFIGURATION = """
[market.feeds.cn]
folder = "bars"
exchange = "XSHG"

[documents.sources.inbox]
url = "landing"

[api]
requests_per_second = 1e6
request_burst = 1000000
"""

# These answer until the client leaves.
ENDLESS = r"/events$"


@pytest.mark.long
def test_made_up_requests_meet_no_fault_of_the_server(api: Api) -> None:
    for folder in ("bars", "landing"):
        (api.folder / folder).mkdir()
    app = api.build(CONFIGURATION)
    headers = api.headers(Scope.ADMIN)
    with api.client(app) as client:
        schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
        chosen = schema.exclude(path_regex=ENDLESS)
        tried, faults = set(), []
        for result in chosen.get_all_operations():
            operation = result.ok()
            tried.add(operation.label)

            @hypothesis.settings(
                max_examples=25,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy())
            def ask(case: schemathesis.Case) -> None:
                case.call_and_validate(
                    headers=headers,
                    # 500 is not in the description, so it does not conform.
                    checks=[status_code_conformance, response_schema_conformance],
                )

            try:
                ask()
            except BaseExceptionGroup as error:
                faults.append(f"{operation.label}: {error}\n{error.exceptions}")

    assert not faults, "\n\n".join(faults)
    assert {"POST /api/v1/backfills", "POST /api/devices/records", "POST /start_etl"} <= tried
