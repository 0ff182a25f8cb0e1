"""Where recorded runs lie, and how they are asked: two Ibis tables, runs and steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from causalkit.errors import TraceFormatError

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa

    from causalkit.journal_reading import Damage


@dataclass(frozen=True, eq=False)
class Store:
    """Two tables of any Ibis connection, and what is known about them.

    Attributes
    ----------
    runs, steps : ibis.Table
        With the columns that `schema_of` names.
    narrow : mapping of str to ibis.Table
        For a table that is read from its files anew at every question: the same rows with its most wanted columns, in
        memory.
    damage : tuple of Damage
        Bytes of the files that hold no record.
    caveats : tuple of str
        What an answer has to say about them.
    source : str
        What the rows were read from, in words.
    """

    runs: ir.Table
    steps: ir.Table
    narrow: Mapping[str, ir.Table] = field(default_factory=dict)
    damage: tuple[Damage, ...] = ()
    caveats: tuple[str, ...] = ()
    source: str = "tables"
    _turn: Lock = field(default_factory=Lock, repr=False)

    def frame(self, asked: ir.Table) -> pd.DataFrame:
        """Return the rows of a table expression over `runs` and `steps`."""
        # By Arrow, and not by Ibis' own way to pandas, which warns about an option of pandas on every call.
        frame: pd.DataFrame = self.arrow(asked).to_pandas()
        return frame

    def rows(self, asked: ir.Table) -> list[dict[str, Any]]:
        """Return the same, one dict per row."""
        rows: list[dict[str, Any]] = self.arrow(asked).to_pylist()
        return rows

    def arrow(self, asked: ir.Table) -> pa.Table:
        """Return the same as an Arrow table."""
        try:
            # A connection answers one question at a time.
            with self._turn, warnings.catch_warnings():
                # On its way to some connections Ibis asks pandas for an option that pandas gives up.
                warnings.filterwarnings("ignore", "The 'future.infer_string' option")
                return _on_narrow(asked, self.narrow).to_pyarrow()
        except Exception as error:
            # Each kind of connection has errors of its own.
            reason = str(error).partition("\n")[0]
            raise TraceFormatError(
                f"{self.source} gives no answer ({type(error).__name__}: {reason}); if it has changed, load it anew",
                path=self.source,
            ) from error


def _on_narrow(asked: ir.Table, narrow: Mapping[str, ir.Table]) -> ir.Table:
    """Put the tables in memory where an expression stands on the files, if their columns are enough for it."""
    if not narrow:
        return asked
    import ibis.expr.operations as ops

    used = {name.name for name in asked.op().find(ops.Field)} | set(asked.columns)
    tables = {table.name: table for table in asked.op().find(ops.DatabaseTable)}
    swaps = {
        table: narrow[name].op()
        for name, table in tables.items()
        if name in narrow and not (set(table.schema) - set(narrow[name].columns)) & used
    }
    return asked.op().replace(swaps).to_expr() if swaps else asked


@cache
def schema_of(table: str) -> dict[str, str]:
    """Return the columns and Ibis types of the table ``runs`` or ``steps``.

    Examples
    --------
    >>> list(schema_of("steps"))[:4]
    ['position', 'request_id', 'workflow_name', 'mode']
    """
    error = {"error_type": "string", "error": "string", "error_stack": "string", "error_cause": "string"}
    head = {"position": "int64", "request_id": "string", "workflow_name": "string", "mode": "string"}
    rest = {"attributes": "json", "notes": "json"}
    if table == "steps":
        times = {"start": "timestamp('UTC')", "latency_ms": "float64", "success": "boolean"}
        costs = {"vram_peak_mb": "float64", "model_loads": "int32"}
        return {
            **head,
            "step_id": "string",
            "parent_id": "string",
            "step_name": "string",
            **times,
            **costs,
            **error,
        } | rest
    told = {"question": "string", "conversation_id": "string", "router_version": "string", "turn_index": "int32"}
    end = {"timestamp": "timestamp('UTC')", "success": "boolean", "crashed": "boolean", "total_latency_ms": "float64"}
    out = {"final_answer": "string", "urls_used": "json", "quality_signals": "json", "cost_stats": "json"}
    return head | told | end | error | out | rest | {"extra": "json"}


def of_runs(steps: ir.Table, runs: ir.Table) -> ir.Table:
    """Return the steps of these runs."""
    return steps.filter(steps.request_id.isin(runs.request_id))


def in_order(rows: ir.Table, time: str) -> ir.Table:
    """Return rows in the order in which they were recorded; steps in that in which they began."""
    position = "position" if "position" in rows.columns else "request_id"
    return rows.order_by([time, position] if time == "start" else [position])
