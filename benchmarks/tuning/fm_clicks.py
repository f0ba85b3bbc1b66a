"""Settings of machines for the clicks of Frappe, by the loss on its validation part; its test part is never read.

::

    python benchmarks/tuning/fm_clicks.py fm --set learning_rate=0.01 --set reg=1e-5

Each run adds one line to the log, benchmarks/tuning/fm_clicks.json. Training negatives: those of seed 0, which avoid the
training positives alone. Data: the folder that RECVEC_DATA names.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from recvec.contract import Threads
from recvec.kernels.auc import auc
from recvec.kernels.fm_gradient import learn, mean_loss, score

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "accuracy"))
from fm_clicks_data import frappe_part, frappe_train, groups  # noqa: E402

KINDS = {"fm": {}, "fwfm": {"field_weights": True}, "fm3": {"order": 3}}
WHOLE = ("rank", "batch_size", "n_epochs", "patience")


def main() -> None:
    """Learn once for each value of the last setting, and log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--set", action="append", default=[], help="name=value, several values divided by commas: all combinations")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    train, valid, out = frappe_train(0, as_published=False), frappe_part("validation"), HERE / "fm_clicks.json"
    grid = [{}]
    for pair in given.set:
        name, values = pair.split("=", 1)
        grid = [{**point, name: (int if name in WHOLE else float)(value)} for point in grid for value in values.split(",")]
    for point in grid:
        settings = {"rank": 10, "batch_size": 4096, "n_epochs": 100, "patience": 3, **point}
        machine = learn(
            *train, groups(), **KINDS[given.kind], **settings, rng=np.random.default_rng(0), executor=Threads(given.threads), valid=valid
        )
        scores = score(valid.rows, machine, Threads(given.threads))
        loss, area = mean_loss(scores, valid.labels, logistic=True), float(auc(valid.labels, scores))
        row = {"kind": given.kind, **settings, "epochs": len(machine.curve), "logloss": round(loss, 5), "auc": round(area, 5)}
        log = json.loads(out.read_text()) if out.exists() else []
        out.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in [*log, row]) + "\n]\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
