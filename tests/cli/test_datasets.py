"""``recvec datasets`` by the command line, against a server on this machine."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.cli.main import main
from tests.data import loopback
from tests.data.loopback import RATINGS, Server, good, md5

RECVEC = str(Path(sys.executable).parent / "recvec")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with loopback.serving() as told:
        for name in ("ml-100k", "ml-1m", "ml-latest-small"):
            told.publish(name, good(name))
        monkeypatch.setenv("RECVEC_DATASETS_URL", told.url)
        yield told


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: exit code, what it printed, what it complained."""
    monkeypatch.chdir(tmp_path)

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


def test_the_list(run: Run) -> None:
    code, out, err = run("datasets")
    assert (code, err) == (0, "")
    table = pl.read_csv(out.encode(), separator="\t")
    assert table["name"].to_list() == ["ml-100k", "ml-1m", "ml-latest-small", "ml-20m", "ml-32m"]
    assert table["ratings"].sum() == 100_000 + 1_000_209 + 100_836 + 20_000_263 + 32_000_204


def test_from_a_name_to_a_model(server: Server, run: Run) -> None:
    code, out, err = run("datasets", "ml-1m", "--out", "ml")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"ml-1m: {len(RATINGS)} ratings, 8 users, 6 items; MD5 as in {server.url}/ml-1m.zip.md5; saved to ml"
    assert lines[1].startswith(
        "Terms: research use; neither redistribution nor commercial use without permission of GroupLens; see ml/README"
    )
    assert lines[2].startswith("Cite: F. Maxwell Harper and Joseph A. Konstan. 2015.")
    tables = ("ml/interactions.parquet", "--items", "ml/items.parquet", "--users", "ml/users.parquet")
    code, out, err = run("fit", *tables, "--method", "als", "--set", "embedding_dim=4", "--out", "model")
    assert (code, err) == (0, "")
    who = rv.load("model")
    assert who.train.user_features is not None
    assert dict(who.train.user_features.types) == {
        "age": "category",
        "gender": "category",
        "occupation": "category",
        "zip_code": "category",
    }
    assert who.train.item_features is not None
    assert dict(who.train.item_features.types) == {"title": "text", "genres": "list", "year": "number"}
    code, out, err = run("recommend", "model", "--user", "1", "--k", "2")
    assert (code, err) == (0, "")
    assert "title" in out.splitlines()[0].split("\t")


@pytest.mark.parametrize("name", ["ml-100k", "ml-latest-small"])
def test_the_other_layouts_fit_as_well(server: Server, run: Run, name: str) -> None:
    assert run("datasets", name, "--out", "ml")[0] == 0
    users = ["--users", "ml/users.parquet"] if name == "ml-100k" else []
    words = [
        "ml/interactions.parquet",
        "--items",
        "ml/items.parquet",
        *users,
        "--method",
        "als",
        "--set",
        "embedding_dim=4",
        "--out",
        "model",
    ]
    code, _, err = run("fit", *words)
    assert (code, err) == (0, "")
    types = rv.load("model").train.item_features.types  # type: ignore[union-attr]
    assert types["genres"] == "list"
    assert ("tags" in types) == (name == "ml-latest-small")


def test_official_splits_go_to_evaluate(server: Server, run: Run) -> None:
    run("datasets", "ml-100k", "--out", "ml")
    parts = ["ml/splits/u1.train.parquet", "--test", "ml/splits/u1.test.parquet"]
    code, out, err = run("evaluate", *parts, "--method", "svd", "--task", "rating", "--json", "u1.json")
    assert (code, err) == (0, "")
    assert "rmse" in out
    result = json.loads(Path("u1.json").read_text())
    assert (result["protocol"], result["task"]) == ("given", "rating")


