"""What a command writes lies apart from what it reads, and from what else it writes."""

import os
import sys
from pathlib import Path

import pytest

import recvec as rv
from recvec.cli.main import main
from recvec.data.synthetic import sample_tables


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ratings.csv, a link to it, users.csv and a model."""
    ratings, users, _ = sample_tables(n_users=20, n_items=15, mean_history=6)
    ratings.write_csv(tmp_path / "ratings.csv")
    users.write_csv(tmp_path / "users.csv")
    (tmp_path / "link.csv").symlink_to("ratings.csv")
    data = rv.read(ratings)
    rv.save(rv.Recommender(rv.Popularity().fit(data), data), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit ratings.csv --method popularity --out new --json new", "--out and --json are both new; give each a place of its own"),
        ("fit ratings.csv --method popularity --out new --json ./model/../new", "--out and --json are both model/../new; "),
        ("evaluate ratings.csv --method popularity --json ./ratings.csv", "--json is ratings.csv, which is read and would be written over; give"),
        ("evaluate link.csv --method popularity --json ratings.csv", "--json is ratings.csv, which is read and would be written over"),
        ("evaluate ratings.csv --method popularity --users users.csv --json users.csv", "--json is users.csv, which is read and would be"),
        ("evaluate ratings.csv --method popularity --save new --json new", "--json and --save are both new; give each a place of its own"),
        ("recommend model --all --out model/lists.parquet", "--out is model/lists.parquet, inside of a saved model that is read; give a place"),
        ("similar model --item i1 --out model/rungs/popular/x.csv", "--out is model/rungs/popular/x.csv, inside of a saved model that is read"),
        ("fit ratings.csv --method popularity --out /", "/ exists; nothing was written; give a new folder or remove it"),
    ],
)  # fmt: skip
def test_places_that_meet_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str, message: str
) -> None:
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    monkeypatch.setattr(sys, "argv", ["recvec", *words.split()])
    with pytest.raises(SystemExit, match="1"):
        main()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"recvec: {message}")
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        f"fit ratings.csv --method popularity --out new --json {os.devnull}",
        "recommend model --all --out model.csv",
        "evaluate ratings.csv --method popularity --json model.json --save models",
    ],
)
def test_places_that_only_look_alike_are_fine(place: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["recvec", *words.split()])
    main()
    assert rv.load(place / "model").users.ids.len() == 20
