"""Weaken the core's memory orders one by one, and see whether the explorer notices.

The explorer must find a schedule that fails on each mutant (mutations.py says what they are); those on which it can't
stand in survivors.txt with the reason.  That is the proof that the explorer checks what it says it checks.  Only a
failing schedule counts: a wrong result, a race, a deadlock, a crash or a loop without end, each with a record that
brings it back.  When the explorer itself runs out of room or time, that is said, and nothing was proved.

    python -m tests.model.mutants                           all mutants
    python -m tests.model.mutants ring.h naming.c           those of some files
    python -m tests.model.mutants --commits 20 --minutes 5  those of the files that the last 20 commits touched, as
                                                            many as can be judged in that time: first those on lines
                                                            from these commits, then the others, both shuffled, so
                                                            that none is always left out; reviewed ones last
    python -m tests.model.mutants --only begin_use          those whose name has this in it
    python -m tests.model.mutants --refute                  doubt the list of reviewed ones as well
    python -m tests.model.mutants --remember                note in killers.txt which scenario killed which: it is
                                                            tried first the next time.  Only time depends on it
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.model.mutations import NATIVE, NOT_MODELLED, ROOT, Mutant, modelled, mutants_of

MODEL = ROOT / "tests/model"
SURVIVORS = MODEL / "survivors.txt"
KILLERS = MODEL / "killers.txt"
FLAGS = [
    *("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-w", "-fPIC", "-U_FORTIFY_SOURCE"),
    *("-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0", "-DIPCR_MOST_SUBSCRIBERS=4u"),
]
# Files of one structure are run only in its scenarios; what both use, in all.
QUEUE_FILES = {
    *("leases.h", "lanes.h", "lanes.c", "queue.h", "queue.c", "queue_waits.c", "queue_counts.c"),
    *("queue_stats.c", "taking.c", "ending.c", "repair.c"),
}
QUEUE_SCENARIOS = ("queue-*", "lease-*", "receipt-*")
MULTICAST_FILES = {
    *("multicast.h", "multicast_format.h", "publishing.c", "multicast_room.c", "subscribing.c", "joining.c"),
    *("multicast_waits.c", "multicast_stats.c", "seats.h", "seats.c"),
}
MULTICAST_SCENARIOS = ("multicast*",)
GATES = {"gates.h", "gates.c"}
CHANNEL_FILES = {
    *("calls.c", "calls.h", "ends.c", "ends.h", "parts.c", "receiving.c", "ring.c", "ring.h", "sending.c", "stats.c"),
    *("waiting.c",),
}
KILLED, EXCUSED, SURVIVED, STILLBORN, BROKEN = "killed", "excused", "SURVIVED", "no mutant", "NOT JUDGED"
SECONDS_EACH = 1800
REVIEWED_SHARE = 50  # a fiftieth of the schedules for those believed to be no mutants: most of the time goes there


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, and who said so."""

    how: str
    why: str

    @property
    def killer(self) -> str:
        """The scenario that a killed one failed in."""
        return self.why.split(":")[0]


def scenarios_for(name: str) -> list[str]:
    """The explorer's arguments."""
    patterns: tuple[str, ...] = ()
    if name not in MULTICAST_FILES:
        patterns += QUEUE_SCENARIOS
    if name not in QUEUE_FILES:
        patterns += MULTICAST_SCENARIOS
    if name not in QUEUE_FILES | MULTICAST_FILES | GATES | CHANNEL_FILES:
        return []
    option = "--except" if name in CHANNEL_FILES else "--scenario"
    return [argument for pattern in patterns for argument in (option, pattern)]


class Judge:
    """Builds mutants, and runs the explorer on them."""

    def __init__(self, explorer: Path, compiler: str, where: Path) -> None:
        self.explorer = shutil.copy(explorer, where)  # it may be built anew meanwhile
        self.compiler = compiler
        self.where = where
        self.sources = sorted(path for path in NATIVE.glob("*.c") if path.name not in NOT_MODELLED)
        self.sources += sorted((MODEL / "core").glob("*.c"))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = list(pool.map(lambda path: self.compile(path, where / f"{path.stem}.o", NATIVE), self.sources))
        if not all(done):
            sys.exit("the core does not compile")

    def compile(self, source: Path, to: Path, headers: Path) -> bool:
        command = [self.compiler, *FLAGS, "-include", str(MODEL / "atomics.h"), f"-I{headers}", "-c", str(source)]
        return subprocess.run([*command, "-o", str(to)], check=False, capture_output=True).returncode == 0

    def build(self, mutant: Mutant, where: Path) -> Path | None:
        """The core with the change, as a shared object; None when it doesn't compile."""
        shutil.copytree(NATIVE, where / "native")
        (where / "native" / mutant.path.name).write_text(mutant.source)
        changed = [mutant.path] if mutant.path.suffix == ".c" else self.sources
        objects = {path.stem: self.where / f"{path.stem}.o" for path in self.sources}
        for path in changed:
            objects[path.stem] = where / f"{path.stem}.o"
            source = where / "native" / path.name if path.parent == NATIVE else path
            if not self.compile(source, objects[path.stem], where / "native"):
                return None
        core = where / "core.so"
        link = [self.compiler, "-shared", "-Wl,-z,now,-z,norelro", *map(str, objects.values()), "-o", str(core)]
        subprocess.run(link, check=True)
        return core

    def __call__(self, mutant: Mutant, schedules: int, killer: str | None, deadline: float) -> Verdict | None:
        """None: there was not time enough."""
        with tempfile.TemporaryDirectory(prefix="mutant-", dir=self.where) as name:
            core = self.build(mutant, Path(name))
            if core is None:
                return Verdict(STILLBORN, "it does not compile")
            command = [str(self.explorer), str(core), "--growing", "--schedules", str(schedules)]
            if killer is not None:
                verdict = explored([*command, "--scenario", killer], deadline)
                if verdict is None or verdict.how == KILLED:
                    return verdict
            return explored(command + scenarios_for(mutant.path.name), deadline)


