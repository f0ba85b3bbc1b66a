"""Where torch computes, and how its threads and random numbers are held to one fit."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from recvec.contract import Runtime, available_cores
from recvec.errors import ResourceError


@contextmanager
def computing(runtime: Runtime) -> Iterator[torch.device]:
    """Give torch the threads of the runtime while a fit lasts, and return its device.

    Raises
    ------
    ResourceError
        Where this machine does not have the device.
    """
    device, before = chosen(runtime.device), torch.get_num_threads()
    torch.set_num_threads(runtime.threads or available_cores())
    try:
        yield device
    finally:
        torch.set_num_threads(before)


def chosen(name: str) -> torch.device:
    """Return the device of that name, ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    ResourceError
        Where this machine does not have it.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[name]:
        able = ", ".join(device for device, usable in there.items() if usable)
        raise ResourceError(f"device is '{name}', which torch does not find here; allowed: {able}; use another device, or fit on the cpu")
    return torch.device(name)


def generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    """Return torch's random numbers, seeded by one draw of `rng`; torch's global ones stay as they are."""
    return torch.Generator(device).manual_seed(int(rng.integers(1 << 62)))
