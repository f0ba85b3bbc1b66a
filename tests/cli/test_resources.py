"""Memory and time on the command line: what is long is announced, what cannot fit is refused with nothing written."""

import sys
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.cli import training
from recvec.cli.main import main
from recvec.contract import Cost, DataShape
from recvec.data.synthetic import sample_tables
from recvec.errors import ResourceError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows, _, _ = sample_tables(n_users=40, n_items=30, mean_history=8)
    rows.write_parquet(tmp_path / "rows.parquet")
    rows.write_csv(tmp_path / "rows.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recvec", *words])
        try:
            main()
        except SystemExit as left:
            return int(left.code or 0)
    return 0


FIT = ("--method", "als", "--set", "embedding_dim=8", "--set", "epochs=2")


def test_a_long_fit_is_announced_on_standard_error(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("fit", "rows.csv", *FIT, "--out", "quiet", "--threads", "2") == 0
    assert not capsys.readouterr().err
    monkeypatch.setattr(training, "LONG_SECONDS", 0)
    for command in (("fit", "rows.csv", *FIT, "--out", "loud"), ("evaluate", "rows.csv", *FIT)):
        assert run(*command, "--threads", "2") == 0
        said = capsys.readouterr()
        line = "recvec: fitting als is estimated to take about 1 seconds and 0.0 GB beside the data, on 2 thread(s)\n"
        assert said.err == line
        assert "estimated" not in said.out


def test_a_fit_that_cannot_fit_is_refused_and_names_the_choices(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recvec.contract.method.available_memory", lambda: 9000)
    assert run("fit", "rows.csv", *FIT, "--out", "new") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "als would take about 0 MB; allowed: 0 MB, which is free; lower embedding_dim to" in said
    assert said.endswith(", fit fewer rows or use a larger machine\n")
    assert sorted(p.name for p in place.iterdir()) == ["rows.csv", "rows.parquet"]


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_file_that_cannot_fit_is_refused_before_it_is_read(
    place: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recvec.data.memory.available_memory", lambda: 1000)
    monkeypatch.setattr(pl, "read_parquet", None)
    assert run("fit", name, *FIT, "--out", "new") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "recvec: reading " in said
    assert f"{name} would take about 0 MB; allowed: 0 MB, which is free; " in said
    assert not (place / "new").exists()


def test_a_shorter_vector_is_named_only_where_it_fits() -> None:
    data, shape = rv.sample(seed=0), DataShape.of(rv.sample(seed=0))
    half = rv.ALS(embedding_dim=32).estimate(shape).memory
    with pytest.raises(ResourceError, match="lower embedding_dim to 32, fit fewer rows or raise the memory limit"):
        rv.ALS(embedding_dim=64).fit(data, runtime=rv.Runtime(memory_limit=half))
    with pytest.raises(ResourceError, match="; fit fewer rows or raise the memory limit"):
        rv.ALS(embedding_dim=64).fit(data, runtime=rv.Runtime(memory_limit=1))


@pytest.mark.parametrize(("seconds", "words"), [(0.1, "1 seconds"), (90, "90 seconds"), (170, "3 minutes"), (9000, "2 hours")])
def test_costs_in_words(seconds: float, words: str) -> None:
    cost = Cost(operations=seconds * Cost.OPERATIONS_PER_SECOND, bytes_moved=0, memory=2_140_000_000)
    assert cost.told() == f"about {words} and 2.1 GB"
