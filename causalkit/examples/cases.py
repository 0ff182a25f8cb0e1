"""Nine reference cases: tables drawn from known models, and what must come out of a fit to each.

They run in this process, ``check_case(case)``, or as requests of the worker protocol, ``check_case(case, client.ask)``;
``python -m causalkit check --cases`` does the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import pandas as pd

from causalkit.errors import CausalkitError, InsufficientDataError, ValidationError
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.sending import fit_request

Ask: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

SEED = 42
ROWS = 1000
TOLERANCE = 0.05
"""On coefficients, effects and theoretical scores alike."""


@dataclass(frozen=True)
class Expected:
    """What must come out: only what is given is looked at.

    Attributes
    ----------
    status : str
        In the words of the worker protocol.
    r2_above : float
        For every scored node.
    r2 : mapping of str to float
        Scores by node, within the tolerance.
    line_r2_below : float
        For a straight line through the last node and its only parent: the case is one where a line does not do.
    terms : mapping of (node, term) to float
        Coefficients, as the model's JSON names them.
    failed_nodes : tuple of str
    says, warns : tuple of str
        Words of the error, and of the warnings of validation; no warning of leakage where `leak_free`.
    causes : mapping of str to str
        Nodes that the fitted model must have, and one parent of each.
    effect : tuple of (str, str, float), optional
        Of one node on another, one more.
    """

    status: str = "success"
    r2_above: float = -math.inf
    r2: Mapping[str, float] = field(default_factory=dict)
    line_r2_below: float = math.inf
    terms: Mapping[tuple[str, str], float] = field(default_factory=dict)
    failed_nodes: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    warns: tuple[str, ...] = ()
    leak_free: bool = False
    causes: Mapping[str, str] = field(default_factory=dict)
    effect: tuple[str, str, float] | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A table whose model is known, and what each way to fit it must give.

    Attributes
    ----------
    name : str
    graph : networkx.DiGraph
    traces : pandas.DataFrame
    expected : Expected
        Under the defaults.
    function_code : dict of str to str
        The sources the table was made by, where they are known.
    otherwise : tuple of (dict, Expected)
        Further options of `SCMFitter`, and what must come out under them.
    """

    name: str
    graph: nx.DiGraph[str]
    traces: pd.DataFrame = field(repr=False)
    expected: Expected = field(repr=False)
    function_code: dict[str, str] = field(default_factory=dict, repr=False)
    otherwise: tuple[tuple[dict[str, Any], Expected], ...] = field(default=(), repr=False)

    def attempts(self) -> Iterator[tuple[dict[str, Any], Expected]]:
        """Return options of the fit, and what must come out under them."""
        yield {}, self.expected
        yield from self.otherwise


@dataclass(frozen=True)
class CaseResult:
    """Whether a case came out as it must, and what was seen, in one line."""

    name: str
    passed: bool
    what: str


def check_case(case: Case, ask: Ask | None = None) -> CaseResult:
    """Fit a case in every way it names and compare.

    Parameters
    ----------
    case : Case
    ask : callable, optional
        Answers requests of the worker protocol, such as `DoWhyClient.ask`; default: `SCMFitter`, in this process.

    Returns
    -------
    CaseResult

    Examples
    --------
    >>> check_case(reference_cases()[3])
    CaseResult(name='insufficient_data', passed=True, what='warning')
    """
    seen, faults = [], []
    for options, expected in case.attempts():
        answer = _fitted(case, options) if ask is None else _asked(case, options, ask)
        seen.append(_summary(answer))
        faults += _faults(case, expected, answer)
    told = " | ".join(seen)
    return CaseResult(case.name, not faults, f"{told}; but {'; '.join(faults)}" if faults else told)


