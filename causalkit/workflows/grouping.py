"""What runs and steps can be grouped by: their columns, and what stands in their attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd


def key_of(name: str) -> str:
    """Return the column in which a group stands while it is counted: a knob may be called as a statistic is.

    Examples
    --------
    >>> key_of("max")
    'by max'
    """
    return f"by {name}"


def told_of(rows: ir.Table, name: str) -> Any:
    """Return an attribute, or else a knob, of runs or steps as text."""
    import ibis

    attributes = as_json(rows.attributes)
    own, knob = attributes[name], attributes["knobs"][name]
    return ibis.coalesce(own.str, own.cast("string"), knob.str, knob.cast("string"))


def as_json(column: Any) -> Any:
    """Return a column of JSON, which some connections have as text."""
    return column.cast("json") if column.type().is_string() else column


def as_numbers(texts: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers where all texts are some, else the texts.

    Examples
    --------
    >>> import pandas as pd
    >>> as_numbers(pd.Series(["10", "9"])).tolist(), as_numbers(pd.Series(["10", "x"])).tolist()
    ([10, 9], ['10', 'x'])
    """
    import pandas as pd

    try:
        return pd.to_numeric(texts)
    except ValueError:
        return texts
