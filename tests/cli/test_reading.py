"""Options of all commands that read tables, and ``--config``: what they do, what wins, and one line where they cannot."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.cli.main import main

Run = Callable[..., tuple[int, str, str]]

FIT = ("fit", "t.csv", "--method", "popularity", "--out", "model")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with interactions under names of their own, and attributes."""
    rng = np.random.default_rng(0)
    n = 400
    users, items = rng.integers(0, 20, n), np.minimum(rng.zipf(1.5, n), 30)
    columns = {
        "uid": [f"u{u}" for u in users],
        "item_id": [f"i{i}" for i in items],
        "stars": rng.integers(1, 6, n),
        "timestamp": [None if gone else int(t) for gone, t in zip(rng.random(n) < 0.1, rng.integers(0, 99, n), strict=True)],
        "day": rng.choice(["mo", "tu"], n),
        "review": [f"word{row}" for row in range(n)],
    }
    table = pl.DataFrame(columns)
    table.write_csv(tmp_path / "t.csv")
    table.rename({"uid": "user_id", "stars": "rating"}).write_csv(tmp_path / "plain.csv")
    (tmp_path / "users.csv").write_text("user_id,age,sex\n" + "".join(f"u{u},{20 + u},{'fm'[u % 2]}\n" for u in range(20)))
    (tmp_path / "items.tsv").write_text("item_id\tgenre\tyear\n" + "".join(f"i{i}\ta;b\t{2000 + i}\n" for i in range(1, 31)))
    (tmp_path / "tags.csv").write_text("item_id,tag\ni1,x\ni1,y\ni2,x\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: exit code, what it printed, what it complained."""

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


def refused(run: Run, place: Path, *words: str, code: int = 1) -> str:
    """Run a command that must fail: one line, and the folder as it was."""
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    found, out, err = run(*words)
    assert (found, out) == (code, ""), err
    assert err.startswith("recvec: ")
    assert err.count("\n") == 1
    assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == before
    return err.removeprefix("recvec: ").rstrip("\n")


# ---------------------------------------------------------------- options


def test_all_options_together_are_what_the_library_does(run: Run, place: Path) -> None:
    code, out, err = run(
        *FIT, "--columns", "user_id=uid, rating=stars", "--users", "users.csv", "--items", "items.tsv", "--items", "tags.csv",
        "--types", "age=category,genre=list", "--types", "tag=list", "--list-separator", ";", "--use", "genre,tag", "--use", "age",
        "--context", "day", "--item-text-from", "review", "--positive-from", "4", "--min-per-user", "2", "--min-per-item", "2",
        "--drop-undated", "--json", "fit.json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    expected = rv.read(
        "t.csv", users="users.csv", items=["items.tsv", "tags.csv"], columns={"user_id": "uid", "rating": "stars"},
        types={"age": "category", "genre": "list", "tag": "list"}, list_separator=";", use=["genre", "tag", "age"], context=["day"],
        item_text_from="review", positive_from=4, min_per_user=2, min_per_item=2, drop_undated=True,
    )  # fmt: skip
    who = rv.load(place / "model")
    assert who.fingerprint == expected.fingerprint
    assert who.train.user_features.types == {"age": "category"}
    assert who.train.item_features.types == {"genre": "list", "tag": "list", "review": "text"}
    content = json.loads((place / "fit.json").read_text())
    assert content["left_out"] == expected.left_out
    assert content["n_interactions"] == len(expected.interactions)
    lines = out.splitlines()
    assert lines[0].startswith(f"popularity: {len(expected.interactions):,} interactions, ")
    assert lines[1:] == [f"left out: {n:,} {reason}" for reason, n in expected.left_out.items()]
    assert "rows without timestamp" in lines[1]
    assert "rows with a rating below 4 (of rankings only)" in lines[-1]


def test_evaluate_says_what_was_left_out_beside_its_table(run: Run, place: Path) -> None:
    words = ("evaluate", "plain.csv", "--method", "popularity", "--json", "r.json")
    code, out, err = run(*words, "--drop-undated")
    undated = pl.read_csv("plain.csv")["timestamp"].null_count()
    assert (code, err) == (0, f"recvec: left out: {undated} rows without timestamp\n")
    assert out.startswith("metric\tvalue\t")
    assert "left out" not in out
    assert json.loads((place / "r.json").read_text())["left_out"] == {"rows without timestamp": undated}
    code, _, err = run(*words)
    assert (code, err) == (0, "")
    assert json.loads((place / "r.json").read_text())["left_out"] == {}


def test_the_test_part_is_read_alike(run: Run, place: Path) -> None:
    (place / "test.csv").write_text("uid,item_id,stars,day\nu1,i29,5,we\nu2,i28,1,mo\n")
    (place / "not.csv").write_text("uid,bad\nu1,i1\nu1,i2\nu2,i1\n")
    words = (
        "evaluate",
        "t.csv",
        "--method",
        "popularity",
        "--columns",
        "user_id=uid,rating=stars,negative_item_id=bad",
        "--context",
        "day",
    )
    code, out, err = run(*words, "--positive-from", "4", "--test", "test.csv", "--negatives", "not.csv", "--json", "r.json")
    assert (code, out[:6]) == (0, "metric")
    assert err.startswith("recvec: left out: ")
    assert json.loads((place / "r.json").read_text())["n_users_evaluated"] == 1
    (place / "test.csv").write_text("uid,item_id,stars\nu1,i29,5\n")
    said = refused(run, place, *words, "--test", "test.csv")
    assert said.startswith("context names 'day', which test.csv does not have (such as 'uid', 'stars'); correct the name")


NAMED = (*FIT, "--columns", "user_id=uid,rating=stars")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*FIT,), "t.csv has no column 'user_id' (nearest: 'uid'"),
        ((*FIT, "--columns", "uid"), "--columns takes name=value, not 'uid'; such as --columns user_id=uid"),
        ((*FIT, "--columns", ""), "--columns takes name=value, not ''; such as --columns user_id=uid"),
        ((*FIT, "--columns", "=uid"), "--columns takes name=value, not '=uid'"),
        ((*FIT, "--columns", "user_id=uid,user_id=x"), "--columns names 'user_id' more than once; give it once"),
        ((*FIT, "--columns", "user_id=uid", "--columns", "item_id=uid"), "columns gives 'uid' for both 'user_id' and 'item_id'; allowed: a column once"),
        ((*FIT, "--columns", "user_id=uid,rating=star"), "columns names 'star', which no table has (nearest: 'stars'"),
        ((*FIT, "--columns", "user_id="), "t.csv has neither the column '' nor 'user_id'"),
        ((*NAMED, "--types", "day"), "--types takes name=value, not 'day'; such as --types age=category"),
        ((*NAMED, "--types", "day=word"), "types gives 'day' the type 'word'; allowed: category, number, list, text, vector"),
        ((*NAMED, "--types", "day=text"), "types names 'day', which no table has (there is none); correct the name"),
        ((*NAMED, "--items", "items.tsv", "--use", "genres"), "use names 'genres', which no table has (nearest: 'genre'"),
        ((*NAMED, "--use", "genre"), "use names 'genre', which no table has (there is none); correct the name"),
        ((*NAMED, "--use", ""), "--use is ''; allowed: names separated by commas"),
        ((*NAMED, "--use", "genre,,year"), "--use is 'genre,,year'; allowed: names separated by commas"),
        ((*NAMED, "--use", "genre", "--use", "genre"), "use names 'genre' more than once; name it once"),
        ((*NAMED, "--items", "items.tsv", "--items", "items.tsv"), "attribute 'genre' is in more than one table of item_id; rename or remove one"),
        ((*NAMED, "--items", "items.tsv", "--items", "users.csv"), "users.csv has no column 'item_id' (nearest: 'user_id'"),
        ((*NAMED, "--items", "tags.csv", "--types", "tag=category"), "attribute 'tag' of item 'i1' is '['x', 'y']'; allowed: one value an id"),
        ((*NAMED, "--items", "items.tsv", "--list-separator", ""), "the separator of lists is empty; allowed: one character or more, such as '|'"),
        ((*NAMED, "--context", "weekday"), "context names 'weekday', which t.csv does not have (nearest: 'day'"),
        ((*NAMED, "--context", "rating"), "context names 'rating', which has a meaning of its own"),
        ((*NAMED, "--context", "day", "--types", "day=number"), "t.csv, row 1: day is '"),
        ((*NAMED, "--item-text-from", "reviews"), "item_text_from names 'reviews', which t.csv does not have (nearest: 'review'"),
        ((*NAMED, "--positive-from", "nan"), "positive_from is nan; allowed: a finite number"),
        ((*FIT, "--columns", "user_id=uid", "--positive-from", "4"), "t.csv has no column 'rating', which positive_from compares"),
        ((*NAMED, "--min-per-user", "0"), "min_per_user is 0; allowed: a whole number, 1 or more"),
        ((*NAMED, "--min-per-item", "-1"), "min_per_item is -1; allowed: a whole number, 1 or more"),
        ((*NAMED, "--min-per-user", "999"), "nothing is left of t.csv: 400 rows of users with fewer than 999 items, 20 users with fewer than 999 items, "),
        (("fit", "tags.csv", "--columns", "user_id=tag", *FIT[2:], "--drop-undated"), "tags.csv has no column 'timestamp', so that every row is undated"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_met_is_one_line(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    assert refused(run, place, *words).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--positive-from", "four"), r"Invalid value for '--positive-from': .*; see 'recvec fit --help'"),
        (("--min-per-user", "2.5"), r"Invalid value for '--min-per-user': .*; see 'recvec fit --help'"),
        (("--config",), r"Option '--config' requires an argument.*"),
        (("--colums", "a=b"), r"No such option:? '?--colums.*"),
    ],
)
def test_wrong_usage_is_code_2(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    assert re.fullmatch(message, refused(run, place, *NAMED, *words, code=2))


# ---------------------------------------------------------------- configurations


def test_a_configuration_is_the_command_line_in_a_file(run: Run, place: Path) -> None:
    folder = place / "deep"
    folder.mkdir()
    (folder / "run.toml").write_text(
        '\ufeffmethod = "als"\nout = "model"\njson = "../fit.json"\nusers = ["../users.csv"]\nitems = "../items.tsv"\n'
        'positive-from = 4\nmin_per_user = 2\ndrop-undated = true\nseed = 3\nuse = ["age", \'genre\']\ncontext = "day"\n'
        '[columns]\nuser_id = "uid"\nrating = "stars"\n[types]\nage = "category"\n[set]\nembedding_dim = 4\nreg = 7e-3\nepochs = "3"\n'
    )
    code, out, err = run("fit", "t.csv", "--config", "deep/run.toml")
    assert (code, err) == (0, ""), err
    assert "saved to deep/model" in out.replace(str(place) + "/", "")
    content = json.loads((place / "fit.json").read_text())
    found = {name: content["hyperparameters"][name] for name in ("embedding_dim", "reg", "epochs")}
    assert found == {"embedding_dim": 4, "reg": 0.007, "epochs": 3}
    assert content["seed"] == 3
    assert next(iter(content["left_out"])) == "rows without timestamp"
    who = rv.load(folder / "model")
    assert who.train.user_features.types == {"age": "category"}
    assert list(who.train.item_features.types) == ["genre"]


def test_the_command_line_wins(run: Run, place: Path) -> None:
    (place / "run.toml").write_text(
        'method = "svd"\njson = "config.json"\nseed = 3\nuse = "age"\nusers = "none.csv"\ndrop_undated = true\n'
        '[set]\nembedding_dim = 4\nreg = 0.5\n[columns]\nuser_id = "uid"\n'
    )
    code, out, err = run(
        "fit", "t.csv", "--config", "run.toml", "--method", "als", "--out", "model", "--set", "reg=0.25", "--set", "epochs=2",
        "--json", "line.json", "--seed", "4", "--users", "users.csv", "--use", "sex", "--keep-undated",
    )  # fmt: skip
    assert (code, err) == (0, ""), err
    assert "left out" not in out
    content = json.loads((place / "line.json").read_text())
    assert not (place / "config.json").exists()
    assert content["method"] == "als"
    assert content["seed"] == 4
    found = {name: content["hyperparameters"][name] for name in ("embedding_dim", "reg", "epochs")}
    assert found == {"embedding_dim": 4, "reg": 0.25, "epochs": 2}  # pair by pair
    assert rv.load(place / "model").train.user_features.types == {"sex": "category"}


@pytest.mark.parametrize(
    "lines", ['set = "embedding_dim=4"', 'set = ["embedding_dim=4"]', "set.embedding_dim = 4", "[set]\nembedding_dim = '4'"]
)
def test_pairs_may_be_written_in_many_ways(run: Run, place: Path, lines: str) -> None:
    (place / "run.toml").write_text(f'method = "svd"\ncolumns = "user_id=uid"\njson = "r.json"\n{lines}\n')
    code, _, err = run("evaluate", "t.csv", "--config", "run.toml", "--k", "5")
    assert (code, err) == (0, "")
    assert json.loads((place / "r.json").read_text())["hyperparameters"]["embedding_dim"] == 4


def test_a_configuration_need_not_say_anything(run: Run, place: Path) -> None:
    for content in ("", "# nothing\n", "users = []\n[set]\n"):
        (place / "run.toml").write_text(content)
        code, _, err = run("evaluate", "plain.csv", "--config", "run.toml", "--method", "popularity")
        assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'methd = "als"', "run.toml: 'methd' is no option of 'recvec fit' (nearest: 'method'"),
        (b"protocol = 'random'", "run.toml: 'protocol' is no option of 'recvec fit' ("),
        (b'interactions = "t.csv"', "run.toml: 'interactions' is no option of 'recvec fit'"),
        (b"help = true", "run.toml: 'help' is no option of 'recvec fit'"),
        (b"--method = 'als'", "run.toml: '--method' is no option of 'recvec fit' (nearest: 'method'"),
        (b"config = 'other.toml'", "run.toml: 'config' stands in a configuration; allowed: options of 'recvec fit'; put all into one file"),
        (b"min-per-user = 2\nmin_per_user = 3", "run.toml: 'min_per_user' is there twice, once with '-' and once with '_'; remove one"),
        (b"method = ['als']", "run.toml: 'method' is a list; allowed: one value; correct it"),
        (b"[method]\na = 1", "run.toml: 'method' is a table; allowed: one value; correct it"),
        (b"[users]\na = 1", "run.toml: 'users' is a table; allowed: a list of words or one value; correct it"),
        (b"set = [[1]]", "run.toml: 'set' is [1]; allowed: text or a number; correct it"),
        (b"[set]\nreg = [1]", "run.toml: 'set.reg' is [1]; allowed: text, a number, true or false; correct it"),
        (b"[set]\nreg = 2024-05-01", "run.toml: 'set.reg' is 2024-05-01; allowed: text, a number, true or false; correct it"),
        (b"method = true", "run.toml: 'method' is true; allowed: text or a number; correct it"),
        (b"method = 2024-05-01", "run.toml: 'method' is 2024-05-01; allowed: text or a number; correct it"),
        (b"drop-undated = 'yes'", "run.toml: 'drop-undated' is 'yes'; allowed: true or false; correct it"),
        (b"drop-undated = 1", "run.toml: 'drop-undated' is 1; allowed: true or false; correct it"),
        (b"threads = 'many'", "run.toml: --threads is 'many'; "),
        (b"min-per-user = 2.5", "run.toml: --min-per-user is '2.5'; "),
        (b"seed = -1", "run.toml: --seed is '-1'; "),
        (b"positive-from = 'x'", "run.toml: --positive-from is 'x'; "),
        (b"positive-from = inf", "positive_from is inf; allowed: a finite number"),
        (b"[set]\nembeding_dim = 3", "popularity has no hyper-parameter 'embeding_dim'"),
        (b"set = 3", "--set takes name=value, not '3'; such as --set embedding_dim=64"),
        (b"users = 'none.csv'", "none.csv does not exist (nearest: "),
        (b"a = 1\nb = \n", 'run.toml is not TOML: Invalid value (at line 2, column 5); allowed: lines such as method = "als"; correct it'),
        (b"a = 1\na = 2\n", "run.toml is not TOML: Cannot overwrite a value (at line 2, column 6)"),
        (b"method: als", "run.toml is not TOML: "),
        (b"a = " + b"[" * 9999, "run.toml is not TOML: "),
        (b"a = " + b"9" * 9999, "run.toml is not TOML: "),
        (b"a = '\xff'", "run.toml: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"\x00", "run.toml is not TOML: "),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_one_line(run: Run, place: Path, content: bytes, message: str) -> None:
    (place / "run.toml").write_bytes(content)
    assert refused(run, place, *NAMED, "--config", "run.toml").startswith(message)


def test_a_configuration_that_is_not_there(run: Run, place: Path) -> None:
    assert refused(run, place, *NAMED, "--config", "none.toml") == "none.toml cannot be read: No such file or directory; check the path"
    assert refused(run, place, *NAMED, "--config", ".") == ". cannot be read: Is a directory; check the path"


def test_what_a_configuration_does_not_say_is_still_required(run: Run, place: Path) -> None:
    (place / "run.toml").write_text("method = 'als'")
    assert re.match(r"Missing option '--out'", refused(run, place, "fit", "t.csv", "--config", "run.toml", code=2))
