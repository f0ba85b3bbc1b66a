"""Names of files and folders that are no text, or lead nowhere: they work, or are refused in one line."""

import json
import os
import sys
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.artifact import store
from recvec.cli.main import main
from recvec.data.files import load_file
from recvec.data.synthetic import sample_tables
from recvec.errors import ArtifactError, ReadError

LATIN = os.fsdecode(b"caf\xe9")  # as an old archive may have unpacked it


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, and a folder in it whose name is not UTF-8."""
    ratings = sample_tables(n_users=20, n_items=15, mean_history=6)[0]
    try:
        (tmp_path / LATIN).mkdir()
    except OSError as error:
        pytest.skip(f"no such name can be given here: {error.strerror}")
    ratings.write_csv(tmp_path / "ratings.csv")
    ratings.write_parquet(tmp_path / "ratings.parquet")
    data = rv.read(ratings)
    rv.save(rv.Recommender(rv.Popularity().fit(data), data), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recvec", *words])
        try:
            main()
        except SystemExit as left:
            return (int(left.code or 0), *capsys.readouterr())
        return (0, *capsys.readouterr())

    return command


def test_text_and_results_may_be_called_anything(run: object, place: Path) -> None:
    (place / "ratings.csv").rename(place / LATIN / f"{LATIN}.csv")
    assert run("evaluate", f"{LATIN}/{LATIN}.csv", "--method", "popularity", "--json", f"{LATIN}/r.json")[::2] == (0, "")
    assert json.loads((place / LATIN / "r.json").read_text())["method"] == "popularity"
    assert run("recommend", "model", "--all", "--out", f"{LATIN}.csv")[::2] == (0, "")
    assert pl.read_csv((place / f"{LATIN}.csv").read_bytes()).columns[0] == "user_id"


def test_what_others_must_open_is_refused_by_its_name(run: object, place: Path) -> None:
    (place / "ratings.parquet").rename(place / f"{LATIN}.parquet")
    with pytest.raises(
        ReadError, match=r"^the path caf\udce9\.parquet is not UTF-8; allowed for a Parquet file: a path in UTF-8; rename it$"
    ):
        load_file(Path(f"{LATIN}.parquet"), None)
    (place / "model").rename(place / f"{LATIN}-model")
    for call in (lambda: rv.load(f"{LATIN}-model"), lambda: store.check_free(f"{LATIN}/new")):
        with pytest.raises(ArtifactError, match=r"is not UTF-8; allowed: a path in UTF-8; rename it, or give another folder$"):
            call()
    (place / f"{LATIN}-model").rename(place / "model")
    code, out, err = run("recommend", "model", "--all", "--out", f"{LATIN}/l.csv")
    assert (code, out) == (1, "")
    assert err.startswith("recvec: caf\\udce9/l.csv cannot be written: the path of its folder is not UTF-8; rename the folder")
    assert list((place / LATIN).iterdir()) == []


@pytest.mark.parametrize(
    "words", [("recommend", "model", "--all", "--out"), ("evaluate", "ratings.csv", "--method", "popularity", "--json")]
)
def test_a_link_to_itself_is_no_place_for_a_result(run: object, place: Path, words: tuple[str, ...]) -> None:
    (place / "loop.csv").symlink_to("loop.csv")
    code, out, err = run(*words, "loop.csv")
    assert (code, out) == (1, "")
    assert err.startswith("recvec: loop.csv is a link that leads to itself; allowed: a file; remove the link or give another file")
    assert (place / "loop.csv").is_symlink()


def test_a_link_to_a_folder_that_is_not_there_is_refused_before_the_work(run: object, place: Path) -> None:
    (place / "link.json").symlink_to("none/at/all.json")
    code, out, err = run("fit", "ratings.csv", "--method", "popularity", "--out", "new", "--json", "link.json")
    assert (code, out) == (1, "")
    assert err.startswith(f"recvec: link.json cannot be written: {place}/none/at is not a folder that can be written to; give another file")
    assert not (place / "new").exists()


def test_figures_that_are_not_defined_are_null_in_a_saved_model(run: object, place: Path) -> None:
    assert run("evaluate", "ratings.csv", "--method", "popularity", "--protocol", "new-users", "--save", "kept")[0] == 0
    page = json.loads((place / "kept" / "manifest.json").read_text(), parse_constant=pytest.fail)
    assert page["metrics"]["popularity_lift@10"] is None
    assert rv.load("kept").users.ids.len() == 20
