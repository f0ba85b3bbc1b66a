"""What every method promises, run over the registry and over toys of the kinds that no method uses yet.

The numbers are those of the promises in the design, section 3.
"""

import random
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sklearn.feature_extraction.text  # noqa: F401  importing it draws from Python's random numbers: its own affair

import recvec as rv
from recvec.contract import DataShape, ItemModel, Method, Model, Runtime, State
from recvec.contract.hyperparameters import parameters
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import ArtifactError, HyperparameterError, InputError, NotSupportedError, ResourceError, ValueRangeError
from recvec.models import registry
from tests.contract.toys import CoCounts, TinyPair


@dataclass(frozen=True)
class Case:
    """One method as the battery runs it; floors are 80 % of the gain over popularity measured once on the seeded sample."""

    method: Method
    floor: float | None = None  # of hit_rate@10 on the sample; None: this method does not learn taste
    learns_blocks: bool = True
    explains: bool = True
    registered: bool = True
    columns: int | None = None  # of the vectors without their extra ones, where they are not embedding_dim
    overlap: float | None = None  # of the stored top 10 and that of the training history; None: the vectors are the same
    tolerance: float | None = None  # of vectors across numbers of threads, over the largest number: torch adds up in another order
    watched: bool = True  # whether a monitor sees vectors of the shape of the model's after each epoch

    @property
    def label(self) -> str:
        return f"{self.method.name}-{getattr(self.method, 'task', 'ranking')}"


CASES = [
    Case(rv.Popularity(), learns_blocks=False),
    Case(rv.Random(embedding_dim=16), learns_blocks=False, explains=False),
    Case(rv.SVD(embedding_dim=16), floor=0.353),
    Case(rv.SVD(embedding_dim=16, task="rating"), learns_blocks=False),
    Case(rv.ALS(embedding_dim=16), floor=0.370),
    Case(rv.ALS(embedding_dim=20, epochs=3, solver="cholesky")),
    Case(rv.ALSExplicit(embedding_dim=8, epochs=4, pattern_weight=0.0), learns_blocks=False),
    Case(rv.ALSExplicit(embedding_dim=8, epochs=4), learns_blocks=False),
    Case(rv.BPR(embedding_dim=16, epochs=20), floor=0.388),
    Case(rv.BPR(embedding_dim=20, epochs=5, negatives="popularity", item_bias=False)),
    Case(rv.WARP(embedding_dim=16, epochs=10, max_draws=10), floor=0.359),
    Case(rv.SoftmaxMF(embedding_dim=16, epochs=20, learning_rate=0.06), floor=0.3),
    Case(rv.SoftmaxMF(embedding_dim=20, epochs=7, batches=3, n_negatives=100, list_length=10)),
    Case(rv.LightGCN(embedding_dim=16, epochs=20, learning_rate=0.06), floor=0.3, overlap=0.4),
    Case(rv.LightGCN(embedding_dim=20, epochs=10, n_layers=3, propagation="within"), overlap=0.4),
    Case(rv.LightGCN(embedding_dim=16, epochs=20, n_layers=2, loss="bpr", propagation="within", batches=2), overlap=0.3),
    Case(rv.NGCF(embedding_dim=8, epochs=12), floor=0.17, columns=16, explains=False, overlap=0.3, tolerance=1e-2),
    Case(rv.NGCF(embedding_dim=8, epochs=5, n_layers=2, loss="bpr", batches=2), columns=24, explains=False, overlap=0.1, tolerance=1e-2),
    Case(rv.EASE(embedding_dim=16), floor=0.356),
    Case(rv.EASE(embedding_dim=16, n_neighbours=50), floor=0.327),
    Case(rv.RP3Beta(embedding_dim=16), floor=0.284),
    Case(rv.ItemKNN(embedding_dim=16), floor=0.312),
    Case(rv.GraphFilter(embedding_dim=16), floor=0.345),
    Case(rv.FM(embedding_dim=16, epochs=12), floor=0.359, overlap=0.8),
    Case(rv.FM(embedding_dim=8, epochs=6, use_attributes=False), overlap=0.95),
    Case(rv.FM(embedding_dim=8, epochs=6, task="rating", n_kept=3), learns_blocks=False, columns=24, overlap=0.3, watched=False),
    Case(rv.FM(embedding_dim=8, epochs=6, task="rating", solver="als", history="both"), learns_blocks=False, overlap=0.35),
    Case(rv.FM(embedding_dim=8, epochs=6, task="click", patience=0), learns_blocks=False, overlap=0.5),
    Case(rv.GMF(embedding_dim=8, epochs=4), overlap=0.3),
    Case(rv.MLP(embedding_dim=8, hidden="16,8", epochs=4), overlap=0.3, explains=False),
    Case(rv.NeuMF(embedding_dim=8, mlp_embedding_dim=4, hidden="16,8", epochs=4), overlap=0.3, explains=False, columns=12),
    Case(rv.ConvNCF(embedding_dim=8, channels=4, epochs=4, start_share=0.5), overlap=0.3, explains=False, tolerance=1e-3),
    Case(rv.DMF(embedding_dim=16, hidden_width=32, epochs=4, use_attributes=False), explains=False, tolerance=1e-2),
    Case(rv.DMF(embedding_dim=16, hidden_width=32, epochs=8), floor=0.281, explains=False, overlap=0.5, tolerance=1e-2),
    Case(rv.TwoTower(embedding_dim=16, hidden_width=32, epochs=8), floor=0.274, explains=False, overlap=0.5, tolerance=1e-2),
    Case(rv.ContentTFIDF(embedding_dim=16), learns_blocks=False),
    Case(rv.ContentTFIDF(embedding_dim=300, metric="euclidean", likes="rating", half_life=30.0), learns_blocks=False),
    Case(rv.ContentWord2Vec(embedding_dim=16, passes=2), learns_blocks=False),
    Case(rv.ContentGloVe(embedding_dim=16, passes=5, weighting="mean"), learns_blocks=False),
    Case(CoCounts(), learns_blocks=False, registered=False),
    Case(TinyPair(), learns_blocks=False, explains=False, registered=False),
    Case(TinyPair(n_candidates=40), learns_blocks=False, explains=False, registered=False),
]
IDS = [f"{c.label}-{n}" for n, c in enumerate(CASES)]


