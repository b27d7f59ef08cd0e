"""Every published bug in docs/testing/regressions.md names the tests that hold it, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "testing" / "regressions.md"
LAST = 43

REFERENCE = re.compile(r"`(tests/[\w/]+\.(?:py|c|pml))(?:::([\w-]+))?`( \(awaited\))?")


def rows() -> dict[str, str]:
    """The last cell of each row by its number."""
    found: dict[str, str] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"R\d+", cells[0]):
            assert len(cells) == 4, line
            assert cells[0] not in found, line
            found[cells[0]] = cells[3]
    return found


def exists(path: str, name: str) -> bool:
    """Whether the file is there, and something of this name is run in it."""
    file = ROOT / path
    if not file.exists():
        return False
    if not name:
        return True
    text = file.read_text(encoding="utf-8")
    if path.endswith(".py"):
        return re.search(rf"^def {name}\(", text, re.MULTILINE) is not None
    if path.startswith("tests/model/"):
        return f'.name = "{name}"' in text
    # defined, and handed to run()
    return f"static void {name}(void)" in text and re.search(rf"run\(\s*\"[^\"]*\",\s*{name}\)", text) is not None


ROWS = rows()


def test_every_published_bug_has_a_row() -> None:
    assert list(ROWS) == [f"R{number}" for number in range(1, LAST + 1)]


@pytest.mark.parametrize("number", ROWS)
def test_the_tests_named_for_a_published_bug_exist(number: str) -> None:
    held = 0
    for path, name, awaited in REFERENCE.findall(ROWS[number]):
        if awaited:
            assert not exists(path, name), f"{path}::{name} is there: it is no longer awaited, so take the mark away"
        else:
            assert exists(path, name), f"there is no {path}::{name}"
            held += 1
    assert held > 0 or ROWS[number].startswith("not yet built: "), f"nothing holds {number}"
    names = re.sub(r"\(awaited\)", "", REFERENCE.sub("", ROWS[number])).strip()
    assert not names or ROWS[number].startswith("not yet built: "), f"{number}: not a test's name: {names}"
