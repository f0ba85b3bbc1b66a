"""Steps on pairs of items, compared with the same steps in plain numpy."""

import numpy as np
import pytest
import scipy.sparse as sp

from recvec.contract import Threads
from recvec.kernels.pairwise import BY_RANK, BY_SHARE, TILE, VIOLATOR, Choice, Factors, Rates, epoch, padded
from recvec.kernels.pairwise_rows import parts_of_user, place_items, solve_users
from recvec.kernels.sampling import STEP, catalogue, item_by_rank, item_by_share, mixed, rank_law, shuffle, stream
from recvec.kernels.strata import Positives, deal, n_groups

F4 = np.float32
RATES = Rates(*(F4(r) for r in (0.1, 0.05, 0.01, 0.002, 0.03)))
CHOICES = {"share": Choice(BY_SHARE, F4(0), 1), "rank": Choice(BY_RANK, F4(0.2), 1), "violator": Choice(VIOLATOR, F4(0), 7)}


def data(n_users: int, n_items: int, density: float, seed: int = 0) -> Positives:
    matrix = sp.random_array((n_users, n_items), density=density, format="csr", rng=np.random.default_rng(seed))
    matrix.sort_indices()
    return Positives(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), np.empty(0, F4))


def start(n_users: int, n_items: int, d: int, seed: int = 1) -> Factors:
    rng = np.random.default_rng(seed)
    users, items = padded(n_users, d), padded(n_items, d)
    for side in (users, items):
        side[:, :d] = rng.standard_normal((len(side), d)) * 0.3
    return Factors(users, items, (rng.standard_normal(n_items) * 0.1).astype(F4))


def copy(factors: Factors) -> Factors:
    return Factors(*(_aligned(a) if a.ndim == 2 else a.copy() for a in factors))


def _aligned(matrix: np.ndarray) -> np.ndarray:
    wide = padded(*matrix.shape)
    wide[:] = matrix
    return wide


def catalogues(members, factors: Factors, kind: int):
    return [catalogue(m, np.ones(len(m)), (factors.items, factors.bias) if kind == BY_RANK else None) for m in members]


def run(factors: Factors, positives: Positives, choice: Choice, *, groups: int = 1, threads: int = 1, rates: Rates = RATES) -> float:
    rng, executor = np.random.default_rng(5), Threads(threads)
    dealt = deal(positives, len(factors.items), groups, rng, executor)
    return epoch(factors, positives, dealt, catalogues(dealt.members, factors, choice.kind), choice, rates, rng, executor)


def plain(factors: Factors, positives: Positives, choice: Choice) -> float:
    """Do in float64 numpy what `run` does with one group."""
    rng = np.random.default_rng(5)
    dealt = deal(positives, len(factors.items), 1, rng, Threads(1))
    [items] = catalogues(dealt.members, factors, choice.kind)
    x, y, b = (a.astype(float) for a in factors)
    seed, total = rng.integers(1 << 63), 0.0
    order = np.arange(len(dealt.pairs))
    state = np.uint64(shuffle(np.uint64(stream(seed, 0)), order))
    for begin in range(0, len(order), TILE):
        tile = order[begin : begin + TILE]
        found = []
        for e in tile:
            u, i = dealt.pairs[e].tolist()
            met = set(positives.indices[positives.indptr[u] : positives.indptr[u + 1]].tolist())
            j, trials = -1, 0
            for _ in range(choice.trials if choice.kind == VIOLATOR else 20):
                state = np.uint64((int(state) + int(STEP)) % 2**64)
                if choice.kind == BY_RANK:
                    other = int(
                        item_by_rank(np.uint64(mixed(state)), items.orders, items.spread, x.astype(F4), u, rank_law(choice.depth, len(b)))
                    )
                else:
                    other = int(item_by_share(np.uint64(mixed(state)), *items[:3]))
                if other in met:
                    continue
                trials += 1
                if choice.kind != VIOLATOR or x[u] @ (y[i] - y[other]) + b[i] - b[other] < 1:
                    j = other
                    break
            found.append((u, i, j, trials))
        for u, i, j, trials in found:
            if j < 0:
                continue
            gap = x[u] @ (y[i] - y[j]) + b[i] - b[j]
            rank = (len(b) - 1) // trials
            hinge = float(gap < 1) * np.log(1 + rank) / np.log(len(b))
            slope = hinge if choice.kind == VIOLATOR else 1 / (1 + np.exp(gap))
            total += slope
            old = x[u].copy()
            x[u] += RATES.learning * (slope * (y[i] - y[j]) - RATES.user * old)
            y[i] += RATES.learning * (slope * old - RATES.positive * y[i])
            y[j] += RATES.learning * (-slope * old - RATES.negative * y[j])
            b[i] += RATES.bias * (slope - RATES.positive * b[i])
            b[j] += RATES.bias * (-slope - RATES.negative * b[j])
    for mine, theirs in zip(factors, (x, y, b), strict=True):
        mine[:] = theirs
    return total / len(dealt.pairs)


