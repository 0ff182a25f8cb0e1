"""A fitted model as plain JSON values with arrays and learners beside them, and back; nothing here touches a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError
from causalkit.graphs import check_graph
from causalkit.scm.derived import check_formula
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from causalkit.scm.preparing import MISSING_SUFFIX
from causalkit.scm.storage_arrays import array_bytes, read_array
from causalkit.scm.storage_mechanisms import read_ladder, read_mechanism, write_ladder, write_mechanism
from causalkit.scm.storage_values import read_value, write_value
from causalkit.scm.validation import NodeScore, ValidationReport

# Where a fit was cached, how many threads it had and whether it showed a bar says nothing about the model.
_NOT_KEPT = ("cache", "n_jobs", "progress")
_PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (float, int)}
_LIBRARIES = ("causalkit", "numpy", "pandas", "scikit-learn")


def write_model(scm: FittedSCM) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a model as a JSON document, and the other members of its file by name.

    Raises
    ------
    CausalkitError
        If an attribute, a label or a learner cannot be written (``.node``, ``.attribute``).
    """
    members = {
        "table.npy": array_bytes(scm.table.to_numpy(float).T),
        "blocks.npy": array_bytes(np.asarray(scm.blocks, np.int64)),
        **{f"observed/{place}.npy": array_bytes(rows) for place, rows in enumerate(scm.observed.values())},
    }
    mechanisms = enumerate(scm.mechanisms.values())
    document = {
        "graph": _write_graph(scm.graph),
        "derived": dict(scm.derived),
        "groups": write_value(scm.groups, "the name of the groups"),
        "caveats": list(scm.caveats),
        "random_seed": int(scm.random_seed),
        "trusted": bool(scm.trusted),
        "levels": {node: _write_labels(node, labels) for node, labels in scm.levels.items()},
        "observed": list(scm.observed),
        "settings": None if scm.settings is None else _write_settings(scm.settings),
        "report": _write_report(scm.report),
        "table": {"columns": list(scm.table.columns), "index": _write_index(scm.table.index, members)},
        "mechanisms": [write_mechanism(mechanism, place, members) for place, mechanism in mechanisms],
        "data": hashlib.sha256(repr(list(scm.table)).encode() + members["table.npy"]).hexdigest(),
        "versions": {name: version(name) for name in _LIBRARIES},
    }
    return document, members


def read_model(document: Mapping[str, Any], members: Mapping[str, bytes]) -> FittedSCM:
    """Return the model that `write_model` was given.

    Raises
    ------
    ValueError
        If its parts do not fit together; other errors where they are no such parts at all.
    """
    graph = _read_graph(document["graph"])
    columns = document["table"]["columns"]
    index = _read_index(document["table"]["index"], members)
    rows, num_rows = read_array(members["table.npy"], (len(columns), len(index))), len(index)
    table = pd.DataFrame(dict(zip(columns, rows, strict=True)), index=index)
    mechanisms = [
        read_mechanism(written, place, members, table) for place, written in enumerate(document["mechanisms"])
    ]
    observed = enumerate(document["observed"])
    settings = document["settings"]
    scm = FittedSCM(
        graph,
        {mechanism.node: mechanism for mechanism in mechanisms},
        dict(document["derived"]),
        _read_report(document["report"]),
        table,
        read_array(members["blocks.npy"], (num_rows,), "<i8"),
        read_value(document["groups"]),
        tuple(document["caveats"]),
        int(document["random_seed"]),
        {node: tuple(read_value(labels)) for node, labels in document["levels"].items()},
        {node: read_array(members[f"observed/{place}.npy"], (num_rows,), "|b1") for place, node in observed},
        None if settings is None else SCMFitter(**settings),
        bool(document["trusted"]),
    )
    _check_together(scm)
    return scm


def _check_together(scm: FittedSCM) -> None:
    graph, needed = scm.graph, set[str]()
    for node in graph:
        parents = tuple(sorted(graph.predecessors(node)))
        if parents and node not in scm.derived:
            needed.add(node)
            if node not in scm.mechanisms or scm.mechanisms[node].parents != parents:
                raise ValueError(f"graph and mechanism of {node!r} do not fit together")
    if set(scm.mechanisms) != needed or set(scm.table) != set(graph) or not len(scm.table):
        raise ValueError("graph, mechanisms and table do not fit together")
    if not set(scm.derived) <= set(graph):
        raise ValueError("a derived node is no node of the graph")
    for node, formula in scm.derived.items():
        check_formula(graph, node, formula, scm.levels)
    if not 0 <= scm.blocks.min() <= scm.blocks.max() < len(scm.table):
        raise ValueError("the blocks of the rows are not theirs")
    indicators = [scm.levels.get(node + MISSING_SUFFIX) for node in scm.observed]
    if indicators != [(False, True)] * len(indicators) or not set(scm.levels) <= set(graph):
        raise ValueError("labels or missing values belong to what is no node of the graph")
    for node, labels in scm.levels.items():
        if not scm.table[node].isin(range(len(labels))).all():
            raise ValueError(f"rows of {node!r} have labels that it has not")