def only(chosen: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """Run a test over some of the cases instead of skipping the others."""
    return pytest.mark.parametrize("case", [c for c in CASES if chosen(c)], indirect=True, ids=lambda c: c.label)


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def sample(case: Case, sample: rv.Dataset) -> rv.Dataset:
    """The sample; for clicks, a rating of 4 or more is one."""
    rows = sample.interactions
    if getattr(case.method, "task", "") != "click":
        return sample
    return sample.with_interactions(replace(rows, label=(rows.rating >= 4).astype(np.float32)))


@pytest.fixture(scope="module")
def sample_split(sample: rv.Dataset) -> rv.Split:
    return rv.split(sample, "leave-last-out", seed=0)


@pytest.fixture(scope="module")
def model(case: Case, sample_split: rv.Split) -> Model:
    return case.method.fit(sample_split.train)


@pytest.fixture(scope="module")
def histories(case: Case, sample_split: rv.Split) -> Histories:
    return sample_split.train.histories(case.method.history_value)


def same_bits(left: Model, right: Model) -> bool:
    a, b = left.state().arrays, right.state().arrays
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and np.array_equal(a[n], b[n]) for n in a)


def dense(queries: Any) -> np.ndarray:
    return queries.toarray() if hasattr(queries, "toarray") else queries


def test_every_registered_method_is_in_the_battery() -> None:
    assert {c.method.name for c in CASES if c.registered} == set(registry.names())


# 1
@only(lambda c: c.tolerance is None)
def test_same_seed_same_bits_for_any_number_of_threads(case: Case, model: Model, sample_split: rv.Split) -> None:
    for threads in (1, 2, 3):
        assert same_bits(model, case.method.fit(sample_split.train, rng=0, runtime=Runtime(threads=threads)))


@only(lambda c: c.tolerance is not None)
def test_same_seed_and_threads_same_bits(case: Case, sample_split: rv.Split) -> None:
    one, again, two = (case.method.fit(sample_split.train, rng=0, runtime=Runtime(threads=threads)) for threads in (1, 1, 2))
    assert same_bits(one, again)
    for left, right in ((one.user_vectors, two.user_vectors), (one.item_vectors, two.item_vectors)):
        np.testing.assert_allclose(left, right, rtol=0, atol=case.tolerance * np.abs(left).max())


