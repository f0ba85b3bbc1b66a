"""Products of bfloat16 matrices: several times as fast as those of float32 where the processor has units for them.

Numbers are kept as bits in numpy (uint16, see `kernels.pair_layers`). Sums are of float32, the result is rounded. Torch takes
one thread here, because our own threads call it with blocks of their own.
"""

from functools import cache

import torch
from torch import Tensor

from recvec.kernels.pair_layers import rounded, widened
from recvec.types import U16


def product(left: U16, right: U16, out: U16 | None = None) -> U16:
    """Return the product of (n, k) and (k, m), shape (n, m), in a new array or in `out`."""
    if not _units():
        found = rounded(widened(left) @ widened(right))
        if out is None:
            return found
        out[:] = found
        return out
    torch.get_num_threads()  # a new thread learns here how many torch may take in it; oneDNN alone would take all
    if out is None:
        done: U16 = torch.mm(_tensor(left), _tensor(right)).view(torch.uint16).numpy()
        return done
    torch.mm(_tensor(left), _tensor(right), out=_tensor(out))
    return out


def _tensor(values: U16) -> Tensor:
    return torch.from_numpy(values).view(torch.bfloat16)


@cache
def _units() -> bool:
    """Whether torch has fast products of bfloat16 on this processor; else float32 numbers of the same values are multiplied."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  torch asks itself by this
