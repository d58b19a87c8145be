"""The row ledger: what became of every row that was read (promise P1)."""

from dataclasses import dataclass, fields

from batch_assets.errors import LedgerImbalance


@dataclass(frozen=True, slots=True)
class Ledger:
    """Rows of one window by outcome.

    `read` is counted by the reader alone; inserted, updated, unchanged and deleted are the
    server's row counts; duplicate and rejected rows were kept out before COPY.
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    rejected: int = 0
    skipped: int = 0
    deleted: int = 0

    @property
    def accounted(self) -> int:
        """Rows with a known outcome; equals `read` in a sound ledger."""
        return (
            self.inserted
            + self.updated
            + self.unchanged
            + self.duplicate
            + self.rejected
            + self.skipped
        )

    @property
    def balances(self) -> bool:
        """Whether every row read is accounted for."""
        return self.read == self.accounted

    def check(self, resource: str) -> None:
        """Refuse an unbalanced ledger.

        Raises:
            LedgerImbalance: Rows are missing or counted twice; nothing may be committed.
        """
        if not self.balances:
            raise LedgerImbalance(
                f"{resource}: {self.read} rows were read but {self.accounted} are accounted for "
                f"({self}); nothing was published; report this with the input file"
            )

    def __add__(self, other: "Ledger") -> "Ledger":
        return Ledger(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )
