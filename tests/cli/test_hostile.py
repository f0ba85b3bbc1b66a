"""Bad input at the command line: one clear line, the right exit code, nothing half-written, nothing left beside, no traceback."""

import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.cli import output
from recvec.cli.main import main, plain
from recvec.data.synthetic import sample_tables
from recvec.errors import ReadError

RECVEC = str(Path(sys.executable).parent / "recvec")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings.csv and a model."""
    place = tmp_path_factory.mktemp("ready")
    interactions, _, items = sample_tables(n_users=40, n_items=30, mean_history=8)
    interactions.write_csv(place / "ratings.csv")
    data = rv.read(interactions, items=items)
    rv.save(rv.Recommender(rv.SVD(embedding_dim=4).fit(data), data), place / "model")
    return place


@pytest.fixture
def place(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ready, tmp_path, dirs_exist_ok=True)
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


@pytest.fixture
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device that is always full: for root a copy, because code under test that went wrong could replace the real one."""
    if os.geteuid() != 0:
        return Path("/dev/full")
    device = tmp_path_factory.mktemp("devices") / "full"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        device.open("wb").close()
    except OSError as error:
        pytest.skip(f"no device can be made here: {error.strerror}")
    return device


def refused(run: Run, place: Path, *words: str, code: int = 1) -> str:
    """Run a command that must fail: one line, and the folder as it was."""
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    found, out, err = run(*words)
    assert found == code, err
    assert out == ""
    assert err.startswith("recvec: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == before
    return err.removeprefix("recvec: ").rstrip("\n")


FIT = ("fit", "ratings.csv", "--method", "svd", "--out", "new/deep/model")


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty; allowed: a header and at least one row; check how the file was written"),
        ("t.csv", b"user_id,item_id\n", "t.csv has a header but no rows; allowed: at least one row; check how the file was written"),
        ("t.csv", b"user,item_id\n1,2\n", "t.csv has no column 'user_id' (nearest: 'user', 'item_id'); rename it in the file"),
        ("t.csv", b"\x00\x01\x02", "t.csv is binary; allowed: UTF-8 text; "),
        ("t.csv", b"user_id,item_id\n\xff,2\n", "t.csv, line 2: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("t.csv", b"user_id,item_id,rating\n1,2,3\n1,2\n", "t.csv, row 2 (line 3): 2 fields; allowed: 3 as in the header; correct the row"),
        ("t.csv", b"user_id,item_id\n1,2\n,2\n", "t.csv, row 2: user_id is missing; allowed: an integer or text; "),
        ("t.csv", b"user_id,item_id,weight\n1,2,3\n1,3,-1\n", "t.csv, row 2: weight is '-1'; allowed: 0 or more"),
        ("t.csv", b"user_id,item_id\n1,2\n", "the data have 1 user(s) and 1 item(s); allowed: 2 or more of each; give more interactions"),
        ("t.csv.gz", b"\x1f\x8b\x08\x00", "t.csv.gz cannot be read: "),
        ("t.parquet", b"PAR1PAR1", "t.parquet cannot be read: "),
        ("t\n.csv", b"user_id,item_id\n", "t .csv has a header but no rows"),
    ],
)
def test_a_bad_table_is_one_line(run: Run, place: Path, name: str, content: bytes, message: str) -> None:
    (place / name).write_bytes(content)
    assert refused(run, place, "fit", name, *FIT[2:]).startswith(message)


def test_a_folder_or_nothing_instead_of_a_table(run: Run, place: Path) -> None:
    assert "model is a folder; allowed: a file that ends in" in refused(run, place, "fit", "model", *FIT[2:])
    assert refused(run, place, "fit", "rating.csv", *FIT[2:]).startswith("rating.csv does not exist (nearest: 'ratings.csv'")
    assert "users.csv does not exist" in refused(run, place, *FIT, "--users", "users.csv")
    assert "none.csv does not exist" in refused(run, place, "evaluate", "ratings.csv", "--method", "svd", "--test", "none.csv")
    assert "none.csv does not exist" in refused(run, place, "evaluate", "ratings.csv", "--method", "svd", "--negatives", "none.csv")


