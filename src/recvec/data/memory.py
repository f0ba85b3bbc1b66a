"""How much memory is left, and the refusal of what cannot fit, before it is allocated."""

from pathlib import Path

from recvec.errors import ResourceError


def available_memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes this process may still take: free memory and the container's limit; None where neither is told."""
    limits = [free for free in (_free_memory(root / "proc/meminfo"), _cgroup_memory(root / "sys/fs/cgroup")) if free is not None]
    return min(limits, default=None)


def _free_memory(meminfo: Path) -> int | None:
    """Read what the kernel could give without swapping (Linux)."""
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _cgroup_memory(root: Path) -> int | None:
    """Read limit less use of cgroup v2, else v1; files in the page cache are no use, they give way."""
    versions = (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    )
    for limit, use, statistics, cached in versions:
        try:
            fields = dict(line.split() for line in (root / statistics).read_text().splitlines())
            return max(0, int((root / limit).read_text()) - int((root / use).read_text()) + int(fields[cached]))
        except (OSError, ValueError, KeyError):  # "max" (v2) means: no limit; v1 has a number beyond any machine
            continue
    return None


def refuse_unless_fits(what: str, needed: float, remedy: str) -> None:
    """Refuse what needs more bytes than are free.

    Raises
    ------
    ResourceError
        Says how much it takes, how much there is, and what to do.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise ResourceError(f"{what} would take about {needed / 1e6:,.0f} MB; allowed: {free / 1e6:,.0f} MB, which is free; {remedy}")