def test_another_seed_is_used(case: Case, model: Model, sample_split: rv.Split) -> None:
    deterministic = (
        "popularity",
        "svd",
        "ease",
        "rp3beta",
        "item-knn",
        "graph-filter",
        "content-tfidf",
    )  # a matrix as small as the sample is decomposed whole
    assert same_bits(model, case.method.fit(sample_split.train, rng=1)) == (case.method.name in deterministic)


# 2
def test_fit_changes_neither_inputs_nor_global_random_state(case: Case, sample_split: rv.Split) -> None:
    train = sample_split.train
    columns = [c for c in (getattr(train.interactions, f.name) for f in fields(Interactions)) if c is not None]
    before = [c.copy() for c in columns]
    numpy_state, python_state = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    case.method.fit(train)
    assert all(np.array_equal(a, b) for a, b in zip(before, columns, strict=True))
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert python_state == random.getstate()


# 3
def test_vectors_have_the_declared_shape(case: Case, model: Model, sample_split: rv.Split) -> None:
    d = getattr(case.method, "embedding_dim", None)
    for vectors, n in ((model.user_vectors, sample_split.train.n_users), (model.item_vectors, sample_split.train.n_items)):
        assert vectors.dtype == np.float32
        assert len(vectors) == n
        assert np.isfinite(vectors).all()
        assert d is None or vectors.shape[1] == (case.columns or d) + model.n_extra


def test_lists_are_sorted_unique_and_without_excluded_items(model: Model, histories: Histories) -> None:
    users = np.arange(0, model.n_users, 7)
    exclude = histories.take(users)
    queries = model.queries(users)
    lists, scores = model.recommend(queries, 20, exclude=exclude), model.scores(queries)
    for b in range(len(users)):
        rows, mine = lists.rows[b], lists.scores[b]
        assert len(set(rows.tolist())) == 20
        assert not set(rows.tolist()) & set(exclude.items[exclude.indptr[b] : exclude.indptr[b + 1]].tolist())
        assert (np.diff(mine) <= 0).all()
        assert all(rows[j] < rows[j + 1] for j in np.flatnonzero(np.diff(mine) == 0))
        np.testing.assert_allclose(mine, scores[b, rows], rtol=1e-4, atol=1e-5)


@only(lambda c: not getattr(c.method, "n_candidates", 0))  # drawn candidates are approximate by design
def test_the_list_is_the_best_of_all_scores(case: Case, model: Model) -> None:
    queries = model.queries(np.arange(40))
    best, lists = np.sort(model.scores(queries), axis=1)[:, ::-1][:, :10], model.recommend(queries, 10)
    np.testing.assert_allclose(lists.scores, best, rtol=1e-4, atol=1e-5)


def test_beyond_the_catalogue_the_list_is_shorter_and_says_so(model: Model, histories: Histories) -> None:
    users = np.array([0, 1])
    exclude = histories.take(users)
    lists = model.recommend(model.queries(users), model.n_items + 5, exclude=exclude)
    if not isinstance(getattr(model, "n_candidates", None), int):
        assert lists.lengths.tolist() == (model.n_items - exclude.lengths).tolist()
    for b in range(2):
        assert (lists.rows[b, lists.lengths[b] :] == -1).all()
        assert np.isneginf(lists.scores[b, lists.lengths[b] :]).all()


def test_candidates_are_the_only_items(model: Model) -> None:
    allowed = np.array([5, 3, 11, 200])
    lists = model.recommend(model.queries(np.arange(9)), 10, candidates=allowed)
    assert lists.lengths.tolist() == [4] * 9
    assert {int(r) for row in lists.rows for r in row if r >= 0} == {3, 5, 11, 200}


def test_a_batch_equals_one_by_one(model: Model) -> None:
    users = np.arange(0, 60)
    together = model.recommend(model.queries(users), 10)
    for b in users:
        alone = model.recommend(model.queries(np.array([b])), 10)
        np.testing.assert_allclose(alone.scores[0], together.scores[b], rtol=1e-5, atol=1e-7)
        differ = alone.rows[0] != together.rows[b]
        assert not differ.any() or np.ptp(together.scores[b][differ]) <= 1e-5 * np.abs(together.scores[b]).max()


