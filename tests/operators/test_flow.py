from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.operators.analysis import OperatorAnalysis
from causalkit.operators.calls import calls_of
from causalkit.operators.events import OperatorEvent
from causalkit.operators.flow import OperatorFlow, visualize_operator_flow
from causalkit.operators.flow_parts import FlowEdge, FlowNode
from causalkit.operators.flow_text import node_lines
from causalkit.operators.listening import collect_events
from causalkit.operators.tracing import trace

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
HOSTILE = [
    'the "best"', "ends in \\", 'a\\"b', "\\N\\G\\l\\n", "&lt;b&gt; &amp; &#34;", "<script>alert(1)</script>",
    "a]b[c}d{e)f(", "%%{init: {}}%%", "a;b", "end", "#quot; #35;", "1. list", "- item", "`md` **b**", "_em_ __x__",
    "ﬂ°lt¶ß ﬂ°°34¶ß", "naïve 中文 😀", "a\x00b\x01", "\ud800x", "x" * 500, "l1\nl2\r\nl3\u2028l4", "$x_{ $$y$$",
    '"| n1', "--> n0", "fa:fa-bell", "", "\\", '"', "1.5", "@{shape: x}", ":::class", "/*x*/ //y",
]  # fmt: skip
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=()), max_size=40))


class Recording:
    """Events written down by hand, one millisecond apart."""

    def __init__(self) -> None:
        self.events: list[OperatorEvent] = []

    def call(
        self,
        name: str,
        kind: str = "function",
        parent: str | None = None,
        *,
        stage: str | None = None,
        took: float | None = 1.0,
        links: tuple[str, ...] = (),
        error: bool = False,
        metrics: dict[str, Any] | None = None,
        **data: Any,
    ) -> str:
        call_id = f"c{len(self.events)}"

        def add(event_type: Any, **told: Any) -> None:
            at = BEGAN + timedelta(milliseconds=len(self.events))
            self.events.append(OperatorEvent(name, kind, event_type, call_id, at, stage, parent, **told))

        add("call", data={"inputs": {}, "links": list(links)})
        for metric, value in (metrics or {}).items():
            add("metric", data={"name": metric, "value": value})
        if took is not None:
            add("error" if error else "result", duration_ms=took, data={"type": "KeyError"} if error else data)
        return call_id

    def panel(self, *votes: Any, parent: str | None = None) -> str:
        ensemble = self.call("panel", "ensemble", parent, stage="ensemble_1")
        for name, vote in zip("abc", votes, strict=False):
            self.call(name, "member", ensemble, stage="ensemble_1", result=vote)
        return ensemble

    def flow(self, **options: Any) -> OperatorFlow:
        return visualize_operator_flow(self.events, **options)


def edges(flow: OperatorFlow) -> dict[tuple[str, str, str], FlowEdge]:
    names = {node.id: node.operator_id for node in flow.operators}
    return {(names[edge.source], names[edge.target], edge.kind): edge for edge in flow.connections}


def named(flow: OperatorFlow) -> dict[str, FlowNode]:
    return {node.operator_id: node for node in flow.operators}


@pytest.fixture
def panel_and_judge() -> OperatorFlow:
    told = Recording()
    for votes, right in (((1, 1, 1), True), ((1, 1, 2), True), ((1, 2, 3), False)):
        run = told.call("run", took=9.0)
        told.call("judge", "judge", run, stage="judge_1", links=(told.panel(*votes, parent=run),),
                  metrics={"correct": right})  # fmt: skip
    return told.flow()


def test_calls_of_one_operator_in_one_stage_are_summed_up() -> None:
    told = Recording()
    for took in range(1, 21):
        told.call("svm", "member", took=took, metrics={"accuracy": took > 5, "loss": 7})
    told.call("svm", "member", took=30, error=True, metrics={"correct": 0.0, "accuracy": 1.0})
    told.call("svm", "member", took=None)
    told.call("svm", "member", stage="other", took=None)
    first, other = told.flow().operators
    assert (first.operator_id, first.operator_type, first.stage) == ("svm", "member", None)
    assert (first.calls, first.errors, first.not_ended) == (22, 1, 1)
    assert first.mean_ms == pytest.approx(240 / 21)
    assert first.p95_ms == 20
    assert (first.accuracy, first.num_judged) == (pytest.approx(15 / 21), 21)
    assert (other.stage, other.calls, other.not_ended, other.num_judged) == ("other", 1, 1, 0)
    assert other.mean_ms != other.mean_ms
    assert other.accuracy != other.accuracy


