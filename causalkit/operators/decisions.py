"""Calls put together by run: what was reported, who voted what in each ensemble, and what the judges made of it."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from causalkit.errors import CausalkitError, GraphError
from causalkit.operators.agreement import same
from causalkit.operators.calls import OperatorCall
from causalkit.operators.votes import is_known, members_of, votes_of

#: What a member that did not vote is given in place of the code of an answer.
NO_VOTE = -1
_TRUTH = "label"

Equal = Callable[[Any, Any], bool]


def name_of(text: str) -> str:
    """Return a text as a name that a formula can hold: letters, digits and ``_``.

    Anything else becomes ``_``; one is put before a digit at the start, and behind a word of Python's own.

    Examples
    --------
    >>> name_of("k-nearest #2"), name_of("3nn"), name_of("lambda")
    ('k_nearest__2', '_3nn', 'lambda_')
    """
    name = re.sub(r"\W", "_", text)
    name = name if name.isidentifier() else f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


class Codes:
    """A whole number for each answer, the same wherever it is given.

    Answers that are whole numbers from 0 up stand for themselves; any other gets a number above these, in the order in
    which they first came.

    Parameters
    ----------
    answers : iterable
    equal : callable, optional
        Whether two answers are equal; default `causalkit.operators.agreement.same`.

    Examples
    --------
    >>> codes = Codes(["cat", 4, "dog", "Cat"], equal=lambda a, b: str(a).lower() == str(b).lower())
    >>> [codes.code(answer) for answer in (4, "cat", "Cat", "dog")], codes.answers
    ([4, 5, 5, 6], {4: 4, 5: 'cat', 6: 'dog'})
    """

    def __init__(self, answers: Iterable[Any], equal: Equal | None = None) -> None:
        self.answers: dict[int, Any] = {}
        self._known: dict[Any, int] = {}
        self._equal = equal
        for answer in sorted(answers, key=lambda answer: not _is_whole(answer)):
            self.code(answer)

    def code(self, answer: Any) -> int:
        """Return the number of an answer."""
        try:
            return self._known[answer]
        except KeyError:
            code = self._known[answer] = self._found(answer)
        except TypeError:
            code = self._found(answer)
        return code

    def _found(self, answer: Any) -> int:
        # By default whole numbers equal nothing but what the dictionary finds already.
        if self._equal is not None or not _is_whole(answer):
            for code, known in self.answers.items():
                if (self._equal or same)(known, answer):
                    return code
        code = int(answer) if _is_whole(answer) else max(self.answers, default=-1) + 1
        self.answers[code] = answer
        return code


@dataclass(frozen=True)
class Ensemble:
    """One ensemble in all runs.

    Attributes
    ----------
    name : str
        Its stage, or its id where it has none, as a name.
    calls : dict of str to OperatorCall
        By run.
    votes : dict of str to dict
        By run: member -> answer.
    columns : dict of str to str
        Member -> the name that its columns begin with.
    """

    name: str
    calls: dict[str, OperatorCall]
    votes: dict[str, dict[str, Any]]
    columns: dict[str, str]

    def takes_part(self, run: str, member: str) -> bool:
        """Return whether a member was called, or voted, in a run."""
        called = {call.operator_id for call in members_of(self.calls[run])}
        return member in called or member in self.votes[run]


@dataclass(frozen=True)
class Decisions:
    """What calls tell, by run.

    Attributes
    ----------
    runs : dict of str to list of OperatorCall
        By run.
    reported : dict of str to dict
        By role (``knob``, ``covariate``, ``input``): name -> run -> value.
    ensembles : tuple of Ensemble
        In the order in which they were first called.
    judges : dict of str to dict
        Name -> run -> call.
    truths : dict of str to Any
        By run, as far as the truth is known.
    truth : str or None
        What the truth is called; None where it was not asked for.
    codes : Codes
        Of all votes, verdicts and truths.
    """

    runs: dict[str, list[OperatorCall]]
    reported: dict[str, dict[str, dict[str, Any]]]
    ensembles: tuple[Ensemble, ...]
    judges: dict[str, dict[str, OperatorCall]]
    truths: dict[str, Any]
    truth: str | None
    codes: Codes


def decisions_of(
    calls: Mapping[str, OperatorCall],
    equal: Equal | None = None,
    ground_truth: str | Mapping[str, Any] | None = None,
) -> Decisions:
    """Return what calls tell, by run.

    Raises
    ------
    CausalkitError
        If there are no calls.
    GraphError
        If an ensemble or a judge was called more than once in a run, one name was reported with two values in it, or
        no run knows the truth.
    """
    if not calls:
        raise CausalkitError("there are no calls, so there is no run to make a row of; collect events first")
    runs: dict[str, list[OperatorCall]] = {}
    for call in calls.values():
        runs.setdefault(call.run_id, []).append(call)
    ensembles = _ensembles(_called_once(runs, lambda call: call.is_ensemble))
    judges = _called_once(runs, lambda call: call.is_judge)
    truths = _truths(runs, ground_truth)
    votes = (vote for each in ensembles for cast in each.votes.values() for vote in cast.values())
    verdicts = (call.result for each in judges.values() for call in each.values() if has_verdict(call))
    truth = None if ground_truth is None else name_of(ground_truth) if isinstance(ground_truth, str) else _TRUTH
    codes = Codes([*votes, *verdicts, *truths.values()], equal)
    return Decisions(runs, _reported(runs), ensembles, judges, truths, truth, codes)


def _is_whole(answer: Any) -> bool:
    return isinstance(answer, Integral) and int(answer) >= 0


def has_verdict(judge: OperatorCall) -> bool:
    """Return whether a call's result is there to be compared."""
    return judge.has_result and is_known(judge.result)


