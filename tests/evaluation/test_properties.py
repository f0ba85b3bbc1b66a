"""Every figure of an evaluation against plain Python that reads the formulas: loops and sets over ids, no arrays.

The reference below knows tables and scores by (user, item) only. Formulas: docs/glossary.md; what is asked: docs/evaluation.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import recvec as rv
from recvec.errors import InputError

Row = tuple[int, str, float, float]  # user, item, label, weight
Pair = tuple[int, str]
Scores = dict[Pair, float]
EPS = 2.0**-52


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


# ---------------------------------------------------------------- the reference


@dataclass
class Asked:
    """What is known, and what is asked: sets of items by user, all of them in the order of the catalogue."""

    users: list[int]
    items: list[str]
    trained: set[Pair]
    known: set[Pair]
    relevant: dict[int, set[str]]
    allowed: list[str]
    score: Callable[[int, str], float]
    negatives: dict[int, set[str]] = field(default_factory=dict)

    @property
    def people(self) -> list[int]:
        """Who has an item to find, in the order of the rows."""
        return [u for u in self.users if u in self.relevant]

    def place(self, user: int, item: str) -> tuple[float, int]:
        """By this a list is sorted: the score, then the row."""
        return -self.available(user, item), self.items.index(item)

    def available(self, user: int, item: str) -> float:
        score = self.score(user, item)
        return -math.inf if math.isnan(score) else score

    def top(self, user: int, k: int, allowed: list[str]) -> list[str]:
        there = [i for i in allowed if (user, i) not in self.known and self.available(user, i) > -math.inf]
        return sorted(there, key=lambda i: self.place(user, i))[:k]

    def n_of(self, item: str) -> int:
        return len({u for u, i in self.trained if i == item})


def of_list(found: list[bool], n_relevant: int, k: int) -> dict[str, float]:
    """Return the metrics of one list; `found` says which places are relevant."""
    ranks = [r for r, hit in enumerate(found, start=1) if hit]
    most = min(k, n_relevant)
    return {
        "recall": len(ranks) / n_relevant,
        "recall_capped": len(ranks) / most,
        "precision": len(ranks) / k,
        "hit_rate": 1.0 if ranks else 0.0,
        "ndcg": sum(1 / math.log2(r + 1) for r in ranks) / sum(1 / math.log2(r + 1) for r in range(1, most + 1)),
        "map": sum(sum(found[:r]) / r for r in ranks) / most,
        "mrr": 1 / ranks[0] if ranks else 0.0,
    }


def area(score: Callable[[str], float], wanted: list[str], others: list[str]) -> float:
    pairs = [(score(a), score(b)) for a in wanted for b in others]
    return mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])


def full(asked: Asked, lengths: list[int], *, beside: bool) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Rank all that may be recommended; return the figures, and the values of each user (NaN where there is none)."""
    values: dict[str, list[float]] = {}
    shown = {k: dict.fromkeys(asked.allowed, 0) for k in lengths}
    n_users = len({u for u, _ in asked.trained})
    for user in asked.people:
        relevant, mine = asked.relevant[user], {}
        for k in lengths:
            listed = asked.top(user, k, asked.allowed)
            mine |= {f"{n}@{k}": v for n, v in of_list([i in relevant for i in listed], len(relevant), k).items()}
            if beside:
                whole = asked.top(user, k, asked.items)
                again = of_list([i in relevant for i in whole], len(relevant), k)
                mine |= {f"{n}_all@{k}": again[n] for n in ("recall", "ndcg")}
            mine[f"novelty@{k}"] = mean([-math.log2(max(1, asked.n_of(i)) / n_users) for i in listed])
            usual = mean([asked.n_of(i) for u, i in asked.known if u == user])
            mine[f"popularity_lift@{k}"] = mean([asked.n_of(i) for i in listed]) / usual if usual > 0 else math.nan
            for item in listed:
                shown[k][item] += 1
        others = [i for i in asked.allowed if i not in relevant and (user, i) not in asked.known]
        mine["auc"] = area(lambda i, u=user: asked.available(u, i), [i for i in asked.allowed if i in relevant], others)
        for name, value in mine.items():
            values.setdefault(name, []).append(value)
    figures = {name: mean([v for v in column if not math.isnan(v)]) for name, column in values.items()}
    for k in lengths:
        exposed = sorted(shown[k].values())
        n, total = len(exposed), sum(exposed)
        figures[f"coverage@{k}"] = sum(e > 0 for e in exposed) / n
        figures[f"gini@{k}"] = sum((2 * i - n - 1) * e for i, e in enumerate(exposed, start=1)) / (n * total) if total else math.nan
    return figures, values


