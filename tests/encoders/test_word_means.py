"""Means of word vectors: weights, removal of common directions, learned vectors."""

import numpy as np
import polars as pl
import pytest

from recvec.encoders.word_means import WordMeanEncoder
from recvec.encoders.word_training import GloVeTrainer, Word2VecTrainer
from recvec.encoders.word_vectors import WordVectors
from recvec.errors import InputError
from recvec.kernels.glove import cooccurrences

ITEMS = pl.DataFrame({"plot": ["robot love robot", "robot war", "", "nothing known"], "kind": ["war", None, "sea battle", None]})
TYPES = {"plot": "text", "kind": "category"}
SOURCE = WordVectors(pl.Series(["robot", "love", "war", "sea", "extra"]), np.eye(5, 3, dtype=np.float32) + np.float32(0.1))


def test_sif_is_the_formula_of_the_paper() -> None:
    encoder = WordMeanEncoder.fit(ITEMS, SOURCE, types=TYPES, sif=0.1, n_removed=0)
    total = 9  # words and attribute values of the table
    a = {"robot": 0.1 / (0.1 + 3 / total), "love": 0.1 / (0.1 + 1 / total), "kind=war": 0.1 / (0.1 + 1 / total)}
    v = SOURCE.matrix
    expected = (2 * a["robot"] * v[0] + a["love"] * v[1] + a["kind=war"] * v[2]) / 4
    found = encoder.transform(ITEMS)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[2], v[3] * 0.1 / (0.1 + 1 / total), rtol=1e-5)  # by the part of the phrase that is known
    assert not found[3].any()
    assert encoder.reader.notes[-1].startswith("word vectors know 5 of 7 terms (1 by parts, 0 by subwords), 77.8% of what is written")


def test_common_directions_are_removed() -> None:
    plain, bare = (WordMeanEncoder.fit(ITEMS, SOURCE, types=TYPES, weighting="mean", n_removed=n).transform(ITEMS) for n in (0, 1))
    _, _, vt = np.linalg.svd(plain)
    np.testing.assert_allclose(bare, plain - np.outer(plain @ vt[0], vt[0]), atol=1e-5)


def test_spare_words_are_there_for_new_items() -> None:
    new = pl.DataFrame({"plot": ["extra"]})
    found = [WordMeanEncoder.fit(ITEMS, SOURCE, types=TYPES, n_spare=n).transform(new) for n in (0, 5)]
    assert not found[0].any()
    assert found[1].any()


def test_it_comes_back_from_arrays_and_json() -> None:
    encoder = WordMeanEncoder.fit(ITEMS, SOURCE, types=TYPES)
    again = WordMeanEncoder.restore(encoder.meta(), encoder.arrays())
    assert np.array_equal(again.transform(ITEMS), encoder.transform(ITEMS))


def test_a_file_that_knows_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"word vectors know 0 of 7 terms .*the most frequent without: robot"):
        WordMeanEncoder.fit(ITEMS, WordVectors(pl.Series(["x"]), np.ones((1, 2), np.float32)), types=TYPES)


def corpus() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    groups = [[f"g{g}w{n}" for n in range(8)] for g in range(3)]
    return pl.DataFrame({"text": [" ".join(rng.choice(groups[n % 3], 12)) for n in range(150)]})


@pytest.mark.parametrize(
    "trainer",
    [
        lambda: Word2VecTrainer(dim=12, window=5, passes=15, seed=3),
        lambda: GloVeTrainer(dim=12, window=5, passes=25, rng=np.random.default_rng(3)),
    ],
    ids=["word2vec", "glove"],
)
def test_words_that_go_together_are_near_and_a_seed_gives_the_same_bits(trainer: object) -> None:
    items = corpus()
    one, two = (WordMeanEncoder.fit(items, trainer(), types={"text": "text"}, n_removed=0) for _ in range(2))
    assert np.array_equal(one.vectors, two.vectors)
    found = one.vectors - one.vectors.mean(axis=0)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    cosines, group = found @ found.T, np.array([term[:2] for term in one.terms])
    same = group[:, None] == group
    assert cosines[same].mean() > cosines[~same].mean() + 0.4


def test_nearer_words_count_more() -> None:
    counts = cooccurrences(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0]), 3, 2).toarray()
    np.testing.assert_allclose(counts, [[0, 1, 0.5], [1, 0, 1], [0.5, 1, 0]])
