"""From source text or a live callable to a checked function that takes its values from its parents."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat, starmap
from typing import Any

from causalkit.errors import TraceCollectionError

BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_function(node: str, code: str | Callable[..., Any]) -> Callable[..., Any]:
    r"""Return the function of a node, from its source text or as it is.

    Source text is **executed in this process** with all the rights of this process, in a namespace
    of its own. The function is the one named like the node, or else the only one whose name does
    not start with an underscore.

    Parameters
    ----------
    node : str
        The node that the function computes.
    code : str or callable
        Source text with everything the function needs, or the function itself.

    Returns
    -------
    callable
        A function that returns, rather than yields or waits.

    Raises
    ------
    TraceCollectionError
        If there is no such function (``.node``), or its source fails (``.line``).

    Examples
    --------
    >>> check_function("y", "import math\ndef root(x): return math.sqrt(x)")(9)
    3.0
    """
    if not isinstance(code, str) and not callable(code):
        raise TraceCollectionError(
            f"the function of {node!r} is a {type(code).__name__}; give source text or a callable", node=node
        )
    function = _pick(node, _execute(node, textwrap.dedent(code))) if isinstance(code, str) else code
    called = (function, getattr(function, "__call__", None))  # noqa: B004 - the method itself is inspected
    if any(map(inspect.iscoroutinefunction, called)) or any(map(inspect.isasyncgenfunction, called)):
        raise TraceCollectionError(
            f"the function of {node!r} is async; write a plain one that runs it with asyncio.run(...)",
            node=node,
        )
    if any(map(inspect.isgeneratorfunction, called)):
        raise TraceCollectionError(f"the function of {node!r} yields; write one that returns", node=node)
    return function


@dataclass(frozen=True)
class BoundFunction:
    """A function that knows which of its parameters take which parents.

    Parameters
    ----------
    node : str
        The node that the function computes.
    function : callable
        The function itself.
    positional : tuple of (str or None, object)
        For each argument passed by position its parent, or None and the default to pass instead.
    keywords : mapping of str to str
        The parent of each argument passed by name.

    Examples
    --------
    >>> BoundFunction("y", lambda x, k: x - k, ((None, 5),), {"k": "a"})({"a": 2})
    3
    """

    node: str
    function: Callable[..., Any]
    positional: tuple[tuple[str | None, Any], ...]
    keywords: Mapping[str, str]

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Call the function with the values of its parents."""
        return next(self.over({parent: [values[parent]] for parent in self.parents}, 1))

    @property
    def parents(self) -> list[str]:
        """The parents whose values a call takes."""
        taken = {parent for parent, _ in self.positional if parent is not None} | set(self.keywords.values())
        return sorted(taken)

    def inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a call would take from these values.

        Parameters
        ----------
        values : mapping of str to object
            The values of the nodes so far.

        Returns
        -------
        dict of str to object
            The value of each parent.

        Examples
        --------
        >>> BoundFunction("y", abs, (("a", None),), {}).inputs({"a": 2, "b": 3})
        {'a': 2}
        """
        return {parent: values[parent] for parent in self.parents}

    def over(self, columns: Mapping[str, Sequence[Any]], count: int) -> Iterator[Any]:
        """Call the function for one row after the other.

        Parameters
        ----------
        columns : mapping of str to sequence
            The values of each parent.
        count : int
            The number of rows.

        Yields
        ------
        object
            What each call returns. Where a call raises, the next step goes on with the next row.

        Examples
        --------
        >>> list(BoundFunction("y", abs, (("a", None),), {}).over({"a": [-1, 2]}, 2))
        [1, 2]
        """
        taken = [repeat(default, count) if parent is None else columns[parent] for parent, default in self.positional]
        taken += [columns[parent] for parent in self.keywords.values()]
        call = self._by_keyword() if self.keywords else self.function
        return map(call, *taken) if taken else starmap(call, repeat((), count))

    def _by_keyword(self) -> Callable[..., Any]:
        function, names, split = self.function, tuple(self.keywords), len(self.positional)
        return lambda *args: function(*args[:split], **dict(zip(names, args[split:], strict=True)))


def bind_function(
    node: str,
    function: Callable[..., Any],
    parents: Sequence[str],
    parent_names: Mapping[str, str] | None = None,
) -> BoundFunction:
    """Match the parameters of a function to the parents of its node, or say what does not match.

    A parameter takes the parent that `parent_names` gives it, or else the parent of its own name;
    when then one parent is left, and one parameter that needs a value (or one at all), they belong
    together. What is left of the parameters takes its default, and ``*args`` and ``**kwargs``
    receive nothing. Every parent must be taken.

    Parameters
    ----------
    node : str
        The node that the function computes.
    function : callable
        Its function.
    parents : sequence of str
        The parents of the node.
    parent_names : mapping of str to str, optional
        Parents by parameter, where names differ: the node's entry in ``parameter_map``.

    Returns
    -------
    BoundFunction
        To be called with a mapping of node to value.

    Raises
    ------
    TraceCollectionError
        If a parameter or a parent is left over (``.node``, ``.parameter``, ``.parents``).

    Examples
    --------
    >>> bind_function("y", lambda x, k=1: x + k, ["a"])({"a": 2})
    3
    """
    parameters = _parameters(node, function)
    taken = _match(node, parameters, parents, {} if parent_names is None else parent_names)
    by_position = [name for name, parameter in parameters.items() if parameter.kind in BY_POSITION]
    while by_position and by_position[-1] not in taken:
        by_position.pop()
    return BoundFunction(
        node,
        function,
        tuple((taken.get(name), parameters[name].default) for name in by_position),
        {name: parent for name, parent in taken.items() if name not in by_position},
    )


def _execute(node: str, source: str) -> dict[str, Any]:
    filename = f"<function of {node}>"
    namespace: dict[str, Any] = {"__name__": filename}
    try:
        # Not inherited: this module's own `from __future__` would change what the source means.
        program = compile(source, filename, "exec", dont_inherit=True)
        exec(program, namespace)  # noqa: S102 - running the caller's source is what this room is for
    except (Exception, SystemExit) as error:
        line = _line(error, filename)
        raise TraceCollectionError(
            f"the source of {node!r} fails on line {line} with {type(error).__name__}: {error}; correct it there",
            node=node,
            line=line,
        ) from error
    return namespace


def _line(error: BaseException, filename: str) -> int | None:
    """Return the line of the source that an error comes from."""
    if isinstance(error, SyntaxError) and error.filename == filename:
        return error.lineno
    line, frame = None, error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename == filename else line
        frame = frame.tb_next
    return line


def _pick(node: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    named: Any = namespace.get(node)
    if callable(named) and not isinstance(named, type):
        return named  # type: ignore[no-any-return]
    public = [
        name
        for name, value in namespace.items()
        # Imported functions have other globals than those of the source.
        if not name.startswith("_") and getattr(inspect.unwrap(value), "__globals__", None) is namespace
    ]
    if len(public) == 1:
        return namespace[public[0]]  # type: ignore[no-any-return]
    found = f"several functions ({', '.join(map(repr, public))})" if public else "no function"
    raise TraceCollectionError(
        f"the source of {node!r} defines {found}; name the one that computes {node!r} like its node "
        f"(def {node}(...)) or leave only one without a leading underscore",
        node=node,
        functions=public,
    )


def _parameters(node: str, function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise TraceCollectionError(
            f"the parameters of {function!r} of {node!r} cannot be read; wrap it: def {node}(...): ...",
            node=node,
        ) from error
    return {name: parameter for name, parameter in parameters.items() if parameter.kind not in STARRED}


def _match(
    node: str, parameters: Mapping[str, inspect.Parameter], parents: Sequence[str], given: Mapping[str, str]
) -> dict[str, str]:
    """Return the parent of each parameter that takes one."""
    _check_given(node, parameters, parents, given)
    taken = {name: name for name in parameters if name in parents} | dict(given)
    needy = [name for name in parameters if name not in taken and parameters[name].default is inspect.Parameter.empty]
    free = needy or [name for name in parameters if name not in taken]
    left = [parent for parent in parents if parent not in taken.values()]
    if len(free) == len(left) == 1:
        return taken | {free[0]: left[0]}
    if needy:
        raise _unmatched(node, needy[0], parents, left)
    if left:
        raise TraceCollectionError(
            f"no parameter of the function of {node!r} takes the parents {_listed(left)}; "
            "add parameters of these names, remove the edges, or write "
            f"parameter_map={{{node!r}: {{'<parameter>': {left[0]!r}}}}}",
            node=node,
            parents=left,
        )
    return taken


def _check_given(
    node: str, parameters: Mapping[str, inspect.Parameter], parents: Sequence[str], given: Mapping[str, str]
) -> None:
    if not isinstance(given, Mapping):
        raise TraceCollectionError(
            f"parameter_map[{node!r}] is {given!r}; write a dict of parameter to parent", node=node
        )
    for name, parent in given.items():
        if name not in parameters or parent not in parents:
            raise TraceCollectionError(
                f"parameter_map[{node!r}] gives {name!r} the parent {parent!r}, but the parameters "
                f"of its function are {_listed(parameters)} and its parents {_listed(parents)}; "
                "correct the entry",
                node=node,
                parameter=name,
                parents=list(parents),
            )


def _unmatched(node: str, parameter: str, parents: Sequence[str], left: list[str]) -> TraceCollectionError:
    if parents:
        choice = (left or list(parents))[0]
        remedy = f"write parameter_map={{{node!r}: {{{parameter!r}: {choice!r}}}}} with the parent that is meant"
    else:
        remedy = "add the edge from its parent, or give the parameter a default"
    having = f"the parents {_listed(parents)}" if parents else "no parents"
    return TraceCollectionError(
        f"parameter {parameter!r} of the function of {node!r} matches none of its parents "
        f"({node!r} has {having}); {remedy}",
        node=node,
        parameter=parameter,
        parents=list(parents),
    )


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names)) or "none"
