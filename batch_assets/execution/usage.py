"""What the container uses now: processor, memory and disk, from its control groups.

Limits are in capacity.py. A machine without control groups is measured as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_assets.execution.capacity import group_folders, read_capacity, read_text


@dataclass(frozen=True, slots=True)
class Usage:
    """Use since the container began, and now.

    Attributes:
        cpus: Cores that may be used.
        cpu_seconds: Processor time spent; None where nothing counts it.
        memory_bytes: In use, without file pages that the kernel would give up first.
        memory_limit_bytes: That may be used.
        read_bytes: From disks; None where nothing counts it.
        written_bytes: To disks, likewise.
    """

    cpus: float
    cpu_seconds: float | None
    memory_bytes: int
    memory_limit_bytes: int
    read_bytes: int | None
    written_bytes: int | None

    @property
    def memory_ratio(self) -> float:
        """0 to 1, of what may be used."""
        return self.memory_bytes / self.memory_limit_bytes


def read_usage(root: Path = Path("/")) -> Usage:
    """Read the use of this container.

    Args:
        root: Where /proc and /sys are found.
    """
    capacity = read_capacity(root)
    read, written = _disk_bytes(root)
    return Usage(
        capacity.cpus,
        _cpu_seconds(root),
        _memory_bytes(root),
        capacity.memory_bytes,
        read,
        written,
    )


def _own_folders(root: Path, controller: str) -> Iterator[Path]:
    """Our own group before those above it: the mount itself is the outermost one known."""
    folders = list(group_folders(root, controller))
    yield from folders[1:]
    yield from folders[:1]


def _first(root: Path, controller: str, name: str) -> str | None:
    for folder in _own_folders(root, controller):
        text = read_text(folder / name)
        if text:
            return text
    return None


def _numbers(text: str | None) -> dict[str, int]:
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _cpu_seconds(root: Path) -> float | None:
    spent = _numbers(_first(root, "", "cpu.stat")).get("usage_usec")
    if spent is not None:
        return spent / 1e6
    for controller in ("cpuacct", "cpu,cpuacct"):
        text = _first(root, controller, "cpuacct.usage")
        if text and text.isdigit():
            return int(text) / 1e9
    return None


def _memory_bytes(root: Path) -> int:
    for controller, name, inactive in (
        ("", "memory.current", "inactive_file"),
        ("memory", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _own_folders(root, controller):
            text = read_text(folder / name)
            if text and text.isdigit():
                spare = _numbers(read_text(folder / "memory.stat")).get(inactive, 0)
                return max(0, int(text) - spare)
    lines = (line.split() for line in (read_text(root / "proc/meminfo") or "").splitlines())
    parts = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
    return parts.get("MemTotal", 0) - parts.get("MemAvailable", parts.get("MemTotal", 0))


def _disk_bytes(root: Path) -> tuple[int | None, int | None]:
    text = _first(root, "", "io.stat")
    if text is not None:
        pairs = [word.partition("=") for line in text.splitlines() for word in line.split()[1:]]
        return (
            sum(int(value) for name, _, value in pairs if name == "rbytes"),
            sum(int(value) for name, _, value in pairs if name == "wbytes"),
        )
    text = _first(root, "blkio", "blkio.throttle.io_service_bytes")
    if text is None:
        return None, None
    words = [line.split() for line in text.splitlines()]
    return (
        sum(int(word[2]) for word in words if len(word) == 3 and word[1] == "Read"),
        sum(int(word[2]) for word in words if len(word) == 3 and word[1] == "Write"),
    )