def test_edges_count_calls_and_results_that_were_passed_on(panel_and_judge: OperatorFlow) -> None:
    assert {way: edge.count for way, edge in edges(panel_and_judge).items()} == {
        ("run", "panel", "calls"): 3,
        ("run", "judge", "calls"): 3,
        ("panel", "a", "calls"): 3,
        ("panel", "b", "calls"): 3,
        ("panel", "c", "calls"): 3,
        ("panel", "judge", "passes result to"): 3,
    }


def test_a_member_differs_from_the_plurality_and_in_a_tie_as_if_it_were_drawn(panel_and_judge: OperatorFlow) -> None:
    known = edges(panel_and_judge)
    assert known["panel", "a", "calls"].disagreement == pytest.approx((0 + 0 + 2 / 3) / 3)
    assert known["panel", "c", "calls"].disagreement == pytest.approx((0 + 1 + 2 / 3) / 3)
    assert known["panel", "judge", "passes result to"].disagreement == pytest.approx(2 / 3)
    assert {known["panel", name, "calls"].num_compared for name in "abc"} == {3}
    assert known["run", "panel", "calls"].num_compared == 0


def test_votes_are_equal_by_value_or_as_the_user_says() -> None:
    told = Recording()
    told.panel("Cat", "cat", "CAT")
    assert edges(told.flow())["panel", "a", "calls"].disagreement == pytest.approx(2 / 3)
    as_told = told.flow(equal=lambda one, other: one.lower() == other.lower())
    assert edges(as_told)["panel", "a", "calls"].disagreement == 0
    told = Recording()
    told.panel(0.3, 0.1 + 0.2)
    assert edges(told.flow())["panel", "a", "calls"].disagreement == 0


def test_single_votes_failed_members_and_results_not_captured_are_not_compared() -> None:
    told = Recording()
    told.panel(1)
    ensemble = told.panel(1, {"causalkit.type": "Answer", "digest": None})
    told.call("c", "member", ensemble, stage="ensemble_1", error=True)
    assert {edge.num_compared for edge in told.flow().connections} == {0}
    assert "differs" not in told.flow().to_dot()


def test_votes_of_an_ensemble_that_calls_nobody_are_the_items_of_its_result() -> None:
    told = Recording()
    for votes in ([1, 1], [1, 2]):
        ensemble = told.call("panel", "ensemble", result=votes)
        told.call("judge", "judge", links=(ensemble,))
    (edge,) = told.flow().connections
    assert (edge.kind, edge.count, edge.disagreement, edge.num_compared) == ("passes result to", 2, 0.5, 2)


def test_single_votes_are_unanimous_as_they_are_in_the_analysis() -> None:
    told = Recording()
    for votes in ([1], [1, 2]):
        told.call("judge", "judge", links=(told.call("panel", "ensemble", result=votes),))
    (edge,) = told.flow().connections
    assert (edge.disagreement, edge.num_compared) == (0.5, 2)


def test_callers_and_origins_outside_the_events_are_one_node_at_the_left() -> None:
    told = Recording()
    for step in ("step 1", "step 1", "step 2"):
        told.call("svm", parent=step, links=("gone",))
    flow = told.flow()
    outside = flow.operators[0]
    assert (outside.role, outside.layer, outside.calls) == ("outside", 0, 3)
    assert [(edge.kind, edge.count) for edge in flow.connections] == [("calls", 3), ("passes result to", 3)]
    assert named(flow)["svm"].layer == 1
    assert repr(flow) == "<OperatorFlow: 1 operator, 2 connections>"


