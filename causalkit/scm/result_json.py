"""What an intervention led to, as strict JSON and back."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError, GraphError, ModelFormatError
from causalkit.scm.action_text import parse_actions
from causalkit.scm.arrays import FloatArray
from causalkit.scm.interventions import Formula, Intervention, Scale, Shift, function_name
from causalkit.scm.questions import InterventionResult

_Label = bool | float | int | str | None


class _Numbers(msgspec.Struct, tag="numbers", forbid_unknown_fields=True):
    values: list[float | None]


class _Truths(msgspec.Struct, tag="truths", forbid_unknown_fields=True):
    values: list[bool]


class _Labels(msgspec.Struct, tag="labels", forbid_unknown_fields=True):
    values: list[_Label]


class _Action(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One of these."""

    set: bool | float | str | None = None
    shift: float | None = None
    scale: float | None = None
    formula: str | None = None
    function: str | None = None


class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    rows: dict[str, list[float | None]]


_Columns = dict[str, _Numbers | _Truths | _Labels]


class _Written(msgspec.Struct, tag_field="kind", tag="causalkit.InterventionResult", forbid_unknown_fields=True):
    interventions: dict[str, _Action]
    samples: _Columns
    baseline: _Columns
    statistics: _Frame
    outcome: str
    caveats: list[str]
    given: dict[str, bool | float | str | tuple[float, float]]
    distribution: _Frame


def write_result(result: InterventionResult) -> str:
    """Answer `InterventionResult.to_json`."""
    written = _Written(
        {node: _write_action(action) for node, action in result.interventions.items()},
        _write_columns(result.samples),
        _write_columns(result.baseline),
        _write_frame(result.statistics),
        result.outcome,
        result.caveats,
        {node: _write_condition(value) for node, value in result.given.items()},
        _write_frame(result.distribution),
    )
    try:
        # What is not finite becomes null.
        return msgspec.json.encode(written).decode()
    except TypeError as error:
        raise CausalkitError(f"a label is no plain value ({error}); make it text, a number or a truth value") from error


def read_result(text: str) -> InterventionResult:
    """Answer `InterventionResult.from_json`."""
    try:
        written = msgspec.json.decode(text, type=_Written)
        distribution = _read_frame(written.distribution)
        return InterventionResult(
            {node: _read_action(node, action) for node, action in written.interventions.items()},
            _read_columns(written.samples),
            _read_columns(written.baseline),
            _read_frame(written.statistics),
            written.outcome,
            written.caveats,
            dict(written.given),
            distribution.copy,
        )
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError, GraphError) as error:
        raise ModelFormatError(
            f"the text is no result of an intervention ({error}); give what InterventionResult.to_json wrote"
        ) from error


def _write_action(action: Intervention) -> _Action:
    match action:
        case Shift(by=by):
            return _Action(shift=float(by))
        case Scale(by=by):
            return _Action(scale=float(by))
        case Formula(text=text):
            return _Action(formula=text)
        case _ if callable(action):
            return _Action(function=function_name(action))
        case _:
            return _Action(set=action if isinstance(action, bool | str) else float(action))


def _read_action(node: str, action: _Action) -> Intervention:
    match action:
        case _Action(set=value, shift=None, scale=None, formula=None, function=None) if value is not None:
            return value
        case _Action(set=None, shift=by, scale=None, formula=None, function=None) if by is not None:
            return Shift(by)
        case _Action(set=None, shift=None, scale=by, formula=None, function=None) if by is not None:
            return Scale(by)
        case _Action(set=None, shift=None, scale=None, formula=str(text), function=None):
            name = node if node.isidentifier() and not keyword.iskeyword(node) else f"`{node}`"
            return parse_actions(f"{name}={text}", [node])[node]
        case _Action(set=None, shift=None, scale=None, formula=None, function=str(name)):
            return _only_named(name)
        case _:
            raise ValueError(f"what was done to {node!r} is not one thing")


def _only_named(name: str) -> Intervention:
    def function(values: FloatArray) -> FloatArray:
        raise GraphError(f"{name} is known by its name only: a written result keeps no code; give the function itself")

    function.__name__ = name
    return function


def _write_condition(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return (float(value[0]), float(value[1]))
    return value if isinstance(value, bool | str) else float(value)


def _write_columns(table: pd.DataFrame) -> _Columns:
    return {str(name): _write_column(table[name]) for name in table}


def _write_column(column: pd.Series[Any]) -> _Numbers | _Truths | _Labels:
    if column.dtype.kind == "f":
        return _Numbers(column.tolist())
    if column.dtype.kind == "b":
        return _Truths(column.tolist())
    return _Labels([value.item() if isinstance(value, np.generic) else value for value in column])


def _read_columns(written: Mapping[str, _Numbers | _Truths | _Labels]) -> pd.DataFrame:
    return pd.DataFrame({name: _read_column(column) for name, column in written.items()})


def _read_column(column: _Numbers | _Truths | _Labels) -> np.ndarray[Any, np.dtype[Any]]:
    if isinstance(column, _Labels):
        return np.array([np.nan if value is None else value for value in column.values], dtype=object)
    return np.array(column.values, dtype=float if isinstance(column, _Numbers) else bool)


def _write_frame(frame: pd.DataFrame) -> _Frame:
    return _Frame(frame.columns.tolist(), dict(zip(frame.index, frame.to_numpy().tolist(), strict=True)))


def _read_frame(written: _Frame) -> pd.DataFrame:
    values = np.array(list(written.rows.values()), float).reshape(len(written.rows), len(written.columns))
    return pd.DataFrame(values, list(written.rows), written.columns).rename_axis("node")
