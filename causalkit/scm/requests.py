"""What a worker can be asked, and the check of a request before any work is done for it.

The shapes are `msgspec.Struct`, so that a wrong type is refused with its place; what a type cannot say (sizes, cycles,
ragged columns) is checked when graph and table are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
import networkx as nx
import numpy as np
import pandas as pd
from msgspec import UNSET, UnsetType

from causalkit.errors import FitError, GraphError, WorkerError
from causalkit.graphs import check_graph
from causalkit.scm.interventions import Intervention, Scale, Shift

# A table of the most cells, at some 20 characters a number, is a request of the most bytes.
MAX_CELLS = 50_000_000
MAX_REQUEST_BYTES = 1 << 30
MAX_NODES = 10_000
MAX_EDGES = 1_000_000

Columns: TypeAlias = dict[str, msgspec.Raw]
RequestId: TypeAlias = str | int | None


class Graph(msgspec.Struct, forbid_unknown_fields=True):
    """Nodes by name, and edges as pairs of parent and child."""

    nodes: list[str]
    edges: list[tuple[str, str]] = []


class Attributes(msgspec.Struct, forbid_unknown_fields=True):
    """What is known of a table beside its cells: which columns were drawn at random, and what was left out."""

    knobs: list[str] = []
    caveats: list[str] = []


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """How to fit: `validate_r2`, and options of `SCMFitter`, which has the defaults of those that are not given."""

    quality: str = "GOOD"
    validate_r2: bool = True
    r2_threshold: float = 0.7
    r2_rule: str | UnsetType = UNSET
    test_size: float | UnsetType = UNSET
    split: str | UnsetType = UNSET
    groups: str | UnsetType | None = UNSET
    min_samples: int | UnsetType = UNSET
    missing: str | UnsetType = UNSET
    random_seed: int | UnsetType | None = UNSET
    derived: dict[str, str] | None = None
    function_code: dict[str, str] | None = None

    def fitter_options(self) -> dict[str, Any]:
        """Return the keywords of `SCMFitter` that were given."""
        elsewhere = {"validate_r2", "derived", "function_code"}
        given = {name: getattr(self, name) for name in self.__struct_fields__ if name not in elsewhere}
        return {name: value for name, value in given.items() if value is not UNSET}


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """A node that is shifted or scaled, not set."""

    shift: float | None = None
    scale: float | None = None


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the protocol."""

    op: Literal["fit", "sample", "intervene", "counterfactual", "ping"] = "fit"
    id: RequestId = None
    graph: Graph | None = None
    traces: Columns | None = None
    attrs: Attributes = msgspec.field(default_factory=Attributes)
    config: Config = msgspec.field(default_factory=Config)
    model: str | None = None
    n: int | None = None
    num_samples: int | None = None
    interventions: dict[str, float | bool | str | Change] | str = {}
    observed: Columns | None = None
    random_seed: int | None = None


class _Envelope(msgspec.Struct):
    id: RequestId = None


_REQUEST = msgspec.json.Decoder(Request)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_COLUMN = msgspec.json.Decoder(list[float | int | bool | str | None])
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


def read_request(line: bytes) -> Request:
    """Return a request whose shape is right; columns stay unread until `trace_table`.

    Raises
    ------
    WorkerError
        If it is too large, no JSON or not of the protocol's shape; the sentence names the place.

    Examples
    --------
    >>> read_request(b'{"op": "ping", "id": 3}').id
    3
    >>> read_request(b'{"op": "sample", "n": "many"}')
    Traceback (most recent call last):
    ...
    causalkit.errors.WorkerError: the request does not fit the protocol: Expected `int | null`, got `str` - at `$.n`
    """
    if len(line) > MAX_REQUEST_BYTES:
        raise WorkerError(f"the request is longer than {MAX_REQUEST_BYTES:,} bytes; send fewer rows or columns")
    if not line.strip():
        raise WorkerError('the request is empty; send one JSON object on one line, such as {"op": "ping"}')
    try:
        return _REQUEST.decode(line)
    except _UNREADABLE as error:
        raise WorkerError(f"the request {_fault(error, line)}") from error


def request_id(line: bytes) -> RequestId:
    """Return the id of a request that may be wrong in everything else; None where it has no usable one."""
    try:
        return _ENVELOPE.decode(line).id
    except _UNREADABLE:
        return None