def test_who_calls_stands_left_of_who_is_called_and_an_ensemble_left_of_its_judge(
    panel_and_judge: OperatorFlow,
) -> None:
    assert [(node.operator_id, node.layer, node.role) for node in panel_and_judge.operators] == [
        ("run", 0, ""), ("panel", 1, "ensemble"), ("a", 2, ""), ("b", 2, ""), ("c", 2, ""), ("judge", 2, "judge"),
    ]  # fmt: skip


def test_recursion_and_operators_that_call_one_another_have_their_place() -> None:
    told = Recording()
    ping = told.call("ping")
    pong = told.call("pong", parent=ping)
    told.call("ping", parent=pong)
    told.call("fact", parent=told.call("fact", parent=pong))
    flow = told.flow()
    assert [(node.operator_id, node.layer) for node in flow.operators] == [("ping", 0), ("pong", 1), ("fact", 2)]
    assert edges(flow)["fact", "fact", "calls"].count == 1
    assert edges(flow)["pong", "ping", "calls"].count == 1


def test_damaged_records_in_which_a_call_was_made_within_itself_are_shown_all_the_same() -> None:
    told = Recording()
    told.call("a", parent="c2")
    told.call("b", parent="c0")
    told.call("own", parent="c4")
    assert {(edge.source, edge.target) for edge in told.flow().connections} == {
        ("n0", "n1"),
        ("n1", "n0"),
        ("n2", "n2"),
    }


def test_numbered_names_stand_in_the_order_of_their_numbers() -> None:
    told = Recording()
    for number in (10, 9, 1, 2):
        told.call(f"member_{number}", stage=f"stage_{number % 2}")
    assert [node.operator_id for node in told.flow().operators] == ["member_2", "member_10", "member_1", "member_9"]


def test_the_order_of_events_does_not_matter(panel_and_judge: OperatorFlow) -> None:
    told = Recording()
    for n in range(30):
        told.call("judge", links=(told.panel(n % 2, n % 3, 0, parent="step"),), took=1 / (n + 1), error=n % 7 == 0)
    told_in_order = told.flow().to_dot()
    for seed in range(5):
        random.Random(seed).shuffle(told.events)  # noqa: S311
        assert told.flow().to_dot() == told_in_order


def test_the_flow_of_a_pipeline_in_threads_is_the_same_each_time_but_for_latency() -> None:
    members = [trace(lambda x, n=n: x // n, operator_id=f"by {n}", operator_type="member") for n in (1, 2, 3)]

    @trace(operator_type="ensemble", stage="ensemble_1")
    def panel(x: int) -> list[int]:
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda member: member(x), members))

    @trace(operator_type="judge", stage="judge_1")
    def judge(votes: list[int]) -> int:
        return max(votes)

    def once() -> OperatorFlow:
        with collect_events() as events:
            assert [judge(panel(x)) for x in range(10)] == list(range(10))
        return visualize_operator_flow(events)

    first, again = once(), once()
    assert edges(first)["panel", "judge", "passes result to"].count == 10
    # Of 0 all votes are equal, of 1 and 3 the two others are, of the rest none.
    known = edges(first)
    assert known["panel", "by 1", "calls"].disagreement == pytest.approx((0 + 2 * 1 + 7 * 2 / 3) / 10)
    assert known["panel", "by 3", "calls"].disagreement == pytest.approx((0 + 2 * 0 + 7 * 2 / 3) / 10)
    without_times = [re.sub(r"[\d.]+ ms, p95 [\d.]+", "", str(flow)) for flow in (first, again)]
    assert without_times[0] == without_times[1]


def test_a_judge_that_is_given_a_copy_of_the_votes_is_linked_by_their_value() -> None:
    panel = trace(lambda x: [f"{x} and a text of many words that nobody else says", "none"], operator_id="panel",
                  operator_type="ensemble")  # fmt: skip
    judge = trace(lambda votes: votes[0], operator_id="judge", operator_type="judge")

    @trace
    def run(x: int) -> str:
        return str(judge(list(panel(x))))

    with collect_events() as events:
        assert [run(x)[0] for x in range(3)] == ["0", "1", "2"]
    known = edges(visualize_operator_flow(events))
    assert known["panel", "judge", "passes result to"].disagreement == 1


