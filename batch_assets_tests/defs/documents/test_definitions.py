import dagster as dg

from batch_assets_tests.defs.documents.landing import Landing


def test_list_of_what_one_source_gives(landing: Landing) -> None:
    landing.settings_lines["schedule"] = '"0 * * * *"'
    definitions = landing.definitions()

    assert sorted(key.to_user_string() for key in definitions.resolve_all_asset_keys()) == [
        "documents/inbox/chunks",
        "documents/inbox/documents",
    ]
    jobs = {job.name for job in definitions.resolve_all_job_defs()}
    assert {name for name in jobs if "document" in name} == {
        "document_ingest",
        "document_ingest_inbox",
    }
    schedules = {schedule.name for schedule in definitions.schedules or ()}
    assert {name for name in schedules if "document" in name} == {"document_ingest_inbox_schedule"}
    sensors = {sensor.name for sensor in definitions.sensors or ()}
    assert {name for name in sensors if "document" in name} == {"document_ingest_inbox_sensor"}
    dg.Definitions.validate_loadable(definitions)


def test_every_asset_has_group_owner_description_kind_and_checks(landing: Landing) -> None:
    definitions = landing.definitions()
    graph = definitions.resolve_asset_graph()

    for spec in definitions.resolve_all_asset_specs():
        assert spec.group_name == "documents"
        assert spec.owners
        assert spec.description
        assert "postgres" in spec.kinds
        assert graph.get_check_keys_for_assets({spec.key})
        policy = graph.get(spec.key).backfill_policy
        assert policy is not None
        assert policy.max_partitions_per_run == 30


def test_every_job_and_sensor_is_described_and_runs_carry_their_source(landing: Landing) -> None:
    definitions = landing.definitions()

    for name, tag in (("document_ingest", "all"), ("document_ingest_inbox", "inbox")):
        job = definitions.resolve_job_def(name)
        assert job.description
        assert job.tags["batch_assets/documents"] == tag
    assert definitions.resolve_sensor_def("document_ingest_inbox_sensor").description
