"""Which test runs each command of the pages: a session of many, other tests, or a person."""

# In this order in one folder, with the exit status of each.
SESSION = (
    ("batch-assets --version", 0),
    ("batch-assets init loads", 0),
    ("cd loads", 0),
    ("batch-assets doctor", 1),
    ("batch-assets db status", 1),
    ("batch-assets db migrate --dry-run", 0),
    ("batch-assets db migrate", 0),
    ("batch-assets db status", 0),
    ("batch-assets db verify", 0),
    ("batch-assets doctor", 0),
    ("DAGSTER_HOME=$PWD/.batch_assets/dagster dagster instance migrate", 0),
    ("batch-assets plan market --feed examples --from 2024-09-25 --to 2024-09-30", 0),
    ("batch-assets plan market --from 2024-09-25 --to 2024-10-09 --out plan.json", 0),
    ("batch-assets backfill --plan plan.json --detach", 0),
    # The same request is the same backfill.
    ("batch-assets backfill market --from 2024-09-25 --to 2024-10-09 --detach", 0),
    ("batch-assets status", 0),
    ("batch-assets status 1", 0),
    ("batch-assets history", 0),
    ("batch-assets history 1", 0),
    ("batch-assets errors", 0),
    ("batch-assets errors 1 --xlsx errors.xlsx --html errors.html", 0),
    ("batch-assets pause 1", 0),
    ("batch-assets pause --feed examples", 0),
    ("batch-assets resume 1", 0),
    ("batch-assets resume --feed examples", 0),
    ("batch-assets priority 1 5", 0),
    ("batch-assets cancel 1", 0),
    # It has not ended yet.
    ("batch-assets retry --failed 1 --detach", 2),
    ("batch-assets locks", 0),
    ("batch-assets dead-letters list", 0),
    ("batch-assets devices load", 0),
    # The examples have two records that cannot be read.
    ("batch-assets dead-letters list", 1),
    ("batch-assets dead-letters export letters.xlsx", 0),
    ("batch-assets devices status", 0),
    ("batch-assets devices silent", 0),
    ("batch-assets devices shards", 0),
    ("batch-assets devices reshard 5", 0),
    ("batch-assets devices shadow start json:loads --buckets 0-15 --dry-run", 0),
    ("batch-assets devices shadow compare", 0),
    ("batch-assets devices shadow switch --dry-run", 0),
    ("batch-assets devices shadow rollback --dry-run", 0),
    ("batch-assets dead-letters discard --target devices.records --reason test", 0),
    ("batch-assets dead-letters list", 0),
    ("batch-assets documents status", 0),
    ("batch-assets documents errors", 0),
    ("batch-assets verify", 0),
    ("batch-assets verify --repair", 0),
    ("batch-assets runs repair --dry-run", 0),
    ("batch-assets runs repair", 0),
    ("batch-assets alerts list", 0),
    ("batch-assets alerts list --all", 0),
    ("batch-assets alerts test", 0),
    ("batch-assets tokens create me --scope launch", 0),
    ("batch-assets tokens list", 0),
    ("batch-assets tokens revoke me", 0),
    ("batch-assets db backup last.dump", 0),
    ("batch-assets prune --dry-run", 0),
    ("batch-assets prune", 0),
)

