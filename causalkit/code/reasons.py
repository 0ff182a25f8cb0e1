"""Why a program is not understood, in words and with its line."""

from __future__ import annotations

import ast
from typing import NoReturn

_IN_WORDS: dict[type[ast.AST], str] = {
    ast.For: "a loop",
    ast.AsyncFor: "a loop",
    ast.While: "a loop",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.FunctionDef: "a nested function",
    ast.AsyncFunctionDef: "an async function",
    ast.Lambda: "a nested function",
    ast.ClassDef: "a class",
    ast.Yield: "a generator",
    ast.YieldFrom: "a generator",
    ast.Await: "an await",
    ast.Global: "a global",
    ast.Nonlocal: "a nonlocal",
    ast.Delete: "a deletion",
    ast.Try: "a try",
    ast.With: "a with",
    ast.Match: "a match",
    ast.Raise: "a raise",
    ast.Assert: "an assertion",
    ast.Attribute: "an attribute",
    ast.Subscript: "a subscript",
    ast.JoinedStr: "text",
    ast.Starred: "an unpacking with *",
    ast.Tuple: "a tuple",
    ast.List: "a list",
    ast.Dict: "a dict",
    ast.Set: "a set",
}


class NotUnderstood(Exception):  # noqa: N818  # no error of the caller's, but the way out of reading a program
    """What stands in the way of a claim.

    Parameters
    ----------
    what : str
        In words, as the user is told it.
    line : int, optional
        Where it stands.

    Examples
    --------
    >>> str(NotUnderstood("a loop", 3))
    'a loop on line 3'
    """

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what if line is None else f"{what} on line {line}")
        self.line = line


def refuse(node: ast.AST, what: str | None = None) -> NoReturn:
    """Give up at a piece of syntax.

    Parameters
    ----------
    node : ast.AST
        The piece.
    what : str, optional
        What stands there, where the kind of syntax does not say it.

    Raises
    ------
    NotUnderstood
        Always.

    Examples
    --------
    >>> refuse(ast.parse("while True: pass").body[0])
    Traceback (most recent call last):
        ...
    causalkit.code.reasons.NotUnderstood: a loop on line 1
    """
    words = what or _IN_WORDS.get(type(node), f"{type(node).__name__!r}")
    raise NotUnderstood(words, getattr(node, "lineno", None))
