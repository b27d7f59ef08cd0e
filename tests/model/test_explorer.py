"""The explorer itself: it finds what was planted, brings it back from its record and seed, and knows its limits."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.mutants import KILLERS, SURVIVORS, in_order, listed, reviewed
from tests.model.mutations import modelled, mutants_of
from tests.model.plant import Change
from tests.model.planted import TABLE, copy_of_the_sources

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
EXPLORER = ROOT / "build/model/explorer"
CORE = ROOT / "build/model/core.so"

pytestmark = [
    pytest.mark.skipif(MAKE is None, reason="make builds the explorer, and is not here"),
    pytest.mark.timeout(900),  # a compiler on a busy machine
]

Build = Callable[..., Path]


def make(where: Path, *targets: str) -> None:
    done = subprocess.run(["make", "-s", *targets], cwd=where, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """Once, also when several pytests run here."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make(ROOT, "build/model/core.so", "build/model/explorer")


@pytest.fixture
def core_with(tmp_path: Path) -> Build:
    """The core with some text changed."""

    def build(*changes: Change) -> Path:
        tree = copy_of_the_sources(tmp_path)
        for change in changes:
            change.apply(tree)
        make(tree, "build/model/core.so")
        return tree / "build/model/core.so"

    return build


def explore(core: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([EXPLORER, core, *arguments], check=False, capture_output=True, text=True)


def planted(name: str) -> tuple[Change, ...]:
    return next(planted.changes for planted in TABLE if planted.name == name)


def before_sending(statement: str) -> Change:
    line = "    rc = try_send(e, message, length, info);\n"
    return Change("native/sending.c", line, f"    {statement}\n{line}")


def again(output: str, how: str) -> list[str]:
    """The arguments that the explorer names for bringing a schedule back."""
    found = re.search(rf"^again: (--scenario \S+ .*{how}.*)$", output, re.MULTILINE)
    assert found is not None, output
    return found.group(1).split()


def trace(output: str) -> list[str]:
    """What the schedule did, without the addresses of private memory, which differ from run to run."""
    lines = [line for line in output.splitlines() if re.match(r" +\d+ +fiber", line)]
    return [re.sub(r"private \w+", "private", line) for line in lines]


def test_a_planted_bug_is_found_and_comes_back_from_its_record(core_with: Build) -> None:
    core = core_with(*planted("no-second-look"))
    found = explore(core, "--scenario", "park-receiver", "--schedules", "20000")
    assert found.returncode == 1
    assert "a wake-up was lost" in found.stdout
    assert any("futex wait" in line for line in trace(found.stdout))
    replayed = explore(core, *again(found.stdout, "--replay"))
    assert replayed.returncode == 1
    assert trace(replayed.stdout) == trace(found.stdout)
    # without the bug the same schedule is right, or is no schedule
    assert "a wake-up was lost" not in explore(CORE, *again(found.stdout, "--replay")).stdout


def test_a_random_schedule_comes_back_from_its_seed_and_from_its_record(core_with: Build) -> None:
    core = core_with(*planted("no-second-look"))
    seeds = (str(seed) for seed in range(1, 500))
    runs = (explore(core, "--scenario", "park-receiver", "--schedules", "1", "--seed", seed) for seed in seeds)
    found = next(run for run in runs if run.returncode == 1)
    for how in ("--seed", "--replay"):
        back = explore(core, *again(found.stdout, how))
        assert back.returncode == 1
        assert trace(back.stdout) == trace(found.stdout)


def test_a_crash_of_the_core_is_a_failing_schedule(core_with: Build) -> None:
    found = explore(
        core_with(before_sending("if (length != 0) *(volatile int *)0 = 1;")),
        "--scenario",
        "park-receiver",
        "--schedules",
        "100",
    )
    assert found.returncode == 1
    assert "the core crashed" in found.stdout
    assert again(found.stdout, "--replay")


@pytest.mark.parametrize("loop", ["while (load_acquire32(&e->closing) == 0) {}", "for (volatile int i = 0;; i++) {}"])
def test_a_loop_without_end_is_a_failing_schedule(core_with: Build, loop: str) -> None:
    found = explore(core_with(before_sending(loop)), "--scenario", "park-receiver", "--schedules", "100")
    assert found.returncode == 1
    assert "there is no end to it" in found.stdout


def test_what_the_explorer_has_no_room_for_is_neither_right_nor_wrong(core_with: Build) -> None:
    greedy = Change("native/ends.c", "aligned_alloc(64, (sizeof *e", "aligned_alloc(64, 10000000 + (sizeof *e")
    found = explore(core_with(greedy), "--scenario", "park-receiver", "--schedules", "100")
    assert found.returncode == 3
    assert "allocates more" in found.stdout


def test_the_core_as_it_is_fails_in_no_scenario_but_those_that_must() -> None:
    done = explore(CORE, "--schedules", "400")
    assert done.returncode == 0, done.stdout
    wrong = {line.split()[0] for line in done.stdout.splitlines() if "WRONG, rightly" in line}
    assert wrong == {"example-naive", "example-hasty-reader", "example-hasty-writer"}


def test_each_mutant_has_a_name_of_its_own_and_each_reviewed_one_exists() -> None:
    keys = [mutant.key for path in modelled() for mutant in mutants_of(path)]
    assert len(keys) == len(set(keys))
    assert reviewed().keys() <= set(keys)
    assert all(len(reason) > 20 for reason in reviewed().values())
    assert listed(KILLERS).keys() <= set(keys) - reviewed().keys()
    for path in (KILLERS, SURVIVORS):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert len(lines) == len(listed(path))


def test_a_sample_of_mutants_is_the_same_for_the_same_seed_recent_ones_first_and_reviewed_ones_last() -> None:
    mutants = [mutant for path in modelled() for mutant in mutants_of(path)]
    recent = {path: set(range(1, 100)) for path in modelled()}
    ordered = in_order(mutants, recent, 7)
    assert ordered == in_order(mutants[::-1], recent, 7)
    assert ordered != in_order(mutants, recent, 8)
    parts = [(mutant.key in reviewed(), mutant.line >= 100) for mutant in ordered]
    assert parts == sorted(parts)
    assert {mutant.key for mutant in ordered} == {mutant.key for mutant in mutants}


def sample(where: Path, *arguments: str, **environment: str) -> str:
    """What mutants.py says in another checkout, where it must succeed."""
    command = [sys.executable, "-m", "tests.model.mutants", "--explorer", str(EXPLORER), "--commits", "20", *arguments]
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=where, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="not a clone, or no git here")
def test_in_a_clone_without_history_as_many_mutants_are_tested_as_there_is_time_for(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", "1", ROOT.as_uri(), str(clone)], check=True)
    said = sample(clone, "--minutes", "0.1")
    found = re.search(r"^(\d+) of (\d+) tested", said, re.MULTILINE)
    assert found is not None, said
    tested, every = int(found.group(1)), int(found.group(2))
    assert re.search(rf"^{every} mutants of \d+ files, in the order of --seed \d+$", said, re.MULTILINE)
    assert tested == len(re.findall(r"^(?:killed|excused|no mutant) ", said, re.MULTILINE))
    assert f"time was up for {every - tested}" in said


def test_where_there_is_no_history_at_all_every_mutant_counts_as_recent(tmp_path: Path) -> None:
    tree = copy_of_the_sources(tmp_path)
    said = sample(tree, "--list", GIT_DIR=str(tmp_path / "none")).splitlines()
    assert said[0].startswith("no history here")
    assert len(said) == 1 + sum(len(mutants_of(path)) for path in modelled())
