"""dmf and two-tower: gradients, fold-in, strangers, and models without torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

import recvec as rv
from recvec.contract import Runtime
from recvec.data.histories import Histories
from recvec.data.synthetic import sample_tables
from recvec.errors import ArtifactError, InputError, NotSupportedError
from recvec.models.towers import problem_of
from recvec.models.towers_network import Step, Steps, Towers, cross_entropy, softmax
from recvec.nn.layers import Bags, TowerNetwork

ONE = Runtime(threads=1)
SMALL: dict[str, Any] = {"embedding_dim": 8, "hidden_width": 16, "epochs": 3}


@pytest.fixture(scope="module")
def data() -> rv.Dataset:
    ratings, users, items = sample_tables(n_users=80, n_items=60, mean_history=12)
    return rv.read(ratings, users=users, items=items)


def described(n: int, **more: str) -> pl.DataFrame:
    return pl.DataFrame({"gender": ["F"] * n, "occupation": ["artist"] * n, **{name: [v] * n for name, v in more.items()}})


# ---------------------------------------------------------------- layers and losses


def test_the_network_and_the_forward_pass_agree() -> None:
    rng = np.random.default_rng(0)
    network = TowerNetwork(5, 30, [16, 8], rng, deviation=0.3, with_linear=True)
    with torch.no_grad():
        network.linear.normal_(generator=torch.Generator().manual_seed(0))
    x, r = (sp.random_array((20, m), density=0.3, format="csr", dtype=np.float32, rng=rng) for m in (5, 30))
    from recvec.kernels.towers import forward

    theirs = network(Bags(x, ONE.executor), Bags(r, ONE.executor)).detach().numpy()
    np.testing.assert_allclose(forward(network.tower(), x, r, ONE.executor), theirs, rtol=1e-5, atol=1e-5)


def test_bags_have_the_gradient_of_a_dense_product() -> None:
    rng = np.random.default_rng(1)
    rows = sp.random_array((9, 12), density=0.4, format="csr", dtype=np.float32, rng=rng)
    left, right = (torch.ones(12, 5).requires_grad_() for _ in range(2))
    pull = torch.from_numpy(rng.standard_normal((9, 5), dtype=np.float32))
    (Bags(rows, ONE.executor).times(left) * pull).sum().backward()
    ((torch.from_numpy(rows.toarray()) @ right) * pull).sum().backward()
    torch.testing.assert_close(left.grad, right.grad)


def step(rows: list[int], columns: list[int], share: list[float]) -> Step:
    nothing: Any = None
    weights = torch.ones(len(rows))
    return Step(nothing, nothing, torch.tensor(rows), torch.tensor(columns), weights, torch.tensor(share).log())


def test_the_softmax_leaves_the_item_of_a_pair_as_it_is() -> None:
    scores = torch.tensor([[1.0, 0.5, -1.0], [0.0, 2.0, 0.3]])
    share = [0.2, 0.9, 0.4]
    found = softmax(scores, step([0, 1, 1], [0, 1, 2], share))
    wanted = []
    for user, item in ((0, 0), (1, 1), (1, 2)):
        terms = [np.exp(float(s)) / (1 if j == item else share[j]) for j, s in enumerate(scores[user])]
        wanted.append(np.log(sum(terms)) - float(scores[user, item]))
    assert float(found) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_the_cross_entropy_is_that_of_the_paper() -> None:
    cosines = torch.tensor([[0.5, -0.2, 0.3], [0.1, 0.9, 0.2]])
    given = step([0, 1, 1], [0, 1, 2], [1.0, 1.0, 1.0])._replace(weights=torch.tensor([1.0, 2.0, 1.0]))
    log = np.log
    positive = 0.5 * log(0.5) + 0.5 * log(0.5) + log(0.9) + 0.5 * log(0.2) + 0.5 * log(0.8)
    negative = 7 * ((log(1 - 1e-6) + log(0.7)) / 2 + 2 * log(0.9))
    assert float(cross_entropy(cosines, given, 7)) == pytest.approx(-(positive + negative) / 3, rel=1e-4)


def test_a_step_reads_what_is_not_left_out(data: rv.Dataset) -> None:
    recipe = replace(rv.DMF(**SMALL, dropout=0.5, n_sampled=20)._recipe, batch_size=10)
    problem = problem_of("dmf", data, recipe)
    pairs = problem.pairs.toarray()
    for found in Steps(recipe, problem, np.random.default_rng(0), ONE.executor, torch.device("cpu")):
        users, items = found.users[1].rows, found.items[1].rows
        assert 0.3 < (users.data > 0).mean() < 0.7
        squares = np.square(users.toarray()).sum(axis=1)
        assert (np.isclose(squares, 1, atol=1e-4) | (squares == 0)).all()  # of someone everything may be left out
        assert found.log_share.max() <= 0
        read = items.toarray() > 0  # (C, n_users)
        assert read.sum() < (pairs > 0).sum()
        assert len(found.rows) == users.nnz  # all pairs are asked about


def test_the_whole_catalogue_reads_the_same_as_its_items(data: rv.Dataset) -> None:
    recipe = rv.DMF(**SMALL, dropout=0.4)._recipe
    problem = problem_of("dmf", data, recipe)
    steps = Steps(recipe, problem, np.random.default_rng(0), ONE.executor, torch.device("cpu"))
    gone = np.array([0, 5, 17])
    whole = steps._who_met(np.arange(problem.pairs.shape[1], dtype=np.int32), gone)
    some = steps._who_met(np.array([2, 9, 30], np.int32), gone)
    np.testing.assert_allclose(whole.rows.toarray()[[2, 9, 30]], some.rows.toarray(), rtol=1e-6)
    np.testing.assert_allclose(whole.transposed.toarray(), whole.rows.toarray().T, rtol=1e-6)


def test_biases_begin_with_popularity(data: rv.Dataset) -> None:
    recipe = rv.TwoTower(**SMALL)._recipe
    problem = problem_of("two-tower", data, recipe)
    network = Towers(recipe, problem, np.random.default_rng(0))
    counts = np.asarray(problem.pairs.sum(axis=0))
    begun = network.sides[1].linear[: len(counts), -1].detach().numpy()
    assert np.array_equal(
        np.argsort(begun, kind="stable"), np.argsort(np.log((counts + 1) / (counts + 1).mean()).astype(np.float32), kind="stable")
    )


# ---------------------------------------------------------------- people and items from elsewhere


@pytest.mark.parametrize("method", [rv.DMF(**SMALL), rv.TwoTower(**SMALL)])
def test_who_is_described_as_in_training_gets_the_stored_vector(data: rv.Dataset, method: Any) -> None:
    model = method.fit(data, runtime=ONE)
    some = np.array([3, 50, 7])
    frame = data.user_features.frame[some]
    found = model.queries(histories=data.histories().take(some), features=frame)
    assert np.array_equal(found, model.user_vectors[some])
    assert model.answers_attributes
    assert np.isfinite(model.queries(features=frame)).all()
    assert model.item_queries(data.item_features.frame[:2].drop("title", "plot")).shape == model.item_vectors[:2].shape
    who = rv.Recommender(model, data)
    assert who.recommend_for(attributes={"gender": "F"}, k=3)["route"].to_list() == ["attributes"] * 3
    with pytest.raises(NotSupportedError, match="no parts that add up; use a method such as als"):
        who.explain("u1", "i1")


def test_without_attributes_there_is_nobody_to_describe(data: rv.Dataset) -> None:
    model = rv.DMF(**SMALL, use_attributes=False).fit(data, runtime=ONE)
    with pytest.raises(NotSupportedError, match="dmf was fitted without attributes of users; give histories"):
        model.queries(features=described(1))
    with pytest.raises(NotSupportedError, match="dmf knows items by their interactions only"):
        model.item_queries(pl.DataFrame({"genres": [["drama"]]}))


def test_a_tower_that_reads_no_history_says_so(data: rv.Dataset) -> None:
    model = rv.TwoTower(**SMALL, history="none", n_layers=0, similarity="dot", reg=0.1).fit(data, runtime=ONE)
    assert np.isfinite(model.queries(histories=Histories.empty(2, data.n_items))).all()
    with pytest.raises(NotSupportedError, match="fitted without histories of users; fit it with history=users"):
        model.queries(histories=data.histories())


def test_nothing_to_read_is_said_with_what_would_do(data: rv.Dataset) -> None:
    bare = replace(data, user_features=None, item_features=None)
    wanted = "two-tower without ids and history of items needs item attributes, which the data do not have; give them by --items, .* als, bpr, dmf"
    with pytest.raises(InputError, match=wanted):
        rv.TwoTower(**SMALL, ids="none").fit(bare)
    texts = replace(data, item_features=None)
    with pytest.raises(InputError, match="item attributes"):
        rv.TwoTower(**SMALL, ids="users", history="none").fit(texts)


# ---------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def kept(data: rv.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("towers")
    for method in (rv.DMF(**SMALL), rv.TwoTower(**SMALL)):
        rv.save(rv.Recommender(method.fit(data, runtime=ONE), data), place / method.name)
    return place


@pytest.mark.parametrize("name", ["dmf", "two-tower"])
def test_a_model_answers_everyone_without_torch(kept: Path, name: str) -> None:
    program = f"""