def explored(command: list[str], deadline: float) -> Verdict | None:
    """What the explorer says; None: it had not said it in time."""
    left = deadline - time.monotonic()
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=min(SECONDS_EACH, left)
        )
    except subprocess.TimeoutExpired:
        return Verdict(BROKEN, f"the explorer needed more than {SECONDS_EACH} s") if left > SECONDS_EACH else None
    if done.returncode == 0:
        return Verdict(SURVIVED, "")
    if done.returncode == 1 and "\nagain: " in done.stdout:
        lines = done.stdout.splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith(("     0  ", "  (")))
        return Verdict(KILLED, lines[first - 1])
    return Verdict(BROKEN, f"the explorer ended with {done.returncode}: {done.stdout[-200:]}{done.stderr[-200:]}")


def listed(path: Path) -> dict[str, str]:
    """What a list of ours says of mutants."""
    found = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            key, _, said = line.rpartition(" | ")
            found[key] = said
    return found


def reviewed() -> dict[str, str]:
    """The mutants that nobody needs to kill, and why."""
    return listed(SURVIVORS)


def remember(verdicts: list[tuple[Mutant, Verdict]], known: set[str]) -> None:
    """Of mutants that there are, the last scenario that killed each."""
    killers = listed(KILLERS)
    killers.update((mutant.key, verdict.killer) for mutant, verdict in verdicts if verdict.how == KILLED)
    head = [line for line in KILLERS.read_text().splitlines() if line.startswith("#")]
    KILLERS.write_text("\n".join(head + [f"{key} | {killers[key]}" for key in sorted(killers.keys() & known)]) + "\n")


def compared(verdict: Verdict, excuse: str | None) -> Verdict:
    """The explorer's verdict in the light of the list."""
    if excuse is not None and verdict.how == SURVIVED:
        return Verdict(EXCUSED, excuse)
    if excuse is not None and verdict.how == KILLED:
        return Verdict(BROKEN, f"it stands in survivors.txt, and was killed: {verdict.why}")
    return verdict


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout


def recent_lines(path: Path, commits: set[str]) -> set[int]:
    """Lines of a file that these commits wrote last, or nobody has yet committed."""
    found = set()
    number = 0
    for line in git("blame", "--line-porcelain", "--", str(path)).splitlines():
        words = line.split()
        if len(words) >= 3 and len(words[0]) == 40 and words[1].isdigit():
            number = int(words[2])
            if words[0] in commits or not words[0].strip("0"):
                found.add(number)
    return found


def touched(paths: list[Path], commits: int) -> dict[Path, set[int]]:
    """The files that so many commits touched, or nobody has yet committed; and which lines of them.  Where history
    begins with a commit that has all files, as in a shallow clone, that one touched them all."""
    log = set(git("log", f"-{commits}", "--format=%H").split())
    named = git("log", f"-{commits}", "--root", "--name-only", "--format=", "--", "native").splitlines()
    named += [line[3:] for line in git("status", "--porcelain", "--no-renames", "--", "native").splitlines()]
    tracked = set(git("ls-files", "--", "native").splitlines())
    found = {}
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        if name in named and name in tracked:
            found[path] = recent_lines(path, log)
        elif name not in tracked:
            found[path] = set(range(1, len(path.read_text().splitlines()) + 1))
    return found


def in_order(mutants: list[Mutant], lines: dict[Path, set[int]], seed: int) -> list[Mutant]:
    """Those on recent lines first, then the others, reviewed ones last; by chance within each part."""
    shuffled = sorted(mutants, key=lambda mutant: mutant.key)
    random.Random(seed).shuffle(shuffled)
    excused = reviewed()
    return sorted(shuffled, key=lambda mutant: (mutant.key in excused, mutant.line not in lines[mutant.path]))


