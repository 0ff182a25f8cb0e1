"""What all tests share: the `--proof` option, the folder of shared data, figures without a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# The same examples on every run and machine; a slow machine is no failed property.
settings.register_profile("causalkit", derandomize=True, deadline=None, database=None)
settings.load_profile("causalkit")

# Not through MPLBACKEND: the notebooks' kernels would inherit it and draw nothing inline.
mpl.use("Agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof", action="store_true", help="run the long proofs in full instead of their fast form")


@pytest.fixture(scope="session")
def proof(pytestconfig: pytest.Config) -> bool:
    """Whether the long proofs run in full."""
    return bool(pytestconfig.getoption("--proof"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of other projects' recordings beside the checkout; too large to carry along."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/data is not beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def _same_start_for_every_test() -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002  # other libraries draw from the global generator
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002
    plt.close("all")
