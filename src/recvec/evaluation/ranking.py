"""Rankings of one competitor on one split: of the whole catalogue, of held-out items, or among given negatives."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recvec.contract import Model, Ranked
from recvec.data.histories import Histories
from recvec.errors import InputError
from recvec.evaluation.answers import Answers
from recvec.evaluation.measured import Measured, Pairs
from recvec.kernels import catalogue, metrics
from recvec.kernels.auc import auc_of_scores
from recvec.kernels.diversity import intra_list_similarity
from recvec.types import F32, F64, I32, I64, Array, Bool

_USERS_PER_BLOCK = 4096
_SCORED_USERS_PER_BLOCK = 256  # users whose scores of the whole catalogue are held at once
_USERS_PER_TASK = 32  # of these, how many a thread takes at a time
BESIDE = ("recall", "ndcg")  # what is said of the full catalogue where only some items compete


def measure_ranking(answers: Answers, lengths: list[int], diversity: float = 0.0) -> Measured:
    """Return the values of each user who has an item to find.

    Parameters
    ----------
    answers : Answers
        Who is asked, about whom.
    lengths : list of int
        Lengths of the lists, ascending.
    diversity : float
        Where positive, lists re-ranked for diversity are measured beside the plain ones.

    Raises
    ------
    InputError
        Where there is no such user, or diversity is asked for where no lists are made.
    """
    relevant, negatives = answers.split.relevant, answers.split.negatives
    users = np.flatnonzero(relevant.lengths > 0).astype(np.int32)
    if not len(users):
        raise InputError("no user of the test part has an item to find; allowed: test pairs that are not in the training part")
    asked = relevant.take(users)
    if negatives is None:
        return _full(answers, users, asked, lengths, diversity)
    if diversity:
        raise InputError("diversity re-ranks lists, and among given negatives no lists are made; leave one of the two out")
    return _among_negatives(answers, users, asked, lengths, negatives)


# ---------------------------------------------------------------- the whole catalogue, or the held-out items


@dataclass(frozen=True, eq=False)
class _Trained:
    """What the training part says of items and of people's usual items."""

    answers: Answers

    @cached_property
    def counts(self) -> I64:
        """Distinct training users of each item, shape (n_items,)."""
        trained = self.answers.split.train.histories()
        return np.bincount(trained.items, minlength=trained.n_items)

    @cached_property
    def n_users(self) -> int:
        """Users with a training row."""
        return int((self.answers.split.train.user_counts > 0).sum())

    def usual(self, users: I32) -> F64:
        """Return the mean count of the items known of each user, NaN where none are."""
        known = self.answers.known.take(users)
        sums = np.bincount(np.repeat(np.arange(len(known)), known.lengths), self.counts[known.items], minlength=len(known))
        return np.divide(sums, known.lengths, out=np.full(len(known), np.nan), where=known.lengths > 0)


def _full(answers: Answers, users: I32, asked: Histories, lengths: list[int], diversity: float) -> Measured:
    """Rank all items that may be recommended, block by block of users."""
    trained = _Trained(answers)
    size = _USERS_PER_BLOCK if isinstance(answers.competitor, Model) else _SCORED_USERS_PER_BLOCK
    sums: dict[str, list[F64]] = {}
    added: dict[str, list[F64]] = {}
    shown = {k: np.zeros(asked.n_items, np.int64) for k in lengths}
    done = 0
    for block in answers.blocks(users, size):
        mine = asked.take(np.arange(done, done + len(block)))
        done += len(block)
        lists, values, by_pair = _of_block(answers, trained, block, mine, lengths)
        if diversity:
            values |= _with_diversity(answers, block, mine, lists, lengths, diversity)
        for k in lengths:
            shown[k] += catalogue.exposure(lists.rows[:, :k], asked.n_items)
        for collected, new in ((sums, values), (added, by_pair)):
            for name, value in new.items():
                collected.setdefault(name, []).append(value)
    return _measured(answers, users, asked, _joined(sums), _joined(added), shown)


