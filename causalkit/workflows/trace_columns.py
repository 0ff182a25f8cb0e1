"""What the steps of runs did, as columns: one value a run for each quantity of each step, however often it ran."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import msgspec

from causalkit.errors import GraphError
from causalkit.workflows.records import StepTrace, WorkflowTrace
from causalkit.workflows.selftime import own_times_of_steps, parallel_ms, side_by_side

if TYPE_CHECKING:
    import pandas as pd

# The columns of a step, by the word that asks for them; those of one step are causes before their effects.
COLUMNS = {
    "success": ("success",),
    "retries": ("retries",),
    "count": ("count",),
    "sizes": ("input_size", "output_size"),
    "tokens": ("model", "input_tokens", "output_tokens"),
    "cost": ("cost_usd",),
    "vram": ("vram_peak_mb",),
    "self": ("self_ms",),
    "latency": ("latency_ms",),
    "quality": (),
}
RULES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
    "max": max,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
}
INPUT, OUTPUT = "causalkit.input", "causalkit.output"
USAGE = {
    "input_tokens": ("gen_ai.usage.input_tokens", "input_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "output_tokens"),
    "cost_usd": ("causalkit.cost_usd", "cost_usd"),
}
OR_0 = "_or_0"
# A fifth of the rows is held out, of which a mechanism needs twenty: fewer runs tell too little of a step by itself.
_FEWEST_RUNS = 150
# What bears on something outside of its step is needed where the step did not run, too.
_BEARS_OUTSIDE = ("success", "output_size", "output_tokens", "latency_ms")


@dataclass
class StepColumns:
    """The columns of one step.

    Attributes
    ----------
    prefix : str
        What they begin with: the step's name in letters, digits and ``_``.
    present : list of bool
        In which runs it ran.
    values : dict of str to list
        By what they end with, one value a run; None where the step did not run or the value was not recorded.
    """

    prefix: str
    present: list[bool]
    values: dict[str, list[Any]]

    @property
    def optional(self) -> bool:
        """Whether it ran in some runs only."""
        return not all(self.present)

    @property
    def rare(self) -> bool:
        """Whether it ran in too few runs to be modelled where it ran."""
        return self.optional and sum(self.present) < _FEWEST_RUNS

    @property
    def repeats(self) -> bool:
        """Whether it ran more than once in some run."""
        return any(number > 1 for number in self.values["count"] if number)

    @property
    def ran(self) -> str:
        """The column that says whether it ran."""
        return f"{self.prefix}_ran"

    def name(self, suffix: str) -> str:
        """Return the name of a column."""
        return f"{self.prefix}_{suffix}"


@dataclass
class TraceColumns:
    """The columns of all steps, and what the runs tell beside.

    Attributes
    ----------
    steps : dict of str to StepColumns
        By the step's name, in the order in which they first began.
    suffixes : set of str
        Which columns of a step were asked for.
    repeated : str
        How the values of a step that ran more than once became one.
    parallel : list of float
        The time that steps side by side saved, one value a run.
    beside : set of str
        Which steps ran beside others.
    before : set of (str, str)
        Which step began before which, in some run.
    calls : dict of str to set of str
        Which steps ran directly in which; under None those that ran directly in the run.
    """

    suffixes: set[str]
    repeated: str
    steps: dict[str, StepColumns] = field(default_factory=dict)
    parallel: list[float] = field(default_factory=list)
    beside: set[str] = field(default_factory=set)
    before: set[tuple[str, str]] = field(default_factory=set)
    calls: defaultdict[str | None, set[str]] = field(default_factory=lambda: defaultdict(set))
    _paths: set[tuple[str, ...]] = field(default_factory=set, repr=False)

    def add(self, run: WorkflowTrace) -> None:
        """Take one more run."""
        place, found = len(self.parallel), _values_of(run, self.repeated)
        for name, values in found.items():
            step = self.steps.get(name)
            if step is None:
                step = self.steps[name] = StepColumns(self._prefix(name), [False] * place, defaultdict(list))
            for suffix, value in values.items():
                column = step.values[suffix]
                column += [None] * (place - len(column))
                column.append(value)
        for name, step in self.steps.items():
            step.present.append(name in found)
        self.parallel.append(saved := parallel_ms(run))
        if saved:
            self.beside |= side_by_side(run)
        self._take_order(tuple(dict.fromkeys(step.step_name for step in run.steps)))
        names = {step.step_id: step.step_name for step in run.steps}
        for each in run.steps:
            self.calls[names.get(each.parent_id or "")].add(each.step_name)

    @property
    def overlaps(self) -> bool:
        """Whether steps ran side by side in some run; of one that crashed, that is not known."""
        return any(saved != 0 for saved in self.parallel if saved == saved)

    def callees(self, caller: str | None) -> list[str]:
        """Return the steps that ran directly in one, less those in which it runs itself."""
        return [name for name in self.steps if name in self.calls[caller] and caller not in self._below(name)]

    def _below(self, name: str) -> set[str | None]:
        found: set[str | None] = {name}
        waiting = [name]
        while waiting:
            waiting += (new := self.calls[waiting.pop()] - found)
            found |= new
        return found

    def always_before(self, first: str, second: str) -> bool:
        """Return whether one step always began before another, which then is no cause of it."""
        return (first, second) in self.before and (second, first) not in self.before

    def columns_of(self, step: StepColumns) -> list[str]:
        """Return what the columns of a step end with that were asked for, and those that its times need."""
        needed = []
        if step.repeats and self.repeated == "mean":
            needed = ["count"]
        elif step.repeats and self.repeated != "sum":
            needed = ["further_ms"]
        order = [*(suffix for suffixes in COLUMNS.values() for suffix in suffixes), "further_ms"]
        asked = {*self.suffixes, *needed}
        told = (suffix for suffix in order if suffix in asked)
        return [suffix for suffix in told if any(value is not None for value in step.values[suffix])]

    def table(self, index: pd.Index[Any]) -> pd.DataFrame:
        """Return the columns of all steps, in the order of `steps`."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name, step in self.steps.items():
            if step.optional:
                columns[step.ran] = pd.Series(step.present, index)
            for suffix in self.columns_of(step):
                values = step.values[suffix] + [None] * (len(index) - len(step.values[suffix]))
                kind = object if suffix == "model" or (suffix == "success" and step.optional) else None
                column = pd.Series(values, index, dtype=kind)
                columns[step.name(suffix)] = column.where(column.notna(), float("nan")) if kind else column
                if self.or_0(name, suffix):
                    known = column.astype(float) if suffix != "model" else column
                    columns[step.name(suffix) + OR_0] = known.where(pd.Series(step.present, index), 0.0)
        return pd.DataFrame(columns, index)

    def or_0(self, name: str, suffix: str) -> bool:
        """Return whether a value of a step is wanted as 0 where the step did not run, too."""
        step = self.steps[name]
        outside = suffix in _BEARS_OUTSIDE or (suffix == "self_ms" and name in self.beside)
        return suffix != "model" and (step.rare or (step.optional and outside))

    def _take_order(self, names: tuple[str, ...]) -> None:
        # Thousands of runs follow a handful of paths; each path is looked at once.
        if names not in self._paths:
            self._paths.add(names)
            self.before.update(combinations(names, 2))

    def _prefix(self, name: str) -> str:
        taken = {step.prefix for step in self.steps.values()}
        prefix = cleaned = clean_name(name)
        number = 2
        while prefix in taken:
            prefix, number = f"{cleaned}_{number}", number + 1
        return prefix


