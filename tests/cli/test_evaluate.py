"""``recvec evaluate`` under every protocol, of saved models, with folds, seeds and placebos."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.cli.main import main
from recvec.data.synthetic import sample_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv, test.csv, users.csv and a model of train.csv."""
    place = tmp_path_factory.mktemp("own")
    ratings, users, _ = sample_tables(n_users=120, n_items=80, mean_history=15)
    ratings.write_csv(place / "ratings.csv")
    held_out = ratings.sample(200, seed=0)
    held_out.write_csv(place / "test.csv")
    rest = ratings.join(held_out, on=["user_id", "item_id"], how="anti")
    rest.write_csv(place / "train.csv")
    users.write_csv(place / "users.csv")
    rv.save(
        rv.Recommender(rv.ALS(embedding_dim=8, epochs=3).fit(rv.read(place / "train.csv")), rv.read(place / "train.csv")), place / "model"
    )
    return place


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    def command(words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["recvec", "evaluate", *words.split()])
        try:
            main()
        except SystemExit as left:
            return (int(left.code or 0), *capsys.readouterr())
        return (0, *capsys.readouterr())

    return command


def result(folder: Path) -> dict[str, object]:
    return json.loads((folder / "result.json").read_text())


def test_a_saved_model_is_measured_on_a_test_table(run: object, folder: Path) -> None:
    code, out, err = run("model --test test.csv --k 5 --json result.json")
    assert (code, err) == (0, "")
    fitted = run("train.csv --method als --set embedding_dim=8 --set epochs=3 --test test.csv --k 5 --json fitted.json")
    assert fitted[0] == 0
    saved, again = result(folder), json.loads((folder / "fitted.json").read_text())
    assert saved["metrics"] == pytest.approx(again["metrics"], abs=1e-9)
    assert saved["hyperparameters"] == again["hyperparameters"]
    assert saved["n_test_rows"] == 200
    assert {"threads", "version", "environment", "peak_memory_mb", "slices"} <= saved.keys()
    assert pl.read_csv(out.encode(), separator="\t").columns == ["metric", "value", "low", "high"]


def test_a_model_without_histories_cannot_be_measured(run: object, folder: Path) -> None:
    rv.save(rv.load(folder / "model"), folder / "blind", histories=False)
    code, out, err = run("blind --test test.csv --json never.json")
    assert (code, out) == (1, "")
    assert err.startswith("recvec: this model was saved without histories")


def test_the_test_table_of_a_saved_model_may_have_other_names(run: object, folder: Path) -> None:
    pl.read_csv(folder / "test.csv").rename({"user_id": "uid"}).write_csv(folder / "other.csv")
    assert run("model --test other.csv --columns user_id=uid --k 5 --json result.json")[0] == 0
    renamed = result(folder)
    assert run("model --test test.csv --k 5 --json result.json")[0] == 0
    assert result(folder)["metrics"] == renamed["metrics"]


@pytest.mark.parametrize(
    ("words", "n_folds"),
    [
        ("new-users", 5),
        ("new-items", 5),
        ("new-users --folds 3", 3),
        ("random --folds 4", 4),
        ("strong --folds 2", 2),
        ("strong", 1),
        ("time", 1),
    ],
)
def test_every_protocol_by_name(run: object, folder: Path, words: str, n_folds: int) -> None:
    code, _, err = run(f"ratings.csv --method popularity --protocol {words} --json result.json")
    assert (code, err) == (0, "")
    content = result(folder)
    assert (content["protocol"], content["n_folds"]) == (words.split(maxsplit=1)[0], n_folds)
    assert ("recall_all@10" in content["metrics"]) == words.startswith("new-items")


def test_seeds_and_a_place_for_the_model(run: object, folder: Path) -> None:
    assert run("ratings.csv --method random --seeds 3 --seed 4 --save kept --json result.json")[0] == 0
    content = result(folder)
    assert (content["n_seeds"], content["seed"], len(content["by_seed"]["auc"])) == (3, 4, 3)
    split = rv.split(rv.read(folder / "ratings.csv"))
    assert (
        rv.load(folder / "kept")
        .recommend(["u1"])
        .equals(rv.Recommender(rv.Random().fit(split.train, rng=4), split.train).recommend(["u1"]))
    )


