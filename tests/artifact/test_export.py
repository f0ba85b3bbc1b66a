"""Vectors for other programs: read back by them, to the bit, with ids in any script."""

import json
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recvec as rv
from recvec.artifact import export as module
from recvec.artifact.export import export, tokens
from recvec.contract import DotModel
from recvec.data.synthetic import sample_tables
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ArtifactError, InputError, NotSupportedError
from tests.contract.toys import CoCounts, TinyPair

IDS = [
    "007",
    " a ",
    "100%",
    "%25",
    "c d",
    "n\nl",
    "t\tt",
    "nbsp\u00a0",
    "line\u2028",
    "zero\u200bwidth",
    "😀",
    "אבג",
    "é",
    "\x00",
    "y" * 300,
    "user:1",
    'q"x',
    '"',
    "'",
    "a,b",
]


@pytest.fixture(scope="module")
def who() -> rv.Recommender:
    rows, _, items = sample_tables(n_users=60, n_items=40, mean_history=10)
    data = rv.read(rows, items=items)
    return rv.Recommender(rv.SVD(embedding_dim=5, task="rating").fit(data), data)


def odd() -> rv.Recommender:
    """A recommender with ids in many scripts and vectors of all magnitudes."""
    data = rv.read(pl.DataFrame({"user_id": IDS * 2, "item_id": [*IDS, *IDS[1:], IDS[0]]}))
    rng = np.random.default_rng(0)
    users = (rng.standard_normal((len(IDS), 7)) * 10.0 ** rng.integers(-44, 38, (len(IDS), 7))).astype(np.float32)
    users[0, :4] = [0.0, -0.0, np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal]
    fitted = rv.Random(embedding_dim=7).fit(data)
    return rv.Recommender(DotModel(method=fitted.method, user_vectors=users, item_vectors=users[::-1].copy(), fold_in=fitted.fold_in), data)


