# ruff: noqa: RUF001
"""Words of texts in many scripts, with markup, and of any length."""

import time

import polars as pl
import pytest

from recvec.encoders.words import LONGEST, is_spaceless, n_cut, packed, unpacked, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Robot, in love!", ["robot", "in", "love"]),
        ("", []),
        (None, []),
        ("... 3 a ?", []),
        ("Tom &amp; <b>Jerry</b><br/>again<!-- hidden -->", ["tom", "jerry", "again"]),
        ("&lt;p&gt;escaped twice&lt;/p&gt;", ["escaped", "twice"]),
        ("3 < 5 and 7 > 2, year 1999", ["and", "year", "1999"]),
        ("Приве́т, Мир", ["приве́т", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("العربية نص", ["العربية", "نص"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("東京タワー 2020", ["東京", "京タ", "タワ", "ワー", "2020"]),
        ("日 を", ["日", "を"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
        ("ﬁne ＡＢＣ CAFÉ", ["fine", "abc", "café"]),
        ("\x00nul\x00 and \ud7ff", ["nul", "and"]),
    ],
)
def test_words(text: str | None, expected: list[str]) -> None:
    assert words_of(pl.Series("text", [text], dtype=pl.String)).to_list() == [expected]


def test_rows_keep_their_places() -> None:
    texts = pl.Series("text", ["one two", None, "東京都", "<i>three</i>", ""])
    assert words_of(texts).to_list() == [["one", "two"], [], ["東京", "京都"], ["three"], []]


@pytest.mark.parametrize("piece", ["word ", "<", "<!--", "&", "<a ", "<script>", "漢字"])
def test_ten_megabytes_in_one_cell(piece: str) -> None:
    texts = pl.Series("text", [piece * (10_000_000 // len(piece.encode())), "fine"])
    started = time.perf_counter()
    found = words_of(texts)
    assert time.perf_counter() - started < 60  # linear: a second where the machine is free
    assert found[1].to_list() == ["fine"]
    assert len(found[0]) <= LONGEST
    assert n_cut(texts) == 1


def test_packed_words_come_back() -> None:
    words = ["", "a", "東京", "genres=Comedy", "x" * 100]
    assert unpacked(*packed(words)) == words
    assert unpacked(*packed([])) == []


def test_scripts_without_spaces_are_known_by_their_letters() -> None:
    assert all(map(is_spaceless, "東タひไລကក"))
    assert not any(map(is_spaceless, "aя한हا1"))
