from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from tests.truth import Service


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return Service().table(np.random.default_rng(0))


@pytest.fixture(scope="session")
def scm(table: pd.DataFrame) -> FittedSCM:
    return SCMFitter(groups="question", on_failure="return", random_seed=0).fit(Service().graph, table)


@pytest.fixture(autouse=True)
def _nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a plot function showed its figure")

    monkeypatch.setattr(plt, "show", refuse)
    yield
    plt.close("all")
