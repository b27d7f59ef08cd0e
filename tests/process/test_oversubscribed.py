"""More waiters than CPUs: on one core, or with half a CPU's time, every pair goes on, and spinning makes it no worse.

"No pair starves for a second" is asserted at five times, as all promises about time are; the figures are printed (-rP).
A run is longer than that, or nothing could fail; that a starving pair is seen is tested by stopping one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ipc._core import cgroup

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 8
SECONDS = 8.0
STARVED_SECONDS = 5 * 1.0
assert STARVED_SECONDS < SECONDS
WORTH = 0.5 / 5  # of the throughput of processes that never spin; a fifth of what is aimed at

Wrap = Callable[..., list[str]]


def told_by(*arguments: str, wrap: Wrap | None = None) -> dict[str, Any]:
    """What pairs in a process of their own tell."""
    command = [sys.executable, "-m", "tests.process.pairs", *arguments]
    done = subprocess.run(wrap(*command) if wrap else command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def play(spin: str, pin: str, wrap: Wrap | None = None) -> dict[str, Any]:
    """Run the pairs, print the figures, and check what holds in any case."""
    told = told_by(str(PAIRS), str(SECONDS), spin, pin, wrap=wrap)
    each = told["rounds per second"]
    print(
        f"{PAIRS} pairs, spin={spin}, bound {pin}: {sum(each):,.0f} round trips/s in all, {min(each):,.0f} to"
        f" {max(each):,.0f} a pair; the longest took {max(told['longest']):.3f} s"
    )
    assert_that_nobody_starved(told["longest"])
    assert told["exit codes"] == [0]
    assert min(each) > 0
    told["total"] = sum(each)
    return told


def assert_that_nobody_starved(longest: list[float]) -> None:
    """The longest that each went without a round."""
    assert max(longest) < STARVED_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("pin", ["before", "after"])
def test_no_pair_starves_on_one_core(pin: str) -> None:
    spinning, blocking = play("auto", pin), play("0", pin)
    assert spinning["total"] >= WORTH * blocking["total"]


@pytest.mark.slow
def test_no_pair_starves_with_half_a_cpu_and_nobody_spins(half_a_cpu: Wrap) -> None:
    automatic, blocking = play("auto", "none", half_a_cpu), play("0", "none", half_a_cpu)
    assert automatic["may spin"] == [False]  # the quota was read, from the kernel's own files
    assert automatic["total"] >= WORTH * blocking["total"]


@pytest.fixture
def half_a_cpu() -> Iterator[Wrap]:
    """Give a function that wraps a command, which then runs in a control group with half a CPU's time."""
    tried = ["the controller is not mounted"]
    for controller, limits in (
        ("cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        ("", {"cpu.max": "50000 100000"}),
    ):
        for parent in cgroup._groups(controller):
            group = parent / f"ipc-test-{time.monotonic_ns()}"
            try:
                group.mkdir()
                for name, value in limits.items():
                    if not (group / name).exists():
                        raise FileNotFoundError(f"{group} has no {name}")
                    (group / name).write_text(value, encoding="ascii")
                subprocess.run(["sh", "-c", 'echo $$ > "$1/cgroup.procs"', "sh", str(group)], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                tried.append(str(error))
                with suppress(OSError):
                    group.rmdir()
                continue

            def wrapped(*command: str, where: Path = group) -> list[str]:
                return ["sh", "-c", 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"', "sh", str(where), *command]

            yield wrapped
            remove(group)
            return
    pytest.skip(f"no CPU control group can be made: {tried[-1]}")


def remove(group: Path) -> None:
    """The last process of a group is a zombie for a moment."""
    deadline = time.monotonic() + 10
    while True:
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


# --- would it be seen? ----------------------------------------------------------------------------------------------


MOMENT = 0.2


def starving(seconds: float, who: str, begin: float, lasts: float) -> dict[str, Any]:
    """Run two pairs, and stop one of the first."""
    return told_by("2", str(seconds), "0", "none", who, str(begin), str(lasts))


who_is_stopped = pytest.mark.parametrize("who", ["answers", "asks"])


@who_is_stopped
def test_a_pair_that_starves_in_the_middle_of_a_run_is_seen(who: str) -> None:
    told = starving(1.5, who, MOMENT, 0.5)
    assert told["longest"][0] >= 0.5


@who_is_stopped
def test_a_pair_that_starves_until_a_run_is_over_is_seen(who: str) -> None:
    told = starving(1.5, who, MOMENT, 5.0)
    assert told["longest"][0] >= 1.5  # it had as much time again
    assert told["rounds per second"][1] > 0


@pytest.mark.slow
def test_a_pair_that_starves_in_the_second_half_of_a_run_fails() -> None:
    told = starving(SECONDS, "answers", SECONDS / 2, 2 * SECONDS)
    starved, other = told["longest"]
    print(f"without a round, the stopped one and the other: {starved:.3f} s, {other:.3f} s")
    with pytest.raises(AssertionError):
        assert_that_nobody_starved(told["longest"])
    assert_that_nobody_starved([other])