def test_a_placebo_is_in_the_result(run: object, folder: Path) -> None:
    assert run("ratings.csv --users users.csv --method popularity --placebo --json result.json")[0] == 0
    placebo = result(folder)["placebo"]
    assert placebo["metric"] == "ndcg@10"
    assert placebo["p_value"] == 1.0


def test_walks_are_measured_without_a_method_and_over_candidates(run: object, folder: Path) -> None:
    assert run("train.csv --test test.csv --retrieval walk --k 5 --json result.json")[0] == 0
    alone = result(folder)
    assert alone["method"] == "walk"
    assert alone["hyperparameters"]["restart"] == 0.5
    assert {"fit_seconds", "evaluate_seconds", "peak_memory_mb"} <= alone.keys()
    assert run("model --test test.csv --retrieval walk --k 5 --json result.json")[0] == 0
    assert result(folder)["metrics"] == pytest.approx(alone["metrics"], abs=1e-9)
    settings = "--method popularity --retrieval walk --walk n_candidates=80 --walk steps=3"
    assert run(f"train.csv --test test.csv {settings} --k 5 --json result.json")[0] == 0
    assert result(folder)["candidates_from"] == "popularity"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ratings.csv --retrieval walk --method als", "a walk needs no method; leave --method out, or re-rank its best by"),
        ("ratings.csv --retrieval walk --walk n_candidates=9", "n_candidates re-ranks what a model finds; give --method"),
        ("ratings.csv --retrieval walk --seeds 2", "--seeds is for fits of a method, and walks are measured on one split"),
        ("ratings.csv --retrieval walk --protocol new-users", "walks are measured on one split, and this protocol asks about several"),
        ("ratings.csv --method als --walk steps=3", "--walk is given without --retrieval walk"),
        ("ratings.csv", "ratings.csv is measured with a method; give --method, or the folder of a saved model"),
        ("model", "a saved model is measured on a test table; give --test FILE"),
        ("model --test test.csv --folds 3", "--folds needs a fit, and model is a saved model"),
        ("model --test test.csv --protocol random", "--protocol needs a fit"),
        ("model --test test.csv --seeds 2", "--seeds needs a fit"),
        ("model --test test.csv --placebo", "--placebo needs a fit"),
        ("model --test test.csv --save more", "--save needs a fit"),
        ("model --test test.csv --set epochs=2", "--set needs a fit"),
        ("model --method als", "model is a folder; allowed: a file"),
        ("users.csv --method als", "has no column 'item_id'"),
        ("ratings.csv --method als --test test.csv --folds 3", "--folds cuts the table, --test brings a test part; give one of the two"),
        ("ratings.csv --method als --folds 3", "protocol leave-last-out cannot be cut into folds"),
        ("ratings.csv --method als --protocol new-users --folds 500", "number of folds is 500, but there are 120 users"),
        ("ratings.csv --method als --protocol new-users --folds 0", "number of folds is 0; allowed: 2 or more"),
        ("ratings.csv --method als --protocol later", "no protocol 'later'"),
        ("ratings.csv --method als --placebo", "a placebo shuffles attributes, and the data have none"),
        ("ratings.csv --method als --save model", "exists; nothing was written"),
        ("ratings.csv --method als --task click", "method 'als' does not do the task 'click'; allowed: ranking"),
    ],
)
def test_wrong_words_are_one_line(run: object, folder: Path, words: str, message: str) -> None:
    before = sorted(p.name for p in folder.iterdir())
    code, out, err = run(words + " --json never.json")
    assert (code, out) == (1, "")
    assert err.startswith("recvec: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(p.name for p in folder.iterdir()) == before


def test_no_fewer_than_one_seed(run: object) -> None:
    code, _, err = run("ratings.csv --method als --seeds 0")
    assert code == 2
    assert "--seeds" in err
