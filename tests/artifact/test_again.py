"""What is saved, loaded and saved again is the same artifact."""

import json
import stat
from pathlib import Path

import numpy as np

import recvec as rv


def test_a_second_save_equals_the_first(sample: rv.Dataset, tmp_path: Path) -> None:
    rows = sample.interactions
    twice = sample.with_interactions(rows.take(np.r_[: len(rows), :50]))  # repeated pairs are merged on the way
    rv.save(rv.Recommender(rv.ALS(embedding_dim=4, epochs=2).fit(twice), twice), tmp_path / "one")
    rv.save(rv.load(tmp_path / "one"), tmp_path / "two")
    pages = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two")]
    assert pages[0] == pages[1]
    assert pages[0]["data"] == twice.fingerprint


def test_other_accounts_may_read_it(sample: rv.Dataset, tmp_path: Path) -> None:
    rv.save(rv.Recommender(rv.Popularity().fit(sample), sample), tmp_path / "model")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "model").rglob("*") if p.is_file()}
    assert set(modes.values()) == {0o644}, modes
