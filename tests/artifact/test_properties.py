"""Any dataset comes back as it was saved; any byte that changed is found; no array, however well sealed, breaks a list."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file, save_file

import recvec as rv
from recvec.artifact import manifest
from recvec.contract import Method
from recvec.data.synthetic import sample_tables
from recvec.errors import ArtifactError, RecvecError
from recvec.models import registry

SCRIPTS = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(
        ["007", " a ", 'q"x', "c,d", "n\nl", "t\tt", "\0", "😀", "אבג", "ไทย", "e\u0301", "é", "İ", "x" * 3000, "-1", "NULL", "1e5"]
    ),
)  # by default all of Unicode, without halves of letters
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-3, 50)


@st.composite
def ids(draw: st.DrawFn, most: int) -> pl.Series:
    """2 to `most` distinct ids, all of them text or all of them integers."""
    given_ids = draw(st.lists(draw(st.sampled_from([SCRIPTS, NUMBERS])), min_size=2, max_size=most, unique=True))
    return pl.Series(given_ids)


@st.composite
def attributes(draw: st.DrawFn, known: pl.Series, name: str) -> pl.DataFrame | None:
    """A table of some of the ids, with one column of each type, gaps included."""
    if draw(st.booleans()):
        return None
    n = draw(st.integers(1, len(known)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    columns = {
        "kind": pl.Series(rng.choice(["a", "ב", "", "c d"], n)),
        "size": pl.Series(np.where(rng.random(n) < 0.3, np.nan, rng.standard_normal(n)), nan_to_null=True),
        "tags": pl.Series(
            [list(rng.choice(["x", "y|z", "😀"], rng.integers(0, 3), replace=False)) for _ in range(n)], dtype=pl.List(pl.String)
        ),
        "look": pl.Series(rng.standard_normal((n, 2)).astype(np.float32)),
        "title": pl.Series([f"The {i}th" if i % 3 else None for i in range(n)], dtype=pl.String),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, unique=True))
    return pl.DataFrame([known.head(n).alias(name), *(columns[c].alias(c) for c in chosen)])


@st.composite
def datasets(draw: st.DrawFn) -> rv.Dataset:
    """Rows that follow a power law, with duplicates; weights, ratings, times and attributes where it pleases."""
    users, items = draw(ids(25)), draw(ids(18))
    rng, n = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.integers(2, 120))
    u, i = ((rng.pareto(draw(st.sampled_from([0.5, 1.5])), n)).astype(np.int64) % len(side) for side in (users, items))
    u[:2], i[:2] = (0, 1), (0, 1)  # two of each at least
    columns = {"user_id": users[u], "item_id": items[i]}
    columns |= {"rating": pl.Series(rng.integers(1, 6, n))} if draw(st.booleans()) else {}
    columns |= {"weight": pl.Series(rng.choice([0.5, 1.0, 1e-30, 1e4], n))} if draw(st.booleans()) else {}
    columns |= {"timestamp": pl.Series(np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n)))} if draw(st.booleans()) else {}
    sides = draw(attributes(users, "user_id")), draw(attributes(items, "item_id"))
    return rv.read(pl.DataFrame(columns), users=sides[0], items=sides[1])


METHODS = (rv.Popularity(), rv.Random(), rv.SVD(embedding_dim=3), rv.ALS(embedding_dim=3, epochs=1))


@settings(max_examples=60)
@given(data=datasets(), method=st.sampled_from(METHODS), grown=st.booleans())
def test_whatever_is_saved_comes_back(data: rv.Dataset, method: Method, grown: bool) -> None:
    if grown:  # ids that only the test part names come last, in an order of their own
        some = pl.DataFrame({"user_id": ["new \U0001f9d9", "a"], "item_id": ["000", "b"]})
        data = rv.split(data, test=some).train
    who = rv.Recommender(method.fit(data, rng=1), data)
    with tempfile.TemporaryDirectory() as name:
        rv.save(who, Path(name) / "model", metrics={"recall@10": 0.25, "auc": float("nan")})
        again = rv.load(Path(name) / "model")
        assert [p.name for p in Path(name).iterdir()] == ["model"]
    assert_same_data(again, who)
    assert again.model.method == who.model.method
    assert again.fingerprint == data.fingerprint
    mine, theirs = who.model.state(), again.model.state()
    assert theirs.meta == mine.meta
    assert theirs.arrays.keys() == mine.arrays.keys()
    for key, array in mine.arrays.items():
        assert theirs.arrays[key].dtype == array.dtype, key
        assert theirs.arrays[key].tobytes() == array.tobytes(), key
    for ask in (lambda w: w.recommend(data.users.ids, 5), lambda w: w.recommend_for(history=data.items.ids[:2].to_list(), k=4)):
        assert_frame_equal(ask(again), ask(who), check_exact=True)


def assert_same_data(again: rv.Recommender, who: rv.Recommender) -> None:
    for mine, theirs in ((who.users, again.users), (who.items, again.items)):
        assert theirs.ids.equals(mine.ids, check_names=True, check_dtypes=True)
    for name in ("indptr", "items", "weights", "times", "order"):
        mine, theirs = getattr(who.histories, name), getattr(again.histories, name)
        assert (theirs is None) == (mine is None), name
        assert mine is None or (theirs.dtype == mine.dtype and theirs.tobytes() == mine.tobytes()), name
    for side in ("user_features", "item_features"):
        mine, theirs = getattr(who.train, side), getattr(again.train, side)
        assert (theirs is None) == (mine is None)
        if mine is not None:
            assert_frame_equal(theirs.frame, mine.frame, check_exact=True)
            assert theirs.types == mine.types


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with attributes and a rung."""
    interactions, users, items = sample_tables(n_users=15, n_items=12, mean_history=5)
    data = rv.read(interactions, users=users, items=items)
    place = tmp_path_factory.mktemp("kept") / "model"
    rv.save(rv.Recommender(rv.ALS(embedding_dim=2, epochs=1).fit(data, rng=0), data), place, metrics={"recall@10": 0.1})
    return place


