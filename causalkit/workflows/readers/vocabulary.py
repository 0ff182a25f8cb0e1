"""One vocabulary for what the conventions of many tools call by many names: that of OpenTelemetry for GenAI.

Read are GenAI conventions old and present, OpenInference, OpenLLMetry (Traceloop), Langfuse, MLflow, Vercel's AI SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

_OPERATION, _INPUT, _OUTPUT = "gen_ai.operation.name", "causalkit.input", "causalkit.output"
_TOOL, _CALL, _AGENT = "gen_ai.tool.name", "gen_ai.tool.call.id", "gen_ai.agent.name"
_PROVIDER, _MODEL, _ANSWERED = "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model"
_IN, _OUT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
_CACHED, _REASONING = "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.reasoning.output_tokens"
_CONVERSATION, _WORKFLOW = "gen_ai.conversation.id", "gen_ai.workflow.name"
_COST, _DOCUMENTS = "causalkit.cost_usd", "causalkit.num_documents"


def folded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with their meaning added under one name each; nothing is removed or overwritten.

    Parameters
    ----------
    attributes : mapping
        Under the names that a tool gave them.

    Returns
    -------
    dict
        A copy. What was added is listed under ``causalkit.folded``.

    Examples
    --------
    >>> told = folded({"openinference.span.kind": "LLM", "llm.token_count.prompt": 12})
    >>> told["gen_ai.operation.name"], told["gen_ai.usage.input_tokens"]
    ('chat', 12)
    >>> folded({"http.request.method": "GET"})
    {'http.request.method': 'GET'}
    """
    told = dict(attributes)
    ranks: dict[str, int] = {}
    added: dict[str, Any] = {}
    known, numbered = _meant(tuple(told))
    for name in known:
        for rank, target, read in _ALIASES[name]:
            if target in told or rank > ranks.get(target, rank):
                continue
            value = read(told[name], told)
            if value is not None:
                ranks[target], added[target] = rank, value
    if numbered:
        _add_numbered(told, added)
    if added:
        told |= added
        told["causalkit.folded"] = sorted(added)
    return told


# Spans of one place in the code have the same names.
@lru_cache(maxsize=1000)
def _meant(names: tuple[str, ...]) -> tuple[list[str], bool]:
    """Return which of these names mean something, and whether any has a number in it."""
    return [name for name in names if name in _ALIASES], any(name.startswith(_NUMBERED) for name in names)


def _text(value: Any, _: Mapping[str, Any]) -> str | None:
    if isinstance(value, str) and value.startswith('"') and value.endswith('"'):
        value = value[1:-1]
    return value if isinstance(value, str) and value else None


def _any(value: Any, _: Mapping[str, Any]) -> Any:
    return value if value != "" else None


def _id(value: Any, told: Mapping[str, Any]) -> str | None:
    return str(value) if isinstance(value, int) else _text(value, told)


def _count(value: Any, _: Mapping[str, Any]) -> int | None:
    number = _number(value, _)
    return int(number) if number is not None and number == int(number) else None


def _number(value: Any, _: Mapping[str, Any]) -> float | None:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    fine = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 2**63
    return number if fine else None


def _count_of_a_call(value: Any, told: Mapping[str, Any]) -> int | None:
    # What the calls inside used is told by each of them, and by the span around them once more.
    operation = told.get("ai.operationId")
    return None if isinstance(operation, str) and ".do" not in operation else _count(value, told)


def _part(read: Callable[..., Any], *names: str) -> Callable[..., Any]:
    def of(value: Any, told: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError):
                return None
        if not isinstance(value, dict):
            return None
        return next((read(value[name], told) for name in names if value.get(name) is not None), None)

    return of


def _with(other: str) -> Callable[..., Any]:
    def total(value: Any, told: Mapping[str, Any]) -> float | None:
        one, more = _number(value, told), _number(told.get(other, 0.0), told)
        return None if one is None else one + (more or 0.0)

    return total


def _entity(kind: str) -> Callable[..., Any]:
    def named(value: Any, told: Mapping[str, Any]) -> str | None:
        return _text(value, told) if told.get("traceloop.span.kind") == kind else None

    return named


_OPERATIONS = {
    **{"llm": "chat", "chat": "chat", "chat_model": "chat", "generation": "chat"},
    **{"completion": "text_completion", "embedding": "embeddings", "embeddings": "embeddings", "tool": "execute_tool"},
    **{"agent": "invoke_agent", "workflow": "invoke_workflow", "retriever": "retrieval", "retrieval": "retrieval"},
    **{"reranker": "rerank", "rerank": "rerank", "guardrail": "guardrail", "evaluator": "evaluate"},
}


def _operation(value: Any, told: Mapping[str, Any]) -> str | None:
    name = (_text(value, told) or "").lower()
    if name.startswith("ai."):
        kind = name.partition(".do")[0]
        name = "embedding" if kind.startswith("ai.embed") else "tool" if kind == "ai.toolcall" else "chat"
        # The span around the calls is none of them.
        if name != "tool" and ".do" not in value:
            return None
    return _OPERATIONS.get(name)


