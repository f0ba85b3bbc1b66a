"""``recvec fit --method als`` from Parquet by the command line, from 1 to 100 million rows: time and peak memory.

::

    python benchmarks/speed/scale.py --folder TABLES [--millions 1 --millions 100] [--epochs 4]
    python benchmarks/speed/scale.py --folder TABLES --millions 100 --text --out text.json

The tables are those of ``synthetic_parquet.py``; users and items are scaled along, 10,000 and 2,000 for each million
rows, so that the largest has 1 M users and 200 k items. They are made in the folder where they are not there yet. The
peak is what the operating system counted as the largest resident size of the process, saving included. An epoch's time
is the median over those after the first. Results of other sizes in the same file are kept.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import RESULTS, machine, write_result
from synthetic_parquet import INTERACTIONS_PER_USER, USERS_PER_ITEM, write

MILLIONS = (1, 3, 10, 30, 100)


def main() -> None:
    """Fit each size in a process of its own and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the tables are, or are made")
    parser.add_argument("--millions", type=int, action="append", help=f"rows (default: {MILLIONS})")
    parser.add_argument("--text", action="store_true", help="ids as text")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--state", default="not said", help="what else ran, for the record")
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    given = parser.parse_args()
    kept = json.loads(given.out.read_text())["fits"] if given.out.exists() else []
    for millions in given.millions or MILLIONS:
        table = _table(given.folder, millions, text=given.text)
        fit = _fit(table, given.dim, given.epochs) | {"state": given.state}
        print(json.dumps(fit), flush=True)
        kept = [k for k in kept if (k["n_interactions"], k["epochs"]) != (fit["n_interactions"], fit["epochs"])] + [fit]
        kept.sort(key=lambda k: (k["n_interactions"], k["epochs"]))
        write_result(given.out, {"machine": machine(), "embedding_dim": given.dim, "text_ids": given.text, "fits": kept})


def _table(folder: Path, millions: int, *, text: bool) -> Path:
    path = folder / f"{millions}{'-text' if text else ''}.parquet"
    if not path.exists():
        n_rows = millions * 1_000_000
        n_users = n_rows // INTERACTIONS_PER_USER
        write(path, n_rows, n_users, n_users // USERS_PER_ITEM, text=text)
    return path


def _fit(table: Path, dim: int, epochs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=table.parent) as name:
        said = Path(name) / "said.json"
        command = [str(Path(sys.executable).parent / "recvec"), "fit", str(table), "--method", "als", "--out", f"{name}/model"]
        command += ["--set", f"embedding_dim={dim}", "--set", f"epochs={epochs}", "--json", str(said)]
        started = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        estimate = process.stderr.read().strip() if process.stderr else ""
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"recvec fit ended with {os.waitstatus_to_exitcode(status)}: {estimate}")
        found = json.loads(said.read_text())
    scale = 1 if sys.platform == "darwin" else 1024
    kept = {name: found[name] for name in ("n_users", "n_items", "n_interactions", "threads")}
    return kept | {
        "epochs": epochs,
        "read_seconds": round(found["read_seconds"], 2),
        "rows_read_per_second": round(found["n_interactions"] / found["read_seconds"]),
        "epoch_seconds": round(statistics.median(found["epoch_seconds"]), 4) if found["epoch_seconds"] else None,
        "fit_seconds": round(found["fit_seconds"], 2),
        "command_seconds": round(seconds, 2),
        "peak_memory_gb": round(used.ru_maxrss * scale / 1e9, 3),
        "estimate_on_stderr": estimate,
    }


if __name__ == "__main__":
    main()
