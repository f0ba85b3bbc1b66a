"""Factorization machines as scikit-learn estimators: for arrays, sparse matrices, pandas and polars dataframes.

>>> import polars as pl
>>> from recvec.sklearn import FMRegressor
>>> rows = pl.DataFrame({"user": ["ann", "ann", "bob", "bob"], "film": ["Alien", "Brazil", "Alien", "Brazil"]})
>>> FMRegressor(reg_linear=0.01, random_state=0).fit(rows, [5.0, 1.0, 5.0, 1.0]).predict(rows).round().tolist()
[5.0, 1.0, 5.0, 1.0]
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("recvec.sklearn needs scikit-learn; install it with: pip install 'recvec[sklearn]'") from error

from recvec.sklearn.estimators import FMClassifier, FMRegressor

__all__ = ["FMClassifier", "FMRegressor"]