def test_an_analysis_is_asked_for_its_calls() -> None:
    told = Recording()
    told.panel(1, 2, 2)
    calls = calls_of(told.events)
    shown = [SimpleNamespace(calls=calls), OperatorAnalysis(told.events)]
    # As text: what is not known is NaN, which is unequal to itself.
    assert [repr(vars(visualize_operator_flow(one))) for one in shown] == [repr(vars(told.flow()))] * 2


def test_of_a_part_of_the_calls_the_others_are_not_in_these_events() -> None:
    told = Recording()
    told.panel(1, 2, 2)
    flow = visualize_operator_flow(OperatorAnalysis(told.events).where(lambda call: call.operator_id in "ab"))
    shown = [(node.operator_id, node.calls) for node in flow.operators]
    assert shown == [("not in these events", 1), ("a", 1), ("b", 1)]


@pytest.mark.parametrize(("given", "named"), [(3, "int"), ("events.jsonl", "str"), ([None], "NoneType")])
def test_what_holds_no_events_is_refused_by_its_type(given: Any, named: str) -> None:
    with pytest.raises(CausalkitError, match=named) as refused:
        visualize_operator_flow(given)
    assert refused.value.given == named


def test_no_events_are_an_empty_flow() -> None:
    flow = visualize_operator_flow([])
    assert dot_labels(str(flow)) == ([], [])
    assert flow.to_mermaid() == "flowchart LR"
    assert flow.nodes.empty
    assert list(flow.edges.columns)[:4] == ["source", "target", "kind", "count"]


def test_frames_have_a_row_for_each_operator_and_each_connection(panel_and_judge: OperatorFlow) -> None:
    assert panel_and_judge.nodes.loc["n1", ["operator_id", "role", "calls"]].tolist() == ["panel", "ensemble", 3]
    row = panel_and_judge.edges.iloc[-1]
    assert row[["source", "source_operator", "target_operator", "count"]].tolist() == ["n1", "panel", "judge", 3]


def test_a_notebook_draws_small_flows_by_itself(panel_and_judge: OperatorFlow) -> None:
    assert panel_and_judge._repr_mimebundle_() == {
        "text/plain": "<OperatorFlow: 6 operators, 6 connections>",
        "text/vnd.mermaid": panel_and_judge.to_mermaid(),
    }
    large = OperatorFlow(tuple(FlowNode(f"n{n}", "a", "b", None, "", 0, 1) for n in range(31)), ())
    assert list(large._repr_mimebundle_(include=None, exclude=None)) == ["text/plain"]


def test_dot_tells_calls_latency_accuracy_and_disagreement(panel_and_judge: OperatorFlow) -> None:
    nodes, connections = dot_labels(str(panel_and_judge))
    assert nodes[1] == "panel · ensemble · ensemble_1\n3 calls\n1.00 ms, p95 1.00"
    assert nodes[5] == "judge · judge · judge_1\n3 calls\n1.00 ms, p95 1.00 · right 66.7% of 3"
    assert connections[2:] == [
        "3 calls, differs 22.2%", "3 calls, differs 22.2%", "3 calls, differs 55.6%", "3 results, 66.7% not unanimous",
    ]  # fmt: skip
    assert str(panel_and_judge).count("style=dashed") == 1


def test_edges_are_the_wider_the_more_often_they_were_taken() -> None:
    nodes = tuple(FlowNode(f"n{n}", "a", "b", None, "", n, 1) for n in range(4))
    counts = (1, 10, 100)
    flow = OperatorFlow(nodes, tuple(FlowEdge(f"n{n}", f"n{n + 1}", "calls", count) for n, count in enumerate(counts)))
    assert re.findall(r"penwidth=([\d.]+)", flow.to_dot()) == ["1.0", "2.5", "4.0"]
    assert re.findall(r"linkStyle (\d) stroke-width:([\d.]+)px", flow.to_mermaid()) == [
        ("0", "1.0"), ("1", "2.5"), ("2", "4.0"),
    ]  # fmt: skip


