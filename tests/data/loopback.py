"""A server on this machine that behaves as badly as it is told, and zips in the layouts of MovieLens with made-up rows."""

import hashlib
import io
import re
import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    path: str
    range: str | None
    if_range: str | None


@dataclass
class Server:
    """Files by name, and for the next requests of a zip what is done to them: one entry a request, honest after the last.

    ``("cut", n)`` and ``("reset", n)`` close the connection after n bytes of body, ``("hang", n)`` goes silent there;
    ``("length", n)`` states another Content-Length; ``("status", code)`` refuses; ``"whole"`` ignores Range;
    ``"elsewhere"`` sends another part than asked for; ``"unsized"`` sends in chunks, without a length.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    tricks: list[Any] = field(default_factory=list)
    etag: str | None = '"one"'
    modified: str | None = None
    seen: list[Request] = field(default_factory=list)
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    silent: threading.Event = field(default_factory=threading.Event)

    def publish(self, name: str, content: bytes, digest: str = "") -> None:
        self.files |= {f"{name}.zip": content, f"{name}.zip.md5": f"MD5 ({name}.zip) = {digest or md5(content)}\n".encode()}

    @property
    def zips(self) -> list[Request]:
        return [r for r in self.seen if r.path.endswith(".zip")]


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        told: Server = self.server.told
        name = self.path.removeprefix("/")
        told.seen.append(Request(self.path, self.headers["Range"], self.headers["If-Range"]))
        trick = told.tricks.pop(0) if told.tricks and name.endswith(".zip") else "honest"
        kind, n = trick if isinstance(trick, tuple) else (trick, 0)
        if name not in told.files or kind == "status":
            self.send_error(n or 404)
            return
        self.send_file(told, told.files[name], kind, n)

    def send_file(self, told: Server, content: bytes, kind: str, n: int) -> None:
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers["Range"] else 0
        if kind == "whole" or self.headers["If-Range"] not in (told.etag, told.modified):
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        first = start + 1 if start and kind == "elsewhere" else start
        if start:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        for header, value in (("ETag", told.etag), ("Last-Modified", told.modified)):
            if value:
                self.send_header(header, value)
        if kind != "unsized":
            self.send_header("Content-Length", str(n if kind == "length" else len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : first + n] if kind in ("cut", "reset", "hang") else content[first:])
        self.wfile.flush()
        if kind == "reset":  # RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if kind == "hang":
            told.silent.set()
            told.over.wait(60)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *_: None  # type: ignore[method-assign]  the client leaves while we write
        http.told = Server(url=f"http://127.0.0.1:{http.server_port}")  # type: ignore[attr-defined]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield http.told  # type: ignore[attr-defined]
        finally:
            http.told.over.set()  # type: ignore[attr-defined]
            http.shutdown()
            thread.join()


def nowhere() -> str:
    """An address on this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# ---------------------------------------------------------------- zips