def sampled(asked: Asked, lengths: list[int]) -> dict[str, float]:
    """Rank each test item among the user's negatives; a user's value is the mean over their test items."""
    by_user: dict[str, list[float]] = {}
    for user in asked.people:
        of_items: dict[str, list[float]] = {}
        for item in sorted(asked.relevant[user]):
            own = asked.available(user, item)
            others = [asked.available(user, i) for i in asked.negatives.get(user, set()) if i != item]
            rank = 1 + sum(o > own for o in others) + sum(o == own for o in others) / 2
            for k in lengths:
                hit = 1.0 if rank < k + 1 else 0.0
                of_items.setdefault(f"precision@{k}", []).append(hit / k)
                for name in ("recall", "recall_capped", "hit_rate"):
                    of_items.setdefault(f"{name}@{k}", []).append(hit)
                for name in ("map", "mrr"):
                    of_items.setdefault(f"{name}@{k}", []).append(hit / rank)
                of_items.setdefault(f"ndcg@{k}", []).append(hit / math.log2(rank + 1))
            below = [1.0 if o < own else 0.5 if o == own else 0.0 for o in others]
            of_items.setdefault("auc", []).append(mean(below))
        for name, column in of_items.items():
            by_user.setdefault(name, []).append(mean(column))
    return {name: mean([v for v in column if not math.isnan(v)]) for name, column in by_user.items()}


def counts(asked: Asked, test: list[Row], chosen: set[Pair]) -> dict[str, int]:
    seen_users, seen_items = {u for u, _ in asked.trained}, {i for _, i in asked.trained}
    return {
        "n_users_evaluated": len(asked.relevant),
        "n_users_without_test": len(asked.users) - len(asked.relevant),
        "n_unseen_users": len({u for u, *_ in test} - seen_users),
        "n_unseen_items": sum(i not in seen_items for _, i, *_ in test),
        "n_distinct_unseen_items": len({i for _, i, *_ in test} - seen_items),
        "n_test_rows": len(test),
        "n_test_pairs_in_train": len(chosen & asked.known),
    }


# ---------------------------------------------------------------- what is drawn


USERS, ITEMS = st.integers(1, 7), st.sampled_from("abcdefgh")
VALUES = st.sampled_from([0.0, 0.0, 1.0, 2.0, -1.0, -math.inf, math.nan])
LENGTHS = st.sampled_from([[1], [2, 5], [3, 10], [1, 8, 30]])


@st.composite
def tables(draw: st.DrawFn, users: st.SearchStrategy[int] = USERS, items: st.SearchStrategy[str] = ITEMS, least: int = 1) -> list[Row]:
    """Rows with repeated pairs, labels of both kinds, and weights of 0 among others."""
    rows = st.tuples(users, items, st.sampled_from([1.0, 1.0, 0.0]), st.sampled_from([1.0, 0.5, 0.0]))
    return draw(st.lists(rows, min_size=least, max_size=30))


