"""A half-done fit on disk: killed at any moment it goes on to the same bits, and nothing damaged is ever taken for whole."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import recvec as rv
from recvec.artifact import checkpoint as module
from recvec.artifact.checkpoint import Checkpoints
from recvec.contract import State
from recvec.data.synthetic import sample_tables
from recvec.errors import ArtifactError

RECVEC = str(Path(sys.executable).parent / "recvec")
METHOD = rv.ALS(embedding_dim=8, epochs=6)


@pytest.fixture(scope="module")
def data() -> rv.Dataset:
    return rv.sample(n_users=60, n_items=40, mean_history=10)


def half_done(data: rv.Dataset, folder: Path, *, epochs: int = 4, every: int = 1) -> None:
    """Fit until an epoch is over, then stop as Ctrl-C does."""

    def stop(epoch: int, _: object) -> None:
        if epoch > epochs:
            raise KeyboardInterrupt

    kept = Checkpoints(folder, every=every)
    assert kept.begin(resume=False) is None
    with pytest.raises(KeyboardInterrupt), kept:
        METHOD.fit(data, checkpoint=kept, on_epoch=stop)


def names(folder: Path) -> list[str]:
    return sorted(p.name.rpartition("-")[0] for p in folder.iterdir())


def same(left: object, right: object) -> bool:
    return all(np.array_equal(left.state().arrays[n], a) for n, a in right.state().arrays.items()) and left.curve == right.curve


def test_the_last_two_are_kept_and_a_fit_goes_on_to_the_same_bits(data: rv.Dataset, tmp_path: Path) -> None:
    half_done(data, tmp_path / "a" / "ck")
    assert names(tmp_path / "a" / "ck") == ["epoch-3", "epoch-4"]
    kept = Checkpoints(tmp_path / "a" / "ck")
    found = kept.begin(resume=True)
    assert (found.epoch, found.damaged) == (4, [])
    seen: list[int] = []
    with kept:
        resumed = METHOD.fit(data, checkpoint=kept, resume=found.state, on_epoch=lambda e, _: seen.append(e))
        assert names(tmp_path / "a" / "ck") == ["epoch-5", "epoch-6"]
        kept.clear()
    assert seen == [5, 6]
    assert same(METHOD.fit(data), resumed)
    assert not (tmp_path / "a" / "ck").exists()


def test_after_the_last_epoch_only_the_end_is_left(data: rv.Dataset, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    with kept:
        whole = METHOD.fit(data, checkpoint=kept)
    found = Checkpoints(tmp_path).begin(resume=True)
    assert found.epoch == 6
    assert same(whole, METHOD.fit(data, resume=found.state))


def test_every_so_many_epochs(data: rv.Dataset, tmp_path: Path) -> None:
    half_done(data, tmp_path / "ck", epochs=5, every=2)
    assert names(tmp_path / "ck") == ["epoch-2", "epoch-4"]
    half_done(data, tmp_path / "none", epochs=2, every=4)
    assert not (tmp_path / "none").exists()  # it was made for nothing


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b + b"\0",
        lambda b: bytes([b[0] ^ 1]) + b[1:],
        lambda b: b[:40] + bytes([b[40] ^ 4]) + b[41:],
        lambda b: b[:-1] + bytes([b[-1] ^ 128]),
    ],
)
def test_a_damaged_one_is_passed_over_and_the_one_before_is_used(
    data: rv.Dataset, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    half_done(data, tmp_path)
    last = next(tmp_path.glob("epoch-4-*"))
    last.write_bytes(change(last.read_bytes()))
    kept = Checkpoints(tmp_path)
    found = kept.begin(resume=True)
    assert (found.epoch, found.damaged) == (3, [last])
    with kept:
        assert same(METHOD.fit(data), METHOD.fit(data, checkpoint=kept, resume=found.state))
    assert names(tmp_path) == ["epoch-5", "epoch-6"]
    for path in tmp_path.iterdir():
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"holds damaged checkpoints only; remove it and start anew, or restore it from a backup$"):
        Checkpoints(tmp_path).begin(resume=True)


def test_whole_bytes_that_are_no_checkpoint_are_passed_over(tmp_path: Path) -> None:
    for raw in (b"", b"\x02\0\0\0\0\0\0\0{}", b"x" * 100):
        (tmp_path / f"epoch-1-{module._digest(raw)}.safetensors").write_bytes(raw)
    with pytest.raises(ArtifactError, match="holds damaged checkpoints only"):
        Checkpoints(tmp_path).begin(resume=True)


def test_a_damaged_one_of_the_same_epoch_does_not_push_out_a_whole_one(data: rv.Dataset, tmp_path: Path) -> None:
    half_done(data, tmp_path)
    last = next(tmp_path.glob("epoch-4-*"))
    last.rename(tmp_path / "epoch-4-0123456789abcdef.safetensors")  # not the bytes that its name says
    kept = Checkpoints(tmp_path)
    found = kept.begin(resume=True)
    with kept, pytest.raises(KeyboardInterrupt):
        METHOD.fit(data, checkpoint=kept, resume=found.state, on_epoch=_stop_at_5)
    assert {p.name for p in tmp_path.iterdir()} == {found.path.name, last.name}


def _stop_at_5(epoch: int, _: object) -> None:
    if epoch == 5:
        raise KeyboardInterrupt


def test_other_fits_are_refused(data: rv.Dataset, tmp_path: Path) -> None:
    half_done(data, tmp_path)
    state = Checkpoints(tmp_path).begin(resume=True).state
    with pytest.raises(ArtifactError, match="the checkpoint is of other hyper-parameters; resume with those it was made with"):
        rv.ALS(embedding_dim=8, epochs=7).check_resume(state)
    with pytest.raises(ArtifactError, match="the checkpoint is of other seed"):
        METHOD.check_resume(state, rng=1)
    with pytest.raises(ArtifactError, match="the checkpoint is of other method"):
        rv.SVD(embedding_dim=8).check_resume(state)
    with pytest.raises(ArtifactError, match="the checkpoint is of other data"):
        METHOD.fit(rv.sample(n_users=61, n_items=40, mean_history=10), resume=state)
    METHOD.check_resume(state)


def test_another_version_is_refused(data: rv.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_done(data, tmp_path)
    monkeypatch.setattr(module, "version", lambda _: "99.0")
    with pytest.raises(ArtifactError, match=r"epoch-4-\w+.safetensors was written by another version of recvec; allowed: 99.0; use that"):
        Checkpoints(tmp_path).begin(resume=True)


def test_checkpoints_that_nobody_asked_for_stay(data: rv.Dataset, tmp_path: Path) -> None:
    half_done(data, tmp_path)
    with pytest.raises(ArtifactError, match=r"holds checkpoints of an earlier fit, up to epoch 4; resume .*, or give another folder$"):
        Checkpoints(tmp_path).begin(resume=False)
    assert names(tmp_path) == ["epoch-3", "epoch-4"]


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("is nobody's business")
    assert Checkpoints(tmp_path).begin(resume=True) is None
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (True, False):
        with pytest.raises(ArtifactError, match=r"holds other things than checkpoints, such as 'notes.txt'; give a folder of its own$"):
            Checkpoints(tmp_path).begin(resume=resume)


def test_other_things_that_come_later_stay(data: rv.Dataset, tmp_path: Path) -> None:
    half_done(data, tmp_path / "ck")
    kept = Checkpoints(tmp_path / "ck")
    found = kept.begin(resume=True)
    with kept:
        (tmp_path / "ck" / "notes.txt").write_text("mine")
        METHOD.fit(data, checkpoint=kept, resume=found.state)
        kept.clear()
    assert [p.name for p in (tmp_path / "ck").iterdir()] == ["notes.txt"]


def test_places_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(ArtifactError, match=r"/file is not a folder that can be written to; give another folder$"):
            Checkpoints(folder).begin(resume=True)
    with pytest.raises(ArtifactError, match="File name too long"):
        Checkpoints(tmp_path / ("x" * 300)).begin(resume=True)
    with (
        pytest.raises(ArtifactError, match="link cannot be used for checkpoints: File exists; give another folder"),
        Checkpoints(tmp_path / "link"),
    ):
        pass  # pragma: no cover
    monkeypatch.setattr(module, "check_writable", lambda _: None)
    with pytest.raises(ArtifactError, match=r"cannot be used for checkpoints: Not a directory"):
        Checkpoints(tmp_path / "file").begin(resume=True)


def test_two_fits_cannot_share_a_folder(data: rv.Dataset, tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "ck"):
        for attempt in (lambda: Checkpoints(tmp_path / "ck").begin(resume=True), Checkpoints(tmp_path / "ck").__enter__):
            with pytest.raises(ArtifactError, match="is in use by another fit; wait for it, or give another folder"):
                attempt()
    assert Checkpoints(tmp_path / "ck").begin(resume=True) is None
    assert not (tmp_path / "ck").exists()


def test_a_full_disk_does_not_stop_the_fit(data: rv.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls, said = os.fsync, [], []

    def full(handle: int) -> None:
        calls.append(handle)
        if 4 < len(calls) < 9:  # two calls a checkpoint: the third and those after it fail for a while
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(module.os, "fsync", full)
    kept = Checkpoints(tmp_path / "ck", warn=said.append)
    with kept:
        model = METHOD.fit(data, checkpoint=kept)
    assert same(model, METHOD.fit(data))
    trouble = f"the checkpoint of epoch 3 was not written to {tmp_path}/ck: No space left on device"
    assert said == [f"{trouble}; the fit goes on, the last whole one is of epoch 2; free space"]
    assert "epoch-2" in names(tmp_path / "ck")
    assert not (tmp_path / "ck" / module._BESIDE).exists()


def test_a_full_disk_from_the_start_is_said_once(data: rv.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    kept = Checkpoints(tmp_path / "ck")
    with kept, pytest.warns(RuntimeWarning, match="epoch 1 was not written .*; the fit goes on, there is none yet; free space") as caught:
        METHOD.fit(data, checkpoint=kept)
    assert len(caught) == 1
    assert not (tmp_path / "ck").exists()


def test_a_folder_that_is_gone_does_not_stop_the_fit(data: rv.Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    kept = Checkpoints(tmp_path / "ck", warn=said.append)

    def remove(epoch: int, _: object) -> None:
        if epoch == 3:
            shutil.rmtree(tmp_path / "ck")
            (tmp_path / "ck").write_text("something else")

    with kept:
        model = METHOD.fit(data, checkpoint=kept, on_epoch=remove)
    assert same(model, METHOD.fit(data))
    assert [line.partition(";")[0] for line in said] == [f"the checkpoint of epoch 3 was not written to {tmp_path}/ck: Not a directory"]


def test_a_real_full_disk_is_survived(data: rv.Dataset, tmp_path: Path) -> None:
    """A tiny disk in memory, where the system lets us make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=False, capture_output=True).returncode
    ):
        pytest.skip("no disk can be mounted here")
    try:
        said: list[str] = []
        kept = Checkpoints(disk / "ck", warn=said.append)
        with kept:
            model = METHOD.fit(data, checkpoint=kept)
        assert len(said) == 1
        assert "No space left on device; the fit goes on, the last whole one is of epoch 2" in said[0]
        assert names(disk / "ck") == ["epoch-1", "epoch-2"]
        found = Checkpoints(disk / "ck").begin(resume=True)
        assert same(model, METHOD.fit(data, resume=found.state))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_states_of_any_arrays_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.random((3, 4)).astype(np.float32)[:, ::2], "b": np.arange(5), "c": np.zeros((0, 3), np.float32)}
    meta = {"epoch": 7, "rng": rng.bit_generator.state, "curve": [{"epoch": 1, "loss": 0.1 + 0.2}]}
    kept = Checkpoints(tmp_path)
    with kept:
        kept(State(arrays, meta))
    found = Checkpoints(tmp_path).begin(resume=True)
    assert found.state.meta == meta
    assert all(np.array_equal(found.state.arrays[n], a) and found.state.arrays[n].dtype == a.dtype for n, a in arrays.items())


