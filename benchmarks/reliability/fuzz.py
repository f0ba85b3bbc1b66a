"""Mutated inputs through the command line: no traceback, no partial output, ever.

::

    python benchmarks/reliability/fuzz.py --n 2000 --json benchmarks/reliability/results/fuzz.json
    python benchmarks/reliability/fuzz.py --only 137 --seed 0      # one input again, with everything it printed

Each input is a call that makes sense (`calls.py`) in a small folder of its own (`workspace.py`), in which up to three
things then go wrong (`mutations.py`): bytes of files, tables, saved models, words. `oracle.py` states what is promised for
any input, and judges. An input is made by the seed and its number alone. Most run inside a worker, every twentieth in a
process of its own as from a shell; a worker that dies or does not answer is a fault of the input, and is replaced.
"""

import argparse
import json
import os
import queue
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import oracle
from calls import Application, Draft
from mutations import mishaps, mutate
from workspace import build

import recvec as rv
from recvec.cli.output import environment
from recvec.contract import available_cores

APART = 20  # every so many inputs one runs in a process of its own
TIMEOUT = 20.0  # seconds for an input
PATIENCE = 60.0  # seconds for a worker to begin, and to copy folders and judge
SHOWN = 2000  # characters of a text in a result
Result = dict[str, Any]


def main() -> None:
    """Run inputs, print what they did, and fail where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000, help="number of inputs (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all inputs")
    parser.add_argument("--only", type=int, help="run this input alone, show everything, and keep its folder")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds for an input")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve, given.seed, given.timeout)
        return
    if given.only is not None:
        show(given.only, given.seed, given.timeout)
        return
    started = time.perf_counter()
    results = list(run(range(given.n), given.seed, given.workers, given.timeout))
    report = summary(results, seed=given.seed, seconds=time.perf_counter() - started, workers=given.workers)
    print(json.dumps({k: v for k, v in report.items() if k != "mishaps"}, indent=1))
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(1 if report["failures"] else 0)


# ---------------------------------------------------------------- one input


class Bench:
    """A folder with the template of all inputs, and the application under test."""

    def __init__(self, folder: Path, seed: int, timeout: float) -> None:
        self.template, self.folder = folder / "template", folder
        self.seed, self.timeout = seed, timeout
        self.application = Application()
        self.known = mishaps(self.application)

    def make(self, number: int) -> Draft:
        """Make an input in a folder of its own."""
        place = self.folder / f"input-{number}"
        shutil.copytree(self.template, place, symlinks=True)
        draft = self.application.draft(np.random.default_rng([self.seed, number]), place)
        mutate(draft, self.known)
        return draft

    def judge(self, draft: Draft, *, apart: bool) -> tuple[oracle.Outcome, list[str]]:
        """Run an input in its folder; return what it did, and every promise that it broke."""
        home, words = Path.cwd(), draft.argv
        os.chdir(draft.place)
        try:
            outputs = self.application.outputs(words)
            before = oracle.snapshot(draft.place)
            streams = self.folder / f"out-{os.getpid()}", self.folder / f"err-{os.getpid()}"
            outcome = oracle.run_apart(words, self.timeout) if apart else oracle.run_here(words, *streams)
            return outcome, oracle.faults(outcome, before, draft.place, outputs, bare=not words)
        finally:
            os.chdir(home)


def described(number: int, draft: Draft) -> Result:
    """Return what an input is, as far as it can be told in words."""
    words = [w if len(w) <= SHOWN else f"{w[:SHOWN]}... ({len(w):,} characters)" for w in draft.argv]
    apart = number % APART == APART - 1
    return {"number": number, "command": draft.command, "words": words, "mutations": draft.mutations, "apart": apart}


def done(outcome: oracle.Outcome, found: list[str], *, everything: bool) -> Result:
    """Return what became of an input."""
    shown = {"out": outcome.out[-SHOWN:], "err": outcome.err[-SHOWN:]} if everything or found else {}
    return {"code": outcome.code, "seconds": round(outcome.seconds, 3), "faults": found, **shown}


def show(number: int, seed: int, timeout: float) -> None:
    """Run one input and show everything; its folder stays."""
    folder = Path(tempfile.mkdtemp(prefix="recvec-fuzz-"))
    (folder / "template").mkdir()
    build(folder / "template")
    bench = Bench(folder, seed, timeout)
    draft = bench.make(number)
    about = described(number, draft)
    print(json.dumps(about, indent=1), flush=True)
    print(json.dumps(done(*bench.judge(draft, apart=about["apart"]), everything=True), indent=1))
    print(f"the folder is {draft.place}")


# ---------------------------------------------------------------- many inputs


def serve(folder: Path, seed: int, timeout: float) -> None:
    """Answer numbers on standard input by two lines on standard output: what the input is, and what became of it."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench = Bench(folder, seed, timeout)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        draft = bench.make(int(line))
        about = described(int(line), draft)
        print(json.dumps(about), file=replies, flush=True)
        print(json.dumps(done(*bench.judge(draft, apart=about["apart"]), everything=False)), file=replies, flush=True)
        shutil.rmtree(draft.place, ignore_errors=True)


