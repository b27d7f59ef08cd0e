"""Every system call fails with every plausible errno: below the core in C, and below the public API.

What is tried, and what counts as wrong: test_core.c and python_calls.py.  The programs print what they did; here are
the figures that they must reach, so that an operation that lost its calls is noticed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INJECT = ROOT / "build" / "faults" / "inject.so"


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """Compile what stands between, and the C program."""
    make = ["make", "--silent", f"PYTHON={sys.executable}", "build/faults/core", "build/faults/inject.so"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(make, check=True, cwd=ROOT, env=environment)


def tried(done: subprocess.CompletedProcess[str]) -> int:
    """How many combinations the last line reports; the test's output shows the rest."""
    print(done.stdout, done.stderr)
    last = done.stdout.splitlines()[-1]
    match = re.fullmatch(r"(\d+) \(call, errno, n\) combinations, 0 wrong or leaking(, \d+ not met again)?", last)
    assert match, last
    return int(match[1])


@pytest.mark.timeout(400)
def test_the_core_says_of_every_failed_call_what_failed_and_leaves_nothing() -> None:
    done = subprocess.run([ROOT / "build/faults/core"], check=False, capture_output=True, text=True)
    assert tried(done) >= 2400
    assert done.returncode == 0


def from_python(*arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.python_calls", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(INJECT.relative_to(ROOT))},
    )
    count = tried(done)
    assert done.returncode == 0
    return count


@pytest.mark.timeout(400)
def test_one_failure_of_each_call_is_an_exception_in_python_and_leaves_nothing() -> None:
    assert from_python("few") >= 280


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_failure_of_each_call_is_an_exception_in_python_and_leaves_nothing() -> None:
    assert from_python() >= 2700
