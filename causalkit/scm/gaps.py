"""Rows with holes: what was not recorded is taken from the model, and how much that blurs is worked out.

A missing value becomes what its mechanism gives for the parents, without noise; a root's becomes its usual one. Noise
of the nodes below then contains the noise that the missing node really had. How much wider that makes it is seen on the
normal rows, in which the same values are taken out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from causalkit.errors import FitError
from causalkit.scm.arrays import BoolArray, FloatArray
from causalkit.scm.classification import Classification
from causalkit.scm.derived import combine
from causalkit.scm.noise import abduct
from causalkit.scm.preparing import MISSING_SUFFIX
from causalkit.streams import stream
from causalkit.tables import check_table

if TYPE_CHECKING:
    from causalkit.scm.state import FittedState, Mechanism

# Normal rows that tell how much wider noise becomes.
_ROWS = 500


def with_gaps(scm: FittedState, table: pd.DataFrame, nodes: list[str], kind: str) -> pd.DataFrame:
    """Return the nodes' columns as floats, NaN where a value or a whole column is missing.

    Raises
    ------
    FitError
        If there is no row, or none of the nodes has a value anywhere.
    """
    present = [node for node in nodes if not isinstance(table, pd.DataFrame) or node in table.columns]
    rows = check_table(table, present, levels=scm.levels, missing="keep")
    if rows.empty and not len(rows):
        raise FitError(f"there are no {kind} rows; the table is empty")
    rows = rows.reindex(columns=nodes)
    for node in nodes:
        recorded = node.removesuffix(MISSING_SUFFIX)
        if scm.role(node) == "missing" and node not in present and recorded in present:
            rows[node] = rows[recorded].isna().astype(float)
    if rows.isna().all(axis=None):
        raise FitError(f"the {kind} rows have no value of any of {', '.join(nodes)}; give the nodes' columns")
    return rows


def filled(scm: FittedState, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with every missing value as the model expects it, parents before children."""
    values = {str(node): rows[[node]].to_numpy() for node in rows}
    for node in (node for node in scm.order if node in values):
        gaps = np.isnan(values[node])
        if gaps.any():
            values[node] = np.where(gaps, _expected(scm, node, values), values[node])
    return pd.DataFrame({node: column[:, 0] for node, column in values.items()}, index=rows.index)


def recorded(scm: FittedState, node: str) -> BoolArray:
    """Return which rows that the model was fitted to have values of a node and of all its parents."""
    if node in scm.mechanisms:
        return scm.rows_of(node)
    return scm.observed.get(node, np.ones(len(scm.table), dtype=bool))


def drawn_as_beside(scm: FittedState, node: str, present: BoolArray, after: BoolArray) -> FittedState:
    """Return the model of two tables with what rows lack of a node drawn as rows of their own table have it.

    Parameters
    ----------
    scm : FittedState
        What is missing of the node's parents is filled already.
    node : str
    present, after : ndarray of bool, shape (rows,)
        Which rows have the node and its parents; which rows are of the second table.
    """
    values, rng = scm.table[node].to_numpy().copy(), stream(scm.random_seed, f"missing {node}")
    columns = scm.table[sorted(scm.graph.predecessors(node))]
    mechanism = scm.mechanisms.get(node)
    for side in (after, ~after):
        absent, beside = np.isnan(values) & side, present & side
        if not absent.any():
            continue
        source = beside if beside.any() else present
        if node in scm.derived:
            parts = {str(parent): columns.loc[absent, [parent]].to_numpy() for parent in columns}
            values[absent] = combine(scm.derived[node], parts, scm.levels)[:, 0]
        elif mechanism is None:
            values[absent] = rng.choice(values[source], absent.sum())
        else:
            like = mechanism.at(source[present]).noise_source(columns[source].to_numpy(), int(absent.sum()), rng)
            values[absent] = mechanism.respond(list(columns[absent].to_numpy().T[:, :, None]), like)[:, 0]
    filled = replace(scm, table=scm.table.assign(**{node: values}))
    return filled if mechanism is None else _with_noise_of_all_rows(filled, mechanism, present, rng)


def _with_noise_of_all_rows(
    scm: FittedState, mechanism: Mechanism, present: BoolArray, rng: np.random.Generator
) -> FittedState:
    if isinstance(mechanism, Classification):
        return scm
    columns, target = scm.table[list(mechanism.parents)].to_numpy(), scm.table[[mechanism.node]].to_numpy()
    noise = mechanism.abduct(target, list(columns.T[:, :, None]), None, rng)[:, 0]
    noise[present] = mechanism.residuals
    return replace(scm, mechanisms={**scm.mechanisms, mechanism.node: mechanism.with_residuals(noise)})


def blur(scm: FittedState, gaps: BoolArray, nodes: list[str], asked: list[str]) -> dict[str, FloatArray]:
    """Return by how much each row's noise is wider for its gaps, 1 for no wider.

    Parameters
    ----------
    scm : FittedState
    gaps : ndarray of bool, shape (rows, nodes)
    nodes : list of str
        The columns of `gaps`.
    asked : list of str
        The nodes whose noise is asked for.

    Returns
    -------
    dict of str to ndarray, shape (rows,)
        At least 1; infinite where the node itself is missing, which says nothing about its noise.
    """
    wider = {node: np.ones(len(gaps)) for node in asked}
    patterns, which = np.unique(gaps, axis=0, return_inverse=True)
    every = max(1, len(scm.table) // _ROWS)
    usual = scm.table[nodes].iloc[::every]
    whole = abduct(scm, usual, asked) if gaps.any() else {}
    for place, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        holed = abduct(scm, filled(scm, usual.mask(np.broadcast_to(pattern, usual.shape))), asked)
        for node in asked:
            told = recorded(scm, node)[::every]
            before, after = (float(np.std(noise[node][told if told.any() else ~told])) for noise in (whole, holed))
            ratio = np.inf if pattern[nodes.index(node)] else max(1.0, after / before if before > 0 else 1.0)
            wider[node][np.ravel(which) == place] = ratio
    return wider


def _expected(scm: FittedState, node: str, values: dict[str, FloatArray]) -> FloatArray:
    if node in scm.derived:
        parts = {parent: values[parent] for parent in sorted(scm.graph.predecessors(node))}
        return combine(scm.derived[node], parts, scm.levels)
    if node not in scm.mechanisms:
        seen = scm.table[node]
        return np.full_like(values[node], seen.mode()[0] if node in scm.levels else seen.median())
    mechanism = scm.mechanisms[node]
    # Noise of 0 is the middle of a number's noise; of a label's, one half is the middle label.
    middle = np.full_like(values[node], 0.0 if mechanism.additive else 0.5)
    return mechanism.respond([values[parent] for parent in mechanism.parents], middle)
