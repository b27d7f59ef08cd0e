"""Every example runs to its end, says what it found, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("[0-9]*.py"))
BY_NAME = next(path for path in EXAMPLES if path.name == "01_channel_by_name.py")
WORKERS = next(path for path in EXAMPLES if path.name == "02_workers.py")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def no_segment_is_left(ipc_dir: Path) -> Iterator[None]:
    yield
    assert list(ipc_dir.iterdir()) == []


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts an example; what a failed test leaves running is killed."""
    with ExitStack() as running:

        def run(example: Path, *arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, str(example), *arguments]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield run


def output_of(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    return out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_without_arguments(start: Start, example: Path) -> None:
    assert output_of(start(example)) != ""


def test_both_sides_of_the_channel_by_name_report_the_same_number(start: Start) -> None:
    said = output_of(start(BY_NAME))
    assert "produce: 10000 readings and a picture sent" in said
    assert "consume: 10000 readings" in said


@pytest.mark.parametrize("order", [("produce", "consume"), ("consume", "produce")])
def test_the_channel_by_name_can_be_run_by_hand_in_either_order(start: Start, order: tuple[str, str]) -> None:
    sides = [start(BY_NAME, side, "weather") for side in order]
    for side, process in zip(order, sides, strict=True):
        assert output_of(process).startswith(f"{side}: 10000 readings")


def test_the_channel_by_name_explains_itself_when_called_wrongly(start: Start) -> None:
    process = start(BY_NAME, "nonsense")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "in two terminals" in err


@pytest.mark.parametrize("workers", [1, 5])
def test_any_number_of_workers_finds_all_primes(start: Start, workers: int) -> None:
    said = output_of(start(WORKERS, str(workers)))
    assert said.count("left with exit code 0") == workers
    assert said.endswith("78,498 primes below 1,000,000\n")
