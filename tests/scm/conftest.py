"""One model to be kept, one with a learner, and their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.ensemble import RandomForestRegressor

from causalkit.scm.model import FittedSCM
from causalkit.scm.storage import save
from tests.scm.kept import MODELS


@pytest.fixture(scope="module")
def linear() -> FittedSCM:
    return MODELS["linear"]()


@pytest.fixture(scope="module")
def forest() -> FittedSCM:
    scm = MODELS["linear"]()
    learner = RandomForestRegressor(3, random_state=0).fit(scm.table[["x"]].to_numpy(), scm.table["y"].to_numpy())
    return replace(scm, mechanisms={**scm.mechanisms, "y": replace(scm.mechanisms["y"], learner=learner)})


@pytest.fixture
def path(linear: FittedSCM, tmp_path: Path) -> Path:
    save(linear, tmp_path / "model.scm")
    return tmp_path / "model.scm"


@pytest.fixture
def forest_path(forest: FittedSCM, tmp_path: Path) -> Path:
    save(forest, tmp_path / "forest.scm")
    return tmp_path / "forest.scm"