# 4
def test_the_training_history_gives_the_stored_vector(case: Case, model: Model, histories: Histories) -> None:
    stored, folded = model.queries(np.arange(model.n_users)), model.queries(histories=histories)
    if case.overlap is None:
        assert np.array_equal(dense(stored), dense(folded)), case.label
        return
    mine, theirs = (model.recommend(queries, 10).rows for queries in (stored, folded))
    assert (mine[:, :, None] == theirs[:, None, :]).any(axis=2).mean() >= case.overlap


def test_fold_in_does_not_depend_on_the_batch(model: Model, histories: Histories) -> None:
    some = histories.take(np.array([4, 2, 9]))
    together = dense(model.queries(histories=some))
    alone = np.concatenate([dense(model.queries(histories=some.take(np.array([b])))) for b in range(3)])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-7)


# 5
def test_people_and_items_without_interactions_get_finite_answers(case: Case, sample: rv.Dataset) -> None:
    rows = sample.interactions
    keep = (rows.users != 3) & (rows.items != 8)
    fitted = case.method.fit(sample.with_interactions(rows.take(keep)))
    nobody = fitted.queries(histories=Histories.empty(2, fitted.n_items))
    for queries in (fitted.queries(np.array([3])), nobody):
        assert np.isfinite(dense(queries)).all()
        lists = fitted.recommend(queries, 5)
        assert (lists.lengths == 5).all()
        assert np.isfinite(lists.scores).all()
    assert np.isfinite(fitted.scores(fitted.queries(np.arange(20)), np.array([8]))).all()
    assert (fitted.similar_items(np.array([8]), 5).lengths == 5).all()


# 6
def test_state_restores_to_the_same_bits(case: Case, model: Model, histories: Histories) -> None:
    again = model.method.restore(model.state())  # the recipe as it was settled by the fit
    assert same_bits(model, again)
    some = histories.take(np.arange(30))
    assert np.array_equal(dense(again.queries(histories=some)), dense(model.queries(histories=some)))
    left, right = (m.recommend(m.queries(np.arange(30)), 10) for m in (model, again))
    assert np.array_equal(left.rows, right.rows)
    assert np.array_equal(left.scores, right.scores)


@only(lambda c: c.registered)  # they are saved by name
def test_save_and_load_give_equal_bits(case: Case, model: Model, sample_split: rv.Split, tmp_path: Path) -> None:
    rv.save(rv.Recommender(model, sample_split.train), tmp_path / "model")
    again = rv.load(tmp_path / "model")
    assert same_bits(model, again.model)
    assert again.model.method == model.method
    ids = sample_split.train.users.ids[:20]
    assert again.recommend(ids, 7).equals(rv.Recommender(model, sample_split.train).recommend(ids, 7))


# 7
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_similar_items_and_users(model: Model, metric: Any) -> None:
    for find, n in ((model.similar_items, model.n_items), (model.similar_users, model.n_users)):
        rows = np.array([0, 5, n - 1])
        lists = find(rows, 6, metric=metric)
        assert (lists.lengths == 6).all()
        assert not (lists.rows == rows[:, None]).any()
        assert np.isfinite(lists.scores).all()
        assert (np.diff(lists.scores, axis=1) <= 1e-6).all()


# 8
def blocks(seed: int = 0, *, n_blocks: int = 4, users: int = 30, items: int = 25, share: float = 0.4) -> Dataset:
    """Users of a block like items of their block only."""
    rng = np.random.default_rng(seed)
    inside = [(b * users + u, b * items + i) for b in range(n_blocks) for u in range(users) for i in range(items) if rng.random() < share]
    return rv.read(_table(np.array(inside)))


def _table(pairs: np.ndarray) -> Any:
    return pl.DataFrame({"user_id": pairs[:, 0], "item_id": pairs[:, 1], "rating": np.full(len(pairs), 4.0)})


@only(lambda c: c.learns_blocks)
def test_beats_popularity_on_block_data(case: Case) -> None:
    split = rv.split(blocks(), "random", seed=0, test_share=0.2)
    recipe = case.method if not hasattr(case.method, "embedding_dim") else type(case.method)(embedding_dim=8)
    mine, popular = (rv.evaluate(m.fit(split.train), split).metrics["recall@10"] for m in (recipe, rv.Popularity()))
    assert mine > 3 * popular
    assert mine > 0.5  # a person has about 17 unseen items in their block, so that 10 / 17 is what can be reached


