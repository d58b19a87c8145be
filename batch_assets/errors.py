"""The exception tree; every class says whether trying again can help.

    BatchAssetsError
    ├── ConfigurationError            a setting is missing or wrong               (fatal)
    ├── InfrastructureError           the world around us failed                  (retryable)
    │   ├── DatabaseUnavailable       no connection, server restarting, deadlock
    │   ├── EmbeddedServerError       the private PostgreSQL did not start or stop
    │   ├── SourceUnavailable         a folder or vendor does not answer
    │   │   └── SourceRateLimited     a vendor wants us to wait, and may say how long
    │   ├── DestinationUnavailable    who is to be told of records does not answer
    │   ├── InboxFull                 too much waits to be written; says when to come again
    │   ├── WebserverUnavailable      Dagster's webserver does not answer
    │   └── WorkersUnavailable        isolated processes cannot be started, or were stopped
    ├── LeaseError
    │   ├── LeaseHeld                 somebody else is writing this window        (retryable)
    │   ├── LeaseLost                 our token is no longer the current one      (fatal)
    │   └── ShardMapChanged           what we hold was split by an older map      (retryable)
    ├── DataError                     the input is wrong; a retry gives the same  (fatal)
    │   ├── UnreadableSource          a file cannot be opened or decoded
    │   │   └── DocumentRefused       a document has no text to give, and why; in sources/documents
    │   ├── TextsRefused              an embedding model does not take a text; in sources/documents
    │   ├── IsolatedTaskFailed        a function that ran in a process of its own did not return
    │   │   ├── TaskTimedOut          it was not done in time
    │   │   ├── TaskOutOfMemory       it wanted more memory than it was given
    │   │   └── TaskCrashed           its process died, twice
    │   ├── UnknownSymbol             a vendor does not know a symbol it was asked for
    │   ├── RejectLimitExceeded       more rows rejected than the feed allows
    │   ├── WindowRuleBroken          too many rows of the window break one rule
    │   ├── RowsRefused               a constraint of the table refused the rows
    │   └── StaleAnswer               rows that were corrected have been answered or have moved on
    ├── ContractError                 code, contract and table disagree           (fatal)
    │   ├── SchemaMismatch            Arrow and PostgreSQL types differ
    │   ├── LedgerImbalance           rows read are not the rows accounted for
    │   └── MigrationError            the database is not what the files say
    ├── SourceRefused                 a vendor wants no request of ours at all    (fatal)
    ├── RunRefused                    Dagster did not accept what was asked for   (fatal)
    ├── RequestRefused                what a person asked for cannot be done      (fatal)
    │   ├── UnknownBackfill           there is none of that number
    │   ├── BackfillOverlaps          another one loads some of the same partitions
    │   ├── BackfillEnded             it is over; nothing about it can be changed
    │   └── PlanOutdated              the world is no longer what the plan says
    └── SourceChanged                 the input changed while it was being read   (retryable)

Messages have three parts: what was observed, what was expected, what to do next.
"""


class BatchAssetsError(Exception):
    """Base of everything this package raises on purpose."""

    retryable = False


class ConfigurationError(BatchAssetsError):
    """A setting is missing or wrong."""


class InfrastructureError(BatchAssetsError):
    """Something outside the data failed; never spends the error budget."""

    retryable = True


class DatabaseUnavailable(InfrastructureError):
    """PostgreSQL cannot be reached, is restarting, or ended our transaction."""

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class EmbeddedServerError(InfrastructureError):
    """The private PostgreSQL server did not start, answer or stop."""


class SourceUnavailable(InfrastructureError):
    """A folder or vendor does not answer."""


class SourceRateLimited(SourceUnavailable):
    """A vendor wants us to wait."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DestinationUnavailable(InfrastructureError):
    """Who is to be told of records (Redis, a webhook) does not answer; messages wait."""


class InboxFull(InfrastructureError):
    """Too many accepted records wait to be written; nothing more was accepted."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class WebserverUnavailable(InfrastructureError):
    """Dagster's webserver does not answer, or something else answers in its place."""


class WorkersUnavailable(InfrastructureError):
    """Isolated worker processes cannot be started here, or were stopped before the task ended."""


class LeaseError(BatchAssetsError):
    """Who may write a window."""


class LeaseHeld(LeaseError):
    """Another writer holds the window."""

    retryable = True


class LeaseLost(LeaseError):
    """Another writer has taken the window over; nothing of ours was published."""


class ShardMapChanged(LeaseError):
    """Devices moved to other shards meanwhile; rows split by the old map were not published."""

    retryable = True


class DataError(BatchAssetsError):
    """The input is wrong; trying again gives the same answer."""


class UnreadableSource(DataError):
    """A file cannot be opened, decompressed or decoded."""


class IsolatedTaskFailed(DataError):
    """A function that ran in a process of its own raised, or could not be called."""


class TaskTimedOut(IsolatedTaskFailed):
    """An isolated function was not done in time; its process was ended."""


class TaskOutOfMemory(IsolatedTaskFailed):
    """An isolated function wanted more memory than it was given."""


class TaskCrashed(IsolatedTaskFailed):
    """The process of an isolated function died, and died again in a fresh one."""


class UnknownSymbol(DataError):
    """A vendor does not know a symbol it was asked for."""


class RejectLimitExceeded(DataError):
    """More rows were rejected than the feed allows."""


class WindowRuleBroken(DataError):
    """Too many rows of one window break a rule that judges the window."""


class RowsRefused(DataError):
    """A constraint of the target table refused the rows; the contract should have rules for it."""


class StaleAnswer(DataError):
    """Corrections of rows that are answered already, or that newer data has moved past."""


class ContractError(BatchAssetsError):
    """Code, contract and table disagree; a person has to change one of them."""


class SchemaMismatch(ContractError):
    """Arrow and PostgreSQL types do not agree exactly."""


class LedgerImbalance(ContractError):
    """The rows read are not the rows accounted for; the transaction is rolled back."""


class MigrationError(ContractError):
    """The database is not what the migration files say."""


class SourceRefused(BatchAssetsError):
    """A vendor refuses us: wrong token, no permission, black-listed; asking again can harm."""


class RunRefused(BatchAssetsError):
    """Dagster does not know the asset, partition or backfill, or did not accept the request."""


class RequestRefused(BatchAssetsError):
    """What a person asked for cannot be done, and nothing was."""


class UnknownBackfill(RequestRefused):
    """There is no backfill of that number."""


class BackfillOverlaps(RequestRefused):
    """Another backfill, not yet ended, loads some of the same partitions."""

    def __init__(self, message: str, *, backfill_id: int) -> None:
        super().__init__(message)
        self.backfill_id = backfill_id


class BackfillEnded(RequestRefused):
    """The backfill is over; it can be retried, but no longer changed."""


class PlanOutdated(RequestRefused):
    """A plan would be applied to a world that is no longer what it was made for."""


class SourceChanged(BatchAssetsError):
    """The input changed between the moment it was recognised and the moment it was read."""

    retryable = True
