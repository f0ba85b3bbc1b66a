"""A sample of mutated inputs through the command line: no traceback, no partial output, ever.

The whole run is ``python benchmarks/reliability/fuzz.py``; a failure here is shown again by its ``--only N --seed 1``.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RELIABILITY = Path(__file__).resolve().parents[1] / "benchmarks" / "reliability"
N_INPUTS = 60


def test_a_sample_of_mutated_inputs_keeps_every_promise(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = [sys.executable, str(RELIABILITY / "fuzz.py"), "--n", str(N_INPUTS), "--seed", "1", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(out.read_text())
    assert report["failures"] == [], report["failures"]
    assert (done.returncode, report["inputs"], report["handled"]) == (0, N_INPUTS, N_INPUTS)
    assert {"0", "1"} <= report["exit_codes"].keys()  # some go through, some are refused


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(RELIABILITY))
    return importlib.import_module("oracle")


@pytest.mark.parametrize(
    ("code", "out", "err"),
    [
        (1, "", "Traceback (most recent call last):\nValueError: x\n"),
        (1, "", "two\nlines\n"),
        (1, "", ""),
        (3, "", "recvec: something\n"),
        (1, "user_id\titem_id\n", "recvec: too late\n"),
    ],
)
def test_a_broken_promise_is_seen(oracle: Any, tmp_path: Path, code: int, out: str, err: str) -> None:
    before = oracle.snapshot(tmp_path)
    assert oracle.faults(oracle.Outcome(code=code, out=out, err=err, seconds=0.1), before, tmp_path, [], bare=False)
    kept = oracle.Outcome(code=1, out="", err="recvec: ratings.csv is empty; give a table\n", seconds=0.1)
    assert not oracle.faults(kept, before, tmp_path, [], bare=False)
    (tmp_path / "half").write_text("half")
    assert oracle.faults(kept, before, tmp_path, [], bare=False)
