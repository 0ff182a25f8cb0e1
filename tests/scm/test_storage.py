"""A model comes back from its file as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from causalkit.errors import CausalkitError
from causalkit.scm.formulas import FormulaOfParents
from causalkit.scm.model import FittedSCM
from causalkit.scm.storage import load, save
from tests.scm.kept import (
    MODELS,
    ROWS,
    fit_quietly,
    same,
    same_answers,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # More threads than free cores make histogram boosting twenty times slower.
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def models() -> dict[str, FittedSCM]:
    return {}


@pytest.fixture(params=MODELS)
def scm(request: pytest.FixtureRequest, models: dict[str, FittedSCM]) -> FittedSCM:
    name: str = request.param
    if name not in models:
        models[name] = MODELS[name]()
    return models[name]


def test_the_same_seed_gives_the_same_numbers_after_loading(scm: FittedSCM, tmp_path: Path) -> None:
    scm.save(tmp_path / "model.scm")
    loaded = FittedSCM.load(tmp_path / "model.scm")
    same_answers(loaded, scm)
    for node, fits in scm.fits.items():
        np.testing.assert_array_equal(loaded.fits[node], fits)


def test_everything_that_is_not_a_number_comes_back_too(scm: FittedSCM, tmp_path: Path) -> None:
    scm.save(tmp_path / "model.scm")
    loaded = FittedSCM.load(tmp_path / "model.scm")
    assert list(loaded.graph.nodes(data=True)) == list(scm.graph.nodes(data=True))
    assert list(loaded.graph.edges(data=True)) == list(scm.graph.edges(data=True))
    assert loaded.graph.graph == scm.graph.graph
    for name in ("derived", "groups", "caveats", "random_seed", "levels", "settings", "trusted"):
        assert getattr(loaded, name) == getattr(scm, name), name
    assert loaded.to_dict() == scm.to_dict()
    same(loaded.report.to_frame(), scm.report.to_frame())
    same(loaded.report.ladder(), scm.report.ladder())
    assert repr(loaded.report) == repr(scm.report)
    assert loaded.report.caveats == scm.report.caveats


def test_the_rungs_that_are_meant_are_the_ones_that_were_saved(models: dict[str, FittedSCM]) -> None:
    for name in MODELS:
        models.setdefault(name, MODELS[name]())
    mechanisms = {name: model.mechanisms[next(iter(model.mechanisms))] for name, model in models.items()}
    assert mechanisms["linear"].rung == "linear"
    assert mechanisms["polynomial"].rung == "polynomial"
    assert mechanisms["spline"].terms.knots
    assert mechanisms["log"].log
    assert isinstance(models["static"].mechanisms["z"].learner, FormulaOfParents)
    assert models["missing values"].observed
    assert models["derived, grouped"].derived


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        (pd.RangeIndex(5, 5 + 3 * ROWS, 3), True),
        (pd.Index(np.arange(ROWS)[::-1] * 7), True),
        (pd.Index([f"run {place}" for place in range(ROWS)]), True),
        (pd.date_range("2026-01-01", periods=ROWS), False),
        (pd.Index([None, *range(1, ROWS)], dtype=object), False),
    ],
    ids=["range", "whole numbers", "text", "dates", "mixed"],
)
def test_rows_keep_their_names_where_those_are_whole_numbers_or_text(
    index: pd.Index, kept: bool, linear: FittedSCM, tmp_path: Path
) -> None:
    save(replace(linear, table=linear.table.set_axis(index)), tmp_path / "model.scm")
    expected = index if kept else pd.RangeIndex(ROWS)
    assert load(tmp_path / "model.scm").table.index.equals(expected)


def test_a_small_model_is_a_small_file_and_the_same_model_the_same_file(linear: FittedSCM, tmp_path: Path) -> None:
    x, y, z = np.random.default_rng(0).normal(size=(3, 1000))
    save(fit_quietly(pd.DataFrame({"x": x, "y": x + y, "z": x + y + z})), tmp_path / "model.scm")
    assert (tmp_path / "model.scm").stat().st_size < 60_000
    save(linear, tmp_path / "first.scm")
    save(load(tmp_path / "first.scm"), tmp_path / "second.scm")
    assert (tmp_path / "first.scm").read_bytes() == (tmp_path / "second.scm").read_bytes()


def test_what_json_cannot_hold_is_refused_by_node_and_attribute(linear: FittedSCM, tmp_path: Path) -> None:
    graph = linear.graph.copy()
    graph.nodes["y"]["made_by"] = {"who": object()}
    with pytest.raises(CausalkitError, match="attribute 'made_by' of node 'y' is a object") as caught:
        save(replace(linear, graph=graph), tmp_path / "model.scm")
    assert (caught.value.node, caught.value.attribute) == ("y", "made_by")
    assert list(tmp_path.iterdir()) == []


def test_an_attribute_that_is_not_named_with_text_is_refused(linear: FittedSCM, tmp_path: Path) -> None:
    graph = linear.graph.copy()
    graph.edges["x", "y"][7] = 1
    with pytest.raises(CausalkitError, match="attribute 7 of edge 'x' -> 'y' is not named with text"):
        save(replace(linear, graph=graph), tmp_path / "model.scm")


def test_a_learner_that_would_not_be_loaded_is_not_saved(linear: FittedSCM, tmp_path: Path) -> None:
    learner = LinearRegression().fit(linear.table[["x"]].to_numpy(), linear.table["y"].to_numpy())
    foreign = replace(linear, mechanisms={**linear.mechanisms, "y": replace(linear.mechanisms["y"], learner=learner)})
    with pytest.raises(CausalkitError, match="LinearRegression of 'y' cannot be saved"):
        save(foreign, tmp_path / "model.scm")


# Writing


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace", "writestr"])
def test_what_breaks_off_leaves_the_old_file_and_nothing_else(
    step: str, error: BaseException, linear: FittedSCM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.scm"
    save(linear, path)
    before = path.read_bytes()

    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr({"fsync": os, "replace": Path, "writestr": ZipFile}[step], step, broken)
    with pytest.raises(type(error)):
        save(replace(linear, random_seed=8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(linear: FittedSCM, tmp_path: Path) -> None:
    (tmp_path / "link.scm").symlink_to(tmp_path / "model.scm")
    save(linear, tmp_path / "link.scm")
    assert (tmp_path / "link.scm").is_symlink()
    assert load(tmp_path / "model.scm").random_seed == linear.random_seed


def test_a_folder_that_is_not_there_is_an_os_error(linear: FittedSCM, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save(linear, tmp_path / "absent" / "model.scm")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "model.scm")


def test_a_folder_is_no_file_to_write_to(linear: FittedSCM, tmp_path: Path) -> None:
    with pytest.raises(CausalkitError, match="is a folder; name a file in it"):
        save(linear, tmp_path)
    assert list(tmp_path.iterdir()) == []
