"""What tools call by many names has one name, and nothing is counted twice."""

from __future__ import annotations

from typing import Any

import pytest

from causalkit.workflows.readers.vocabulary import folded

IN, OUT, COST = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "causalkit.cost_usd"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"gen_ai.system": "ollama", "gen_ai.usage.prompt_tokens": "12"}, {"gen_ai.provider.name": "ollama", IN: 12}),
        ({"llm.token_count.prompt": 3, "llm.token_count.completion": 4.0}, {IN: 3, OUT: 4}),
        ({"openinference.span.kind": "RETRIEVER"}, {"gen_ai.operation.name": "retrieval"}),
        ({"traceloop.span.kind": "tool", "traceloop.entity.name": "ls"},
         {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ls"}),
        ({"mlflow.spanType": '"CHAT_MODEL"', "mlflow.chat.tokenUsage": '{"input_tokens": 5, "output_tokens": 6}'},
         {"gen_ai.operation.name": "chat", IN: 5, OUT: 6}),
        ({"langfuse.observation.usage_details": {"input": 1, "output": 2},
          "langfuse.observation.cost_details": '{"total":0.5}'},
         {IN: 1, OUT: 2, COST: 0.5}),
        ({"ai.operationId": "ai.generateText.doGenerate", "ai.usage.promptTokens": 7},
         {"gen_ai.operation.name": "chat", IN: 7}),
        ({"ai.operationId": "ai.generateText", "ai.usage.promptTokens": 7}, {}),
        ({"ai.operationId": "ai.embed.doEmbed"}, {"gen_ai.operation.name": "embeddings"}),
        ({"gen_ai.usage.input_cost": 0.25, "gen_ai.usage.output_cost": 0.5}, {COST: 0.75}),
        ({"retrieval.documents.0.document.id": 1, "retrieval.documents.1.document.id": 2,
          "retrieval.documents.1.document.score": 2}, {"causalkit.num_documents": 2}),
        ({"gen_ai.prompt.0.content": "be kind", "gen_ai.prompt.1.content": "why?", "gen_ai.prompt.1.role": "user"},
         {"causalkit.input": "why?"}),
        ({"llm.request.type": "unheard", "llm.token_count.prompt": -1, "gen_ai.usage.prompt_tokens": "many",
          "gen_ai.usage.completion_tokens": True, "mlflow.chat.tokenUsage": "[", "llm.cost.total": "free"}, {}),
    ],
)  # fmt: skip
def test_many_names_become_one(told: dict[str, Any], expected: dict[str, Any]) -> None:
    found = folded(told)

    assert {name: value for name, value in found.items() if name not in told and name != "causalkit.folded"} == expected
    assert found.get("causalkit.folded", []) == sorted(expected)
    assert {name: found[name] for name in told} == told


def test_what_is_there_is_not_overwritten_and_not_counted_twice() -> None:
    told = {IN: 10, "gen_ai.usage.prompt_tokens": 11, "llm.token_count.prompt": 12}

    assert folded(told) == told


def test_of_two_old_names_the_closer_one_counts_whatever_their_order() -> None:
    told = {"llm.token_count.completion": 12, "gen_ai.usage.completion_tokens": 11}

    assert folded(told)[OUT] == folded(dict(reversed(told.items())))[OUT] == 11
