"""The causal graph over the columns of a trace table: every edge is one that the runs prove or cannot rule out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import networkx as nx

from causalkit.workflows.dataflow import Influence
from causalkit.workflows.trace_columns import OR_0, USAGE, StepColumns, TraceColumns

if TYPE_CHECKING:
    import pandas as pd

TOTAL, UNACCOUNTED, PARALLEL, SUCCESS = "total_latency_ms", "unaccounted_ms", "parallel_ms", "success"
# What of a step bears on what else of it: its output comes from its input, and its time from all that it did.
_WITHIN = {
    "retries": ("success",),
    "count": ("retries",),
    "input_size": ("count",),
    "input_tokens": ("count", "model", "input_size"),
    "output_tokens": ("count", "model", "success", "input_size", "input_tokens"),
    "output_size": ("count", "model", "success", "input_size", "input_tokens", "output_tokens"),
    "cost_usd": ("model", "input_tokens", "output_tokens"),
    "vram_peak_mb": ("model", "input_size", "input_tokens"),
    "self_ms": ("count", "model", "success", "retries", "input_size", "output_size", "input_tokens", "output_tokens"),
}
_WITHIN["further_ms"] = _WITHIN["self_ms"]
_FLOWS = (("output_size", "input_size"), ("output_tokens", "input_tokens"))
# In fewer runs than that it is luck that two steps never ran together.
_LEAST_EXPECTED = 5
# Relative to the mean: sums of recorded numbers are right up to their rounding.
_ROUNDING = 1e-4

Part = tuple[str, str]


class GraphOfColumns:
    """A graph that grows by one subject after the other.

    Parameters
    ----------
    columns : TraceColumns
    table : pandas.DataFrame
        All columns.
    causes : mapping of str to str
        Knobs and confounders that vary, with their role.
    influences : mapping of str to mapping
        By step: the knobs that can have influenced it.
    """

    def __init__(
        self,
        columns: TraceColumns,
        table: pd.DataFrame,
        causes: Mapping[str, str],
        influences: Mapping[str, Mapping[str, Influence]],
    ) -> None:
        self.graph: nx.DiGraph[str] = nx.DiGraph()
        self._steps, self._columns, self._table = columns.steps, columns, table
        self._causes, self._influences = causes, influences
        for role in ("knob", "confounder"):
            self.graph.add_nodes_from((name for name, told in causes.items() if told == role), role=role)

    def add_steps(self) -> None:
        """Add what each step did, with its causes."""
        for name, step in self._steps.items():
            if step.optional:
                self._add_presence(name, step)
            for suffix in self._columns.columns_of(step):
                if suffix != "latency_ms":
                    self._add_quantity(name, step, suffix)

    def add_flows(self, flows: Iterable[tuple[str, str]]) -> None:
        """Add that the input of steps holds what others put out; of two that feed each other only the earlier does."""
        places = {name: place for place, name in enumerate(self._steps)}
        for maker, taker in sorted(flows):
            if places[maker] < places[taker]:
                for out, into in _FLOWS:
                    why = f"the input of {taker!r} held what {maker!r} had put out"
                    self._connect([self._outside(maker, out)], self._own(taker, into), "dataflow", why)

    def add_times(self) -> None:
        """Add the times outside the steps, the total of all times, and the latencies of steps."""
        rest = [UNACCOUNTED, *([PARALLEL] if PARALLEL in self._table else [])]
        self.graph.add_nodes_from(rest, role="time")
        self._connect_confounders(UNACCOUNTED)
        for caller in (None, *self._steps):
            for name in self._columns.callees(caller):
                around = UNACCOUNTED if caller is None else self._own(caller, "self_ms")
                ends = [self._steps[name].ran, self._own(name, "count")]
                self._connect(ends, around, "call", f"each call of {name!r} takes time around it")
        if PARALLEL in self._table:
            knobs = [name for name, role in self._causes.items() if role == "knob"]
            self._connect(knobs, PARALLEL, "unrecorded", "not ruled out: it may change what runs side by side")
            beside = [self._outside(name, "self_ms") for name in self._steps if name in self._columns.beside]
            self._connect(beside, PARALLEL, "call", "it ran side by side with others")
        parts = [(name, suffix) for name in self._steps for suffix in ("self_ms", "further_ms")]
        self.graph.add_node(TOTAL, role="derived")
        self._sum(TOTAL, parts, rest, {}, "the total is the sum of its parts")
        for name in self._steps:
            self._add(self._own(name, "latency_ms"), "time")
        for name in self._steps:
            called = [(other, "latency_ms") for other in self._columns.callees(name)]
            why = dict.fromkeys(called, f"{name!r} calls it and waits for it")
            own = self._own(name, "latency_ms")
            self._sum(own, [(name, "self_ms"), (name, "further_ms"), *called], [], why, "the latency has its own time")

    def add_run(self, quality: Iterable[str]) -> None:
        """Add what there is of the run as a whole: what it used up, whether it succeeded, how good its answer was."""
        for suffix in USAGE:
            self._add(total := f"total_{suffix}", "")
            self._sum(total, [(name, suffix) for name in self._steps], [], {}, "the total is the sum of its parts")
        for name in (SUCCESS, *quality):
            self._add(name, "")
        self._connect_success()
        for name in quality:
            self._connect_causes(name, None)
            self._connect([SUCCESS], name, "control", "a run that fails answers otherwise")

    def _connect_success(self) -> None:
        """Make a run a success where all of its steps are, if that is so; otherwise they bear on it."""
        known = [name for name in self._steps if self._own(name, "success") in self.graph]
        if not known or SUCCESS not in self.graph:
            self._connect_causes(SUCCESS, None)
            return
        columns = [self._table[self._steps[name].name("success")].fillna(1.0).astype(bool) for name in known]
        all_well = bool((reduce(and_, columns) == self._table[SUCCESS]).all())
        factors = []
        for name in known:
            step, own = self._steps[name], self._own(name, "success")
            factors.append(f"(1 - {step.ran} + {step.ran} * {own})" if step.optional else own)
            parts = [step.ran] if step.optional else []
            parts.append(own if all_well else self._outside(name, "success"))
            self._connect(parts, SUCCESS, "control", f"a run fails where {name!r} does")
        if all_well:
            self.graph.nodes[SUCCESS].update(role="derived", derived=" * ".join(factors))
        else:
            self._connect_causes(SUCCESS, None)

    def _add_presence(self, name: str, step: StepColumns) -> None:
        self.graph.add_node(step.ran, role="")
        decides = self._deciding(name, step)
        if decides and (self._table[decides[0]] == self._table[step.ran]).all():
            self.graph.nodes[step.ran].update(role="derived", derived=decides[0])
            self._connect(decides[:1], step.ran, "control", f"{name!r} ran in exactly these runs")
            return
        self._connect_causes(step.ran, name)
        for cause in decides:
            together = (self._table[cause].astype(bool) & self._table[step.ran]).any()
            why = f"{name!r} never ran {'without' if together else 'beside'} it"
            self._connect([cause], step.ran, "control", why)

    def _deciding(self, name: str, step: StepColumns) -> list[str]:
        """Return what of earlier steps goes with this one always or never, the tightest first."""
        ran, found = self._table[step.ran], []
        for other, earlier in self._steps.items():
            if other == name:
                break
            if self._columns.always_before(name, other):
                continue
            for node in (self._outside(other, "success"), earlier.ran if earlier.optional else None):
                if node is None or node not in self.graph:
                    continue
                there = self._table[node].astype(bool)
                for absent in (~there, there):
                    if not (ran & absent).any() and absent.sum() * ran.mean() >= _LEAST_EXPECTED:
                        found.append((absent, node))
        found.sort(key=lambda pair: -pair[0].sum())
        kept: list[tuple[Any, str]] = []
        for absent, node in found:
            # What is absent only where another one is says nothing more.
            if not any((absent <= other).all() for other, _ in kept):
                kept.append((absent, node))
        return [node for _, node in kept]

    def _add_quantity(self, name: str, step: StepColumns, suffix: str) -> None:
        node, is_time = self._own(name, suffix), suffix in ("self_ms", "further_ms")
        if not is_time and not varies(self._table[node]):
            return
        self.graph.add_node(node, role="time" if is_time else "")
        if step.optional:
            self.graph.nodes[node]["present"] = step.ran
        if step.rare:
            self._connect([step.ran], node, "control", f"{name!r} ran in too few runs to be known without the others")
        parents = [self._own(name, other) for other in _WITHIN.get(suffix, ())]
        self._connect(parents, node, "step", f"what {name!r} did before, or was given, bears on it")
        if suffix != "cost_usd":
            self._connect_causes(node, name)

    def _own(self, name: str, suffix: str) -> str:
        """Return the node of what a step did, for what else the same step did."""
        step = self._steps[name]
        return step.name(suffix) + (OR_0 if step.rare and suffix != "model" else "")

    def _outside(self, name: str, suffix: str) -> str:
        """Return the node of what a step did, for all else: 0 where the step did not run."""
        own, step = self._own(name, suffix), self._steps[name]
        if not step.optional or step.rare or own not in self.graph:
            return own
        if own + OR_0 not in self.graph:
            self.graph.add_node(own + OR_0, role="derived", derived=f"{step.ran} * {own}")
            self._connect([step.ran, own], own + OR_0, "sum", f"{own} where {name!r} ran, and 0 elsewhere")
        return own + OR_0

    def _sum(self, node: str, parts: Iterable[Part], others: list[str], why: Mapping[Part, str], usual: str) -> None:
        """Make a node the sum of what steps did, if it is; otherwise they are its causes."""
        if node not in self.graph:
            return
        known = [part for part in parts if self._own(*part) in self.graph]
        columns = [self._table[self._own(*part)].fillna(0.0) * self._factor(part) for part in known]
        rest = self._table[node] - sum([self._table[name] for name in others], start=sum(columns))
        if not columns + others or not rest.abs().max() <= _ROUNDING * self._table[node].abs().mean():
            for part in known:
                self._connect([self._outside(*part)], node, "call", why.get(part, usual))
            self._connect_causes(node, None)
            return
        terms = []
        for part in known:
            step, own = self._steps[part[0]], self._own(*part)
            factors = [step.ran] if step.optional and not step.rare else []
            factors += [self._own(part[0], "count")] if self._counts(part) else []
            terms.append(" * ".join([*factors, own]))
            self._connect([*factors, own], node, "call" if part in why else "sum", why.get(part, usual))
        self._connect(others, node, "sum", usual)
        plain = all(" " not in term for term in terms)
        self.graph.nodes[node].update(role="derived", derived="sum" if plain else " + ".join([*terms, *others]))

    def _counts(self, part: Part) -> bool:
        return self._columns.repeated == "mean" and part[1] == "self_ms" and self._steps[part[0]].repeats

    def _factor(self, part: Part) -> Any:
        return self._table[self._own(part[0], "count")].fillna(0.0) if self._counts(part) else 1.0

    def _add(self, name: str, role: str) -> None:
        if name in self._table and varies(self._table[name]):
            self.graph.add_node(name, role=role)

    def _connect(self, parents: Iterable[str], child: str, kind: str, why: str) -> None:
        if child in self.graph:
            known = [parent for parent in parents if parent in self.graph]
            self.graph.add_edges_from(((parent, child) for parent in known), kind=kind, why=why)

    def _connect_causes(self, child: str, step_name: str | None) -> None:
        """Connect the knobs that can have influenced a step, or all of them, and what may confound."""
        unknown = Influence("unrecorded", "not ruled out: nothing records what it depends on")
        knobs = {name: unknown for name, role in self._causes.items() if role == "knob"}
        for knob, (kind, why) in (knobs if step_name is None else self._influences[step_name]).items():
            self._connect([knob], child, kind, why)
        self._connect_confounders(child)

    def _connect_confounders(self, child: str) -> None:
        for name, role in self._causes.items():
            if role == "confounder":
                self._connect([name], child, "confounder", f"{name} may slow anything that runs")


def varies(column: pd.Series[Any]) -> bool:
    """Return whether a column has more than one value: a constant explains nothing, and would widen every interval."""
    # Compared as text, because None and NaN differ from themselves; what is missing is no value.
    return len(set(column.map(repr))) > 1
