"""From scores to stars and probabilities, and how sure a machine is of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from recvec.contract import Link
from recvec.kernels.fm_vectors import Machine, draw_scores
from recvec.types import F32, F64, Array

_PAIRS = 1 << 14  # whose scores by all draws are held at once


@dataclass(frozen=True, eq=False)
class Logistic(Link):
    """The probability of a click, 1 / (1 + exp(-score)).

    Parameters
    ----------
    bias : float
        Of all observations.
    """

    bias: float

    def values(self, queries: F32, items: F32) -> F32:
        """See `Link.values`."""
        probability: F32 = expit(np.einsum("nd,nd->n", queries, items) + np.float32(self.bias))
        return probability


@dataclass(frozen=True, eq=False)
class Draws(Link):
    """The mean over the draws of a Bayesian machine of what each predicts, and the standard deviation.

    Parameters
    ----------
    machine : Machine
        The draws.
    noise : F64, shape (S,)
        Precision of an observation given its score.
    cutpoints : F64, shape (S, K - 1)
        K levels, a score plus N(0, 1) noise is on the level of the number of cutpoints below it. No columns: the score is on
        the scale of the target already.
    levels : F64, shape (K,)
        Value of each level, such as stars; 0 and 1 for clicks.
    """

    machine: Machine
    noise: F64
    cutpoints: F64
    levels: F64

    def values(self, queries: F32, items: F32) -> F32:
        """See `Link.values`."""
        return self._moments(queries, items)[0].astype(np.float32)

    def deviations(self, queries: F32, items: F32) -> F32:
        """Return the standard deviation of a target: what is not known of the machine, and the noise of an observation."""
        mean, square = self._moments(queries, items)
        return np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)

    def arrays(self) -> Mapping[str, Array]:
        """Return what the machine does not hold."""
        return {"noise": self.noise, "cutpoints": self.cutpoints, "levels": self.levels}

    def _moments(self, queries: F32, items: F32) -> tuple[F64, F64]:
        """Return the mean of the target and of its square, (n,) each."""
        parts = [self._of(queries[a : a + _PAIRS], items[a : a + _PAIRS]) for a in range(0, len(queries), _PAIRS)]
        means, squares = zip((np.zeros(0), np.zeros(0)), *parts, strict=True)
        return np.concatenate(means), np.concatenate(squares)

    def _of(self, queries: F32, items: F32) -> tuple[F64, F64]:
        scores: F64 = draw_scores(self.machine, queries, items).astype(np.float64)  # (n, S)
        if not self.cutpoints.shape[1]:
            return scores.mean(axis=1), (scores**2 + 1 / self.noise).mean(axis=1)
        above = ndtr(scores[:, :, None] - self.cutpoints)  # (n, S, K - 1): how likely a target is above each cutpoint
        mean = self.levels[0] + above.mean(axis=1) @ np.diff(self.levels)
        square = self.levels[0] ** 2 + above.mean(axis=1) @ np.diff(self.levels**2)
        return mean, square