@given(st.lists(st.tuples(NAMES, NAMES, st.none() | NAMES), max_size=4))
@example([(name, name, name) for name in HOSTILE])
def test_no_name_breaks_out_of_dot(names: list[tuple[str, str, str | None]]) -> None:
    flow = in_a_row(names)
    nodes, connections = dot_labels(flow.to_dot())
    assert [label.split("\n") for label in nodes] == list(map(node_lines, flow.operators))
    assert len(connections) == len(flow.connections)
    flow.to_dot().encode()


@given(st.lists(st.tuples(NAMES, NAMES, st.none() | NAMES), max_size=4))
@example([(name, name, name) for name in HOSTILE])
def test_no_name_breaks_out_of_mermaid(names: list[tuple[str, str, str | None]]) -> None:
    flow = in_a_row(names)
    plain = r"(?:[^\W_]|[ ,·%_.]|#\d+;)+"
    first, *lines = flow.to_mermaid().splitlines()
    assert first == "flowchart LR"
    labels = []
    for node, line in zip(flow.operators, lines, strict=False):
        found = re.fullmatch(rf'  {node.id}(?:\(|\[\[|\{{\{{)"({plain}(?:<br/>{plain})*)"(?:\)|\]\]|\}}\}})', line)
        assert found, line
        labels.append([unescape(part.replace("#", "&#")).replace("\u2060", "") for part in found[1].split("<br/>")])
    assert labels == [[line.replace("\u2060", "") for line in node_lines(node)] for node in flow.operators]
    rest = lines[len(flow.operators) :]
    assert all(
        re.fullmatch(r'  n\d+ -->\|"\d+ calls?"\| n\d+|  linkStyle \d+ stroke-width:[\d.]+px', row) for row in rest
    )
    assert len(rest) == 2 * len(flow.connections)


def test_long_names_are_cut_and_no_name_is_said() -> None:
    (node,) = in_a_row([("x" * 500, "y" * 500, "z" * 500)]).operators
    assert len(node_lines(node)[0]) < 60
    (node,) = in_a_row([(" ", "member", None)]).operators
    assert node_lines(node)[0] == "(no name) · member"


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed here")
def test_graphviz_reads_hostile_names_as_they_are() -> None:
    flow = in_a_row([(name, "member", name) for name in HOSTILE])
    found = subprocess.run(["dot", "-Tsvg"], input=str(flow), capture_output=True, check=True, encoding="utf-8")  # noqa: S607
    shown = [unescape(text).replace("\xa0", " ") for text in re.findall(r"<text[^>]*>(.*?)</text>", found.stdout)]
    assert {line for node in flow.operators for line in node_lines(node)} <= set(shown)


def in_a_row(names: list[tuple[str, str, str | None]]) -> OperatorFlow:
    nodes = tuple(FlowNode(f"n{n}", *name, "", n, 3) for n, name in enumerate(names))
    return OperatorFlow(nodes, tuple(FlowEdge(f"n{n}", f"n{n + 1}", "calls", n + 1) for n in range(len(nodes) - 1)))


def dot_labels(dot: str) -> tuple[list[str], list[str]]:
    """The labels of nodes and edges, read as strictly as Graphviz's grammar has it: nothing may be left over."""
    attribute = r'\w+=(?:"(?:[^"\\]|\\.)*"|[\w.]+)'
    statement = re.compile(rf"(rankdir=LR|(node|edge|n\d+)( -> n\d+)? \[({attribute}(?:, {attribute})*)\]);")
    head, *rows, foot = dot.split("\n")
    assert (head, foot) == ("digraph operators {", "}")
    nodes, connections = [], []
    for row in rows:
        found = statement.fullmatch(row.strip())
        assert found, row
        label = re.search(r'label="((?:[^"\\]|\\.)*)"', found[4] or "")
        if label:
            (connections if found[3] else nodes).append("".join(_read(label[1])))
    return nodes, connections


def _read(label: str) -> Iterator[str]:
    assert not re.search(r"&(?!amp;)", label)
    for found in re.finditer(r"\\(.)|&amp;|(.)", label):
        yield {"n": "\n"}.get(found[1], found[1]) if found[1] else found[2] or "&"