def test_control_characters_cannot_steer_a_terminal(run: Run, place: Path) -> None:
    assert "user '\\x1b[31mred\\r' is not among" in refused(run, place, "recommend", "model", "--user", "\x1b[31mred\r")
    assert plain("a\tb\x07é😀\u200d") == "a\\tb\\x07é😀\u200d"


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit", "ratings.csv", "--method", "svdd", "--out", "x"), "there is no method 'svdd' (nearest: 'svd'); allowed: popularity, random, svd, als"),
        ((*FIT, "--set", "embeding_dim=3"), "svd has no hyper-parameter 'embeding_dim' (nearest: 'embedding_dim'"),
        ((*FIT, "--set", "embedding_dim=abc"), "svd: embedding_dim is 'abc'; allowed: a whole number, 1 to"),
        ((*FIT, "--set", "embedding_dim=1.5"), "svd: embedding_dim is '1.5'; allowed: a whole number, 1 to"),
        ((*FIT, "--set", "embedding_dim=nan"), "svd: embedding_dim is 'nan'; allowed: a whole number, 1 to"),
        ((*FIT, "--set", "embedding_dim=-1"), "svd: embedding_dim is -1; allowed: a whole number, 1 to"),
        ((*FIT, "--set", "embedding_dim=0"), "svd: embedding_dim is 0; allowed: a whole number, 1 to"),
        ((*FIT, "--set", "embedding_dim=" + "9" * 30), "svd: embedding_dim is 9999"),
        (("fit", "ratings.csv", "--method", "als", "--out", "x", "--set", "reg=inf"), "als: reg is inf; allowed: a number, 0 to 1e+06"),
        (("fit", "ratings.csv", "--method", "als", "--out", "x", "--set", "reg=nan"), "als: reg is nan; allowed: a number, 0 to 1e+06"),
        (("fit", "ratings.csv", "--method", "als", "--out", "x", "--set", "reg=-1"), "als: reg is -1.0; allowed: a number, 0 to 1e+06"),
        ((*FIT, "--set", "embedding_dim"), "--set takes name=value, not 'embedding_dim'; such as --set embedding_dim=64"),
        ((*FIT, "--set", "=3"), "--set takes name=value, not '=3'"),
        ((*FIT, "--set", "embedding_dim=3", "--set", "embedding_dim=4"), "--set names 'embedding_dim' more than once; give it once"),
        ((*FIT, "--task", "clicks"), "method 'svd' does not do the task 'clicks'; allowed: ranking, rating"),
        ((*FIT, "--rungs", "some"), "--rungs is 'some'; allowed: auto, none"),
        ((*FIT, "--threads", "0"), "threads is 0; allowed: 1 or more"),
        ((*FIT, "--device", "tpu"), "device is 'tpu'; allowed: cpu, cuda, mps"),
        (("methods", "alss"), "there is no method 'alss' (nearest: 'als')"),
        (("recommend", "model", "--user", "u999"), "user 'u999' is not among the 40 users of this model (nearest: 'u9'"),
        (("recommend", "model", "--user", ""), "user '' is not among the 40 users of this model"),
        (("recommend", "model", "--user", "\udcff"), "user '\\udcff' is not among the 40 users of this model"),
        (("recommend", "model", "--history", "i1", "--history", "i99"), "item 'i99' is not among the 30 items of this model (nearest: 'i9'"),
        (("similar", "model", "--item", "j1"), "item 'j1' is not among the 30 items of this model (nearest: "),
        (("similar", "model", "--user", "u999"), "user 'u999' is not among the 40 users of this model (nearest: 'u9'"),
        (("recommend", "model", "--user", "u1", "--k", "0"), "k is 0; allowed: a whole number, 1 or more"),
        (("recommend", "model", "--user", "u1", "--k", "-3"), "k is -3; allowed: a whole number, 1 or more"),
        (("similar", "model", "--item", "i1", "--k", "0"), "k is 0; allowed: a whole number, 1 or more"),
        (("similar", "model", "--item", "i1", "--metric", "cos"), "--metric is 'cos'; allowed: cosine, dot, euclidean"),
        (("evaluate", "ratings.csv", "--method", "svd", "--k", "0"), "--k is '0'; allowed: whole numbers, 1 to 1,000,000,000"),
        (("evaluate", "ratings.csv", "--method", "svd", "--k", "10,-1"), "--k is '10,-1'; allowed: whole numbers, 1 to"),
        (("evaluate", "ratings.csv", "--method", "svd", "--k", "ten"), "--k is 'ten'; allowed: whole numbers separated by commas, such as 10,20"),
        (("evaluate", "ratings.csv", "--method", "svd", "--k", "9" * 20), "--k is '9999"),
        (("evaluate", "ratings.csv", "--method", "svd", "--protocol", "last"), "there is no protocol 'last'; allowed: random, leave-last-out"),
        (("evaluate", "ratings.csv", "--method", "svd", "--protocol", "random", "--test-share", "nan"), "the test share is nan; allowed: more than 0"),
        (("recommend", "nosuch", "--all"), "nosuch is not a folder with a saved model; give the folder that 'recvec fit --out' made"),
        (("recommend", ".", "--all"), ". holds no manifest.json; it is not a saved model"),
    ],
)  # fmt: skip
def test_a_bad_word_is_one_line_with_what_is_allowed(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    assert refused(run, place, *words).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit",), r"Missing argument .*; see 'recvec fit --help'"),
        (("fit", "ratings.csv", "--out", "x"), r"Missing option '--method'.*; see 'recvec fit --help'"),
        (("fits",), r"No such command 'fits'.*; see 'recvec --help'"),
        (("recommend", "model", "--users", "u1"), r"No such option:? '?--users.*; see 'recvec recommend --help'"),
        (("recommend", "model", "--user", "u1", "--k", "ten"), r"Invalid value for '--k': .*; see 'recvec recommend --help'"),
        (("recommend", "model", "--user", "u1", "--k", "2.5"), r"Invalid value for '--k': .*; see 'recvec recommend --help'"),
        (("recommend", "model", "--user", "u1", "--k", "9" * 20), r"Invalid value for '--k': .*1000000000; see 'recvec recommend --help'"),
        ((*FIT, "--seed", "-1"), r"Invalid value for '--seed': .*; see 'recvec fit --help'"),
        ((*FIT, "--threads", "many"), r"Invalid value for '--threads': .*; see 'recvec fit --help'"),
        ((*FIT, "more"), r"Got unexpected extra argument.*; see 'recvec fit --help'"),
    ],
)
def test_wrong_usage_is_one_line_and_two(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    assert re.fullmatch(message, refused(run, place, *words, code=2))


def test_no_word_at_all_shows_the_help(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    assert "Usage: recvec" in out


def test_help_and_version_are_no_errors(run: Run) -> None:
    assert run("--version") == (0, f"{rv.__version__}\n", "")
    code, out, err = run("fit", "--help")
    assert (code, err) == (0, "")
    assert "--method" in out


# ---------------------------------------------------------------- places that cannot be written


def test_an_output_that_exists_stays(run: Run, place: Path) -> None:
    words = ("fit", "ratings.csv", "--method", "svd", "--out")
    assert refused(run, place, *words, "model") == f"{place}/model exists; nothing was written; give a new folder or remove it"
    (place / "notes.txt").write_text("mine")
    assert refused(run, place, *words, "notes.txt").endswith("notes.txt exists; nothing was written; give a new folder or remove it")
    assert refused(run, place, *words, "ratings.csv/x").endswith("ratings.csv is not a folder that can be written to; give another folder")
    assert refused(run, place, *words, "x" * 300).endswith("cannot be written: File name too long; free space or give another folder")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "lists.txt"), "lists.txt ends in '.txt'; allowed: .csv, .tsv, .ndjson, .parquet; give the file one of these endings"),
        (("--out", "lists"), "lists has no ending; allowed: .csv"),
        (("--out", "none/lists.csv"), "none/lists.csv cannot be written: "),
        (("--out", "d.csv"), "d.csv is a folder; allowed: a file; give a file name"),
        (("--out", "x" * 300 + ".csv"), "x" * 300 + ".csv cannot be written: File name too long; free space or give another file"),
    ],
)
def test_a_list_that_cannot_be_written(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    (place / "d.csv").mkdir()
    assert refused(run, place, "recommend", "model", "--all", *words).startswith(message)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("model", "model is a folder; allowed: a file; give a file name"),
        ("none/x.json", "none/x.json cannot be written: "),
        ("ratings.csv/x.json", "ratings.csv/x.json cannot be written: "),
    ],
)
def test_a_json_file_that_cannot_be_written(run: Run, place: Path, target: str, message: str) -> None:
    assert refused(run, place, "evaluate", "ratings.csv", "--method", "popularity", "--json", target).startswith(message)


