from __future__ import annotations

import asyncio
import re
import threading

import pytest

from causalkit.spans import current_span, new_span_id, open_span


def test_outside_all_spans_there_is_no_parent() -> None:
    assert current_span() is None
    with open_span("a") as parent:
        assert parent is None


def test_a_span_ends_with_its_block_also_when_the_block_raises() -> None:
    with open_span("a"):
        with pytest.raises(KeyError), open_span("b"):
            raise KeyError
        assert current_span() == "a"
    assert current_span() is None


def test_a_new_thread_starts_without_a_parent() -> None:
    seen: list[str | None] = []
    with open_span("a"):
        thread = threading.Thread(target=lambda: seen.append(current_span()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_tasks_inherit_the_span_they_were_started_in_and_do_not_see_each_other() -> None:
    async def task(name: str) -> tuple[str | None, str | None]:
        with open_span(name) as parent:
            await asyncio.sleep(0.001)
            return parent, current_span()

    async def both() -> list[tuple[str | None, str | None]]:
        with open_span("root"):
            return await asyncio.gather(task("a"), task("b"))

    assert asyncio.run(both()) == [("root", "a"), ("root", "b")]


def test_span_ids_are_sixteen_hexadecimal_digits_and_differ() -> None:
    ids = {new_span_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", span_id) for span_id in ids)
