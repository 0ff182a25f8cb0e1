"""Fits that are kept in a folder and found again by everything that they depend on."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError, FitError, ModelFormatError
from causalkit.scm.static import Source, infer_all
from causalkit.scm.storage import SCHEMA, load, save

if TYPE_CHECKING:
    import networkx as nx

    from causalkit.scm.fitter import SCMFitter
    from causalkit.scm.model import FittedSCM

# The rest decides where a fit is kept, how it is shown and whether it is handed over, not what it is.
_WITHOUT_INFLUENCE = ("cache", "n_jobs", "on_failure", "progress")
_LIBRARIES = ("causalkit", "numpy", "pandas", "scikit-learn", "scipy")


class CacheWarning(UserWarning):
    """A fit could not be kept in the cache, and was returned all the same."""


def cached(
    fitter: SCMFitter,
    causal_graph: nx.DiGraph[str],
    traces: pd.DataFrame,
    function_code: Mapping[str, Source] | Source | None,
    derived: Mapping[str, str] | None,
    make: Callable[[], FittedSCM],
) -> FittedSCM:
    """Return the fit that is kept for these arguments, or make it and keep it.

    Parameters
    ----------
    fitter : SCMFitter
        With a `cache`.
    causal_graph, traces, function_code, derived
        What `SCMFitter.fit` was given.
    make : callable
        Makes the fit. What it raises is kept nowhere.

    Returns
    -------
    FittedSCM
        The same numbers either way. An entry that is damaged is made anew and replaced.

    Raises
    ------
    FitError
        If the folder cannot be made, or has no such fit and cannot be written to (``.path``).

    Warns
    -----
    CacheWarning
        If the fit was made and could not be kept.
    """
    folder = _folder(fitter)
    try:
        key = fit_key(fitter, causal_graph, traces, function_code, derived)
    except (AttributeError, CausalkitError):
        # No graph or no table: the fit itself knows best how to say so.
        return make()
    entry = folder / f"{key}.scm"
    try:
        return replace(load(entry), settings=fitter)
    except (ModelFormatError, OSError):
        if not os.access(folder, os.W_OK):
            raise FitError(
                f"the folder {folder} has no fit of this kind and cannot be written to; choose another cache",
                path=folder,
            ) from None
    scm = make()
    try:
        save(scm, entry)
    except (CausalkitError, OSError) as error:
        warnings.warn(f"the fit could not be kept in {folder}: {error}", CacheWarning, stacklevel=3)
    return scm


def fit_key(
    fitter: SCMFitter,
    causal_graph: nx.DiGraph[str],
    traces: pd.DataFrame,
    function_code: Mapping[str, Source] | Source | None,
    derived: Mapping[str, str] | None,
) -> str:
    """Return the SHA-256 of everything that a fit depends on.

    Of source it takes what is proven from it: the same text may prove something else where a constant has changed.

    Examples
    --------
    >>> import networkx as nx
    >>> from causalkit.scm.fitter import SCMFitter
    >>> graph, traces = nx.DiGraph([("x", "y")]), pd.DataFrame({"x": [1.0, 2.0], "y": [2.0, 4.0]})
    >>> keys = {fit_key(SCMFitter(random_seed=seed), graph, traces, None, None) for seed in (0, 0, 1)}
    >>> len(keys)
    2
    """
    settings = {
        field.name: getattr(fitter, field.name) for field in fields(fitter) if field.name not in _WITHOUT_INFLUENCE
    }
    claims = {} if function_code is None else infer_all(causal_graph, function_code)
    parts: list[Any] = [
        SCHEMA,
        [(name, version(name)) for name in _LIBRARIES],
        settings,
        list(causal_graph.nodes(data=True)),
        sorted(causal_graph.edges(data=True), key=lambda edge: edge[:2]),
        causal_graph.graph,
        sorted((derived or {}).items()),
        function_code is None,
        [
            (node, str(claim.expression), claim.offset, claim.coefficients, claim.variables, claim.reason)
            for node, claim in claims.items()
        ],
        [traces.attrs.get(name) for name in ("knobs", "caveats")],
    ]
    found = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass"))
    for part in _table_parts(traces, {*causal_graph, fitter.groups}):
        # With its length: no two tables may run together into the same bytes.
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def _folder(fitter: SCMFitter) -> Path:
    folder = Path(str(fitter.cache))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FitError(f"{folder} cannot be a cache: {error}; choose another folder", path=folder) from error
    return folder


def _table_parts(traces: pd.DataFrame, used: set[str | None]) -> Iterator[bytes]:
    """Yield names of all columns, and values of those that a fit looks at."""
    yield repr([(name, str(kind)) for name, kind in zip(traces.columns, traces.dtypes, strict=True)]).encode(
        "utf-8", "surrogatepass"
    )
    yield _values(traces.index.to_series())
    for place, name in enumerate(traces.columns):
        if name in used:
            yield _values(traces.iloc[:, place])


def _values(column: pd.Series[Any]) -> bytes:
    if isinstance(column.dtype, pd.CategoricalDtype):
        kind = repr((column.dtype.categories.tolist(), column.dtype.ordered))
        return kind.encode("utf-8", "surrogatepass") + column.cat.codes.to_numpy().tobytes()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.to_numpy().tobytes()
    return repr(column.tolist()).encode("utf-8", "surrogatepass")
