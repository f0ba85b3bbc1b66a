"""Lines of a word and its numbers, as bytes: how word2vec and GloVe write vectors as text.

A line holds a word, blanks, d numbers, blanks. The numbers are its last d tokens, so that a word may hold blanks itself, as some
of the public files have; but what stands before the last d numbers must not end in a further number. Numbers are read
exactly up to 19 digits and rounded once to float32 (off by at most one unit in the last place). Cost: linear in the bytes.
"""

import numpy as np

from recvec.kernels.compiled import compiled_exactly
from recvec.types import F32, I64, Array

FINE, FEW_NUMBERS, MANY_NUMBERS, NO_NUMBER = range(4)


def parse_lines(data: Array, ends: I64, d: int) -> tuple[F32, I64, int, int]:
    """Read whole lines.

    Parameters
    ----------
    data : uint8 array
        The bytes.
    ends : I64, shape (n,)
        Where each line ends: the position of its line feed, or the end of the data.
    d : int
        Numbers in a line.

    Returns
    -------
    vectors : F32, shape (n, d)
    words : I64, shape (n, 2)
        Where each word begins and ends.
    bad : int
        The first line that is wrong; n where none is.
    what : int
        What is wrong with it: `FEW_NUMBERS`, `MANY_NUMBERS` or `NO_NUMBER`.
    """
    vectors, words = np.empty((len(ends), d), np.float32), np.empty((len(ends), 2), np.int64)
    bad, what = _parse(data, ends, d, vectors, words, 10.0 ** np.arange(-330, 309, dtype=np.float64))
    return vectors, words, int(bad), int(what)


@compiled_exactly
def _parse(data, ends, d, vectors, words, powers):
    begin = 0
    for line in range(len(ends)):
        after = _blanks_before(data, begin, ends[line])
        at = _token_before(data, begin, after)
        found = 1
        while found < d and at > begin:
            at = _token_before(data, begin, _blanks_before(data, begin, at))
            found += 1
        last = _blanks_before(data, begin, at)
        if found < d or last == begin:
            return line, FEW_NUMBERS
        words[line, 0], words[line, 1] = begin, last
        token = _token_before(data, begin, last)
        if token > begin and _number(data, token, last, powers)[1]:
            return line, MANY_NUMBERS
        for t in range(d):
            while _is_blank(data[at]):
                at += 1
            stop = at
            while stop < after and not _is_blank(data[stop]):
                stop += 1
            vectors[line, t], fine = _number(data, at, stop, powers)
            if not fine:
                return line, NO_NUMBER
            at = stop
        begin = ends[line] + 1
    return len(ends), FINE


@compiled_exactly
def _is_blank(byte):
    return byte == 32 or byte == 9 or byte == 13  # noqa: PLR1714  a tuple would be built


@compiled_exactly
def _blanks_before(data, begin, at):
    while at > begin and _is_blank(data[at - 1]):
        at -= 1
    return at


@compiled_exactly
def _token_before(data, begin, at):
    while at > begin and not _is_blank(data[at - 1]):
        at -= 1
    return at


@compiled_exactly
def _number(data, begin, end, powers):
    """Return the number that stands there, and whether it is one, all of it, and finite in float32."""
    signed = begin < end and (data[begin] == 45 or data[begin] == 43)
    at, whole, exponent, digits = _digits(data, begin + 1 if signed else begin, end)
    fine = digits > 0
    if fine and at < end and (data[at] == 101 or data[at] == 69):
        at, power, fine = _power(data, at + 1, end)
        exponent += power
    value = np.float64(whole) * powers[min(max(exponent + 330, 0), len(powers) - 1)]
    if begin < end and data[begin] == 45:
        value = -value
    return value, fine and at == end and abs(value) <= 3.4e38


@compiled_exactly
def _digits(data, at, end):
    """Return where digits with at most one point end, what they are as a whole number, its power of ten, and how many there are."""
    whole, exponent, digits, point = np.uint64(0), 0, 0, False
    while at < end:
        byte = data[at]
        if 48 <= byte <= 57:
            kept = whole < np.uint64(900_000_000_000_000_000)
            if kept:
                whole = whole * np.uint64(10) + np.uint64(byte - 48)
            exponent += (not kept) - point
            digits += 1
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    return at, whole, exponent, digits


@compiled_exactly
def _power(data, at, end):
    """Return where the digits of an exponent end, its value, and whether there are any."""
    minus = at < end and data[at] == 45
    if at < end and (data[at] == 45 or data[at] == 43):
        at += 1
    power, first = 0, at
    while at < end and 48 <= data[at] <= 57:
        power = min(power * 10 + (data[at] - 48), 10_000)
        at += 1
    return at, -power if minus else power, at > first
