"""What a hurried person gives a factorization machine: one clear line, or the documented answer with a note."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recvec.cli.main import main

Run = Callable[..., tuple[int, str, str]]
N_USERS, N_ITEMS = 12, 9


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, beside ratings.csv, clicks.csv and users.csv: exit code, what it printed, what it complained."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pairs = pl.DataFrame({"user_id": np.repeat(np.arange(N_USERS), N_ITEMS), "item_id": np.tile(np.arange(N_ITEMS), N_USERS)})
    pairs.with_columns(rating=pl.Series(rng.integers(1, 6, len(pairs)))).write_csv("ratings.csv")
    pairs.with_columns(label=pl.Series(rng.integers(0, 2, len(pairs)))).write_csv("clicks.csv")
    ages = [str(age) for age in rng.integers(18, 70, N_USERS)]
    people = pl.DataFrame({"user_id": np.arange(N_USERS), "age": ages, "job": ["a", "b", "c"] * (N_USERS // 3)})
    people.with_columns(same=pl.lit("x"), nothing=pl.lit(None, pl.String)).write_csv("users.csv")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recvec", *words])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def fit(run: Run, table: str, task: str, *more: str) -> tuple[int, str, str]:
    learned = ("--set", "epochs=1", "--set", "embedding_dim=2", "--rungs", "none", "--out", "model")
    return run("fit", table, "--method", "fm", "--task", task, *learned, *more)


def changed(table: str, column: str, values: dict[int, object], kind: pl.DataType | type[pl.DataType] = pl.String) -> None:
    """Write a table with some cells of a column replaced."""
    frame = pl.read_csv(table, infer_schema=False)
    cells: list[object] = frame[column].to_list()
    for row, value in values.items():
        cells[row] = value
    frame.with_columns(pl.Series(column, cells, kind)).write_csv(table)


@pytest.mark.parametrize(
    ("table", "task", "column", "values", "message"),
    [
        ("ratings.csv", "rating", "rating", {4: "NaN"}, "ratings.csv, row 5: rating is 'NaN'; allowed: a finite number"),
        ("clicks.csv", "click", "label", {4: "2"}, "clicks.csv, row 5: label is '2'; allowed: 1 and 0, or 1 and -1"),
        (
            "clicks.csv",
            "click",
            "label",
            dict.fromkeys(range(N_USERS * N_ITEMS), "1"),
            "every label is 1, so that there is nothing to tell",
        ),
        ("ratings.csv", "click", "rating", {}, "the task is click, but the interactions have no column 'label'; add it"),
        ("clicks.csv", "rating", "label", {}, "the task is rating, but the interactions have no column 'rating'; add it"),
    ],
)
def test_targets_outside_the_task_are_one_line(
    run: Run, table: str, task: str, column: str, values: dict[int, object], message: str
) -> None:
    changed(table, column, values)
    code, out, err = fit(run, table, task)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("model").exists()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({3: "thirty"}, ("--types", "age=number"), "attribute 'age' of user '3' is 'thirty'; allowed: a finite number or nothing"),
        ({}, ("--columns", "item_id=job"), "item_id"),
    ],
)
def test_columns_of_the_wrong_kind_are_one_line(run: Run, change: dict[int, object], options: tuple[str, ...], message: str) -> None:
    changed("users.csv", "age", change)
    code, _, err = fit(run, "ratings.csv", "rating", "--users", "users.csv", *options)
    assert code == 1
    assert message in err
    assert err.count("\n") == 1


def test_a_feature_named_like_an_id_is_one_line(run: Run) -> None:
    pl.read_csv("users.csv").rename({"job": "item_id"}).write_csv("users.csv")
    code, _, err = fit(run, "ratings.csv", "rating", "--users", "users.csv")
    assert code == 1
    assert "a column of user attributes is named 'item_id', an id; rename it, or leave it out by --use" in err


def test_what_is_left_out_is_said_and_new_levels_have_an_answer(run: Run) -> None:
    changed("users.csv", "age", {3: "thirty"})
    code, out, err = fit(run, "ratings.csv", "rating", "--users", "users.csv")
    assert code == 0
    for note in (
        "user attribute 'age' is a category because 'thirty' is no number; correct it if it should be one",
        "user attribute 'same' is left out: it has the same value throughout",
        "user attribute 'nothing' is left out: it has no value",
    ):
        assert note in out + err
    code, out, _ = run("recommend", "model", "--attribute", "job=never seen", "--k", "2")
    assert code == 0
    assert out.count("attributes") == 2
    code, _, err = run("recommend", "model", "--attribute", "colour=red")
    assert code == 1
    assert "there is no user attribute 'colour'" in err