@pytest.mark.parametrize("d", [1, 10, 64, 100])
@pytest.mark.parametrize("kind", CHOICES)
def test_steps_are_those_of_the_formula(kind: str, d: int) -> None:
    positives = data(30, 40, 0.15)
    mine, theirs = start(30, 40, d), start(30, 40, d)
    assert run(mine, positives, CHOICES[kind]) == pytest.approx(plain(theirs, positives, CHOICES[kind]), rel=1e-5)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert not mine.users[:, d:].any()


def test_a_step_goes_down_the_loss() -> None:
    """One user, one item met, one not: the change is the learning rate times the gradient, by central differences."""
    positives = Positives(np.array([0, 1]), np.array([0], np.int32), np.empty(0, F4))

    def loss(z: np.ndarray) -> float:
        x, p, q, b = z[:4], z[4:8], z[8:12], z[12:]
        gap = x @ (p - q) + b[0] - b[1]
        sizes = 0.01 * x @ x + 0.002 * (p @ p + b[0] ** 2) + 0.03 * (q @ q + b[1] ** 2)
        return float(np.log1p(np.exp(-gap)) + sizes / 2)

    factors = start(1, 2, 4)
    parts = lambda: np.concatenate([factors.users[0, :4], factors.items[0, :4], factors.items[1, :4], factors.bias]).astype(float)
    before = parts()
    rate = F4(1e-2)
    run(factors, positives, CHOICES["share"], rates=RATES._replace(learning=rate, bias=rate))
    slope = np.array([(loss(before + h) - loss(before - h)) / 2e-5 for h in 1e-5 * np.eye(len(before))])
    np.testing.assert_allclose((before - parts()) / rate, slope, atol=2e-5)


@pytest.mark.parametrize("kind", CHOICES)
def test_the_same_bits_for_any_number_of_threads(kind: str) -> None:
    positives, outcomes = data(300, 200, 0.05), []
    for threads in (1, 2, 3):
        factors = start(300, 200, 20)
        outcomes.append((run(factors, positives, CHOICES[kind], groups=5, threads=threads), factors))
    for slope, factors in outcomes[1:]:
        assert slope == outcomes[0][0]
        assert all(np.array_equal(a, b) for a, b in zip(factors, outcomes[0][1], strict=True))


def test_every_pair_is_dealt_once_to_the_block_of_its_groups() -> None:
    positives = data(100, 80, 0.1)
    weighted = positives._replace(weights=np.arange(len(positives.indices), dtype=F4))
    one, three = (deal(weighted, 80, 7, np.random.default_rng(3), Threads(n)) for n in (1, 3))
    assert np.array_equal(one.pairs, three.pairs)
    users = np.repeat(np.arange(100), np.diff(positives.indptr))
    assert sorted(map(tuple, one.pairs.tolist())) == sorted(zip(users.tolist(), positives.indices.tolist(), strict=True))
    place = np.lexsort((one.pairs[:, 1], one.pairs[:, 0]))
    assert np.array_equal(one.weights[place], weighted.weights)
    assert sorted(np.concatenate(one.members).tolist()) == list(range(80))
    people: dict[int, int] = {}
    for g in range(7):
        for h in range(7):
            block = one.pairs[one.bounds[g * 7 + h] : one.bounds[g * 7 + h + 1]]
            assert set(block[:, 1].tolist()) <= set(one.members[h].tolist())
            assert all(people.setdefault(u, g) == g for u in block[:, 0].tolist())


def test_a_weight_is_how_often_a_pair_comes() -> None:
    """User 0 has weight 2.5, user 1 weight .5: with tiny steps their vectors move in that proportion."""
    positives = Positives(np.array([0, 1, 2]), np.array([0, 0], np.int32), np.array([2.5, 0.5], F4))
    factors = start(2, 2, 4)
    factors.users[1] = factors.users[0]
    before = factors.users.copy()
    tiny = Rates(F4(1e-3), F4(0), F4(0), F4(0), F4(0))
    rng = np.random.default_rng(0)
    for _ in range(400):
        frozen = copy(factors)
        dealt = deal(positives, 2, 1, rng, Threads(1))
        epoch(frozen, positives, dealt, catalogues(dealt.members, factors, 0), CHOICES["share"], tiny, rng, Threads(1))
        factors.users[:] = frozen.users
    moved = np.linalg.norm(factors.users - before, axis=1)
    assert moved[0] / moved[1] == pytest.approx(5, rel=0.2)


