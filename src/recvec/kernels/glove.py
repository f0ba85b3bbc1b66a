"""GloVe: vectors of words whose products are the logarithms of how often the words stand near each other.

With X_ij the co-occurrences, nearer pairs counting more (1 / distance), minimize ::

    sum_ij f(X_ij) (v_i . c_j + b_i + b'_j - log X_ij)^2 ,    f(x) = min(1, (x / x_max)^(3/4))

by AdaGrad, one pair at a time in an order that is drawn anew for each pass; a word's vector is v + c. The bits depend on the
seed alone. Cost: ``8 nnz d`` operations a pass.

Source: Pennington, Socher, Manning, "GloVe: global vectors for word representation", EMNLP 2014.
"""

import numpy as np
import scipy.sparse as sp

from recvec.kernels.compiled import compiled
from recvec.types import F32, I64

X_MAX = 10.0  # the paper's 100 is for a corpus of billions of words
RATE = 0.05


def cooccurrences(documents: I64, words: I64, n_words: int, window: int) -> sp.csr_array:
    """Return how often words stand near each other, symmetric (n_words, n_words) float32.

    Parameters
    ----------
    documents, words : I64, shape (n,)
        Document and word of each place, in order.
    n_words : int
        Number of words.
    window : int
        The farthest distance that counts.
    """
    found = sp.csr_array((n_words, n_words), dtype=np.float64)
    for distance in range(1, window + 1):
        same = documents[distance:] == documents[:-distance]
        left, right = words[:-distance][same], words[distance:][same]
        found = found + sp.coo_array((np.full(len(left), 1 / distance), (left, right)), shape=found.shape).tocsr()
    both = sp.csr_array(found + found.T).astype(np.float32)
    both.sort_indices()
    return both


def glove(counts: sp.csr_array, d: int, passes: int, *, rng: np.random.Generator) -> F32:
    """Return the vectors of the words of a matrix of co-occurrences, (n, d)."""
    pairs, n = counts.tocoo(), counts.shape[0]
    left, right = pairs.coords[0].astype(np.int32), pairs.coords[1].astype(np.int32)
    log, weight = np.log(pairs.data).astype(np.float32), np.minimum(1, (pairs.data / X_MAX) ** 0.75).astype(np.float32)
    table = ((rng.random((2, n, d + 1), dtype=np.float32) - np.float32(0.5)) / np.float32(d)).astype(np.float32)
    squares = np.ones_like(table)
    for _ in range(passes):
        _pass(rng.permutation(len(log)), left, right, log, weight, table, squares)
    return np.ascontiguousarray(table[0, :, :d] + table[1, :, :d])


@compiled
def _pass(order, left, right, log, weight, table, squares):
    d = table.shape[2] - 1
    rate = np.float32(RATE)
    for p in order:
        v, c = table[0, left[p]], table[1, right[p]]
        gv, gc = squares[0, left[p]], squares[1, right[p]]
        product = v[d] + c[d] - log[p]
        for t in range(d):
            product += v[t] * c[t]
        slope = weight[p] * product
        for t in range(d):
            to_v, to_c = slope * c[t], slope * v[t]
            v[t] -= rate * to_v / np.sqrt(gv[t])
            c[t] -= rate * to_c / np.sqrt(gc[t])
            gv[t] += to_v * to_v
            gc[t] += to_c * to_c
        v[d] -= rate * slope / np.sqrt(gv[d])
        c[d] -= rate * slope / np.sqrt(gc[d])
        gv[d] += slope * slope
        gc[d] += slope * slope
