"""What the history of a person says about their id: one small least-squares problem a person and machine.

Someone new has the id of everyone else. Their query then changes by the vector p and the bias b that minimize, with z = (p, b),
a_i = (Q_i, 1) and s_i the score of item i before::

    sum_{i met} w_i (y_i - s_i - z . a_i)^2  +  w0 sum_{all i} (y0 - s_i - z . a_i)^2  +  (n + w0 m)^nu sum_k r_k z_k^2

for n items met of m; nu is 0 unless the fit counts.

============ =================== ========================== =====================================================
task         y of what was met   y0 of everything else      r
============ =================== ========================== =====================================================
rating       the rating          none: w0 = 0               what the ids show: 1 / (noise x variance of the ids)
click        2                   -2, w0 from the labels     4 / variance of the ids; the squares are the second
                                                            order of the logistic loss at 0, times 8
click,       1                   -1, w0 from the labels     as for ratings: scores with N(0, 1) noise
probit
ranking      1                   0, w0 of the fit           that of the fit
============ =================== ========================== =====================================================

For a Bayesian machine this is the mean of the conditional law of an id in every draw, given all that is shared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recvec.data.histories import Histories
from recvec.kernels.fm_vectors import Machine, draw_scores
from recvec.kernels.least_squares import WeightedRows, gramian, half_step
from recvec.types import F32, F64, Array, Executor, Json

_ENTRIES = 1 << 15  # whose scores by all draws are held at once


@dataclass(frozen=True, eq=False)
class HistorySolver:
    """Solves for ids.

    Parameters
    ----------
    machine : Machine
        The draws.
    items : F32, shape (n_items, width + 2 S)
        Item vectors.
    reg : F32, shape (S, d + 1)
        r.
    target, other : float
        y and y0; ratings stand in the histories where `target` is 0.
    levels, hidden : F64, shape (K,)
        Ratings and where they lie on the scale of the scores, with lines between them; none where the two scales are one.
    unobserved_weight : float
        w0.
    exponent : float
        nu.
    """

    machine: Machine
    items: F32
    reg: F32
    target: float
    other: float
    unobserved_weight: float
    exponent: float = 0.0
    levels: F64 = field(default_factory=lambda: np.zeros(0))
    hidden: F64 = field(default_factory=lambda: np.zeros(0))

    def solve(self, queries: F32, histories: Histories, executor: Executor) -> F32:
        """Return the queries (B, width + 2 S) as the histories change them; those without history stay as they are."""
        changed, root = queries.copy(), np.float32(1 / np.sqrt(self.machine.n_draws))
        weights, pull = self._entries(queries, histories)
        for s in range(self.machine.n_draws):
            z = self._solved(s, queries, histories, weights, np.ascontiguousarray(pull[:, s]), executor)
            mine, tail = self._columns(s)
            if self.machine.fields is None:
                changed[:, mine] += z[:, :-1] * root
            else:
                changed[:, mine] += (z[:, None, :-1] * self._own_weights[:, None]).reshape(len(z), -1)
            changed[:, tail] += z[:, -1] * root
        return changed

    def parts(self, query: F32, history: Histories, vector: F32) -> tuple[float, F32]:
        """Return what all items that were not met add to the score of an item, and what each item of the history adds."""
        weights, pull = self._entries(query[None], history)
        whole, added = 0.0, np.zeros(len(history.items))
        if not len(added):
            return whole, added.astype(np.float32)
        for s in range(self.machine.n_draws):
            every = self._directions(s, self.items).astype(np.float64)
            met, wanted = every[history.items], self._directions(s, vector[None])[0].astype(np.float64)
            system = np.einsum("ni,n,nj->ij", met, weights.astype(np.float64), met) + np.diag(
                self._strength(history)[0] * self.reg[s].astype(np.float64)
            )
            rest = np.zeros(len(system))
            if self.unobserved_weight:
                system += self.unobserved_weight * np.einsum("ni,nj->ij", every, every)
                rest += self._rest(s, query[None], every.astype(np.float32))[0]
            answer = np.linalg.solve(system, wanted) / self.machine.n_draws
            whole += float(answer @ rest)
            added += pull[:, s] * (met @ answer)
        return whole, added.astype(np.float32)

    def _entries(self, queries: F32, histories: Histories) -> tuple[F32, F32]:
        """Return the weight w of each entry, (n_entries,), and w (y - s) by each machine, (n_entries, S)."""
        people = np.repeat(np.arange(len(histories)), histories.lengths)
        scores = [np.zeros((0, self.machine.n_draws), np.float32)]
        for a in range(0, len(people), _ENTRIES):
            at = slice(a, a + _ENTRIES)
            scores.append(draw_scores(self.machine, queries[people[at]], self.items[histories.items[at]]))
        found = np.concatenate(scores)
        if self.target:
            return histories.weights, histories.weights[:, None] * (np.float32(self.target) - found)
        ratings = np.interp(histories.weights, self.levels, self.hidden).astype(np.float32) if len(self.levels) else histories.weights
        return np.ones(len(found), np.float32), ratings[:, None] - found

    def _solved(self, s: int, queries: F32, histories: Histories, weights: F32, pull: F32, executor: Executor) -> F32:
        """Return z of each person by one machine, (B, d + 1)."""
        unit = 1 / np.sqrt(self.reg[s])  # in these units r is 1
        known = self._directions(s, self.items) * unit
        gram, entries = np.zeros((known.shape[1],) * 2, np.float32), WeightedRows(histories.indptr, histories.items, weights, pull)
        if self.unobserved_weight:
            gram = np.float32(self.unobserved_weight) * gramian(known, executor=executor)
            rest = (self._rest(s, queries, self._directions(s, self.items)) * unit).astype(np.float32)
            known, entries = np.concatenate([known, rest]), _with_rest(entries, len(self.items))
        start = np.zeros((len(queries), known.shape[1]), np.float32)
        found: F32 = half_step(
            start, entries, known, gram, self._strength(histories).astype(np.float32), solver="cholesky", executor=executor
        )
        return found * unit

    def _rest(self, s: int, queries: F32, directions: F32) -> F64:
        """Return ``w0 sum_i (y0 - s_i) a_i`` over all items, (B, d + 1); scores are linear in the query."""
        mine, tail = self._columns(s)
        n = self.machine.n_draws
        columns = np.arange(self.items.shape[1]) if n == 1 else np.r_[mine, tail - n, tail]
        scale, a = np.float64(n), directions.astype(np.float64)
        crossed = np.einsum("ni,nj->ij", a, self.items[:, columns].astype(np.float64))  # (d + 1, columns)
        total: F64 = (self.other - self.machine.bias[s]) * a.sum(axis=0) - scale * queries[:, columns].astype(np.float64) @ crossed.T
        return self.unobserved_weight * total

    def _strength(self, histories: Histories) -> F64:
        """Return (n + w0 m)^nu of each person, shape (B,)."""
        counts: F64 = histories.lengths + np.float64(self.unobserved_weight * len(self.items))
        return counts**self.exponent

    def _columns(self, s: int) -> tuple[Array, int]:
        """Return the columns of a query that machine s meets items by, and that of its own part."""
        width, n = self.machine.width, self.machine.n_draws
        step = width if n == 1 else self.machine.rank
        mine = np.arange(s * step, (s + 1) * step)
        return (mine if self.machine.third is None else mine[: self.machine.rank]), width + n + s

    def _directions(self, s: int, items: F32) -> F32:
        """Return a of each item, (n, d + 1): how its score changes with the vector and the bias of an id."""
        mine, _ = self._columns(s)
        vectors = items[:, mine] * np.float32(np.sqrt(self.machine.n_draws))
        if self.machine.fields is not None:
            panels = vectors.reshape(len(items), -1, self.machine.rank)
            vectors = np.einsum("nbd,b->nd", panels, self._own_weights)
        return np.column_stack([vectors, np.ones(len(items), np.float32)])

    @property
    def _own_weights(self) -> F32:
        """Return the weights between the user's id and the fields that users meet."""
        weights: F32 = self.machine.fields[self.machine.groups[0], self.machine.met_fields]  # type: ignore[index]
        return weights

    def arrays(self) -> Mapping[str, Array]:
        """Return what the machine does not hold."""
        return {"reg": self.reg, "levels": self.levels, "hidden": self.hidden}

    def meta(self) -> dict[str, Json]:
        """Return the numbers."""
        return {"target": self.target, "other": self.other, "unobserved_weight": self.unobserved_weight, "exponent": self.exponent}


def _with_rest(entries: WeightedRows, m: int) -> WeightedRows:
    """Give each row u that has entries one more, linear only, at row m + u of the fixed side, where its sum over all items stands."""
    rows = np.flatnonzero(np.diff(entries.indptr))
    at = entries.indptr[rows + 1]
    return WeightedRows(
        entries.indptr + np.searchsorted(rows, np.arange(len(entries.indptr))),
        np.insert(entries.indices, at, m + rows),
        np.insert(entries.quadratic, at, np.float32(0)),
        np.insert(entries.linear, at, np.float32(1)),
    )


def spread_of_ids(machine: Machine, ids: Array) -> tuple[F32, F32]:
    """Return mean and variance of (vector, bias) over the features `ids`, each of shape (S, d + 1)."""
    found = np.concatenate([machine.factors[:, ids], machine.linear[:, ids, None]], axis=2).astype(np.float64)
    return found.mean(axis=1).astype(np.float32), np.maximum(found.var(axis=1), 1e-8).astype(np.float32)
