"""What an update promises: old rows stay, the new ones are there, and folding in still agrees with what is stored."""

from typing import NamedTuple

import numpy as np
import pytest

import recvec as rv
from recvec.contract import DotModel, Method, Model
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.vocabulary import Vocabulary
from recvec.errors import InputError, ValueRangeError
from recvec.models.als import MUCH

METHODS = [
    rv.Popularity(),
    rv.Random(embedding_dim=16),
    rv.SVD(embedding_dim=16),
    rv.SVD(embedding_dim=16, task="rating"),
    rv.ALS(embedding_dim=16),
    rv.ALS(embedding_dim=12, epochs=3, solver="cholesky"),
    rv.ALSExplicit(embedding_dim=8, epochs=5, pattern_weight=0.0),
    rv.ALSExplicit(embedding_dim=8, epochs=5),
    rv.BPR(embedding_dim=16, epochs=20),
    rv.BPR(  # little regularization: eight epochs are few
        embedding_dim=12,
        epochs=8,
        negatives="uniform",
        item_bias=False,
        learning_rate=0.1,
        reg_user=0.01,
        reg_positive=0.001,
        reg_negative=0.01,
    ),
    rv.WARP(embedding_dim=16, epochs=10, max_draws=10),
    rv.SoftmaxMF(embedding_dim=16, epochs=20, learning_rate=0.06),
]


class Grown(NamedTuple):
    """A dataset before and after it has grown."""

    before: Dataset
    after: Dataset
    new: Interactions


def cut(sample: Dataset, later: np.ndarray, *, n_users: int = 1000, n_items: int = 600) -> Grown:
    """Let some rows of the sample come later; `n_users` and `n_items` are the sizes before."""
    first = Dataset(interactions=sample.interactions.take(~later), users=_head(sample.users, n_users), items=_head(sample.items, n_items))
    order = np.concatenate([np.flatnonzero(~later), np.flatnonzero(later)])
    return Grown(first, sample.with_interactions(sample.interactions.take(order)), sample.interactions.take(later))


def _head(vocabulary: Vocabulary, n: int) -> Vocabulary:
    return Vocabulary(vocabulary.ids.head(n), vocabulary.side)


@pytest.fixture(scope="module")
def few(sample: Dataset) -> Grown:
    """New rows of known users and items: one in 50."""
    return cut(sample, np.random.default_rng(0).random(len(sample.interactions)) < 0.02)


@pytest.fixture(scope="module")
def more(sample: Dataset) -> Grown:
    """The last 50 users and the last 30 items are new."""
    rows = sample.interactions
    return cut(sample, (rows.users >= 950) | (rows.items >= 570), n_users=950, n_items=570)


@pytest.fixture(scope="module", params=METHODS, ids=lambda m: f"{m.name}-{getattr(m, 'task', '')}{getattr(m, 'solver', '')}")
def method(request: pytest.FixtureRequest) -> Method:
    return request.param


@pytest.fixture(params=["few", "more"])
def grown(request: pytest.FixtureRequest) -> Grown:
    return request.getfixturevalue(request.param)


def value(method: Method) -> str:
    return "rating" if getattr(method, "task", "") == "rating" else "weight"


def histories(method: Method, data: Dataset) -> Histories:
    return data.histories(value(method))


def updated(method: Method, grown: Grown, *, told: bool = True, **more: object) -> tuple[Model, Model]:
    before = method.fit(grown.before)
    return before, before.method.update(before, grown.after, new=grown.new if told else None, **more)


def same_bits(left: Model, right: Model) -> bool:
    a, b = left.state().arrays, right.state().arrays
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def overlap(model: DotModel, left: np.ndarray, right: np.ndarray) -> float:
    lists = [model.recommend(q, 10).rows for q in (left, right)]
    return float((lists[0][:, :, None] == lists[1][:, None, :]).any(axis=2).mean())


