"""The status page over HTTP: what it shows, who sees it, and what nobody can make it do."""

from collections.abc import Callable
from html import unescape
from pathlib import Path

import httpx
import pytest
from openpyxl import load_workbook

from batch_assets.ops.language import Language
from batch_assets.ops.scope import Scope
from batch_assets.ops.web.shown import words
from batch_assets.ops.web.texts import TEXTS, choose_language
from batch_assets.postgres.connect import connect
from batch_assets_tests.ops.web.conftest import Site, csrf_of
from batch_assets_tests.ops.web.scene import Scene, days

EVIL = "<script>alert('x')</script>"


def test_page_shows_feeds_backfills_failures_letters_and_alerts(
    site: Site, plant: Callable[[], None]
) -> None:
    plant()
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        page = client.get("/").text

    for seen in (
        "3 behind",
        "61.7",
        "37 of 60 days",
        "expected end",
        "of 2617 rows were rejected (46.0 %)",
        "https://dagster.example/runs/0002beef-2f5c-4c11-9d1e",
        "/backfills/2/errors.xlsx",
        "mended since",
        "mostly high_bounds",
        "2 d, limit 24 h",
        "paused by mei",
        "2024-10-17 17:06:00+08:00",
    ):
        assert seen in page, seen


def test_empty_database_has_words_for_everything_that_is_not_there(site: Site) -> None:
    with site.api.client(site.app("[alerts]\nis_on = false\n")) as client:
        site.sign_in(client)
        page = unescape(client.get("/").text)

    for name in (
        "no_feeds",
        "nothing_runs",
        "no_failures",
        "no_history",
        "no_letters",
        "no_alerts",
    ):
        assert TEXTS[Language.ENGLISH][name] in page, name


@pytest.mark.long
def test_nothing_from_data_becomes_markup(site: Site) -> None:
    with connect(site.url, application_name="test") as conn:
        scene = Scene(conn)
        backfill_id, run_id = scene.backfill("cn", days(scene.now.date(), 2), EVIL)
        key = scene.now.date().isoformat()
        error = (EVIL, f"`{EVIL}` is no price, {EVIL}")
        scene.load("cn", key, "failed", run_id=run_id, error=error, file=f"{EVIL}.csv")
        scene.letters(EVIL, EVIL, 1, days_ago=1)
        scene.alert(EVIL, EVIL, "critical", 2, 1, hours=1)
        scene.set(backfill_id, symbols=[EVIL], problem=EVIL)
        conn.execute("INSERT INTO ops.paused_feeds (feed, paused_by) VALUES ('cn', %s)", (EVIL,))

    with site.api.client(site.app()) as client:
        site.sign_in(client)
        pages = [client.get(path) for path in ("/", f"/backfills/{backfill_id}")]
        pages.append(client.get(f"/launch?feed={EVIL}&symbols=%22%3E{EVIL}"))
        pages.append(client.get(f"/?done=launch&id={EVIL}"))

    for page in pages:
        assert page.status_code == 200
        assert "alert(" not in page.text.replace("alert(&#39;", "")
        assert page.text.count("<script") == page.text.count('<script src="/static/')
    assert "&lt;script&gt;" in pages[0].text


def test_answers_allow_no_script_but_ours_and_no_frame(site: Site) -> None:
    with site.api.client(site.app()) as client:
        headers = client.get("/signin").headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


@pytest.mark.parametrize("path", ["/", "/backfills/1", "/launch", "/backfills/1/errors.xlsx"])
def test_pages_send_strangers_to_the_form(site: Site, path: str) -> None:
    with site.api.client(site.app()) as client:
        answer = client.get(path)

    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")


def test_cookie_is_out_of_reach_of_scripts_and_other_sites_and_stored_as_a_hash(
    site: Site,
) -> None:
    with site.api.client(site.app()) as client:
        csrf = csrf_of(client.get("/signin").text)
        answer = client.post("/signin", data={"token": site.token(), "csrf": csrf})
        [cookie] = [
            one for one in answer.headers.get_list("set-cookie") if one.startswith("ba_session=")
        ]
        [(stored,)] = site.rows("SELECT secret_sha256 FROM ops.browser_sessions")

    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.cookies["ba_session"].encode() not in bytes(stored)  # type: ignore[call-overload]
    assert site.rows("SELECT actor, action FROM ops.audit") == [("mei launch", "page.sign_in")]


