"""Public data sets from a server on this machine: whole, resumed, verified, or refused in one line with nothing left behind."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recvec as rv
from recvec.data import sources
from recvec.data.transfer import Link, Patience, md5_of, published_md5
from recvec.errors import InputError, ReadError
from tests.data import loopback
from tests.data.loopback import RATINGS, Server, good, md5

NAMES = ("ml-100k", "ml-1m", "ml-latest-small", "ml-20m", "ml-32m")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with loopback.serving() as told:
        told.publish("ml-1m", good("ml-1m"))
        yield told


class Slept(list[float]):
    """Pauses that were asked for; nobody waits."""

    def patience(self, timeout: float = 20.0) -> Patience:
        return Patience(timeout=timeout, sleep=self.append)


@pytest.fixture
def slept() -> Slept:
    return Slept()


@pytest.fixture
def get(server: Server, tmp_path: Path, slept: Slept) -> Callable[..., dict[str, Any]]:
    """Download ml-1m from the server into ``tmp_path / "out"``."""

    def call(name: str = "ml-1m", *, timeout: float = 20.0, **options: Any) -> dict[str, Any]:
        options = {"base_url": server.url, "patience": slept.patience(timeout)} | options
        return rv.download(name, tmp_path / "out", **options)

    return call


def left(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


PARTIAL = ["out.part", "out.part/ml-1m.zip", "out.part/ml-1m.zip.json"]


# ---------------------------------------------------------------- the way that works


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_becomes_a_folder(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, name: str) -> None:
    server.publish(name, good(name))
    page = get(name)
    more = {"ml-100k": {"users.parquet", "splits"}, "ml-1m": {"users.parquet"}}.get(name, {"tags.parquet", "links.parquet"})
    more |= {"links.parquet"} if name == "ml-100k" else set()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"interactions.parquet", "items.parquet", "README.txt", "source.json"} | more
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert json.loads((tmp_path / "out/source.json").read_text()) == page
    assert page["rows"]["ratings"] == len(RATINGS)
    assert (page["name"], page["address"]) == (name, f"{server.url}/{name}.zip")
    assert page["md5"] == md5(server.files[f"{name}.zip"])
    assert page["md5_compared_with"] == f"{server.url}/{name}.zip.md5"
    assert page["bytes"] == len(server.files[f"{name}.zip"])
    assert page["library"] == f"recvec {rv.__version__}"
    assert "Harper" in page["citation"]
    assert "research use" in page["licence"]
    data = rv.read(tmp_path / "out/interactions.parquet", items=tmp_path / "out/items.parquet")
    assert (data.n_users, data.n_items, len(data.interactions)) == (8, 6, len(RATINGS))
    assert data.item_features is not None
    assert data.item_features.types["genres"] == "list"


def test_what_there_is() -> None:
    listed = rv.datasets()
    assert listed["name"].to_list() == list(NAMES)
    assert listed.columns == ["name", "users", "items", "ratings", "attributes", "download", "licence"]
    assert listed.filter(pl.col("name") == "ml-32m").row(0)[1:4] == (200_948, 87_585, 32_000_204)


def test_an_empty_folder_and_missing_parents_will_do(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    rv.download("ml-1m", tmp_path / "empty", base_url=server.url + "/")
    rv.download("ml-1m", str(tmp_path / "deep/er/out"), base_url=server.url)
    assert left(tmp_path / "empty") == left(tmp_path / "deep/er/out")
    assert [p.name for p in (tmp_path / "deep/er").iterdir()] == ["out"]


def test_progress_counts_bytes_that_are_on_the_disk(
    server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, slept: Slept
) -> None:
    told: list[tuple[str, int, int | None]] = []
    total = len(server.files["ml-1m.zip"])
    server.tricks = [("cut", 100)]

    def tell(what: str, done: int, of: int | None) -> None:
        told.append((what, done, of))
        assert (tmp_path / "out.part/ml-1m.zip").stat().st_size == done

    get(progress=tell)
    assert told[-1] == ("converting ml-1m", total, total)
    assert {(what, of) for what, _, of in told[:-1]} == {("ml-1m.zip", total)}
    there = [done for _, done, _ in told[:-1]]
    assert there == sorted(there)
    assert {100, total} <= set(there)
    assert slept == [1.0]


# ---------------------------------------------------------------- connections that break


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_broken_connection_goes_on_where_it_broke(server: Server, get: Callable[..., dict[str, Any]], slept: Slept, kind: str) -> None:
    server.tricks = [(kind, 100), (kind, 50), ("status", 503)]
    get()
    if kind == "cut":  # what a reset has sent may be lost on the way
        assert [r.range for r in server.zips] == [None, "bytes=100-", "bytes=150-", "bytes=150-"]
    assert {r.if_range for r in server.zips[1:]} <= {'"one"', None}
    assert slept == [1.0, 2.0, 4.0]


def test_after_five_tries_the_next_call_goes_on(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, slept: Slept) -> None:
    total = len(server.files["ml-1m.zip"])
    server.tricks = [("cut", 10)] * 5
    with pytest.raises(ReadError, match=rf"ml-1m.zip broke off after 50 of {total:,} bytes; 50 bytes are kept, and the same call goes on"):
        get()
    assert slept == [1.0, 2.0, 4.0, 8.0]
    assert left(tmp_path) == PARTIAL
    assert sources.interrupted(tmp_path / "out") == (tmp_path / "out.part", 50)
    server.seen.clear()
    get()
    assert [(r.range, r.if_range) for r in server.zips] == [("bytes=50-", '"one"')]
    assert sources.interrupted(tmp_path / "out") == (tmp_path / "out.part", 0)


def test_progress_gives_new_tries(server: Server, tmp_path: Path, slept: Slept) -> None:
    content = np.random.default_rng(0).bytes(9 << 20)
    server.files["large.zip"] = content
    server.tricks = [("cut", 1 << 20)] * 7 + [("cut", 5)] * 2
    Link(slept.patience(), "wait").file(f"{server.url}/large.zip", tmp_path / "large.zip")
    assert (tmp_path / "large.zip").read_bytes() == content
    assert slept == [1.0] * 7 + [2.0, 4.0]


def test_a_silent_server_is_left(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, slept: Slept) -> None:
    server.tricks = [("hang", 100)] * 2
    with pytest.raises(ReadError, match=r"does not answer within 0.3 s; 200 bytes are kept"):
        get(patience=Patience(timeout=0.3, pauses=(7.0,), sleep=slept.append))
    assert slept == [7.0]
    get()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("trick", ["whole", "elsewhere"])
def test_a_server_that_does_not_resume_sends_it_again(server: Server, get: Callable[..., dict[str, Any]], slept: Slept, trick: str) -> None:
    server.tricks = [("cut", 100), trick]
    get()
    assert len(slept) == (1 if trick == "whole" else 2)
    assert [r.range for r in server.zips] == [None, "bytes=100-"] + ([None] if trick == "elsewhere" else [])


def test_a_server_that_only_ever_cuts_and_does_not_resume_is_given_up(
    server: Server, get: Callable[..., dict[str, Any]], slept: Slept
) -> None:
    server.etag = None
    server.tricks = [("cut", 100)] * 10
    with pytest.raises(ReadError, match=r"broke off after 100 of") as caught:
        get()
    assert "are kept" not in str(caught.value)
    assert len(slept) == 4


def test_another_file_by_now_starts_again(server: Server, get: Callable[..., dict[str, Any]], slept: Slept) -> None:
    server.tricks = [("cut", 100)] * 5
    with pytest.raises(ReadError):
        get()
    server.publish("ml-1m", good("ml-1m") + b"\0" * 7)  # zips may have a tail
    server.etag = '"two"'
    page = get()
    assert page["bytes"] == len(server.files["ml-1m.zip"])


def test_a_server_that_resumes_another_file_is_noticed(server: Server, get: Callable[..., dict[str, Any]], slept: Slept) -> None:
    server.tricks = [("cut", 100)] * 5
    with pytest.raises(ReadError):
        get()
    server.etag, server.modified = '"two"', '"one"'  # If-Range is taken for fresh, but the ETag has changed
    get()
    assert [r.range for r in server.zips[-2:]] == ["bytes=500-", None]


@pytest.mark.parametrize(
    ("etag", "modified", "mark"),
    [('W/"weak"', "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 GMT"), ('W/"weak"', None, None), (None, None, None)],
)
def test_only_a_strong_validator_resumes(
    server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, etag: str, modified: str, mark: str
) -> None:
    server.etag, server.modified = etag, modified
    server.tricks = [("cut", 100)]
    get()
    assert [(r.range, r.if_range) for r in server.zips][1] == (("bytes=100-", mark) if mark else (None, None))


def test_a_damaged_note_starts_again(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    for note in ("", "[]", '{"url": 1, "validator": "x"}', json.dumps({"url": "http://other/ml-1m.zip", "validator": '"one"'})):
        (tmp_path / "out.part").mkdir()
        (tmp_path / "out.part/ml-1m.zip").write_bytes(b"x" * 100)
        (tmp_path / "out.part/ml-1m.zip.json").write_text(note)
        (tmp_path / "out.part/tables").mkdir()  # what a killed process leaves
        (tmp_path / "out.part/tables/interactions.parquet").write_bytes(b"half")
        get()
        assert server.zips[-1].range is None
        for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
            path.unlink()
        (tmp_path / "out").rmdir()


def test_a_length_that_is_too_long_is_settled_by_the_server(server: Server, get: Callable[..., dict[str, Any]], slept: Slept) -> None:
    server.tricks = [("length", len(server.files["ml-1m.zip"]) + 1000)]
    get()
    assert [r.range for r in server.zips] == [None, f"bytes={len(server.files['ml-1m.zip'])}-"]  # answered by 416: that is all


def test_without_a_length_the_md5_decides(server: Server, get: Callable[..., dict[str, Any]]) -> None:
    server.tricks = ["unsized"]
    get()


# ---------------------------------------------------------------- wrong bytes


def test_wrong_bytes_are_removed(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    right = server.files["ml-1m.zip"]
    server.files["ml-1m.zip"] = wrong = right[:50] + bytes([right[50] ^ 1]) + right[51:]
    digests = [md5(content) for content in (wrong, right)]
    with pytest.raises(
        ReadError, match=rf"ml-1m.zip has the MD5 {digests[0]}, but .*ml-1m.zip.md5 states {digests[1]}; what came was removed"
    ):
        get()
    assert left(tmp_path) == []
    server.files["ml-1m.zip"] = right
    get()


def test_too_short_a_length_is_wrong_bytes(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    server.tricks = [("length", 100)]
    with pytest.raises(ReadError, match=r"has the MD5"):
        get()
    assert left(tmp_path) == []


def test_two_halves_of_different_files_are_wrong_bytes(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    server.tricks = [("cut", 100)] * 5
    with pytest.raises(ReadError):
        get()
    part = tmp_path / "out.part/ml-1m.zip"
    part.write_bytes(b"x" * part.stat().st_size)
    with pytest.raises(ReadError, match=r"what came was removed"):
        get()
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "MD5 (ml-1m.zip) = {}",
        "{}  ml-1m.zip\n",
        "{} *ml-1m.zip\r\n",
        "{}",
        "{}\n\n",
        "d41d8cd98f00b204e9800998ecf8427e  ml-10m.zip\n{}  ml-1m.zip\n",
    ],
)
def test_every_form_of_md5_file(text: str) -> None:
    digest = "0123456789ABCDEF0123456789abcdef"
    assert published_md5(text.format(digest), "ml-1m.zip", "there", "look") == digest.lower()


@pytest.mark.parametrize(
    "text", ["", "<html>Please log in</html>", "0123", "0" * 40, "{0}  a.zip\n{0}  b.zip".format("0" * 32), "{0} {0}".format("0" * 32)]
)
def test_no_md5_is_said(text: str) -> None:
    with pytest.raises(ReadError, match=r"there states no MD5 of ml-1m.zip, it holds '.*'; does the network ask for a login\? look"):
        published_md5(text, "ml-1m.zip", "there", "look")


def test_md5_of_is_md5(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert md5_of(tmp_path / "abc") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321, A.5


def test_a_text_that_does_not_end_is_not_read_to_its_end(server: Server, slept: Slept) -> None:
    server.files["long"] = b"x" * (4 << 20)
    assert len(Link(slept.patience(), "wait").text(f"{server.url}/long")) < 1 << 20


# ---------------------------------------------------------------- offline

REMEDY = r"check the connection and the address, or download ml-1m.zip elsewhere and give it \(--from ml-1m.zip\)$"


@pytest.mark.parametrize(
    ("code", "said", "n_pauses"),
    [(404, "404 Not Found", 0), (403, "403 Forbidden", 0), (503, "503 Service Unavailable", 4), (500, "500 Internal", 4)],
)
def test_a_refusal_is_said(
    server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, slept: Slept, code: int, said: str, n_pauses: int
) -> None:
    server.tricks = [("status", code)] * 9
    with pytest.raises(ReadError, match=rf"^{server.url}/ml-1m.zip answers {said}.*; {REMEDY}"):
        get()
    assert len(slept) == n_pauses
    assert left(tmp_path) == []


def test_no_md5_file_means_no_download(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    del server.files["ml-1m.zip.md5"]
    with pytest.raises(ReadError, match=rf"ml-1m.zip.md5 answers 404 Not Found; {REMEDY}"):
        get()
    assert server.zips == []
    server.files["ml-1m.zip.md5"] = b"<html>" + b"x" * 100_000
    with pytest.raises(ReadError, match=r"states no MD5 of ml-1m.zip, it holds '<html>xx.*characters\)'"):
        get()
    assert server.zips == []
    assert left(tmp_path) == []


def test_nobody_there(get: Callable[..., dict[str, Any]], tmp_path: Path, slept: Slept, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReadError, match=rf"ml-1m.zip.md5 cannot be reached: Connection refused; {REMEDY}"):
        get(base_url=loopback.nowhere())
    monkeypatch.setattr(socket, "getaddrinfo", _no_name)
    with pytest.raises(ReadError, match=rf"^http://no.invalid/ml-1m.zip.md5 cannot be reached: its name is not found; {REMEDY}"):
        get(base_url="http://no.invalid")
    assert slept == []  # whoever is offline is told at once
    assert left(tmp_path) == []


def _no_name(*_: Any, **__: Any) -> None:
    raise socket.gaierror(-2, "Name or service not known")


def test_a_silent_server_at_first_is_said_at_once(get: Callable[..., dict[str, Any]], slept: Slept) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(ReadError, match=rf"does not answer within 0.05 s; {REMEDY}"):
        get(base_url=f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=0.05)
    assert slept == []


def test_a_proxy_that_refuses_is_said(server: Server, get: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", server.url)
    with pytest.raises(ReadError, match=r"https://files.invalid/ml-1m.zip.md5 cannot be reached: Tunnel connection failed: 501"):
        get(base_url="https://files.invalid")


def test_a_server_that_is_not_http_is_said(get: Callable[..., dict[str, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ReadError, match=r"cannot be reached: SSH-2.0-OpenSSH"):
            get(base_url=f"http://127.0.0.1:{odd.getsockname()[1]}")
        thread.join()


def test_a_certificate_that_is_not_accepted_is_said(
    get: Callable[..., dict[str, Any]], slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = "certificate has expired"

    def connect(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("http.client.socket.create_connection", connect)
    with pytest.raises(ReadError, match=rf"has a certificate that is not accepted: certificate has expired; {REMEDY}"):
        get(base_url="https://files.invalid")
    assert slept == []


@pytest.mark.parametrize("url", ["", "files.grouplens.org", "ftp://host/x", "file:///etc", "https://", "http://[", "https:///x"])
def test_an_address_that_is_none(get: Callable[..., dict[str, Any]], url: str) -> None:
    with pytest.raises(InputError, match=r"the base URL is '.*'; allowed: an address that begins with https:// or http://"):
        get(base_url=url)


def test_an_address_with_odd_letters_is_one_line(get: Callable[..., dict[str, Any]]) -> None:
    for url in ("http://127.0.0.1:1/a b", "http://" + "x" * 70 + ".org", "http://127.0.0.1:99999999"):
        with pytest.raises(ReadError, match=r"^[^\n]*; check the connection"):
            get(base_url=url)


# ---------------------------------------------------------------- folders


def test_a_taken_place_is_refused_before_the_network(
    server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(ReadError, match=r"out exists; allowed: a new or an empty folder"):
        get()
    out.unlink()
    out.symlink_to(tmp_path / "gone")
    with pytest.raises(ReadError, match=r"out exists"):
        get()
    out.unlink()
    (out / "x").mkdir(parents=True)
    with pytest.raises(ReadError, match=r"out exists"):
        get()
    (out / "x").rmdir()
    monkeypatch.chdir(out)
    with pytest.raises(ReadError, match=r"is the folder you are in"):
        rv.download("ml-1m", ".", base_url=server.url)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReadError, match=r"file is not a folder that can be written to"):
        rv.download("ml-1m", tmp_path / "file/out", base_url=server.url)
    assert server.seen == []


def test_a_strange_part_folder_is_refused(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    part.mkdir()
    (part / "diary.txt").write_text("mine")
    with pytest.raises(ReadError, match=r"out.part holds 'diary.txt'; it is needed for the download; rename it"):
        get()
    assert left(part) == ["diary.txt"]
    (part / "diary.txt").unlink()
    part.rmdir()
    part.write_text("mine")
    with pytest.raises(ReadError, match=r"out.part is no folder"):
        get()
    assert server.seen == []


def test_two_at_once_do_not_mix(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    def second(what: str, _done: int, _total: int | None) -> None:
        if what == "ml-1m.zip":
            with pytest.raises(ReadError, match=r"out.part is in use by another download"):
                get()
            seen.append(what)

    seen: list[str] = []
    get(progress=second)
    assert seen
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_stop_keeps_what_has_come(server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    def stop(_what: str, done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(progress=stop)
    assert left(tmp_path) == PARTIAL
    kept = (tmp_path / "out.part/ml-1m.zip").stat().st_size
    get()
    assert server.zips[-1].range == f"bytes={kept}-"


def test_a_full_disk_keeps_what_has_come(
    server: Server, get: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", full)
        with pytest.raises(ReadError, match=r"out cannot be written: No space left on device; free space or give another folder"):
            get()
        patched.setattr(pl.DataFrame, "write_parquet", _full_for_polars)
        with pytest.raises(ReadError, match=r"out cannot be written: no space"):
            get()
    assert left(tmp_path) == PARTIAL
    get()
    assert server.zips[-1].range == f"bytes={len(server.files['ml-1m.zip'])}-"


def _full_for_polars(*_: Any, **__: Any) -> None:
    raise pl.exceptions.ComputeError("no space\nand more")


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"there is no data set 'ml1m' \(nearest: 'ml-1m', .*\); allowed: ml-100k, ml-1m, ml-latest-small"):
        rv.download("ml1m", "nowhere")


# ---------------------------------------------------------------- a zip from elsewhere


def test_a_given_zip_needs_no_network(get: Callable[..., dict[str, Any]], server: Server, tmp_path: Path) -> None:
    given = tmp_path / "my copy.zip"
    given.write_bytes(good("ml-1m"))
    page = get(from_file=given)
    assert (page["file"], page["md5_compared_with"]) == ("my copy.zip", None)
    assert page["md5"] == md5(good("ml-1m"))
    assert "address" not in page
    assert given.read_bytes() == good("ml-1m")
    assert server.seen == []
    assert [p.name for p in tmp_path.iterdir() if p != given] == ["out"]


def test_the_md5_beside_a_given_zip_counts(get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    given = tmp_path / "copy.zip"
    given.write_bytes(good("ml-1m"))
    beside = tmp_path / "copy.zip.md5"
    beside.write_text(f"MD5 (ml-1m.zip) = {'0' * 32}")
    before = left(tmp_path)
    with pytest.raises(ReadError, match=rf"copy.zip has the MD5 .*, but .*copy.zip.md5 states {'0' * 32}; get the file again"):
        get(from_file=given)
    beside.write_text("nothing")
    with pytest.raises(ReadError, match=r"copy.zip.md5 states no MD5 of ml-1m.zip"):
        get(from_file=given)
    assert left(tmp_path) == before
    beside.write_text(f"{md5(given.read_bytes())}  ml-1m.zip")
    assert get(from_file=given)["md5_compared_with"] == "copy.zip.md5"


def test_a_given_zip_that_is_none(get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "ml-1m.zip").write_bytes(b"half a zip")
    with pytest.raises(ReadError, match=r"ml-1.zip does not exist \(nearest: 'ml-1m.zip'\); check the path"):
        get(from_file=tmp_path / "ml-1.zip")
    for odd in (tmp_path, "/dev/null"):
        with pytest.raises(ReadError, match=r"is not a file that can be read; allowed: the zip of the data set"):
            get(from_file=odd)
    with pytest.raises(ReadError, match=r"ml-1m.zip is damaged or not the zip of ml-1m: File is not a zip file; get the file again"):
        get(from_file=tmp_path / "ml-1m.zip")
    (tmp_path / "ml-1m.zip").write_bytes(good("ml-100k"))
    with pytest.raises(ReadError, match=r"ml-1m.zip holds no ml-1m/README, but ml-100k; allowed: the zip of ml-1m; give that"):
        get(from_file=tmp_path / "ml-1m.zip")
    assert left(tmp_path) == ["ml-1m.zip"]


def test_a_zip_in_the_folder_that_will_go_is_refused(get: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    given = tmp_path / "out.part/ml-1m.zip"
    given.parent.mkdir()
    given.write_bytes(good("ml-1m"))
    with pytest.raises(ReadError, match=r"ml-1m.zip is in a folder that is removed in the end; move it out of there"):
        get(from_file=given)
    assert given.exists()
