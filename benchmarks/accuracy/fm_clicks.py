"""Predicted clicks by factorization machines: Frappe with its context, and a sample of Criteo.

::

    python benchmarks/accuracy/fm_clicks.py frappe
    python benchmarks/accuracy/fm_clicks.py criteo

``frappe``: pairs (FM), pairs with weights by field (FwFM), triples; settings by ``benchmarks/tuning/fm_clicks.py`` on the
validation part, which stops learning as well. Three seeds draw first factors, batches and training negatives (`fm_clicks_data`
says how), once by each of two rules: ``training positives`` avoids what the user is known to use by the training part,
``all positives`` is the published rule, which tells training what validation and test hold. The test part is read once, at the end.

``criteo``: `FMClassifier`, 10 times 5 folds over all rows, against scikit-learn's logistic regression on the same features. The
regularization of both, `reg` and C, is chosen by three folds within the training part of each fold. The
difference of the means of AUC stands beside its standard error over folds, corrected for training parts that overlap (Nadeau,
Bengio, "Inference for the generalization error", Machine Learning 2003).

Results: ``results/fm_clicks_<data>.json``.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from fm_clicks_data import criteo, frappe_part, frappe_train, groups  # of this folder
from run import commit  # of this folder
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold

from recvec.cli.output import environment
from recvec.contract import Threads
from recvec.kernels.auc import auc
from recvec.kernels.fm_gradient import learn, mean_loss, score
from recvec.sklearn import FMClassifier
from recvec.sklearn.frames import FrameCoder

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)
COMMON = {"batch_size": 4096, "n_epochs": 100, "patience": 3}
MACHINES: dict[str, dict[str, Any]] = {
    "fm": {"rank": 31, "learning_rate": 0.02, "reg": 1e-5},
    "fm, rank 10": {"rank": 10, "learning_rate": 0.01, "reg": 1e-5},
    "fwfm": {"rank": 31, "learning_rate": 0.01, "reg": 3e-5, "field_weights": True},
    "fwfm, rank 10": {"rank": 10, "learning_rate": 0.01, "reg": 3e-5, "field_weights": True},
    "third order": {"rank": 31, "learning_rate": 0.01, "reg": 1e-5, "order": 3},
}
RULES = {"training positives": False, "all positives": True}
BARS = {"fm": {"auc": 0.967, "logloss": 0.21}, "fwfm": {"auc": 0.975, "logloss": 0.21}}
ANCHORS = {
    "FM": [0.9671, 0.2065],
    "FwFM": [0.9776, 0.2030],
    "DeepFM": [0.9842, 0.1482],
    "note": "BARS benchmark, AUC and logloss, its own split",
}
CLASSIFIER: dict[str, Any] = {"learning_rate": 0.001, "reg_linear": 25}
REGS = [300, 1000, 3000]


def frappe(threads: int) -> dict[str, Any]:
    """Learn with each machine, rule and seed."""
    executor, valid, test, found = Threads(threads), frappe_part("validation"), frappe_part("test"), {}
    for rule, published in RULES.items():
        for name, settings in MACHINES.items():
            runs = []
            for seed in SEEDS:
                train, started = frappe_train(seed, as_published=published), time.perf_counter()
                rng = np.random.default_rng(seed)
                machine = learn(*train, groups(), **COMMON, **settings, rng=rng, executor=executor, valid=valid)
                seconds, scores = time.perf_counter() - started, score(test.rows, machine, executor)
                loss, chances = mean_loss(scores, test.labels, logistic=True), 1 / (1 + np.exp(-scores.astype(np.float64)))
                row = {"seed": seed, "auc": auc(test.labels, scores), "logloss": loss, "mean_probability": float(chances.mean())}
                runs.append({**row, "epochs": len(machine.curve), "fit_seconds": seconds})
            means = {key: float(np.mean([run[key] for run in runs])) for key in ("auc", "logloss", "mean_probability", "fit_seconds")}
            found[f"{name} | negatives avoid {rule}"] = {"settings": {**COMMON, **settings}, "means": means, "runs": runs}
            print(name, "|", rule, {key: round(value, 4) for key, value in means.items()}, flush=True)
    return {"share_of_clicks_in_test": float(test.labels.mean()), "machines": found, "bars": BARS, "anchors": ANCHORS}


def criteo_folds(threads: int) -> dict[str, Any]:
    """Learn in each fold with both."""
    table, labels = criteo()
    areas: dict[str, list[float]] = {"machine": [], "logistic regression": []}
    losses: dict[str, list[float]] = {name: [] for name in areas}
    chosen: list[float] = []
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=10, random_state=0)
    for number, (train, test) in enumerate(folds.split(np.zeros(len(labels)), labels)):
        coder = FrameCoder.fit(table[train], types=None, numbers="standardized", hash_bits=None)
        linear = LogisticRegressionCV(
            Cs=(0.01, 0.03, 0.1, 0.3),
            cv=3,
            scoring="roc_auc",
            solver="liblinear",
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
            intercept_scaling=10,
        )
        linear.fit(_narrow(coder.encode(table[train])), labels[train])
        machine = GridSearchCV(FMClassifier(**CLASSIFIER, n_jobs=threads, random_state=number), {"reg": REGS}, cv=3, scoring="roc_auc")
        machine.fit(table[train], labels[train])
        chosen.append(machine.best_params_["reg"])
        chances = {
            "machine": machine.predict_proba(table[test])[:, 1],
            "logistic regression": linear.predict_proba(_narrow(coder.encode(table[test])))[:, 1],
        }
        for name, p in chances.items():
            areas[name].append(auc(labels[test], p))
            clipped = np.clip(p, 1e-7, 1 - 1e-7)
            losses[name].append(float(-np.mean(np.log(np.where(labels[test] == 1, clipped, 1 - clipped)))))
        print(number, {name: round(values[-1], 4) for name, values in areas.items()}, flush=True)
    apart = np.subtract(areas["machine"], areas["logistic regression"])
    error = float(np.sqrt((1 / len(apart) + 1 / 4) * apart.var(ddof=1)))
    return {
        "classifier": CLASSIFIER,
        "reg_of_each_fold": chosen,
        "mean_auc": {name: float(np.mean(values)) for name, values in areas.items()},
        "mean_logloss": {name: float(np.mean(values)) for name, values in losses.items()},
        "difference_of_auc": {
            "mean": float(apart.mean()),
            "standard_error": error,
            "folds_above_0": int((apart > 0).sum()),
            "folds": len(apart),
        },
        "auc_of_each_fold": areas,
    }


def _narrow(rows: sp.csr_array) -> sp.csr_array:
    """Return rows with 32-bit indices, which liblinear wants."""
    return sp.csr_array((rows.data, rows.indices.astype(np.int32), rows.indptr.astype(np.int32)), shape=rows.shape)


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("frappe", "criteo"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--state", default="not stated", help="what else the machine did, for the record")
    given = parser.parse_args()
    result = (frappe if given.data == "frappe" else criteo_folds)(given.threads)
    tail = {"machine_state": given.state, "threads": given.threads, "environment": environment(), "commit": commit()}
    (HERE / "results" / f"fm_clicks_{given.data}.json").write_text(json.dumps({"data": given.data, **result, **tail}, indent=1) + "\n")


if __name__ == "__main__":
    main()
