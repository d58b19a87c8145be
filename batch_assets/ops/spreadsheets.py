"""Spreadsheets for operators: which template, check a file, load files by hand."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from batch_assets.errors import ConfigurationError
from batch_assets.ops.service import ready_database_url
from batch_assets.postgres.connect import connect
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.settings import error_folder
from batch_assets.sources.spreadsheets.template import (
    SpreadsheetTemplate,
    build_templates,
    read_template,
)

if TYPE_CHECKING:
    from batch_assets.ingest.spreadsheets.check import CheckReport
    from batch_assets.ingest.spreadsheets.load import FileReport


def choose_template(settings: Settings, wanted: str, file: Path) -> SpreadsheetTemplate:
    """A template by name, from a TOML file, or the one whose pattern the file's name fits.

    Args:
        settings: Whose `[spreadsheets]` section is searched.
        wanted: Name or path; empty to go by the file's name.
        file: What is to be read.

    Raises:
        ConfigurationError: There is no such template, or several fit.
    """
    if wanted.endswith(".toml"):
        return read_template(Path(wanted))
    templates = build_templates(settings.section("spreadsheets"), settings.config_dir)
    if wanted:
        if wanted in templates:
            return templates[wanted]
        raise ConfigurationError(
            f"there is no template {wanted!r}, expected one of {', '.join(templates) or '(none)'}; "
            f"add [spreadsheets.templates.{wanted}] to {settings.config_file.name}, or give a "
            ".toml file"
        )
    fitting = [template for template in templates.values() if template.matches(file.name)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(template.name for template in fitting)
    raise ConfigurationError(
        f"{file.name} fits {names or 'no template'}, expected exactly one; name it with "
        "--template, or propose one with `batch-assets spreadsheets infer`"
    )


def check(settings: Settings, template: SpreadsheetTemplate, file: Path) -> "CheckReport":
    """Validate a file in a worker process, without a database."""
    from batch_assets.execution.isolation import open_workers
    from batch_assets.ingest.spreadsheets.check import check_workbook_file
    from batch_assets.ingest.spreadsheets.load import PRELOAD

    with open_workers(settings, preload=PRELOAD) as workers:
        return check_workbook_file(template, file, workers=workers)


def load(
    settings: Settings,
    template: SpreadsheetTemplate,
    files: Sequence[Path],
    day: date,
    *,
    force: bool,
) -> "Iterator[FileReport]":
    """Load files as those of an arrival day."""
    from batch_assets.execution.isolation import open_workers
    from batch_assets.ingest.spreadsheets.load import PRELOAD, load_workbook_files, options_of

    url = ready_database_url()
    with open_workers(settings, preload=PRELOAD) as workers:
        yield from load_workbook_files(
            lambda: connect(url, application_name="batch-assets"),
            template,
            files,
            day,
            workers=workers,
            options=options_of(template, settings.loading, force=force),
            error_folder=error_folder(settings),
        )
