"""Where and with what a fit runs. It is recorded, but it is not part of the recipe and changes no result."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import scipy.linalg  # noqa: F401  its BLAS must be loaded before the controller looks for libraries
from threadpoolctl import ThreadpoolController

from recvec.errors import ValueRangeError
from recvec.types import Block, Executor, Result


@cache
def available_cores() -> int:
    """Return how many cores this process may use: CPU affinity and the container's quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _cgroup_cores() or cores))


def _cgroup_cores(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Read the CPU quota of cgroup v2, else v1, rounded up to whole cores; None without a quota."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (quota.isdigit() and period.isdigit() and int(period) > 0):
        return None  # "max" (v2) and "-1" (v1) mean: no quota
    return max(1, -(-int(quota) // int(period)))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class Threads:
    """Executor over threads of this process.

    Kernels release the interpreter lock, and BLAS is held to one thread while blocks run: twice as many
    threads as cores is what makes other libraries ten times slower. One map at a time per process.

    Parameters
    ----------
    n : int, optional
        Number of threads; by default all cores that this process may use.
    """

    _one_map_at_a_time = threading.RLock()

    def __init__(self, n: int | None = None) -> None:
        if n is not None and n < 1:
            raise ValueRangeError(f"threads is {n}; allowed: 1 or more")
        self.n = n

    def __repr__(self) -> str:
        return f"Threads({self.n or available_cores()})"

    def map(self, fn: Callable[[Block], Result], blocks: Iterable[Block]) -> list[Result]:
        """Return ``[fn(b) for b in blocks]``; blocks begin in their order. An error or Ctrl-C stops those that have not begun.

        The calling thread works too, beside threads that live as long as the map: that takes a tenth of a millisecond.
        """
        left = deque(enumerate(blocks))
        results: list[Result] = [None] * len(left)  # type: ignore[list-item]
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while (taken := _first(left)) is not None:
                    results[taken[0]] = fn(taken[1])
            except BaseException as failure:  # noqa: BLE001  raised again by the calling thread
                failures.append(failure)
                left.clear()

        others = [threading.Thread(target=work, daemon=True) for _ in range(min(self.n or available_cores(), len(left)) - 1)]
        with self._one_map_at_a_time, _blas().limit(limits=1, user_api="blas"):
            try:
                for thread in others:
                    thread.start()
                work()
            finally:
                left.clear()  # nothing, unless starting or waiting was interrupted
                for thread in others:
                    if thread.ident is not None:
                        thread.join()
        if failures:
            raise failures[0]
        return results


def _first(left: deque[tuple[int, Block]]) -> tuple[int, Block] | None:
    """Take the first of what is left, which several threads do at the same time; None where there is nothing."""
    try:
        return left.popleft()
    except IndexError:
        return None


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where a fit runs.

    Parameters
    ----------
    threads : int, optional
        Number of threads; by default all cores that this process may use.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``; only methods that use torch look at it.
    memory_limit : int, optional
        Bytes that a fit may take; by default what is free when it begins, see `available_memory`. A larger estimate is
        refused before anything is allocated.
    executor : Executor, optional
        What runs the blocks of the kernels; by default `Threads` with `threads`.
    """

    threads: int | None = None
    device: str = "cpu"
    memory_limit: int | None = None
    executor: Executor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda", "mps"):
            raise ValueRangeError(f"device is '{self.device}'; allowed: cpu, cuda, mps")
        if self.executor is None:
            object.__setattr__(self, "executor", Threads(self.threads))
