"""Does the storm find anything?  Known mistakes, planted in a copy of the sources: `python -m tests.storm.planted`.

It can't find all of them.  A wrong memory order that x86 forgives, a window of few instructions (a death that is told
without a last look at the ring, say), a lost wake-up that costs only the rest of a slice are for other tools.  So is a
sender that is told OK when a successor threw the rest of its message away: the dead receiver may have had it, say the
logs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("ipc", "native", "tests", "benchmarks", "setup.py", "pyproject.toml", "README.md", "LICENSE")


class Mistake(NamedTuple):
    """In one file."""

    file: str
    right: str
    wrong: str
    also: tuple[str, str] = ("", "")
    """Another place of the same file, changed as well."""


MISTAKES: Final[dict[str, Mistake]] = {
    "published before it is written": Mistake(
        "native/ring.h",
        "    copy_in(payload, src, length);\n    ipcr_ring_stage_claimed(w, payload, length, info);\n",
        "    ipcr_ring_stage_claimed(w, payload, length, info);\n"
        "    store_release64(&w->own->position, w->position);\n"
        "    copy_in(payload, src, length);\n",
    ),
    "given back before it is copied": Mistake(
        "native/receiving.c",
        "    copy_out(out, view.payload, view.length);\n    ipcr_ring_consume(&e->reader, view.length);\n"
        "    ipcr_release_space(e);\n",
        "    ipcr_ring_consume(&e->reader, view.length);\n    ipcr_release_space(e);\n"
        "    copy_out(out, view.payload, view.length);\n",
    ),
    "a view is taken at its beginning": Mistake(
        "native/receiving.c",
        "        lend(e, &view);\n        result = result_of(e, &view);\n",
        "        lend(e, &view);\n        result = result_of(e, &view);\n"
        "        ipcr_ring_consume(&e->reader, view.length);\n        ipcr_release_space(e);\n",
        also=("        ipcr_ring_consume(&e->reader, e->lent_length);\n        ipcr_release_space(e);\n", ""),
    ),
    "a death is never noticed": Mistake(
        "native/ends.c", "        return verdict;\n    return (now", "        return IPCR_OK;\n    return (now"
    ),
    "who has the end is taken for dead": Mistake(
        "native/ends.c", "    if (held)\n        return IPCR_OK;\n    const uint32_t now", "    const uint32_t now"
    ),
    "a successor continues from the other mark": Mistake(
        "native/ring.c",
        "out->sequence = load_acquire64(&side->mark[i].sequence);",
        "out->sequence = load_acquire64(&side->mark[i ^ 1].sequence);",
    ),
    "a reader's successor skips what the dead one held": Mistake(
        "native/ring.c", ".position = read, .cached_write = read,", ".position = write, .cached_write = write,"
    ),
    "of a batch that failed, one more is said to be sent": Mistake(
        "ipc/_core/ring.py", "error.written = at_message ", "error.written = at_message + 1 "
    ),
    "a message larger than the ring is not told apart from its successor": Mistake(
        "native/parts.c",
        "    if (part == IPCR_WHOLE || part == IPCR_FIRST) {\n        e->assembling = false;",
        "    if (part == IPCR_WHOLE) {\n        e->assembling = false;",
    ),
    "room is found where there is none": Mistake(
        "native/ring.h", "        if (need > w->capacity - used)\n", "        if (need > w->capacity - used + 256)\n"
    ),
}


def caught_by(mistake: Mistake, kills: int) -> str:
    """What the storm says about it; "" if nothing."""
    with tempfile.TemporaryDirectory() as directory:
        for name in COPIED:
            source, copy = ROOT / name, Path(directory, name)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
            else:
                shutil.copy(source, copy)
        path = Path(directory, mistake.file)
        text = path.read_text(encoding="utf-8")
        assert text.count(mistake.right) == 1, f"{mistake.file} has changed: plant this one anew"
        assert mistake.also[0] in text, f"{mistake.file} has changed: plant this one anew"
        text = text.replace(mistake.right, mistake.wrong)
        path.write_text(text.replace(*mistake.also) if mistake.also[0] else text, encoding="utf-8")
        build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        built = subprocess.run(build, cwd=directory, check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        storm = [sys.executable, "-m", "tests.storm", "--kills", str(kills), "--per-round", "20"]
        done = subprocess.run(storm, cwd=directory, check=False, capture_output=True, text=True)
        return "" if done.returncode == 0 else verdict_in(done.stderr)


def verdict_in(trace: str) -> str:
    """The line that says it best: the checker's, the watchdog's, or the first error of a process."""
    lines = [line.strip() for line in trace.splitlines()]
    for sign in ("REFUSED", "Hang:", "Error"):
        for line in lines:
            if sign in line:
                return line[line.find("REFUSED") :] if sign == "REFUSED" else line
    return lines[-1]


def main() -> int:
    """Plant each, and print what found it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    missed = 0
    for name, mistake in MISTAKES.items():
        if options.only in name:
            verdict = caught_by(mistake, options.kills)
            missed += not verdict
            print(f"{name}: {verdict[:160] or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