# ---------------------------------------------------------------- kill -9


def start(place: Path, *more: str) -> "subprocess.Popen[bytes]":
    words = [RECVEC, "fit", "ratings.csv", "--method", "als", "--set", "embedding_dim=16", "--set", "epochs=200"]
    words += ["--out", "model", "--checkpoint", "ck", "--resume", *more]
    return subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the fit ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.001)


def last_epoch(folder: Path) -> int:
    return max((module._epoch(p) for p in folder.glob("epoch-*")), default=0)


def test_killed_three_times_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """The process is killed for good (kill -9) a random time after it has gone on, and started again until it ends."""
    sample_tables(n_users=400, n_items=200, mean_history=30)[0].write_csv(tmp_path / "ratings.csv")
    rng = np.random.default_rng(0)
    done = 0
    for _ in range(3):
        process = start(tmp_path)
        target = done + int(rng.integers(1, 50))
        wait_for(lambda: last_epoch(tmp_path / "ck") >= target, process)  # noqa: B023
        time.sleep(float(rng.random()) * 2e-3)
        process.kill()
        out, err = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert err == b""
        assert not (tmp_path / "model").exists()
        done = last_epoch(tmp_path / "ck")
        assert done >= target
    process = start(tmp_path, "--json", "fit.json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(f"resumed after epoch {done}, from epoch-{done}-".encode())
    assert not (tmp_path / "ck").exists()
    data = rv.read(tmp_path / "ratings.csv")
    rv.save(rv.Recommender(rv.ALS(embedding_dim=16, epochs=200).fit(data), data), tmp_path / "whole")
    for path in (p for p in (tmp_path / "whole").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "model" / path.relative_to(tmp_path / "whole")).read_bytes()
