"""Fitted learners as skops files: only types of a fixed list, and only trees whose branches lead somewhere."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator, Set
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from causalkit.scm.storage_arrays import read_any

_HIST = "sklearn.ensemble._hist_gradient_boosting"
_PLAIN = frozenset(
    {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple")}
    | {f"numpy.{name}" for name in ("float32", "float64", "int32", "int64", "ndarray", "uint32", "uint64")}
)
_BOOSTING = frozenset(
    {f"{_HIST}.binning._BinMapper", f"{_HIST}.predictor.TreePredictor", "sklearn.preprocessing._label.LabelEncoder"}
    | {f"sklearn._loss._loss.Cy{name}" for name in ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")}
    | {f"sklearn._loss.loss.{name}" for name in ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")}
    | {f"sklearn._loss.link.{name}" for name in ("IdentityLink", "Interval", "LogitLink", "MultinomialLogit")}
)
# Each learner with what it may be made of. What skops trusts by itself is wider: every estimator of scikit-learn and
# every function of NumPy and SciPy. No learner may hold another, which could be asked for more columns than it has.
_TRUSTED: dict[str, frozenset[str]] = {
    f"{_HIST}.gradient_boosting.HistGradientBoostingClassifier": _BOOSTING,
    f"{_HIST}.gradient_boosting.HistGradientBoostingRegressor": _BOOSTING,
    "sklearn.ensemble._forest.RandomForestRegressor": frozenset(
        {"sklearn.tree._classes.DecisionTreeRegressor", "sklearn.tree._tree.Tree"}
    ),
    "sklearn.pipeline.Pipeline": frozenset(
        {
            "sklearn.kernel_approximation.Nystroem",
            "sklearn.linear_model._ridge.RidgeCV",
            "sklearn.preprocessing._data.StandardScaler",
        }
    ),
}
# How skops may rebuild them: none of these calls a function that the file names.
_LOADERS = frozenset(
    {"DictNode", "JsonNode", "ListNode", "LossNode", "NdArrayNode", "ObjectNode", "TreeNode", "TupleNode", "TypeNode"}
)
_OLDEST_PROTOCOL = 2


def learner_bytes(learner: Any) -> bytes:
    """Return a fitted learner as a skops file.

    Raises
    ------
    ValueError
        If it holds a type that `read_learner` would not trust.
    """
    import skops.io

    kept = copy.copy(learner)
    if hasattr(kept, "_feature_subsample_rng"):
        # A generator has no part in predictions, and would be one more thing to trust.
        kept._feature_subsample_rng = None
    # Stored as they are: the file around it compresses all at once.
    data = bytes(skops.io.dumps(kept, compression=ZIP_STORED))
    _check(_opened(data), int(learner.n_features_in_))
    return data


def read_learner(data: bytes, num_features: int) -> Any:
    """Return the learner of a skops file, after everything that it names was found harmless.

    Parameters
    ----------
    data : bytes
    num_features : int
        What it has to predict from.

    Raises
    ------
    ValueError
        If it names a type or a loader that is not trusted, or is inconsistent. Other errors come from damaged files.
    """
    opened = _opened(data)
    trusted = _check(opened, num_features)
    import skops.io

    learner = skops.io.loads(data, trusted=sorted(trusted))
    if learner.n_features_in_ != num_features:
        raise ValueError(f"a learner expects {learner.n_features_in_} features where there are {num_features}")
    return learner


class _Opened(NamedTuple):
    schema: dict[str, Any]
    arrays: dict[str, Any]


def _opened(data: bytes) -> _Opened:
    with ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(member.compress_type != ZIP_STORED or member.flag_bits & 1 for member in members):
            raise ValueError("a learner is compressed or encrypted in a way that causalkit does not write")
        schema = json.loads(archive.read("schema.json"))
        names = [member.filename for member in members if member.filename != "schema.json"]
        return _Opened(schema, {name: read_any(archive.read(name)) for name in names})


def _check(opened: _Opened, num_features: int) -> frozenset[str]:
    """Return the types that a learner is made of; refuse all that could do more than predict."""
    protocol, kind = opened.schema["protocol"], _type_name(opened.schema)
    if kind not in _TRUSTED:
        raise ValueError(f"the type {kind} is not trusted: it is no learner that causalkit fits")
    if type(protocol) is not int or protocol < _OLDEST_PROTOCOL:
        raise ValueError(f"a learner is of skops protocol {protocol!r}")
    trusted = _PLAIN | _TRUSTED[kind]
    for node in _nodes(opened.schema):
        _check_node(node, {kind} if node is opened.schema else trusted)
        if node["__loader__"] == "NdArrayNode" and (node["type"] != "numpy" or node["file"] not in opened.arrays):
            raise ValueError("an array of objects in a learner is not trusted")
        if node["__class__"] in ("Tree", "TreePredictor"):
            _check_tree(node, opened, num_features)
    return trusted | {kind}


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping that skops could take for an object, without recursion: a file decides how deep it is."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting += found.values()
            if not found.keys().isdisjoint(("__loader__", "__class__", "__module__")):
                yield found
        elif isinstance(found, list):
            waiting += found


def _check_node(node: dict[str, Any], trusted: Set[str]) -> None:
    if _type_name(node) not in trusted:
        raise ValueError(f"the type {_type_name(node)} is not trusted")
    if node["__loader__"] not in _LOADERS:
        raise ValueError(f"the loader {node['__loader__']} of {_type_name(node)} is not trusted")


def _type_name(node: dict[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


def _check_tree(node: dict[str, Any], opened: _Opened, num_features: int) -> None:
    """Refuse a tree that would lead scikit-learn's compiled code out of its arrays or round in circles."""
    if node["__loader__"] not in ("TreeNode", "ObjectNode"):
        raise ValueError(f"the loader {node['__loader__']} of a tree is not trusted")
    content = node["content"]["content"]
    nodes = opened.arrays[content["nodes"]["file"]]
    place = np.arange(len(nodes))
    if node["__class__"] == "Tree":
        # The constructor in C takes the numbers of features and outputs at their word.
        features, labels, outputs = node["__reduce__"]["args"]["content"]
        left, right, feature = nodes["left_child"], nodes["right_child"], nodes["feature"]
        inner = (left != -1) | (right != -1)
        sizes = [json.loads(part["content"]) for part in (features, outputs, content["node_count"])]
        fits = sizes == [num_features, 1, len(nodes)] and opened.arrays[labels["file"]].shape == (1,)
    else:
        left, right, feature = (nodes[name].astype(np.int64) for name in ("left", "right", "feature_idx"))
        inner = nodes["is_leaf"] == 0
        fits = not nodes["is_categorical"].any()
    forward = all(((child > place) & (child < len(place)))[inner].all() for child in (left, right))
    known = ((feature >= 0) & (feature < num_features))[inner].all()
    if not (len(place) and fits and forward and known):
        raise ValueError("a tree in a learner has branches that lead nowhere")