@contextlib.contextmanager
def changed(path: Path, raw: bytes) -> Iterator[None]:
    """Other bytes in a file, for a while."""
    before = path.read_bytes()
    path.write_bytes(raw)
    try:
        yield
    finally:
        path.write_bytes(before)


def same_page(path: Path, before: bytes, after: bytes) -> bool:
    """Whether a manifest still says the same: other white space, or another way to write a number."""
    if path.name != manifest.NAME:
        return False
    try:
        return json.loads(before) == json.loads(after)
    except (ValueError, RecursionError):
        return False


def assert_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        rv.load(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)


@settings(max_examples=250)
@given(which=st.integers(0, 6), share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_byte_that_is_flipped_is_found(kept: Path, which: int, share: float, flip: int) -> None:
    path = files(kept)[which]
    raw = path.read_bytes()
    at = int(share * len(raw))
    other = raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]
    with changed(path, other):
        if not same_page(path, raw, other):
            assert_refused(kept)
    assert rv.load(kept).users.ids.len() == 15


def files(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    assert len(found) == 7
    return found


@settings(max_examples=100)
@given(which=st.integers(0, 6), share=st.floats(0, 1, exclude_max=True), more=st.binary(max_size=3), cut=st.booleans())
def test_any_cut_or_longer_file_is_found(kept: Path, which: int, share: float, more: bytes, cut: bool) -> None:
    path = files(kept)[which]
    raw = path.read_bytes()
    other = raw[: int(share * len(raw))] if cut else raw + b"\0" + more
    with changed(path, other):
        if not same_page(path, raw, other):
            assert_refused(kept)


# ---------------------------------------------------------------- forged: changed, and sealed again


ARRAYS = ("arrays.safetensors", "histories.safetensors", "rungs/popular/arrays.safetensors")
VALUES = st.sampled_from([-1.0, 0.0, 1.0, 7.0, 11.0, 12.0, 2.0**31, 1e30, np.nan, np.inf])


@st.composite
def forgeries(draw: st.DrawFn) -> object:
    """Another array for one of a file: one other value, or another shape or type."""
    which, value, share = draw(st.integers(0, 99)), draw(VALUES), draw(st.floats(0, 1, exclude_max=True))
    how = draw(st.sampled_from(["value", "shorter", "twice", "backwards", "flat", "deeper", "empty", "float64", "int8", "scalar"]))

    def other(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        name = sorted(arrays)[which % len(arrays)]
        a = arrays[name].copy()
        with np.errstate(all="ignore"):
            if how == "value" and a.size:
                a.flat[int(share * a.size)] = np.array(value).astype(a.dtype)
        with np.errstate(all="ignore"):
            narrow = a.astype(np.int8)
        shapes = {
            "shorter": a[:-1], "twice": np.concatenate([a, a]), "backwards": a[::-1], "flat": a.reshape(-1), "deeper": a[None], "empty": a[:0],
            "float64": a.astype(np.float64), "int8": narrow, "scalar": np.zeros((), a.dtype),
        }  # fmt: skip
        return arrays | {name: np.ascontiguousarray(shapes.get(how, a))}

    return other


def reseal(folder: Path) -> None:
    """Make a manifest say what its folder holds, as someone would who knows how."""
    path = folder / manifest.NAME
    page = json.loads(path.read_text())
    page.pop("sha256")
    page["arrays"] = manifest.describe(load_file(folder / "arrays.safetensors"))
    page["files"] = {name: manifest.file_hash(folder / name) for name in page["files"]}
    page["sha256"] = manifest._seal(page)
    path.write_text(json.dumps(page))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of every method."""
    interactions, _, items = sample_tables(n_users=15, n_items=12, mean_history=5)
    data = rv.read(interactions, items=items)
    place = tmp_path_factory.mktemp("several")
    for name in registry.names():
        rv.save(rv.Recommender(rv.method(name).fit(data, rng=0), data), place / name)
    return place


@settings(max_examples=250)
@given(model=st.sampled_from(registry.names()), name=st.sampled_from(ARRAYS), other=forgeries())
def test_forged_arrays_are_refused_or_do_no_harm(several: Path, model: str, name: str, other: object) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(several / model, Path(place) / "model"))
        save_file(other(load_file(folder / name)), folder / name)
        if name.startswith("rungs"):
            reseal(folder / "rungs" / "popular")
        reseal(folder)
        with contextlib.suppress(RecvecError):
            who = rv.load(folder)
            assert who.recommend(who.users.ids, 5)["item_id"].is_in(who.items.ids.implode()).all()
            who.recommend_for(history=who.items.ids[:2].to_list())
            who.recommend_for(k=3)
            who.similar_items(who.items.ids[0])


@pytest.mark.parametrize(
    ("model", "name", "value"), [("rp3beta", "weights.indptr", -(2**63)), ("als", "item_vectors", np.inf), ("bpr", "item_vectors", 1e30)]
)
def test_numbers_that_would_lead_astray_are_refused(several: Path, tmp_path: Path, model: str, name: str, value: float) -> None:
    folder = Path(shutil.copytree(several / model, tmp_path / "model"))
    arrays = load_file(folder / "arrays.safetensors")
    arrays[name].flat[5] = value
    save_file(arrays, folder / "arrays.safetensors")
    reseal(folder)
    with pytest.raises(ArtifactError, match="is damaged"):
        rv.load(folder)
