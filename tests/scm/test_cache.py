"""A fit is found again by everything that it depends on, and by nothing else."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import FitError, GraphError, ValidationError
from causalkit.scm import cache, fitter
from causalkit.scm.cache import CacheWarning
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM

ROWS = 200
GRAPH = nx.DiGraph([("x", "y"), ("mode", "y")])


def _traces() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, ROWS))
    mode = np.where(rng.random(ROWS) < 0.5, "fast", "deep")
    return pd.DataFrame(
        {"x": x, "mode": mode, "y": 3 * x + (mode == "deep") + 0.1 * noise, "who": np.arange(ROWS) // 2}
    )


def _fit(folder: Path, traces: pd.DataFrame | None = None, graph: nx.DiGraph = GRAPH, **settings: Any) -> FittedSCM:
    return SCMFitter(**{"random_seed": 0, "cache": folder, **settings}).fit(
        graph, _traces() if traces is None else traces
    )


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each model that was really fitted."""
    made: list[int] = []
    assemble = fitter.assemble
    monkeypatch.setattr(fitter, "assemble", lambda *given: made.append(1) or assemble(*given))
    return made


def test_the_second_fit_is_the_first_one(tmp_path: Path, fits: list[int]) -> None:
    first, second = _fit(tmp_path / "a" / "b"), _fit(tmp_path / "a" / "b")
    assert len(fits) == 1
    pd.testing.assert_frame_equal(first.sample(100), second.sample(100), check_exact=True)
    assert repr(first.effect("x", "y")) == repr(second.effect("x", "y"))
    assert second.settings == first.settings
    assert [path.suffix for path in (tmp_path / "a" / "b").iterdir()] == [".scm"]


def _changed(**columns: Any) -> pd.DataFrame:
    return _traces().assign(**columns)


OTHERS: dict[str, Callable[[Path], FittedSCM]] = {
    "a value": lambda folder: _fit(folder, _changed(x=_traces()["x"].where(_traces().index != 7, 1e-9))),
    "a sign of zero": lambda folder: _fit(folder, _changed(x=_traces()["x"].where(_traces().index != 7, -0.0))),
    "a label": lambda folder: _fit(folder, _changed(mode=_traces()["mode"].where(_traces().index != 7, "off"))),
    "a type": lambda folder: _fit(folder, _changed(mode=_traces()["mode"].astype("category"))),
    "an order of labels": lambda folder: _fit(
        folder, _changed(mode=pd.Categorical(_traces()["mode"], ["fast", "deep"], ordered=True))
    ),
    "a column more": lambda folder: _fit(folder, _changed(extra=1)),
    "a row less": lambda folder: _fit(folder, _traces().head(-1)),
    "names of rows": lambda folder: _fit(folder, _traces().set_index(pd.RangeIndex(1, ROWS + 1))),
    "a seed": lambda folder: _fit(folder, random_seed=1),
    "a threshold": lambda folder: _fit(folder, r2_threshold=0.5),
    "groups": lambda folder: _fit(folder, groups="who"),
    "an edge": lambda folder: _fit(folder, graph=nx.DiGraph([*GRAPH.edges, ("mode", "x")]), on_failure="return"),
    "a role": lambda folder: _fit(folder, graph=_marked()),
    "source": lambda folder: SCMFitter(random_seed=0, cache=folder).fit(
        GRAPH, _traces(), {"y": "def y(x, mode): return open(x)"}
    ),
}


def _marked() -> nx.DiGraph:
    graph = GRAPH.copy()
    graph.nodes["x"]["role"] = "knob"
    return graph


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_changes_a_fit_makes_it_another_one(
    other: Callable[[Path], FittedSCM], tmp_path: Path, fits: list[int]
) -> None:
    _fit(tmp_path)
    other(tmp_path)
    assert len(fits) == 2
    other(tmp_path)
    assert len(fits) == 2


