"""Keeping a model: update, export, checkpoints and models without histories on the command line, used well and badly."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.artifact import checkpoint as checkpoint_module
from recvec.artifact.checkpoint import Checkpoints
from recvec.cli.main import main
from recvec.data.synthetic import sample_tables

Run = Callable[..., tuple[int, str, str]]
ALS = ("fit", "ratings.csv", "--method", "als", "--set", "embedding_dim=4", "--set", "epochs=5", "--out", "new")
KEPT = (*ALS, "--checkpoint", "ck")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings.csv and later.csv, a model, a model without histories, and checkpoints of a half-done fit."""
    place = tmp_path_factory.mktemp("ready")
    rows, _, items = sample_tables(n_users=40, n_items=30, mean_history=8)
    rows = rows.sort("timestamp")
    rows.head(len(rows) - 20).write_csv(place / "ratings.csv")
    more = pl.DataFrame({"user_id": ["new one", "new one"], "item_id": ["i1", "fresh"], "rating": [5.0, 4.0], "timestamp": [2e9, 2e9]})
    pl.concat([rows.tail(20), more.cast(dict(rows.schema))]).write_csv(place / "later.csv")
    data = rv.read(place / "ratings.csv", items=items)
    who = rv.Recommender(rv.ALS(embedding_dim=4, epochs=5).fit(data), data)
    rv.save(who, place / "model", metrics={"recall@10": 0.5})
    rv.save(who, place / "forgetful", histories=False)
    half_done(place)
    return place


def half_done(place: Path, epochs: int = 3) -> None:
    def stop(epoch: int, _: object) -> None:
        if epoch > epochs:
            raise KeyboardInterrupt

    kept = Checkpoints(place / "half")
    with pytest.raises(KeyboardInterrupt), kept:
        rv.ALS(embedding_dim=4, epochs=5).fit(rv.read(place / "ratings.csv"), rng=0, checkpoint=kept, on_epoch=stop)


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


def refused(run: Run, place: Path, *words: str, code: int = 1) -> str:
    """Run a command that must fail: one line, and the folder as it was."""
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    found, out, err = run(*words)
    assert found == code, err
    assert out == ""
    assert err.startswith("recvec: ")
    assert err.count("\n") == 1
    assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == before
    return err.removeprefix("recvec: ").rstrip("\n")


def figures(text: str) -> dict[str, float]:
    return dict(pl.read_csv(text.encode(), separator="\t", schema={"figure": pl.String, "value": pl.Float64}).iter_rows())


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------- update


def test_update_writes_a_new_model_and_says_what_has_changed(run: Run, place: Path) -> None:
    old = files(place / "model")
    code, out, err = run("update", "model", "later.csv", "--out", "deep/newer", "--against-refit", "--json", "report.json")
    assert (code, err) == (0, "")
    shown, report = figures(out), json.loads((place / "report.json").read_text())
    assert (shown["rows"], shown["new users"], shown["new items"]) == (22, 3, 1)
    assert (report["n_rows"], report["n_new_users"], report["n_new_items"]) == (22, 3, 1)
    assert report["refit"]["refitted"] == shown["recall@10, fitted again"]
    now = rv.load(place / "deep" / "newer")
    assert now.recommend(["new one"], 3)["route"].to_list() == ["stored"] * 3
    assert files(place / "model") == old
    code, out, _ = run("update", "deep/newer", "later.csv", "--out", "newest")  # and again
    assert (code, figures(out)["known pairs"], figures(out)["new pairs"]) == (0, 22, 0)


