"""The programs in the README run as they stand there, under every start method, say what their comments promise, and
leave nothing behind.  Pieces of programs are not run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.support import METHODS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PROGRAMS = [text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "__main__" in text]
PROMISE = re.compile(r"print\(.*\) +# (.*)")


def test_there_are_programs_that_promise_something() -> None:
    assert len(PROGRAMS) == 3
    assert all(PROMISE.search(program) for program in PROGRAMS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("program", PROGRAMS, ids=["channels", "queues", "multicast"])
def test_a_program_of_the_readme_does_what_it_says(program: str, method: str, tmp_path: Path, ipc_dir: Path) -> None:
    by_method = re.sub(r"ipc\.spawn\(([^)]*)\)", rf'ipc.spawn(\1, context="{method}")', program)
    assert by_method.count(f'context="{method}"') == 1
    path = tmp_path / "copied.py"
    path.write_text(by_method, encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == PROMISE.findall(program)
    assert list(ipc_dir.iterdir()) == []
