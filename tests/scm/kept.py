"""Models to be kept, and how their files are taken apart and put together again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalkit.errors import ModelFormatError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.learners import LEARNERS
from causalkit.scm.model import FittedSCM
from causalkit.scm.storage import load
from tests.truth import Service

ROWS = 400
CHAIN = nx.DiGraph([("x", "y"), ("y", "z"), ("x", "z")])
RNG = np.random.default_rng(0)
X, E, F = RNG.uniform(-2, 2, ROWS), RNG.normal(size=ROWS), RNG.normal(size=ROWS)


def fit_quietly(traces: pd.DataFrame, graph: nx.DiGraph = CHAIN, /, **settings: Any) -> FittedSCM:
    quiet = {"random_seed": 3, "on_failure": "return", **settings}
    return SCMFitter(**quiet).fit(graph, traces).trust()


def chain(y: Any, z: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"x": X, "y": y, "z": y - X + 0.3 * F if z is None else z})


def _with_learner(rung: str) -> FittedSCM:
    scm = fit_quietly(chain(np.sin(3 * X) + 0.2 * E))
    columns = scm.table[["x", "y"]].to_numpy()
    learner = LEARNERS[rung](0, len(columns)).fit(columns, scm.table["z"].to_numpy())
    mechanism = replace(scm.mechanisms["z"], learner=learner, residuals=0.1 * F)
    return replace(scm, mechanisms={**scm.mechanisms, "z": mechanism})


def _labels(labels: list[Any], quality: str = "GOOD") -> FittedSCM:
    shown = np.array(labels, dtype=object)[np.digitize(X + E, np.linspace(-1, 1, len(labels) - 1))]
    mode = pd.Series(shown).astype("category") if quality == "BETTER" else shown
    return fit_quietly(chain(mode, 2 * X + (shown == labels[0]) + 0.3 * F), quality=quality)


def _labels_boosted() -> FittedSCM:
    from causalkit.scm.labelling import _boosting

    scm = _labels(["deep", "fast", "off"])
    learner = _boosting(0).fit(scm.table[["x"]].to_numpy(), scm.table["y"].to_numpy().astype(int))
    mechanism = scm.mechanisms["y"]
    boosted = replace(mechanism, learner=learner, coefficients=np.zeros_like(mechanism.coefficients))
    return replace(scm, mechanisms={**scm.mechanisms, "y": boosted})


def _missing() -> FittedSCM:
    traces = chain(2 * X + E)
    traces.loc[X > 1, "y"] = np.nan
    return fit_quietly(traces, missing="model")


def _clustered() -> FittedSCM:
    return fit_quietly(Service().table(np.random.default_rng(0)), Service().graph, groups="question")


def _static() -> FittedSCM:
    code = {"y": "def y(x): return 3*x + x**2", "z": "def z(x, y): return max(x, y) if x > 0 else y / 2"}
    return SCMFitter(random_seed=3).fit_static(CHAIN, code).trust()


def _attributes() -> FittedSCM:
    graph = nx.DiGraph(name="chain", size=(1, 2))
    graph.add_node("z", pos=(0.1, -0.0), note={"a": [1, None, True, "\u00e9\ud800"]})
    graph.add_node("x", distribution="uniform")
    graph.add_edges_from(CHAIN.edges, weight=0.1 + 0.2)
    return fit_quietly(chain(2 * X + E).set_index(pd.Index([f"run {i}" for i in range(ROWS)], name="id")), graph)


MODELS: dict[str, Callable[[], FittedSCM]] = {
    "linear": lambda: fit_quietly(chain(2 * X + E)),
    "polynomial": lambda: fit_quietly(chain(X**2 + 0.3 * E), quality="GOOD"),
    "spline": lambda: fit_quietly(chain(np.sin(3 * X) + 0.2 * E), quality="BETTER"),
    "log": lambda: fit_quietly(chain(np.exp(X + 0.5 * E))),
    "boosting": lambda: _with_learner("boosting"),
    "forest": lambda: _with_learner("forest"),
    "kernel": lambda: _with_learner("kernel"),
    "two labels": lambda: _labels(["no", "yes"]),
    "categories, boosted": lambda: _labels(["a", "b", "c"], "BETTER"),
    "labels, boosted": _labels_boosted,
    "truth values": lambda: fit_quietly(chain(X + E > 0, 2 * X + 0.3 * F)),
    "missing values": _missing,
    "derived, grouped": _clustered,
    "static": _static,
    "attributes": _attributes,
}


def same(first: Any, second: Any) -> None:
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def same_answers(loaded: FittedSCM, scm: FittedSCM) -> None:
    outcome, cause = scm.order[-1], scm.order[0]
    value = scm.levels.get(cause, (0.5,))[0]
    same(loaded.table, scm.table)
    same(loaded.sample(300), scm.sample(300))
    first, second = (model.intervene({cause: value}, 50) for model in (loaded, scm))
    same(first.statistics, second.statistics)
    same(first.samples, second.samples)
    if outcome not in scm.levels:
        assert repr(loaded.effect(cause, outcome)) == repr(scm.effect(cause, outcome))
    rows = scm.sample(20, random_seed=9)
    if not scm.observed and scm.groups is None:
        same(
            loaded.counterfactual(rows, {cause: value}).to_frame(), scm.counterfactual(rows, {cause: value}).to_frame()
        )
        same(loaded.root_causes(rows, outcome).frame, scm.root_causes(rows, outcome).frame)


def unpack(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: dict[str, bytes], path: Path, comment: bytes | None = None) -> Path:
    """Write members with checksums that agree: what someone would do who means harm."""
    model = json.loads(members["model.json"])
    model["members"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != "model.json"
    }
    members = {**members, "model.json": json.dumps(model).encode()}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        own = f"causalkit.scm {hashlib.sha256(members['model.json']).hexdigest()}".encode()
        archive.comment = own if comment is None else comment
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    members = unpack(path)
    model = json.loads(members["model.json"])
    change(model)
    return pack({**members, "model.json": json.dumps(model).encode()}, path)


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelFormatError, match=match) as caught:
        load(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
