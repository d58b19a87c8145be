import psycopg
import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.postgres.pool_budget import PoolBudget, evaluate_pool_max, read_pool_budget
from batch_assets.settings import DatabaseSettings, load_settings


def test_default_is_lowered_to_what_the_server_has_room_for() -> None:
    budget = PoolBudget(limit=52, processes=4, reserved=20)

    assert evaluate_pool_max(budget, DatabaseSettings()) == 8
    assert evaluate_pool_max(PoolBudget(limit=500, processes=4), DatabaseSettings()) == 10


def test_chosen_size_is_kept_where_it_fits_and_refused_where_not() -> None:
    chosen = DatabaseSettings(pool_max=30)

    assert evaluate_pool_max(PoolBudget(limit=140, processes=4, reserved=20), chosen) == 30
    with pytest.raises(
        ConfigurationError,
        match=r"4 processes with pools of 30 connections need 120, the server has 139 and 20 .* "
        r"at most 29 for each; lower \[database\] pool_max",
    ):
        evaluate_pool_max(PoolBudget(limit=139, processes=4, reserved=20), chosen)


def test_server_without_room_for_any_pool_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected at most 0 for each"):
        evaluate_pool_max(PoolBudget(limit=10, processes=4), DatabaseSettings())


def test_budget_is_what_the_server_leaves_to_our_role(postgres_empty: str) -> None:
    with psycopg.connect(postgres_empty, autocommit=True) as conn:
        row = conn.execute(
            "SELECT current_setting('max_connections')::int, "
            "current_setting('superuser_reserved_connections')::int"
        ).fetchone()
        budget = read_pool_budget(conn, DatabaseSettings(pool_processes=7))
        conn.execute("CREATE ROLE few_connections CONNECTION LIMIT 5")
        conn.execute("SET ROLE few_connections")
        try:
            narrow = read_pool_budget(conn, DatabaseSettings())
        finally:
            conn.execute("RESET ROLE")
            conn.execute("DROP ROLE few_connections")

    assert row is not None
    assert (budget.limit, budget.processes) == (row[0] - row[1], 7)
    assert narrow.limit == 5


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 10),
        ({"PGPOOL_SIZE": "12"}, 12),
        ({"DB_POOL_SIZE": "15"}, 15),
        ({"DB_POOL_SIZE": "15", "DB_MAX_OVERFLOW": "5", "PGPOOL_SIZE": "3"}, 20),
        ({"DB_MAX_OVERFLOW": "7"}, 17),
    ],
)
def test_names_of_old_settings_are_understood(environ: dict[str, str], expected: int) -> None:
    assert load_settings(environ).database.pool_max == expected


def test_production_has_ten_for_each_core_and_at_most_thirty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cores, expected in ((1, 10), (2, 20), (3, 30), (64, 30)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert load_settings({"BATCH_ASSETS_ENV": "prod"}).database.pool_max == expected


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BATCH_ASSETS_ENV": "staging"}, "environment: Input should be 'dev' or 'prod'"),
        ({"DB_POOL_SIZE": "many"}, "pool_max: Input should be a valid integer"),
        ({"DB_MAX_OVERFLOW": "some"}, "DB_MAX_OVERFLOW is 'some', expected a number"),
        ({"CPU_EXECUTOR_WORKERS": "0"}, "cpu_workers: Input should be greater than or equal to 1"),
    ],
)
def test_wrong_names_and_numbers_are_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_settings(environ)


def test_number_of_workers_comes_from_the_environment_first() -> None:
    assert load_settings({}).execution.cpu_workers is None
    assert load_settings({"CPU_EXECUTOR_WORKERS": "3"}).execution.cpu_workers == 3