def _write_graph(graph: nx.DiGraph[str]) -> dict[str, Any]:
    return {
        "nodes": [
            [node, _write_attributes(attributes, f"node {node!r}", node=node)]
            for node, attributes in graph.nodes(data=True)
        ],
        "edges": [
            [start, end, _write_attributes(attributes, f"edge {start!r} -> {end!r}")]
            for start, end, attributes in graph.edges(data=True)
        ],
        "attributes": _write_attributes(graph.graph, "the graph"),
    }


def _write_attributes(attributes: Mapping[Any, Any], whose: str, **facts: Any) -> dict[str, Any]:
    for key in attributes:
        if not isinstance(key, str):
            raise CausalkitError(f"attribute {key!r} of {whose} is not named with text; rename it", attribute=key)
    return {
        key: write_value(value, f"attribute {key!r} of {whose}", attribute=key, **facts)
        for key, value in attributes.items()
    }


def _read_graph(written: Mapping[str, Any]) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.graph.update({key: read_value(value) for key, value in written["attributes"].items()})
    for node, attributes in written["nodes"]:
        graph.add_nodes_from([(node, {key: read_value(value) for key, value in attributes.items()})])
    for start, end, attributes in written["edges"]:
        if start not in graph or end not in graph:
            raise ValueError(f"an edge joins {start!r} and {end!r}, which are not both nodes")
        graph.add_edges_from([(start, end, {key: read_value(value) for key, value in attributes.items()})])
    return check_graph(graph)


def _write_labels(node: str, labels: tuple[Any, ...]) -> Any:
    return write_value(list(labels), f"a label of node {node!r}", node=node)


def _write_settings(settings: SCMFitter) -> dict[str, Any]:
    names = [field.name for field in fields(settings) if field.name not in _NOT_KEPT]
    return {name: write_value(getattr(settings, name), f"the setting {name}") for name in names}


def _write_report(report: ValidationReport) -> dict[str, Any]:
    names = [field.name for field in fields(NodeScore) if field.name != "ladder"]
    scores = [
        {**{name: write_value(getattr(score, name), name) for name in names}, "ladder": write_ladder(score.ladder)}
        for score in report.scores
    ]
    others = ("threshold", "num_held_out", "split", "rule")
    kept = {name: write_value(getattr(report, name), name) for name in others}
    return {"scores": scores, **kept, "declarable": dict(report.declarable)}


def _read_report(written: Mapping[str, Any]) -> ValidationReport:
    scores = tuple(
        NodeScore(**_typed(NodeScore, {**score, "ladder": read_ladder(score["ladder"])})) for score in written["scores"]
    )
    return ValidationReport(**_typed(ValidationReport, {**written, "scores": scores}))


def _typed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a dataclass' fields, once those of a plain type were found to be of it."""
    for field in fields(kind):
        plain = _PLAIN.get(str(field.type))
        if plain is not None and not isinstance(values[field.name], plain):
            raise ValueError(f"{field.name} of the report is {values[field.name]!r}")
    return values


def _write_index(index: pd.Index[Any], members: dict[str, bytes]) -> dict[str, Any]:
    name = index.name if isinstance(index.name, str) else None
    if isinstance(index, pd.RangeIndex):
        return {"name": name, "range": [index.start, index.stop, index.step]}
    if index.dtype == np.int64:
        members["index.npy"] = array_bytes(index.to_numpy())
        return {"name": name, "whole": len(index)}
    labels = index.tolist()
    if all(type(label) is str for label in labels):
        return {"name": name, "text": labels}
    # Other names of rows only serve sentences; the rows are told apart by their place.
    return {"name": None, "range": [0, len(index), 1]}


def _read_index(written: Mapping[str, Any], members: Mapping[str, bytes]) -> pd.Index[Any]:
    name = written["name"]
    if "range" in written:
        return pd.RangeIndex(range(*written["range"]), name=name)
    if "whole" in written:
        return pd.Index(pd.Series(read_array(members["index.npy"], (written["whole"],), "<i8")), name=name)
    return pd.Index([str(label) for label in written["text"]], name=name)
