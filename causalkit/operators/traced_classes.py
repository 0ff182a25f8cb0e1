"""Classes whose ``__call__`` reports while somebody listens, and is their own while nobody does."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from causalkit.errors import CausalkitError
from causalkit.operators import receivers
from causalkit.operators.identity import Told
from causalkit.operators.wrapping import traced_function

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
            super(cls, sub).__init_subclass__(**others)
        else:
            own.__get__(None, sub)(**others)
        trace_class(sub, vars(sub).get("_causalkit_told", told_of(sub)))

    hook: Any = __init_subclass__
    cls.__init_subclass__ = classmethod(hook)


def _install(cls: Any) -> None:
    """Put a reporting ``__call__`` where a class has one of its own, or inherits one that does not report."""
    own = vars(cls).get("__call__")
    function = call_of(cls) if own is None else own
    if function is None or cls in _replaced or (own is None and any(above in _classes for above in cls.__mro__[1:])):
        return
    _replaced[cls] = own
    cls.__call__ = traced_function(getattr(function, "__wrapped__", function), cls._causalkit_told, of_class=True)


def _restore(cls: Any) -> None:
    own = _replaced.pop(cls)
    if own is None:
        del cls.__call__
    else:
        cls.__call__ = own


def call_of(cls: type) -> Any:
    """Return the ``__call__`` of a class as it was written."""
    for above in cls.__mro__:
        found = _replaced.get(above) or vars(above).get("__call__")
        if found is not None:
            return found
    return None


def _switch(on: bool) -> None:
    global _on
    with _lock:
        _on = on
        for cls in [*_classes] if on else [*_replaced]:
            _install(cls) if on else _restore(cls)


receivers.switches.append(_switch)