def causal_graph(asked: Graph) -> nx.DiGraph[str]:
    """Return the graph of a request.

    Raises
    ------
    GraphError
        If it is too large, names a node twice, has an edge between nodes it does not list, or a cycle.

    Examples
    --------
    >>> causal_graph(Graph(["x"], [("x", "y")]))
    Traceback (most recent call last):
    ...
    causalkit.errors.GraphError: the edge x -> y (edges[0]) names 'y', which is not among the nodes; add it
    """
    for what, given, most in (("nodes", asked.nodes, MAX_NODES), ("edges", asked.edges, MAX_EDGES)):
        if len(given) > most:
            raise GraphError(f"the graph has {len(given):,} {what}; at most {most:,} are fitted by a worker")
    graph: nx.DiGraph[str] = nx.DiGraph()
    for position, node in enumerate(asked.nodes):
        if node in graph:
            raise GraphError(f"the graph names node {node!r} twice (again in nodes[{position}]); drop one", node=node)
        graph.add_node(node)
    for position, (parent, child) in enumerate(asked.edges):
        where = f"the edge {parent} -> {child} (edges[{position}])"
        if parent == child:
            raise GraphError(f"{where} leads from a node to itself; drop it", node=parent)
        unknown = next((node for node in (parent, child) if node not in graph), None)
        if unknown is not None:
            raise GraphError(f"{where} names {unknown!r}, which is not among the nodes; add it", node=unknown)
        graph.add_edge(parent, child)
    return check_graph(graph)


def trace_table(columns: Columns, what: str = "traces") -> pd.DataFrame:
    """Return the columns of a request as a table; null is a missing value.

    Raises
    ------
    FitError
        If they hold too many cells, are no lists, differ in length, or mix numbers, text and true or false.

    Examples
    --------
    >>> trace_table({"x": msgspec.Raw(b"[1, 2]"), "y": msgspec.Raw(b"[1]")})
    Traceback (most recent call last):
    ...
    causalkit.errors.FitError: traces: column 'y' has 1 rows where 'x' has 2; give every column one cell a row
    """
    read: dict[str, Any] = {}
    cells, first = 0, None
    for name, raw in columns.items():
        cells += len(values := _cells(raw, f"{what}: column {name!r}"))
        if cells > MAX_CELLS:
            raise FitError(f"{what} has more than {MAX_CELLS:,} cells; send fewer rows or columns")
        first = first or (name, len(values))
        if len(values) != first[1]:
            raise FitError(
                f"{what}: column {name!r} has {len(values)} rows where {first[0]!r} has {first[1]}; "
                "give every column one cell a row",
                column=name,
            )
        read[name] = _typed(values, f"{what}: column {name!r}")
    return pd.DataFrame(read)


def actions(asked: Mapping[str, float | bool | str | Change] | str) -> dict[str, Intervention | str] | str:
    """Return interventions as `FittedSCM` takes them: a text as it is.

    Raises
    ------
    WorkerError
        If one neither sets nor shifts nor scales its node.

    Examples
    --------
    >>> actions({"x": 5, "y": Change(shift=2)})
    {'x': 5, 'y': Shift(by=2.0)}
    """
    if isinstance(asked, str):
        return asked
    done: dict[str, Intervention | str] = {}
    for node, action in asked.items():
        if not isinstance(action, Change):
            done[node] = action
        elif (action.shift is None) == (action.scale is None):
            raise WorkerError(f'the intervention on {node!r} is neither {{"shift": by}} nor {{"scale": by}}; give one')
        else:
            done[node] = Scale(action.scale) if action.scale is not None else Shift(float(action.shift or 0))
    return done


def _fault(error: Exception, line: bytes | memoryview) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply; it is an object of lists"
    if isinstance(error, UnicodeError):
        return f"is not UTF-8 ({error.__class__.__name__}: {error})" if str(error) else "is not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        return f"does not fit the protocol: {error}"
    nan = b"NaN" in bytes(line) or b"Infinity" in bytes(line)
    return f"is not JSON: {error}" + ("; JSON has no NaN or Infinity: write null for a missing value" if nan else "")


def _cells(raw: msgspec.Raw, where: str) -> list[Any]:
    try:
        return _COLUMN.decode(raw)
    except _UNREADABLE as error:
        raise FitError(f"{where} {_fault(error, memoryview(raw))}") from error


def _typed(values: list[Any], where: str) -> Any:
    kinds = set(map(type, values))
    held = kinds - {type(None)}
    if len(held) > 1 and held != {int, float}:
        raise FitError(f"{where} mixes {', '.join(sorted(kind.__name__ for kind in held))}; give it values of one kind")
    try:
        if kinds == {int}:
            # Exact, because names of groups can be long numbers.
            return np.array(values, dtype=np.int64)
        return pd.Series(values) if held & {str, bool} else np.array(values, dtype=float)
    except OverflowError as error:
        raise FitError(f"{where} has a number beyond 64 bits; give smaller ones or decimals") from error
