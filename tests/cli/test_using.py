"""``recommend`` with limits, diversity and ``--audience``, and ``explain``, on the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import recvec as rv
from recvec.cli import output
from recvec.cli.main import main
from recvec.data.synthetic import sample_tables

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of the sample, one user of whom nothing is known, and one item whose title is hostile."""
    folder = tmp_path_factory.mktemp("using")
    rows, users, items = sample_tables(n_users=120, n_items=90, mean_history=12)
    users = pl.concat([users, users.head(1).with_columns(user_id=pl.lit("newcomer"))])
    items = items.with_columns(title=pl.when(pl.col("item_id") == "i9").then(pl.lit("a\x1b[2Jb")).otherwise("title"))
    data = rv.read(rows, users=users, items=items)
    for method in (rv.ALS(embedding_dim=8, epochs=4), rv.Popularity(), rv.Random(embedding_dim=4)):
        rv.save(rv.Recommender(method.fit(data), data), folder / method.name)
    rv.save(rv.Recommender(rv.SVD(embedding_dim=4, task="rating").fit(data), data), folder / "stars")
    return folder


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: exit code, what it printed, what it said beside."""
    monkeypatch.chdir(place)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recvec", *words])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def table(answer: tuple[int, str, str], note: str = "") -> pl.DataFrame:
    """Return what was printed, after a command that did its work and said `note`, and perhaps paths of the graph, beside."""
    code, out, err = answer
    said = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("recvec: path"))
    assert (code, said) == (0, f"recvec: {note}\n" if note else "")
    return pl.read_csv(out.encode(), separator="\t")


def write(place: Path, name: str, **columns: list[str]) -> str:
    pl.DataFrame(columns).write_csv(place / name)
    return name


# ---------------------------------------------------------------- explain


def test_explain_shows_the_largest_parts_the_others_and_the_score(run: Run, place: Path) -> None:
    who = rv.load(place / "als")
    item = who.recommend(["u7"], k=1)["item_id"][0]
    parts = who.explain("u7", item)
    shown = table(run("explain", "als", "--user", "u7", "--item", item, "--k", "3"))
    assert shown.columns == ["part", "item_id", "title", "contribution", "route"]
    assert shown["item_id"].to_list() == [*parts["item_id"][:3], None, None]
    assert shown["part"].to_list() == ["history"] * 3 + [f"{len(parts) - 3} others", "score"]
    assert shown["contribution"][4] == pytest.approx(shown["contribution"][:4].sum(), rel=1e-5)
    assert shown["contribution"][4] == pytest.approx(who.recommend(["u7"], k=1)["score"][0], rel=1e-4)
    everything = table(run("explain", "als", "--user", "u7", "--item", item, "--k", "1000"))
    assert everything["part"].to_list() == ["history"] * len(parts) + ["score"]


def test_parts_with_a_name_are_always_shown(run: Run) -> None:
    shown = table(run("explain", "stars", "--user", "u7", "--item", "i5", "--k", "1"))
    assert shown["part"].to_list()[:4] == ["mean rating", "user bias", "item bias", "history"]
    assert shown["part"].to_list()[5:] == ["score"]


def test_explain_names_the_route_of_a_cold_user_and_takes_a_stranger(run: Run) -> None:
    cold = table(run("explain", "als", "--user", "newcomer", "--item", "i5"))
    assert cold["part"].to_list() == ["interactions of the item", "score"]
    assert cold["route"][0] == "popular"
    stranger = table(run("explain", "als", "--history", "i1", "--history", "i2", "--item", "i5"))
    assert set(stranger["item_id"].drop_nulls()) == {"i1", "i2"}
    assert stranger["route"][0] == "history"


def test_explain_says_that_an_item_was_met(run: Run) -> None:
    note = "this person has met item i1 already: it is never in their list, and here it speaks for itself as well"
    table(run("explain", "als", "--history", "i1", "--item", "i1"), note)


def test_explain_to_a_file(run: Run, place: Path) -> None:
    code, out, _ = run("explain", "als", "--user", "u7", "--item", "i5", "--k", "2", "--out", "why.csv")
    assert (code, out) == (0, "4 rows written to why.csv\n")
    assert pl.read_csv(place / "why.csv")["part"].to_list()[-1] == "score"


def test_paths_are_told_beside_the_parts_and_are_a_table_of_their_own(run: Run, place: Path) -> None:
    best = rv.load(place / "als").graph.paths("u7", "i5", 3)
    _, _, err = run("explain", "als", "--user", "u7", "--item", "i5", "--k", "3")
    assert err.splitlines()[0] == f"recvec: path user u7 - item {best[0, 0]} - user {best[0, 1]} - item i5: {best[0, 2]:.3g}"
    assert err.splitlines()[3].startswith("recvec: paths in all: ")
    shown = table(run("explain", "als", "--user", "u7", "--item", "i5", "--k", "3", "--paths", "--json", "why.json"))
    assert shown.columns == ["item_id", "title", "user_id", "weight"]
    assert shown["weight"].to_list() == pytest.approx(best["weight"].to_list())
    content = json.loads((place / "why.json").read_text())
    assert [row["user_id"] for row in content["paths"]] == best["user_id"].to_list()
    assert content["score"] == pytest.approx(sum(row["contribution"] for row in content["parts"]), rel=1e-4)
    lonely = table(run("explain", "als", "--user", "newcomer", "--item", "i5", "--paths"))
    assert len(lonely) == 0


def test_a_model_without_reasons_has_paths(run: Run) -> None:
    code, out, err = run("explain", "random", "--user", "u1", "--item", "i5", "--k", "2")
    assert (code, len(out.splitlines())) == (0, 3)
    assert (
        err
        == "recvec: random has no reasons for its scores; use a method that learns, such as als or svd; here are paths of the graph alone\n"
    )


def test_pictures_are_written(run: Run, place: Path) -> None:
    for words in (("--user", "u7", "--item", "i5"), ("--user", "u7"), ("--item", "i5"), ("--history", "i1")):
        code, _, err = run("explain", "als", *words, "--picture", "why.svg")
        assert code == 0
        assert err.endswith("recvec: the graph is drawn in why.svg\n")
        assert (place / "why.svg").read_text().startswith("<svg ")


def test_walks_recommend(run: Run, place: Path) -> None:
    who = rv.load(place / "random")
    shown = table(
        run("recommend", "random", "--user", "u7", "--retrieval", "walk", "--walk", "kind=rp3beta", "--walk", "beta=0.5", "--k", "4")
    )
    expected = who.recommend(["u7"], k=4, retrieval=rv.GraphWalk(kind="rp3beta", beta=0.5))
    assert shown["item_id"].to_list() == expected["item_id"].to_list()
    new = table(run("recommend", "als", "--history", "i1", "--retrieval", "walk", "--walk", "n_candidates=20", "--k", "2"))
    assert set(new["route"]) == {"history"}


def test_a_drawn_title_cannot_steer_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(output, "_emit", printed.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert run("explain", "als", "--user", "u7", "--item", "i9")[0] == 0
    assert "Score of item i9 (a\\x1b[2Jb) for user u7" in "".join(printed).replace("\x1b[3m", "").replace("\x1b[0m", "")
    assert "\x1b[2J" not in "".join(printed)


# ---------------------------------------------------------------- audience


def test_audience_lists_a_hundred_users_unless_told(run: Run, place: Path) -> None:
    expected = rv.load(place / "als").audience("i5")
    shown = table(run("recommend", "als", "--item", "i5", "--audience"))
    assert shown.columns == ["user_id", "score", "rank"]
    assert shown["user_id"].to_list() == expected["user_id"].to_list()
    assert table(run("recommend", "als", "--item", "i5", "--audience", "--k", "3")).height == 3
    assert table(run("recommend", "als", "--user", "u7")).height == 10


def test_users_who_cannot_be_told_apart_are_said_to_be_so(run: Run) -> None:
    note = "all users have the same score for item i5: popularity cannot tell them apart"
    assert table(run("recommend", "popularity", "--item", "i5", "--audience", "--k", "2"), note).height == 2


# ---------------------------------------------------------------- limits and diversity


def test_candidates_and_denials_from_files(run: Run, place: Path) -> None:
    best = rv.load(place / "als").recommend(["u7"], k=6)["item_id"].to_list()
    keep, drop = write(place, "keep.csv", item_id=[*best, best[0], "xx", "yy"]), write(place, "drop.csv", item_id=best[1:3])
    note = "keep.csv: 2 of 9 rows name what this model does not know, such as item_id 'xx'; they are left out"
    shown = table(run("recommend", "als", "--user", "u7", "--candidates", keep, "--deny", drop), note)
    assert shown["item_id"].to_list() == [best[0], *best[3:]]
    nothing = "nothing is left to recommend: every item has been met or is not allowed"
    every = write(place, "every.csv", item_id=best)
    assert table(run("recommend", "als", "--user", "u7", "--candidates", every, "--deny", every), nothing).height == 0


def test_denials_of_single_users(run: Run, place: Path) -> None:
    before = rv.load(place / "als").recommend(["u7", "u8"], k=3)
    first = before.filter(pl.col("user_id") == "u7")["item_id"].to_list()
    write(place, "own.csv", user_id=["u7", "nobody"], item_id=[first[0], "i1"])
    note = "own.csv: 1 of 2 rows name what this model does not know, such as item_id 'i1', user_id 'nobody'; they are left out"
    shown = table(run("recommend", "als", "--user", "u7", "--user", "u8", "--k", "2", "--deny", "own.csv"), note)
    assert shown.filter(pl.col("user_id") == "u7")["item_id"].to_list() == first[1:]
    assert shown.filter(pl.col("user_id") == "u8")["item_id"].to_list() == before.filter(pl.col("user_id") == "u8")["item_id"][:2].to_list()


def test_diversity(run: Run, place: Path) -> None:
    expected = rv.load(place / "als").recommend(["u7"], k=5, diversity=0.6)["item_id"].to_list()
    assert table(run("recommend", "als", "--user", "u7", "--k", "5", "--diversity", "0.6"))["item_id"].to_list() == expected
    assert table(run("recommend", "als", "--user", "u7", "--k", "5"))["item_id"].to_list() != expected


# ---------------------------------------------------------------- what is refused

RECOMMEND = ("recommend", "als")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*RECOMMEND, "--item", "i5"), "--item goes with --audience, which lists users for it; for items like it use 'recvec similar --item'"),
        ((*RECOMMEND, "--audience"), "--audience needs --item ID, the item whose users are wanted"),
        ((*RECOMMEND, "--item", "i5", "--audience", "--user", "u7"), "recommend takes one of --user ID, --all, --history ID (--attribute NAME=VALUE) or --item ID --audience; give"),
        ((*RECOMMEND, "--item", "i5", "--audience", "--diversity", "1"), "--audience lists users; --candidates, --deny and --diversity are for lists"),
        ((*RECOMMEND, "--item", "i5", "--audience", "--deny", "drop.csv"), "--audience lists users; --candidates, --deny and"),
        ((*RECOMMEND, "--item", "xx", "--audience"), "item 'xx' is not among the 90 items"),
        ((*RECOMMEND, "--item", "i5", "--audience", "--k", "0"), "k is 0; allowed: a whole number, 1 or more"),
        ((*RECOMMEND, "--user", "u7", "--diversity", "1.5"), "diversity is 1.5; allowed: a number from 0 (by score alone) to 1"),
        ((*RECOMMEND, "--user", "u7", "--diversity", "nan"), "diversity is nan; allowed: a number from 0"),
        ((*RECOMMEND, "--user", "u7", "--candidates", "none.csv"), "none.csv: 2 of 2 rows name what this model does not know, such as item_id 'xx'; allowed: some of its 90 items; check the ids"),
        ((*RECOMMEND, "--user", "u7", "--candidates", "pairs.csv"), "pairs.csv has a column user_id, but candidates are for everyone; allowed: item_id; leave user_id out"),
        ((*RECOMMEND, "--history", "i5", "--deny", "pairs.csv"), "pairs.csv has a column user_id, but a new person is none of them; allowed: item_id"),
        ((*RECOMMEND, "--user", "u7", "--deny", "bare.csv"), "bare.csv has no column 'item_id' (such as 'i1'); rename it in the file"),
        ((*RECOMMEND, "--user", "u7", "--deny", "bare.txt"), "bare.txt ends in '.txt'; allowed: .csv, .tsv"),
        ((*RECOMMEND, "--user", "u7", "--deny", "missing.csv"), "missing.csv does not exist"),
        ((*RECOMMEND, "--user", "nobody", "--deny", "mixed.csv"), "user 'nobody' is not among"),
        (("explain", "als", "--item", "i5"), "explain takes either --user ID or --history ID; give exactly one kind"),
        (("explain", "als", "--item", "i5", "--user", "u1", "--history", "i1"), "explain takes either --user ID or --history ID"),
        (("explain", "als", "--item", "i5", "--user", "u1", "--k", "0"), "k is 0; allowed: a whole number, 1 or more"),
        (("explain", "als", "--item", "xx", "--user", "u1"), "item 'xx' is not among the 90 items"),
        (("explain", "als", "--item", "i5", "--user", "nobody"), "user 'nobody' is not among the 121 users"),
        (("explain", "als", "--item", "i5", "--user", "u1", "--picture", "why.png"), "--picture is why.png; allowed: a file that ends in .svg"),
        ((*RECOMMEND, "--user", "u7", "--retrieval", "dance"), "retrieval is 'dance'; allowed: exact, walk"),
        ((*RECOMMEND, "--user", "u7", "--walk", "steps=3"), "--walk is given without --retrieval walk; allowed: together"),
        ((*RECOMMEND, "--user", "u7", "--retrieval", "walk", "--walk", "restart=2"), "walk: restart is 2.0; allowed: a number, 0 to 1 (default 0.5)"),
        ((*RECOMMEND, "--user", "u7", "--retrieval", "walk", "--walk", "kin=x"), "walk has no hyper-parameter 'kin' (nearest: 'kind'"),
        ((*RECOMMEND, "--item", "i5", "--audience", "--retrieval", "walk"), "--audience lists users; --candidates, --deny and --diversity are for lists"),
        (("explain", "nowhere", "--item", "i5", "--user", "u1"), "nowhere is not a folder with a saved model"),
        (("explain", "als", "--item", "i5", "--user", "u1", "--out", "why.txt"), "why.txt ends in '.txt'; allowed: .csv"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(run: Run, place: Path, words: tuple[str, ...], message: str) -> None:
    write(place, "none.csv", item_id=["xx", "yy"])
    write(place, "pairs.csv", user_id=["u7"], item_id=["i5"])
    write(place, "mixed.csv", item_id=["i5", "xx"])
    for name in ("bare.csv", "bare.txt"):
        (place / name).write_text("i1\ni2\n")
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith(f"recvec: {message}")
    assert err.count("\n") == 1


def test_explain_without_an_item_is_wrong_usage(run: Run) -> None:
    code, _, err = run("explain", "als", "--user", "u1")
    assert code == 2
    assert "--item" in err
