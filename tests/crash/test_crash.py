"""Deaths at every instruction and at every system call of the core's operations; and bugs that this finds.

The work is done by two C programs (every_instruction.c and kill_points.c say how); docs/testing/crash.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.plants import PLANTS, Plant
from tests.crash.plants_of_multicasts import MORE_MULTICAST_PLANTS, MULTICAST_PLANTS
from tests.crash.plants_of_queues import QUEUE_PLANTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
OFTEN = (*PLANTS[::2], *QUEUE_PLANTS[::2], *MULTICAST_PLANTS[::2])  # the others: in the stress tests
ALL_PLANTS = [
    pytest.param(plant, id=plant.name.replace(" ", "_"), marks=() if plant in OFTEN else pytest.mark.stress)
    for plant in PLANTS + QUEUE_PLANTS + MULTICAST_PLANTS + MORE_MULTICAST_PLANTS
]
MAY_NOT_TRACE = 77


def make(*arguments: str) -> None:
    """Run make here, without what a make above us may have put into the environment."""
    if not shutil.which("make"):
        pytest.skip("there is no make")
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "ARGS"}}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run(program: Path, *arguments: str) -> tuple[int, str]:
    """Its exit code, and what it said; however it ends, it leaves nothing in shared memory."""
    with subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True, errors="replace") as running:
        output = running.communicate()[0]
    if running.returncode == MAY_NOT_TRACE:
        pytest.skip(output.strip())
    assert left_by(running.pid) == []
    return running.returncode, output


def left_by(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"ipc-crash-{pid}-*"))


def built(program: str, out: str, *variables: str) -> Path:
    make(f"{out}/{program}", f"CRASH_OUT={out}", *variables)
    return ROOT / out / program


def totals(output: str) -> dict[str, int]:
    """What the last line says: "all   305 starts, 425845 boundaries, ..."."""
    (line,) = re.findall(r"^all +(.*)$", output, re.MULTILINE)
    return {what: int(count) for count, what in re.findall(r"(\d+) ([a-z ]+)", line)}


def test_a_death_at_any_instruction_leaves_what_the_living_can_use() -> None:
    code, output = run(built("every_instruction", "build/crash"))
    assert code == 0, output
    found = totals(output)
    assert found["bad recoveries"] == 0
    assert found["boundaries"] > found["distinct states"] > found["starts"] > 0
    assert found["real deaths"] > 0


def test_a_death_at_any_system_call_leaves_what_the_next_one_can_use() -> None:
    code, output = run(built("kill_points", "build/crash"))
    assert code == 0, output
    found = totals(output)
    assert found["deaths"] >= found["kill points"] > found["starts"] > 0


@pytest.fixture(scope="module")
def nothing_planted() -> Iterator[Path]:
    """The programs over the core as it is: most of what a plant needs is the same."""
    base = ROOT / "build" / f"crash-plants-{os.getpid()}"
    for program in ("every_instruction", "kill_points"):
        built(program, str(base.relative_to(ROOT)), "CRASH_OPT=-O1")
    yield base
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def garden(nothing_planted: Path) -> Iterator[Path]:
    """A copy of the core to plant a bug in, among copies of what was built, which make takes for that core's."""
    copy = nothing_planted.with_name(f"{nothing_planted.name}-copy")
    shutil.copytree(nothing_planted, copy)
    shutil.copytree(ROOT / "native", copy / "core")
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


def plant_in(core: Path, plant: Plant) -> None:
    for file, old, new in plant.changes:
        text = (core / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has changed: the plant needs a new place"
        (core / file).write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("plant", ALL_PLANTS)
def test_a_planted_bug_is_found(plant: Plant, garden: Path) -> None:
    plant_in(garden / "core", plant)
    out = garden.relative_to(ROOT)
    program = built(plant.program, str(out), f"CRASH_NATIVE={out}/core", "CRASH_OPT=-O1")
    code, output = run(program, plant.operation)
    assert code == 1, output
    assert plant.complaint in output


def test_nothing_is_left_in_shared_memory_even_when_a_run_is_stopped() -> None:
    program = built("every_instruction", "build/crash")
    with subprocess.Popen([program, "-v"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.terminate()
        running.stdout.read()
    if running.returncode == MAY_NOT_TRACE:
        pytest.skip(first.strip())
    assert running.returncode != 0
    assert left_by(running.pid) == []


@pytest.mark.stress
@pytest.mark.timeout(0)  # six builds, and a real death for every state
def test_under_every_compiler_and_optimisation() -> None:
    make("crash-long")
