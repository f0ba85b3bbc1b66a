"""One file over HTTP: resumed where it stopped, tried again where the connection breaks, and every failure one line.

A partial file has a note beside it: its address, and the validator (a strong ETag, else Last-Modified) that the server
gave. The rest is asked for with Range and If-Range, so a server that has another file by now sends it whole and the
download starts again. Without a validator nothing is resumed.
"""

import hashlib
import http.client
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from recvec.data.vocabulary import shown
from recvec.errors import ReadError

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes that are there and, where the server says it, how many there will be."""

Result = TypeVar("Result")

_PIECE = 1 << 18
_GAIN = 1 << 20  # new bytes after which a server is trusted afresh: a long download may break often, but not stand still
_LONGEST_TEXT = 1 << 16
_AGAIN = (408, 429, 500, 502, 503, 504)  # answers that may be different a moment later


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a server.

    Parameters
    ----------
    timeout : float
        Seconds to wait for a connection, and for the next bytes.
    pauses : tuple of float
        Seconds before each further try; as many tries as there are pauses.
    sleep : callable
        What waits.
    """

    timeout: float = 30.0
    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    sleep: Callable[[float], None] = time.sleep


class _Trouble(Exception):  # noqa: N818  it is caught here, and becomes a ReadError
    """What went wrong with one try, and whether another one may help."""

    def __init__(self, said: str, *, again: bool) -> None:
        super().__init__(said)
        self.again = again