def _of_block(
    answers: Answers, trained: _Trained, users: I32, asked: Histories, lengths: list[int]
) -> tuple[Ranked, dict[str, F64], dict[str, F64]]:
    """Return the lists of some users, the metrics of each, and what each pair adds to them."""
    candidates, k = answers.split.candidates, lengths[-1]
    scores = None if isinstance(answers.competitor, Model) else answers.scores(users)
    lists = answers.lists(users, k, candidates, scores)
    values, by_pair = _list_values(lists, asked, lengths, every_pair=candidates is not None)
    values |= _beyond_accuracy(lists, trained, users, lengths)
    if candidates is not None:
        everything = answers.lists(users, k, None, scores)
        for found, there in zip(_list_values(everything, asked, lengths, every_pair=True), (values, by_pair), strict=True):
            there |= {f"{name}_all@{k}": found[f"{name}@{k}"] for k in lengths for name in BESIDE}
    values["auc"] = _auc(answers, users, asked, scores)
    return lists, values, by_pair


def _with_diversity(answers: Answers, users: I32, asked: Histories, plain: Ranked, lengths: list[int], diversity: float) -> dict[str, F64]:
    """Return what re-ranked lists are worth, and how much alike the items of both kinds of list are (mean cosine)."""
    varied = answers.diverse_lists(users, lengths[-1], diversity, answers.split.candidates)
    found, _ = _list_values(varied, asked, lengths, every_pair=False)
    values = {f"{name}_diverse@{k}": found[f"{name}@{k}"] for k in lengths for name in BESIDE}
    for name, lists in (("similarity", plain), ("similarity_diverse", varied)):
        for k in lengths:
            rows = np.ascontiguousarray(lists.rows[:, :k])
            values[f"{name}@{k}"] = intra_list_similarity(rows, answers.item_vectors, executor=answers.runtime.executor)
    return values


def _joined(parts: dict[str, list[F64]]) -> dict[str, F64]:
    return {name: np.concatenate(values) for name, values in parts.items()}


def _list_values(lists: Ranked, asked: Histories, lengths: list[int], *, every_pair: bool) -> tuple[dict[str, F64], dict[str, F64]]:
    """Return the metrics of each user, and what each pair adds: to ``found`` alone, or to every metric."""
    hits, at = _hits(lists, asked)
    values, by_pair = {}, {"found": _by_pair(hits.astype(np.float64), hits, at, len(asked.items))}
    for k in lengths:
        for name, metric in metrics.RANKING.items():
            gains = metric(hits[:, :k], asked.lengths)  # (B, k)
            values[f"{name}@{k}"] = gains.sum(axis=1)
            if every_pair:
                by_pair[f"{name}@{k}"] = _by_pair(gains, hits[:, :k], at[:, :k], len(asked.items))
    return values, by_pair


def _hits(lists: Ranked, asked: Histories) -> tuple[Bool, I64]:
    """Mark the list entries that are relevant, (B, k), and say which pair each is, by one search among sorted keys."""
    people = np.arange(len(asked), dtype=np.int64)
    keys = np.repeat(people, asked.lengths) * asked.n_items + asked.items
    wanted = people[:, None] * asked.n_items + lists.rows
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return (keys[at] == wanted) & (lists.rows >= 0), at


def _by_pair(gains: F64, hits: Bool, at: I64, n_pairs: int) -> F64:
    values = np.zeros(n_pairs)
    values[at[hits]] = gains[hits]
    return values


def _beyond_accuracy(lists: Ranked, trained: _Trained, users: I32, lengths: list[int]) -> dict[str, F64]:
    usual, values = trained.usual(users), {}
    for k in lengths:
        rows = lists.rows[:, :k]
        values[f"novelty@{k}"] = catalogue.novelty(rows, trained.counts, trained.n_users)
        values[f"popularity_lift@{k}"] = catalogue.popularity_lift(rows, trained.counts, usual)
    return values


