"""Nothing but a model ever comes out of a model's file."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import skops.io
from threadpoolctl import threadpool_limits

from causalkit.errors import CausalkitError, ModelFormatError
from causalkit.scm import storage
from causalkit.scm.model import FittedSCM
from causalkit.scm.storage import load, save
from tests.scm.kept import (
    edit,
    pack,
    refused,
    same,
    same_answers,
    unpack,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # More threads than free cores make histogram boosting twenty times slower.
    with threadpool_limits(1):
        yield


def test_the_helper_that_packs_makes_files_that_load(path: Path, linear: FittedSCM) -> None:
    same_answers(load(pack(unpack(path), path)), linear)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", pickle.dumps([1, 2]), b"\x00" * 5000])
def test_a_foreign_file_is_no_model(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    refused(path, "is no model, or the end of one is missing")


def test_another_zip_is_no_model(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    refused(path, "is a zip file but no model")


def test_a_newer_file_asks_for_a_newer_causalkit(path: Path) -> None:
    edit(path, lambda model: model.update(schema=2, versions={"causalkit": "9.1"}))
    refused(path, r"written by a newer causalkit \(9.1, schema 2; this one reads up to 1\); update causalkit")


@pytest.mark.parametrize("schema", [0, -1, "1", True, None, 1.0])
def test_a_schema_that_never_was_is_refused(schema: Any, path: Path) -> None:
    edit(path, lambda model: model.update(schema=schema))
    refused(path, "unknown kind")


def test_an_altered_member_is_named(path: Path) -> None:
    members = unpack(path)
    with ZipFile(path) as archive:
        comment = archive.comment
    members["table.npy"] = members["table.npy"][:-1] + b"\x01"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(name, data)
    refused(path, r"was altered after it was saved \(table.npy\)")


def test_a_member_too_many_is_named(path: Path) -> None:
    with ZipFile(path, "a") as archive:
        archive.writestr("extra.pkl", pickle.dumps(1))
    refused(path, r"members missing or added \(extra.pkl\)")


def test_what_claims_to_unpack_to_more_than_any_model_is_not_unpacked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_MAX_BYTES", 10_000)
    refused(path, "claims to unpack to")


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
    refused(edit(path, change), "holds no usable model")


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
    members = unpack(forest_path)
    pack({**members, name: pickle.dumps(_Trap(canary))}, forest_path)
    with pytest.raises(ModelFormatError):
        load(forest_path)
    assert not canary.exists()


def test_a_pickle_within_an_array_is_not_run(forest_path: Path, canary: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Trap(canary)], dtype=object), allow_pickle=True)
    pack({**unpack(forest_path), "blocks.npy": buffer.getvalue()}, forest_path)
    refused(forest_path, "holds Python objects")
    assert not canary.exists()


def _skops(state: Any, arrays: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(state))
        for name, data in (arrays or {}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _learner(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with ZipFile(io.BytesIO(unpack(path)["learners/0.skops"])) as archive:
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
    pack({**unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    refused(forest_path, f"the type {module}.{name} is not trusted")
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["sklearn.linear_model._base.LinearRegression", "numpy.exp", "scipy.special.expit"])
def test_what_skops_would_trust_by_itself_is_refused_too(kind: str, forest_path: Path) -> None:
    module, _, name = kind.rpartition(".")
    schema, arrays = _learner(forest_path)
    schema["content"]["content"]["verbose"] = {"__class__": name, "__module__": module, "__loader__": "ObjectNode"}
    pack({**unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    refused(forest_path, f"the type {kind} is not trusted")


@pytest.mark.parametrize("loader", ["FunctionNode", "ConstructorFromReduceNode", "MethodNode", "CachedNode", "Node"])
def test_a_trusted_type_by_another_loader_is_refused(loader: str, forest_path: Path) -> None:
    schema, arrays = _learner(forest_path)
    schema["__loader__"] = loader
    pack({**unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    refused(forest_path, f"the loader {loader} of sklearn.ensemble._forest.RandomForestRegressor is not trusted")


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
    pack({**unpack(forest_path), "learners/0.skops": _skops(schema, astray)}, forest_path)
    refused(forest_path, "branches that lead nowhere")


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
    pack({**unpack(forest_path), "learners/0.skops": _skops(schema, arrays)}, forest_path)
    refused(forest_path, match)


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
            same(loaded.sample(50), expected)
    assert refused > 200


@pytest.mark.parametrize("which", ["linear", "forest"])
def test_disorder_with_matching_checksums_raises_nothing_but_a_format_error(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path, rng = tmp_path / "model.scm", np.random.default_rng(2)
    save(request.getfixturevalue(which), path)
    members, refused = unpack(path), 0
    for turn in range(200):
        if turn % 2:
            changed = dict(members)
            changed["model.json"] = json.dumps(_edit_anywhere(json.loads(members["model.json"]), rng)).encode()
        else:
            changed = _disorder(members, rng)
        try:
            pack(changed, path)
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
    refused(path, "is a zip file but no model")