def reference_cases() -> tuple[Case, ...]:
    """Return the nine, drawn anew: the same numbers each time.

    Examples
    --------
    >>> [case.name for case in reference_cases()][-1]
    'complex_dag'
    """
    return (
        _linear_chain(),
        _multi_parent(),
        _nonlinear(),
        Case("insufficient_data", _PAIR, _two_columns(0.1, 50), Expected("warning")),
        Case(
            "noisy_data",
            _PAIR,
            _two_columns(5, ROWS),
            # 4 of the variance of 4 + 25 is explained.
            Expected("validation_failed", r2={"Y": 4 / 29}, failed_nodes=("Y",)),
        ),
        Case("perfect_correlation", _PAIR, _two_columns(0, ROWS), Expected(r2_above=1 - 1e-9, warns=("leak",))),
        _code_execution(),
        _validation_function(),
        _complex_dag(),
    )


_PAIR: nx.DiGraph[str] = nx.freeze(nx.DiGraph([("X", "Y")]))


def _two_columns(noise: float, num_rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=num_rows)
    return pd.DataFrame({"X": x, "Y": 2 * x + noise * rng.normal(size=num_rows)})


def _linear_chain() -> Case:
    traces = _two_columns(0.1, ROWS)
    traces["Z"] = 3 * traces["Y"] + np.random.default_rng([SEED, 1]).normal(0, 0.1, ROWS)
    terms = {("Y", "X"): 2.0, ("Z", "Y"): 3.0}
    return Case("linear_chain", nx.DiGraph([("X", "Y"), ("Y", "Z")]), traces, Expected(r2_above=0.95, terms=terms))


def _multi_parent() -> Case:
    rng = np.random.default_rng(SEED)
    x, y = rng.normal(size=(2, ROWS))
    traces = pd.DataFrame({"X": x, "Y": y, "Z": 1.5 * x + 2.5 * y + rng.normal(0, 0.1, ROWS)})
    terms = {("Z", "X"): 1.5, ("Z", "Y"): 2.5}
    return Case("multi_parent", nx.DiGraph([("X", "Z"), ("Y", "Z")]), traces, Expected(r2_above=0.95, terms=terms))


def _nonlinear() -> Case:
    rng = np.random.default_rng(SEED)
    x = rng.uniform(-3, 3, ROWS)
    traces = pd.DataFrame({"X": x, "Y": x**2 + rng.normal(0, 0.5, ROWS)})
    return Case("nonlinear", _PAIR, traces, Expected(r2_above=0.9, line_r2_below=TOLERANCE, terms={("Y", "X^2"): 1.0}))


def _code_execution() -> Case:
    x = np.arange(1.0, 101)
    return Case(
        "code_execution",
        nx.DiGraph([("input_x", "output")]),
        pd.DataFrame({"input_x": x, "output": 2 * x}),
        Expected(r2_above=1 - 1e-9, terms={("output", "input_x"): 2.0}, leak_free=True),
        {"output": "def output(input_x): return 2 * input_x"},
    )


def _validation_function() -> Case:
    x = np.random.default_rng(SEED).uniform(-5, 5, ROWS)
    traces = pd.DataFrame({"input": x, "is_valid": x > 0, "output": np.where(x > 0, 2 * x + 1, np.nan)})
    modelled = Expected(causes={"output_missing": "is_valid"})
    return Case(
        "validation_function",
        nx.DiGraph([("input", "is_valid"), ("input", "output"), ("is_valid", "output")]),
        traces,
        Expected("error", says=("output", str(traces["output"].isna().sum()))),
        otherwise=(({"missing": "model"}, modelled),),
    )


def _complex_dag() -> Case:
    rng = np.random.default_rng(SEED)
    a = rng.normal(size=ROWS)
    b, c = 2 * a + rng.normal(0, 0.1, ROWS), 1.5 * a + rng.normal(0, 0.1, ROWS)
    traces = pd.DataFrame({"A": a, "B": b, "C": c, "D": b + 0.5 * c + rng.normal(0, 0.1, ROWS)})
    graph = nx.DiGraph([("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")])
    return Case("complex_dag", graph, traces, Expected(r2_above=0.99, effect=("A", "D", 2 + 1.5 * 0.5)))