def _auc(answers: Answers, users: I32, asked: Histories, scores: F32 | None) -> F64:
    """Return the area under the curve of each user; scores of the whole catalogue exist for some users at a time."""
    known, allowed, found = answers.known.take(users), answers.split.candidates, []
    for start in range(0, len(users), _SCORED_USERS_PER_BLOCK):
        here = users[start : start + _SCORED_USERS_PER_BLOCK]
        of_all = answers.scores(here) if scores is None else scores
        parts = [np.arange(s, min(s + _USERS_PER_TASK, len(here))) for s in range(0, len(here), _USERS_PER_TASK)]

        def area(at: Array, start: int = start, of_all: F32 = of_all) -> F64:
            exclude, wanted = known.take(start + at).exclude, asked.take(start + at).exclude
            return auc_of_scores(of_all[at], wanted, exclude, allowed)

        found += answers.runtime.executor.map(area, parts)
    return np.concatenate(found)


# ---------------------------------------------------------------- given negatives


def _among_negatives(answers: Answers, users: I32, asked: Histories, lengths: list[int], negatives: Histories) -> Measured:
    """Rank each test item among the user's negatives; a user's value is the mean over their test items."""
    ranks, competitors, done = [], [], 0
    for at in answers.blocks(users, _SCORED_USERS_PER_BLOCK):
        scores = answers.scores(at)
        mine, against = asked.take(np.arange(done, done + len(at))), negatives.take(at)
        done += len(at)
        person = np.repeat(np.arange(len(at)), mine.lengths)
        others = _padded(scores, against)[person]  # (n_asked, m)
        others[_padded_items(against)[person] == mine.items[:, None]] = np.nan  # a negative that is the test item itself
        ranks.append(metrics.mean_rank(_available(scores[person, mine.items]), others))
        competitors.append((~np.isnan(others)).sum(axis=1))
    rank, n_others = np.concatenate(ranks), np.concatenate(competitors)
    owner = np.repeat(np.arange(len(users)), asked.lengths)
    by_pair = {f"{name}@{k}": values for k in lengths for name, values in metrics.from_rank(rank, k).items()}
    by_pair["auc"] = np.divide(n_others - rank + 1, n_others, out=np.full(len(rank), np.nan), where=n_others > 0)
    sums = {name: np.bincount(owner, values) / asked.lengths for name, values in by_pair.items()}
    found = by_pair[f"recall@{lengths[-1]}"]
    return _measured(answers, users, asked, sums, {"found": found}, {})


def _padded_items(lists: Histories) -> I32:
    """Return the items of each row side by side, -1 behind a shorter row, shape (B, m)."""
    width = int(lists.lengths.max(initial=0))
    items = np.full((len(lists), width), -1, np.int32)
    items[np.arange(width) < lists.lengths[:, None]] = lists.items
    return items


def _padded(scores: F32, lists: Histories) -> F32:
    items = _padded_items(lists)
    values = _available(np.take_along_axis(scores, items.clip(min=0), axis=1))
    return np.where(items >= 0, values, np.float32(np.nan))


def _available(scores: F32) -> F32:
    """Return scores in which NaN, which means not available, is below all else, as in the ranking of the whole catalogue."""
    return np.where(np.isnan(scores), np.float32(-np.inf), scores)


# ----------------------------------------------------------------


def _measured(
    answers: Answers, users: I32, asked: Histories, values: dict[str, F64], by_pair: dict[str, F64], shown: dict[int, I64]
) -> Measured:
    candidates = answers.split.candidates
    allowed = np.full(asked.n_items, candidates is None)
    if candidates is not None:
        allowed[candidates] = True
    return Measured(
        users=users,
        sums={name: np.nan_to_num(v) for name, v in values.items()},
        counts={name: np.isfinite(v).astype(np.float64) for name, v in values.items()},
        history=answers.known.lengths[users],
        pairs=Pairs(
            users=np.repeat(users, asked.lengths).astype(np.int32),
            items=asked.items,
            values=by_pair,
            shares=np.repeat(1 / asked.lengths, asked.lengths),
            popularity=answers.split.train.item_counts[asked.items],
        ),
        shown=shown,
        allowed=allowed,
    )
