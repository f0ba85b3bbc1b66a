"""One epoch of alternating least squares, against implicit, irspack and LensKit at equal loss.

::

    python benchmarks/speed/als.py --peer-python PEERS/bin/python

Gowalla (LightGCN split, training part) and 23.7 M synthetic interactions. Each peer minimizes its own objective
(implicit and LensKit: confidence 2, regularization .01; irspack: `als_problem.SCALED`) and both sides start from the
same factors: implicit, LensKit and irspack's trainer let them be set. implicit and irspack's CG take their default of
three steps, irspack's iALS++ blocks of 64 coordinates, LensKit solves exactly; ours takes what `solver="auto"` of `als`
takes. After each epoch both are judged by the peer's objective, in float64: ours may be at most 1.001 times theirs, or
the benchmark fails. iALS++ is behind the exact solution in the first two epochs and ahead of it in the third, so that there
ours takes one epoch more: then whole runs are compared, and the last losses. The sides take turns; a run's time is the median
over its epochs, and only ratios mean something. Compilation, reading and judging are left out: ours warms up on a few rows, the
peers are compiled. Data: the folder that RECVEC_DATA names.
"""

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from als_problem import CONFIDENCE_TWO, SCALED, Factors, Objective, hand_over, loss, peer_factors, run_ours, start_factors
from harness import PEERS, RESULTS, add_peer_options, machine, ratio, run_peer, times, write_result
from scipy import sparse

from data import gowalla, synthetic
from recvec.contract.runtime import available_cores

ALLOWED = 1.001  # our loss over the peer's, after each epoch


@dataclass(frozen=True)
class Peer:
    """A peer: its script, its solver where it has several, its widths, its epochs by data set, and what ours takes for its loss.

    That is steps of conjugate gradient, and epochs more than the peer's.
    """

    script: str
    widths: tuple[int, ...]
    epochs: dict[str, int]
    solver: str = ""
    cg_steps: int = 2
    more: int = 0

    def objective(self, data: str) -> Objective:
        """Return what it minimizes."""
        return SCALED[data] if self.solver else CONFIDENCE_TWO

    def run(self, python: str, folder: Path, data: str, threads: int, *, keep: bool) -> Any:
        """Run it in its own environment."""
        wanted = self.objective(data)
        weights = (wanted.unobserved, wanted.reg, self.solver) if self.solver else (wanted.linear, wanted.reg)
        args = (folder, self.epochs[data], threads, *weights, int(keep))
        return run_peer(python, PEERS / self.script, args, threads=threads)


PEERS_BY_NAME = {
    "implicit": Peer("implicit_als.py", (64, 128), {"gowalla": 15, "synthetic": 5}),
    "irspack-cg": Peer("irspack_als.py", (64, 128, 256), {"gowalla": 10, "synthetic": 3}, solver="CG", cg_steps=3),
    "irspack-ials++": Peer("irspack_als.py", (64, 128, 256), {"gowalla": 10, "synthetic": 3}, solver="IALSPP", cg_steps=3, more=1),
    "lenskit": Peer("lenskit_als.py", (64, 128), {"gowalla": 10}),
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_peer_options(parser)
    parser.add_argument("--data", choices=("gowalla", "synthetic"), action="append", help="data set (default: both)")
    parser.add_argument("--peer", choices=PEERS_BY_NAME, action="append", help="peer (default: all)")
    parser.add_argument("--dim", type=int, action="append", help="width (default: all of the peer)")
    parser.add_argument("--out", type=Path, default=RESULTS / "als.json")
    given = parser.parse_args()
    threads = given.threads or available_cores()

    result: dict[str, Any] = {"machine": machine(), "threads": threads}
    for data in given.data or ("gowalla", "synthetic"):
        train = gowalla()[0] if data == "gowalla" else synthetic()
        result[data] = {"shape": list(train.shape), "interactions": int(train.nnz)}
        for name in given.peer or PEERS_BY_NAME:
            peer = PEERS_BY_NAME[name]
            for d in (d for d in peer.widths if data in peer.epochs and d in (given.dim or peer.widths)):
                found = _compare(train, data, d, name, given.peer_python, threads, given.repetitions)
                setting = {
                    "objective": str(peer.objective(data)),
                    "epochs": peer.epochs[data],
                    "cg_steps": peer.cg_steps,
                    "epochs_of_ours": peer.epochs[data] + peer.more,
                }
                result[data].setdefault(name, setting)[f"d{d}"] = found
                print(data, name, d, found.get("ratio"), found["loss"].get("largest_ratio"), flush=True)
                write_result(given.out, result)


def _compare(train: sparse.csr_matrix, data: str, d: int, name: str, python: str | None, threads: int, repetitions: int) -> dict[str, Any]:
    """Run both sides in turn; the losses come from the first pair of runs, which keeps the factors of each epoch."""
    peer = PEERS_BY_NAME[name]
    objective, epochs, summary = peer.objective(data), peer.epochs[data], sum if peer.more else statistics.median
    ours: list[float] = []
    theirs: list[float] = []
    answer: dict[str, Any] = {}
    start = start_factors(train.shape, d)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        hand_over(folder, train, start)
        for repetition in range(repetitions):
            kept: list[Factors] | None = [] if repetition == 0 else None
            taken = run_ours(train, start, objective, epochs + peer.more, threads=threads, kept=kept, cg_steps=peer.cg_steps)
            ours.append(summary(taken))
            if python:
                told = peer.run(python, folder, data, threads, keep=repetition == 0)
                theirs.append(summary(told["seconds"]))
                answer["peer_versions"] = told["versions"]
            if kept:
                answer["loss"] = _losses(train, kept, objective, name, peer_factors(folder, epochs) if python else [])
    answer["ours"] = times(ours)
    if python:
        answer |= {name: times(theirs), "ratio": ratio(ours, theirs)}
    return answer


def _losses(train: sparse.csr_matrix, ours: list[Factors], objective: Objective, name: str, theirs: list[Factors]) -> dict[str, Any]:
    """Return the losses after each epoch; fails where ours is not as good as the peer's."""
    losses: dict[str, Any] = {"ours": [loss(train, *factors, objective) for factors in ours]}
    if theirs:
        losses[name] = [loss(train, *factors, objective) for factors in theirs]
        compared = losses["ours"], losses[name]
        if PEERS_BY_NAME[name].more:
            compared = losses["ours"][-1:], losses[name][-1:]
        worst = max(a / b for a, b in zip(*compared, strict=True))
        losses["largest_ratio"] = round(worst, 6)
        if worst > ALLOWED:
            raise SystemExit(f"the losses are not equal: ours is {worst:.5f} times the peer's ({losses})")
    return losses


if __name__ == "__main__":
    main()