def _fitted(case: Case, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what came of a fit in this process, in the words of the protocol."""
    code = {"function_code": case.function_code} if case.function_code else {}
    try:
        scm = SCMFitter(quality="GOOD", random_seed=SEED, **options).fit(case.graph, case.traces, **code)
    except InsufficientDataError as error:
        return {"status": "warning", "error": str(error)}
    except ValidationError as error:
        return {"status": "validation_failed", "error": str(error), **error.scm.to_dict()}
    except CausalkitError as error:
        return {"status": "error", "error": str(error)}
    effect = case.expected.effect
    return {"status": "success", **scm.to_dict(), **({"effect": scm.effect(*effect[:2]).value} if effect else {})}


def _asked(case: Case, options: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Return what a worker answers, its model laid open as `_fitted` has it."""
    code = {"function_code": case.function_code} if case.function_code else {}
    config = {"quality": "GOOD", "random_seed": SEED, **options, **code}
    answer = ask(fit_request(case.graph, case.traces, config))
    effect = case.expected.effect
    if effect and answer["status"] == "success":
        arms = [_under(ask, answer["model"], {effect[0]: value}) for value in (0, 1)]
        refused = next((arm for arm in arms if arm["status"] != "success"), None)
        if refused:
            return refused
        low, high = (arm["statistics"][effect[1]]["mean"] for arm in arms)
        answer = {**answer, "effect": high - low}
    return {**answer, **answer.get("scm", {})}


def _under(ask: Ask, model: str, interventions: Mapping[str, Any]) -> dict[str, Any]:
    return ask({"op": "intervene", "model": model, "interventions": interventions, "random_seed": SEED})


def _summary(answer: Mapping[str, Any]) -> str:
    scores = answer.get("validation", {}).get("r2_scores", {})
    told = ", ".join(f"{node} {'none' if score is None else format(score, '.3f')}" for node, score in scores.items())
    effect = f", effect {answer['effect']:.3f}" if "effect" in answer else ""
    return f"{answer['status']}{f', R2 {told}' if told else ''}{effect}"


def _faults(case: Case, expected: Expected, answer: Mapping[str, Any]) -> list[str]:
    """Return what did not come out as it must, in words."""
    if answer["status"] != expected.status:
        return [f"must be {expected.status} ({answer.get('error') or 'no error'})"]
    verdict = answer.get("validation", {})
    scores = verdict.get("r2_scores", {})
    warned = " ".join(verdict.get("warnings", [])).lower()
    wrong = {
        f"R2 of {node} must exceed {expected.r2_above:g}": not (score or 0) > expected.r2_above
        for node, score in scores.items()
    }
    wrong |= {f"R2 of {node} must be {r2:.3f}": not _near(scores.get(node), r2) for node, r2 in expected.r2.items()}
    wrong |= {
        f"{term} in {node} must be {value:g}": not _near(_terms(answer, node).get(term), value)
        for (node, term), value in expected.terms.items()
    }
    wrong |= {f"the error must name {word}": word not in answer.get("error", "") for word in expected.says}
    wrong |= {f"a warning must speak of {word}": word not in warned for word in expected.warns}
    wrong |= {
        f"{node} must be explained by {cause}": cause not in answer["mechanisms"].get(node, {}).get("parents", ())
        for node, cause in expected.causes.items()
    }
    wrong["failed nodes must be others"] = tuple(verdict.get("failed_nodes", ())) != expected.failed_nodes
    wrong["a proven mechanism must not count as leakage"] = expected.leak_free and "leak" in warned
    wrong["a straight line must explain less"] = math.isfinite(expected.line_r2_below) and not (
        _line_r2(case) < expected.line_r2_below
    )
    if expected.effect:
        wrong[f"the effect must be {expected.effect[2]:g}"] = not _near(answer["effect"], expected.effect[2])
    return [fault for fault, is_wrong in wrong.items() if is_wrong]


def _near(seen: float | None, value: float) -> bool:
    return seen is not None and abs(seen - value) <= TOLERANCE


def _terms(answer: Mapping[str, Any], node: str) -> Mapping[str, float]:
    mechanism = answer["mechanisms"][node]
    return {**mechanism.get("coefficients", {}), **mechanism.get("terms", {})}


def _line_r2(case: Case) -> float:
    columns = case.traces.to_numpy()
    return float(np.corrcoef(columns[:, 0], columns[:, -1])[0, 1] ** 2)