def clean_name(name: str) -> str:
    """Return a name in letters, digits and ``_``, as a formula can have it.

    Examples
    --------
    >>> [clean_name(name) for name in ("rerank", "openai/chat gpt-4", "2nd pass", "")]
    ['rerank', 'openai_chat_gpt_4', '_2nd_pass', '_']
    """
    cleaned = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name)).strip("_") or "_"
    return cleaned if cleaned.isidentifier() and not keyword.iskeyword(cleaned) else f"_{cleaned}"


def wanted_columns(variables: str | Iterable[str]) -> set[str]:
    """Return the words that were asked for, all of them for ``"all"``.

    Raises
    ------
    GraphError
        If there is no such word.
    """
    asked = [variables] if isinstance(variables, str) else list(variables)
    unknown = [word for word in asked if word not in (*COLUMNS, "all")]
    if unknown:
        raise GraphError(f"there are no variables {unknown[0]!r}; choose of {', '.join(COLUMNS)}, or 'all'")
    return set(COLUMNS) if "all" in asked else {"self", *asked}


def usage_of_run(run: WorkflowTrace, suffix: str) -> float | None:
    """Return what all steps of a run used up, or what the run itself tells where they do not; None if neither does."""
    told = [value for value in _usage(run, suffix) if value is not None]
    if told:
        return sum(told)
    return _number({**run.cost_stats, **run.attributes}, USAGE[suffix])


