"""Vectors of terms learned from the rows of a table of items: Word2Vec by gensim, GloVe by our own kernel."""

import importlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from recvec.contract.extras import require
from recvec.kernels.glove import cooccurrences, glove
from recvec.types import F32


@dataclass(frozen=True, kw_only=True)
class Word2VecTrainer:
    """Skip-gram with negative sampling (Mikolov et al., 2013), by gensim with one thread, so that a seed gives the same bits.

    Parameters
    ----------
    dim : int
        Length of the vectors.
    window : int
        The farthest distance of two terms.
    passes : int
        How often the table is read.
    seed : int
        Seed.
    """

    dim: int
    window: int
    passes: int
    seed: int

    def __call__(self, rows: pl.Series, terms: pl.Series) -> F32:
        """See `Trainer`.

        Raises
        ------
        MissingExtraError
            Where gensim is not installed.
        """
        require("text", "Word2Vec trained on the items")
        word2vec = importlib.import_module("gensim.models.word2vec").Word2Vec
        known = set(terms.to_list())
        sentences = [[term for term in row if term in known] for row in rows.to_list()]
        how = {"vector_size": self.dim, "window": self.window, "epochs": self.passes, "seed": self.seed}
        model = word2vec(sentences, sg=1, min_count=1, workers=1, sample=1e-3, **how)
        found = np.zeros((len(terms), self.dim), np.float32)
        for at, term in enumerate(terms):
            if term in model.wv:
                found[at] = model.wv[term]
        return found


@dataclass(frozen=True, kw_only=True)
class GloVeTrainer:
    """GloVe, see `kernels.glove`.

    Parameters
    ----------
    dim, window, passes
        As for `Word2VecTrainer`.
    rng : numpy.random.Generator
        Draws start and order.
    """

    dim: int
    window: int
    passes: int
    rng: np.random.Generator

    def __call__(self, rows: pl.Series, terms: pl.Series) -> F32:
        """See `Trainer`."""
        table = pl.DataFrame({"row": np.arange(len(rows)), "term": rows}).filter(pl.col("term").list.len() > 0).explode("term")
        numbers = pl.DataFrame({"term": terms, "number": np.arange(len(terms))})
        places = table.join(numbers, on="term", how="inner", maintain_order="left")
        counts = cooccurrences(places["row"].to_numpy(), places["number"].to_numpy(), len(terms), self.window)
        return glove(counts, self.dim, self.passes, rng=self.rng)