def test_a_mirror_may_be_named(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECVEC_DATASETS_URL", loopback.nowhere())
    code, _, err = run("datasets", "ml-1m", "--out", "ml", "--base-url", server.url)
    assert (code, err) == (0, "")


def test_a_zip_from_elsewhere(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.zip").write_bytes(good("ml-1m"))
    code, out, err = run("datasets", "ml-1m", "--out", "one", "--from", "my.zip")
    assert (code, err) == (0, "")
    assert "; MD5 not compared: no .md5 file lies beside the zip; saved to one" in out
    (tmp_path / "my.zip.md5").write_text(md5(good("ml-1m")))
    assert "; MD5 as in my.zip.md5; saved to two" in run("datasets", "ml-1m", "--out", "two", "--from", "my.zip")[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my.zip", "my.zip.md5", "one", "two"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["ml-1m"], 2, "'ml-1m' needs --out, such as --out ml-1m; see 'recvec datasets --help'"),
        (["--out", "x"], 2, "--out and --from need the name of a data set, such as ml-1m"),
        (["--from", "x.zip"], 2, "--out and --from need the name of a data set, such as ml-1m"),
        (["ml-2m", "--out", "x"], 1, "there is no data set 'ml-2m' (nearest: 'ml-"),
        (["ml-1m", "--out", "x", "--from", "no.zip"], 1, "no.zip does not exist ("),
        (
            ["ml-1m", "--out", "x", "--base-url", "grouplens"],
            1,
            "the base URL is 'grouplens'; allowed: an address that begins with https://",
        ),
        (["ml-1m", "--out", "taken"], 1, "taken exists; allowed: a new or an empty folder; give another one"),
        (["ml-1m", "--out", "taken/x"], 1, "taken/x cannot be written: "),
        (["ml-1m", "--out", ""], 1, " is the folder you are in, which cannot be replaced; give the name of a folder in it"),
        (["ml-1m", "--out", "x" * 300], 1, "cannot be written: File name too long"),
        (["ml-1m", "--out", "x" * 253], 1, "cannot be written: File name too long"),
    ],
)
def test_wrong_words_are_one_line(server: Server, run: Run, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    if "taken" in " ".join(words):
        (tmp_path / "taken").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    found, out, err = run("datasets", *words)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert err.startswith("recvec: ")
    assert sorted(tmp_path.rglob("*")) == before
    assert server.seen == []


def test_offline_is_one_line(server: Server, run: Run, tmp_path: Path) -> None:
    code, out, err = run("datasets", "ml-1m", "--out", "new/ml", "--base-url", loopback.nowhere())
    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"recvec: http://\S+/ml-1m.zip.md5 cannot be reached: Connection refused; check the connection and the address, "
        r"or download ml-1m.zip elsewhere and give it \(--from ml-1m.zip\)\n",
        err,
    )
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_download_and_says_so(server: Server, tmp_path: Path) -> None:
    server.tricks = [("hang", 1000)]
    words = [RECVEC, "datasets", "ml-1m", "--out", "ml"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.silent.wait(60)
    part = tmp_path / "ml.part/ml-1m.zip"
    while not (part.exists() and part.stat().st_size) and process.poll() is None:  # until the bytes are written and it waits for more
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == f"recvec: stopped; {part.parent} keeps 0.0 MB, and the same command goes on from there\n"
    assert sorted(p.name for p in part.parent.iterdir()) == ["ml-1m.zip", "ml-1m.zip.json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.zips[-1].range == "bytes=1000-"
    assert [p.name for p in tmp_path.iterdir()] == ["ml"]


def test_ctrl_c_before_anything_has_come_leaves_nothing(server: Server, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recvec.data.transfer.Link.text", stop)
    code, out, err = run("datasets", "ml-1m", "--out", "new/ml")
    assert (code, out, err) == (130, "", "recvec: stopped; nothing is left half-written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_how_far_it_is(server: Server, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([RECVEC, "datasets", "ml-1m", "--out", "ml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # its end, once the other side is closed
        while piece := terminal.read(1 << 12):
            seen += piece
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"converting ml-1m" in seen
    assert b"kB" in seen
    assert b"Traceback" not in seen
