"""A model as a folder: whole or not there, the same after loading, and refused when anything about it has changed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file, save_file

import recvec as rv
from recvec.artifact import manifest, store
from recvec.data.synthetic import sample_tables
from recvec.errors import ArtifactError

FILES = (
    "arrays.safetensors", "histories.safetensors", "items.parquet", "manifest.json", "users.parquet",
    "rungs/popular/arrays.safetensors", "rungs/popular/manifest.json",
)  # fmt: skip


def make() -> rv.Recommender:
    interactions, users, items = sample_tables(n_users=40, n_items=30, mean_history=8)
    data = rv.read(interactions, users=users, items=items)
    return rv.Recommender(rv.SVD(embedding_dim=4).fit(data, rng=0), data)


@pytest.fixture(scope="module")
def who() -> rv.Recommender:
    return make()


@pytest.fixture(scope="module")
def kept(who: rv.Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kept") / "model"
    rv.save(who, place, metrics={"recall@10": 0.5})
    return place


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "model"))


def reseal(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change a manifest and seal it again, as someone would who knows how."""
    page = json.loads((folder / "manifest.json").read_text())
    page.pop("sha256")
    change(page)
    page["files"] = {name: manifest.file_hash(folder / name) for name in page["files"]}
    page["sha256"] = manifest._seal(page)
    (folder / "manifest.json").write_text(json.dumps(page))


# ---------------------------------------------------------------- there and back


def test_what_is_loaded_is_what_was_saved(who: rv.Recommender, kept: Path) -> None:
    again = rv.load(kept)
    everyone = who.users.ids
    assert_frame_equal(again.recommend(everyone, 10), who.recommend(everyone, 10), check_exact=True)
    assert_frame_equal(again.recommend_for(history=["i1", "i2"]), who.recommend_for(history=["i1", "i2"]), check_exact=True)
    assert_frame_equal(again.recommend_for(k=5), who.recommend_for(k=5), check_exact=True)
    assert_frame_equal(again.similar_items("i1"), who.similar_items("i1"), check_exact=True)
    assert again.titles(again.items.ids).to_list() == who.titles(who.items.ids).to_list()
    assert again.train.user_features.types == who.train.user_features.types
    assert np.array_equal(again.histories.times, who.histories.times)
    assert np.array_equal(again.histories.order, who.histories.order)
    page = json.loads((kept / "manifest.json").read_text())
    assert page["metrics"] == {"recall@10": 0.5}
    assert page["data"] == who.train.fingerprint
    for name, array in load_file(kept / "arrays.safetensors").items():
        assert page["arrays"][name]["shape"] == list(array.shape)
        assert page["arrays"][name]["dtype"] == str(array.dtype)


def test_the_folder_holds_exactly_its_files(kept: Path) -> None:
    assert sorted(p.relative_to(kept).as_posix() for p in kept.rglob("*") if p.is_file()) == sorted(FILES)
    assert [p.name for p in kept.parent.iterdir()] == ["model"]


def test_saving_twice_gives_equal_bytes(who: rv.Recommender, kept: Path, tmp_path: Path) -> None:
    rv.save(who, tmp_path / "again", metrics={"recall@10": 0.5})
    assert all((tmp_path / "again" / name).read_bytes() == (kept / name).read_bytes() for name in FILES)


@pytest.mark.parametrize("name", ["a b", "ünï-😀", "model[1]", "x*y?", "m" * 255])
def test_any_folder_name_works(who: rv.Recommender, tmp_path: Path, name: str) -> None:
    rv.save(who, tmp_path / name)
    assert rv.load(tmp_path / name).users.ids.to_list() == who.users.ids.to_list()


def test_a_model_without_rungs_comes_back_without_them(who: rv.Recommender, tmp_path: Path) -> None:
    rv.save(rv.Recommender(who.model, who.train, rungs={}), tmp_path / "bare")
    assert rv.load(tmp_path / "bare").rungs == {}


def test_odd_ids_come_back(tmp_path: Path) -> None:
    ids = ["007", " a ", 'q"x', "c,d", "n\nl", "t\tt", "😀", "אבג", "y" * 5000, "\\"]
    data = rv.read(pl.DataFrame({"user_id": ids + ids, "item_id": [*ids, *ids[1:], ids[0]]}))
    rv.save(rv.Recommender(rv.Popularity().fit(data), data), tmp_path / "m")
    assert rv.load(tmp_path / "m").users.ids.to_list() == sorted(ids)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_cut_file_is_refused(copy: Path, name: str, share: float) -> None:
    path = copy / name
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(ArtifactError, match=r"(was edited or damaged|is damaged).*; restore it from a backup or fit again$"):
        rv.load(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_a_flipped_bit_is_refused(copy: Path, name: str, share: float) -> None:
    path = copy / name
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * share)] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"damaged|in format"):
        rv.load(copy)


