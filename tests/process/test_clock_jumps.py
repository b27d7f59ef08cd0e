"""The time of day may jump: timeouts, wake-ups and verdicts go by the monotonic clock (T12, R17).

Everything here runs in processes that start under a preload of our own (tests/waiting/clock_shift.c), in which the time
of day jumps by two days every 20 ms.  That nothing of ours imports such a clock at all, and that no Python of ours
waits by it, is in tests/unit/test_structure.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "waiting" / "clock_shift.c"

JUMPS = """
import time
low = high = time.time()
until = time.monotonic() + 0.1
while time.monotonic() < until:
    low, high = min(low, time.time()), max(high, time.time())
print(round((high - low) / 86400))
"""

TIMEOUTS = """
import ipc, time
for tx, rx in (ipc.channel(capacity=4096), ipc.channel(capacity=4096, spin=0)):
    with tx, rx:
        while tx.try_send(bytes(64)):
            pass
        full, empty = (tx, rx), ipc.channel(capacity=4096)
        for seconds in (0.0, 0.03, 0.25):
            for wait in (lambda: tx.send(bytes(64), timeout=seconds), lambda: tx.flush(seconds),
                         lambda: empty[1].recv(seconds), lambda: empty[1].recv_many(timeout=seconds)):
                before = time.monotonic()
                try:
                    wait()
                    raise SystemExit("no timeout")
                except ipc.TimeoutError:
                    pass
                took = time.monotonic() - before
                assert took >= seconds, (seconds, took)
                print(seconds, took - seconds)
        for end in empty:
            end.close()
"""

WAKE_UPS = """
import ipc, time

def echo(inbox, outbox):
    for number in inbox:
        if number % 10 == 0:
            time.sleep(0.03)   # asleep over there when the clock jumps
        outbox.send(number)

if __name__ == "__main__":
    tx, inbox = ipc.channel(spin=0)
    outbox, rx = ipc.channel(spin=0)
    with ipc.spawn(echo, inbox, outbox, context="fork"):
        for number in range(200):
            tx.send(number)
            assert rx.recv(timeout=30) == number
        tx.close()
    print("200 there and back")
"""

A_DEATH = """
import ipc, os, signal, time

def say_and_wait(outbox):
    outbox.send(os.getpid())
    signal.pause()

if __name__ == "__main__":
    outbox, rx = ipc.channel()
    worker = ipc.spawn(say_and_wait, outbox, context="fork")
    pid = rx.recv(timeout=30)
    for _ in range(10):        # alive, whatever the clock says
        try:
            rx.recv(timeout=0.1)
        except ipc.TimeoutError:
            pass
    os.kill(pid, signal.SIGKILL)
    worker.join()
    try:
        rx.recv(timeout=30)
    except ipc.PeerDiedError:
        print("died, as it did")
"""

# The suites of their own whose tests must pass under it unchanged.
SUITES = ("tests/process/test_timeouts_and_signals.py", "tests/process/test_no_false_death.py")


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give an environment in which the time of day jumps."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    library = tmp_path_factory.mktemp("clock") / "clock_shift.so"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(SOURCE)], check=True)
    others = os.environ.get("LD_PRELOAD")
    return {**os.environ, "LD_PRELOAD": f"{others}:{library}" if others else str(library)}


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_the_preload_makes_the_time_of_day_jump_and_not_the_monotonic_clock(shifted: dict[str, str]) -> None:
    assert run(shifted, "-c", JUMPS) == "2\n"


def test_a_jump_makes_no_timeout_early(shifted: dict[str, str]) -> None:
    assert len(run(shifted, "-c", TIMEOUTS).splitlines()) == 24


def test_a_jump_loses_no_wake_up(shifted: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "echo.py"
    script.write_text(WAKE_UPS, encoding="utf-8")
    assert run(shifted, str(script)) == "200 there and back\n"


def test_a_jump_is_no_death_and_hides_none(shifted: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "death.py"
    script.write_text(A_DEATH, encoding="utf-8")
    assert run(shifted, str(script)) == "died, as it did\n"


@pytest.mark.slow
@pytest.mark.timeout(600)  # each a suite of its own
@pytest.mark.parametrize("suite", SUITES, ids=lambda path: Path(path).stem)
def test_what_holds_without_jumps_holds_with_them(shifted: dict[str, str], suite: str, tmp_path: Path) -> None:
    some = "recv or flush or read_many or stopped or death"
    said = run(
        shifted,
        "-m",
        "pytest",
        "-qx",
        "-o",
        f"cache_dir={tmp_path}",
        "-m",
        "not slow and not stress",
        "-k",
        some,
        suite,
    )
    assert " passed" in said
