"""Nodes that are a formula of their parents, given as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.errors import FitError, GraphError
from causalkit.scm.derived import combine, parsed
from causalkit.scm.falsify import falsify
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.interventions import Shift
from causalkit.scm.model import FittedSCM
from causalkit.scm.storage import load, save
from causalkit.scm.worker import Worker
from tests.scm.kept import edit, refused, same_answers
from tests.truth import fewest

VOTES = (-1, 0, 1, 4)
JUDGES = ("a_vote", "b_vote", "c_vote")
LEAST = ", ".join(f"{judge} if {judge} >= 0 else 99" for judge in JUDGES)
DISAGREE = f"max({', '.join(JUDGES)}) != min({LEAST})"
DISTINCT = " + ".join(f"max({', '.join(f'{judge} == {vote}' for judge in JUDGES)})" for vote in VOTES)
JURY = nx.DiGraph([("doubt", judge) for judge in JUDGES])
JURY.add_edges_from((judge, node) for judge in JUDGES for node in ("disagree", "distinct"))
JURY.add_edge("disagree", "cost")
JURY.nodes["doubt"]["role"] = "knob"
JURY.nodes["disagree"]["derived"], JURY.nodes["distinct"]["derived"] = DISAGREE, DISTINCT
FITTER = SCMFitter(quality="GOOD", on_failure="return", random_seed=0, progress=False)


def jury(rng: np.random.Generator, num_rows: int = 1500, doubt: Any = None) -> pd.DataFrame:
    """Votes by multinomial logits in the doubt: -1 abstains; a derived column is computed row by row, in Python."""
    felt = rng.normal(size=num_rows) if doubt is None else np.zeros(num_rows) + doubt
    table = pd.DataFrame({"doubt": felt})
    for place, judge in enumerate(JUDGES):
        odds = np.outer(felt, [1.0, -1.0, 0.5, 0.2 * place]) + np.array([-0.5, 1.5, 0.0, 0.0])
        table[judge] = pd.Categorical(np.array(VOTES)[np.argmax(odds + rng.gumbel(size=odds.shape), axis=1)], VOTES)
    rows = table[list(JUDGES)].astype(int).to_numpy().tolist()
    table["disagree"] = [max(row) != min(vote if vote >= 0 else 99 for vote in row) for row in rows]
    table["distinct"] = [len(set(row)) for row in rows]
    table["cost"] = 1 + 2 * table["disagree"] + 0.5 * rng.normal(size=num_rows)
    return table


def holds(table: pd.DataFrame) -> bool:
    rows = table[list(JUDGES)].astype(int).to_numpy().tolist()
    disagree = [max(row) != min(vote if vote >= 0 else 99 for vote in row) for row in rows]
    same = np.array_equal(table["disagree"].to_numpy(float), np.array(disagree, float))
    return same and np.array_equal(table["distinct"].to_numpy(float), [len(set(row)) for row in rows])


TABLE = jury(np.random.default_rng(0))


@pytest.fixture(scope="module")
def scm() -> FittedSCM:
    return FITTER.fit(JURY, TABLE).trust()


def fit(formula: Any, num_rows: int = 400, **columns: Any) -> FittedSCM:
    """A model of the columns ``a`` and ``b``, by default of independent numbers, and ``y`` derived of both."""
    a, b = np.random.default_rng(3).normal([[2.0], [1.0]], [[1.0], [0.5]], (2, num_rows))
    table = pd.DataFrame({"a": a, "b": b, **columns})
    if "y" not in table:
        table["y"] = a * b
    return FITTER.fit(nx.DiGraph([("a", "y"), ("b", "y")]), table, derived={"y": formula}).trust()


# Answers


def test_what_is_done_above_a_formula_gives_the_true_means(proof: bool) -> None:
    num_seeds, close, held = 40 if proof else 3, [], []
    for seed in range(num_seeds):
        fitted = FITTER.fit(JURY, jury(np.random.default_rng(seed))).trust()
        for doubt in (-1.0, 1.0):
            truth = jury(np.random.default_rng(100 + seed), 40_000, doubt)[["disagree", "distinct", "cost"]].mean()
            answer = fitted.intervene({"doubt": doubt}, 1)
            for node, mean in truth.items():
                found = answer.of(str(node))
                close.append(abs(found["mean"] - mean) < 0.15)
                held.append(found["low"] <= mean <= found["high"])
    print(np.mean(held))
    assert all(close)
    assert np.mean(held) >= fewest(0.93, len(held))


def test_labels_that_are_numbers_count_as_those_in_samples_and_counterfactuals(scm: FittedSCM) -> None:
    assert holds(TABLE)
    drawn = scm.sample(300)
    assert holds(drawn)
    assert set(drawn["disagree"]) == {0.0, 1.0}
    assert set(drawn["a_vote"]) == set(VOTES)
    assert holds(scm.intervene({"a_vote": 4}, 300).samples)
    rows = TABLE.head(60)
    changed = scm.counterfactual(rows, {"a_vote": -1, "b_vote": 1}).frame
    assert holds(changed)
    assert (changed["c_vote"] == rows["c_vote"]).all()
    shift = 2 * (changed["disagree"] - rows["disagree"])
    assert (changed["cost"] - rows["cost"]).to_numpy() == pytest.approx(shift.to_numpy(float), abs=0.2)


def test_dowhy_has_the_same_formula(scm: FittedSCM) -> None:
    gcm = pytest.importorskip("dowhy.gcm")
    gcm.config.disable_progress_bars()
    model, rows = scm.dowhy, TABLE.head(40)
    assert holds(gcm.draw_samples(model, 200))
    assert holds(gcm.interventional_samples(model, {"a_vote": lambda _: 4}, observed_data=rows))
    drawn = gcm.counterfactual_samples(model, {"doubt": lambda doubt: doubt + 1}, observed_data=rows)
    assert holds(drawn)
    ours = scm.counterfactual(rows, {"doubt": Shift(1)}).frame
    assert drawn["cost"].astype(float).to_numpy() == pytest.approx(ours["cost"].to_numpy())
    gcm.fit(model, TABLE)
    assert holds(gcm.draw_samples(model, 200))


def test_strengths_and_influence_of_a_product_are_those_of_its_moments() -> None:
    scm = fit("a * b", 3000)
    means, variances = scm.table.mean(), scm.table.var(ddof=0)
    both = variances["a"] * variances["b"]
    strengths = scm.strengths("y").frame.set_index("parent")["strength"]
    assert strengths["a"] == pytest.approx(variances["a"] * means["b"] ** 2 + both, rel=0.1)
    assert strengths["b"] == pytest.approx(variances["b"] * means["a"] ** 2 + both, rel=0.1)
    influence = scm.influence("y").frame.set_index("node")["influence"]
    assert influence["a"] == pytest.approx(variances["a"] * means["b"] ** 2 + both / 2, rel=0.1)
    assert influence["b"] == pytest.approx(variances["b"] * means["a"] ** 2 + both / 2, rel=0.1)


def test_every_question_is_answered_past_a_formula(scm: FittedSCM) -> None:
    assert scm.strengths("disagree").unit == "variance"
    assert set(scm.strengths("distinct").frame["parent"]) == set(JUDGES)
    assert set(scm.influence("cost", num_samples=500).frame["node"]) == {"doubt", *JUDGES, "cost"}
    paths = scm.paths("doubt", "cost")
    assert paths.num_paths == 3
    assert paths.total is None
    effect = scm.effect("a_vote", "cost", values=(0, 4))
    assert effect.interval[0] < effect.value < effect.interval[1]
    assert {"disagree", "distinct", "cost"} <= set(scm.impact("doubt").frame["node"])
    later = jury(np.random.default_rng(5), 600, np.random.default_rng(6).normal(2.0, size=600))
    change = scm.explain_change(TABLE, later, "cost").frame.set_index("node")
    assert change["contribution"].abs().idxmax() == "doubt"
    odd = TABLE.head(40).assign(cost=lambda rows: rows["cost"] + 4)
    assert scm.root_causes(odd, "cost").frame["node"].iloc[0] == "cost"


def test_a_formula_is_accounting(scm: FittedSCM) -> None:
    assert set(scm.report.r2_scores) == {*JUDGES, "cost"}
    assert not any("disagree" in caveat or "distinct" in caveat for caveat in scm.report.caveats)
    told = falsify(scm, random_seed=0, progress=False, num_permutations=5).to_frame()
    assert not {"disagree", "distinct"} & {*told["node"]}
    assert scm.invertible()
    with pytest.raises(GraphError, match="'disagree' is made of its parts and cannot be set; act on one of a_vote"):
        scm.intervene({"disagree": 1})
    assert scm.to_dict()["mechanisms"]["disagree"] == {
        "type": "derived",
        "parents": list(JUDGES),
        "formula": DISAGREE,
    }


def test_a_bool_column_of_a_formula_is_a_number_wherever_rows_are_given() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 400))
    scm = fit("a > b", a=a, b=b, y=a > b)
    assert scm.levels == {}
    rows = pd.DataFrame({"a": [0.0, 2.0], "b": [1.0, 1.0], "y": [False, True]})
    assert scm.counterfactual(rows, {"a": Shift(2)}).frame["y"].tolist() == [1.0, 1.0]
    assert scm.intervene({"a": 50.0}, 10).of("y")["mean"] == 1.0


def test_a_missing_value_is_computed_also_from_one_that_is_drawn() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 400))
    y = np.where(np.arange(400) % 3, a - b, np.nan)
    a[:50:3] = np.nan
    fitter = SCMFitter(missing="model", on_failure="return", random_seed=0, progress=False)
    graph, table = nx.DiGraph([("a", "y"), ("b", "y")]), pd.DataFrame({"a": a, "b": b, "y": y})
    filled = fitter.fit(graph, table, derived={"y": "a - b"}).table
    assert np.allclose(filled["y"], filled["a"] - filled["b"])


EDGES = sorted(JURY.edges)
SMALL = jury(np.random.default_rng(1), 300)
EXPECTED = FITTER.fit(JURY, SMALL).trust().intervene({"doubt": 1.0}, 50)


@settings(max_examples=4, deadline=None)
@given(st.permutations(EDGES), st.permutations(list(SMALL)))
def test_the_order_of_edges_and_columns_does_not_matter(edges: list[tuple[str, str]], columns: list[str]) -> None:
    graph: nx.DiGraph = nx.DiGraph(edges)
    derived = {"disagree": DISAGREE, "distinct": f"\n  {DISTINCT.replace(' + ', chr(10) + ' + ')}\n"}
    found = FITTER.fit(graph, SMALL[columns], derived=derived).trust().intervene({"doubt": 1.0}, 50)
    names = list(EXPECTED.samples)
    pd.testing.assert_frame_equal(found.samples[names], EXPECTED.samples)
    assert found.of("distinct") == EXPECTED.of("distinct")


# Keeping


def test_a_formula_is_kept_with_its_model(scm: FittedSCM, tmp_path: Path) -> None:
    save(scm, tmp_path / "jury.scm")
    loaded = load(tmp_path / "jury.scm")
    assert loaded.derived == {"disagree": DISAGREE, "distinct": DISTINCT}
    same_answers(loaded, scm)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch canary') + a * b",
        "a * b + (lambda: 1)()",
        "a.__class__ + b",
        "[a, b][0]",
        "a +",
        "a * c",
        "a",
        "(" * 5000 + "a * b" + ")" * 5000,
        "a" + " and (b" * 150 + ")" * 150 + ".real",
        "a @ b",
        "math.factorial(a) + b",
        "",
        7,
        None,
    ],
)
def test_a_file_with_another_text_for_a_formula_is_refused(text: Any, tmp_path: Path) -> None:
    save(fit("a * b"), tmp_path / "model.scm")
    refused(edit(tmp_path / "model.scm", lambda model: model["derived"].update(y=text)), "holds no usable model")


def test_a_worker_takes_a_formula_and_tells_it() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 200)).tolist()
    columns = {"a": a, "b": b, "y": [left > right for left, right in zip(a, b, strict=True)]}
    graph = {"nodes": ["a", "b", "y"], "edges": [["a", "y"], ["b", "y"]]}
    request = {"graph": graph, "traces": columns, "config": {"random_seed": 1, "derived": {"y": "a > b"}}}
    worker = Worker()
    answer = worker.answer(json.dumps(request).encode())
    assert answer["status"] == "success"
    assert answer["scm"]["mechanisms"]["y"]["formula"] == "a > b"
    request["config"] |= {"derived": {"y": "a > c"}}
    told = worker.answer(json.dumps(request).encode())
    assert told["status"] == "error"
    assert "names 'c', no parent of it" in told["error"]


def test_a_cache_tells_formulas_apart(tmp_path: Path) -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 200))
    table = pd.DataFrame({"a": a, "b": b, "y": np.maximum(a, b)})
    fitter = SCMFitter(random_seed=0, cache=tmp_path, progress=False)
    for formula in ("max", "max(a, b)", "a if a > b else b", "max(a, b)"):
        graph = nx.DiGraph([("a", "y"), ("b", "y")])
        assert fitter.fit(graph, table, derived={"y": formula}).derived == {"y": formula}
    assert len(list(tmp_path.rglob("*.scm"))) == 3


# Refusals


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("a", "'y' is derived by 'a', which leaves out its parent 'b'; name each parent and nothing else"),
        ("a * b + c", "which names 'c', no parent of it;"),
        ("a * z", "which names 'z', no parent of it and leaves out its parent 'b';"),
        ("product", "names 'product'.* or one of sum and max"),
        ("a +* b", "'y' is derived by 'a \\+\\* b', which is no formula that can be read: invalid syntax;"),
        ("a.real * b", "no formula that can be read: 'a.real' .* is not understood"),
        ("a in b", "is not understood"),
        ("~a * b", "is not understood"),
        ("a * b + max()", "no formula that can be read"),
        ("a * b * 1" + "0" * 400, "no formula that can be read"),
        ("a * b == 'x'", "is not understood"),
        ("round(a, b)", "no formula that can be read"),
        ("(" * 5000 + "a * b" + ")" * 5000, "no formula that can be read"),
        ("-" * 100_000 + "a * b", "can be read: it nests too deep;"),
        (True, "'y' is derived by True; write its formula as a text"),
    ],
)
def test_what_is_no_formula_of_the_parents_is_refused_in_one_sentence(formula: Any, told: str) -> None:
    with pytest.raises(GraphError, match=told) as caught:
        fit(formula)
    assert caught.value.node == "y"
    assert len(str(caught.value)) < 500


def test_a_parent_of_labels_that_are_text_is_refused_by_name() -> None:
    mode = np.tile(["deep", "fast"], 200)
    with pytest.raises(
        GraphError, match=r"'a' holds labels that are no numbers, such as 'deep'; record .*a == 'deep'"
    ) as caught:
        fit("a * b", a=mode)
    assert (caught.value.node, caught.value.parent) == ("y", "a")


def test_a_derived_column_of_labels_is_refused() -> None:
    votes = np.tile([1.0, 3.0], 200)
    with pytest.raises(
        GraphError, match=r"'y' is derived by 'max.a, b.', which gives numbers, but its column holds labels"
    ):
        fit("max(a, b)", a=votes, b=votes, y=pd.Categorical(votes))


@pytest.mark.parametrize("name", ["a vote", "1st", "step:ms", "class"])
def test_a_parent_that_no_text_can_name_is_refused(name: str) -> None:
    table = pd.DataFrame({name: np.arange(200.0), "y": np.arange(200.0)})
    graph = nx.DiGraph([(name, "y")])
    with pytest.raises(GraphError, match=f"its parent {name!r} cannot be named; rename that node") as caught:
        FITTER.fit(graph, table, derived={"y": "a_vote + 1"})
    assert (caught.value.node, caught.value.parent) == ("y", name)
    assert FITTER.fit(graph, table, derived={"y": "sum"}).derived == {"y": "sum"}


def test_rows_that_contradict_a_formula_are_named() -> None:
    y = np.ones(400)
    y[17] = 3
    with pytest.raises(FitError, match="'y' is declared as 'a / b', but differs from it by 2 in row 17") as caught:
        fit("a / b", a=np.ones(400), b=np.ones(400), y=y)
    assert (caught.value.column, caught.value.row) == ("y", 17)


def test_a_formula_without_a_value_says_where() -> None:
    b = np.random.default_rng(0).uniform(1, 2, 400)
    scm = fit("a / b", a=b + 1, b=b, y=(b + 1) / b)
    with pytest.raises(GraphError, match=r"formula 'a / b' .* no finite value at a = .*, b = 0; say what it is there"):
        scm.intervene({"b": 0.0})
    safe = fit("a / b if b else -1", a=b + 1, b=b, y=(b + 1) / b)
    assert safe.intervene({"b": 0.0}, 10).of("y")["mean"] == -1
    with pytest.raises(GraphError, match=r"no finite value at a = 1, b = 0;"):
        fit("a / b", a=np.ones(400), b=np.zeros(400), y=np.ones(400))


# Values


@pytest.mark.parametrize(
    ("formula", "function"),
    [
        ("(a == 1) + (b == 1) + (a == b)", lambda a, b: (a == 1) + (b == 1) + (a == b)),
        ("max(a == 1, b == 1) - min(a > 0, b > 0)", lambda a, b: max(a == 1, b == 1) - min(a > 0, b > 0)),
        ("sum(a, b, a > b)", lambda a, b: a + b + (a > b)),
        ("-(a < b) + (not a)", lambda a, b: -(a < b) + (not a)),
        ("(a and b) + (a or 7)", lambda a, b: (a and b) + (a or 7)),
        ("1 if 0 < a <= b < 3 else 2 if a else b", lambda a, b: 1 if 0 < a <= b < 3 else 2 if a else b),
        ("(a - 1) / (b - 1) if b != 1 else 0", lambda a, b: (a - 1) / (b - 1) if b != 1 else 0),
        ("abs(a) ** 0.5 + b // 2 + b % 2", lambda a, b: abs(a) ** 0.5 + b // 2 + b % 2),
    ],
)
def test_a_formula_has_pythons_values(formula: str, function: Any) -> None:
    a, b = (each.ravel().astype(float) for each in np.meshgrid(np.arange(-2, 4), np.arange(-2, 4)))
    found = combine(formula, {"a": a[:, None], "b": b[:, None]}, {})[:, 0]
    assert found.tolist() == [float(function(*pair)) for pair in zip(a.tolist(), b.tolist(), strict=True)]


def test_a_logarithm_behind_a_condition_may_have_no_value_elsewhere() -> None:
    found = combine("math.log(a) if a > 0 else b", {"a": np.array([[1.0], [-1.0]]), "b": np.array([[5.0]])}, {})
    assert found.tolist() == [[0.0], [5.0]]


def test_a_text_is_read_once_and_may_be_long() -> None:
    columns = {"a": np.arange(4.0)[:, None], "b": np.arange(3.0)[None]}
    long = "(a == b)" + " + (a == b)" * 1500
    assert combine(long, columns, {}).tolist() == (1501.0 * (columns["a"] == columns["b"])).tolist()
    assert parsed(long, ("a", "b")) is parsed(long, ("a", "b"))