def test_every_single_byte_of_the_manifest_counts(copy: Path) -> None:
    path = copy / "manifest.json"
    raw = path.read_bytes()
    json_text = json.loads(raw)
    for at in range(0, len(raw), 7):
        changed = raw[:at] + bytes([raw[at] ^ 2]) + raw[at + 1 :]
        path.write_bytes(changed)
        try:
            same = json.loads(changed) == json_text  # white space that is still white space
        except ValueError:
            same = False
        if not same:
            with pytest.raises(ArtifactError):
                manifest.read(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_deleted_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=r"is missing; restore it|holds no manifest.json; it is not a saved model"):
        rv.load(copy)


def test_a_deleted_rung_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "rungs")
    with pytest.raises(ArtifactError, match=r"rungs/popular/manifest\.json is missing"):
        rv.load(copy)


def test_a_rung_of_another_model_is_refused(copy: Path, tmp_path: Path) -> None:
    data = rv.sample(n_users=12, n_items=10)
    rv.save(rv.Recommender(rv.SVD(embedding_dim=2).fit(data), data), tmp_path / "other")
    shutil.rmtree(copy / "rungs" / "popular")
    shutil.copytree(tmp_path / "other" / "rungs" / "popular", copy / "rungs" / "popular")
    with pytest.raises(ArtifactError, match=r"rungs/popular/manifest\.json was edited or damaged"):
        rv.load(copy)


@pytest.mark.parametrize("name", ["more.safetensors", "rungs/popular/more.safetensors", "more.parquet"])
def test_an_added_file_is_refused(copy: Path, name: str) -> None:
    shutil.copy(copy / "arrays.safetensors", copy / name)
    with pytest.raises(ArtifactError, match=r"more\.\w+ is not listed in manifest.json: it was added later; remove it"):
        rv.load(copy)


def test_a_note_beside_the_model_is_none_of_our_business(copy: Path) -> None:
    (copy / "README.txt").write_text("my best model")
    assert rv.load(copy).users.ids.len() == 40


def test_an_added_array_is_refused(copy: Path) -> None:
    path = copy / "arrays.safetensors"
    save_file({**load_file(path), "extra": np.zeros(3, np.float32)}, path)
    with pytest.raises(ArtifactError, match=r"arrays.safetensors was edited or damaged"):
        rv.load(copy)
    reseal(copy, lambda page: None)
    with pytest.raises(ArtifactError, match=r"has other arrays than its manifest.json says: extra; restore it"):
        rv.load(copy)


def test_an_array_of_another_shape_is_refused(copy: Path) -> None:
    path = copy / "arrays.safetensors"
    arrays = load_file(path)
    name = next(iter(sorted(arrays)))
    save_file({**arrays, name: arrays[name][:-1].copy()}, path)
    reseal(copy, lambda page: None)
    with pytest.raises(ArtifactError, match=rf"has other arrays than its manifest.json says: {name}; restore it"):
        rv.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(schema=99, library="9.1"), r"was written by recvec 9\.1 in format 99; this version reads up to 1; upgrade recvec"),
        (lambda p: p.update(schema=0), "was edited or damaged"),
        (lambda p: p.update(method="nosuch"), "is damaged: there is no method 'nosuch'"),
        (lambda p: p["hyperparameters"].update(nosuch=1), "is damaged: .*nosuch"),
        (lambda p: p["hyperparameters"].update(embedding_dim=-1), "is damaged: svd: embedding_dim is -1; allowed"),
        (lambda p: p.pop("features"), "is damaged: 'features'"),
        (lambda p: p.pop("arrays"), "is damaged: 'arrays'"),
        (lambda p: p.pop("rungs"), "is damaged: 'rungs'"),
        (lambda p: p.update(rungs=["nosuch"]), "rungs/nosuch is not a folder with a saved model"),
        (lambda p: p.update(history_value="nosuch"), "is damaged: .*history_value.*nosuch"),
    ],
)  # fmt: skip
def test_a_manifest_that_says_something_else_is_refused(copy: Path, change: Callable[[dict[str, object]], None], message: str) -> None:
    reseal(copy, change)
    with pytest.raises(ArtifactError, match=message):
        rv.load(copy)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", '{"schema": "x"}', '{"schema": null}', '{"schema": 1e999}', '{"a": "\\ud800", "schema": 1}', "[" * 100_000],
)
def test_a_manifest_that_is_none_is_refused(copy: Path, text: str) -> None:  # fmt: skip
    (copy / "manifest.json").write_text(text)
    with pytest.raises(
        ArtifactError, match=r"manifest.json (is damaged \(\w+\)|was edited or damaged); restore it from a backup or fit again"
    ):
        rv.load(copy)