class Link:
    """A server, how patient one is with it, and what a person can do without it.

    Parameters
    ----------
    patience : Patience
        Waiting and trying again.
    remedy : str
        The end of every message.
    """

    def __init__(self, patience: Patience, remedy: str) -> None:
        self.patience = patience
        self.remedy = remedy
        self._opener = urllib.request.build_opener()  # with the proxies that the environment names now
        self._heard = False  # until the server has answered once, trouble means that one is offline

    def text(self, url: str) -> str:
        """Return a short file as text.

        Raises
        ------
        ReadError
            Where it cannot be had, or is not short.
        """

        def once() -> str:
            raw = b""
            with self._open(url, {}) as answer:
                while len(raw) < _LONGEST_TEXT and (piece := self._read(answer)):
                    raw += piece
            return raw.decode("utf-8", "replace")

        return self._insist(url, once, lambda: 0)

    def file(self, url: str, place: Path, on_bytes: OnBytes | None = None) -> None:
        """Download a file, or the rest of one that is partly there.

        Parameters
        ----------
        url : str
            Address.
        place : Path
            Where the bytes go; the note is beside it, with ``.json`` at the end of the name.
        on_bytes : callable, optional
            Told of every piece.

        Raises
        ------
        ReadError
            Where it cannot be had; what has come so far stays for the next call.
        OSError
            Where it cannot be written.
        """
        tell = on_bytes or (lambda _done, _total: None)
        self._insist(url, lambda: self._once(url, place, tell), lambda: resumable(place))

    def _insist(self, url: str, once: Callable[[], Result], kept: Callable[[], int]) -> Result:
        """Try until it works, or until all pauses have passed without a new mebibyte."""
        tried, most = 0, kept()
        while True:
            try:
                return once()
            except _Trouble as trouble:
                if kept() >= most + _GAIN:
                    tried, most = 0, kept()
                if not trouble.again or tried == len(self.patience.pauses):
                    said = f"; {kept():,} bytes are kept, and the same call goes on from there" if kept() else ""
                    raise ReadError(f"{url} {trouble}{said}; {self.remedy}") from trouble
                self.patience.sleep(self.patience.pauses[tried])
                tried += 1

    def _once(self, url: str, place: Path, tell: OnBytes) -> None:
        have, source, mark = _kept(place)
        have = have if source == url else 0
        asked = {"Range": f"bytes={have}-", "If-Range": mark} if have else {}
        with self._open(url, asked) as answer:
            if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and _range(answer) == (None, have):
                tell(have, have)
                return
            start, total = _begin(answer, have, mark)
            if start is None:
                place.unlink(missing_ok=True)
                raise _Trouble("sends another part than it was asked for", again=True)
            with place.open("r+b" if start else "wb") as file:
                file.seek(start)
                if not start:
                    _write_note(place, url, answer)
                while piece := self._read(answer):
                    file.write(piece)
                    file.flush()  # what is told is on the disk, whatever becomes of this process
                    start += len(piece)
                    tell(start, total)
        if total is not None and start < total:
            raise _Trouble(f"broke off after {start:,} of {total:,} bytes", again=True)

    def _open(self, url: str, headers: Mapping[str, str]) -> Any:
        agent = {"User-Agent": f"recvec/{version('recvec')}", "Accept-Encoding": "identity"}
        try:
            request = urllib.request.Request(url, headers=agent | dict(headers))  # noqa: S310  the caller allows http and https alone
            answer = self._opener.open(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
                self._heard = True
                return error
            error.close()
            raise _Trouble(f"answers {error.code} {' '.join(error.reason.split())}", again=error.code in _AGAIN) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._trouble(error) from error
        self._heard = True
        return answer

    def _read(self, answer: Any) -> bytes:
        """Return what is there, so that nothing that has come is lost when the rest does not."""
        try:
            return bytes(answer.read1(_PIECE))
        except (OSError, http.client.HTTPException) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> _Trouble:
        """Say it in plain words. What broke may work again; what never worked in this call, or is refused, will not."""
        reason = getattr(error, "reason", None)
        cause = reason if isinstance(reason, Exception) else error
        broke = isinstance(cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError | http.client.IncompleteRead)
        match cause:
            case ssl.SSLCertVerificationError():
                return _Trouble(f"has a certificate that is not accepted: {cause.verify_message}", again=False)
            case http.client.InvalidURL() | UnicodeError():
                return _Trouble(f"is not an address: {cause}", again=False)
            case socket.gaierror():
                said = "cannot be reached: its name is not found"
            case TimeoutError():
                said = f"does not answer within {self.patience.timeout:g} s"
            case _ if broke:
                said = "broke off the connection"
            case _:
                said = f"cannot be reached: {(getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__).splitlines()[0]}"
        return _Trouble(said, again=self._heard or broke)


def resumable(place: Path) -> int:
    """Return how many bytes of a partial file can be built on, 0 where that is not known."""
    return _kept(place)[0]


def _note(place: Path) -> Path:
    return place.with_name(place.name + ".json")


def _kept(place: Path) -> tuple[int, str, str]:
    """Return how many bytes are there, their address and their validator."""
    try:
        note = json.loads(_note(place).read_text(encoding="utf-8"))
        if isinstance(note["url"], str) and isinstance(note["validator"], str):
            return place.stat().st_size, note["url"], note["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, "", ""


def _write_note(place: Path, url: str, answer: Any) -> None:
    _note(place).write_text(json.dumps({"url": url, "validator": _validator(answer)}), encoding="utf-8")


def _validator(answer: Any) -> str | None:
    """Return what If-Range accepts: a weak ETag promises the same meaning, not the same bytes (RFC 9110, 13.1.5)."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _range(answer: Any) -> tuple[int | None, int | None]:
    """Return first byte and total size as Content-Range says them, None for what it leaves open."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if not found:
        return None, None
    return int(found[1]) if found[1] else None, None if found[2] == "*" else int(found[2])


def _begin(answer: Any, have: int, mark: str) -> tuple[int | None, int | None]:
    """Return where this answer begins in the file and the size of the whole; no beginning where the answer does not fit."""
    if answer.status == http.client.OK:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    first, total = _range(answer)
    fits = have and answer.status == http.client.PARTIAL_CONTENT and first == have and _validator(answer) in (None, mark)
    return (have if fits else None), total


# ---------------------------------------------------------------- MD5


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, in hexadecimal: a guard against damage, not against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def published_md5(text: str, name: str, where: str, remedy: str) -> str:
    """Return the MD5 that a ``.md5`` file states for a name.

    Parameters
    ----------
    text : str
        ``MD5 (name) = hex``, ``hex  name``, or ``hex`` alone; one line a file.
    name : str
        Of which of them, where there are several.
    where, remedy : str
        For the message.

    Raises
    ------
    ReadError
        Where it states none, or several and none for this name.
    """
    lines = [(line, found[0].lower()) for line in text.splitlines() if len(found := re.findall(r"\b[0-9a-fA-F]{32}\b", line)) == 1]
    mine = [digest for line, digest in lines if name in re.split(r"[\s()*=]+", line)]
    stated = mine or ([lines[0][1]] if len(lines) == 1 else [])
    if not stated:
        begins = shown(" ".join(text.split()))
        raise ReadError(f"{where} states no MD5 of {name}, it holds '{begins}'; does the network ask for a login? {remedy}")
    return stated[0]
