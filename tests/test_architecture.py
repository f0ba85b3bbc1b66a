"""The import rule, the size limits and the light import, enforced on every file of the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "recvec"
LAYERS = {
    "errors": 0, "types": 0, "data": 1, "kernels": 1, "contract": 2, "nn": 2.5, "encoders": 3, "models": 4, "retrieval": 4,
    "evaluation": 4, "artifact": 5, "study": 5, "serving": 6, "scale": 6, "cli": 7, "recvec": 8,
}  # fmt: skip
EXCEPTIONS = {("recvec.retrieval.recommender", "recvec.models.popularity")}  # docs/decisions/0003
TORCH_ROOMS = ("nn", "models", "encoders.autoencoder")
OPTIONAL = {"torch", "gensim", "sklearn", "faiss", "optuna", "plotly"}
LAZY = {"recvec", "recvec.models.registry"}  # the two tables that import by name


def module_name(path: Path, root: Path = SOURCE) -> str:
    parts = ("recvec", *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "recvec"


def imports(tree: ast.Module, module: str, *, package: bool) -> list[tuple[str, ast.AST]]:
    """Return every import as an absolute name, relative ones and those inside functions included."""
    found: list[tuple[str, ast.AST]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".") if package else module.split(".")[:-1]
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            found.append((base, node))
            found += [(f"{base}.{alias.name}", node) for alias in node.names if base == "recvec" or base in {f"recvec.{r}" for r in LAYERS}]
    return found


def inside_functions(tree: ast.Module) -> set[int]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    return {id(n) for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)}


def needs_torch(module: str) -> bool:
    """Whether a module of ours needs the extra torch, so that it is imported only where it is used: docs/decisions/0027."""
    return module.startswith("recvec.nn") or any(part.endswith("_network") for part in module.split("."))


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """Return what a file does against the rule, one line each."""
    tree = ast.parse(source)
    hidden = inside_functions(tree)
    found = []
    for name, node in imports(tree, module, package=package):
        line = f"{module}:{node.lineno} imports {name}"
        if id(node) in hidden and name.split(".")[0] not in OPTIONAL and not needs_torch(name):
            found.append(f"{line} inside a function")
        if name.split(".")[0] == "torch" and not any(module.startswith(f"recvec.{r}") for r in TORCH_ROOMS):
            found.append(f"{line}, which only nn, models and encoders.autoencoder may")
        if name.split(".")[0] != "recvec" or (module, name) in EXCEPTIONS:
            continue
        own, other = room(module), room(name)
        public = name == "recvec" or (other == "recvec" and own == "cli")  # the lazy table of public names
        if own in {"recvec", other} or (own == "cli" and public):
            continue
        if LAYERS[other] >= LAYERS[own]:
            found.append(f"{line}, which is not below {own}")
    return found


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    assert violations(path.read_text(), module_name(path), package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from recvec.models import als", "recvec.kernels.topk", "recvec.kernels.topk:1 imports recvec.models, which is not below kernels"),
        ("from ..models.als import ALS", "recvec.data.dataset", "recvec.data.dataset:1 imports recvec.models.als, which is not below data"),
        ("from .. import models", "recvec.data.dataset", "recvec.data.dataset:1 imports recvec.models, which is not below data"),
        ("from . import als\nfrom ..retrieval import exact", "recvec.models.svd", "recvec.models.svd:2 imports recvec.retrieval, which is not below models"),
        ("def f():\n    from recvec.cli import main", "recvec.artifact.store", "recvec.artifact.store:2 imports recvec.cli inside a function"),
        ("def f():\n    import numpy", "recvec.models.als", "recvec.models.als:2 imports numpy inside a function"),
        ("import torch", "recvec.kernels.topk", "recvec.kernels.topk:1 imports torch, which only nn, models and encoders.autoencoder may"),
        ("if TYPE_CHECKING:\n    from recvec.cli.main import app", "recvec.data.readers", "recvec.data.readers:2 imports recvec.cli.main, which is not below data"),
        ("import recvec", "recvec.models.als", "recvec.models.als:1 imports recvec, which is not below models"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_named(source: str, module: str, expected: str) -> None:
    assert expected in violations(source, module)


def test_what_is_allowed_is_not_named() -> None:
    allowed = "import numpy\nfrom recvec.kernels.topk import top_k\nfrom recvec.models import registry\ndef f():\n    import faiss\n"
    assert violations(allowed, "recvec.models.als") == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False)
            size = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert size < 40, f"{path.name}:{node.lineno} {node.name} has {size} lines"


def test_no_room_is_called_after_nothing() -> None:
    assert [p for p in SOURCE.rglob("*") if p.stem in {"utils", "helpers", "common", "misc"}] == []


def test_import_is_light() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import recvec; s = time.perf_counter() - t; "
        "heavy = [m for m in ('torch', 'pandas', 'numba') if m in sys.modules]; print(s, heavy)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(maxsplit=1)
    assert float(out[0]) < 0.3
    assert out[1].strip() == "[]"


def test_recipes_and_dot_models_do_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from recvec.models import registry; "
        "print(all(registry.method_class(name)().name == name for name in registry.names()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_public_names_are_those_listed() -> None:
    import recvec

    assert sorted(recvec.__all__) == sorted(recvec._WHERE)
    assert all(hasattr(recvec, name) for name in recvec.__all__)
    assert set(recvec.__all__) | {"__version__"} == set(dir(recvec))
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = recvec.NoSuchName


def test_importing_everything_leaves_no_trace(tmp_path: Path) -> None:
    modules = ", ".join(module_name(p) for p in FILES)
    code = (
        "import os, random, numba, polars, rich.progress, safetensors.numpy, scipy.linalg, sklearn, threadpoolctl, typer; "  # their own affair
        "import numpy as np; before = (random.getstate(), np.random.get_state()[1].sum(), dict(os.environ)); "
        f"import {modules}; after = (random.getstate(), np.random.get_state()[1].sum(), dict(os.environ)); print(before == after)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout == "True\n"
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []
