"""Lines of words and numbers."""

import numpy as np
import pytest

from recvec.kernels.vector_text import FEW_NUMBERS, FINE, MANY_NUMBERS, NO_NUMBER, parse_lines


def parsed(text: str, d: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    data = np.frombuffer(text.encode(), np.uint8)
    ends = np.append(np.flatnonzero(data == 10), len(data)).astype(np.int64)
    return parse_lines(data, ends, d)


def test_words_may_hold_blanks_and_lines_may_end_in_some() -> None:
    vectors, words, bad, what = parsed("a b\t1 -2.5e-1 \r\n. . . +3 .5", 2)
    assert (bad, what) == (2, FINE)
    assert words.tolist() == [[0, 3], [16, 21]]
    np.testing.assert_array_equal(vectors, np.array([[1, -0.25], [3, 0.5]], np.float32))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w 1", (0, FEW_NUMBERS)),
        ("1 2", (0, FEW_NUMBERS)),
        ("w 1 2\n", (1, FEW_NUMBERS)),
        ("w 1 2 3", (0, MANY_NUMBERS)),
        ("w 1 2\nw 1 .", (1, NO_NUMBER)),
        ("w 1 1e", (0, NO_NUMBER)),
        ("w 1 inf", (0, NO_NUMBER)),
        ("w 1 --2", (0, NO_NUMBER)),
        ("w 1 1e400", (0, NO_NUMBER)),
    ],
)
def test_the_first_wrong_line_is_told(text: str, expected: tuple[int, int]) -> None:
    assert parsed(text, 2)[2:] == expected


def test_long_and_small_numbers() -> None:
    numbers = ["0.12345678901234567890123", "123456789012345678901234567890", "1e-45", "-0.0", "1e-400", "00001.5"]
    vectors, _, _, what = parsed(f"w {' '.join(numbers)}", 6)
    assert what == FINE
    np.testing.assert_allclose(vectors[0], np.array([float(x) for x in numbers], np.float32), rtol=2e-7)