def test_a_device_is_written_to_and_never_replaced(run: Run, place: Path, full: Path) -> None:
    said = refused(run, place, "evaluate", "ratings.csv", "--method", "popularity", "--json", str(full))
    assert said == f"{full} cannot be written: No space left on device; free space or give another file"
    assert full.is_char_device()


def test_a_read_only_folder_is_said(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode, **__: not mode & os.W_OK)
    assert "is not a folder that can be written to; give another file" in refused(
        run, place, "recommend", "model", "--all", "--out", "l.csv"
    )
    assert "is not a folder that can be written to; give another folder" in refused(run, place, *FIT)


def test_results_are_written_whole_beside_nothing(run: Run, place: Path) -> None:
    (place / "real.json").write_text("old")
    (place / "link.json").symlink_to("real.json")
    for target in ("a.json", "link.json", "x" * 250 + ".json"):
        code, _, err = run("evaluate", "ratings.csv", "--method", "popularity", "--json", target)
        assert (code, err) == (0, "")
        assert json.loads((place / target).read_text())["method"] == "popularity"
    assert (place / "link.json").is_symlink()
    for ending in (".csv", ".tsv", ".ndjson", ".parquet"):
        assert run("recommend", "model", "--all", "--k", "3", "--out", f"l{ending}") == (0, f"120 rows written to l{ending}\n", "")
    back = pl.read_parquet(place / "l.parquet")
    assert back.equals(pl.read_csv(place / "l.csv", schema=back.schema))
    assert not [p for p in place.iterdir() if p.name.startswith(".")]