@only(lambda c: c.floor is not None)
def test_reaches_its_floor_on_the_sample(case: Case, model: Model, sample_split: rv.Split) -> None:
    assert rv.evaluate(model, sample_split).metrics["hit_rate@10"] >= case.floor


# 9
@only(lambda c: hasattr(c.method, "epochs"))
def test_killed_and_resumed_equals_uninterrupted(case: Case, model: Model, sample_split: rv.Split) -> None:
    kept: list[State] = []

    def stop_after_two(state: State) -> None:
        kept.append(state)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.method.fit(sample_split.train, checkpoint=stop_after_two)
    seen: list[int] = []
    resumed = case.method.fit(sample_split.train, resume=kept[-1], on_epoch=lambda epoch, _: seen.append(epoch))
    assert same_bits(model, resumed)
    assert seen == list(range(3, case.method.epochs + 1))
    assert model.curve == resumed.curve


@only(lambda c: hasattr(c.method, "epochs"))
def test_a_checkpoint_of_another_fit_is_refused(case: Case, sample: rv.Dataset, sample_split: rv.Split) -> None:
    kept: list[State] = []
    case.method.fit(sample_split.train, checkpoint=kept.append)
    with pytest.raises(ArtifactError, match="checkpoint is of other data"):
        case.method.fit(sample, resume=kept[0])
    with pytest.raises(ArtifactError, match="checkpoint is of other hyper-parameters"):
        type(case.method)(epochs=case.method.epochs + 1, embedding_dim=case.method.embedding_dim).fit(sample_split.train, resume=kept[0])


# doors
@only(lambda c: hasattr(c.method, "epochs") and c.watched)
def test_on_epoch_and_monitor_are_called(case: Case, sample_split: rv.Split) -> None:
    seen: list[tuple[int, float]] = []
    shapes: list[tuple[int, ...]] = []

    def monitor(users: np.ndarray, items: np.ndarray) -> float:
        shapes.append((*users.shape, *items.shape))
        return float(len(shapes))

    fitted = case.method.fit(sample_split.train, monitor=monitor, on_epoch=lambda e, v: seen.append((e, v["monitor"])))
    assert seen == [(e, float(e)) for e in range(1, case.method.epochs + 1)]
    assert [p["monitor"] for p in fitted.curve] == [v for _, v in seen]
    assert set(shapes) == {(*fitted.user_vectors.shape, *fitted.item_vectors.shape)}


def test_recipes_are_frozen_and_described(case: Case) -> None:
    for p in parameters(case.method):
        assert p.metadata["doc"], p.name
        with pytest.raises(FrozenInstanceError):
            setattr(case.method, p.name, p.default)
        wrong = "nonsense" if not isinstance(p.default, str) else 3
        with pytest.raises(HyperparameterError, match=f"{case.method.name}: {p.name} is .*; allowed: "):
            type(case.method)(**{p.name: wrong})
    assert case.method.family
    assert case.method.gives


def test_models_are_frozen(model: Model) -> None:
    with pytest.raises(FrozenInstanceError):
        model.n_extra = 3


def test_a_method_says_whether_its_models_hold_histories(case: Case, model: Model) -> None:
    assert case.method.holds_histories == isinstance(model, ItemModel)


def test_estimate_grows_with_the_data(case: Case) -> None:
    small, large = (case.method.estimate(DataShape(n_users=s * 100, n_items=s * 100, n_interactions=s * 1000), Runtime()) for s in (1, 10))
    assert 0 < small.operations < large.operations
    assert 0 < small.memory < large.memory
    assert 0 < small.seconds() < large.seconds()
    assert large.seconds(2) < large.seconds(1)


def test_what_does_not_fit_is_refused_before_it_is_allocated(case: Case, model: Model, sample: rv.Dataset) -> None:
    refused = f"{case.method.name} would take about .* MB; allowed: 0 MB"
    with pytest.raises(ResourceError, match=refused):
        case.method.fit(sample, runtime=Runtime(memory_limit=100))
    with pytest.raises(ResourceError, match=refused):
        model.method.update(model, sample, runtime=Runtime(memory_limit=100))


