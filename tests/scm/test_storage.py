"""A model comes back from its file as it was, and nothing else ever comes out of such a file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from causalkit.errors import CausalkitError, ModelFormatError
from causalkit.scm import storage
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.formulas import FormulaOfParents
from causalkit.scm.learners import LEARNERS
from causalkit.scm.model import FittedSCM
from causalkit.scm.storage import load, save
from tests.truth import Service

ROWS = 400
CHAIN = nx.DiGraph([("x", "y"), ("y", "z"), ("x", "z")])
RNG = np.random.default_rng(0)
X, E, F = RNG.uniform(-2, 2, ROWS), RNG.normal(size=ROWS), RNG.normal(size=ROWS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # More threads than free cores make histogram boosting twenty times slower.
    with threadpool_limits(1):
        yield


def _fit(traces: pd.DataFrame, graph: nx.DiGraph = CHAIN, /, **settings: Any) -> FittedSCM:
    quiet = {"random_seed": 3, "on_failure": "return", **settings}
    return SCMFitter(**quiet).fit(graph, traces).trust()


def _chain(y: Any, z: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"x": X, "y": y, "z": y - X + 0.3 * F if z is None else z})


def _with_learner(rung: str) -> FittedSCM:
    scm = _fit(_chain(np.sin(3 * X) + 0.2 * E))
    columns = scm.table[["x", "y"]].to_numpy()
    learner = LEARNERS[rung](0).fit(columns, scm.table["z"].to_numpy())
    mechanism = replace(scm.mechanisms["z"], learner=learner, residuals=0.1 * F)
    return replace(scm, mechanisms={**scm.mechanisms, "z": mechanism})


def _labels(labels: list[Any], quality: str = "GOOD") -> FittedSCM:
    shown = np.array(labels, dtype=object)[np.digitize(X + E, np.linspace(-1, 1, len(labels) - 1))]
    mode = pd.Series(shown).astype("category") if quality == "BETTER" else shown
    return _fit(_chain(mode, 2 * X + (shown == labels[0]) + 0.3 * F), quality=quality)


def _labels_boosted() -> FittedSCM:
    from causalkit.scm.labelling import _boosting

    scm = _labels(["deep", "fast", "off"])
    learner = _boosting(0).fit(scm.table[["x"]].to_numpy(), scm.table["y"].to_numpy().astype(int))
    mechanism = scm.mechanisms["y"]
    boosted = replace(mechanism, learner=learner, coefficients=np.zeros_like(mechanism.coefficients))
    return replace(scm, mechanisms={**scm.mechanisms, "y": boosted})


def _missing() -> FittedSCM:
    traces = _chain(2 * X + E)
    traces.loc[X > 1, "y"] = np.nan
    return _fit(traces, missing="model")


def _clustered() -> FittedSCM:
    return _fit(Service().table(np.random.default_rng(0)), Service().graph, groups="question")


def _static() -> FittedSCM:
    code = {"y": "def y(x): return 3*x + x**2", "z": "def z(x, y): return max(x, y) if x > 0 else y / 2"}
    return SCMFitter(random_seed=3).fit_static(CHAIN, code).trust()


def _attributes() -> FittedSCM:
    graph = nx.DiGraph(name="chain", size=(1, 2))
    graph.add_node("z", pos=(0.1, -0.0), note={"a": [1, None, True, "\u00e9\ud800"]})
    graph.add_node("x", distribution="uniform")
    graph.add_edges_from(CHAIN.edges, weight=0.1 + 0.2)
    return _fit(_chain(2 * X + E).set_index(pd.Index([f"run {i}" for i in range(ROWS)], name="id")), graph)


MODELS: dict[str, Callable[[], FittedSCM]] = {
    "linear": lambda: _fit(_chain(2 * X + E)),
    "polynomial": lambda: _fit(_chain(X**2 + 0.3 * E), quality="GOOD"),
    "spline": lambda: _fit(_chain(np.sin(3 * X) + 0.2 * E), quality="BETTER"),
    "log": lambda: _fit(_chain(np.exp(X + 0.5 * E))),
    "boosting": lambda: _with_learner("boosting"),
    "forest": lambda: _with_learner("forest"),
    "kernel": lambda: _with_learner("kernel"),
    "two labels": lambda: _labels(["no", "yes"]),
    "categories, boosted": lambda: _labels(["a", "b", "c"], "BETTER"),
    "labels, boosted": _labels_boosted,
    "truth values": lambda: _fit(_chain(X + E > 0, 2 * X + 0.3 * F)),
    "missing values": _missing,
    "derived, grouped": _clustered,
    "static": _static,
    "attributes": _attributes,
}


@pytest.fixture(scope="module")
def models() -> dict[str, FittedSCM]:
    return {}


@pytest.fixture(params=MODELS)
def scm(request: pytest.FixtureRequest, models: dict[str, FittedSCM]) -> FittedSCM:
    name: str = request.param
    if name not in models:
        models[name] = MODELS[name]()
    return models[name]


@pytest.fixture(scope="module")
def linear() -> FittedSCM:
    return MODELS["linear"]()


@pytest.fixture(scope="module")
def forest() -> FittedSCM:
    scm = MODELS["linear"]()
    learner = RandomForestRegressor(3, random_state=0).fit(scm.table[["x"]].to_numpy(), scm.table["y"].to_numpy())
    return replace(scm, mechanisms={**scm.mechanisms, "y": replace(scm.mechanisms["y"], learner=learner)})


def _same(first: Any, second: Any) -> None:
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def _same_answers(loaded: FittedSCM, scm: FittedSCM) -> None:
    outcome, cause = scm.order[-1], scm.order[0]
    value = scm.levels.get(cause, (0.5,))[0]
    _same(loaded.table, scm.table)
    _same(loaded.sample(300), scm.sample(300))
    first, second = (model.intervene({cause: value}, 50) for model in (loaded, scm))
    _same(first.statistics, second.statistics)
    _same(first.samples, second.samples)
    if outcome not in scm.levels:
        assert repr(loaded.effect(cause, outcome)) == repr(scm.effect(cause, outcome))
    rows = scm.sample(20, random_seed=9)
    if not scm.observed and scm.groups is None:
        _same(
            loaded.counterfactual(rows, {cause: value}).to_frame(), scm.counterfactual(rows, {cause: value}).to_frame()
        )
        _same(loaded.root_causes(rows, outcome).frame, scm.root_causes(rows, outcome).frame)


def test_the_same_seed_gives_the_same_numbers_after_loading(scm: FittedSCM, tmp_path: Path) -> None:
    scm.save(tmp_path / "model.scm")
    loaded = FittedSCM.load(tmp_path / "model.scm")
    _same_answers(loaded, scm)
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
    _same(loaded.report.to_frame(), scm.report.to_frame())
    _same(loaded.report.ladder(), scm.report.ladder())
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
    save(_fit(pd.DataFrame({"x": x, "y": x + y, "z": x + y + z})), tmp_path / "model.scm")
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


# Reading what is no model


def _unpack(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(members: dict[str, bytes], path: Path, comment: bytes | None = None) -> Path:
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


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    members = _unpack(path)
    model = json.loads(members["model.json"])
    change(model)
    return _pack({**members, "model.json": json.dumps(model).encode()}, path)


@pytest.fixture
def path(linear: FittedSCM, tmp_path: Path) -> Path:
    save(linear, tmp_path / "model.scm")
    return tmp_path / "model.scm"


@pytest.fixture
def forest_path(forest: FittedSCM, tmp_path: Path) -> Path:
    save(forest, tmp_path / "forest.scm")
    return tmp_path / "forest.scm"


def _refused(path: Path, match: str) -> None:
    with pytest.raises(ModelFormatError, match=match) as caught:
        load(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)


def test_the_helper_that_packs_makes_files_that_load(path: Path, linear: FittedSCM) -> None:
    _same_answers(load(_pack(_unpack(path), path)), linear)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", pickle.dumps([1, 2]), b"\x00" * 5000])
def test_a_foreign_file_is_no_model(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    _refused(path, "is no model, or the end of one is missing")


def test_another_zip_is_no_model(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    _refused(path, "is a zip file but no model")


def test_a_newer_file_asks_for_a_newer_causalkit(path: Path) -> None:
    _edit(path, lambda model: model.update(schema=2, versions={"causalkit": "9.1"}))
    _refused(path, r"written by a newer causalkit \(9.1, schema 2; this one reads up to 1\); update causalkit")


@pytest.mark.parametrize("schema", [0, -1, "1", True, None, 1.0])
def test_a_schema_that_never_was_is_refused(schema: Any, path: Path) -> None:
    _edit(path, lambda model: model.update(schema=schema))
    _refused(path, "unknown kind")


def test_an_altered_member_is_named(path: Path) -> None:
    members = _unpack(path)
    with ZipFile(path) as archive:
        comment = archive.comment
    members["table.npy"] = members["table.npy"][:-1] + b"\x01"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(name, data)
    _refused(path, r"was altered after it was saved \(table.npy\)")


def test_a_member_too_many_is_named(path: Path) -> None:
    with ZipFile(path, "a") as archive:
        archive.writestr("extra.pkl", pickle.dumps(1))
    _refused(path, r"members missing or added \(extra.pkl\)")


def test_what_claims_to_unpack_to_more_than_any_model_is_not_unpacked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_MAX_BYTES", 10_000)
    _refused(path, "claims to unpack to")


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no graph": lambda model: model.pop("graph"),
    "a cycle": lambda model: model["graph"]["edges"].append(["z", "x", {}]),
    "an edge to nowhere": lambda model: model["graph"]["edges"].append(["z", "w", {}]),
    "a node more": lambda model: model["graph"]["nodes"].append(["w", {}]),
    "a number for a node": lambda model: model["graph"]["nodes"].append([7, {}]),
    "a parent less": lambda model: model["mechanisms"][0]["terms"].update(parents=[]),
    "a column less": lambda model: model["table"]["columns"].pop(),
    "an endless index": lambda model: model["table"]["index"].update(range=[0, 10**18, 1]),
    "a term from the end": lambda model: model["mechanisms"][0]["terms"]["factors"].append([-1]),
    "a coefficient less": lambda model: model["mechanisms"][0]["coefficients"].pop(),
    "text for numbers": lambda model: model["mechanisms"][0].update(coefficients="12"),
    "a formula that calls": lambda model: model["mechanisms"][0].update(
        learner={"formula": "__import__('os').system('true')", "names": ["x"]}
    ),
    "a formula without end": lambda model: model["mechanisms"][0].update(
        learner={"formula": "(" * 5000 + "x" + ")" * 5000, "names": ["x"]}
    ),
    "an unknown setting": lambda model: model["settings"].update(colour="red"),
    "an impossible setting": lambda model: model["settings"].update(test_size=7),
    "a label of nothing": lambda model: model["levels"].update(w=[1, 2]),
    "a derived stranger": lambda model: model["derived"].update(w="sum"),
    "no mechanism": lambda model: model["mechanisms"].pop(),
    "no member": lambda model: model["mechanisms"][0].update(learner={"file": "learners/0.skops"}),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edit_that_makes_no_sense_is_refused_even_with_matching_checksums(
    change: Callable[[dict[str, Any]], Any], path: Path
) -> None:
    _refused(_edit(path, change), "holds no usable model")


# Reading what means harm


class _Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("name", ["table.npy", "blocks.npy", "residuals/0.npy", "learners/0.skops", "model.pkl"])
def test_a_pickle_in_place_of_a_member_is_not_run(name: str, forest_path: Path, canary: Path) -> None:
    members = _unpack(forest_path)
    _pack({**members, name: pickle.dumps(_Trap(canary))}, forest_path)
    with pytest.raises(ModelFormatError):
        load(forest_path)
    assert not canary.exists()


def test_a_pickle_within_an_array_is_not_run(forest_path: Path, canary: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Trap(canary)], dtype=object), allow_pickle=True)
    _pack({**_unpack(forest_path), "blocks.npy": buffer.getvalue()}, forest_path)
    _refused(forest_path, "holds Python objects")
    assert not canary.exists()


def _skops(state: Any, arrays: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(state))
        for name, data in (arrays or {}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _learner(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with ZipFile(io.BytesIO(_unpack(path)["learners/0.skops"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("schema.json")), members


def _text(content: str) -> dict[str, Any]:
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(content)}


def _several(loader: str, *content: Any) -> dict[str, Any]:
    kind = {"TupleNode": "tuple", "ListNode": "list"}[loader]
    return {"__class__": kind, "__module__": "builtins", "__loader__": loader, "content": list(content)}


CALLABLES = [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("numpy", "load")]
LOADERS = ["ConstructorFromReduceNode", "FunctionNode", "TypeNode", "ObjectNode", "PartialNode", "LossNode",
           "MethodNode", "OperatorFuncNode", "DefaultDictNode", "NdArrayNode", "RandomGeneratorNode"]  # fmt: skip


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("module", "name"), CALLABLES)
@pytest.mark.parametrize("deep", [False, True], ids=["itself", "within"])
def test_a_learner_that_names_a_function_is_refused_by_its_name(
    deep: bool, module: str, name: str, loader: str, forest_path: Path, canary: Path
) -> None:
    arguments = _several("TupleNode", _text(f"touch {canary}"))
    crafted = {
        "__class__": name, "__module__": module, "__loader__": loader, "content": arguments, "attrs": arguments,
        "__reduce__": {"args": arguments}, "type": "json", "shape": arguments,
    }  # fmt: skip
    schema, arrays = _learner(forest_path)
    if deep:
        schema["content"]["content"]["verbose"] = crafted
    else:
        schema = {**crafted, "protocol": schema["protocol"]}
    _pack({**_unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    _refused(forest_path, f"the type {module}.{name} is not trusted")
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["sklearn.linear_model._base.LinearRegression", "numpy.exp", "scipy.special.expit"])
def test_what_skops_would_trust_by_itself_is_refused_too(kind: str, forest_path: Path) -> None:
    module, _, name = kind.rpartition(".")
    schema, arrays = _learner(forest_path)
    schema["content"]["content"]["verbose"] = {"__class__": name, "__module__": module, "__loader__": "ObjectNode"}
    _pack({**_unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    _refused(forest_path, f"the type {kind} is not trusted")


@pytest.mark.parametrize("loader", ["FunctionNode", "ConstructorFromReduceNode", "MethodNode", "CachedNode", "Node"])
def test_a_trusted_type_by_another_loader_is_refused(loader: str, forest_path: Path) -> None:
    schema, arrays = _learner(forest_path)
    schema["__loader__"] = loader
    _pack({**_unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    _refused(forest_path, f"the loader {loader} of sklearn.ensemble._forest.RandomForestRegressor is not trusted")


@pytest.mark.parametrize(
    ("column", "value"),
    [("left_child", 10**9), ("left_child", 0), ("right_child", -7), ("feature", 10**6), ("feature", -3)],
)
def test_a_tree_that_would_lead_compiled_code_astray_is_refused(column: str, value: int, forest_path: Path) -> None:
    schema, arrays = _learner(forest_path)
    astray = dict(arrays)
    for name, data in arrays.items():
        nodes = np.load(io.BytesIO(data))
        if nodes.dtype.names and len(nodes) > 1:
            nodes = nodes.copy()
            nodes[column][0] = value
            buffer = io.BytesIO()
            np.save(buffer, nodes)
            astray[name] = buffer.getvalue()
    assert astray != arrays
    _pack({**_unpack(forest_path), "learners/0.skops": _skops(schema, astray)}, forest_path)
    _refused(forest_path, "branches that lead nowhere")


@pytest.mark.parametrize("name", ["estimator_", "tree", "outputs"])
def test_a_forest_of_something_else_than_trees_is_refused(name: str, forest_path: Path) -> None:
    schema, arrays = _learner(forest_path)
    content = schema["content"]["content"]
    if name == "estimator_":
        content["estimators_"]["content"][0] = {**schema, "content": None}
        match = "RandomForestRegressor is not trusted"
    else:
        tree = content["estimators_"]["content"][0]["content"]["content"]["tree_"]
        arguments = tree["__reduce__"]["args"]["content"]
        arguments[0 if name == "tree" else 2]["content"] = "100000"
        match = "branches that lead nowhere"
    _pack({**_unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    _refused(forest_path, match)


# Damage of every kind


def _damage(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(4)
    place = int(rng.integers(len(data)))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes(rng.integers(256, size=int(rng.integers(1, 40)), dtype=np.uint8)) + data[place:]
    flipped = bytearray(data)
    # The directory at the end is small and matters most.
    places = rng.integers(len(data), size=3) if kind == 2 else len(data) - 1 - rng.integers(600, size=3)
    for at in places:
        flipped[at] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def _disorder(members: dict[str, bytes], rng: np.random.Generator) -> dict[str, bytes]:
    names = list(members)
    first, second = rng.choice(names, 2, replace=False)
    kind = rng.integers(4)
    if kind == 0:
        return {**members, first: members[second], second: members[first]}
    if kind == 1:
        return {name: data for name, data in members.items() if name != first or name == "model.json"}
    if kind == 2:
        return {(f"{name}x" if name == first != "model.json" else name): data for name, data in members.items()}
    return {**members, first: _damage(members[first], rng)}


def _edit_anywhere(model: Any, rng: np.random.Generator) -> Any:
    """Return the document with one thing in it changed or taken away."""
    if isinstance(model, dict) and model and rng.random() < 0.9:
        key = list(model)[int(rng.integers(len(model)))]
        return {**model, key: _edit_anywhere(model[key], rng)}
    if isinstance(model, list) and model and rng.random() < 0.9:
        place = int(rng.integers(len(model)))
        return [*model[:place], _edit_anywhere(model[place], rng), *model[place + 1 :]]
    return [None, -1, 10**30, "", "x", [], {}, float("nan"), {"tuple": 3}, [[[]]], True][int(rng.integers(11))]


@pytest.mark.parametrize("which", ["linear", "forest"])
def test_five_hundred_damaged_files_are_refused_or_the_model_itself(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    scm: FittedSCM = request.getfixturevalue(which)
    path, rng = tmp_path / "model.scm", np.random.default_rng(1)
    save(scm, path)
    whole, expected, refused = path.read_bytes(), scm.sample(50), 0
    for _ in range(250):
        path.write_bytes(_damage(whole, rng))
        try:
            loaded = load(path)
        except ModelFormatError:
            refused += 1
        else:
            _same(loaded.sample(50), expected)
    assert refused > 200


@pytest.mark.parametrize("which", ["linear", "forest"])
def test_disorder_with_matching_checksums_raises_nothing_but_a_format_error(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path, rng = tmp_path / "model.scm", np.random.default_rng(2)
    save(request.getfixturevalue(which), path)
    members, refused = _unpack(path), 0
    for turn in range(200):
        if turn % 2:
            changed = dict(members)
            changed["model.json"] = json.dumps(_edit_anywhere(json.loads(members["model.json"]), rng)).encode()
        else:
            changed = _disorder(members, rng)
        try:
            _pack(changed, path)
        except (ValueError, TypeError):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                load(path).sample(5)
            except CausalkitError:
                refused += 1
    assert refused > 80


def test_a_file_of_skops_alone_is_no_model(forest: FittedSCM, path: Path) -> None:
    path.write_bytes(skops.io.dumps(forest.mechanisms["y"].learner))
    _refused(path, "is a zip file but no model")
