"""Who an operator is: what `causalkit.operators.tracing.trace` was told, and what its code says."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from causalkit.errors import CausalkitError
from causalkit.operators.events import OperatorMetadata

Metric = Callable[[Any, Any], Any]


class Told:
    """What `trace` was told about an operator."""

    __slots__ = ("metrics", "operator_id", "operator_type", "stage", "tags")

    def __init__(
        self,
        stage: str | None,
        operator_type: str | None,
        operator_id: str | None,
        tags: tuple[str, ...],
        metrics: tuple[Metric, ...],
    ) -> None:
        self.stage, self.operator_type, self.operator_id = stage, operator_type, operator_id
        self.tags, self.metrics = tags, metrics
        for what, name in (("stage", stage), ("operator_type", operator_type), ("operator_id", operator_id)):
            if name is not None and not isinstance(name, str):
                raise CausalkitError(f"{what} is a {type(name).__name__}; give a text", **{what: name})
        for metric in metrics:
            if not callable(metric):
                raise CausalkitError(
                    f"the metric {metric!r} cannot be called; give a function of result and input", metric=metric
                )

    def over(self, inherited: Told | None) -> Told:
        """Return the same, with what was not told taken from a class above."""
        if inherited is None:
            return self
        return Told(
            self.stage or inherited.stage,
            self.operator_type or inherited.operator_type,
            self.operator_id or inherited.operator_id,
            self.tags or inherited.tags,
            self.metrics or inherited.metrics,
        )


def parameters_of(function: Callable[..., Any], of_class: bool) -> tuple[tuple[str, ...], str, bool]:
    """Return the names of what is given by place, the name of the rest, and whether the first is the object itself."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return (), "args", of_class
    by_place = [found.name for found in parameters if found.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD]
    rest = next((found.name for found in parameters if found.kind is inspect.Parameter.VAR_POSITIONAL), "args")
    named = getattr(function, "__qualname__", "").removesuffix(">").rpartition("<locals>.")[2]
    bound = of_class or (by_place[:1] in (["self"], ["cls"]) and "." in named)
    return tuple(by_place[1:] if bound else by_place), rest, bound


def name_of(function: Any) -> str:
    """Return the qualified name of a function, without the function that it was made in."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]


@lru_cache(maxsize=65536)
def metadata_named(operator_id: str, operator_type: str, tags: tuple[str, ...]) -> OperatorMetadata:
    """Return the same object for the same names."""
    return OperatorMetadata(operator_id, operator_type, tags)


def metadata_of_instance(instance: Any, told: Told) -> OperatorMetadata:
    """Return who an object is: by its ``operator_id``, what was told, its ``name``, or its number in its class."""
    known = _instances.get(id(instance))
    if known is not None and known[0]() is instance and known[1] is told:
        return known[2]
    named = getattr(instance, "operator_id", None)
    if type(named) is not str:
        named = told.operator_id or getattr(instance, "name", None)
        if type(named) is not str:
            named = _numbered(instance)
    metadata = metadata_named(named, told.operator_type or type(instance).__name__, told.tags)
    with suppress(TypeError):
        # An object that no weak reference can be made of is asked for its name each time.
        _instances[id(instance)] = weakref.ref(instance, partial(_forget, id(instance))), told, metadata
    return metadata


_instances: dict[int, tuple[weakref.ref[Any], Told, OperatorMetadata]] = {}


def _forget(key: int, gone: weakref.ref[Any]) -> None:
    # Another object may live at the same address by now.
    if key in _instances and _instances[key][0] is gone:
        _instances.pop(key, None)


_numbers: WeakKeyDictionary[type, WeakKeyDictionary[Any, int]] = WeakKeyDictionary()


def _numbered(instance: Any) -> str:
    cls = type(instance)
    try:
        with _lock:
            numbers = _numbers.setdefault(cls, WeakKeyDictionary())
            number = numbers.setdefault(instance, len(numbers) + 1)
    except TypeError:
        # Neither a hash nor a weak reference: its instances cannot be told apart for long.
        number = 1
    return cls.__name__ if number == 1 else f"{cls.__name__} #{number}"


_lock = threading.Lock()
