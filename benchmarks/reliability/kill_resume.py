"""Kill a fit for good at random moments, resume it until it ends, and compare every byte with a fit that was left alone.

A synthetic power-law table of about a million rows; `recvec fit --method als --checkpoint DIR --resume`, or ``neumf``, in a process of
its own. Each of the runs is killed (kill -9) at least once, at a moment drawn evenly from the time that the whole command
takes, start of the program and saving included; each start after that is killed again with probability one half. A
run counts as equal if the saved folder has the same files with the same bytes as that of an uninterrupted fit without
checkpoints, and nothing is left beside it but what a kill in the middle of saving leaves, a hidden folder. A run whose
model was saved before the kill is compared too, but another takes its place. Usage: python
benchmarks/reliability/kill_resume.py [--method als] [--runs 20] [--seed 0]. Takes five minutes. Writes
benchmarks/reliability/results/kill_resume.json, of another method kill_resume_<method>.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

import recvec as rv
from recvec.cli.output import environment

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, tuple[str, ...]] = {
    "als": ("embedding_dim=32", "epochs=60"),
    "neumf": ("embedding_dim=8", "mlp_embedding_dim=8", "hidden=16,8", "epochs=12", "pretrain_share=0.5"),  # both phases as long
}
AGAIN = 0.5  # probability that a resumed fit is killed too


def table(seed: int = 0) -> pl.DataFrame:
    """Return about a million distinct pairs of 20,000 users and 5,000 items, by Pareto laws, in random order."""
    rng = np.random.default_rng(seed)
    users, items = (rng.choice(n, 1_300_000, p=(law := rng.pareto(1.2, n) + 1) / law.sum()) for n in (20_000, 5_000))
    return pl.DataFrame({"user_id": users, "item_id": items}).unique(maintain_order=True).head(1_000_000)


def command(place: Path, method: str, *more: str) -> "subprocess.Popen[bytes]":
    """Start a fit in a folder that holds pairs.parquet."""
    words = [str(Path(sys.executable).parent / "recvec"), "fit", "../pairs.parquet", "--method", method, "--out", "model", *more]
    words += [word for setting in SETTINGS[method] for word in ("--set", setting)]
    return subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def killed_run(place: Path, method: str, seconds: float, rng: np.random.Generator) -> dict[str, object]:
    """Kill and resume until the fit has ended; return when it was killed and where it went on."""
    kills: list[dict[str, object]] = []
    while True:
        process = command(place, method, "--checkpoint", "ck", "--resume")
        if not kills or rng.random() < AGAIN:
            moment = float(rng.uniform(0, seconds))
            try:
                out, err = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kept = sorted(p.name.rpartition("-")[0] for p in (place / "ck").glob("epoch-*"))
                kills.append({"after_s": round(moment, 3), "kept": kept})
                if (place / "model").exists():  # saved a moment before
                    return {"kills": kills, "last_start": None}
                continue
        else:
            out, err = process.communicate()
        if process.returncode:
            raise RuntimeError(err.decode())
        return {"kills": kills, "last_start": out.decode().splitlines()[0]}


def main() -> None:
    """Run, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=tuple(SETTINGS), default="als")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        table().write_parquet(root / "pairs.parquet")
        whole = root / "whole"
        whole.mkdir()
        for _ in range(2):  # the first run compiles the kernels
            shutil.rmtree(whole / "model", ignore_errors=True)
            started = time.perf_counter()
            out, err = command(whole, given.method).communicate()
            seconds = time.perf_counter() - started
        print(out.decode(), err.decode(), f"{seconds:.2f} s", flush=True)
        expected = contents(whole / "model")
        while sum(row["last_start"] is not None for row in rows) < given.runs:
            place = root / "run"
            place.mkdir()
            row = killed_run(place, given.method, seconds, rng)
            unfinished = sorted(p.name for p in place.glob(".recvec-*"))
            left = {p.name for p in place.iterdir()} - set(unfinished) - ({"ck"} if row["last_start"] is None else set())
            row["equal"] = contents(place / "model") == expected and left == {"model"}
            row["unfinished_beside"] = len(unfinished)
            rows.append(row)
            print(json.dumps(row), flush=True)
            shutil.rmtree(place)
    result = {
        "version": rv.__version__,
        "environment": environment(),
        "command": f"recvec fit pairs.parquet --method {given.method} --checkpoint ck --resume "
        + " ".join(f"--set {s}" for s in SETTINGS[given.method]),
        "uninterrupted_s": round(seconds, 2),
        "runs": len(rows),
        "resumed": sum(row["last_start"] is not None for row in rows),
        "kills": sum(len(row["kills"]) for row in rows),
        "equal": sum(row["equal"] for row in rows),
        "rows": rows,
    }
    name = "kill_resume" if given.method == "als" else f"kill_resume_{given.method}"
    out_file = ROOT / f"benchmarks/reliability/results/{name}.json"
    out_file.parent.mkdir(exist_ok=True)
    out_file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['equal']} of {result['runs']} equal, {result['resumed']} of them resumed, after {result['kills']} kills")


if __name__ == "__main__":
    main()
