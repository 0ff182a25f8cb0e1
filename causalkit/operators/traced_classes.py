"""Classes whose ``__call__`` reports while somebody listens, and is their own while nobody does."""

from __future__ import annotations

import inspect
import threading
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from causalkit.errors import CausalkitError
from causalkit.operators import receivers
from causalkit.operators.identity import Told
from causalkit.operators.wrapping import traced_before, traced_function

_on = False
_lock = threading.RLock()
_classes: WeakSet[type] = WeakSet()
# What stood in the dictionary of a class; nothing if it inherited its __call__.
_replaced: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def told_of(cls: type) -> Told | None:
    """Return what a class or one above it was told."""
    return getattr(cls, "_causalkit_told", None)


def trace_class(cls: Any, told: Told, *, hook: bool = True) -> None:
    """Let a class and, by a hook where they have none yet, its subclasses report."""
    hooked = not hook or any("_causalkit_told" in vars(above) for above in cls.__mro__)
    try:
        cls._causalkit_told = told
    except TypeError as error:
        raise CausalkitError(
            f"class {cls.__name__} cannot be changed ({error}); trace a subclass of it, or an instance", operator=cls
        ) from None
    if not hooked:
        _hook_subclasses(cls)
    with _lock:
        _classes.add(cls)
        if _on:
            _install(cls)


def _hook_subclasses(cls: Any) -> None:
    own = vars(cls).get("__init_subclass__")

    def __init_subclass__(sub: Any, **others: Any) -> None:  # noqa: N807
        if own is None:
            here = next(above for above in sub.__mro__ if vars(above).get("__init_subclass__") is hook)
            super(here, sub).__init_subclass__(**others)
        else:
            own.__get__(None, sub)(**others)
        trace_class(sub, vars(sub).get("_causalkit_told", told_of(sub)))

    cls.__init_subclass__ = hook = _Hook(__init_subclass__)


class _Hook(classmethod):  # type: ignore[type-arg]  # cannot be subscripted as a base class
    def __set_name__(self, owner: type, name: str) -> None:
        # A dataclass with slots makes its class anew, from the dictionary of the traced one.
        trace_class(owner, vars(owner)["_causalkit_told"])


def _install(cls: Any) -> None:
    """Put a reporting ``__call__`` where a class has one of its own, or inherits one that does not report."""
    provider = next((above for above in cls.__mro__ if "__call__" in vars(above)), None)
    if provider is None or cls in _replaced or (provider is not cls and provider in _classes):
        return
    function = call_of(cls)
    before = traced_before(function)
    if before is not None and before.of_class:
        # The class was made of the dictionary of another while somebody listened.
        function = before.function
    _replaced[cls] = function if provider is cls else None
    if before is not None:
        function = before.function
    cls.__call__ = traced_function(_taking_the_object(function), cls._causalkit_told, of_class=True)


def _taking_the_object(function: Any) -> Any:
    """Return what is called with the object first, as a function is; a static method or another callable is not."""
    if inspect.isfunction(function):
        return function
    bind = getattr(type(function), "__get__", lambda unbound, instance, owner: unbound)
    return lambda self, *args, **kwargs: bind(function, self, type(self))(*args, **kwargs)


def _restore(cls: Any) -> None:
    own = _replaced.pop(cls)
    if own is None:
        del cls.__call__
    else:
        cls.__call__ = own


def call_of(cls: type) -> Any:
    """Return the ``__call__`` of a class as it was written."""
    with _lock:
        calls = (_replaced.get(above, vars(above).get("__call__")) for above in cls.__mro__)
        return next((call for call in calls if call is not None), None)


def _switch(on: bool) -> None:
    global _on
    with _lock:
        _on = on
        for cls in [*_classes] if on else [*_replaced]:
            _install(cls) if on else _restore(cls)


receivers.switches.append(_switch)
