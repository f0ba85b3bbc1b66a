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
REMEDY = "restore it from a backup or fit again"


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
    """Write the manifest of a folder whose other files are complete; it seals them, the manifests of the rungs, and itself."""
    page: dict[str, Json] = {"schema": SCHEMA, "library": version("recvec"), **content}
    sealed = sorted([*(p for p in folder.iterdir() if p.is_file()), *folder.glob(f"rungs/*/{NAME}")])
    page["files"] = {p.relative_to(folder).as_posix(): file_hash(p) for p in sealed}
    page["sha256"] = _seal(page)
    (folder / NAME).write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """Read and verify a manifest and the files it seals.

    Raises
    ------
    ArtifactError
        Where anything is missing, added, changed, or from a newer version.
    """
    try:
        if not folder.is_dir():
            raise ArtifactError(f"{folder} is not a folder with a saved model; give the folder that 'recvec fit --out' made")
        page: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        schema = int(page["schema"])
        intact = page.pop("sha256", None) == _seal(page)
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder} holds no {NAME}; it is not a saved model, or its writing was interrupted") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ArtifactError(f"{folder / NAME} is damaged ({type(error).__name__}); {REMEDY}") from error
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read: {error.strerror}; check the path and its rights") from error
    if schema > SCHEMA:
        raise ArtifactError(
            f"{folder} was written by recvec {page.get('library')} in format {schema}; this version reads up to {SCHEMA}; upgrade recvec"
        )
    if not intact or schema < 1:
        raise ArtifactError(f"{folder / NAME} was edited or damaged; {REMEDY}")
    _check_files(folder, page)
    return page


def _check_files(folder: Path, page: Mapping[str, Any]) -> None:
    sealed = dict(page.get("files", {}))
    for name, expected in sealed.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; {REMEDY}")
        if file_hash(path) != expected:
            raise ArtifactError(f"{path} was edited or damaged; {REMEDY}")
    added = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".parquet") and p.name not in sealed)
    if added:
        raise ArtifactError(f"{added[0]} is not listed in {NAME}: it was added later; remove it, or restore the folder from a backup")


def check_arrays(arrays: Mapping[str, Array], page: Mapping[str, Any], folder: Path) -> None:
    """Refuse arrays that are not those of the manifest by name, dtype and shape; their bytes are sealed with the file.

    Raises
    ------
    ArtifactError
        Names the arrays.
    """
    found = {name: (str(a.dtype), list(a.shape)) for name, a in arrays.items()}
    expected = {name: (known["dtype"], known["shape"]) for name, known in page["arrays"].items()}
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        raise ArtifactError(f"{folder} has other arrays than its {NAME} says: {', '.join(wrong)}; {REMEDY}")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
