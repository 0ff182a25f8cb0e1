"""Who an operator is: what `causalkit.operators.tracing.trace` was told, and what its code says."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from heapq import heappop, heappush
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
        tags: Iterable[str],
        metrics: Iterable[Metric],
    ) -> None:
        self.stage, self.operator_type, self.operator_id = stage, operator_type, operator_id
        for what, name in (("stage", stage), ("operator_type", operator_type), ("operator_id", operator_id)):
            if name is not None and not isinstance(name, str):
                raise CausalkitError(f"{what} is a {type(name).__name__}; give a text", **{what: name})
        if not isinstance(tags, Iterable):
            raise CausalkitError(f"tags is {tags!r}; give a list of texts", tags=tags)
        if not isinstance(metrics, Iterable):
            raise CausalkitError(f"metrics is {metrics!r}; give a list of functions", metrics=metrics)
        self.tags = (tags,) if isinstance(tags, str) else tuple(map(str, tags))
        self.metrics = tuple(metrics)
        for metric in self.metrics:
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
    named = _text_of(instance, "operator_id") or told.operator_id or _text_of(instance, "name")
    with _lock:
        known = _instances.get(id(instance))
        number = known[3] if known is not None and known[0]() is instance else 0
        try:
            gone = weakref.ref(instance, partial(_forget, id(instance), type(instance)))
        except TypeError:
            # An object that no weak reference can be made of is asked for its name each time, and not told apart.
            gone, number = None, 1
        if named is None:
            number = number or _next_number(type(instance))
            named = type(instance).__name__ if number == 1 else f"{type(instance).__name__} #{number}"
        metadata = metadata_named(named, told.operator_type or type(instance).__name__, told.tags)
        if gone is not None:
            _instances[id(instance)] = gone, told, metadata, number
    return metadata


def _text_of(instance: Any, attribute: str) -> str | None:
    try:
        text = getattr(instance, attribute, None)
    except Exception:
        # A property that raises would break the operator.
        return None
    return text if type(text) is str and text else None


_instances: dict[int, tuple[weakref.ref[Any], Told, OperatorMetadata, int]] = {}
# For each class the numbers that nobody has: a heap, the last of them never given before.
_free_numbers: WeakKeyDictionary[type, list[int]] = WeakKeyDictionary()
_lock = threading.RLock()


def _next_number(cls: type) -> int:
    free = _free_numbers.setdefault(cls, [1])
    number = heappop(free)
    if not free:
        free.append(number + 1)
    return number


def _forget(key: int, cls: type, gone: weakref.ref[Any]) -> None:
    with _lock:
        # Another object may live at the same address by now.
        if key in _instances and _instances[key][0] is gone:
            number = _instances.pop(key)[3]
            if number:
                heappush(_free_numbers[cls], number)