def test_an_updated_model_is_a_model_of_everything(method: Method, grown: Grown) -> None:
    _, model = updated(method, grown)
    assert (model.n_users, model.n_items) == (1000, 600)
    assert model.method == method or method.name == "als"  # which has settled a weight
    for vectors in (model.user_vectors, model.item_vectors):
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
    again = model.method.restore(model.state())
    assert same_bits(model, again)
    mine = histories(method, grown.after)
    assert np.array_equal(again.queries(histories=mine), model.queries(histories=mine))


def test_the_same_bits_for_any_number_of_threads_and_inputs_stay(method: Method, grown: Grown) -> None:
    before, model = updated(method, grown)
    arrays = {name: array.copy() for name, array in before.state().arrays.items()}
    for threads in (1, 3):
        other = before.method.update(before, grown.after, new=grown.new, rng=0, runtime=rv.Runtime(threads=threads))
        assert same_bits(model, other)
    assert all(np.array_equal(arrays[name], array) for name, array in before.state().arrays.items())


def test_nothing_new_changes_nothing(method: Method, few: Grown) -> None:
    before = method.fit(few.before)
    nothing = few.new.take(np.zeros(len(few.new), bool))
    assert same_bits(before, before.method.update(before, few.before, new=nothing))


def test_users_without_new_rows_keep_their_vectors(method: Method, grown: Grown) -> None:
    before, model = updated(method, grown)
    old = np.setdiff1d(np.arange(before.n_users), grown.new.users)
    assert len(old) > 100
    assert np.array_equal(before.user_vectors[old], model.user_vectors[old])
    if method.name not in ("popularity", "random"):
        touched = np.intersect1d(np.arange(before.n_users), grown.new.users)
        assert (before.user_vectors[touched] != model.user_vectors[touched]).any(axis=1).all()
    if method.name != "popularity":
        assert np.array_equal(before.item_vectors, model.item_vectors[: before.n_items])


def test_folding_in_a_history_gives_the_stored_vector(method: Method, grown: Grown) -> None:
    """Exactly, or for als nearly where the history has grown by little or items are new."""
    before, model = updated(method, grown)
    stored, folded = model.user_vectors, model.queries(histories=histories(method, grown.after))
    if method.name != "als":
        assert np.array_equal(stored, folded)
        return
    assert overlap(model, stored, folded) > 0.985
    weights = [np.bincount(rows.users, minlength=1000) for rows in (grown.new, grown.after.interactions)]
    much = weights[0] > MUCH * weights[1]
    assert 20 < much.sum() < 1000
    assert np.array_equal(stored[much], folded[much])
    if model.n_items == before.n_items:
        assert np.array_equal(stored[weights[0] == 0], folded[weights[0] == 0])
    if model.method.solver == "cholesky":
        assert np.array_equal(stored[weights[0] > 0], folded[weights[0] > 0])


def test_without_the_new_rows_everyone_is_solved_again(method: Method, grown: Grown) -> None:
    _, model = updated(method, grown, told=False)
    assert np.array_equal(model.user_vectors, model.queries(histories=histories(method, grown.after)))


@pytest.mark.parametrize(
    "learner",
    [m for m in METHODS if m.name in ("svd", "als", "bpr", "warp", "softmax-mf") and value(m) == "weight"],
    ids=lambda m: str(m)[:20],
)
def test_new_users_and_items_are_found_as_after_a_fit(learner: Method, more: Grown, sample: Dataset) -> None:
    """Hide one row in ten of new users and of new items, and rank it: within 15 % of the fit, and far above none."""
    rows = more.after.interactions
    hidden = (rows.users >= 950) | (rows.items >= 570)
    hidden &= np.random.default_rng(1).random(len(rows)) < 0.1
    split = rv.Split(protocol="given", seed=0, train=more.after.with_interactions(rows.take(~hidden)), test=rows.take(hidden))
    visible = split.train.interactions
    new = visible.take((visible.users >= 950) | (visible.items >= 570))
    before = learner.fit(more.before)
    model = before.method.update(before, split.train, new=new)
    mine, full = (rv.evaluate(m, split).metrics["recall@10"] for m in (model, learner.fit(split.train)))
    assert full > 0.2
    assert mine > 0.85 * full


