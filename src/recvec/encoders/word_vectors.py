"""Word vectors by word: from files of word2vec (text or binary), GloVe (text) or gensim, or from memory.

A text or binary file is read once and kept beside itself, in ``NAME.recvec``, as the words and one file of float32 that is
mapped into memory; where that folder cannot be written, in the user's cache folder. It is read again where the file has changed.
A file of gensim's ``KeyedVectors.save`` is opened by gensim, which unpickles it: open only what you trust.

A word is looked up as it is, then with a capital, then in capitals; a phrase as one word with underscores, then by its parts,
the mean of those that are known. Where the file has vectors of character sequences (fastText), an unknown word has theirs.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recvec.contract.extras import require
from recvec.encoders.vector_files import Progress, indexed
from recvec.encoders.words import words_of
from recvec.errors import ReadError
from recvec.types import F32, I64, Array, Bool

_PICKLE = b"\x80"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many of the terms asked for have a vector.

    Parameters
    ----------
    n : int
        Terms.
    whole, parts, subwords : int
        Terms found as they are, by the parts of the phrase, and by sequences of characters.
    share : float
        Share of all occurrences that have one.
    missing : tuple of str
        The most frequent ones without.
    """

    n: int
    whole: int
    parts: int
    subwords: int
    share: float
    missing: tuple[str, ...]

    def __str__(self) -> str:
        found = f"word vectors know {self.whole + self.parts + self.subwords:,} of {self.n:,} terms"
        ways = f"{self.parts:,} by parts, {self.subwords:,} by subwords"
        without = f"; the most frequent without: {', '.join(self.missing)}" if self.missing else ""
        return f"{found} ({ways}), {self.share:.1%} of what is written{without}"


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors; frozen.

    Parameters
    ----------
    words : polars.Series of String, shape (n,)
        Distinct, the most frequent first where the file says so.
    matrix : F32, shape (n, d)
        Vectors, perhaps mapped from a file.
    subwords : object, optional
        gensim's vectors, where they hold sequences of characters.
    """

    words: pl.Series
    matrix: F32
    subwords: Any = None

    @classmethod
    def open(cls, path: str | Path, *, cache: str | Path | None = None, progress: Progress | None = None) -> "WordVectors":
        """Open a file of word vectors.

        Parameters
        ----------
        path : str or Path
            word2vec text or binary, GloVe text, each perhaps gzipped, or gensim's.
        cache : str or Path, optional
            Folder for what is read, instead of the one beside the file.
        progress : callable, optional
            ``progress(share)``, called while a file is read for the first time.

        Raises
        ------
        ReadError
            Where it cannot be read; names the line.
        MissingExtraError
            Where it is gensim's, which is not installed.
        """
        place = Path(path)
        try:
            with place.open("rb") as file:
                head = file.read(1)
        except OSError as error:
            raise ReadError(f"{place} cannot be read: {error.strerror}; give a file of word vectors") from error
        if head == _PICKLE:
            return cls._of_gensim(place)
        words, matrix = indexed(place, None if cache is None else Path(cache), progress)
        return cls(words, matrix)

    @classmethod
    def _of_gensim(cls, place: Path) -> "WordVectors":
        require("text", f"{place}, a file of gensim,")
        try:
            found = importlib.import_module("gensim.models").KeyedVectors.load(str(place), mmap="r")
            found = getattr(found, "wv", found)
            words, matrix = pl.Series("word", found.index_to_key, dtype=pl.String), found.vectors
        except Exception as error:  # whatever a pickle does
            raise ReadError(f"{place} is no file of gensim's KeyedVectors ({type(error).__name__}); give one, or a text file") from error
        return cls(words, matrix, found if hasattr(found, "vectors_ngrams") else None)

    @property
    def dim(self) -> int:
        """d, the length of the vectors."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _table(self) -> pl.DataFrame:
        return pl.DataFrame({"word": self.words, "row": np.arange(len(self.words), dtype=np.int64)})

    def rows(self, words: pl.Series | Sequence[str]) -> I64:
        """Return the row of each word, -1 where it is not there in any spelling, shape (n,)."""
        asked = pl.Series("word", words, dtype=pl.String)
        found = np.full(len(asked), -1, np.int64)
        for spelling in (asked, asked.str.to_titlecase(), asked.str.to_uppercase()):
            rows = spelling.to_frame("word").join(self._table, on="word", how="left", maintain_order="left")["row"].fill_null(-1).to_numpy()
            found = np.where(found < 0, rows, found)
        return found

    def vectors(self, words: pl.Series | Sequence[str]) -> tuple[F32, Bool]:
        """Return the vectors of words or phrases.

        Returns
        -------
        F32, shape (n, d)
            Zeros where nothing is known.
        Bool, shape (n,)
            Whether something is.
        """
        found, how = self.found(words)
        return found, how > 0

    def found(self, words: pl.Series | Sequence[str]) -> tuple[F32, Array]:
        """Return the vectors of words or phrases, and how each was found: 0 not at all, 1 as it is, 2 by parts, 3 by subwords."""
        asked = pl.Series("word", words, dtype=pl.String)
        vectors, how = np.zeros((len(asked), self.dim), np.float32), np.zeros(len(asked), np.int8)
        rows = self.rows(asked.str.replace_all(r"\s+", "_"))
        rows = np.where(rows < 0, self.rows(asked), rows)
        whole = rows >= 0
        vectors[whole], how[whole] = self.matrix[rows[whole]], 1
        left = np.flatnonzero(~whole)
        pieces = pl.DataFrame({"at": left, "word": words_of(asked[left])}).explode("word", empty_as_null=True).drop_nulls()
        there = self.rows(pieces["word"])
        for at, row in zip(pieces["at"].to_numpy()[there >= 0], there[there >= 0], strict=True):
            vectors[at] += self.matrix[row]
            how[at] = 2
        counts = np.bincount(pieces["at"].to_numpy()[there >= 0], minlength=len(asked))
        vectors /= np.maximum(counts, 1).astype(np.float32)[:, None]
        if self.subwords is not None:
            for at in np.flatnonzero(how == 0):
                vectors[at], how[at] = self.subwords.get_vector(asked[int(at)]), 3
        return vectors, how

    def coverage(self, words: pl.Series | Sequence[str], counts: Array | None = None) -> Coverage:
        """Return how many words or phrases have a vector, where each occurs `counts` times."""
        asked, (_, how) = pl.Series("word", words, dtype=pl.String), self.found(words)
        times = np.ones(len(asked)) if counts is None else np.asarray(counts, np.float64)
        order = np.argsort(-times, kind="stable")
        return Coverage(
            n=len(asked),
            whole=int((how == 1).sum()),
            parts=int((how == 2).sum()),
            subwords=int((how == 3).sum()),
            share=float(times[how > 0].sum() / max(times.sum(), 1e-9)),
            missing=tuple(asked[int(at)] for at in order[how[order] == 0][:5]),
        )
