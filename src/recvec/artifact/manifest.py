"""The page that says what an artifact is, and by which anything missing or changed is found."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recvec.errors import ArtifactError
from recvec.types import Array, Json

SCHEMA = 1
NAME = "manifest.json"


def describe(arrays: Mapping[str, Array]) -> dict[str, Json]:
    """Return dtype, shape and SHA-256 of each array."""
    return {
        name: {
            "dtype": str(a.dtype),
            "shape": list(a.shape),
            "sha256": hashlib.sha256(a.tobytes() if not a.flags.c_contiguous else a.data).hexdigest(),
        }
        for name, a in arrays.items()
    }


def write(folder: Path, content: Mapping[str, Json]) -> None:
    """Write the manifest of a folder whose other files are complete; it seals them and itself."""
    page: dict[str, Json] = {"schema": SCHEMA, "library": version("recvec"), **content}
    page["files"] = {str(p.relative_to(folder)): file_hash(p) for p in sorted(folder.iterdir()) if p.is_file()}
    page["sha256"] = _seal(page)
    (folder / NAME).write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """Read and verify a manifest and the files it seals.

    Raises
    ------
    ArtifactError
        Where anything is missing, changed, or from a newer version.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder with a saved model; give the folder that 'recvec fit --out' made")
    try:
        page: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        schema = int(page["schema"])
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder} holds no {NAME}; it is not a saved model, or its writing was interrupted") from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArtifactError(f"{folder / NAME} is damaged ({type(error).__name__}); restore it from a backup or fit again") from error
    if schema > SCHEMA:
        raise ArtifactError(
            f"{folder} was written by recvec {page.get('library')} in format {schema}; this version reads up to {SCHEMA}; upgrade recvec"
        )
    if page.pop("sha256", None) != _seal(page):
        raise ArtifactError(f"{folder / NAME} was edited or damaged; restore it from a backup or fit again")
    for name, expected in page["files"].items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; restore it from a backup or fit again")
        if file_hash(path) != expected:
            raise ArtifactError(f"{path} was edited or damaged; restore it from a backup or fit again")
    return page


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