def read_word2vec(path: Path) -> dict[str, np.ndarray]:
    """Read as gensim does: split at spaces, after white space at the end is gone."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    n, d = map(int, lines[0].split())
    assert lines[-1] == ""
    vectors = {}
    for line in lines[1:-1]:
        word, *numbers = line.rstrip().split(" ")
        assert len(numbers) == d
        vectors[word] = np.array([np.float32(x) for x in numbers], np.float32)
    assert len(vectors) == n == len(lines) - 2
    return vectors


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint32)


def about(path: Path) -> dict[str, object]:
    return json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- formats


def test_word2vec_restores_every_bit_and_every_id(tmp_path: Path) -> None:
    who = odd()
    for what, prefix in (("users", ""), ("both", "user:")):
        path = tmp_path / f"{what}.txt"
        export(who, path, "word2vec", what=what)
        vectors = read_word2vec(path)
        for row, name in enumerate(who.users.ids):
            (word,) = tokens(pl.Series([name]), prefix)
            assert unquote(word.removeprefix(prefix)) == name
            assert np.array_equal(bits(vectors[word]), bits(who.model.user_vectors[row]))
    assert len(vectors) == 2 * len(IDS)
    assert about(path)["prefixes"] == {"user": "user:", "item": "item:"}
    assert "urllib.parse.unquote" in about(path)["tokens"]


def test_gensim_reads_word2vec(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models")
    who = odd()
    export(who, tmp_path / "v.txt", "word2vec")
    read = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "v.txt"))
    assert len(read) == 2 * len(IDS)
    for word, vector in zip(tokens(who.users.ids, "user:"), who.model.user_vectors, strict=True):
        assert np.array_equal(bits(read[word]), bits(vector))


def test_word2vec_is_what_it_was(tmp_path: Path) -> None:
    """A golden file: other programs read it, so that it must not change by itself."""
    data = rv.read(pl.DataFrame({"user_id": ["a b", "c%", "7"], "item_id": ["x", "y", "x"]}))
    export(rv.Recommender(rv.Popularity().fit(data), data), tmp_path / "v.txt", "word2vec")
    assert (tmp_path / "v.txt").read_text() == "5 1\nuser:7 1.0\nuser:a%20b 1.0\nuser:c%25 1.0\nitem:x 2.0\nitem:y 1.0\n"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_tokens_are_words_and_come_back(text: str) -> None:
    (word,) = tokens(pl.Series([text], dtype=pl.String))
    assert word.split() == [word]
    assert word.isprintable()
    assert unquote(word, errors="strict") == text


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_numbers_come_back(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    vectors = np.array(values, np.float32)[:, None]
    path = tmp_path_factory.mktemp("w") / "v.txt"
    ids = pl.Series("user_id", [str(n) for n in range(len(values))])
    module._word2vec({"user": (Vocabulary(ids, "user"), vectors)}, path)
    read = read_word2vec(path)
    assert np.array_equal(bits(np.concatenate([read[i] for i in ids])), bits(vectors[:, 0]))


def test_many_vectors_go_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: rv.Recommender) -> None:
    monkeypatch.setattr(module, "_ROWS", 7)
    export(who, tmp_path / "v.txt", "word2vec", what="items")
    vectors = read_word2vec(tmp_path / "v.txt")
    assert list(vectors) == who.items.ids.to_list()
    assert np.array_equal(np.stack(list(vectors.values())), who.model.item_vectors)


def test_parquet_has_side_id_and_embedding(who: rv.Recommender, tmp_path: Path) -> None:
    export(who, tmp_path / "v.parquet", "parquet")
    frame = pl.read_parquet(tmp_path / "v.parquet")
    assert dict(frame.schema) == {"side": pl.String, "id": pl.String, "embedding": pl.List(pl.Float32)}
    for side, mine in (("user", who.user_embeddings()), ("item", who.item_embeddings())):
        assert frame.filter(pl.col("side") == side).drop("side").equals(mine)
    export(odd(), tmp_path / "odd.parquet", "parquet", what="items")
    assert pl.read_parquet(tmp_path / "odd.parquet")["id"].to_list() == sorted(IDS)


def test_integer_ids_stay_integers_where_all_are(tmp_path: Path) -> None:
    data = rv.read(pl.DataFrame({"user_id": [7, 8], "item_id": ["x", "y"]}))
    who = rv.Recommender(rv.Popularity().fit(data), data)
    for what, kind in (("users", pl.Int64), ("items", pl.String), ("both", pl.String)):
        export(who, tmp_path / what, "parquet", what=what)
        assert pl.read_parquet(tmp_path / what).schema["id"] == kind
    export(who, tmp_path / "v.npz", "numpy")
    assert about(tmp_path / "v.npz")["ids"] == {"user": [7, 8], "item": ["x", "y"]}


def test_numpy_loads_without_pickle(tmp_path: Path) -> None:
    who = odd()
    export(who, tmp_path / "vectors", "numpy")  # the name stays as it was given
    with np.load(tmp_path / "vectors", allow_pickle=False) as read:
        assert set(read) == {"user_vectors", "item_vectors"}
        assert np.array_equal(bits(read["user_vectors"]), bits(who.model.user_vectors))
        assert np.array_equal(bits(read["item_vectors"]), bits(who.model.item_vectors))
    assert about(tmp_path / "vectors")["ids"] == {"user": sorted(IDS), "item": sorted(IDS)}


def test_the_page_beside_says_how_to_score(who: rv.Recommender, tmp_path: Path) -> None:
    export(who, tmp_path / "v.npz", "numpy")
    page = about(tmp_path / "v.npz")
    assert (page["method"], page["n_columns"], page["n_extra"], page["dot_product_is_score"]) == ("svd", 7, 2, True)
    assert page["sides"] == {"user": 60, "item": 40}
    with np.load(tmp_path / "v.npz") as read:
        predicted = read["user_vectors"][3] @ read["item_vectors"][5] + page["offset"]
    assert who.model.predict(np.array([3]), np.array([5]))[0] == pytest.approx(min(max(predicted, 1), 5), rel=1e-5)
    assert page["extra_columns"].startswith("the last n_extra columns hold biases: leave them out of cosine")
    for toy in (TinyPair(), CoCounts()):
        export(rv.Recommender(toy.fit(who.train), who.train), tmp_path / toy.name, "parquet")
        assert (about(tmp_path / toy.name)["dot_product_is_score"], about(tmp_path / toy.name)["offset"]) == (False, 0)


# ---------------------------------------------------------------- places


def test_existing_files_stay(who: rv.Recommender, tmp_path: Path) -> None:
    for name in ("v", "v.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ArtifactError, match=f"/{name} exists; nothing was written; give a new file or remove it$"):
            export(who, tmp_path / "v", "parquet")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["_parquet", "write_text", "rename", "second rename"])
def test_whatever_stops_an_export_leaves_nothing(
    who: rv.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: BaseException, step: str
) -> None:
    real, calls = Path.rename, []

    def fail(*words: object, **_: object) -> object:
        calls.append(words)
        if step == "second rename" and len(calls) == 1:
            return real(*words)
        raise trouble

    monkeypatch.setattr(module if step == "_parquet" else Path, step.rpartition(" ")[2], fail)
    with pytest.raises(ArtifactError if isinstance(trouble, OSError) else KeyboardInterrupt) as caught:
        export(who, tmp_path / "v", "parquet")
    if isinstance(trouble, OSError):
        assert str(caught.value) == f"{tmp_path}/v cannot be written: No space left on device; free space or give another file"
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(who: rv.Recommender, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ArtifactError, match="link exists"):
        export(who, tmp_path / "link", "numpy")
    with pytest.raises(ArtifactError, match=r"none/v cannot be written: .*/none is not a folder that can be written to; give another file"):
        export(who, tmp_path / "none" / "v", "numpy")
    with pytest.raises(ArtifactError, match="File name too long"):
        export(who, tmp_path / ("x" * 300), "numpy")


def test_words_that_there_are_not(who: rv.Recommender, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the format is 'csv'; allowed: parquet, word2vec, numpy$"):
        export(who, tmp_path / "v", "csv")
    with pytest.raises(InputError, match=r"what is 'user'; allowed: users, items, both$"):
        export(who, tmp_path / "v", "numpy", what="user")


# ---------------------------------------------------------------- without histories


@pytest.fixture(scope="module")
def forgetful(who: rv.Recommender, tmp_path_factory: pytest.TempPathFactory) -> rv.Recommender:
    place = tmp_path_factory.mktemp("forgetful") / "model"
    rv.save(who, place, histories=False)
    assert sorted(p.name for p in place.iterdir()) == ["arrays.safetensors", "items.parquet", "manifest.json", "rungs", "users.parquet"]
    return rv.load(place)


def test_without_histories_most_things_work(who: rv.Recommender, forgetful: rv.Recommender) -> None:
    assert forgetful.similar_items("i1").equals(who.similar_items("i1"))
    assert forgetful.similar_users("u1").equals(who.similar_users("u1"))
    assert forgetful.user_embeddings().equals(who.user_embeddings())
    assert forgetful.recommend_for(k=5).equals(who.recommend_for(k=5))
    assert forgetful.recommend_for(history=["i1", "i2"], weights=[5, 1]).equals(who.recommend_for(history=["i1", "i2"], weights=[5, 1]))
    assert forgetful.recommend_for(history=["i1"])["item_id"].to_list() == who.recommend_for(history=["i1"])["item_id"].to_list()
    assert forgetful.titles(who.items.ids).equals(who.titles(who.items.ids))
    assert forgetful.fingerprint == who.fingerprint
    with_known = forgetful.recommend(["u1", "u2"], 40, exclude_known=False)
    assert with_known.equals(who.recommend(["u1", "u2"], 40, exclude_known=False))
    assert with_known.height == 80


def test_without_histories_the_rest_says_so(forgetful: rv.Recommender, tmp_path: Path) -> None:
    calls = (
        lambda: forgetful.recommend(["u1"]),
        lambda: forgetful.histories,
        lambda: forgetful.update(pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"]})),
    )
    for call in calls:
        with pytest.raises(
            NotSupportedError, match=r"^this model was saved without histories: .*exclude_known=False .*, or fit again with histories$"
        ):
            call()
    rv.save(forgetful, tmp_path / "again")
    assert rv.load(tmp_path / "again").forgotten


def test_known_items_may_be_in_the_lists_of_any_model(who: rv.Recommender) -> None:
    known = who.items.ids[who.histories.take(who.users.rows(["u1"])).items].to_list()
    assert set(known) <= set(who.recommend(["u1"], 40, exclude_known=False)["item_id"])
    assert not set(known) & set(who.recommend(["u1"], 40)["item_id"])


def test_a_model_made_of_histories_cannot_be_saved_without(who: rv.Recommender, tmp_path: Path) -> None:
    inside = CoCounts().fit(who.train)
    for made in (rv.Recommender(inside, who.train), rv.Recommender(who.model, who.train, rungs={"popular": inside})):
        with pytest.raises(
            NotSupportedError, match="co-counts scores by the histories themselves, which cannot be left out; use another method"
        ):
            rv.save(made, tmp_path / "model", histories=False)
    assert list(tmp_path.iterdir()) == []
