"""Pure functions of arrays; numpy, scipy and numba only."""
