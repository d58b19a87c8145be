"""Messages of devices: after the commit, in order per device, at least once, none lost."""

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import psycopg
import pytest
import redis

from batch_assets.errors import DestinationUnavailable
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.ingest.devices.relay import RelayOptions, relay_outbox, run_relay
from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets.ingest.devices.webhook_sink import WebhookSink
from batch_assets.loading.batch_metrics import BatchClock
from batch_assets.loading.device_outbox import Message, Refusals, revive_dead_messages
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets_tests.ingest.devices.landing import ask
from batch_assets_tests.ingest.devices.relaying import (
    ALERTING,
    OPTIONS,
    Listener,
    Relayed,
    redis_server,
    relay,
    short_folder,
    start_relay,
    store,
)
from batch_assets_tests.loading.synthetic import connector
from batch_assets_tests.polling import wait_until

WAITING = "SELECT count(*) FROM devices.outbox WHERE dead_at IS NULL"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with short_folder() as folder, redis_server(folder) as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield client


class Memory:
    """A destination that keeps what it is given."""

    messages_max = 100

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.is_down = False

    def send(self, messages: Sequence[Message]) -> Mapping[int, str]:
        if self.is_down:
            raise DestinationUnavailable("it is down; start it")
        self.taken += messages
        return {}

    def close(self) -> None:
        self.taken.clear()


def test_states_and_alerts_are_told_in_order_and_kept_as_a_hash(
    postgres: str, server: str, client: "redis.Redis"
) -> None:
    store(postgres, [("A", 1, 130, {"hr": 130, "note": None}), ("A", 2, 80, {"hr": 80, "x": [1]})])
    store(postgres, [("A", 1, 130, {"hr": 130, "note": None})])
    ids = [number for (number,) in ask(postgres, "SELECT outbox_id FROM devices.outbox ORDER BY 1")]

    with Listener(client) as listener:
        report = relay(Relayed(postgres, server))
        again = relay(Relayed(postgres, server))
        heard = listener.heard()

    assert (report.sent, report.refused, again.sent) == (4, 0, 0)
    assert [(channel, told.get("kind"), told["outbox_id"]) for channel, told in heard] == [
        ("health_data_channel:A", None, ids[0]),
        ("health_alert_channel:A", "alert_opened", ids[1]),
        ("health_data_channel:A", None, ids[2]),
        ("health_alert_channel:A", "alert_resolved", ids[3]),
    ]
    stored = client.hgetall("health_data:A")
    assert {name: stored[name] for name in (b"hr", b"x", b"outbox_id")} == {
        b"hr": b"80",
        b"x": b"[1]",
        b"outbox_id": str(ids[2]).encode(),
    }
    assert b"note" not in stored
    assert ask(postgres, "SELECT count(*) FROM devices.outbox") == [(0,)]
    assert ask(postgres, "SELECT resource FROM ops.leases") == []


def test_late_record_does_not_tell_an_old_state(postgres: str) -> None:
    store(postgres, [("A", 10, 80, {"hr": 80})])
    store(postgres, [("A", 5, 70, {"hr": 70}), ("A", 11, 81, {"hr": 81})])

    assert ask(postgres, "SELECT payload ->> 'hr' FROM devices.outbox ORDER BY outbox_id") == [
        ("80",),
        ("81",),
    ]


def store_bodies(url: str, *bodies: dict[str, object]) -> None:
    lines = [(number, json.dumps(body)) for number, body in enumerate(bodies, 1)]
    rows = read_bodies(lines, len(lines), "test", "UTC").rows
    with psycopg.connect(url) as conn:
        write_rows(conn, 1, rows, BatchClock(), ALERTING)


def body_for(part: str, when: str, told: object, device: str = "A") -> dict[str, object]:
    name = {"main_data": "measured_at", "daily_data": "day", "weekly_data": "week"}[part]
    return {"device_sn": device, part: {name: when, "heart_rate": 60}, "redis_data": {"n": told}}


