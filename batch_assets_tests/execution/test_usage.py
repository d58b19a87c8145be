"""What a container uses, told by control groups of both versions, or by the machine."""

from pathlib import Path

from batch_assets.execution.usage import Usage, read_usage

MIB = 1024**2
CPU = "usage_usec 2500000\nuser_usec 2000000\n"
MEMINFO = f"MemTotal: {2048 * 1024} kB\nMemAvailable: {1536 * 1024} kB\n"


def container(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def shown(usage: Usage) -> tuple[object, ...]:
    return (
        usage.cpu_seconds,
        usage.memory_bytes // MIB,
        usage.memory_limit_bytes // MIB,
        usage.read_bytes,
        usage.written_bytes,
    )


def test_version_2_of_control_groups(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/pods/ours"
    root = container(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pods/ours\n",
            # Those of the whole machine, which are not ours.
            "sys/fs/cgroup/cpu.stat": "usage_usec 99000000\n",
            f"{group}/cpu.stat": CPU,
            f"{group}/memory.max": str(512 * MIB),
            f"{group}/memory.current": str(400 * MIB),
            f"{group}/memory.stat": f"anon 1\ninactive_file {100 * MIB}\n",
            f"{group}/io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
        },
    )

    assert shown(read_usage(root)) == (2.5, 300, 512, 11, 22)
    assert read_usage(root).memory_ratio == 300 / 512


def test_version_1_of_control_groups(tmp_path: Path) -> None:
    mount = "sys/fs/cgroup"
    io = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 1\n8:16 Write 2\nTotal 33\n"
    root = container(
        tmp_path,
        {
            "proc/self/cgroup": "9:cpuacct,cpu:/\n7:blkio:/\n6:memory:/\n",
            f"{mount}/cpuacct/cpuacct.usage": "2500000000\n",
            f"{mount}/memory/memory.limit_in_bytes": str(512 * MIB),
            f"{mount}/memory/memory.usage_in_bytes": str(400 * MIB),
            f"{mount}/memory/memory.stat": f"total_inactive_file {100 * MIB}\n",
            f"{mount}/blkio/blkio.throttle.io_service_bytes": io,
        },
    )

    assert shown(read_usage(root)) == (2.5, 300, 512, 11, 22)


def test_machine_without_control_groups(tmp_path: Path) -> None:
    assert shown(read_usage(container(tmp_path, {}))) == (None, 512, 2048, None, None)
