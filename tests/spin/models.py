"""Search the Spin models beside this file: all states of each correct one, and an error in each broken one.

    python tests/spin/models.py           what `make spin` does, in a few minutes
    python tests/spin/models.py --deep    larger bounds, as far as 12 GB of memory go

A broken variant (-DBROKEN=n, explained at the top of its model) is the same protocol with one thing left out; that Spin
finds an error in it is what makes the zero of the correct one worth something.  Needs spin (Debian: `apt-get install
spin`) and a C compiler.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Search:
    """One model with its definitions, and whether an error must be found in it."""

    model: str
    defines: tuple[str, ...] = ()
    broken: int = 0

    def __str__(self) -> str:
        return " ".join((self.model, *self.defines, *([f"BROKEN={self.broken}"] if self.broken else [])))


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    states: int
    errors: int
    complete: bool
    first: str  # the first error, in Spin's words
    seconds: float

    def as_wanted(self, search: Search) -> bool:
        """All states and no error; or, for a broken model, an error."""
        return self.errors > 0 if search.broken else self.errors == 0 and self.complete


ASYMMETRIC = ("ASYMMETRIC",)
ONE_EXPIRES = ("EXPIRY=1", "DEATHS=0")
TWO_SUBSCRIBE = ("SUBSCRIBERS=2", "MESSAGES=3", "STAY")
OBSERVED = ("OBSERVERS=1", "MESSAGES=3")

CORRECT = [
    Search("wake"),
    Search("wake", ASYMMETRIC),
    Search("takeover"),
    Search("gates", ("ALL=2",)),
    Search("gates", ("CONSUMERS=2", "TAKES=2")),
    Search("gates", ("CONSUMERS=2", "SIGNALS=1")),
    Search("gates", ("CONSUMERS=2", "ALL=2", "SHUT")),
    Search("leases", ("DEATHS=1",)),
    Search("leases", ONE_EXPIRES),
    Search("multicast", ("DEATHS=1",)),
    Search("multicast", ("EVICT", "DEATHS=1")),
    Search("multicast", OBSERVED),
    Search("multicast", ("LOSSY",)),
    Search("multicast", TWO_SUBSCRIBE),
    Search("multicast", (*ASYMMETRIC, "DEATHS=1")),
    Search("multicast", (*ASYMMETRIC, "SUBSCRIBERS=2", "MESSAGES=2")),
]
BROKEN = [
    *(Search("wake", (), number) for number in (1, 2, 3, 5)),
    *(Search("wake", ASYMMETRIC, number) for number in (3, 4, 6, 7)),
    *(Search("takeover", (), number) for number in range(1, 9)),
    *(Search("gates", ("SHUT",) if number == 7 else (), number) for number in range(1, 9)),
    *(Search("leases", (), number) for number in (1, 4, 6, 7, 8)),
    Search("leases", ("EXPIRY=1", "DEATHS=1"), 5),
    *(Search("leases", ONE_EXPIRES, number) for number in (2, 3, 9, 10)),
    *(Search("multicast", (), number) for number in (1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 17, 18, 20, 22)),
    *(Search("multicast", ("DEATHS=1",), number) for number in (7, 21)),
    *(Search("multicast", ("EVICT",), number) for number in (8, 15)),
    *(Search("multicast", ("LOSSY",), number) for number in (8, 9, 10)),
    *(Search("multicast", TWO_SUBSCRIBE, number) for number in (16, 19)),
    *(Search("multicast", ASYMMETRIC, number) for number in (23, 24, 25)),
    Search("multicast", OBSERVED, 8),
]
DEEP = [
    Search("wake", ("MESSAGES=8", "SLOTS=2")),
    Search("wake", (*ASYMMETRIC, "MESSAGES=8", "SLOTS=2")),
    Search("takeover", ("TAKERS=4",)),
    Search("gates"),
    Search("gates", ("ALL=2", "SHUT")),
    Search("leases"),
    Search("leases", ("EXPIRY=1", "DEATHS=1")),
    Search("multicast", ("SUBSCRIBERS=2", "MESSAGES=3")),
    Search("multicast", ("DEATHS=2", "MESSAGES=5")),
    Search("multicast", ("EVICT", "DEATHS=2", "MESSAGES=5", "STOPS=2")),
    Search("multicast", ("LOSSY", "SUBSCRIBERS=2")),
    Search("multicast", ("LOSSY", "MESSAGES=8")),
]


def what_is_missing() -> str | None:
    """Why nothing can be searched here, or None."""
    for tool, package in (("spin", "spin"), ("gcc", "gcc")):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian and Ubuntu: apt-get install {package})"
    return None


def search(one: Search, memory_mib: int = 2000) -> Found:
    """Generate the verifier, compile it and run it; the time is that of all three."""
    begun = time.monotonic()
    numbered = [*one.defines, *([f"BROKEN={one.broken}"] if one.broken else [])]
    with tempfile.TemporaryDirectory() as directory:

        def run(*command: str) -> str:
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{one}: {command[0]}\n{done.stdout}{done.stderr}")
            return done.stdout

        run("spin", *(f"-D{define}" for define in numbered), "-a", str(HERE / f"{one.model}.pml"))
        optimise = "-O1" if one.broken else "-O2"  # a broken one is found sooner than compiled
        run("gcc", "-w", optimise, "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={memory_mib}", "-o", "pan", "pan.c")
        said = run("./pan", "-m100000")
    states, errors = re.search(r"(\d+) states, stored", said), re.search(r"errors: (\d+)", said)
    assert states is not None, said
    assert errors is not None, said
    first = re.search(r"^pan:1: (.*)$", said, re.MULTILINE)
    return Found(
        states=int(states[1]),
        errors=int(errors[1]),
        complete="Search not completed" not in said and "max search depth too small" not in said,
        first=first[1] if first else "",
        seconds=time.monotonic() - begun,
    )


def main(arguments: list[str]) -> int:
    """Search, print a line for each, and return how many were not as wanted."""
    reason = what_is_missing()
    if reason is not None:
        print(f"the Spin models were not searched: {reason}")
        return 2
    deep = arguments == ["--deep"]
    if arguments and not deep:
        print(__doc__)
        return 2
    wrong = states = 0
    chosen = [*CORRECT, *(DEEP if deep else []), *BROKEN]
    for one in chosen:
        found = search(one, memory_mib=12_000 if deep else 2000)
        fine = found.as_wanted(one)
        wrong += not fine
        states += found.states
        outcome = f"error found: {found.first}" if found.errors else "0 errors" if found.complete else "NOT COMPLETE"
        print(
            f"{'ok ' if fine else 'BAD'} {found.states:>10,} states {found.seconds:6.1f} s  {one}: {outcome}",
            flush=True,
        )
    correct = sum(not one.broken for one in chosen)
    print(
        f"{correct} models, all states searched, {states:,} in all; {len(chosen) - correct} broken ones; {wrong} wrong"
    )
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