def test_states_of_days_and_weeks_are_told_between_records_as_they_were_sent(postgres: str) -> None:
    store_bodies(
        postgres,
        body_for("daily_data", "2025-01-30", 1),
        body_for("main_data", "2025-01-31T08:00:00Z", 2),
        body_for("weekly_data", "2025-01-20", 3),
        body_for("daily_data", "2025-01-31", 4),
        body_for("daily_data", "2025-01-29", "late"),
        body_for("main_data", "2025-01-31T09:00:00Z", 5),
        body_for("daily_data", "2025-02-01", 6),
    )
    # Sent again, late, corrected; and a day of another device.
    store_bodies(
        postgres,
        body_for("daily_data", "2025-02-01", 6),
        body_for("weekly_data", "2025-01-13", "late"),
        body_for("daily_data", "2025-01-31", "late"),
    )
    store_bodies(postgres, body_for("daily_data", "2025-02-01", 7))
    store_bodies(postgres, body_for("daily_data", "2024-01-01", 8, "B"))

    assert ask(
        postgres, "SELECT device_sn, payload ->> 'n' FROM devices.outbox ORDER BY outbox_id"
    ) == [*(("A", str(number)) for number in range(1, 8)), ("B", "8")]


def test_nothing_is_kept_for_destinations_that_are_not_configured(postgres: str) -> None:
    store(postgres, [("A", 1, 130, {"hr": 130})], DeviceEffects(ALERTING.alerts))

    assert ask(postgres, "SELECT count(*) FROM devices.alerts") == [(1,)]
    assert ask(postgres, "SELECT count(*) FROM devices.outbox") == [(0,)]


def test_messages_wait_for_a_destination_that_is_down(postgres: str) -> None:
    store(postgres, [("A", 1, 130, {"hr": 1}), ("B", 1, 80, {"hr": 2})])
    sink = Memory()
    sink.is_down = True
    stop = Event()
    options = RelayOptions(idle_seconds=0.01, wait_seconds_max=0.05)
    thread = Thread(target=run_relay, args=(connector(postgres), {"redis": sink}, stop, options))

    report = relay_outbox(connector(postgres), {"redis": sink}, options)
    thread.start()
    try:
        assert report.unavailable == {"redis": "it is down; start it"}
        assert ask(postgres, "SELECT count(*), sum(attempts) FROM devices.outbox") == [(3, 0)]
        sink.is_down = False
        wait_until(lambda: ask(postgres, WAITING) == [(0,)], "the outbox to be empty")
    finally:
        stop.set()
        thread.join()
    assert sorted(message.device_sn for message in sink.taken) == ["A", "A", "B"]


def test_refused_message_holds_its_device_back_and_is_a_dead_letter_in_the_end(
    postgres: str, server: str, client: "redis.Redis"
) -> None:
    client.set("health_data:A", "no hash")
    store(postgres, [("A", 1, 80, {"hr": 1}), ("B", 1, 80, {"hr": 2})])
    store(postgres, [("A", 2, 130, None)])

    with Listener(client) as listener:
        first = relay(Relayed(postgres, server))
        assert [channel for channel, _ in listener.heard()] == ["health_data_channel:B"]
        assert (first.sent, first.refused, first.dead) == (1, 1, 0)
        wait_until(
            lambda: relay(Relayed(postgres, server)).dead or ask(postgres, WAITING) == [(0,)],
            "the message to be given up",
        )
        wait_until(lambda: not relay(Relayed(postgres, server)).sent, "the rest to be sent")
        assert [channel for channel, _ in listener.heard()] == ["health_alert_channel:A"]

        letters = "SELECT target, rule, original ->> 'device_sn', state FROM ops.dead_letters"
        assert ask(postgres, letters) == [("devices.outbox", "not_delivered", "A", "open")]
        client.delete("health_data:A")
        with psycopg.connect(postgres) as conn:
            assert revive_dead_messages(conn) == 1
        assert relay(Relayed(postgres, server)).sent == 1
        assert [channel for channel, _ in listener.heard()] == ["health_data_channel:A"]
    assert ask(postgres, letters) == [("devices.outbox", "not_delivered", "A", "replayed")]
    assert client.hget("health_data:A", "hr") == b"1"


def test_state_that_is_sent_again_late_leaves_the_newer_one(
    postgres: str, server: str, client: "redis.Redis"
) -> None:
    store(postgres, [("A", 1, 80, {"hr": 1})])
    with psycopg.connect(postgres) as conn:
        conn.execute("UPDATE devices.outbox SET dead_at = now()")
    store(postgres, [("A", 2, 80, {"hr": 2})])
    relay(Relayed(postgres, server))
    with psycopg.connect(postgres) as conn:
        revive_dead_messages(conn)

    with Listener(client) as listener:
        relay(Relayed(postgres, server))
        heard = listener.heard()

    assert [told["hr"] for _, told in heard] == [1]
    assert client.hget("health_data:A", "hr") == b"2"