def test_knobs_and_caveats_of_the_table_change_a_fit_and_other_notes_do_not(tmp_path: Path, fits: list[int]) -> None:
    plain, timed, knobs = _traces(), _traces(), _traces()
    timed.attrs = {"took_s": 3.5}
    knobs.attrs = {"knobs": ["x"], "caveats": ["3 rows failed"]}
    _fit(tmp_path, plain)
    _fit(tmp_path, timed)
    assert len(fits) == 1
    assert "3 rows failed" in _fit(tmp_path, knobs).caveats
    assert _fit(tmp_path, knobs).role("x") == "knob"
    assert len(fits) == 2


def test_what_changes_nothing_finds_the_same_fit(tmp_path: Path, fits: list[int]) -> None:
    _fit(tmp_path)
    reordered = nx.DiGraph()
    reordered.add_nodes_from(GRAPH)
    reordered.add_edges_from([("mode", "y"), ("x", "y")])
    _fit(tmp_path, graph=reordered)
    _fit(tmp_path, _changed(who=0))
    _fit(tmp_path, n_jobs=2, progress=False, on_failure="warn")
    assert len(fits) == 1


def test_another_version_of_a_library_makes_another_fit(
    tmp_path: Path, fits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _fit(tmp_path)
    monkeypatch.setattr(cache, "version", lambda name: "99.0")
    _fit(tmp_path)
    assert len(fits) == 2


@pytest.mark.parametrize("damage", [b"", b"not a model", None], ids=["empty", "foreign", "cut"])
def test_a_damaged_entry_is_made_anew(damage: bytes | None, tmp_path: Path, fits: list[int]) -> None:
    _fit(tmp_path)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-200] if damage is None else damage)
    _fit(tmp_path)
    assert len(fits) == 2
    assert FittedSCM.load(entry).random_seed == 0
    _fit(tmp_path)
    assert len(fits) == 2


def test_a_model_that_fails_is_kept_and_refused_each_time(tmp_path: Path, fits: list[int]) -> None:
    noise = _traces().assign(y=np.random.default_rng(1).normal(size=ROWS))
    for _ in range(2):
        with pytest.raises(ValidationError) as caught:
            _fit(tmp_path, noise)
        assert caught.value.scm.settings.on_failure == "raise"
    assert _fit(tmp_path, noise, on_failure="return").settings.on_failure == "return"
    assert len(fits) == 1


def test_errors_are_those_of_the_fit_and_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="no column for node 'y'"):
        _fit(tmp_path, _traces().drop(columns="y"))
    with pytest.raises(FitError, match="a trace table is a pandas DataFrame, not list"):
        _fit(tmp_path, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"is a networkx\.DiGraph"):
        _fit(tmp_path, graph=[("x", "y")])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_before_any_work(tmp_path: Path, fits: list[int]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FitError, match=r"cannot be a cache: .*choose another folder") as caught:
        _fit(tmp_path / "file" / "cache")
    assert caught.value.path == tmp_path / "file" / "cache"
    assert fits == []


def test_a_folder_that_is_read_only_still_gives_what_it_has(
    tmp_path: Path, fits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _fit(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    _fit(tmp_path)
    with pytest.raises(FitError, match="has no fit of this kind and cannot be written to"):
        _fit(tmp_path, random_seed=5)
    assert len(fits) == 1


def test_a_fit_that_cannot_be_kept_is_returned_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = GRAPH.copy()
    graph.nodes["x"]["made_by"] = object()
    with pytest.warns(CacheWarning, match="could not be kept in .*attribute 'made_by' of node 'x'"):
        assert _fit(tmp_path, graph=graph).report.passed
    assert list(tmp_path.iterdir()) == []


def _sample(folder: Path, ready: Any, found: Any) -> None:
    ready.wait(60)
    found.put(_fit(folder, progress=False).sample(20).to_json())


def test_two_processes_may_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_sample, args=(tmp_path, ready, found)) for _ in range(2)]
    for worker in workers:
        worker.start()
    answers = {found.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert len(answers) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".scm"]
