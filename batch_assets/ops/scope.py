"""What a token of the HTTP API allows; imports nothing, so that the command line stays quick."""

from enum import StrEnum


class Scope(StrEnum):
    """What a token allows; each includes those before it."""

    READ = "read"
    LAUNCH = "launch"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Whether whoever has this scope may do what the other one allows."""
        order = list(Scope)
        return order.index(self) >= order.index(other)
