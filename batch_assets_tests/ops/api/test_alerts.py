"""`serve` evaluates alerts by itself; two of them tell people once."""

import psycopg

from batch_assets_tests.fakes.alert_receivers import webhook
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.polling import wait_until

CONFIGURATION = """
[alerts]
evaluate_seconds = 0.2

[alerts.rules.undelivered]
for_seconds = 0
keep_seconds = 0

[alerts.channels.hook]
kind = "webhook"
url_env = "HOOK_URL"
"""
DEAD = """
INSERT INTO devices.outbox (destination, bucket, device_sn, kind, payload, load_id, dead_at)
VALUES ('webhook', 1, 'a', 'state', '{}', 1, now())
"""


def test_two_servers_tell_once_that_an_alert_fires_and_once_that_it_is_over(api: Api) -> None:
    with webhook() as receiver:
        environ = {"HOOK_URL": receiver.url}
        with (
            api.client(api.build(CONFIGURATION, environ)),
            api.client(api.build(CONFIGURATION, environ)),
            psycopg.connect(api.url, autocommit=True) as conn,
        ):
            conn.execute(DEAD)
            wait_until(lambda: receiver.received, "the alert to be told")
            conn.execute("DELETE FROM devices.outbox")
            wait_until(lambda: len(receiver.received) > 1, "its end to be told")
            evaluated = "SELECT evaluated_at FROM ops.alert_clock"
            last = conn.execute(evaluated).fetchone()
            wait_until(lambda: conn.execute(evaluated).fetchone() != last, "another look")

    told = [(body["kind"], body["rule"]) for _, _, body in receiver.received]
    assert told == [("fired", "undelivered"), ("resolved", "undelivered")]
