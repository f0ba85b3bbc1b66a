"""scikit-learn's own checks of estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from recvec.sklearn import FMClassifier, FMRegressor


@parametrize_with_checks(
    [
        FMRegressor(),
        FMClassifier(),
        FMRegressor(solver="als"),
        FMRegressor(solver="gibbs"),
        FMClassifier(solver="gibbs", n_iterations=50, n_kept=30),
    ]
)
def test_scikit_learn_is_content(estimator, check):
    check(estimator)