def test_a_result_that_stops_in_the_middle_leaves_the_old_one(place: Path) -> None:
    (place / "r.json").write_text("old")

    def half(path: Path) -> None:
        path.write_text("ha")
        raise OSError(28, "No space left on device")

    before = sorted(place.iterdir())
    with pytest.raises(ReadError, match=r"^r\.json cannot be written: No space left on device; free space or give another file$"):
        output._write_whole(Path("r.json"), half)
    assert (place / "r.json").read_text() == "old"
    assert sorted(place.iterdir()) == before


def limited(place: Path, n_bytes: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command where no file may grow beyond a size, as on a full disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2); from recvec.cli.main import main; main()"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
    return subprocess.run(
        [sys.executable, "-c", code, str(n_bytes), *words], cwd=place, capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("n_bytes", [100, 2000])
def test_a_full_disk_leaves_no_model(place: Path, n_bytes: int) -> None:
    before = sorted(place.rglob("*"))
    done = limited(place, n_bytes, "fit", "ratings.csv", "--method", "popularity", "--out", "new/deep/model")
    assert done.returncode == 1
    assert re.fullmatch(
        rf"recvec: {place}/new/deep/model cannot be written: .*too large.*; free space or give another folder\n", done.stderr
    )
    assert done.stdout == ""
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.ndjson", "l.parquet"])
def test_a_full_disk_leaves_no_list(run: Run, place: Path, full: Path, name: str) -> None:
    (place / name).symlink_to(full)
    assert refused(run, place, "recommend", "model", "--all", "--out", name).startswith(f"{name} cannot be written: ")
    assert full.is_char_device()


# ---------------------------------------------------------------- damaged models


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "arrays.safetensors",
        "histories.safetensors",
        "users.parquet",
        "items.parquet",
        "rungs/popular/arrays.safetensors",
        "rungs/popular/manifest.json",
    ],
)
@pytest.mark.parametrize("change", [lambda b: b[: len(b) // 2], lambda b: b[:-5] + bytes([b[-5] ^ 1]) + b[-4:], None])
def test_a_damaged_model_is_one_line(run: Run, place: Path, name: str, change: Callable[[bytes], bytes] | None) -> None:  # fmt: skip
    path = place / "model" / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    said = refused(run, place, "recommend", "model", "--all")
    assert re.search(r"^model.*(damaged|is missing|holds no manifest.json)", said)


def test_a_newer_model_asks_for_an_upgrade(run: Run, place: Path) -> None:
    path = place / "model" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2, "library": "9.0"}))
    said = refused(run, place, "recommend", "model", "--all")
    assert said == "model was written by recvec 9.0 in format 2; this version reads up to 1; upgrade recvec"


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_is_one_line_and_leaves_nothing(place: Path) -> None:
    sample_tables(n_users=2000, n_items=600, mean_history=60)[0].write_csv(place / "large.csv")
    before = sorted(place.rglob("*"))
    words = [RECVEC, "fit", "large.csv", "--method", "als", "--set", "epochs=1000", "--set", "embedding_dim=128", "--out", "new/deep/model"]
    with pty_stderr() as (terminal, read_all):
        process = subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=terminal)
        read_all(until=b"fitting als")  # the bar is there: the fit has begun
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        seen = read_all()
    assert process.returncode == 130
    assert out == b""
    lines = [line for line in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).replace(b"\r", b"\n").split(b"\n") if line.strip()]
    assert lines[-1] == b"recvec: stopped; nothing is left half-written"
    assert b"Traceback" not in seen
    assert sorted(place.rglob("*")) == before


