"""Where the research data are, and what their absence means."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

import recvec as rv

settings.register_profile("repeatable", deadline=None, derandomize=True)  # a slow machine is no counterexample
settings.load_profile("repeatable")

DATA = Path(os.environ.get("RECVEC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares fixtures in one worker: the tests of a file, and those of the battery that are of one method."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        label = getattr(parameters.get("case"), "label", "")
        item.add_marker(pytest.mark.xdist_group(f"{item.path}-{label}"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the research data sets: in CI their absence is a failure, elsewhere a skip with a reason."""
    if not DATA.is_dir():
        reason = "the research data sets are not here; name their folder by RECVEC_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return DATA


@pytest.fixture(scope="session")
def sample() -> rv.Dataset:
    """The built-in sample."""
    return rv.sample(seed=0)


@pytest.fixture(scope="session")
def sample_split(sample: rv.Dataset) -> rv.Split:
    """The built-in sample, latest interaction of each user held out."""
    return rv.split(sample, "leave-last-out", seed=0)
