"""Workflows that a regression run can import in another process."""

from __future__ import annotations

import random
from typing import Any

from causalkit.workflows.quality import quality_signal
from causalkit.workflows.tracer import Tracer

NOT_CALLABLE = 3


def shout(question: str) -> dict[str, Any]:
    return {"workflow": "loud", "final_answer": question.upper(), "citations": ["doc://a"]}


def slow_shout(question: str) -> dict[str, Any]:
    return {**shout(question), "citations": []}


def traced(question: str, tracer: Tracer) -> dict[str, Any]:
    with tracer.workflow("loud", question=question) as run:
        with run.step("search"):
            pass
        with run.step("write"):
            if question == "bad":
                raise KeyError("no such word")
            run.final_answer = question.upper()
    return {"final_answer": question.upper()}


def drawn(question: str) -> dict[str, Any]:
    return {"workflow": f"{random.random()}"}  # noqa: S311  # what a seed has to fix


def corpus_hash() -> str:
    return "abc"


@quality_signal
def exclaims(trace: Any, state: Any) -> bool:
    return str(state.get("final_answer", "")).endswith("!")


quality_signal.unregister("exclaims")