def chosen(args: argparse.Namespace) -> list[Mutant]:
    paths = modelled()
    if args.files:
        paths = [path for path in paths if path.name in {Path(name).name for name in args.files}]
    lines: dict[Path, set[int]] | None = None
    if args.commits is not None:
        try:
            lines = touched(paths, args.commits)
        except (OSError, subprocess.CalledProcessError) as problem:
            print(f"no history here, so all files count as touched ({problem})")
            lines = {path: set() for path in paths}
        paths = list(lines)
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    mutants = [mutant for mutant in mutants if args.only in mutant.key]
    if lines is None:
        return mutants
    seed = args.seed if args.seed is not None else of_the_commit()
    if not args.list:
        print(f"{len(mutants)} mutants of {len(paths)} files, in the order of --seed {seed}", flush=True)
    return in_order(mutants, lines, seed)


def of_the_commit() -> int:
    """A seed: another one for each commit."""
    try:
        return int(git("rev-parse", "HEAD")[:8], 16)
    except (OSError, subprocess.CalledProcessError):
        return 1


def table(verdicts: list[tuple[Mutant, Verdict]], title: str, kind_of: Callable[[Mutant], str]) -> str:
    """The score by some kind, for docs/."""
    counts = Counter((kind_of(mutant), verdict.how) for mutant, verdict in verdicts)
    rows = [f"| {title} | mutants | killed | reviewed | survived |", "|---|---:|---:|---:|---:|"]
    kinds = dict.fromkeys(kind_of(mutant) for mutant, verdict in verdicts if verdict.how != STILLBORN)
    for kind in (*sorted(kinds), "all"):
        column = [
            sum(n for (of, how), n in counts.items() if kind in {of, "all"} and how in hows)
            for hows in ({KILLED, EXCUSED, SURVIVED, BROKEN}, {KILLED}, {EXCUSED}, {SURVIVED, BROKEN})
        ]
        rows.append(f"| {kind} | " + " | ".join(map(str, column)) + " |")
    return "\n".join(rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="of native/; all by default")
    parser.add_argument("--commits", type=int, help="the files that so many commits touched")
    parser.add_argument("--only", default="", help="mutants whose name has this in it")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no longer, and say how many were left out")
    parser.add_argument("--seed", type=int, help="of the order with --commits; the commit's by default")
    parser.add_argument("--schedules", type=int, default=32_000, help="per scenario, at most")
    parser.add_argument("--refute", action="store_true", help="as many schedules for the reviewed ones as for others")
    parser.add_argument("--remember", action="store_true", help="note in killers.txt what killed which")
    parser.add_argument("--explorer", type=Path, default=ROOT / "build/model/explorer")
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="only say which mutants there are")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    deadline = time.monotonic() + 60 * args.minutes
    mutants = chosen(args)
    excused, killers = reviewed(), listed(KILLERS)
    known = {mutant.key for path in modelled() for mutant in mutants_of(path)}
    for key in excused.keys() - known:
        print(f"survivors.txt names a mutant that there is not: {key}")
    if args.list:
        print(*(mutant.key for mutant in mutants), sep="\n")
        return 0
    verdicts: list[tuple[Mutant, Verdict]] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as where, ThreadPoolExecutor(args.jobs) as pool:
        judge = Judge(args.explorer, args.compiler, Path(where))

        def in_time(mutant: Mutant) -> Verdict | None:
            if time.monotonic() > deadline:
                return None
            spared = mutant.key in excused and not args.refute
            schedules = args.schedules // (REVIEWED_SHARE if spared else 1)
            return judge(mutant, schedules, killers.get(mutant.key), deadline)

        for mutant, judged in zip(mutants, pool.map(in_time, mutants), strict=True):
            if judged is not None:
                verdict = compared(judged, excused.get(mutant.key))
                verdicts.append((mutant, verdict))
                print(f"{verdict.how:10} {mutant.path.name}:{mutant.line} {mutant.key} ({verdict.why})", flush=True)
    if args.remember:
        remember(verdicts, known)
    print(table(verdicts, "mutation", lambda mutant: mutant.what), end="\n\n")
    print(table(verdicts, "file", lambda mutant: mutant.path.name), end="\n\n")
    bad = [mutant.key for mutant, verdict in verdicts if verdict.how in {SURVIVED, BROKEN}]
    left_out = f"; time was up for {len(mutants) - len(verdicts)}" if len(verdicts) < len(mutants) else ""
    print(f"{len(verdicts)} of {len(mutants)} tested, {len(bad)} not killed and not reviewed{left_out}")
    return 1 if bad or not excused.keys() <= known else 0


if __name__ == "__main__":
    sys.exit(main())