def test_two_relays_share_the_shards_and_keep_the_order(postgres: str) -> None:
    for minute in range(1, 31):
        store(postgres, [(f"D{number}", minute, 80, {"at": minute}) for number in range(20)])
    sink = Memory()

    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(relay_outbox, connector(postgres), {"redis": sink}, OPTIONS)
            for _ in range(2)
        ]
    reports = [one.result() for one in both]

    assert sum(report.sent for report in reports) == 600
    assert len(sink.taken) == 600
    for number in range(20):
        told = [m.payload for m in sink.taken if m.device_sn == f"D{number}"]
        assert told == [{"at": minute} for minute in range(1, 31)]


def test_shard_map_waits_for_messages_in_hand(postgres: str) -> None:
    store(postgres, [("A", 1, 80, {"hr": 1})])
    sink = Memory()

    class Resharding(Memory):
        def send(self, messages: Sequence[Message]) -> Mapping[int, str]:
            with psycopg.connect(postgres) as conn:
                conn.execute("SET lock_timeout = 100")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    change_shard_count(conn, 5)
            return sink.send(messages)

    report = relay_outbox(connector(postgres), {"redis": Resharding()}, OPTIONS)

    assert (report.sent, len(sink.taken)) == (1, 1)


@pytest.mark.crash
@pytest.mark.parametrize("action", ["kill", "stop"])
def test_relay_that_ended_before_its_commit_is_followed_with_the_same_ids_in_order(
    postgres: str, server: str, client: "redis.Redis", action: str
) -> None:
    for minute in range(1, 11):
        store(postgres, [(f"D{number}", minute, 80, {"at": minute}) for number in range(10)])

    with Listener(client) as listener:
        first = start_relay(Relayed(postgres, server, f"relay.after_send={action}@2"))
        flags = os.WUNTRACED if action == "stop" else 0
        pid, status = os.waitpid(first.pid, flags)
        assert pid == first.pid
        assert os.WIFSTOPPED(status) if action == "stop" else os.WTERMSIG(status) == signal.SIGKILL
        before = listener.heard()
        wait_until(
            lambda: relay(Relayed(postgres, server)) and ask(postgres, WAITING) == [(0,)],
            "another relay to take over",
        )
        after = listener.heard()
        if action == "stop":
            # Its transaction was ended by the other one: it commits nothing, and says so.
            first.send_signal(signal.SIGCONT)
            assert first.wait(60) == 1
            assert listener.heard() == []
        else:
            first.returncode = -signal.SIGKILL

    repeated = {told["outbox_id"] for _, told in before} & {told["outbox_id"] for _, told in after}
    assert repeated
    assert len({told["outbox_id"] for _, told in before + after}) == 100
    for number in range(10):
        for heard in (before, after):
            told = [one["at"] for channel, one in heard if channel.endswith(f":D{number}")]
            assert told == sorted(told)
            assert len(told) == len(set(told))
        assert client.hget(f"health_data:D{number}", "at") == b"10"


def test_webhook_is_told_of_alerts_with_a_key_that_tells_copies(postgres: str) -> None:
    effects = DeviceEffects(ALERTING.alerts, ("webhook",))
    store(postgres, [("A", 1, 130, {"hr": 130}), ("B", 1, 140, None)], effects)
    answers = [503, 200, 400, 200]
    posted: list[tuple[str, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.headers["Idempotency-Key"], body))
            self.send_response(answers[len(posted) - 1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        sink = WebhookSink(f"http://127.0.0.1:{receiver.server_port}/", "HOOK")
        options = RelayOptions(shards=1, refusals=Refusals(3, 0.0, 0.0))
        reports = [relay_outbox(connector(postgres), {"webhook": sink}, options) for _ in range(2)]
        sink.close()
        receiver.shutdown()

    assert "status 503" in reports[0].unavailable["webhook"]
    assert (reports[1].sent, reports[1].refused) == (2, 1)
    keys = [key for key, _ in posted]
    assert keys == [keys[0], keys[0], keys[2], keys[2]]
    assert b'"kind":"alert_opened"' in posted[0][1].replace(b": ", b":")
