"""Every bug that some tool plants still meets the text that it changes: a tool that can't plant it finds nothing out.

The tools themselves run for minutes, and say the same; this is said at once, to whoever changes the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.plants import PLANTS
from tests.crash.plants_of_multicasts import MORE_MULTICAST_PLANTS, MULTICAST_PLANTS
from tests.crash.plants_of_queues import QUEUE_PLANTS
from tests.fuzz.planted import BUGS
from tests.model.planted import TABLE
from tests.storm.planted import OF

ROOT = Path(__file__).parents[2]


def changes() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Of each bug: the file, the text that must stand there once, and what is put in its place."""
    for plant in (*PLANTS, *QUEUE_PLANTS, *MULTICAST_PLANTS, *MORE_MULTICAST_PLANTS):
        yield f"crash: {plant.name}", [(f"native/{file}", old, new) for file, old, new in plant.changes]
    for bug in BUGS:
        yield f"fuzz: {bug.name}", [(f"native/{bug.file}", bug.right, bug.wrong)]
    for planted in TABLE:
        yield f"model: {planted.name}", [(change.path, change.old, change.new) for change in planted.changes]
    for mistakes in OF.values():
        for name, mistake in mistakes.items():
            also = [(mistake.file, *mistake.also)] if mistake.also[0] else []
            yield f"storm: {name}", [(mistake.file, mistake.right, mistake.wrong), *also]


@pytest.mark.parametrize("bug", [pytest.param(texts, id=name) for name, texts in changes()])
def test_a_planted_bug_meets_its_text_once(bug: list[tuple[str, str, str]]) -> None:
    changed: dict[str, str] = {}
    for file, old, new in bug:
        text = changed.get(file) or (ROOT / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has this {text.count(old)} times: {old}"
        changed[file] = text.replace(old, new)