import sys
sys.modules["torch"] = None
import recvec as rv
who = rv.load({str(kept / name)!r})
print(who.recommend(["u1"], 3).height, who.recommend_for(history=["i1", "i2"], k=3).height,
      who.recommend_for(attributes={{"gender": "F"}}, k=3).height, who.similar_items("i1", 3).height)
try:
    who.model.method.fit(rv.sample())
except rv.RecvecError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == "3 3 3 3", done.stderr
    assert f"{name} needs PyTorch" in done.stdout
    assert "pip install 'recvec[torch]'" in done.stdout


@pytest.mark.parametrize(
    "name", ["fold_in.user.tower.met", "fold_in.item.tower.weight.0", "fold_in.user.usual", "fold_in.item.tower.features"]
)
def test_forged_arrays_are_refused(kept: Path, data: rv.Dataset, name: str) -> None:
    model = rv.load(kept / "dmf").model
    state = model.state()
    for other in (state.arrays[name][:-1], state.arrays[name][None], np.zeros(0, np.float32)):
        with pytest.raises(ArtifactError, match="side of the model"):
            model.method.restore(replace(state, arrays={**state.arrays, name: other}))


def test_learning_stops_where_held_out_items_are_ranked_best(data: rv.Dataset) -> None:
    model = rv.DMF(**{**SMALL, "epochs": 12}, patience=1, learning_rate=0.02).fit(data, runtime=ONE)
    assert 1 <= len(model.curve) <= 12
