"""Run the named steps of a workflow, one after the other, and trace every one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from causalkit.errors import CausalkitError
from causalkit.workflows.open_runs import OpenRun
from causalkit.workflows.tracer import RUN_KEYS, Tracer

READS = "causalkit.reads"
WRITES = "causalkit.writes"

Step = Callable[["ObservedState", Any], Mapping[str, Any] | None]


class ObservedState(MutableMapping[str, Any]):
    """A workflow's state that notes which keys a step reads and which it writes.

    What a step never read cannot have influenced it: this is where the causal graph of a workflow comes from. A value
    that a step changes in place is not seen as written; a step should return what it makes.

    Examples
    --------
    >>> state = ObservedState({"question": "why?"})
    >>> state["answer"] = state["question"].upper()
    >>> sorted(state.reads), sorted(state.writes)
    (['question'], ['answer'])
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self.forget()

    def forget(self) -> None:
        """Begin anew with noting, for the next step."""
        self.reads: set[str] = set()
        self.writes: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.reads.add(key)
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.writes.add(key)
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        self.writes.add(key)
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        # Whoever walks over the keys may depend on any of them.
        self.reads.update(self._values)
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        self.reads.add(str(key))
        return key in self._values

    def snapshot(self) -> dict[str, Any]:
        """Return the state as a plain dict, without noting a read."""
        return dict(self._values)


class GraphExecutor:
    """Run workflows that are made of named steps.

    Parameters
    ----------
    workflows : mapping of str to sequence
        For each workflow its steps in order: callables ``step(state, runtime)``, or objects with such a ``run``. The
        name of a step is its ``name`` or ``__name__``. What a step returns (a mapping) is put into the state.
    tracer : Tracer
        Records every run and every step, with the state keys each step read and wrote.

    Raises
    ------
    CausalkitError
        If a step is a coroutine function (``.step``).

    Examples
    --------
    >>> def shout(state, runtime):
    ...     return {"final_answer": state["question"].upper()}
    >>> tracer = Tracer()
    >>> GraphExecutor({"loud": [shout]}, tracer).execute("loud", {"question": "why?"})["final_answer"]
    'WHY?'
    >>> tracer.runs[0].steps[0].attributes
    {'causalkit.reads': ['question'], 'causalkit.writes': ['final_answer']}
    """

    def __init__(self, workflows: Mapping[str, Sequence[Any]], tracer: Tracer) -> None:
        self.workflows = {name: tuple(_named(step) for step in steps) for name, steps in workflows.items()}
        self.tracer = tracer

    def execute(
        self,
        name: str,
        initial_state: Mapping[str, Any],
        runtime: Any = None,
        *,
        knobs: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> dict[str, Any]:
        """Run one workflow and return its final state.

        Parameters
        ----------
        name : str
            Which workflow.
        initial_state : mapping
            Where the steps begin; ``question``, ``mode``, ``request_id``, ``conversation_id`` and ``turn_index`` are
            recorded with the run as well.
        runtime : Any
            Handed to every step as it is (an index, a model, a client).
        knobs : mapping, optional
            State keys that were set at random by design; put into the state and recorded as such.
        **attributes : Any
            Recorded with the run.

        Raises
        ------
        CausalkitError
            If there is no such workflow. Whatever a step raises is recorded and passed on.
        """
        if name not in self.workflows:
            raise CausalkitError(
                f"there is no workflow {name!r}; known are {', '.join(map(repr, self.workflows))}",
                workflow=name,
            )
        state = ObservedState({**initial_state, **(knobs or {})})
        told = {key: initial_state[key] for key in RUN_KEYS if initial_state.get(key) is not None}
        with self.tracer.workflow(name, knobs=knobs, **told, **attributes) as run:
            try:
                for step_name, step in self.workflows[name]:
                    self._run_step(run, step_name, step, state, runtime)
            finally:
                _close(run, state.snapshot())
        return state.snapshot()

    def _run_step(self, run: OpenRun, name: str, step: Step, state: ObservedState, runtime: Any) -> None:
        state.forget()
        with run.step(name) as traced:
            try:
                state.update(step(state, runtime) or {})
            finally:
                traced.attributes |= {READS: sorted(state.reads), WRITES: sorted(state.writes)}


def _named(step: Any) -> tuple[str, Step]:
    name = getattr(step, "name", None) or getattr(step, "__name__", None) or type(step).__name__
    function = step.run if hasattr(step, "run") else step
    if inspect.iscoroutinefunction(function):
        raise CausalkitError(
            f"step {name!r} is a coroutine function, and steps run one after the other without a loop; give a function "
            "that calls asyncio.run on it",
            step=name,
        )
    return name, function


def _close(run: OpenRun, state: Mapping[str, Any]) -> None:
    answer = state.get("final_answer")
    run.final_answer = None if answer is None else str(answer)
    run.urls_used = list(state.get("citations") or ())
    run.state = state