# Earlier rows count more: (what it means, how it is read, what tools call it).
_TABLE: tuple[tuple[str, Callable[..., Any], str], ...] = (
    (_OPERATION, _operation, "openinference.span.kind llm.request.type traceloop.span.kind mlflow.spanType"),
    (_OPERATION, _operation, "langfuse.observation.type langfuse.type ai.operationId"),
    (_PROVIDER, _text, "gen_ai.system llm.provider llm.system ai.model.provider mlflow.llm.provider"),
    (_MODEL, _text, "llm.model_name llm.request.model gen_ai.request.model_name embedding.model_name"),
    (_MODEL, _text, "reranker.model_name langfuse.observation.model.name langfuse.model mlflow.llm.model ai.model.id"),
    (_ANSWERED, _text, "llm.response.model ai.response.model"),
    (_IN, _count, "gen_ai.usage.prompt_tokens llm.usage.prompt_tokens llm.token_count.prompt"),
    (_IN, _count_of_a_call, "ai.usage.inputTokens ai.usage.promptTokens ai.usage.tokens"),
    (_OUT, _count, "gen_ai.usage.completion_tokens llm.usage.completion_tokens llm.token_count.completion"),
    (_OUT, _count_of_a_call, "ai.usage.outputTokens ai.usage.completionTokens"),
    (_CACHED, _count, "gen_ai.usage.cache_read_input_tokens llm.usage.cache_read_input_tokens"),
    (_CACHED, _count, "llm.token_count.prompt_details.cache_read gen_ai.usage.input_tokens_details.cached"),
    (_CACHED, _count_of_a_call, "ai.usage.cachedInputTokens"),
    (_REASONING, _count, "gen_ai.usage.reasoning_tokens llm.usage.reasoning_tokens"),
    (_REASONING, _count, "llm.token_count.completion_details.reasoning"),
    (_REASONING, _count_of_a_call, "ai.usage.reasoningTokens"),
    *(
        (target, _part(_count, *names), "mlflow.chat.tokenUsage langfuse.observation.usage_details")
        for target, names in (
            (_IN, ("input_tokens", "input", "prompt_tokens")),
            (_OUT, ("output_tokens", "output", "completion_tokens")),
            (_CACHED, ("cache_read_input_tokens", "input_cached_tokens")),
            (_REASONING, ("output_reasoning_tokens", "reasoning_tokens")),
        )
    ),
    (_TOOL, _text, "tool.name tool_call.function.name ai.toolCall.name"),
    (_TOOL, _entity("tool"), "traceloop.entity.name"),
    (_CALL, _id, "tool_call.id tool.id ai.toolCall.id"),
    (_AGENT, _text, "agent.name"),
    (_AGENT, _entity("agent"), "traceloop.entity.name"),
    (_CONVERSATION, _id, "session.id conversation.id thread.id langfuse.session.id mlflow.trace.session"),
    (_CONVERSATION, _id, "traceloop.association.properties.session_id traceloop.association.properties.thread_id"),
    (_CONVERSATION, _id, "ai.telemetry.metadata.sessionId"),
    (_WORKFLOW, _text, "traceloop.workflow.name langfuse.trace.name"),
    (_COST, _number, "llm.cost.total gen_ai.usage.cost gen_ai.usage.total_cost"),
    (_COST, _part(_number, "total", "total_cost"), "langfuse.observation.cost_details mlflow.llm.cost"),
    (_COST, _with("gen_ai.usage.output_cost"), "gen_ai.usage.input_cost"),
    (_COST, _with("llm.cost.completion"), "llm.cost.prompt"),
    (_INPUT, _any, "input.value traceloop.entity.input langfuse.observation.input langfuse.trace.input"),
    (_INPUT, _any, "mlflow.spanInputs gen_ai.input.messages gen_ai.tool.call.arguments gen_ai.tool.args"),
    (_INPUT, _any, "ai.toolCall.args ai.prompt ai.prompt.messages ai.value gen_ai.prompt"),
    (_OUTPUT, _any, "output.value traceloop.entity.output langfuse.observation.output langfuse.trace.output"),
    (_OUTPUT, _any, "mlflow.spanOutputs gen_ai.output.messages gen_ai.tool.call.result gen_ai.output"),
    (_OUTPUT, _any, "ai.toolCall.result ai.response.text ai.response.object ai.result.text gen_ai.completion"),
)
_ALIASES: dict[str, list[tuple[int, str, Callable[..., Any]]]] = {}
for _rank, (_target, _read, _names) in enumerate(_TABLE):
    for _place, _name in enumerate(_names.split()):
        _ALIASES.setdefault(_name, []).append((100 * _rank + _place, _target, _read))

_NEVER = 2**63
_LISTS = ("retrieval.documents.", "reranker.output_documents.")
_PROMPTS, _ANSWERS = ("gen_ai.prompt.", "llm.input_messages."), ("gen_ai.completion.", "llm.output_messages.")
_NUMBERED = (*_LISTS, *_PROMPTS, *_ANSWERS)


def _add_numbered(told: Mapping[str, Any], added: dict[str, Any]) -> None:
    """Add what is spread over names with a number in them: documents are counted, the last message is the text."""
    documents: set[str] = set()
    last: dict[str, int] = {}
    for name, value in told.items():
        for target, prefixes in ((_DOCUMENTS, _LISTS), (_INPUT, _PROMPTS), (_OUTPUT, _ANSWERS)):
            prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
            if prefix is None:
                continue
            number, _, field = name[len(prefix) :].partition(".")
            if target == _DOCUMENTS:
                documents.add(name[: len(prefix)] + number)
                continue
            if field not in ("content", "message.content") or not number.isdecimal() or target in told:
                continue
            if target not in added or int(number) >= last.get(target, _NEVER):
                last[target], added[target] = int(number), value
    if documents and _DOCUMENTS not in told:
        added[_DOCUMENTS] = len(documents)