@pytest.mark.parametrize("kind", CHOICES)
def test_who_has_everything_and_who_has_nothing_stay(kind: str) -> None:
    positives = Positives(np.array([0, 3, 3]), np.arange(3, dtype=np.int32), np.empty(0, F4))
    factors = start(2, 3, 5)
    before = copy(factors)
    assert run(factors, positives, CHOICES[kind]) == 0
    assert all(np.array_equal(a, b) for a, b in zip(factors, before, strict=True))


def test_groups_are_small_enough_for_the_cache_and_large_enough_to_draw_from() -> None:
    sizes = [(10, 10, 16), (600, 1000, 16), (29858, 40981, 64), (1_000_000, 200_000, 64)]
    groups = [n_groups(*size) for size in sizes]
    assert groups[:2] == [1, 2]
    assert 4 <= groups[2] <= 32
    assert groups[3] == 64


# ---------------------------------------------------------------- one side held fixed


def histories(rows: list[list[int]], weights: list[list[float]] | None = None) -> Positives:
    flat = [i for row in rows for i in row]
    given = np.ones(len(flat)) if weights is None else np.array([w for row in weights for w in row])
    return Positives(np.cumsum([0, *map(len, rows)]), np.array(flat, np.int32), given.astype(F4))


@pytest.mark.parametrize("kind", CHOICES)
@pytest.mark.parametrize("d", [3, 70])
def test_a_history_gives_the_same_vector_in_any_batch_and_its_parts_add_up(kind: str, d: int) -> None:
    factors = start(1, 50, d)
    items = catalogue(np.arange(50, dtype=np.int32), np.ones(50), (factors.items, factors.bias))
    given = (factors.items, factors.bias, items, CHOICES[kind], RATES)
    rows = [[1, 4, 30], [], list(range(50)), [7], [1, 4, 30]]
    together = solve_users(histories(rows), *given, passes=6, executor=Threads(2))
    assert np.array_equal(together[0], together[4])
    assert not together[1].any()
    assert not together[2].any()
    for row, vector in zip(rows, together, strict=True):
        alone = solve_users(histories([row]), *given, passes=6, executor=Threads(1))
        assert np.array_equal(alone[0], vector)
        target = np.ascontiguousarray(factors.items[9])
        parts = parts_of_user(histories([row]), *given, passes=6, target=target)
        assert parts.shape == (len(row),)
        assert parts.sum() == pytest.approx(float(vector @ target), abs=1e-5)


def test_weights_count_relative_to_their_mean_and_none_is_no_history() -> None:
    factors = start(1, 50, 8)
    items = catalogue(np.arange(50, dtype=np.int32), np.ones(50))
    given = (factors.items, factors.bias, items, CHOICES["share"], RATES)
    rows = [[1, 4, 30]] * 4
    solved = solve_users(histories(rows, [[1, 1, 1], [9, 9, 9], [0, 0, 0], [0, 2, 0]]), *given, passes=6, executor=Threads(1))
    assert np.array_equal(solved[0], solved[1])
    assert not solved[2].any()
    assert solved[3].any()
    assert not np.array_equal(solved[0], solved[3])


def test_new_items_are_placed_the_same_on_any_number_of_threads_and_old_ones_stay() -> None:
    positives, outcomes = data(200, 60, 0.2), []
    matrix = sp.csr_array((np.ones(len(positives.indices)), positives.indices, positives.indptr), shape=(200, 60))
    by_item = sp.csr_array(matrix[:, 50:].T.tocsr())
    fresh = Positives(by_item.indptr.astype(np.int64), by_item.indices.astype(np.int32), np.empty(0, F4))
    for threads in (1, 3):
        factors = start(200, 60, 12)
        factors.items[50:], factors.bias[50:] = 0, 0
        before = copy(factors)
        place_items(positives, fresh, *factors, RATES, passes=10, seed=3, executor=Threads(threads))
        assert np.array_equal(before.items[:50], factors.items[:50])
        assert np.array_equal(before.users, factors.users)
        outcomes.append(factors)
    assert np.array_equal(outcomes[0].items, outcomes[1].items)
    scores = outcomes[0].users @ outcomes[0].items[50:].T
    mine = matrix[:, 50:].toarray() > 0
    assert scores[mine].mean() > scores[~mine].mean() + 0.1
