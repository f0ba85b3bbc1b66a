"""The main job by the command line, with the person's own files, each command in a process of its own where that is the point."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.cli.main import main
from recvec.data.synthetic import sample_tables
from recvec.models import registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings.csv, users.csv, items.csv and a fitted model."""
    place = tmp_path_factory.mktemp("own")
    for name, table in zip(("ratings", "users", "items"), sample_tables(n_users=300, n_items=200, mean_history=25), strict=True):
        table.write_csv(place / f"{name}.csv")
    done = command(place, "fit", "ratings.csv", "--items", "items.csv", "--users", "users.csv", "--method", "als", "--out", "model",
                   "--set", "embedding_dim=16", "--json", "fit.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("als: 7,")
    return place


def command(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(Path(sys.executable).parent / "recvec"), *words], cwd=place, capture_output=True, text=True, check=False)


def inside(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Run a command in this process and return what it printed."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["recvec", *words])
    main()
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def rows(text: str) -> pl.DataFrame:
    return pl.read_csv(text.encode(), separator="\t")


def test_a_new_process_still_excludes_folds_in_and_shows_titles(folder: Path) -> None:
    seen = pl.read_csv(folder / "ratings.csv").filter(pl.col("user_id") == "u42")["item_id"].to_list()
    titles = dict(pl.read_csv(folder / "items.csv").select("item_id", "title").iter_rows())
    known = command(folder, "recommend", "model", "--user", "u42", "--k", "150")
    assert known.returncode == 0, known.stderr
    lists = rows(known.stdout)
    assert lists.columns == ["user_id", "item_id", "title", "score", "rank", "route"]
    assert not set(lists["item_id"]) & set(seen)
    assert len(lists) == 150
    assert lists["title"].to_list() == [titles[i] for i in lists["item_id"]]
    words = [word for item in seen for word in ("--history", item)]
    folded = rows(command(folder, "recommend", "model", *words, "--k", "150").stdout)
    assert set(folded["route"]) == {"history"}
    assert folded["item_id"].to_list() == lists["item_id"].to_list()  # the history of a stranger equal to u42's gives u42's list
    assert folded["title"].to_list() == lists["title"].to_list()


def test_everyone_at_once_to_a_file(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for ending, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet), (".ndjson", pl.read_ndjson)):
        out = inside(folder, capsys, monkeypatch, "recommend", "model", "--all", "--k", "3", "--out", f"lists{ending}")
        assert out == f"900 rows written to lists{ending}\n"
        assert read(folder / f"lists{ending}").height == 900
    assert not list(folder.glob(".*"))


def test_similar(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    items = rows(inside(folder, capsys, monkeypatch, "similar", "model", "--item", "i1", "--k", "4", "--metric", "euclidean"))
    assert items.columns == ["item_id", "title", "score", "rank"]
    assert (items["score"] <= 0).all()
    users = rows(inside(folder, capsys, monkeypatch, "similar", "model", "--user", "u1", "--k", "4"))
    assert users.columns == ["user_id", "score", "rank"]


def test_evaluate_says_what_was_measured(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("evaluate", "ratings.csv", "--method", "als", "--protocol", "leave-last-out", "--k", "5,10", "--json", "result.json")
    table = rows(inside(folder, capsys, monkeypatch, *words, "--set", "embedding_dim=16", "--seed", "3", "--threads", "1"))
    content = json.loads((folder / "result.json").read_text())
    assert dict(table.select("metric", "value").iter_rows()) == pytest.approx(content["metrics"], abs=1e-6)
    assert (content["seed"], content["threads"], content["version"]) == (3, 1, rv.__version__)
    assert content["hyperparameters"]["unobserved_weight"] > 0  # as it was settled by the fit
    split = rv.split(rv.read(folder / "ratings.csv"), "leave-last-out", seed=3)
    again = rv.evaluate(rv.ALS(embedding_dim=16).fit(split.train, rng=3), split, k=[5, 10])
    assert content["metrics"] == dict(again.metrics)


def test_ratings_are_a_task(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(
        inside(folder, capsys, monkeypatch, "evaluate", "ratings.csv", "--method", "svd", "--task", "rating", "--protocol", "random")
    )
    assert table["metric"].to_list() == ["rmse", "mae"]
    assert 0 < table["value"][1] < table["value"][0] < 1


def test_a_method_for_ratings_alone_needs_no_task(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", "ratings.csv", "--method", "als-explicit", "--set", "epochs=3", "--protocol", "random")
    one, other = (inside(folder, capsys, monkeypatch, *words, *task) for task in ((), ("--task", "rating")))
    assert one == other
    assert rows(one)["metric"].to_list() == ["rmse", "mae"]
    inside(folder, capsys, monkeypatch, "fit", "ratings.csv", "--method", "als-explicit", "--set", "epochs=3", "--out", "stars")
    assert rv.load(folder / "stars").model.method == rv.ALSExplicit(epochs=3)
    assert len(rows(inside(folder, capsys, monkeypatch, "recommend", "stars", "--history", "i1", "--k", "4"))) == 4


def test_a_model_without_lower_rungs(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    inside(folder, capsys, monkeypatch, "fit", "ratings.csv", "--method", "svd", "--out", "alone", "--rungs", "none")
    assert rv.load(folder / "alone").rungs == {}


def test_methods_lists_the_registry(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(inside(folder, capsys, monkeypatch, "methods"))["method"].to_list() == registry.names()
    assert "embedding_dim" in rows(inside(folder, capsys, monkeypatch, "methods", "als"))["hyperparameter"].to_list()
    assert inside(folder, capsys, monkeypatch, "--version") == f"{rv.__version__}\n"


def test_demo_learns_judges_and_recommends(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = inside(folder, capsys, monkeypatch, "demo", "--json", "demo.json")
    results = json.loads((folder / "demo.json").read_text())["results"]
    als, popularity = (results[name]["intervals"]["hit_rate@10"] for name in ("als", "popularity"))
    assert als[0] > popularity[1]  # the intervals do not even touch
    assert "Recommended to a new person who liked i1" in text
    assert "Items like i1" in text


@pytest.mark.parametrize(
    "words", [["fit", "ratings.csv"], ["recommend"], ["frobnicate"], ["fit", "ratings.csv", "--method"], ["recommend", "model", "--k", "x"]]
)
def test_wrong_usage_is_code_2(folder: Path, words: list[str]) -> None:
    done = command(folder, *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--help'" in done.stderr