def _called_once(
    runs: Mapping[str, list[OperatorCall]], wanted: Callable[[OperatorCall], bool]
) -> dict[str, dict[str, OperatorCall]]:
    found: dict[str, dict[str, OperatorCall]] = {}
    for run, call in ((run, call) for run, calls in runs.items() for call in calls if wanted(call)):
        name = call.operator_id if call.stage is None else call.stage
        by_run = found.setdefault(name_of(name), {})
        if run in by_run:
            raise GraphError(
                f"run {run!r} called {name!r} more than once, so it has no single decision there; let each be a run "
                "of its own, or leave such runs out",
                run_id=run,
                stage=name,
            )
        by_run[run] = call
    return found


def _ensembles(found: Mapping[str, dict[str, OperatorCall]]) -> tuple[Ensemble, ...]:
    votes = {name: {run: votes_of(call) for run, call in calls.items()} for name, calls in found.items()}
    members = {
        name: sorted({member for run, call in calls.items() for member in _members(call, votes[name][run])})
        for name, calls in found.items()
    }
    met = Counter(name_of(member) for each in members.values() for member in each)
    return tuple(
        Ensemble(name, calls, votes[name], {member: _column(name, member, met) for member in members[name]})
        for name, calls in found.items()
    )


def _members(call: OperatorCall, votes: Mapping[str, Any]) -> Iterator[str]:
    yield from (member.operator_id for member in members_of(call))
    yield from votes


def _column(ensemble: str, member: str, met: Counter[str]) -> str:
    name = name_of(member)
    return f"{ensemble}_{name}" if met[name] > 1 else name


def _reported(runs: Mapping[str, list[OperatorCall]]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {"knob": {}, "covariate": {}, "input": {}}
    for run, call in ((run, call) for run, calls in runs.items() for call in calls):
        for name, role in call.roles.items():
            if role not in found:
                continue
            values = found[role].setdefault(name_of(name), {})
            if not same(values.setdefault(run, call.metrics[name]), call.metrics[name]):
                raise GraphError(
                    f"run {run!r} reported {name!r} with two values, {values[run]!r} and {call.metrics[name]!r}; "
                    "report each under a name of its own",
                    run_id=run,
                    node=name,
                )
    return found


def _truths(runs: Mapping[str, list[OperatorCall]], ground_truth: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if ground_truth is None:
        return {}
    if isinstance(ground_truth, str):
        told = ((run, next(_told(calls, ground_truth), None)) for run, calls in runs.items())
    else:
        told = ((run, ground_truth.get(run)) for run in runs)
    truths = {run: truth for run, truth in told if truth is not None}
    if not truths:
        raise GraphError(
            f"no run knows the truth by {ground_truth!r:.80}; name a metric or an argument, or give a truth for each "
            "run_id",
            ground_truth=ground_truth,
        )
    return truths


def _told(calls: Iterable[OperatorCall], name: str) -> Iterator[Any]:
    for call in calls:
        for place in (call.metrics, call.inputs, *call.inputs.values()):
            if isinstance(place, Mapping) and is_known(place) and name in place and is_known(place[name]):
                yield place[name]