GENRES = ("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy")
RATINGS = [(u, i, 1 + (u * i) % 5, 880_000_000 + 97 * u + i) for u in range(1, 9) for i in range(1, 7) if (u + i) % 3]
SPLITS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
TITLES = ["Čas of Clay (1995)", "Déjà (2) (1986) ", "unknown", "Tin: The Plot (1971)", "Two (1996) (V)", "Paper Boat (2001)"]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def zipped(name: str, members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for member, content in {"": b"", **members}.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{member}", (2003, 2, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return raw.getvalue()


def lines(rows: list[tuple[Any, ...]], separator: str, encoding: str = "latin-1") -> bytes:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode(encoding)


def members_100k() -> dict[str, bytes]:
    titles = [t.replace("Č", "C") for t in TITLES]
    flags = ["0|0|1|0|1|0", "0|1|0|0|0|0", "1|0|0|0|0|0", "0|0|0|0|0|1", "0|0|0|0|0|1", "0|0|0|1|0|1"]
    dates = ["01-Jan-1995", "14-Feb-1986", "", "4-Feb-1971", "30-Dec-1996", "02-Mar-2001"]
    urls = [f"http://us.imdb.com/M/title-exact?{i}" if i % 5 else "" for i in range(1, 7)]
    people = [(u, 20 + u, "FM"[u % 2], "writer" if u < 5 else "none", f"0{u}234" if u % 2 else "V5A2B") for u in range(1, 9)]
    members = {
        "README": b"This data set consists of:\n\t* %d ratings (1-5) from 8 users on 6 movies. \n" % len(RATINGS),
        "u.data": lines(RATINGS[::-1], "\t"),
        "u.genre": "".join(f"{g}|{code}\n" for code, g in enumerate(GENRES)).encode() + b"\n",
        "u.item": lines([(i + 1, titles[i], dates[i], "", urls[i], flags[i]) for i in range(6)], "|"),
        "u.user": lines(people, "|"),
    }
    for n, split in enumerate(SPLITS):
        test = RATINGS[n * 4 : n * 4 + 4]
        members |= {f"{split}.base": lines([r for r in RATINGS if r not in test], "\t"), f"{split}.test": lines(test, "\t")}
    return members


def members_1m() -> dict[str, bytes]:
    people = [(u, "FM"[u % 2], (1, 18, 25, 35, 45, 50, 56)[u % 7], (0, 10, 20)[u % 3], f"0{u}234-{u}") for u in range(1, 9)]
    titles = [t.replace("Č", "C").replace("unknown", "Nameless (1990)") for t in TITLES]
    films = [(i + 1, titles[i], "|".join(GENRES[1 + i % 5 :][:2])) for i in range(6)]
    readme = b"These files contain %d anonymous ratings of approximately 3,900 movies \nmade by 8 MovieLens users who\n" % len(RATINGS)
    return {"movies.dat": lines(films, "::"), "ratings.dat": lines(RATINGS, "::"), "README": readme, "users.dat": lines(people, "::")}


def members_csv(name: str = "ml-latest-small", end: str = "\r\n") -> dict[str, bytes]:
    ratings = [(u, i, r / 2, t) for u, i, r, t in RATINGS]
    films = [
        '1,Čas of Clay (1995),Adventure|Children', '2,"Boat, The (2006\N{EN DASH}2007)",(no genres listed)', '3,"11\'09""01 (2002)",Drama',
        "4,Nameless,Drama", "5,Serial (2007-),Comedy|Drama", "6,Five (1) (1999),IMAX",
    ]  # fmt: skip
    tags = [
        "1,1,Slow Burn,1",
        "2,1, slow burn,2",
        "3,1,clay,3",
        "3,1,clay,4",
        '2,3,"odd ""tag"", here",5',
        "4,3,b,6",
        "4,3,a,7",
        "5,4,NULL,8",
    ]
    links = ["1,0114709,862", "2,0113497,", "3,0113228,15602", "4,1234567,5", "5,0000001,6", "6,0000002,7"]
    said = f"This dataset ({name}) describes. It contains {len(ratings)} ratings and {len(tags)} tag applications across 6\nmovies. These data were created by 8 users between"

    def text(header: str, rows: list[str]) -> bytes:
        return "".join(row + end for row in [header, *rows]).encode()

    return {
        "links.csv": text("movieId,imdbId,tmdbId", links),
        "movies.csv": text("movieId,title,genres", films),
        "ratings.csv": text("userId,movieId,rating,timestamp", [",".join(map(str, r)) for r in ratings]),
        "tags.csv": text("userId,movieId,tag,timestamp", tags),
        "README.txt": said.encode(),
        "genome-scores.csv": b"not read",
    }


def good(name: str) -> bytes:
    """A zip that converts, of any of the five data sets."""
    made = {"ml-100k": members_100k, "ml-1m": members_1m}.get(name)
    return zipped(name, made() if made else members_csv(name))
