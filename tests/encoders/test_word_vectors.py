"""Files of word vectors: formats, what is kept of them, broken ones, and looking words up."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gensim.models import FastText, KeyedVectors
from hypothesis import given
from hypothesis import strategies as st

from recvec.encoders.word_vectors import WordVectors
from recvec.errors import ReadError
from recvec.kernels.vector_text import FINE, parse_lines

WORDS = ["the", "New_York", "東京", "science", "Fiction", ". . ."]
VECTORS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def text(words: list[str] = WORDS, vectors: np.ndarray = VECTORS) -> str:
    return "".join(f"{w} {' '.join(repr(float(x)) for x in v)}\n" for w, v in zip(words, vectors, strict=True))


def glove_file(folder: Path) -> Path:
    place = folder / "glove.txt"
    place.write_text(text())
    return place


def word2vec_file(folder: Path) -> Path:
    place = folder / "vectors.vec"
    place.write_text(f"6 4\n{text()}".rstrip("\n"))
    return place


def binary_file(folder: Path) -> Path:
    place = folder / "vectors.bin"
    rows = b"".join(w.encode() + b" " + v.tobytes() + b"\n" for w, v in zip(WORDS[:5], VECTORS, strict=False))
    place.write_bytes(b"5 4\n" + rows)
    return place


def zipped_file(folder: Path) -> Path:
    place = folder / "glove.txt.gz"
    place.write_bytes(gzip.compress(text().encode()))
    return place


def gensim_file(folder: Path) -> Path:
    place = folder / "vectors.kv"
    vectors = KeyedVectors(4)
    vectors.add_vectors(WORDS, VECTORS)
    vectors.save(str(place))
    return place


@pytest.mark.parametrize("made", [glove_file, word2vec_file, binary_file, zipped_file, gensim_file])
def test_every_format_gives_the_same_vectors(made: object, tmp_path: Path) -> None:
    found = WordVectors.open(made(tmp_path))
    n = 5 if made is binary_file else 6
    assert found.words.to_list() == WORDS[:n]
    assert found.dim == 4
    np.testing.assert_array_equal(np.asarray(found.matrix), VECTORS[:n])


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    st.sampled_from([repr, "{:.6f}".format, "{:e}".format]),
)
def test_numbers_are_read_as_python_reads_them(numbers: list[float], write: object) -> None:
    written = [write(x) for x in numbers]
    data = np.frombuffer(f"word {' '.join(written)}".encode(), np.uint8)
    vectors, words, bad, what = parse_lines(data, np.array([len(data)]), 3)
    assert (bad, what, words.tolist()) == (1, FINE, [[0, 4]])
    np.testing.assert_allclose(vectors[0], np.array([float(x) for x in written], np.float32), rtol=2.5e-7, atol=1e-44)


def test_a_file_is_read_once_and_again_where_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, told = glove_file(tmp_path), []
    WordVectors.open(place, progress=told.append)
    assert told == [1.0]
    WordVectors.open(place, progress=told.append)
    assert told == [1.0]
    place.write_text("the 1 2 3 4\nbroken 1\n")
    os.utime(place, (1, 1))
    with pytest.raises(ReadError):
        WordVectors.open(place)
    place.write_text(text(WORDS[:2], VECTORS[:2]))
    assert len(WordVectors.open(place)) == 2
    (tmp_path / "glove.txt.recvec" / "index.json").write_text(json.dumps({"shape": [9, 9]}))
    assert len(WordVectors.open(place)) == 2
    assert WordVectors.open(place, cache=tmp_path / "cache").dim == 4
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".recvec"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2\nb 1\nc 1 2\n", "line 2: a word and 1 numbers; allowed: a word and 2 numbers, as in the first line"),
        ("a 1 2\nb 1 2\nc 1 2 3\n", "line 3: a word and 3 numbers; allowed: a word and 2 numbers"),
        ("a 1 2\nb 1 x\n", "line 2: 'b 1 x...' holds something that is no finite number"),
        ("a 1 2\nb 1 1e99\n", "line 2: .* no finite number"),
        ("a 1 2\nb 1 nan\n", "line 2: .* no finite number"),
        ("a 1 2\n\nb 1 2\n", "line 2: nothing; allowed: a word and 2 numbers"),
        ("3 2\na 1 2\nb 1 2\n", "has 2 words, its first line says 3; it is cut off or damaged"),
        ("2 3\na 1 2\n", "line 2: a word and 2 numbers; allowed: a word and 3 numbers"),
        ("", "is empty; allowed: a file of word vectors"),
        ("one\ntwo\n", "line 1: a word and no number"),
    ],
)
def test_a_broken_file_is_refused_by_line(content: str, message: str, tmp_path: Path) -> None:
    place = tmp_path / "vectors.txt"
    place.write_text(content)
    with pytest.raises(ReadError, match=message):
        WordVectors.open(place)
    assert [p.name for p in tmp_path.iterdir()] == ["vectors.txt"]


def test_other_broken_files_are_refused(tmp_path: Path) -> None:
    whole = binary_file(tmp_path).read_bytes()
    for name, content, message in (
        ("cut.bin", whole[:-9], "ends after 4 of 5 words; it is cut off"),
        ("nan.bin", whole[:-5] + np.float32(np.nan).tobytes() + b"\n", "the vector of 'Fiction' is not finite"),
        ("cut.gz", zipped_file(tmp_path).read_bytes()[:-20], "is cut off or damaged"),
        ("pickle.kv", b"\x80\x04nonsense", "is no file of gensim's KeyedVectors"),
    ):
        place = tmp_path / name
        place.write_bytes(content)
        with pytest.raises(ReadError, match=message):
            WordVectors.open(place)
    with pytest.raises(ReadError, match=r"cannot be read: No such file or directory; give a file of word vectors"):
        WordVectors.open(tmp_path / "nothing")


def test_words_and_phrases_are_looked_up() -> None:
    found = WordVectors(pl.Series(WORDS), VECTORS)
    vectors, known = found.vectors(["the", "new york", "Science Fiction", "science-unknown", "fiction", "unknown", ""])
    assert known.tolist() == [True, True, True, True, True, False, False]
    np.testing.assert_allclose(vectors[1], VECTORS[1])
    np.testing.assert_allclose(vectors[2], (VECTORS[3] + VECTORS[4]) / 2, rtol=1e-6)
    np.testing.assert_allclose(vectors[3], VECTORS[3])
    assert not vectors[5:].any()
    told = found.coverage(["the", "science fiction", "unknown"], np.array([6, 3, 1]))
    assert (told.whole, told.parts, told.share, told.missing) == (1, 1, 0.9, ("unknown",))
    assert "know 2 of 3 terms (1 by parts, 0 by subwords), 90.0% of what is written" in str(told)


def test_unknown_words_have_the_vectors_of_their_subwords(tmp_path: Path) -> None:
    made = FastText([["robot", "robots", "love"]] * 5, vector_size=4, min_count=1, workers=1, epochs=1, bucket=100)
    made.wv.save(str(tmp_path / "fast.kv"))
    found = WordVectors.open(tmp_path / "fast.kv")
    vectors, how = found.found(["robot", "robotics"])
    assert how.tolist() == [1, 3]
    np.testing.assert_allclose(vectors[1], made.wv.get_vector("robotics"))
    assert found.coverage(["robotics"]).subwords == 1
