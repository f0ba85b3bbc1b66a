"""Peak memory and time of ``recvec fit`` on the 23.7 million pair set, from Parquet, in a process of its own.

Usage: python benchmarks/speed/memory.py [--dim 64] [--epochs 6]. The table is made in a temporary folder and removed.
The peak is the largest resident size that the operating system counted for the command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
from harness import machine, write_result

from data import synthetic

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write the table, fit it by the command line, keep what the command said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table, out, said = (Path(folder) / name for name in ("pairs.parquet", "model", "said.json"))
        pairs = synthetic().tocoo()
        pl.DataFrame({"user_id": pairs.coords[0], "item_id": pairs.coords[1]}).write_parquet(table)
        command = [
            str(Path(sys.executable).parent / "recvec"),
            "fit",
            str(table),
            "--method",
            "als",
            "--out",
            str(out),
            "--json",
            str(said),
        ]
        command += ["--set", f"embedding_dim={args.dim}", "--set", f"epochs={args.epochs}"]
        subprocess.run(command, check=True)
        found = json.loads(said.read_text())
    kept = {name: found[name] for name in ("n_users", "n_items", "n_interactions", "fit_seconds", "peak_memory_mb", "hyperparameters")}
    write_result(ROOT / "benchmarks/speed/results/memory.json", {"machine": machine(), **kept})


if __name__ == "__main__":
    main()
