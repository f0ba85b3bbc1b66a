"""Bayesian factorization machines by Gibbs sampling, over blocks of features that observations share.

::

    score = bias + sum_f x_f w_f + sum_{f < g} x_f x_g v_f . v_g
    target ~ N(score, 1 / noise)                                  "normal"
    target = 1 where score + N(0, 1) > 0, else 0                  "probit"
    target = number of cutpoints below score + N(0, 1)            "ordered": levels 0 ... K - 1, no bias

with normal laws of the features of each group that are drawn as well, see `fm_gibbs_prior`. An iteration draws these laws, then block by
block all features, each with its bias and factors jointly (`fm_gibbs_features`), then bias and noise.

Cost of an iteration: ``n width^2`` multiply-adds for each block, ``4 width^2`` for each entry of a block that is not private to a
row (`fm_gibbs_sides`), and ``width^3 / 3`` for each feature; width is the rank rounded up to 16. Entries of a block are of
its rows, not of the observations: side features cost the same however many observations there are.

The same seed gives the same bits on any number of threads.

Sources: Freudenthaler, Schmidt-Thieme, Rendle, "Bayesian factorization machines", 2011; Rendle, "Scaling factorization machines to
relational data", VLDB 2013.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels.fm_als import check_targets
from recvec.kernels.fm_blocks import Factors, Relations
from recvec.kernels.fm_gibbs_latent import draw_cutpoints, draw_hidden, first_cutpoints
from recvec.kernels.fm_gibbs_posterior import Posterior, scores
from recvec.kernels.fm_gibbs_prior import Laws, draw_laws, first_laws
from recvec.kernels.fm_gibbs_sides import Parameters, Side, Sweep
from recvec.types import F32, F64, I32, Executor

Likelihood = Literal["normal", "probit", "ordered"]
SPREAD = 0.1  # standard deviation of the factors at the start


def draw(
    relations: Relations,
    targets: F32,
    *,
    rank: int,
    n_iterations: int,
    n_kept: int,
    rng: np.random.Generator,
    executor: Executor,
    likelihood: Likelihood = "normal",
    pairs_within: bool = True,
    scales: F64 | None = None,
    every: int = 1,
    on_iteration: Callable[[int, Factors], None] | None = None,
) -> Posterior:
    """Draw machines from their posterior law.

    Parameters
    ----------
    relations : Relations
        n observations over blocks.
    targets : F32, shape (n,)
        Real numbers; 0 or 1 for "probit"; levels 0 ... K - 1, each at least once, for "ordered".
    rank : int
        Length of the factors.
    n_iterations, n_kept : int
        Iterations, and how many draws are kept, the last one among them.
    rng : numpy.random.Generator
        Drawn from, by the calling thread only.
    executor : Executor
        Runs parts of the rows.
    likelihood : {"normal", "probit", "ordered"}
        How targets come from scores.
    pairs_within : bool
        Whether features of the same row of a block interact. False leaves out these pairs: no standard machine, see `Posterior`.
    scales : F64, shape (groups,), optional
        Of the prior variance of each group, see `fm_gibbs_prior`; 1 for all by default.
    every : int
        Iterations from one kept draw to the next: neighbours are much alike.
    on_iteration : callable, optional
        Called with the number of the iteration, from 1, and its draw.

    Returns
    -------
    Posterior
        The kept draws.

    Raises
    ------
    ValueRangeError
        Where an argument is outside what is allowed.
    DivergedError
        Where a draw is not finite.
    """
    check_targets(relations, targets, rank)
    _check_kept(n_kept, every, n_iterations)
    chain = _Chain.start(relations, targets, rank, likelihood, scales, pairs_within=pairs_within, rng=rng)
    for side in chain.sides:
        side.refresh(chain.parameters, pairs=pairs_within, executor=executor)
    kept = []
    for iteration in range(1, n_iterations + 1):
        chain.iterate(rng, executor)
        if not (np.isfinite(chain.noise) and np.isfinite(chain.parameters.factors).all()):
            raise DivergedError(f"iteration {iteration} left the finite numbers; scale the features, or use a smaller rank (it is {rank})")
        if on_iteration is not None:
            on_iteration(iteration, chain.parameters.machine(rank))
        if iteration > n_iterations - n_kept * every and (n_iterations - iteration) % every == 0:
            kept.append((chain.parameters.machine(rank), chain.noise, chain.cutpoints))
    machines, noise, cutpoints = zip(*kept, strict=True)
    return Posterior(
        bias=np.array([machine.bias for machine in machines]),
        linear=np.stack([machine.linear for machine in machines]),
        factors=np.stack([machine.factors for machine in machines]),
        noise=np.array(noise),
        cutpoints=np.stack(cutpoints),
        likelihood=likelihood,
        pairs_within=pairs_within,
    )


def _check_kept(n_kept: int, every: int, n_iterations: int) -> None:
    if not 1 <= n_kept <= n_iterations:
        raise ValueRangeError(f"n_kept is {n_kept}; allowed: 1 ... n_iterations, which is {n_iterations}")
    if not 1 <= every <= n_iterations // n_kept:
        raise ValueRangeError(f"every is {every}; allowed: 1 ... n_iterations / n_kept, which is {n_iterations // n_kept}")


@dataclass(eq=False)
class _Chain:
    """The state of the sampler."""

    relations: Relations
    sides: list[Side]
    targets: list[F32]  # of each side, in its order
    levels: I32  # of probit and ordered; (0,) else
    likelihood: Likelihood
    pairs_within: bool
    rank: int
    scales: F64
    parameters: Parameters
    laws: Laws
    noise: float
    cutpoints: F64

    @classmethod
    def start(
        cls,
        relations: Relations,
        targets: F32,
        rank: int,
        likelihood: Likelihood,
        scales: F64 | None,
        *,
        pairs_within: bool,
        rng: np.random.Generator,
    ) -> "_Chain":
        """Return small random factors, no biases, and the bias or the cutpoints that the targets have without features."""
        levels = np.zeros(0, np.int32) if likelihood == "normal" else _levels(targets, likelihood)
        parameters = Parameters.start(relations, rank, SPREAD, rng)
        width = parameters.factors.shape[1]
        sides = [Side.of(relations, at, width) for at in range(len(relations.blocks))]
        cutpoints = first_cutpoints(levels) if len(levels) else np.zeros(0)
        if likelihood == "normal":
            parameters.bias = float(targets.mean(dtype=np.float64))
        elif likelihood == "probit":
            parameters.bias, cutpoints = -float(cutpoints[0]), np.zeros(1)
        laws = first_laws(int(relations.groups.max()) + 1, width)
        scales = np.ones(len(laws[0])) if scales is None else scales
        mine = [targets[side.order] for side in sides]
        return cls(relations, sides, mine, levels, likelihood, pairs_within, rank, scales, parameters, laws, 1.0, cutpoints)

    def iterate(self, rng: np.random.Generator, executor: Executor) -> None:
        """Draw everything once."""
        parameters, groups = self.parameters, self.relations.groups
        if len(self.levels):
            self._draw_hidden(rng, executor)
        self.laws = draw_laws(groups, parameters.linear, parameters.factors, self.laws, self.rank, self.scales, rng)
        for side, targets in zip(self.sides, self.targets, strict=True):
            key = rng.integers(1, 1 << 63, dtype=np.uint64)
            told = Sweep((groups[side.features], *self.laws), self.noise, key, self.rank, self.pairs_within)
            rest = side.draw(parameters, targets, told, executor)
        self._draw_bias_and_noise(rest, rng)

    def _draw_hidden(self, rng: np.random.Generator, executor: Executor) -> None:
        """Draw cutpoints where there are any to draw, then the hidden numbers: from here on they are the targets."""
        now = scores(self.relations, self.parameters, executor=executor)
        if self.likelihood == "ordered":
            self.cutpoints = draw_cutpoints(now, self.levels, self.cutpoints, rng, executor)
        hidden = draw_hidden(now, self.levels, self.cutpoints, rng.integers(1, 1 << 63, dtype=np.uint64), executor)
        self.targets = [hidden[side.order] for side in self.sides]

    def _draw_bias_and_noise(self, rest: F64, rng: np.random.Generator) -> None:
        """Draw bias ~ N(0, 1) and noise ~ Gamma(1/2, 1/2) given the residuals; `rest` is what the last block returned."""
        n, (total, squares) = len(self.relations), rest.sum(axis=0)
        if self.likelihood != "ordered":
            precision = self.noise * n + 1
            step = (self.noise * total - self.parameters.bias) / precision + rng.standard_normal() / np.sqrt(precision)
            self.parameters.bias += float(step)
            squares += n * step**2 - 2 * step * total
        if self.likelihood == "normal":
            self.noise = float(rng.gamma((n + 1) / 2, 2 / (squares + 1)))


def _levels(targets: F32, likelihood: Likelihood) -> I32:
    """Return the targets as whole numbers, 0 ... K - 1, or refuse them."""
    levels = targets.astype(np.int32)
    counts = np.bincount(levels.clip(min=0))
    wrong = np.flatnonzero(levels != targets)
    if likelihood == "probit" and (len(wrong) or levels.min() != 0 or levels.max() != 1):
        raise ValueRangeError("targets of a probit machine are 0 and 1, each at least once; use 1 for a click and 0 for none")
    if len(wrong) or levels.min() < 0 or len(counts) < 2 or not counts.all():
        raise ValueRangeError("targets of an ordered machine are whole numbers 0, 1, ... without gaps, two or more; number the levels")
    return levels
