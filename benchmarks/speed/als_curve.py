"""Loss against wall time of alternating least squares on Gowalla: every solver of ours, implicit, irspack and LensKit.

::

    python benchmarks/speed/als_curve.py --peer-python PEERS/bin/python

64, 128 and 256 columns; the objectives, starts and settings are those of ``als.py``. One run each, the sides one after
the other; reading, compiling and judging are left out. Writes ``results/als_curve.json``, and draws
``results/als_curve.svg`` by matplotlib, which the peers' environment has. Data: the folder that RECVEC_DATA names.
"""

import argparse
import itertools
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from als import PEERS_BY_NAME
from als_problem import CONFIDENCE_TWO, SCALED, Factors, Objective, hand_over, loss, peer_factors, run_ours, start_factors
from harness import PEERS, RESULTS, machine, write_result
from scipy import sparse

from data import gowalla
from recvec.contract.runtime import available_cores

WIDTHS = (64, 128, 256)
SOLVERS = ("cg", "cholesky", "ials++")
EPOCHS = 6
CG_STEPS = {0: 2, 1: 3}  # by the exponent of the objective, as in als.py
PANELS: dict[str, tuple[Objective, tuple[str, ...]]] = {
    "objective of irspack": (SCALED["gowalla"], ("irspack-cg", "irspack-ials++")),
    "objective of implicit and LensKit": (CONFIDENCE_TWO, ("implicit", "lenskit")),
}


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", required=True, help="interpreter of the peers' environment")
    parser.add_argument("--out", type=Path, default=RESULTS / "als_curve.json")
    given = parser.parse_args()
    train, threads = gowalla()[0], available_cores()
    panels = []
    for (title, (objective, peers)), d in itertools.product(PANELS.items(), WIDTHS):
        curves = {f"recvec {solver}": _ours(train, d, objective, solver, threads) for solver in SOLVERS}
        curves |= {name: _theirs(train, d, name, given.peer_python, threads) for name in peers if d in PEERS_BY_NAME[name].widths}
        panels.append({"title": f"{title}, d {d}", "objective": str(objective), "d": d, "curves": curves})
        print(title, d, {name: (round(c["seconds"][-1], 2), c["loss"][-1]) for name, c in curves.items()}, flush=True)
    write_result(given.out, {"machine": machine(), "threads": threads, "panels": panels})
    draw = [given.peer_python, str(PEERS / "draw_curves.py"), str(given.out), str(given.out.with_suffix(".svg"))]
    subprocess.run(draw, check=True)


def _ours(train: sparse.csr_matrix, d: int, objective: Objective, solver: str, threads: int) -> dict[str, Any]:
    kept: list[Factors] = []
    options = {"solver": solver, "cg_steps": CG_STEPS[objective.exponent], "block_size": 64}
    start = start_factors(train.shape, d)
    seconds = run_ours(train, start, objective, EPOCHS, threads=threads, kept=kept, **options)
    return _curve(train, seconds, kept, objective)


def _theirs(train: sparse.csr_matrix, d: int, name: str, python: str, threads: int) -> dict[str, Any]:
    peer = replace(PEERS_BY_NAME[name], epochs={"gowalla": EPOCHS})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        hand_over(folder, train, start_factors(train.shape, d))
        told = peer.run(python, folder, "gowalla", threads, keep=True)
        return _curve(train, told["seconds"], peer_factors(folder, EPOCHS), peer.objective("gowalla"))


def _curve(train: sparse.csr_matrix, seconds: list[float], kept: list[Factors], objective: Objective) -> dict[str, Any]:
    """Return the seconds since the start, and the loss, after each epoch."""
    passed = [round(s, 4) for s in itertools.accumulate(seconds)]
    return {"seconds": passed, "loss": [float(f"{loss(train, *factors, objective):.7g}") for factors in kept]}


if __name__ == "__main__":
    main()
