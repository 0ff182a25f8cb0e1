"""Where reading stands: the versions that reach this point, and what decides whether it is reached."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from causalkit.code.ledger import NONE, RETURN, Ledger, Value, Version, Versions

if TYPE_CHECKING:
    from causalkit.code.calls import Callee

Names = Mapping[str, Versions]


class Path(NamedTuple):
    """What differs between the ways to a point of the program.

    `names` is None where the point is never reached. `left`, `skipped` and `risk` are what decided whether
    the function was left before, the rest of the loop's body was skipped, or a `try` was broken off.
    """

    names: Names | None
    left: Versions = NONE
    skipped: Versions = NONE
    risk: Versions = NONE


def join(paths: Sequence[Path]) -> Path:
    """Return the point at which several ways meet.

    Examples
    --------
    >>> x = Version("x", 1, 0)
    >>> join([Path({"x": frozenset([x])}), Path(None, left=frozenset([x]))]).left == {x}
    True
    """
    reached = [path.names for path in paths if path.names is not None]
    names = {name: NONE.union(*(way.get(name, NONE) for way in reached)) for way in reached for name in way}
    decided = (NONE.union(*parts) for parts in zip(*(path[1:] for path in paths), strict=True))
    return Path(names if reached else None, *decided)


@dataclass
class Loop:
    """The ways out of the body of a loop that is being read."""

    breaks: list[Path] = field(default_factory=list)
    continues: list[Path] = field(default_factory=list)
    decided: Versions = NONE


class Scope:
    """A function while it is read.

    Parameters
    ----------
    resolve : callable
        From the name of a global function to what is known of it, or None.
    local : set of str
        The names that belong to the function itself.

    Examples
    --------
    >>> scope = Scope(lambda name: None, frozenset("xy"))
    >>> scope.enter("x", ast.parse("x").body[0])
    >>> version = scope.define("y", ast.parse("y").body[0], scope.lookup("x"))
    >>> sorted(scope.names), version.name
    (['x', 'y'], 'y')
    """

    def __init__(self, resolve: Callable[[str], Callee | None], local: frozenset[str]) -> None:
        self.ledger = Ledger()
        self.resolve = resolve
        self.local = local
        self.path = Path({})
        self.governing: Versions = NONE
        self.loops: list[Loop] = []
        self.trails: list[dict[str, Versions]] = []
        self.doubtful = False

    @property
    def names(self) -> Names:
        """The versions that reach this point."""
        return self.path.names or {}

    @property
    def control(self) -> Versions:
        """What decides whether this point is reached."""
        return self.governing.union(*self.path[1:])

    def enter(self, name: str, at: ast.AST) -> None:
        """Define a parameter."""
        version = Version(name, *_position(at), "parameter")
        self.ledger.define(version, Value(), version.line)
        self._set(name, version)

    def lookup(self, name: str) -> Value:
        """Return what a variable is at this point; nothing for a global."""
        return self.ledger.value_of(self.names.get(name, NONE))

    def define(self, name: str, at: ast.AST, value: Value) -> Version:
        """Give a variable a new version."""
        version = Version(name, *_position(at))
        self.ledger.define(version, value._replace(control=value.control | self.control), version.line)
        self._set(name, version)
        return version

    def overlay(self, names: Names) -> None:
        """Let names stand for other versions, as inside of a comprehension; no version is defined."""
        if self.path.names is not None:
            merged = {**self.names, **names}
            self.path = self.path._replace(names={name: versions for name, versions in merged.items() if versions})

    def change(self, objects: Versions, value: Value, at: ast.AST) -> None:
        """Give a new version to every variable that is or holds an object that is changed in place."""
        self.ledger.change(objects, value.data | value.control | self.control)
        for name in list(self.names):
            before = self.lookup(name)
            if objects & (before.objects | before.held):
                self.define(name, at, value.kept().joined(before))

    def hand_back(self, value: Value, line: int) -> None:
        """Let the function's result depend on a value."""
        self.ledger.define(RETURN, value._replace(control=value.control | self.control), line)

    def leave(self) -> None:
        """End this way with the function: what decided on it decides on all that follows."""
        self.path = Path(None, self.path.left | self.control, self.path.skipped, self.path.risk)

    def skip(self) -> None:
        """End this way with the round of the loop."""
        self.path = Path(None, self.path.left, self.path.skipped | self.control, self.path.risk)

    def take_risk(self, value: Value) -> None:
        """Remember, inside of a `try`, that a value may fail to be computed."""
        if self.trails:
            self.path = self.path._replace(risk=self.path.risk | value.data | value.control)

    @contextmanager
    def governed(self, *deciding: Versions) -> Iterator[None]:
        """Read what is reached only if these decide so."""
        before = self.governing
        self.governing = before.union(*deciding)
        try:
            yield
        finally:
            self.governing = before

    @contextmanager
    def perhaps(self, test: Value) -> Iterator[None]:
        """Read part of an expression that is evaluated only if a test says so."""
        before = self.doubtful
        self.doubtful = True
        with self.governed(test.data, test.control):
            yield
        self.doubtful = before

    def _set(self, name: str, version: Version) -> None:
        self.path = self.path._replace(names={**self.names, name: frozenset([version])})
        for trail in self.trails:
            trail[name] = trail.get(name, NONE) | {version}


def _position(at: ast.AST) -> tuple[int, int]:
    return getattr(at, "lineno", 0), getattr(at, "col_offset", 0)