def test_update_takes_titles_of_new_items(run: Run, place: Path) -> None:
    pl.DataFrame({"item_id": ["fresh"], "title": ["The Fresh One"]}).write_csv(place / "items.csv")
    assert run("update", "model", "later.csv", "--items", "items.csv", "--out", "newer")[0] == 0
    assert "The Fresh One" in run("recommend", "newer", "--user", "u1", "--k", "40")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nosuch", "later.csv"), "nosuch is not a folder with a saved model"),
        (("model", "nosuch.csv"), "nosuch.csv does not exist"),
        (("model", "model"), "model is a folder; allowed: a file"),
        (("model", "empty.csv"), "empty.csv has a header but no rows"),
        (("model", "columns.csv"), "columns.csv has no column 'item_id'"),
        (("model", "weight.csv"), "weight.csv, row 1: weight is '-2'; allowed: 0 or more"),
        (("model", "later.csv", "--users", "people.csv"), "the model has no attributes of users; allowed: none for new users"),
        (("model", "later.csv", "--items", "people.csv"), "people.csv has no column 'item_id'"),
        (("model", "later.csv", "--threads", "0"), "threads is 0; allowed: 1 or more"),
        (("model", "later.csv", "--json", "model"), "model is a folder; allowed: a file"),
        (("model", "known.csv", "--against-refit"), "against-refit hides one new pair of each user, but no user has a new pair"),
        (("forgetful", "later.csv"), "this model was saved without histories: "),
    ],
)
def test_an_update_that_cannot_be(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    (place / "empty.csv").write_text("user_id,item_id\n")
    (place / "columns.csv").write_text("user_id,item\nu1,i1\n")
    (place / "weight.csv").write_text("user_id,item_id,weight\nu1,i1,-2\n")
    (place / "people.csv").write_text("user_id,age\nnew one,3\n")
    pl.read_csv(place / "ratings.csv").head(3).write_csv(place / "known.csv")
    assert refused(run, place, "update", *words, "--out", "newer").startswith(message)


def test_an_update_over_what_exists_is_refused_before_any_work(run: Run, place: Path) -> None:
    assert refused(run, place, "update", "model", "later.csv", "--out", "model").startswith(f"{place}/model exists; nothing was written")
    assert refused(run, place, "update", "nosuch", "later.csv", "--out", "ratings.csv/x").endswith("give another folder")
    assert "Missing option '--out'" in refused(run, place, "update", "model", "later.csv", code=2)


def test_a_stopped_update_leaves_nothing(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recvec.artifact.store._sync", stop)
    assert refused(run, place, "update", "model", "later.csv", "--out", "newer", code=130) == "stopped; nothing is left half-written"


# ---------------------------------------------------------------- export


def test_export_in_every_format(run: Run, place: Path) -> None:
    who = rv.load(place / "model")
    for to, what, said in (("parquet", "items", "30 items"), ("word2vec", "users", "38 users"), ("numpy", "both", "38 users and 30 items")):
        code, out, err = run("export", "model", "--to", to, "--out", f"v.{to}", "--what", what)
        assert (code, err) == (0, "")
        assert out == f"als: vectors of {said} written to v.{to}; v.{to}.json says what they are\n"
        assert json.loads((place / f"v.{to}.json").read_text())["format"] == to
    assert pl.read_parquet("v.parquet").drop("side").equals(who.item_embeddings())
    assert (place / "v.word2vec").read_text().startswith("38 4\nu1 ")
    with np.load("v.numpy") as read:
        assert np.array_equal(read["item_vectors"], who.model.item_vectors)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "csv", "--out", "v"), "--to is 'csv'; allowed: parquet, word2vec, numpy, model"),
        (("--to", "numpy", "--out", "v", "--what", "user"), "what is 'user'; allowed: users, items, both"),
        (
            ("--to", "numpy", "--out", "v", "--no-histories"),
            "--to numpy is given with --no-histories; vectors have no histories; leave it out",
        ),
        (("--to", "model", "--out", "v"), "--to model is given without --no-histories; add --no-histories, or copy the folder"),
        (
            ("--to", "model", "--out", "v", "--no-histories", "--what", "items"),
            "--what is 'items' with --to model; allowed: both; leave it out",
        ),
        (("--to", "parquet", "--out", "ratings.csv"), "{place}/ratings.csv exists; nothing was written; give a new file or remove it"),
        (("--to", "parquet", "--out", "model"), "{place}/model exists; nothing was written"),
        (("--to", "parquet", "--out", "model/v.parquet"), "--out is model/v.parquet, inside of a saved model that is read"),
        (("--to", "parquet", "--out", "page"), "{place}/page.json exists; nothing was written"),
        (("--to", "parquet", "--out", "none/v"), "{place}/none/v cannot be written: {place}/none is not a folder that can be written to"),
        (("--to", "model", "--out", "model", "--no-histories"), "{place}/model exists; nothing was written"),
    ],
)
def test_an_export_that_cannot_be(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    (place / "page.json").write_text("mine")
    assert refused(run, place, "export", "model", *words).startswith(message.format(place=place))
    assert "not a folder with a saved model" in refused(run, place, "export", "nosuch", "--to", "numpy", "--out", "v")


# ---------------------------------------------------------------- without histories


def test_a_copy_without_histories_is_the_fit_without_histories(run: Run, place: Path) -> None:
    assert run("fit", "ratings.csv", "--method", "svd", "--out", "whole")[0] == 0
    assert run("fit", "ratings.csv", "--method", "svd", "--out", "direct", "--no-histories")[0] == 0
    code, out, err = run("export", "whole", "--to", "model", "--out", "copy", "--no-histories")
    assert (code, out, err) == (0, "svd without histories saved to copy\n", "")
    assert files(place / "copy") == files(place / "direct")
    assert "histories.safetensors" not in files(place / "copy")
    assert run("export", "model", "--to", "model", "--out", "other", "--no-histories")[0] == 0
    assert json.loads((place / "other" / "manifest.json").read_text())["metrics"] == {"recall@10": 0.5}
    assert json.loads((place / "other" / "manifest.json").read_text())["schema"] == 1


def test_a_model_without_histories_says_what_it_cannot_do(run: Run, place: Path) -> None:
    assert refused(run, place, "recommend", "forgetful", "--user", "u1").startswith(
        "this model was saved without histories: what people know"
    )
    code, out, err = run("recommend", "forgetful", "--user", "u1", "--with-known", "--k", "30")
    assert (code, err, out.count("\n")) == (0, "", 31)
    assert out == run("recommend", "model", "--user", "u1", "--with-known", "--k", "30")[1]
    for words in (("recommend", "{}", "--history", "i1"), ("similar", "{}", "--item", "i1"), ("similar", "{}", "--user", "u1")):
        mine, other = (run(*(w.format(name) for w in words)) for name in ("forgetful", "model"))
        assert mine == other
        assert mine[0] == 0


def test_an_older_artifact_has_histories(run: Run, place: Path) -> None:
    page = json.loads((place / "model" / "manifest.json").read_text())
    assert page.pop("histories") is True
    page.pop("sha256")
    (place / "model" / "manifest.json").write_text(json.dumps({**page, "sha256": rv.artifact.manifest._seal(page)}))
    assert run("recommend", "model", "--user", "u1")[0] == 0


# ---------------------------------------------------------------- checkpoints


def test_a_resumed_fit_ends_with_the_same_bytes(run: Run, place: Path) -> None:
    code, out, err = run(*KEPT, "--resume")
    assert (code, err) == (0, "")
    assert out.startswith("ck held no checkpoint: started anew\nals: ")
    (place / "new").rename(place / "whole")
    (place / "half").rename(place / "ck")
    code, out, err = run(*KEPT, "--resume", "--json", "fit.json")
    assert (code, err) == (0, "")
    assert out.startswith("resumed after epoch 3, from epoch-3-")
    assert files(place / "new") == files(place / "whole")
    assert json.loads((place / "fit.json").read_text())["resumed_after_epoch"] == 3
    assert not (place / "ck").exists()  # the model is saved


def test_a_damaged_checkpoint_is_passed_over_and_said(run: Run, place: Path) -> None:
    last = next((place / "half").glob("epoch-3-*"))
    last.write_bytes(last.read_bytes()[:-1])
    code, out, err = run(*ALS, "--checkpoint", "half", "--resume")
    assert (code, err) == (0, "")
    assert out.startswith(f"{last.name} was damaged and passed over\nresumed after epoch 2, from epoch-2-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*ALS, "--resume"), "--resume is given without --checkpoint; allowed: together; add --checkpoint DIR"),
        ((*ALS, "--checkpoint-every", "2"), "--checkpoint-every is given without --checkpoint; allowed: together"),
        ((*ALS, "--checkpoint", "half"), "{place}/half holds checkpoints of an earlier fit, up to epoch 3; resume to go on with it (--resume)"),
        ((*ALS, "--checkpoint", "half", "--resume", "--seed", "1"), "the checkpoint is of other seed; resume with those it was made with"),
        ((*ALS, "--checkpoint", "half", "--resume", "--set", "reg=1"), "the checkpoint is of other hyper-parameters"),
        (("fit", "later.csv", *ALS[2:], "--checkpoint", "half", "--resume"), "the checkpoint is of other data"),
        (("fit", "nosuch.csv", *ALS[2:], "--checkpoint", "half", "--resume", "--seed", "1"), "the checkpoint is of other seed"),  # before reading
        ((*KEPT, "--checkpoint", "model"), "{place}/model holds other things than checkpoints, such as 'arrays.safetensors'"),
        ((*KEPT, "--checkpoint", "."), "--checkpoint . and --out new lie in each other; allowed: two folders apart"),
        ((*KEPT, "--checkpoint", "new"), "--checkpoint new and --out new lie in each other"),
        ((*KEPT, "--checkpoint", "new/ck"), "--checkpoint new/ck and --out new lie in each other"),
        ((*KEPT, "--checkpoint", "ratings.csv"), "{place}/ratings.csv cannot be written: {place}/ratings.csv is not a folder"),
        ((*KEPT, "--checkpoint", "ratings.csv/ck"), "{place}/ratings.csv/ck cannot be written: {place}/ratings.csv is not a folder"),
        ((*KEPT, "--checkpoint", "x" * 300), "{place}/" + "x" * 300 + " cannot be written: File name too long"),
        ((*KEPT, "--checkpoint", ""), "--checkpoint . and --out new lie in each other"),
        (("fit", "ratings.csv", "--method", "svd", "--out", "new", "--checkpoint", "ck"), "svd does not learn by epochs, so it has no checkpoints; allowed with: als"),
        (("fit", "nosuch.csv", *KEPT[2:]), "nosuch.csv does not exist"),
    ],
)  # fmt: skip
def test_checkpoints_that_cannot_be(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    found = {p.name: p.read_bytes() for p in (place / "half").iterdir()}
    code, out, err = run(*words)
    assert code == 1
    assert err.startswith("recvec: " + message.format(place=place))
    assert err.count("\n") == 1
    assert out == "" or "of other data" in err  # what it goes on from was said by then
    assert {p.name: p.read_bytes() for p in (place / "half").iterdir()} == found
    assert sorted(p.name for p in place.iterdir()) == ["forgetful", "half", "later.csv", "model", "ratings.csv"]


def test_every_checkpoint_damaged_is_refused(run: Run, place: Path) -> None:
    for path in (place / "half").iterdir():
        path.write_bytes(b"\0" * 1000)
    said = refused(run, place, *ALS, "--checkpoint", "half", "--resume")
    assert said == f"{place}/half holds damaged checkpoints only; remove it and start anew, or restore it from a backup"


def test_a_folder_that_cannot_be_written_to_is_said(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ck").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not (mode & os.W_OK and "ck" in str(path)))
    assert refused(run, place, *KEPT).startswith(f"{place}/ck cannot be written: {place}/ck is not a folder that can be written to")


def test_numbers_of_epochs_are_whole(run: Run, place: Path) -> None:
    for given in ("0", "-1", "x"):
        said = refused(run, place, *KEPT, "--checkpoint-every", given, code=2)
        assert said.startswith("Invalid value for '--checkpoint-every': ")


def test_a_full_disk_is_said_and_the_fit_goes_on(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module.Checkpoints, "_write", full)
    code, out, err = run(*KEPT)
    assert code == 0
    assert out.startswith("als: ")
    trouble = f"recvec: the checkpoint of epoch 1 was not written to {place}/ck: No space left on device"
    assert err == f"{trouble}; the fit goes on, there is none yet; free space\n"
    assert (place / "new" / "manifest.json").exists()


def test_ctrl_c_keeps_what_is_whole(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Checkpoints._write

    def stop(self: Checkpoints, state: object, epoch: int) -> None:
        if epoch == 3:
            raise KeyboardInterrupt
        real(self, state, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_write", stop)
        code, out, err = run(*KEPT)
    assert (code, out, err) == (130, "", "recvec: stopped; nothing is left half-written\n")
    assert not (place / "new").exists()
    assert run(*KEPT, "--resume")[1].startswith("resumed after epoch 2, from epoch-2-")


def test_a_save_that_fails_keeps_the_checkpoints(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("recvec.artifact.store._sync", full)
        code, _, err = run(*KEPT)
    assert code == 1
    assert err == f"recvec: {place}/new cannot be written: No space left on device; free space or give another folder\n"
    code, out, _ = run(*KEPT, "--resume")
    assert code == 0
    assert out.startswith("resumed after epoch 5, from epoch-5-")
