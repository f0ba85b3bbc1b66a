"""What every speed benchmark shares: the machine in words, a peer in its own environment, results on disk.

A peer (another library) runs in a virtual environment of its own, so that its dependencies never meet ours:
a small script under ``peers/`` takes its input from files, measures by itself, and prints one line of JSON.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from recvec.contract.runtime import available_cores

RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parent / "peers"

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def machine() -> dict[str, Any]:
    """Return what the times depend on: processor, cores, versions; no host name and no path."""
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "scipy", "numba", "threadpoolctl")},
        "blas": sorted({f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')}".strip() for lib in blas}),
    }


def _cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name, family and model of the first processor; families matter where a cloud hides the name."""
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    first = cpuinfo.read_text().split("\n\n")[0]
    fields = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def run_peer(python: str | Path, script: str | Path, args: Sequence[object], *, threads: int | None = None) -> Any:
    """Run a peer's script in its own environment and return what its last line says.

    Parameters
    ----------
    python : path
        The interpreter of the peer's virtual environment.
    script : path
        The script, usually ``PEERS / "<benchmark>.py"``.
    args : sequence
        Command-line arguments; each is turned into text.
    threads : int, optional
        Set as ``OMP_NUM_THREADS``, ``OPENBLAS_NUM_THREADS`` and ``MKL_NUM_THREADS``; by default these
        variables are passed on as they are. ``OPENBLAS_CORETYPE`` is set to what our own OpenBLAS found.

    Returns
    -------
    object
        The parsed JSON of the last line of standard output.

    Raises
    ------
    RuntimeError
        Where the script fails or its last line is not JSON; the message ends with what it wrote to standard error.
    """
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)  # our own packages must not leak into the peer's environment
    if threads is not None:
        environment.update({name: str(threads) for name in _THREAD_VARIABLES})
    environment.setdefault("OPENBLAS_CORETYPE", _openblas_kernels())
    command = [str(python), str(script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        try:
            return json.loads(lines[-1])
        except json.JSONDecodeError:
            pass
    raise RuntimeError(f"{Path(script).name} ended with code {done.returncode} and no JSON line: {done.stderr[-2000:]}")


def _openblas_kernels() -> str:
    """Name the kernels that our OpenBLAS has chosen: an older one in a peer's wheel may take a new processor for one of 2004."""
    return next((str(lib.get("architecture", "")) for lib in threadpool_info() if lib["internal_api"] == "openblas"), "")


def times(seconds: Sequence[float]) -> dict[str, float | list[float]]:
    """Return the median and the spread of repeated measurements, in seconds."""
    return {
        "median_s": round(statistics.median(seconds), 5),
        "min_s": round(min(seconds), 5),
        "max_s": round(max(seconds), 5),
        "runs_s": [round(s, 5) for s in seconds],
    }


def ratio(ours: Sequence[float], peer: Sequence[float]) -> dict[str, float]:
    """Return our time over the peer's: of the medians, and the extremes over the interleaved pairs (below 1: we are faster)."""
    pairs = [a / b for a, b in zip(ours, peer, strict=True)]
    return {
        "of_medians": round(statistics.median(ours) / statistics.median(peer), 4),
        "min": round(min(pairs), 4),
        "max": round(max(pairs), 4),
    }


def write_result(path: str | Path, result: dict[str, Any]) -> None:
    """Write one result as indented JSON, ending with a newline; the folder is made where it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--peer-python``, ``--threads`` and ``--repetitions``, which every comparison takes."""
    parser.add_argument("--peer-python", help="interpreter of the peer's environment; without it the peer is left out")
    parser.add_argument("--threads", type=int, default=None, help="threads for both sides (default: all usable cores)")
    parser.add_argument("--repetitions", type=int, default=5, help="interleaved runs of each side (default: 5)")