def test_session_ends_with_its_token_and_with_signing_out(site: Site) -> None:
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        csrf = csrf_of(client.get("/").text)
        seen = [client.get("/").status_code]
        kept = client.cookies["ba_session"]
        client.post("/signout", data={"csrf": csrf})
        client.cookies.set("ba_session", kept)
        seen.append(client.get("/").status_code)
        client.cookies.clear()
        site.sign_in(client, Scope.READ)
        seen.append(client.get("/").status_code)
        with connect(site.url, application_name="test") as conn:
            conn.execute("UPDATE ops.api_tokens SET revoked_at = now()")
        seen.append(client.get("/").status_code)

    assert seen == [200, 303, 200, 303]


def test_wrong_token_and_forged_form_begin_no_session(site: Site) -> None:
    with site.api.client(site.app()) as client:
        csrf = csrf_of(client.get("/signin").text)
        wrong = client.post("/signin", data={"token": "ba_1_x", "csrf": csrf})
        forged = client.post("/signin", data={"token": site.token(), "csrf": "x"})

    assert (wrong.status_code, forged.status_code) == (403, 403)
    assert "No token in force" in wrong.text
    assert site.rows("SELECT count(*) FROM ops.browser_sessions") == [(0,)]


def launch(client: httpx.Client, **fields: str) -> httpx.Response:
    csrf = csrf_of(client.get("/launch").text)
    form = {"feed": "cn", "first": "2024-10-08", "last": "2024-10-10", "csrf": csrf}
    return client.post("/launch", data=form | fields)


def test_forms_launch_pause_resume_cancel_and_retry_with_an_audit_of_each(site: Site) -> None:
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        launched = launch(client, symbols="600000.SH, 000001.SZ", force="yes")
        again = launch(client, symbols="000001.SZ 600000.SH", force="yes")
        csrf = csrf_of(client.get("/").text)
        for change in ("pause", "resume", "cancel"):
            answer = client.post(f"/backfills/1/{change}", data={"csrf": csrf, "from": "status"})
            assert answer.headers["location"] == f"/?done={change}&id=1"
        with connect(site.url, application_name="test") as conn:
            Scene(conn).set(1, state="canceled", ended_at=Scene(conn).now)
        retried = client.post("/backfills/1/retry", data={"csrf": csrf})
        ended = client.post("/backfills/1/pause", data={"csrf": csrf})

    assert launched.headers["location"] == "/backfills/1?done=launch&id=1"
    assert again.headers["location"] == "/backfills/1?done=same&id=1"
    assert retried.headers["location"] == "/backfills/3?done=retry&id=3"
    assert ended.status_code == 409
    assert "backfill 1 has ended" in ended.text
    assert site.rows(
        "SELECT feed, first_key, last_key, is_forced, symbols FROM ops.backfills"
        " ORDER BY backfill_id LIMIT 1"
    ) == [("cn", "2024-10-08", "2024-10-10", True, ["600000.SH", "000001.SZ"])]
    assert site.rows("SELECT actor, action, subject FROM ops.audit ORDER BY audit_id")[1:] == [
        ("mei launch", f"backfill.{action}", subject)
        for action, subject in (
            ("launch", "1"),
            ("pause", "1"),
            ("resume", "1"),
            ("cancel", "1"),
            ("retry", "3"),
        )
    ]


def test_feed_is_paused_and_resumed_and_unknown_feeds_are_not(site: Site) -> None:
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        csrf = csrf_of(client.get("/").text)
        client.post("/feeds/cn/pause", data={"csrf": csrf})
        paused = site.rows("SELECT feed, paused_by FROM ops.paused_feeds")
        client.post("/feeds/cn/resume", data={"csrf": csrf})
        unknown = client.post("/feeds/nobody/pause", data={"csrf": csrf})

    assert paused == [("cn", "mei launch")]
    assert site.rows("SELECT * FROM ops.paused_feeds") == []
    assert unknown.status_code == 404


def test_wrong_range_is_answered_above_the_form_as_it_was_filled_in(site: Site) -> None:
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        backwards = launch(client, first="2024-10-10", last="2024-10-08")
        nonsense = launch(client, first="soon")
        launch(client)
        overlap = launch(client, last="2024-10-11")

    assert [one.status_code for one in (backwards, nonsense, overlap)] == [422, 422, 409]
    assert "has no day" in backwards.text
    assert 'value="2024-10-10"' in backwards.text
    assert "is no day" in nonsense.text
    assert "overlaps backfill 1" in overlap.text


