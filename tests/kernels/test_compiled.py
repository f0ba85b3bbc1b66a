"""Kernels have the same bits in the process that compiles them and in those that read them from the disk cache."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from recvec.kernels.compiled import compiled, compiled_exactly

KERNELS = Path(__file__).resolve().parents[2] / "src" / "recvec" / "kernels"


def decorated(tree: ast.Module) -> dict[str, tuple[ast.FunctionDef, str]]:
    """Return the kernels of a file by name, each with how it is compiled."""
    return {
        node.name: (node, word.id)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for word in node.decorator_list
        if isinstance(word, ast.Name) and word.id.startswith("compiled")
    }


def called_though_reordered(sources: dict[str, str]) -> list[str]:
    """Return the calls between kernels that may reach copies of different bits, by file, one line each."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    kernels = {name: decorated(tree) for name, tree in trees.items()}
    found = []
    for name, tree in trees.items():
        known = {kernel: (name, kernel) for kernel in kernels[name]}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recvec.kernels."):
                home = str(node.module).rpartition(".")[2]
                known |= {a.asname or a.name: (home, a.name) for a in node.names if a.name in kernels.get(home, {})}
        for caller, (body, _) in kernels[name].items():
            names = {node.func.id for node in ast.walk(body) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
            for home, kernel in (known[called] for called in sorted(names & known.keys())):
                if kernels[home][kernel][1] == "compiled":
                    found.append(f"{name}.{caller} calls {home}.{kernel}: let the latter be @compiled_into_callers")
    return found


def test_no_kernel_calls_one_whose_copies_may_differ() -> None:
    assert called_though_reordered({path.stem: path.read_text() for path in KERNELS.glob("*.py")}) == []


def test_a_planted_call_is_named() -> None:
    sources = {
        "one": "@compiled\ndef total(x):\n    return x.sum()\n",
        "two": "from recvec.kernels.one import total\n@compiled_exactly\ndef twice(x):\n    return 2 * total(x)\n",
    }
    assert called_though_reordered(sources) == ["two.twice calls one.total: let the latter be @compiled_into_callers"]


@compiled_exactly
def _one_by_one(numbers):
    total = np.float32(0)
    for number in numbers:
        total += number
    return total


@compiled
def _in_any_order(numbers):
    return _one_by_one(numbers)


def test_an_exact_kernel_is_exact_whoever_has_it_compiled() -> None:
    numbers = np.ones(257, np.float32)
    numbers[0] = 2**24  # and one is 2**24 again, in float32
    assert _in_any_order(numbers) == 2**24


CHAIN = """
import numpy as np
import scipy.sparse as sp
from recvec.contract import Threads
from recvec.kernels.fm_blocks import Block, Relations
from recvec.kernels.fm_gibbs import draw

rng = np.random.default_rng(0)
shared = (rng.random((60, 5)) < 0.5).astype(np.float32)
one = Block(sp.csr_array(np.hstack([np.eye(60, dtype=np.float32), shared])), np.repeat([0, 1], [60, 5]).astype(np.int32))
two = Block(sp.csr_array(np.eye(60, dtype=np.float32)), np.zeros(60, np.int32))
rows = tuple(rng.integers(0, 60, 2000).astype(np.int32) for _ in range(2))
targets = rng.standard_normal(2000).astype(np.float32)
found = draw(Relations((one, two), rows), targets, rank=8, n_iterations=4, n_kept=4, rng=rng, executor=Threads(1))
print(found.noise.tobytes().hex(), found.factors.tobytes().hex())
"""


def test_a_later_process_has_the_same_bits(tmp_path: Path) -> None:
    """The second process reads what the first has compiled."""
    (tmp_path / "learns.py").write_text(CHAIN)
    room = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", "import learns"]
    one, two = (subprocess.run(command, env=room, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert one == two
    assert list((tmp_path / "cache").rglob("*.nbc"))
