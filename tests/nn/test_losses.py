"""Losses against their formulas, written out term by term."""

import math

import numpy as np
import pytest
import torch

from recvec.nn.losses import bpr, cosines, in_batch, list_thresholds, list_weights, logistic, shared_softmax, softmax


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_softmax_logistic_and_bpr() -> None:
    positive, negative = drawn(4), drawn(4, 3, seed=1)
    p, n = positive.tolist(), negative.tolist()
    likely = [math.exp(p[b]) / (math.exp(p[b]) + sum(map(math.exp, n[b]))) for b in range(4)]
    assert float(softmax(positive, negative)) == pytest.approx(-sum(map(math.log, likely)) / 4)
    chances = [math.log(1 / (1 + math.exp(-s))) for s in p] + [math.log(1 - 1 / (1 + math.exp(-s))) for row in n for s in row]
    assert float(logistic(positive, negative)) == pytest.approx(-sum(chances) / 16)
    pairs = [math.log(1 + math.exp(s - p[b])) for b in range(4) for s in n[b]]
    assert float(bpr(positive, negative)) == pytest.approx(sum(pairs) / 12)


def test_cosines_over_the_temperature() -> None:
    users, items = drawn(3, 5), drawn(4, 5, seed=1)
    items[0] = 0
    found = cosines(users, items, 0.2)
    for u in range(3):
        for i in range(1, 4):
            assert float(found[u, i]) == pytest.approx(float(users[u] @ items[i] / users[u].norm() / items[i].norm()) / 0.2)
    assert (found[:, 0] == 0).all()


def test_shared_softmax_is_the_mean_over_pairs() -> None:
    scores, weights, negatives = drawn(3, 4), drawn(3, 4, seed=1).abs(), drawn(3, 6, seed=2)
    weights[2] = 0  # nobody
    total = 0.0
    for u in range(3):
        for i in range(4):
            total += float(weights[u, i]) * (math.log(sum(map(math.exp, negatives[u].tolist()))) - float(scores[u, i]))
    found = shared_softmax((weights * scores).sum(dim=1), negatives, weights.sum(dim=1))
    assert float(found) == pytest.approx(total / float(weights.sum()))


def test_weights_by_the_end_of_the_list_have_no_slope() -> None:
    scores = drawn(3, 10).requires_grad_()
    beta = list_thresholds(scores, 4)
    assert beta.tolist() == [sorted(row, reverse=True)[3] for row in scores.tolist()]
    assert list_thresholds(scores, 99).tolist() == [min(row) for row in scores.tolist()]
    weights = list_weights(scores[:, 0], beta, 0.5)
    assert not weights.requires_grad
    expected = [1 / (1 + math.exp(-(s - b) / 0.5)) for s, b in zip(scores[:, 0].tolist(), beta.tolist(), strict=True)]
    assert weights.tolist() == pytest.approx(expected)


def test_in_batch_corrects_negatives_alone() -> None:
    scores, items = drawn(4, 4), torch.tensor([7, 2, 7, 5])  # pairs 0 and 2 are of one item
    chances = torch.tensor([0.5, 0.2, 0.5, 0.3], dtype=torch.float64)
    total = 0.0
    for b in range(4):
        others = [math.exp(float(scores[b, c])) / (3 * float(chances[c])) for c in range(4) if items[c] != items[b]]
        total += math.log(math.exp(float(scores[b, b])) + sum(others)) - float(scores[b, b])
    assert float(in_batch(scores, items, chances.log())) == pytest.approx(total / 4)


def test_in_batch_recovers_the_softmax_over_all_items_on_average() -> None:
    """Negatives drawn by unequal chances and corrected give the same denominator as all items, up to the number drawn."""
    rng = np.random.default_rng(0)
    items, chances = rng.standard_normal(50), rng.dirichlet(np.ones(50))
    batch = rng.choice(50, 200_000, p=chances)
    corrected = np.exp(items[batch] - np.log(chances[batch])).mean()
    assert corrected == pytest.approx(np.exp(items).sum(), rel=0.05)
