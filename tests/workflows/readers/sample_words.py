"""What happened in a span, in the words of four conventions."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

# No language model: the sentences of an answer are selected. Its tokens are words.
MODEL, PROVIDER = "select_sentences", "causalkit"
_OPERATIONS = {"chain": "invoke_workflow", "retriever": "retrieval", "llm": "text_completion"}
_TRACELOOP = {"chain": "workflow", "retriever": "task", "reranker": "task", "llm": "task"}


class Facts(NamedTuple):
    """What there is to tell of a span at one moment; the rest is empty."""

    kind: str
    name: str = ""
    input: str | None = None
    output: str | None = None
    release: str | None = None
    knobs: dict[str, Any] | None = None
    load_1m: float | None = None
    tokens: tuple[int, int] | None = None
    documents: list[tuple[str, float]] | None = None


def in_genai(facts: Facts) -> dict[str, Any]:
    """Tell it in OpenTelemetry's semantic conventions for generative AI, as they are now."""
    operation = _OPERATIONS.get(facts.kind, "execute_tool")
    told: dict[str, Any] = {"gen_ai.operation.name": operation}
    names = {"execute_tool": ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result")}
    ends = names.get(operation, ("causalkit.input", "causalkit.output"))
    told |= _ends(facts, *ends)
    if operation == "execute_tool":
        told["gen_ai.tool.name"] = facts.name
    if facts.documents and operation == "retrieval":
        told["gen_ai.retrieval.documents"] = json.dumps([{"id": id_, "score": score} for id_, score in facts.documents])
    if facts.tokens:
        told |= {"gen_ai.provider.name": PROVIDER, "gen_ai.request.model": MODEL}
        told |= {"gen_ai.usage.input_tokens": facts.tokens[0], "gen_ai.usage.output_tokens": facts.tokens[1]}
    return told | _settings(facts)


def in_openllmetry(facts: Facts) -> dict[str, Any]:
    """Tell it as OpenLLMetry does, with the GenAI conventions of 2024."""
    told: dict[str, Any] = {"traceloop.span.kind": _TRACELOOP.get(facts.kind, "tool")}
    told |= _ends(facts, "traceloop.entity.input", "traceloop.entity.output")
    if facts.name:
        told["traceloop.entity.name"] = facts.name
    if facts.tokens:
        told |= {"gen_ai.system": PROVIDER, "llm.request.type": "completion", "gen_ai.request.model": MODEL}
        told |= {"gen_ai.usage.prompt_tokens": facts.tokens[0], "gen_ai.usage.completion_tokens": facts.tokens[1]}
    return told | _settings(facts)


def in_openinference(facts: Facts) -> dict[str, Any]:
    """Tell it in the words of OpenInference, which Phoenix reads."""
    from openinference.instrumentation import get_llm_attributes, get_span_kind_attributes

    kinds = {"parser": "tool"}
    told: dict[str, Any] = {**get_span_kind_attributes(kinds.get(facts.kind, facts.kind))}  # type: ignore[arg-type]
    told |= _ends(facts, "input.value", "output.value")
    if facts.tokens:
        read, written = facts.tokens
        usage = {"prompt": read, "completion": written, "total": read + written}
        told |= get_llm_attributes(provider=PROVIDER, model_name=MODEL, token_count=usage)  # type: ignore[arg-type]
    lists = {"retriever": "retrieval.documents", "reranker": "reranker.output_documents"}
    for number, (id_, score) in enumerate(facts.documents or ()):
        document = f"{lists[facts.kind]}.{number}.document"
        told |= {f"{document}.id": id_, f"{document}.score": score}
    return told | _settings(facts)


def in_mlflow(span: Any, facts: Facts) -> None:
    """Tell it to a span of MLflow."""
    from mlflow.tracing.constant import SpanAttributeKey, TokenUsageKey

    if facts.input is not None:
        span.set_inputs(facts.input)
    if facts.output is not None:
        span.set_outputs(facts.output)
    if facts.tokens:
        names = (TokenUsageKey.INPUT_TOKENS, TokenUsageKey.OUTPUT_TOKENS, TokenUsageKey.TOTAL_TOKENS)
        usage = dict(zip(names, (*facts.tokens, sum(facts.tokens)), strict=True))
        span.set_attributes({SpanAttributeKey.CHAT_USAGE: usage, SpanAttributeKey.MODEL: MODEL})
        span.set_attribute(SpanAttributeKey.MODEL_PROVIDER, PROVIDER)
    span.set_attributes(_settings(facts))


def _ends(facts: Facts, input_name: str, output_name: str) -> dict[str, Any]:
    told = {input_name: facts.input, output_name: facts.output}
    return {name: value for name, value in told.items() if value is not None}


def _settings(facts: Facts) -> dict[str, Any]:
    settings = {f"causalkit.knob.{name}": value for name, value in (facts.knobs or {}).items()}
    told = {"release": facts.release, "load_1m": facts.load_1m}
    return {name: value for name, value in told.items() if value is not None} | settings
