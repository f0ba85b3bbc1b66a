"""Why attributes hurt Bayesian machines for new users and with few data, and what helps: validation parts only.

::

    python benchmarks/tuning/fm_attributes.py

Parts: those of `fm_defaults`, of MovieLens-100K and latest-small, RMSE, two seeds of the fit. Settings: ``scale`` of the prior
variance of attributes (1 is the usual prior), ``settled`` or not (`recvec.models.fm_attributes`; "one row": with the ridge that
it had before), ``epochs``, ``kept``: the last 32 draws, or 32 spread over the last three quarters, and ``age`` in years: a number,
or 61 categories.
Result: ``fm_attributes.json``.
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from fm_defaults import TYPES, parts, value
from scipy import sparse as sp

from recvec.models import fm_attributes, fm_solvers

LOG = Path(__file__).with_suffix(".json")
IDS: dict[str, Any] = {"ids": True, "epochs": 100, "kept": "spread"}
BASE: dict[str, Any] = {"scale": 0.01, "settled": "rho", "epochs": 100, "kept": "spread", "pairs_within": False}
CHANGES: list[dict[str, Any]] = [
    {}, {"kept": "last"}, {"scale": 1.0, "settled": "no"}, {"scale": 1.0, "settled": "one row"}, {"scale": 1.0}, {"settled": "no"},
    {"settled": "one row"}, {"scale": 0.001}, {"pairs_within": True}, {"epochs": 300}, {"age": "category"},
]  # fmt: skip
SETTINGS = [IDS, {**IDS, "kept": "last"}, {**IDS, "epochs": 300}, *({**BASE, **change} for change in CHANGES)]


def one_row(x: sp.csr_array, groups: Any, totals: Any) -> Any:
    """Return what `fm_attributes.explained` does, with the ridge of one row."""
    found = np.linalg.solve((x.T @ x).toarray() + np.eye(x.shape[1]), x.T @ (totals - totals.mean(axis=0)))
    return found, totals - x @ found


def measured(setting: dict[str, Any], split: Any, seed: int) -> float:
    """Return the RMSE of a setting on a part."""
    with (
        patch.object(fm_attributes, "ATTRIBUTE_SCALE", setting.get("scale", 1.0)),
        patch.object(fm_attributes, "MOST", 0 if setting.get("settled") == "no" else 2000),
        patch.object(fm_attributes, "explained", one_row if setting.get("settled") == "one row" else fm_attributes.explained),
        patch.object(fm_solvers, "LEFT_OUT", 1.0 if setting["kept"] == "last" else 0.25),
    ):
        given = {"use_attributes": "ids" not in setting, "pairs_within": setting.get("pairs_within", False)}
        return value("rating", {**given, "epochs": setting["epochs"]}, split, seed)


def main() -> None:
    """Measure and write."""
    lines: list[dict[str, Any]] = json.loads(LOG.read_text()) if LOG.exists() else []
    for name in ("movielens-100k", "movielens-latest-small-2016"):
        for setting in SETTINGS:
            if "age" in setting and name != "movielens-100k":
                continue
            with patch.dict(TYPES, {"age": setting.get("age", "number")}):
                cuts = parts(name)
            for part, split in cuts.items():
                line = {"data": name, "part": part, "setting": setting}
                if any({k: ln[k] for k in line} == line for ln in lines):
                    continue
                values = [round(measured(setting, split, seed), 5) for seed in (0, 1)]
                lines.append({**line, "values": values})
                LOG.write_text(json.dumps(lines, indent=1) + "\n")
            shown = {ln["part"]: round(float(np.mean(ln["values"])), 4) for ln in lines if (ln["data"], ln["setting"]) == (name, setting)}
            print(name, setting, shown, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
