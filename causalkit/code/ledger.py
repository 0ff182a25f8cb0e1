"""What is written down while a function is read: versions of its variables and what each depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Version(NamedTuple):
    """One definition of a variable; `kind` is "variable", "parameter", "return" or "call"."""

    name: str
    line: int
    column: int
    kind: str = "variable"


Versions = frozenset[Version]
NONE: Versions = frozenset()
RETURN = Version("return", 0, 0, "return")


class Value(NamedTuple):
    """What an expression depends on, which objects it may be, and which it may hold.

    An object goes by the version that first had it. `captured` are names that are read later than here:
    those inside of a lambda or a generator.
    """

    data: Versions = NONE
    control: Versions = NONE
    objects: Versions = NONE
    held: Versions = NONE
    captured: frozenset[str] = frozenset()

    def joined(self, *others: Value) -> Value:
        """Return what depends on this and on others.

        Examples
        --------
        >>> x, y = Version("x", 1, 6), Version("y", 1, 9)
        >>> sorted(v.name for v in Value(frozenset([x])).joined(Value(frozenset([y]))).data)
        ['x', 'y']
        """
        return Value(*(part.union(*rest) for part, *rest in zip(self, *others, strict=True)))

    def fresh(self) -> Value:
        """Return the same dependences of an object that has nothing in common with others."""
        return self._replace(objects=NONE, held=NONE)

    def inside(self) -> Value:
        """Return what is taken out of this: one of its parts, or it itself."""
        return self._replace(objects=self.objects | self.held)

    def kept(self) -> Value:
        """Return a new object that holds this."""
        return self._replace(objects=NONE, held=self.objects | self.held)

    def deciding(self) -> Value:
        """Return what depends on this as on a test."""
        return Value(NONE, self.data | self.control, captured=self.captured)


class Ledger:
    """The dependences found so far; it only ever grows, so that loops are read until nothing is new.

    Examples
    --------
    >>> ledger, x = Ledger(), Version("x", 1, 6, "parameter")
    >>> y = Version("y", 2, 4)
    >>> ledger.define(y, Value(frozenset([x])), 2)
    >>> ledger.edges
    {(Version(name='x', line=1, column=6, kind='parameter'), Version(name='y', line=2, column=4, kind='variable')): ('data', 2)}
    """  # noqa: E501 - one line of output

    def __init__(self) -> None:
        self.versions: dict[Version, None] = {}
        self.edges: dict[tuple[Version, Version], tuple[str, int]] = {}
        self.objects: dict[Version, Versions] = {}
        self.held: dict[Version, Versions] = {}
        self.captures: set[tuple[Version, str]] = set()
        self.effects: dict[Version, frozenset[str]] = {}
        self.changed: dict[str, Versions] = {}
        self.not_understood: dict[tuple[int, str, str], None] = {}
        self.assumed: dict[tuple[int, str], None] = {}

    def define(self, version: Version, value: Value, line: int) -> None:
        """Write down that a version depends on a value and may be the value's object."""
        self.versions[version] = None
        self._connect(value.data, version, "data", line)
        self._connect(value.control, version, "control", line)
        self.objects[version] = self.objects.get(version, NONE) | value.objects | {version}
        self.held[version] = self.held.get(version, NONE) | value.held
        self.captures |= {(version, name) for name in value.captured}

    def change(self, objects: Versions, causes: Versions) -> None:
        """Write down that objects were changed in place; those of parameters are the caller's."""
        for origin in objects:
            if origin.kind == "parameter":
                self.changed[origin.name] = self.changed.get(origin.name, NONE) | causes

    def report(self, line: int, construct: str, reason: str) -> None:
        """Write down what was not understood."""
        self.not_understood[line, construct, reason] = None

    def value_of(self, versions: Iterable[Version]) -> Value:
        """Return what it means to read a variable that is in one of these versions."""
        versions = frozenset(versions)
        objects = NONE.union(*(self.objects.get(version, NONE) for version in versions))
        return Value(versions, NONE, objects, NONE.union(*(self.held.get(version, NONE) for version in versions)))

    def size(self) -> tuple[int, ...]:
        """Return a number for each part that only grows with it: equal if nothing new was found."""
        data = sum(kind == "data" for kind, _ in self.edges.values())
        objects = sum(map(len, [*self.objects.values(), *self.held.values()]))
        changed = sum(map(len, self.changed.values()))
        return len(self.versions), len(self.edges), data, objects, changed, len(self.captures)

    def close(self) -> None:
        """Connect what is read late, by a closure, with all versions that it may then find."""
        for version, name in sorted(self.captures):
            late = frozenset(other for other in self.versions if other.name == name and other.kind != "call")
            self._connect(late, version, "data", version.line)

    def _connect(self, sources: Versions, target: Version, kind: str, line: int) -> None:
        for source in sources - {target}:
            known = self.edges.get((source, target))
            if known is None or (known[0], kind) == ("control", "data"):
                self.edges[source, target] = (kind, line)