def text_of(value: Any) -> str:
    """Return an input or output as text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _values_of(run: WorkflowTrace, repeated: str) -> dict[str, dict[str, Any]]:
    """Return by step and quantity the one value that a run has of it."""
    used = {suffix: _usage(run, suffix) for suffix in USAGE}
    retried = _retries(run)
    executions: defaultdict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for place, (step, own_ms) in enumerate(zip(run.steps, own_times_of_steps(run), strict=True)):
        told = {
            "self_ms": own_ms,
            "latency_ms": step.latency_ms,
            "count": 1,
            "retries": retried[place],
            "success": step.success,
            "model": step.attributes.get("gen_ai.request.model"),
            "vram_peak_mb": step.vram_peak_mb,
            "input_size": _size(step, INPUT),
            "output_size": _size(step, OUTPUT),
            **{suffix: column[place] for suffix, column in used.items()},
        }
        for suffix, value in told.items():
            if value is not None:
                executions[step.step_name][suffix].append(value)
    return {name: _as_one(of, repeated) for name, of in executions.items()}


_OWN_RULES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "count": sum,
    "retries": sum,
    "success": all,
    "model": RULES["first"],
}


def _as_one(of: dict[str, list[Any]], repeated: str) -> dict[str, Any]:
    rules = _OWN_RULES | ({"vram_peak_mb": max} if repeated == "sum" else {})
    found = {suffix: rules.get(suffix, RULES[repeated])(values) for suffix, values in of.items()}
    return {**found, "further_ms": sum(of["self_ms"]) - found["self_ms"]}


def _retries(run: WorkflowTrace) -> list[int]:
    """Return for each step 1 where it repeats a step of the same name and parent that failed just before."""
    failed: dict[tuple[str | None, str], bool] = {}
    found = []
    for step in run.steps:
        found.append(int(failed.get((step.parent_id, step.step_name), False)))
        failed[step.parent_id, step.step_name] = not step.success
    return found


def _usage(run: WorkflowTrace, suffix: str) -> list[float | None]:
    """Return what each step used up; None for those that tell nothing, or once more the sum of those within them."""
    told = [_number(step.attributes, USAGE[suffix]) for step in run.steps]
    inside: defaultdict[str | None, float] = defaultdict(float)
    for place in reversed(range(len(told))):
        step, value = run.steps[place], told[place]
        within = inside[step.step_id]
        inside[step.parent_id] += within if value is None else value
        if value is not None and within and abs(value - within) <= 1e-9 * abs(value):
            told[place] = None
    return told


def _number(attributes: dict[str, Any], names: Iterable[str]) -> float | None:
    for name in names:
        value = attributes.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


def _size(step: StepTrace, name: str) -> int | None:
    value = step.attributes.get(name)
    return None if value is None else len(text_of(value))