def test_what_is_free_is_the_limit_where_none_is_given(case: Case, sample: rv.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recvec.contract.method.available_memory", lambda: 100)
    with pytest.raises(ResourceError, match=f"{case.method.name} would take about .* MB; allowed: 0 MB, which is free; .* larger machine"):
        case.method.fit(sample)
    case.method.fit(sample, runtime=Runtime(memory_limit=10**12))  # who says more than is free gets it
    monkeypatch.setattr("recvec.contract.method.available_memory", lambda: None)
    case.method.fit(sample)


@only(lambda c: "item attributes" not in c.method.needs)  # which the table does not have
def test_one_user_or_one_item_is_refused(case: Case) -> None:
    with pytest.raises(ValueRangeError, match=r"1 user\(s\) and 2 item\(s\); allowed: 2 or more of each"):
        case.method.fit(rv.read(_table(np.array([[1, 1], [1, 2]]))))


def test_missing_needs_are_named(case: Case, sample: rv.Dataset) -> None:
    nothing = sample.with_interactions(sample.interactions.take(np.zeros(len(sample.interactions), bool)))
    with pytest.raises(InputError, match=f"{case.method.name} needs interactions"):
        case.method.fit(nothing)


@only(lambda c: c.explains)
def test_the_parts_of_an_explanation_add_up_to_the_score(case: Case, model: Model, histories: Histories) -> None:
    users = np.arange(0, model.n_users, 97)
    offset = getattr(model, "offset", 0.0)
    scores = model.scores(model.queries(users)) + np.float32(offset)
    for u, user in enumerate(users):
        person = histories.take(np.array([user]))
        for item in (0, 17, int(person.items[0])):  # the last one the person has met
            found = model.explain(person, item, user=int(user))
            added = sum(found.parts.values()) + found.contributions.sum(dtype=np.float64)
            size = sum(map(abs, found.parts.values())) + np.abs(found.contributions).sum(dtype=np.float64)
            assert added == pytest.approx(found.score, abs=1e-4 * size)
            assert found.score == pytest.approx(scores[u, item], rel=1e-4, abs=1e-5 * size)
            assert np.array_equal(found.items, person.items)
            assert found.contributions.dtype == np.float32
            assert found.contributions.shape == person.items.shape


@only(lambda c: c.explains)
def test_strangers_are_explained_by_their_weights_and_by_nothing(model: Model) -> None:
    for items, weights in (([0, 5, 40], [4.0, 1.0, 2.5]), ([], [])):
        person = Histories.from_lists([items], model.n_items, [weights])
        found = model.explain(person, 3)
        expected = model.scores(model.queries(histories=person), np.array([3]))[0, 0] + np.float32(getattr(model, "offset", 0.0))
        added = sum(found.parts.values()) + found.contributions.sum(dtype=np.float64)
        size = sum(map(abs, found.parts.values())) + np.abs(found.contributions).sum(dtype=np.float64)
        assert added == pytest.approx(expected, abs=1e-4 * size)
        assert found.items.tolist() == items


@only(lambda c: c.explains)
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.explain(Histories.empty(2, m.n_items), 0), "an explanation is of one person, not of 2; give one history"),
        (lambda m: m.explain(Histories.empty(1, 3), 0), "histories are over 3 items; allowed: the model's 600"),
        (lambda m: m.explain(Histories.empty(1, 600), 600), "item row 600 does not exist; allowed: 0 to 599"),
    ],
)
def test_what_cannot_be_explained_is_refused(model: Model, call: Any, message: str) -> None:
    with pytest.raises(ValueRangeError, match=message):
        call(model)


@only(lambda c: not c.explains)
def test_what_has_no_reasons_says_so(model: Model, histories: Histories) -> None:
    with pytest.raises(NotSupportedError, match=r"; use a "):
        model.explain(histories.take(np.array([0])), 0)