@pytest.mark.parametrize(
    "path",
    [
        "/launch",
        pytest.param("/backfills/1/pause", marks=pytest.mark.long),
        pytest.param("/backfills/1/cancel", marks=pytest.mark.long),
        pytest.param("/backfills/1/retry", marks=pytest.mark.long),
        pytest.param("/feeds/cn/pause", marks=pytest.mark.long),
    ],
)
def test_nothing_changes_without_the_scope_or_the_forms_secret(site: Site, path: str) -> None:
    with connect(site.url, application_name="test") as conn:
        Scene(conn).backfill("cn", days(Scene(conn).now.date(), 2))
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        forged = client.post(path, data={"csrf": "0" * 64, "feed": "cn", "first": "2024-10-08"})
        client.cookies.clear()
        site.sign_in(client, Scope.READ)
        page = client.get("/").text
        reader = client.post(path, data={"csrf": csrf_of(page), "first": "2024-10-08"})
        client.cookies.clear()
        stranger = client.post(path, data={"csrf": "x"})

    assert (forged.status_code, reader.status_code, stranger.status_code) == (403, 403, 303)
    assert "/backfills/1/pause" not in page
    assert site.rows("SELECT wanted FROM ops.backfills") == [("run",)]
    assert site.rows("SELECT * FROM ops.paused_feeds") == []


def test_workbook_has_every_day_that_failed(
    site: Site, plant: Callable[[], None], tmp_path: Path
) -> None:
    plant()
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        answer = client.get("/backfills/2/errors.xlsx")

    path = tmp_path / "errors.xlsx"
    path.write_bytes(answer.content)
    rows = list(load_workbook(path)["Days"].iter_rows(values_only=True))
    assert [row[1] for row in rows[1:]] == ["2024-10-15", "2024-10-16"]
    assert "backfill-2-errors.xlsx" in answer.headers["content-disposition"]


def test_errors_of_a_backfill_are_paged_to_the_last(site: Site) -> None:
    with connect(site.url, application_name="test") as conn:
        scene = Scene(conn)
        keys = days(scene.now.date(), 45)
        _, run_id = scene.backfill("cn", keys)
        for key in keys:
            scene.load("cn", key, "failed", run_id=run_id, error=("X", f"why {key}"))

    seen = []
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        address: str | None = "/backfills/1"
        while address:
            page = client.get(address).text
            seen += [key for key in reversed(keys) if f"why {key}" in page]
            _, found, rest = page.partition('href="/backfills/1?before=')
            address = f"/backfills/1?before={rest.partition(chr(34))[0]}" if found else None

    assert seen == list(reversed(keys))


@pytest.mark.parametrize(
    ("path", "status"), [("/backfills/99", 404), ("/backfills/0", 422), ("/backfills/x", 422)]
)
def test_wrong_addresses_are_answered_with_a_page(site: Site, path: str, status: int) -> None:
    with site.api.client(site.app()) as client:
        site.sign_in(client)
        answer = client.get(path)

    assert answer.status_code == status
    assert "That did not work" in answer.text


def test_large_form_is_refused_before_it_is_read(site: Site) -> None:
    with site.api.client(site.app()) as client:
        answer = client.post("/signin", data={"token": "x" * 100_000})

    assert answer.status_code == 413


def test_language_follows_the_browser_until_it_is_chosen(site: Site) -> None:
    chinese = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
    with site.api.client(site.app()) as client:
        first = client.get("/signin", headers=chinese).text
        chosen = client.get("/signin?lang=en", headers=chinese).text
        later = client.get("/signin", headers=chinese).text

    assert "<h1>登录</h1>" in first
    assert "<h1>Sign in</h1>" in chosen
    assert "<h1>Sign in</h1>" in later


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("zh", "en", Language.CHINESE),
        ("fr", "en;q=0.5, zh;q=0.9", Language.CHINESE),
        (None, "fr, en;q=0, zh;q=0.1", Language.CHINESE),
        (None, "fr", Language.ENGLISH),
        (None, "zh;q=x, en;q=0.2", Language.ENGLISH),
        (None, "", Language.ENGLISH),
    ],
)
def test_language_is_chosen_by_weight(asked: str | None, accepted: str, language: str) -> None:
    assert choose_language(asked, accepted, Language.ENGLISH) == language


def test_both_languages_want_the_same_values() -> None:
    from string import Formatter

    for name, text in TEXTS[Language.ENGLISH].items():
        wanted = [
            sorted(field for _, field, _, _ in Formatter().parse(one) if field)
            for one in (text, TEXTS[Language.CHINESE][name])
        ]
        assert wanted[0] == wanted[1], name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a `b` c", "a <code>b</code> c"),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
        ("a ` b", "a ` b"),
        ("`a` and ` alone", "<code>a</code> and ` alone"),
    ],
)
def test_backticks_are_code_only_in_pairs(text: str, shown: str) -> None:
    assert words(text) == shown