class pty_stderr:
    """A terminal for standard error, so that the progress bar shows."""

    def __enter__(self) -> tuple[int, Callable[..., bytes]]:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.seen = b""
        return self.theirs, self.read_all

    def read_all(self, until: bytes | None = None) -> bytes:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                self.seen += os.read(self.ours, 65536)
            except BlockingIOError:
                if until is None:
                    break
                time.sleep(0.01)
            if until is not None and until in self.seen:
                break
        else:
            pytest.fail(f"{until!r} did not show in {self.seen!r}")
        return self.seen

    def __exit__(self, *_: object) -> None:
        os.close(self.ours)
        os.close(self.theirs)


def test_ctrl_c_inside_is_130(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recvec.artifact.store._sync", stop)
    assert refused(run, place, *FIT, code=130) == "stopped; nothing is left half-written"


def test_ctrl_c_while_the_program_loads_is_130(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(name: str) -> None:
        assert name == "recvec.cli.app"
        raise KeyboardInterrupt

    monkeypatch.setattr("recvec.cli.main.importlib.import_module", stop)
    assert refused(run, place, *FIT, code=130) == "stopped; nothing is left half-written"


def test_the_door_itself_loads_nothing_heavy() -> None:
    code = "import sys, recvec.cli.main; print([m for m in ('numpy', 'polars', 'typer', 'rich', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_out_of_memory_is_one_line(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("recvec.data.readers.load", burst)
    assert refused(run, place, *FIT) == "out of memory; use a smaller embedding_dim, fewer rows, or a larger machine"


# ---------------------------------------------------------------- pipes and terminals


def shell(place: Path, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True, check=False, env=os.environ | more)


@pytest.mark.parametrize(
    ("words", "code"), [(("recommend", "model", "--all"), 0), (("methods",), 0), (("--version",), 0), (("--help",), 1), (("recommend", "none", "--all"), 1)]
)  # fmt: skip
def test_a_closed_pipe_makes_no_noise(place: Path, words: tuple[str, ...], code: int) -> None:
    """The reader has left before the first line comes, so that no buffer hides it; typer prints help by itself."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([RECVEC, *words], cwd=place, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    expected = "recvec: none is not a folder with a saved model; give the folder that 'recvec fit --out' made\n" if "none" in words else ""
    assert (done.returncode, done.stderr) == (code, expected)


def test_the_head_of_a_list(place: Path) -> None:
    done = shell(place, f"{RECVEC} recommend model --all | head -1; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("user_id\titem_id\ttitle\tscore\trank\troute\n0\n", "")


def test_standard_output_that_is_full_or_closed(place: Path) -> None:
    done = shell(
        place,
        f"{RECVEC} recommend model --all > /dev/full; echo $?; {RECVEC} recommend model --all >&-; echo $?; {RECVEC} recommend none --all 2>&-; echo $?",
    )
    assert done.stdout == "1\n0\n1\n"
    assert done.stderr == "recvec: standard output cannot be written: No space left on device; free space or use another file\n"


def test_odd_ids_go_through_a_pipe_as_they_are(place: Path) -> None:
    ids = ["007", " a ", 'q"x', "t\tt", "n\nl", "😀", "אבג", "[bold]", ":smile:", "\\"]
    pl.DataFrame({"user_id": ids * 2, "item_id": [*ids, *ids[1:], ids[0]]}).write_csv(place / "odd.csv")
    line = f"{RECVEC} fit odd.csv --method popularity --out odd > /dev/null && {RECVEC} recommend odd --all --k 1"
    done = shell(place, line, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.stderr == ""
    assert sorted(pl.read_csv(done.stdout.encode(), separator="\t", infer_schema=False)["user_id"].to_list()) == sorted(ids)


def test_a_terminal_shows_ids_as_they_are(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(output, "_emit", printed.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.show(pl.DataFrame({"item_id": ["[bold]x", ":smile:", "a\x1b[2Jb"], "score": [0.5, 1.0, None]}), "title [red]")
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", "".join(printed))
    for text in ("[bold]x", ":smile:", "a\\x1b[2Jb", "title [red]", "0.5000"):
        assert text in drawn
    assert "\x1b[2J" not in "".join(printed)
