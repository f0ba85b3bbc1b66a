"""Factorization machines by alternating least squares, over blocks of features that observations share.

Least ``sum (target - score)^2 + sum_f reg_g(f) (|v_f|^2 + linear_reg w_f^2)``, where g(f) is the group of feature f: each feature's bias
and factors go jointly to where the objective is least given all others, feature after feature, block after block. No step raises
the objective. It is the sweep of `fm_gibbs` without noise, and costs the same.

Source: Rendle, Gantner, Freudenthaler, Schmidt-Thieme, "Fast context-aware recommendations with factorization machines", SIGIR 2011,
who solve for one coordinate at a time.
"""

from collections.abc import Callable, Mapping

import numpy as np

from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels.fm_blocks import Factors, Relations
from recvec.kernels.fm_gibbs_sides import Parameters, Side, Sweep
from recvec.types import F32, F64, Array, Executor

OnIteration = Callable[[int, Factors, Mapping[str, Array]], None]
SPREAD = 0.1  # standard deviation of the factors at the start


def descend(
    relations: Relations,
    targets: F32,
    *,
    rank: int,
    n_iterations: int,
    reg: float | F64,
    linear_reg: float = 1.0,
    pairs_within: bool = True,
    rng: np.random.Generator,
    executor: Executor,
    on_iteration: OnIteration | None = None,
    resume: Mapping[str, Array] | None = None,
    done: int = 0,
) -> Factors:
    """Learn a machine for real targets.

    Parameters
    ----------
    relations : Relations
        n observations over blocks.
    targets : F32, shape (n,)
        Real numbers.
    rank : int
        Length of the factors.
    n_iterations : int
        Passes over all features.
    reg : float or F64, shape (groups,)
        Regularization of the factors, of all groups or of each; above 0.
    linear_reg : float
        Regularization of the biases of features over that of their factors; above 0. The bias of all observations has none.
    pairs_within : bool
        Whether features of the same row of a block interact, as in a standard machine.
    rng : numpy.random.Generator
        Draws the factors at the start.
    executor : Executor
        Runs parts of the rows.
    on_iteration : callable, optional
        Called with the number of the iteration, from 1, the machine, and the state: arrays that change later, so copy what you keep.
    resume : mapping of str to array, optional
        The state after iteration number `done`: learning goes on as if there had been no break.
    done : int
        Iterations that are done.

    Raises
    ------
    ValueRangeError
        Where an argument is outside what is allowed.
    DivergedError
        Where the machine is not finite.
    """
    groups = relations.groups
    n_groups = int(groups.max()) + 1
    strength = np.broadcast_to(np.asarray(reg, np.float64), (n_groups,))
    check_targets(relations, targets, rank)
    if not (np.isfinite(strength).all() and strength.min() > 0 and 0 < linear_reg < np.inf):
        raise ValueRangeError(f"reg is {reg} and linear_reg {linear_reg}; allowed: finite numbers above 0")
    now = Parameters.start(relations, rank, SPREAD, None if resume else rng)
    now.bias, width = float(targets.mean(dtype=np.float64)), now.factors.shape[1]
    sides = [Side.of(relations, at, width) for at in range(len(relations.blocks))]
    mine = [targets[side.order] for side in sides]
    begin(now, sides, resume, pairs=pairs_within, executor=executor)
    lam = np.repeat(strength[:, None], width, axis=1).astype(np.float32)
    laws = np.zeros_like(lam), lam, np.zeros(n_groups, np.float32), (strength * linear_reg).astype(np.float32)
    for iteration in range(done + 1, n_iterations + 1):
        for side, ordered in zip(sides, mine, strict=True):
            told = Sweep((groups[side.features], *laws), 1.0, np.uint64(0), rank, pairs_within)
            rest = side.draw(now, ordered, told, executor)
        now.bias += float(rest[:, 0].sum()) / len(targets)
        if not np.isfinite(now.factors).all():
            raise DivergedError(f"iteration {iteration} left the finite numbers; scale the features, or raise reg (it is {reg})")
        if on_iteration is not None:
            on_iteration(iteration, now.machine(rank), now.state())
    return now.machine(rank)


def begin(now: Parameters, sides: list[Side], resume: Mapping[str, Array] | None, *, pairs: bool, executor: Executor) -> None:
    """Bring parameters to a state, or their rows to their features where there is none."""
    if resume:
        now.take(resume)
        return
    for side in sides:
        side.refresh(now, pairs=pairs, executor=executor)


def check_targets(relations: Relations, targets: F32, rank: int) -> None:
    """Refuse what no machine can be learned from."""
    if len(targets) != len(relations) or targets.dtype != np.float32 or not len(targets):
        said = f"targets are {targets.dtype} of length {len(targets)}"
        raise ValueRangeError(f"{said}; allowed: float32, one for each of the {len(relations)} observations, at least one")
    if not np.isfinite(targets).all():
        raise ValueRangeError(f"target {int(np.flatnonzero(~np.isfinite(targets))[0])} is not finite; leave such observations out")
    if rank < 1:
        raise ValueRangeError(f"rank is {rank}; allowed: 1 or more")
