"""What a failed command tells: exit status, the chain of causes, the next command."""

from collections.abc import Iterator, Sequence

from batch_assets.errors import (
    BackfillEnded,
    BackfillOverlaps,
    BatchAssetsError,
    ConfigurationError,
    DatabaseUnavailable,
    EmbeddedServerError,
    LeaseError,
    MigrationError,
    PlanOutdated,
    RejectLimitExceeded,
    RequestRefused,
    SourceUnavailable,
)

INTERRUPTED = 130

_EXIT_CODES: tuple[tuple[type[BatchAssetsError], int], ...] = (
    (RejectLimitExceeded, 3),
    (LeaseError, 5),
    (BackfillOverlaps, 5),
    (BackfillEnded, 1),
    (PlanOutdated, 1),
    (RequestRefused, 2),
    (SourceUnavailable, 6),
    (ConfigurationError, 7),
    (DatabaseUnavailable, 7),
    (EmbeddedServerError, 7),
)

_NEXT_COMMANDS: tuple[tuple[type[BatchAssetsError], str], ...] = (
    (MigrationError, "batch-assets db status"),
    (ConfigurationError, "batch-assets doctor"),
    (DatabaseUnavailable, "batch-assets doctor"),
    (EmbeddedServerError, "batch-assets doctor"),
)


def exit_code(error: BatchAssetsError) -> int:
    """Exit status of an error, 1 where none is set aside for it."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def explain(error: BaseException, arguments: Sequence[str]) -> Iterator[str]:
    """Lines for a person: the error, its causes one line each, its notes, the next command."""
    yield f"error: {_one_line(error)}"
    for cause in _causes(error):
        yield f"  because: {_one_line(cause)}"
    yield from getattr(error, "__notes__", [])
    yield f"next: {_next_command(error, arguments)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    while cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        yield cause
        error = cause


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    # Our own messages say what happened; of others the class is half of the message.
    return (
        text if text and isinstance(error, BatchAssetsError) else f"{type(error).__name__}: {text}"
    )


def _next_command(error: BaseException, arguments: Sequence[str]) -> str:
    for kind, command in _NEXT_COMMANDS:
        # `doctor` itself failed: it has already said everything.
        if isinstance(error, kind) and command.split()[1:] != list(arguments):
            return command
    return " ".join(["batch-assets", "-v", *(part for part in arguments if part != "-v")])
