"""Weaken the core's memory orders one by one, and see whether the explorer notices.

A mutant is the core with one change: an acquire or release made relaxed, a fence left out, a publishing store moved one
statement up.  The explorer must find a schedule that fails on each of them; those that it can't find stand in
survivors.txt with the reason.  That is the proof that the explorer checks what it says it checks.

    python tests/model/mutants.py                      all mutants
    python tests/model/mutants.py native/ring.h        those of some files
    python tests/model/mutants.py --commits 20         those of the files that the last 20 commits touched
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
SURVIVORS = Path(__file__).with_name("survivors.txt")
NOT_MODELLED = {"atomics.h", "os.c", "fast_ends.c", "fast_calls.c"}

# What is weakened, to what, and what that is called.
WEAKER = (
    (r"load_acquire(32|64)\(", r"load_relaxed\1(", "acquire load made relaxed"),
    (r"store_release(32|64)\(", r"store_relaxed\1(", "release store made relaxed"),
    (r"exchange_acq_rel32\(", "exchange_relaxed32(", "exchange made relaxed"),
    (r"\bcompare_exchange32\(", "compare_exchange_relaxed32(", "compare-exchange made relaxed"),
    (r"^(\s*)fence_store_load\(\);", r"\1;", "full fence left out"),
    (r"^(\s*)fence_compiler\(\);", r"\1;", "compiler fence left out"),
    (r"^(\s*)ipcr_os_membarrier\(\);.*", r"\1;", "membarrier left out"),
)
PUBLISHES = re.compile(r"^\s*(store_release(32|64)\(.*|ipcr_ring_(publish|release)\(.*|ipcr_publish\(.*)\);")
STATEMENT = re.compile(r"^\s*(?!return|break|continue|\}|/\*|\*|case|#)[^{}]*;\s*(/\*.*)?$")
DECLARATION = re.compile(r"^\s*(const|struct|uint\d+_t|int\d*(_t)?|bool|enum)\s[^(]*=")


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    path: Path
    line: int
    what: str
    text: str
    lines: tuple[str, ...]

    @property
    def key(self) -> str:
        """What it is called in the list of survivors, where line numbers would not last."""
        return f"{self.path.name} | {self.what} | {self.text}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines):
        if line.lstrip().startswith(("*", "/*", "//")) or (line.startswith("static inline") and "(" in line):
            continue
        for pattern, weaker, what in WEAKER:
            for n, match in enumerate(re.finditer(pattern, line)):
                changed = line[: match.start()] + match.expand(weaker) + line[match.end() :]
                text = line.strip() + (f" [{n + 1}]" if n else "")
                yield Mutant(path, at + 1, what, text, (*lines[:at], changed, *lines[at + 1 :]))
        before = lines[at - 1] if at else ""
        if PUBLISHES.match(line) and STATEMENT.match(before) and not DECLARATION.match(before):
            swapped = (*lines[: at - 1], line, before, *lines[at + 1 :])
            yield Mutant(path, at + 1, "published one statement early", line.strip(), swapped)


def sources(names: list[str], commits: int | None) -> list[Path]:
    found = sorted(path for path in NATIVE.glob("*.[ch]") if path.name not in NOT_MODELLED)
    if commits is not None:
        git = ["git", "-C", str(ROOT), "log", f"-{commits}", "--name-only", "--format=", "--", "native"]
        names = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split()
        if not names:
            return []
    wanted = {Path(name).name for name in names}
    return [path for path in found if not wanted or path.name in wanted]


def build(mutant: Mutant, where: Path, compiler: str) -> Path:
    """The core with the change, as a shared object."""
    shutil.copytree(NATIVE, where / "native")
    (where / "native" / mutant.path.name).write_text("\n".join(mutant.lines) + "\n")
    core = where / "core.so"
    sources = [path for path in (where / "native").glob("*.c") if path.name not in NOT_MODELLED]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O0", "-w", "-fPIC", "-shared", "-Wl,-z,now,-z,norelro"]
    back_end = ["-include", str(ROOT / "tests/model/atomics.h"), f"-I{where / 'native'}"]
    subprocess.run([compiler, *flags, *back_end, *map(str, sources), "-o", str(core)], check=True)
    return core


def verdict(mutant: Mutant, explorer: Path, schedules: int, compiler: str) -> str:
    """Which scenario noticed; empty when none did."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        core = build(mutant, Path(name), compiler)
        command = [str(explorer), str(core), "--quiet", "--schedules", str(schedules)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=600)
        except subprocess.TimeoutExpired:
            return "a schedule without end"
        if done.returncode == 0:
            return ""
        wrong = [line.split(":")[0] for line in done.stdout.splitlines() if "WRONG" in line]
        return wrong[0] if wrong else f"a crash ({done.returncode})"


def reviewed() -> dict[str, str]:
    """The mutants that nobody needs to kill, and why."""
    found = {}
    for line in SURVIVORS.read_text().splitlines():
        if line and not line.startswith("#"):
            key, _, reason = line.rpartition(" | ")
            found[key] = reason
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="of native/; all by default")
    parser.add_argument("--commits", type=int, help="the files that so many commits touched")
    parser.add_argument("--explorer", type=Path, default=ROOT / "build/model/explorer")
    parser.add_argument("--schedules", type=int, default=20_000, help="per scenario")
    parser.add_argument("--minutes", type=float, help="stop after so long, and say what was left out")
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--list", action="store_true", help="only say which mutants there are")
    args = parser.parse_args()
    mutants = [mutant for path in sources(args.files, args.commits) for mutant in mutants_of(path)]
    if args.list:
        print(*(mutant.key for mutant in mutants), sep="\n")
        return 0
    excused = reviewed()
    start = time.monotonic()
    killed, survived, left_out = 0, [], 0

    def judge(mutant: Mutant) -> str | None:
        if args.minutes is not None and time.monotonic() - start > 60 * args.minutes:
            return None
        return verdict(mutant, args.explorer, args.schedules, args.compiler)

    with ThreadPoolExecutor(2) as pool:
        for mutant, who in zip(mutants, pool.map(judge, mutants), strict=True):
            place = f"{mutant.path.name}:{mutant.line}"
            if who is None:
                left_out += 1
            elif who:
                killed += 1
                print(f"killed    {place:18} {mutant.what}: {mutant.text}  ({who})", flush=True)
            elif mutant.key in excused:
                print(f"excused   {place:18} {mutant.what}: {mutant.text}  ({excused[mutant.key]})", flush=True)
            else:
                survived.append(mutant)
                print(f"SURVIVED  {place:18} {mutant.what}: {mutant.text}", flush=True)
    total = len(mutants) - left_out
    excused_count = total - killed - len(survived)
    print(f"{total} mutants: {killed} killed, {excused_count} excused, {len(survived)} survived", end="")
    print(f"; {left_out} left out for want of time" if left_out else "")
    for mutant in survived:
        print(mutant.key)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