def test_what_is_no_model_is_said(kept: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nosuch", kept / "manifest.json"):
        with pytest.raises(ArtifactError, match=r"is not a folder with a saved model; give the folder that 'recvec fit --out' made$"):
            rv.load(path)
    with pytest.raises(ArtifactError, match=r"holds no manifest.json; it is not a saved model, or its writing was interrupted$"):
        rv.load(tmp_path)
    with pytest.raises(ArtifactError, match=r"cannot be read: File name too long; check the path and its rights$"):
        rv.load(tmp_path / ("x" * 300))


# ---------------------------------------------------------------- places that cannot be written


def test_an_existing_place_is_refused_and_stays(who: rv.Recommender, tmp_path: Path) -> None:
    for place in (tmp_path / "folder", tmp_path / "file", tmp_path / "link"):
        if place.name == "folder":
            place.mkdir()
        elif place.name == "file":
            place.write_text("mine")
        else:
            place.symlink_to(tmp_path / "nowhere")
        with pytest.raises(ArtifactError, match=r"exists; nothing was written; give a new folder or remove it$"):
            rv.save(who, place)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_parent_that_is_a_file_is_named(who: rv.Recommender, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match=r"cannot be written: \S+/file is not a folder that can be written to; give another folder$"):
        rv.save(who, tmp_path / "file" / "deep" / "model")


def test_a_name_that_is_too_long_is_refused(who: rv.Recommender, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot be written: File name too long; free space or give another folder$"):
        rv.save(who, tmp_path / ("x" * 300))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_folder_is_named(who: rv.Recommender, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ArtifactError, match="is not a folder that can be written to"):
        rv.save(who, tmp_path / "model")
    tmp_path.chmod(0o755)


def test_a_read_only_folder_is_named_to_root_too(who: rv.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.os, "access", lambda *_: False)
    with pytest.raises(ArtifactError, match="is not a folder that can be written to; give another folder"):
        rv.save(who, tmp_path / "model")


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("step", ["_write_side", "_write_model", "_sync", "save_file"])
def test_whatever_stops_a_save_leaves_nothing(
    who: rv.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: BaseException, step: str
) -> None:
    (tmp_path / "old").mkdir()

    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(store, step, fail)
    expected = ArtifactError if isinstance(trouble, OSError) else type(trouble)
    with pytest.raises(expected) as caught:
        rv.save(who, tmp_path / "a" / "b" / "model")
    if expected is ArtifactError:
        assert str(caught.value) == f"{tmp_path}/a/b/model cannot be written: No space left on device; free space or give another folder"
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_parents_that_others_use_stay(who: rv.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        (folder.parent / "other").write_text("not ours")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_sync", fail)
    with pytest.raises(ArtifactError, match="No space left"):
        rv.save(who, tmp_path / "a" / "model")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["a", "a/other"]


def test_a_disk_that_runs_full_leaves_nothing(tmp_path: Path) -> None:
    """The operating system refuses to let any file grow beyond the limit, at every stage of writing in turn."""
    script = tmp_path / "fill.py"
    script.write_text(
        "import resource, sys\nimport recvec as rv\n"
        "data = rv.sample(n_users=300, n_items=200)\nwho = rv.Recommender(rv.SVD(embedding_dim=16).fit(data), data)\n"
        "for limit in (0, 500, 3000, 10_000, 20_000):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    try:\n        rv.save(who, 'new/model')\n"
        "    except rv.RecvecError as error:\n        print(type(error).__name__, error)\n"
    )
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, str(script)], cwd=place, capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert line.startswith(f"ArtifactError {place}/new/model cannot be written: ")
        assert "too large" in line
        assert line.endswith("; free space or give another folder")
    assert list(place.iterdir()) == []
