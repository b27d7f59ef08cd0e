"""Every example runs to its end, says what it found, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ipc

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("[0-9]*.py"))
BY_NAME = next(path for path in EXAMPLES if path.name == "01_channel_by_name.py")
WORKERS = next(path for path in EXAMPLES if path.name == "02_workers.py")
FRAMES = next(path for path in EXAMPLES if path.name == "03_zero_copy_frames.py")
TASKS = next(path for path in EXAMPLES if path.name == "05_tasks_that_survive_their_worker.py")
DROP_IN = next(path for path in EXAMPLES if path.name == "06_instead_of_multiprocessing.py")
VIEWER = next(path for path in EXAMPLES if path.name == "07_frames_with_a_slow_viewer.py")
INSTEAD_OF_VLLM = next(path for path in EXAMPLES if path.name == "08_instead_of_vllms_message_queue.py")
VIDEO = next(path for path in EXAMPLES if path.name == "04_video_backpressure.py")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def no_segment_is_left(ipc_dir: Path) -> Iterator[None]:
    yield
    assert list(ipc_dir.iterdir()) == []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts an example; what a failed test leaves running is killed."""
    with ExitStack() as running:

        def run(example: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, str(example), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={**os.environ, **environment},
                start_new_session=True,  # a process group, for Ctrl-C
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield run


@pytest.fixture
def no_matplotlib(tmp_path: Path) -> dict[str, str]:
    """An environment in which it can't be imported."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text('raise ImportError("hidden by a test")\n', encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")])}


def output_of(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    return out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_without_arguments_and_writes_no_file(start: Start, example: Path, tmp_path: Path) -> None:
    assert output_of(start(example)) != ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_short_and_says_how_to_run_it(example: Path) -> None:
    lines = example.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    assert f"    python examples/{example.name}" in "\n".join(lines[:10])


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


# --- frames without a copy ----------------------------------------------------------------------------------------


def test_every_field_is_analysed_and_the_heat_stays(start: Start) -> None:
    said = output_of(start(FRAMES, "--size", "24", "--steps", "50", "--every", "20")).splitlines()
    reports = [re.findall(r"[\d.]+(?= m)", line) for line in said[:-1]]  # min, mean, max
    assert [line.partition(":")[0] for line in said[:-1]] == ["step 0", "step 20", "step 40"]
    assert reports[0][0] == "20.000"
    assert reports[0][2] == "100.000"
    assert len({mean for _, mean, _ in reports}) == 1
    highest = [float(high) for _, _, high in reports]
    assert highest == sorted(highest, reverse=True)
    assert highest[-1] < 100
    assert said[-1].startswith("51 of 51 fields analysed in place, 0.2 MB; drift ")


def test_the_analysis_draws_a_png_every_so_many_steps(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["--size", "16", "--steps", "5", "--every", "2", "--out", "a/b"]
    process = start(FRAMES, *arguments, MPLCONFIGDIR=str(tmp_path), MPLBACKEND="tkagg")  # a window? there is no screen
    process.communicate()  # matplotlib may say there that it builds its caches
    assert process.returncode == 0
    pictures = sorted((tmp_path / "a" / "b").iterdir())
    assert [path.name for path in pictures] == ["step_000000.png", "step_000002.png", "step_000004.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in pictures)


def test_without_matplotlib_the_pictures_are_gray(start: Start, tmp_path: Path, no_matplotlib: dict[str, str]) -> None:
    arguments = ["--size", "16", "--steps", "4", "--every", "4", "--out", "pictures"]
    assert "5 of 5 fields" in output_of(start(FRAMES, *arguments, **no_matplotlib))
    first, last = sorted((tmp_path / "pictures").iterdir())
    assert (first.name, last.name) == ("step_000000.pgm", "step_000004.pgm")
    head, _, pixels = first.read_bytes().partition(b"\n")
    assert head == b"P5 16 16 255"
    assert len(pixels) == 16 * 16
    assert set(pixels) == {0, 255}  # cold and hot
    assert len(set(last.read_bytes())) > len(set(first.read_bytes()))  # it has spread


@pytest.mark.parametrize("after", [1.001, 0.999, float("nan")], ids=["more", "less", "not a number"])
def test_the_analysis_notices_heat_that_came_or_went(after: float) -> None:
    spec = importlib.util.spec_from_file_location("frames_example", FRAMES)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert drift(example, 1.0) == 0
    assert not drift(example, after) < 1e-4


def drift(example: Any, factor: float) -> float:
    """What the analysis finds when the heat is multiplied by `factor` after the first of three fields."""
    plate = np.full((4, 4), 50.0)
    fields_tx, fields_rx = ipc.channel()
    findings_tx, findings_rx = ipc.channel()
    with fields_tx, findings_rx:
        fields_tx.send_many([plate, plate * factor, plate * factor])
        fields_tx.close()
        example.analyse(fields_rx, findings_tx, 10, None)
        analysed, found = findings_rx.recv()
    assert analysed == 3
    return float(found)


# --- video --------------------------------------------------------------------------------------------------------


def counts(said: str) -> tuple[int, ...]:
    """Frames made, taken, of these key and delta frames, and dropped."""
    found = re.search(r"(\d+) frames made = (\d+) taken \((\d+) key, (\d+) delta\) \+ (\d+) dropped", said)
    assert found is not None, said
    return tuple(map(int, found.groups()))


def test_a_source_that_is_held_back_loses_no_frame(start: Start) -> None:
    said = output_of(start(VIDEO, "--frames", "25", "--fps", "1000", "--busy", "0.005"))
    assert counts(said) == (25, 25, 3, 22, 0)
    assert said.count("0 dropped so far") == 3


def test_a_source_that_drops_frames_counts_them_and_keeps_the_key_frames(start: Start) -> None:
    said = output_of(start(VIDEO, "--drop", "--frames", "45", "--fps", "2000", "--busy", "0.05"))
    made, taken, key, delta, dropped = counts(said)
    assert (made, key) == (45, 5)
    assert dropped > 0
    assert taken + dropped == made
    assert key + delta == taken
    assert [line.split()[2] for line in said.splitlines()[:-1]] == ["0:", "10:", "20:", "30:", "40:"]


def test_a_consumer_that_keeps_up_gets_all_there_is_from_a_source_that_may_drop(start: Start) -> None:
    said = output_of(start(VIDEO, "--drop", "--frames", "4", "--busy", "0"))  # as many as the channel holds
    assert counts(said) == (4, 4, 1, 3, 0)


# --- queues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_every_request_is_answered_but_the_one_that_kills(start: Start, workers: int) -> None:
    said = output_of(start(TASKS, str(workers)))
    assert "was given up" in said
    assert "dead letter: {'number': 13, 'prompt': 'poison'} was delivered too often, 3 times" in said
    found = re.search(r"29 of 30 requests answered; workers replaced: (\d+); (\d+) redeliveries", said)
    assert found is not None
    assert int(found[1]) in {3, 4}  # three by the poison, and one by an accident, which may meet the poison's worker
    assert int(found[2]) >= 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_standard_library_s_example_works_with_another_import(start: Start, method: str) -> None:
    said = output_of(start(DROP_IN, method)).splitlines()
    assert said == [
        f"drop-in: 1000 results from 4 processes by {method}",
        "in batches: the sum of 1000 numbers is 499,500",
    ]


# --- multicast ----------------------------------------------------------------------------------------------------


def seen_and_missed(said: str, who: str) -> tuple[int, int, int]:
    found = re.search(rf"{who} +(\d+) +(\d+) +(\d+)", said)
    assert found is not None
    return int(found[1]), int(found[2]), int(found[3])


def test_a_slow_viewer_is_told_what_it_missed_and_the_recorder_misses_nothing(start: Start) -> None:
    said = output_of(start(VIEWER, "--frames", "40", "--fps", "100", "--busy", "0.2"))
    assert "40 frames in" in said
    assert seen_and_missed(said, "recorder") == (40, 0, 0)
    seen, missed, most = seen_and_missed(said, "viewer")
    assert (seen + missed, missed > 0, 0 < most <= missed) == (40, True, True)


def test_a_viewer_that_is_never_overtaken_misses_nothing(start: Start) -> None:
    said = output_of(start(VIEWER, "--frames", "4", "--busy", "0"))  # as many as the multicast holds
    assert seen_and_missed(said, "viewer") == seen_and_missed(said, "recorder") == (4, 0, 0)


@pytest.mark.parametrize("workers", [2, 5])
def test_the_engine_s_steps_reach_all_workers_but_the_one_that_was_killed(start: Start, workers: int) -> None:
    said = sorted(output_of(start(INSTEAD_OF_VLLM, str(workers))).splitlines())
    assert said == [
        f"worker 0 was killed after step 500; {workers - 1} of {workers} went on",
        *(f"worker {rank}: 1000 steps in order, weights 1,048,576" for rank in range(1, workers)),
    ]


# --- Ctrl-C -------------------------------------------------------------------------------------------------------

ENDLESS = [
    (FRAMES, ["--size", "16", "--steps", "1000000000", "--every", "50"], r"(\d+) of (\d+) fields analysed"),
    (VIDEO, ["--frames", "1000000000", "--busy", "0.001"], r"(\d+) frames made = (\d+) taken"),
    (VIEWER, ["--frames", "1000000000", "--busy", "0.001"], r"(?s)(\d+) frames in .*recorder +(\d+)"),
]


@pytest.mark.parametrize(("example", "arguments", "closing"), ENDLESS, ids=["frames", "video", "viewer"])
@pytest.mark.parametrize("to", ["everybody", "the parent alone"])
def test_ctrl_c_ends_an_example_in_good_order(
    start: Start, example: Path, arguments: list[str], closing: str, to: str
) -> None:
    process = start(example, *arguments)
    assert process.stdout is not None
    assert process.stdout.readline() != ""  # the worker is at work
    (os.killpg if to == "everybody" else os.kill)(process.pid, signal.SIGINT)
    found = re.search(closing, output_of(process).replace(",", ""))
    assert found is not None
    assert found[1] == found[2]
    assert int(found[1]) > 0