class Worker:
    """A process that runs inputs; of no more use when it has died or does not answer."""

    def __init__(self, folder: Path, seed: int, timeout: float) -> None:
        self.timeout = timeout
        self.log = folder / f"log-{threading.get_ident()}"
        words = [sys.executable, __file__, "--serve", str(folder), "--seed", str(seed), "--timeout", str(timeout)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0)
        if not self._answer(PATIENCE):
            raise RuntimeError(f"a worker did not begin: {self.log.read_text()[-SHOWN:]}")

    def ask(self, number: int) -> Result:
        """Return what an input is and what became of it, or of the worker."""
        self.process.stdin.write(f"{number}\n".encode())
        about, result = self._answer(PATIENCE), self._answer(self.timeout + PATIENCE)
        known = json.loads(about) if about else {"number": number, "command": "?", "words": [], "mutations": [], "apart": False}
        if result:
            return known | json.loads(result)
        self.process.kill()
        code = self.process.wait()
        said = self.log.read_text(errors="replace")[-SHOWN:]
        return known | {"code": code, "seconds": 0.0, "faults": [f"no end within the time, or the process died with code {code}: {said}"]}

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self, seconds: float) -> bytes:
        """Return the next line, nothing where none comes in time or the process has ended."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            return self.process.stdout.readline() if waiting.select(seconds) else b""


def run(numbers: Iterable[int], seed: int, n_workers: int, timeout: float = TIMEOUT) -> list[Result]:
    """Run inputs on several workers; return their results in the order of their numbers."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="recvec-fuzz-") as name:
        folder = Path(name)
        (folder / "template").mkdir()
        build(folder / "template")
        threads = [threading.Thread(target=_keep_asking, args=(folder, seed, timeout, todo, results)) for _ in range(n_workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sorted(results, key=lambda r: r["number"])


def _keep_asking(folder: Path, seed: int, timeout: float, todo: queue.SimpleQueue[int], results: list[Result]) -> None:
    worker = Worker(folder, seed, timeout)
    try:
        while True:
            number = todo.get_nowait()
            if not worker.alive:
                worker = Worker(folder, seed, timeout)
            results.append(worker.ask(number))
    except queue.Empty:
        return
    finally:
        worker.close()


def summary(results: list[Result], *, seed: int, seconds: float, workers: int) -> dict[str, Any]:
    """Return counts by command, by mishap and by exit code, and every failure."""
    commands, known = sorted({r["command"] for r in results}), sorted({m for r in results for m in r["mutations"]})
    return {
        "inputs": len(results),
        "handled": sum(not r["faults"] for r in results),
        "seed": seed,
        "seconds": round(seconds, 1),
        "workers": workers,
        "in_a_process_of_their_own": sum(r["apart"] for r in results),
        "slowest_seconds": max(r["seconds"] for r in results),
        "exit_codes": _codes(results),
        "mutations_each": dict(sorted(Counter(str(len(r["mutations"])) for r in results).items())),
        "commands": {c: _codes([r for r in results if r["command"] == c]) for c in commands},
        "mishaps": {m: _codes([r for r in results if m in r["mutations"]]) for m in known},
        "version": rv.__version__,
        "environment": environment(),
        "failures": [r for r in results if r["faults"]],
    }


def _codes(results: list[Result]) -> dict[str, int]:
    return dict(sorted(Counter(str(r["code"]) for r in results).items()))


if __name__ == "__main__":
    main()
