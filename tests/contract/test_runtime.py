"""Threads, cores and hyper-parameters."""

import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import recvec as rv
from recvec.contract import Runtime, Threads, available_cores
from recvec.contract.hyperparameters import parse
from recvec.contract.runtime import _cgroup_cores
from recvec.data.memory import available_memory
from recvec.errors import HyperparameterError, ValueRangeError


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_keep_the_order_of_the_blocks(threads: int) -> None:
    assert Threads(threads).map(lambda b: b * b, range(50)) == [b * b for b in range(50)]


def test_blas_has_one_thread_inside_and_its_own_number_after() -> None:
    def blas() -> set[int]:
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    before = blas()
    assert Threads(2).map(lambda _: blas(), range(4)) == [{1}] * 4
    assert blas() == before


def test_no_more_threads_than_asked_for() -> None:
    meeting = threading.Barrier(2, timeout=5)
    names = Threads(2).map(lambda _: (meeting.wait(), threading.get_ident())[1], range(2))
    assert len(set(names)) == 2
    assert set(Threads(1).map(lambda _: threading.get_ident(), range(4))) == {threading.get_ident()}


def test_an_error_stops_the_blocks_that_have_not_begun() -> None:
    begun: list[int] = []

    def fail(block: int) -> None:
        begun.append(block)
        raise KeyError(block)

    with pytest.raises(KeyError):
        Threads(2).map(fail, range(1000))
    assert len(begun) < 1000
    assert Threads(2).map(lambda b: b, [1, 2]) == [1, 2]  # the lock is free again


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_container_quota(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _cgroup_cores(tmp_path) == cores
    assert available_cores() >= 1


FREE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:   2000 kB\nHugePages_Total: 0\n"}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        (FREE, 2_048_000),
        ({"proc/meminfo": "MemTotal: 9000 kB\n"}, None),
        ({}, None),
        (FREE | {"memory.max": "max", "memory.current": "5", "memory.stat": "inactive_file 1"}, 2_048_000),
        (FREE | {"memory.max": "1000000", "memory.current": "400000", "memory.stat": "anon 9\ninactive_file 100000"}, 700_000),
        (FREE | {"memory.max": "10", "memory.current": "400000", "memory.stat": "inactive_file 5"}, 0),
        (FREE | {"memory.max": "1000000", "memory.current": "400000"}, 2_048_000),
        (
            FREE
            | {"memory/memory.limit_in_bytes": "600", "memory/memory.usage_in_bytes": "500", "memory/memory.stat": "total_inactive_file 7"},
            107,
        ),
        (
            FREE
            | {
                "memory/memory.limit_in_bytes": f"{1 << 63}",
                "memory/memory.usage_in_bytes": "5",
                "memory/memory.stat": "total_inactive_file 7",
            },
            2_048_000,
        ),
    ],
)
def test_free_memory(tmp_path: Path, files: dict[str, str], free: int | None) -> None:
    for name, text in files.items():
        path = tmp_path / (name if name.startswith("proc") else f"sys/fs/cgroup/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_memory(tmp_path) == free


def test_bad_runtime() -> None:
    with pytest.raises(ValueRangeError, match="threads is 0; allowed: 1 or more"):
        Runtime(threads=0)
    with pytest.raises(ValueRangeError, match="device is 'tpu'; allowed: cpu, cuda, mps"):
        Runtime(device="tpu")


def test_settings_are_typed_by_the_default() -> None:
    typed = parse(rv.ALS, {"embedding_dim": "8", "reg": "1e-2", "solver": "cholesky"})
    assert typed == {"embedding_dim": 8, "reg": 0.01, "solver": "cholesky"}
    assert rv.ALS(reg=1).reg == 1.0
    assert isinstance(rv.ALS(reg=1).reg, float)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"embedding_dim": 1.5}, "als: embedding_dim is 1.5; allowed: a whole number, 1 to 2048"),
        ({"embedding_dim": True}, "als: embedding_dim is True; allowed"),
        ({"reg": float("nan")}, "als: reg is nan; allowed: a number, 0 to 1e\\+06"),
        ({"reg": float("inf")}, "als: reg is inf; allowed"),
        ({"reg": -1.0}, "als: reg is -1.0; allowed: a number, 0 to 1e\\+06"),
        ({"solver": "gauss"}, "als: solver is 'gauss'; allowed: auto, cg, cholesky, ials\\+\\+"),
        ({"epochs": np.float64(3)}, "als: epochs is"),
    ],
)
def test_wrong_values_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(HyperparameterError, match=message):
        rv.ALS(**given)