def frame(rows: list[Row], columns: set[str]) -> pl.DataFrame:
    schema = {"user_id": pl.Int64, "item_id": pl.String, "label": pl.Float64, "weight": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").select(c for c in schema if c.endswith("_id") or c in columns)


def chosen_of(rows: list[Row], columns: set[str]) -> set[Pair]:
    return {(u, i) for u, i, label, _ in rows if "label" not in columns or label > 0}


COLUMNS = st.sampled_from([set(), {"label"}, {"weight"}, {"label", "weight"}])


def scorer(split: rv.Split, table: Scores) -> Callable[[np.ndarray], np.ndarray]:
    users, items = split.train.users.ids.to_list(), split.train.items.ids.to_list()
    return lambda rows: np.array([[table[users[u], i] for i in items] for u in rows], np.float32).reshape(len(rows), len(items))


def draw_scores(draw: st.DataObject, split: rv.Split, values: st.SearchStrategy[float] = VALUES) -> Scores:
    few = draw.draw(st.lists(values, min_size=1, max_size=6))
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32 - 1)))
    return {(u, i): few[int(rng.integers(len(few)))] for u in split.train.users.ids for i in split.train.items.ids}


def assert_close(found: dict[str, float], wanted: dict[str, float]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def evaluated(
    competitor: object, split: rv.Split, lengths: list[int], relevant: dict[int, set[str]], task: str | None = None
) -> rv.Evaluation:
    """Measure; where nobody has anything to find, that is said instead, and the example ends here."""
    if not relevant:
        with pytest.raises(InputError, match="no user of the test part has an item to find"):
            rv.evaluate(competitor, split, k=lengths, task=task)
    assume(relevant)
    return rv.evaluate(competitor, split, k=lengths, task=task)


def by_user(pairs: set[Pair]) -> dict[int, set[str]]:
    return {u: {i for v, i in pairs if v == u} for u in {u for u, _ in pairs}}


# ---------------------------------------------------------------- given test parts


def given_split(train: list[Row], test: list[Row], columns: set[str], negatives: list[Pair] | None) -> rv.Split:
    listed = (
        None if negatives is None else pl.DataFrame(negatives, schema={"user_id": pl.Int64, "negative_item_id": pl.String}, orient="row")
    )
    return rv.split(rv.read(frame(train, columns)), test=frame(test, columns), negatives=listed)


def asked_of(split: rv.Split, train: list[Row], test: list[Row], columns: set[str], score: Scores) -> Asked:
    items, known = split.train.items.ids.to_list(), chosen_of(train, columns)
    relevant = by_user(chosen_of(test, columns) - known)
    return Asked(split.train.users.ids.to_list(), items, known, known, relevant, items, lambda u, i: score[u, i])


@settings(max_examples=120)
@given(train=tables(), test=tables(st.integers(1, 9), st.sampled_from("abcdefghij")), columns=COLUMNS, lengths=LENGTHS, data=st.data())
def test_rankings_of_the_whole_catalogue(
    train: list[Row], test: list[Row], columns: set[str], lengths: list[int], data: st.DataObject
) -> None:
    assume(chosen_of(train, columns))
    split = given_split(train, test, columns, None)
    score = draw_scores(data, split)
    asked = asked_of(split, train, test, columns, score)
    result = evaluated(scorer(split, score), split, lengths, asked.relevant)
    figures, values = full(asked, lengths, beside=False)
    assert_close(dict(result.metrics), figures)
    for name, column in values.items():
        np.testing.assert_allclose(result.per_user[name], column, atol=1e-9, err_msg=name)
    assert split.train.users.ids[result.users].to_list() == asked.people
    assert dict(result.counts) == counts(asked, test, chosen_of(test, columns))
    whole = result.slices.filter(slice="history length")
    assert whole["n"].sum() == len(asked.relevant)
    k = lengths[-1]
    assert (whole["n"] * whole[f"recall@{k}"]).sum() == pytest.approx(sum(values[f"recall@{k}"]))


@settings(max_examples=100)
@given(
    train=tables(), test=tables(st.integers(1, 9), st.sampled_from("abcdefghij")), columns=COLUMNS, lengths=LENGTHS, data=st.data(),
    negatives=st.lists(st.tuples(st.integers(1, 10), st.sampled_from("abcdefghijkl")), min_size=1, max_size=40),
)  # fmt: skip
def test_rankings_among_given_negatives(
    train: list[Row], test: list[Row], columns: set[str], lengths: list[int], negatives: list[Pair], data: st.DataObject
) -> None:
    split = given_split(train, test, columns, negatives)
    score = draw_scores(data, split)
    asked = asked_of(split, train, test, columns, score)
    asked.negatives = by_user(set(negatives))
    result = evaluated(scorer(split, score), split, lengths, asked.relevant)
    assert result.sampled
    assert_close(dict(result.metrics), sampled(asked, lengths))
    assert dict(result.counts) == counts(asked, test, chosen_of(test, columns))


# ---------------------------------------------------------------- parts that a protocol holds out


@settings(max_examples=80)
@given(rows=tables(least=8), columns=COLUMNS, lengths=LENGTHS, fold=st.integers(0, 1), seed=st.integers(0, 5), data=st.data())
def test_rankings_of_held_out_items(
    rows: list[Row], columns: set[str], lengths: list[int], fold: int, seed: int, data: st.DataObject
) -> None:
    assume(len({i for _, i, *_ in rows}) > 1)
    split = rv.folds(rv.read(frame(rows, columns)), "new-items", 2, seed=seed)[fold]
    items = split.train.items.ids.to_list()
    held_out = [items[i] for i in split.candidates]
    train, test = [r for r in rows if r[1] not in held_out], [r for r in rows if r[1] in held_out]
    assume(chosen_of(train, columns))
    score = draw_scores(data, split)
    asked = asked_of(split, train, test, columns, score)
    asked.allowed = held_out
    result = evaluated(scorer(split, score), split, lengths, asked.relevant)
    figures, _ = full(asked, lengths, beside=True)
    assert_close(dict(result.metrics), figures)
    assert dict(result.counts) == counts(asked, test, chosen_of(test, columns))


@settings(max_examples=60)
@given(rows=tables(least=12), columns=COLUMNS, lengths=LENGTHS, seed=st.integers(0, 5), data=st.data())
def test_rankings_for_people_whose_rows_are_folded_in(
    rows: list[Row], columns: set[str], lengths: list[int], seed: int, data: st.DataObject
) -> None:
    assume(len({u for u, *_ in rows}) >= 5)
    try:
        split = rv.split(rv.read(frame(rows, columns)), "strong", seed=seed)
    except InputError as error:  # the people held out have one row each
        assert "left no test row" in str(error)  # noqa: PT017
        assume(False)
    ids = split.train.users.ids.to_list(), split.train.items.ids.to_list()
    trained, folded, test = (rows_of(part, ids) for part in (split.train.interactions, split.folded, split.test))
    assert sorted(trained + folded + test) == sorted((u, i, label if "label" in columns else 1.0, 1.0) for u, i, label, _ in rows)
    assume(chosen_of(trained, columns))
    score = draw_scores(data, split)
    asked = asked_of(split, trained, test, columns, score)
    asked.known = chosen_of(trained + folded, columns)
    asked.relevant = by_user(chosen_of(test, columns) - asked.known)
    result = evaluated(scorer(split, score), split, lengths, asked.relevant)
    figures, _ = full(asked, lengths, beside=False)
    assert_close(dict(result.metrics), figures)
    assert dict(result.counts) == counts(asked, test, chosen_of(test, columns))


def rows_of(part: object, ids: tuple[list[int], list[str]]) -> list[Row]:
    label = np.ones(len(part)) if part.label is None else part.label
    return [(ids[0][u], ids[1][i], float(c), 1.0) for u, i, c in zip(part.users, part.items, label, strict=True)]


# ---------------------------------------------------------------- a model, ratings, clicks


@settings(max_examples=60)
@given(train=tables(least=4), test=tables(st.integers(1, 9), st.sampled_from("abcdefghij")), columns=COLUMNS, lengths=LENGTHS)
def test_a_model_is_measured_like_a_function(train: list[Row], test: list[Row], columns: set[str], lengths: list[int]) -> None:
    """Popularity: its scores are counts of rows, for everyone the same, so that the reference knows them too."""
    assume(chosen_of(train, columns))
    data = rv.read(frame(train, columns))
    assume(data.n_users > 1)
    assume(data.n_items > 1)
    split = given_split(train, test, columns, None)
    rows = [(u, i) for u, i, label, _ in train if "label" not in columns or label > 0]
    score = {(u, i): float(sum(i == j for _, j in rows)) for u in split.train.users.ids for i in split.train.items.ids}
    asked = asked_of(split, train, test, columns, score)
    result = evaluated(rv.Popularity().fit(split.train), split, lengths, asked.relevant)
    assert_close(dict(result.metrics), full(asked, lengths, beside=False)[0])
    # a model that is older than the ids of the test part has no place for new items
    newer = {(u, i): s if i in data.items.ids.to_list() else -math.inf for (u, i), s in score.items()}
    asked = asked_of(split, train, test, columns, newer)
    assert_close(dict(rv.evaluate(rv.Popularity().fit(data), split, k=lengths).metrics), full(asked, lengths, beside=False)[0])


RATED = st.tuples(USERS, ITEMS, st.sampled_from([-2.0, 0.0, 0.5, 3.0, 5.0]))


@settings(max_examples=60)
@given(train=st.lists(RATED, min_size=1, max_size=25), test=st.lists(RATED, min_size=1, max_size=25), data=st.data())
def test_errors_of_ratings(train: list[tuple[int, str, float]], test: list[tuple[int, str, float]], data: st.DataObject) -> None:
    schema = {"user_id": pl.Int64, "item_id": pl.String, "rating": pl.Float64}
    split = rv.split(rv.read(pl.DataFrame(train, schema=schema, orient="row")), test=pl.DataFrame(test, schema=schema, orient="row"))
    score = draw_scores(data, split, st.floats(-9, 9, width=32) | st.just(math.nan))
    result = rv.evaluate(scorer(split, score), split, task="rating")
    ratings = [r for *_, r in train]
    usual = mean(ratings)
    predicted = [usual if math.isnan(score[u, i]) else min(max(score[u, i], min(ratings)), max(ratings)) for u, i, _ in test]
    errors = [p - r for p, (*_, r) in zip(predicted, test, strict=True)]
    wanted = {"rmse": math.sqrt(mean([e * e for e in errors])), "mae": mean([abs(e) for e in errors])}
    assert_close(dict(result.metrics), wanted)
    people = [u for u in split.train.users.ids if u in {v for v, *_ in test}]
    sums = [sum(abs(e) for e, (v, *_) in zip(errors, test, strict=True) if v == u) for u in people]
    np.testing.assert_allclose(result.per_user["mae"], sums, atol=1e-9)


CLICKS = st.tuples(USERS, ITEMS, st.sampled_from([0.0, 1.0]), st.just(1.0))


@settings(max_examples=60)
@given(train=st.lists(CLICKS, min_size=1, max_size=20), test=st.lists(CLICKS, min_size=2, max_size=25), data=st.data())
def test_area_and_loss_of_clicks(train: list[Row], test: list[Row], data: st.DataObject) -> None:
    split = given_split(train, test, {"label"}, None)
    score = draw_scores(data, split, st.floats(0, 1, width=32) | st.sampled_from([0.0, 1.0, 0.5]))
    labels = [label for *_, label, _ in test]
    if len(set(labels)) < 2:
        with pytest.raises(InputError, match="has no column 'label' with both 1 and 0 in it"):
            rv.evaluate(scorer(split, score), split, task="click")
        return
    result = rv.evaluate(scorer(split, score), split, task="click")
    pairs = [(score[u, i], label) for u, i, label, _ in test]
    above = [1.0 if a > b else 0.5 if a == b else 0.0 for a, x in pairs if x for b, y in pairs if not y]
    losses = [-math.log(min(max(p if label else 1 - p, EPS), 1 - EPS)) for p, label in pairs]
    assert_close(dict(result.metrics), {"auc": mean(above), "logloss": mean(losses)})
