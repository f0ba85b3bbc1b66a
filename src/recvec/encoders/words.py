"""Text as words, in any script: the same for fitting and for everyone who comes later.

::

    markup     tags and comments become spaces, entities such as &amp; the characters they stand for
    letters    compatibility forms are unified (NFKC), then lower case
    words      runs of letters, their marks and digits, of two or more characters
    scripts    Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces: every pair of neighbouring
               characters is a word, and a character that stands alone too

A text is read up to its first million characters. Cost: linear in the characters, also where the markup is broken.
"""

import html
from itertools import pairwise

import numpy as np
import polars as pl

from recvec.types import I64, Array

LONGEST = 1_000_000  # characters of one text that are read
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
_WORD = rf"[{_SPACELESS}]+|[\p{{L}}\p{{M}}\p{{N}}&&[^{_SPACELESS}]]{{2,}}"
_TAG = r"(?i)<[/!a-z][^<>]*>"  # a tag holds no other: so the search never goes back, however broken the markup is


def words_of(texts: pl.Series) -> pl.Series:
    """Return the words of each text.

    Parameters
    ----------
    texts : polars.Series of String, shape (n,)
        Null where there is none.

    Returns
    -------
    polars.Series of List(String), shape (n,)
        In the order of the text; an empty list for a text without a word, or none.
    """
    plain = texts.cast(pl.String).fill_null("").str.slice(0, LONGEST)
    marked = plain.str.contains("[<&]")
    if marked.any():
        shown = _unescaped(plain.filter(marked).str.replace_all(_TAG, " ")).str.replace_all(_TAG, " ")
        plain = plain.scatter(marked.arg_true(), shown)
    words: pl.Series = plain.str.normalize("NFKC").str.to_lowercase().str.extract_all(_WORD)
    spaceless = words.list.eval(pl.element().str.contains(f"[{_SPACELESS}]").any()).list.first().fill_null(value=False)
    if spaceless.any():
        pairs = words.filter(spaceless).map_elements(_in_pairs, return_dtype=pl.List(pl.String))
        at = np.arange(len(words))
        at[spaceless.to_numpy()] = len(words) + np.arange(len(pairs))
        words = words.append(pairs)[at]
    return words.alias(texts.name)


def n_cut(texts: pl.Series) -> int:
    """Return how many texts are longer than what is read of them."""
    return int((texts.str.len_chars() > LONGEST).sum())


def _unescaped(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [html.unescape(text) if "&" in text else text for text in texts], dtype=pl.String)


def _in_pairs(words: pl.Series) -> list[str]:
    """Cut the runs of scripts without spaces into pairs of characters."""
    found: list[str] = []
    for word in words:
        if is_spaceless(word[0]) and len(word) > 2:
            found += [word[at : at + 2] for at in range(len(word) - 1)]
        else:
            found.append(word)
    return found


def is_spaceless(letter: str) -> bool:
    """Return whether a character is of a script that is written without spaces."""
    at = ord(letter)
    ranges = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))
    return any(low <= at <= high for low, high in ranges) or 0x20000 <= at <= 0x323AF


def packed(words: list[str] | pl.Series) -> tuple[Array, I64]:
    """Return words as the bytes of their UTF-8, one after the other, and where each ends: how a vocabulary is saved."""
    encoded = [word.encode() for word in words]
    return np.frombuffer(b"".join(encoded), np.uint8).copy(), np.cumsum([len(word) for word in encoded], dtype=np.int64)


def unpacked(text: Array, ends: I64) -> list[str]:
    """Return the words of `packed` again."""
    whole, bounds = text.tobytes(), [0, *ends.tolist()]
    return [whole[a:b].decode() for a, b in pairwise(bounds)]
