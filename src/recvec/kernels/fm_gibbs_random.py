"""Normal numbers made of a counter, and normal numbers cut off on one or both sides.

A draw depends on a key and on the number of what is drawn, a feature or an observation, and on nothing else: any number of
threads draws the same. Uniform numbers become normal ones by the inverse of the distribution function.

Source of the inverse: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988 (PPND7, seven digits).
"""

import math

import numpy as np

from recvec.kernels.compiled import compiled_exactly, compiled_inline
from recvec.kernels.sampling import STEP, mixed

_11 = np.uint64(11)
_UNIT = 2.0**-53
_ROOT_HALF = math.sqrt(0.5)
SMALLEST = 1e-300  # probability below which a tail counts as empty


@compiled_inline
def unit(state):
    """Return a number between 0 and 1, neither of them, from a generator as `sampling.stream` gives it."""
    return (np.float64(np.int64(mixed(state) >> _11)) + 0.5) * _UNIT


@compiled_exactly
def below_normal(x):
    """Return the probability that a standard normal number lies below x; relative precision also far out on the left."""
    return 0.5 * math.erfc(-x * _ROOT_HALF)


@compiled_exactly
def normal_quantile(p):
    """Return the number that a standard normal number lies below with probability p."""
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return q * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = math.sqrt(-math.log(min(p, 1.0 - p)))
    if r <= 5.0:
        r -= 1.6
        x = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / ((0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
        x = top / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return -x if q < 0 else x


@compiled_exactly
def normal(state):
    """Return a standard normal number and the generator after it."""
    state += STEP
    return normal_quantile(unit(state)), state


@compiled_exactly
def normal_between(u, low, high):
    """Return the standard normal number between two bounds, which may be infinite, that has the share u of the rest below it.

    The side on which the probabilities are small, and so exact, is used. Where they all vanish, the bound nearest to 0 is
    the answer.
    """
    if low > 0:
        return -normal_between(1.0 - u, -high, -low)
    start, end = below_normal(low), below_normal(high)
    if end < SMALLEST:
        return high
    p = start + u * (end - start)
    return min(max(normal_quantile(min(max(p, SMALLEST), 1.0 - 1e-16)), low), high)