_WHEEL = "scenarios/test_installed_wheel.py"
_DOCUMENTS = "ops/cli/test_documents.py"
_SPREADSHEETS = "ops/cli/test_spreadsheets.py"
# Tests that run a command as a person would; the words of each stand in its file.
ELSEWHERE = {
    "batch-assets demo": f"{_WHEEL}::test_an_installed_wheel_runs_the_demonstration",
    "batch-assets serve": f"{_WHEEL}::test_an_installed_wheel_runs_a_job_in_a_project_of_its_own",
    "dagster job execute": f"{_WHEEL}::test_an_installed_wheel_runs_a_job_in_a_project_of_its_own",
    "dagster job backfill": (
        "scenarios/test_launched_in_dagster.py::"
        "test_what_dagsters_pages_launch_is_seen_from_its_launch_to_its_summary"
    ),
    "batch-assets up": "ops/test_up.py::test_up_answers_and_leaves_nothing_behind_after_ctrl_c",
    "batch-assets logs": (
        "ops/cli/test_backfills.py::test_logs_of_all_runs_of_a_backfill_come_in_one_by_time"
    ),
    "batch-assets db restore": (
        "ops/test_backup.py::test_a_restored_database_is_the_one_that_was_backed_up"
    ),
    "batch-assets db roles": (
        "security/test_roles_at_work.py::test_a_dry_run_prints_what_would_be_done_and_no_password"
    ),
    "batch-assets dead-letters replay": "ops/cli/test_dead_letters.py::test_loop_by_commands",
    "batch-assets devices relay": (
        "ops/cli/test_device_relay.py::test_load_opens_alerts_and_tells_redis_as_soon_as_it_answers"
    ),
    "batch-assets devices run": (
        "ops/cli/test_devices.py::test_run_writes_what_comes_and_ends_well_when_it_is_told_to"
    ),
    "batch-assets documents embed": (
        "ops/cli/test_documents_embed.py::"
        "test_embed_takes_texts_from_before_and_ingest_those_that_come"
    ),
    "batch-assets documents ingest": (
        f"{_DOCUMENTS}::test_ingest_reads_what_waits_and_says_how_each_file_ended"
    ),
    "batch-assets documents reprocess": (
        f"{_DOCUMENTS}::test_reprocess_reads_what_another_setting_changes_and_no_more"
    ),
    "batch-assets documents retry": (
        f"{_DOCUMENTS}::test_retry_reads_failed_documents_again_and_no_others"
    ),
    "batch-assets documents search": (f"{_DOCUMENTS}::test_search_marks_words_and_names_the_place"),
    "batch-assets spreadsheets check": f"{_SPREADSHEETS}::test_check_names_what_would_be_rejected",
    "batch-assets spreadsheets infer": (
        f"{_SPREADSHEETS}::test_proposed_template_accepts_the_file_it_came_from"
    ),
    "batch-assets spreadsheets load": (
        f"{_SPREADSHEETS}::test_load_writes_the_table_and_the_ledger"
    ),
    "batch-assets tables check": "defs/tables/test_assets.py::test_command_line_checks_and_runs",
    "batch-assets tables run": "defs/tables/test_assets.py::test_command_line_checks_and_runs",
    "python -m benchmarks devices": (
        "benchmarks/test_devices.py::test_the_command_writes_flat_figures"
    ),
    "python -m benchmarks documents": (
        "benchmarks/test_documents.py::test_the_command_writes_every_figure_that_is_asked_for"
    ),
    "python -m benchmarks market": (
        "benchmarks/test_market.py::test_the_command_writes_flat_figures_of_every_way"
    ),
    "python -m benchmarks rerun": "benchmarks/test_load.py::test_reruns_alone_name_their_figures",
    "python -m benchmarks spreadsheets": (
        "benchmarks/test_spreadsheets.py::test_the_command_writes_flat_figures"
    ),
    "python -m batch_assets_tests.docs.write_reference": (
        "docs/test_reference.py::test_the_reference_is_what_the_program_says"
    ),
}

# Nobody but a person runs these whole: why.
BY_HAND = {
    "dagster instance info": "Dagster's own; `dagster instance migrate` reads the same instance",
    "python -m benchmarks all": "all of the others, for most of an hour",
    "python -m benchmarks api": "minutes under load; docs/performance.md has what it printed",
    "python -m benchmarks dagster": "minutes; docs/performance.md has what it printed",
    "python -m benchmarks hosts": "minutes, as root; scenarios/test_crash_hosts.py has its story",
    "python -m benchmarks load": "minutes; benchmarks/test_load.py tests how it compares",
    "python -m benchmarks startup": "24 interpreters; benchmarks/test_startup.py tests one",
    "python -m benchmarks tables": "minutes; docs/performance.md has what it printed",
    "python -m batch_assets_tests.ops.web.take_screenshots": "makes pictures for people to look at",
    "python -m batch_assets_tests.scenarios.thousand_days": "minutes; the page has its figures",
    "python -m batch_assets_tests.scenarios.soak": "endless; test_crash_matrix.py is its sample",
}
