"""T15: a third process writes into the memory of a live channel, queue or multicast, while two others use all of its
calls: no crash, no hang, and every error is one of ours (or what a garbage pickle makes the unpickler raise).

What scribbling changes is random, so this proves that nothing was met in its time, not that there is nothing;
tests/fuzz looks with more method, at the core alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLOW_SECONDS = 10.0  # each of six ways, a minute in all; `make stress` goes on for longer
GRACE_SECONDS = 120.0  # for the last round; a talker that hangs says so earlier


CHANNEL = ("tests.process.scribbled", "sender", "receiver")
QUEUE = ("tests.process.scribbled_queues", "producer", "consumer")
MULTICAST = ("tests.process.scribbled_multicasts", "publisher", "subscriber")


def scribble_for(
    seconds: float, directory: Path, seed: int, pure_cffi: bool, cast: tuple[str, str, str] = CHANNEL
) -> None:
    """Run the three, and look at what they met."""
    environment = os.environ | {"IPC_PURE_CFFI": "1" if pure_cffi else "0", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", cast[0]]
    arguments = [str(directory), str(seconds), str(seed)]
    started = [
        subprocess.Popen(
            [*command, role, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for role in (*cast[1:], "scribbler")
    ]
    try:
        said = [process.communicate(timeout=seconds + GRACE_SECONDS) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    for process, (_, problems) in zip(started, said, strict=True):
        assert process.returncode == 0, f"seed {seed}: exit code {process.returncode}\n{problems}"
    sender, receiver, scribbler = (json.loads(output) for output, _ in said)
    print(f"seed {seed}: sender {sender}\nreceiver {receiver}\nscribbler {scribbler}")
    assert scribbler["scribbles"] > 0
    for talker in (sender, receiver):  # it was hostile, and messages went through all the same
        assert talker["calls that worked"] > 0
        assert talker["CorruptSegmentError"] > 0


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pure_cffi", [False, True], ids=["accelerated", "cffi"])
def test_a_scribbler_causes_errors_but_no_crash_and_no_hang(ipc_dir: Path, pure_cffi: bool) -> None:
    scribble_for(SLOW_SECONDS, ipc_dir, 1, pure_cffi)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pure_cffi", [False, True], ids=["accelerated", "cffi"])
def test_a_scribbler_over_a_queue_causes_errors_but_no_crash_and_no_hang(ipc_dir: Path, pure_cffi: bool) -> None:
    scribble_for(SLOW_SECONDS, ipc_dir, 1, pure_cffi, QUEUE)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pure_cffi", [False, True], ids=["accelerated", "cffi"])
def test_a_scribbler_over_a_multicast_causes_errors_but_no_crash_and_no_hang(ipc_dir: Path, pure_cffi: bool) -> None:
    scribble_for(SLOW_SECONDS, ipc_dir, 1, pure_cffi, MULTICAST)


@pytest.mark.stress
def test_a_scribbler_causes_no_crash_for_as_long_as_is_asked(ipc_dir: Path) -> None:
    until = time.monotonic() + float(os.environ.get("IPC_STRESS_MINUTES", "1")) * 60 / 2  # not alone in its tier
    seed = 2
    while time.monotonic() < until:
        cast = (QUEUE, CHANNEL, MULTICAST)[seed // 2 % 3]
        scribble_for(min(60.0, until - time.monotonic()), ipc_dir, seed, seed % 2 == 1, cast)
        seed += 1
