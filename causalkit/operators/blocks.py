"""A block of code reported as a call of an operator."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from causalkit.errors import CausalkitError
from causalkit.operators.events import ExecutionContext, OperatorMetadata
from causalkit.operators.open_calls import OpenCall


class OperatorBlock:
    """What ``ExecutionContext.operator(...)`` gives.

    Attributes
    ----------
    result : Any
        Set it inside the block; reported when the block ends.
    """

    __slots__ = ("_call", "_entered", "_heard", "_inputs", "result")

    def __init__(self, metadata: OperatorMetadata, stage: str | None, inputs: Mapping[str, Any] | None) -> None:
        if isinstance(metadata, str):
            metadata = OperatorMetadata(metadata)
        if not isinstance(metadata, OperatorMetadata):
            raise CausalkitError(
                f"a {type(metadata).__name__} names no operator; give OperatorMetadata(id, type_hint, tags)",
                given=type(metadata).__name__,
            )
        if stage is not None and not isinstance(stage, str):
            raise CausalkitError(f"stage is a {type(stage).__name__}; give a text", stage=stage)
        if inputs is not None and not isinstance(inputs, Mapping):
            raise CausalkitError(f"inputs is a {type(inputs).__name__}; give names and values", inputs=inputs)
        self._call = OpenCall(metadata, stage)
        self._inputs = {} if inputs is None else inputs
        self._entered = self._heard = False
        self.result: Any = None

    @property
    def call_id(self) -> str:
        """The id of the call, by which another can link itself to it."""
        return self._call.span_id

    @property
    def context(self) -> ExecutionContext | None:
        """Where the call stands; None while nobody listens."""
        return self._call.context if self._heard else None

    def __enter__(self) -> Self:
        if self._entered:
            raise CausalkitError("this block was entered already; call ExecutionContext.operator(...) anew each time")
        self._entered = True
        self._heard = self._call.start(self._inputs, sys._getframe(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        if self._heard and error is None:
            self._call.returned(self.result)
        elif self._heard and error is not None:
            self._call.raised(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, stack)