def test_the_audience_is_the_top_of_the_column_of_scores(model: Model) -> None:
    columns = model.scores(model.queries(np.arange(model.n_users)))[:, [5, 300]]
    for users in (None, np.arange(3, 900, 2)):
        allowed = np.arange(model.n_users) if users is None else users
        lists = model.audience(np.array([5, 300]), 15, users=users)
        assert lists.rows.shape == lists.scores.shape == (2, 15)
        for b in range(2):
            rows, scores = lists.rows[b], lists.scores[b]
            assert set(rows.tolist()) <= set(allowed.tolist())
            np.testing.assert_allclose(scores, np.sort(columns[allowed, b])[::-1][:15], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(scores, columns[rows, b], rtol=1e-4, atol=1e-5)
            assert all(rows[j] < rows[j + 1] for j in np.flatnonzero(np.diff(scores) == 0))


def test_an_audience_leaves_out_who_is_excluded(model: Model) -> None:
    exclude = Histories.from_lists([[0, 4, 9], []], model.n_users)
    lists = model.audience(np.array([5, 5]), model.n_users + 3, exclude=exclude)
    assert lists.lengths.tolist() == [model.n_users - 3, model.n_users]
    assert not {0, 4, 9} & set(lists.rows[0].tolist())


@only(lambda c: c.method.name not in ("fm", "dmf", "two-tower") and c.method.family != "content-based")  # they can
def test_what_a_model_cannot_do_it_says_with_advice(case: Case, model: Model, sample: rv.Dataset) -> None:
    features = pl.DataFrame({"age": [3]})
    for call in (
        lambda: model.item_queries(features),
        *([] if case.registered else [lambda: case.method.update(model, sample)]),  # tests/models/test_update.py
        lambda: model.queries(np.array([0]), context=features),
    ):
        with pytest.raises(NotSupportedError, match=r"; (use|fit|similar_items|leave) ?"):
            call()
    if case.method.name != "popularity":
        with pytest.raises(NotSupportedError, match="by their history only; give histories"):
            model.queries(features=features)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.recommend(m.queries(np.array([0])), 0), "k is 0; allowed: a whole number, 1 or more"),
        (lambda m: m.recommend(m.queries(np.array([0])), 2.5), "k is 2.5; allowed"),
        (lambda m: m.queries(np.array([10**6])), "user row 1000000 does not exist; allowed: 0 to 999"),
        (lambda m: m.queries(np.array([-1])), "user row -1 does not exist"),
        (lambda m: m.queries(np.array([0.5])), "user rows have type float64; allowed: whole numbers"),
        (lambda m: m.similar_items(np.array([600]), 3), "item row 600 does not exist; allowed: 0 to 599"),
        (lambda m: m.queries(histories=Histories.empty(1, 3)), "histories are over 3 items; allowed: the model's 600"),
        (lambda m: m.predict(np.array([0]), np.array([600])), "item row 600 does not exist"),
        (lambda m: m.audience(np.array([600])), "item row 600 does not exist"),
        (lambda m: m.audience(np.array([0]), users=np.array([1000])), "user row 1000 does not exist"),
        (lambda m: m.audience(np.array([0]), 0), "k is 0; allowed"),
    ],
)
def test_bad_calls_get_one_clear_line(model: Model, call: Any, message: str) -> None:
    with pytest.raises(ValueRangeError, match=message):
        call(model)


def test_predict_agrees_with_scores(case: Case, model: Model) -> None:
    users, items = np.arange(30), np.arange(30, 60)
    scores = model.scores(model.queries(users))[np.arange(30), items]
    predicted = model.predict(users, items)
    assert predicted.dtype == np.float32
    if getattr(case.method, "task", "") == "rating":
        expected = (scores + model.offset).clip(*model.bounds)
        assert ((predicted >= 1) & (predicted <= 5)).all()
    elif getattr(case.method, "task", "") == "click" or getattr(case.method, "likelihood", False):
        offset = getattr(model, "offset", 0.0)
        expected = 1 / (1 + np.exp(-(scores + offset)))
    else:
        expected = scores
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)


def test_item_models_add_both_parts() -> None:
    fitted = CoCounts().fit(rv.sample(n_users=200, n_items=100))
    assert isinstance(fitted, ItemModel)
    h = fitted.queries(np.arange(5))
    expected = h.toarray() @ fitted.weights.toarray() + (h.toarray() @ fitted.into) @ fitted.item_vectors.T
    np.testing.assert_allclose(fitted.scores(h), expected, rtol=1e-4)
    np.testing.assert_allclose(fitted.scores(h, np.array([7, 2])), expected[:, [7, 2]], rtol=1e-4)
