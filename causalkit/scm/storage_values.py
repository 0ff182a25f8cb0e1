"""Attributes and labels as JSON can hold them, and back to what they were."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalkit.errors import CausalkitError

_AS_THEY_ARE = (type(None), bool, int, float, str)


def write_value(value: Any, where: str, **facts: Any) -> Any:
    """Return a value as JSON holds it; tuples and mappings are marked as what they are.

    Parameters
    ----------
    value : Any
    where : str
        Whose it is, for the sentence of an error.
    **facts : Any
        The same as attributes of the error.

    Raises
    ------
    CausalkitError
        If it is none of text, numbers, truth values, None, and lists, tuples or mappings by text of such.

    Examples
    --------
    >>> write_value((1, "a"), "attribute 'size' of node 'x'")
    {'tuple': [1, 'a']}
    >>> read_value({"tuple": [1, "a"]})
    (1, 'a')
    """
    plain = value.item() if isinstance(value, np.generic) else value
    kind = type(plain)
    if kind in _AS_THEY_ARE:
        return plain
    if kind is list or kind is tuple:
        items = [write_value(item, where, **facts) for item in plain]
        return items if kind is list else {"tuple": items}
    if kind is dict and all(type(key) is str for key in plain):
        return {"mapping": {key: write_value(item, where, **facts) for key, item in plain.items()}}
    raise CausalkitError(
        f"{where} is a {type(value).__name__}, which a model file cannot hold; make it text, a number, or a list of "
        "such, or take it away",
        **facts,
    )


def read_value(value: Any) -> Any:
    """Return what `write_value` was given."""
    if isinstance(value, list):
        return [read_value(item) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tuple":
            return tuple(read_value(item) for item in content)
        if kind != "mapping":
            raise ValueError(f"a value is marked as {kind!r}")
        return {key: read_value(item) for key, item in content.items()}
    return value