def test_popularity_counts_the_same_as_a_fit(grown: Grown) -> None:
    _, model = updated(rv.Popularity(), grown)
    assert same_bits(model, rv.Popularity().fit(grown.after))


def test_new_items_of_random_are_drawn_anew(more: Grown) -> None:
    before, model = updated(rv.Random(embedding_dim=16), more, rng=0)
    new = model.item_vectors[570:]
    assert not (new[:, None, :] == before.item_vectors[None]).all(axis=2).any()
    assert not same_bits(model, before.method.update(before, more.after, new=more.new, rng=1))


@pytest.mark.parametrize("learner", [m for m in METHODS if m.name == "als-explicit"], ids=lambda m: f"pattern {m.pattern_weight}")
def test_hidden_ratings_of_new_users_and_items_are_predicted_as_after_a_fit(learner: Method, more: Grown) -> None:
    rows = more.after.interactions
    new = (rows.users >= 950) | (rows.items >= 570)
    hidden = new & (np.random.default_rng(1).random(len(rows)) < 0.1)
    grown = more.after.with_interactions(rows.take(~hidden))
    before = learner.fit(more.before)
    asked = rows.take(hidden)
    models = before.method.update(before, grown, new=rows.take(new & ~hidden)), learner.fit(grown)
    mine, full = (np.sqrt(np.mean((m.predict(asked.users, asked.items) - asked.rating) ** 2)) for m in models)
    assert mine < 1.05 * full
    assert full < 0.95 * asked.rating.std()


def test_ratings_of_new_items_are_predicted(more: Grown) -> None:
    """The error on what both have seen is that of a fit, and predictions stay on the scale of old and new ratings."""
    method = rv.SVD(embedding_dim=8, task="rating")
    _, model = updated(method, more)
    rows = more.new
    errors = [float(np.mean((m.predict(rows.users, rows.items) - rows.rating) ** 2)) for m in (model, method.fit(more.after))]
    mean = float(np.mean((more.before.interactions.rating.mean() - rows.rating) ** 2))
    assert errors[0] < 1.15 * errors[1]
    assert errors[0] < 0.9 * mean
    biases = [m.item_vectors[570:, -1] for m in (model, method.fit(more.after))]
    assert np.corrcoef(biases)[0, 1] > 0.95
    np.testing.assert_allclose(biases[0], biases[1], atol=0.25)
    wider = Interactions(users=rows.users, items=rows.items, rating=rows.rating + 3)
    grown = more.after.with_interactions(
        Interactions(
            users=np.concatenate([more.before.interactions.users, wider.users]),
            items=np.concatenate([more.before.interactions.items, wider.items]),
            rating=np.concatenate([more.before.interactions.rating, wider.rating]),
        )
    )
    before = method.fit(more.before)
    assert before.method.update(before, grown, new=wider).bounds == (1.0, 8.0)


def test_a_weight_counts_in_how_much_a_history_has_grown(sample: Dataset) -> None:
    rows = sample.interactions
    heavy = Interactions(users=rows.users[:1], items=rows.items[:1], weight=np.array([50], np.float32))
    ones = np.ones(len(rows), np.float32)
    both = Interactions(
        users=np.append(rows.users, heavy.users), items=np.append(rows.items, heavy.items), weight=np.append(ones, np.float32(50))
    )
    before = rv.ALS(embedding_dim=8).fit(sample)
    grown = sample.with_interactions(both)
    model = before.method.update(before, grown, new=heavy)
    person = grown.histories().take(heavy.users)
    assert np.array_equal(model.user_vectors[heavy.users], model.queries(histories=person))


def test_a_model_of_another_recipe_and_fewer_rows_are_refused(few: Grown, more: Grown) -> None:
    model = rv.SVD(embedding_dim=4).fit(more.after)
    with pytest.raises(InputError, match=r"the model is of another recipe, SVD\(.*; update it by its own: model.method.update"):
        rv.SVD(embedding_dim=5).update(model, more.after)
    with pytest.raises(
        ValueRangeError, match="the data have 950 users and 570 items, the model has 1000 and 600; allowed: as many or more"
    ):
        model.method.update(model, more.before)
