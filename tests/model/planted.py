"""Known bugs, planted one at a time into a copy of the sources: the tool that is there for such a bug must find it.

Each is a mistake that somebody has shipped, in some ring or other.  A row of the table says what is changed in which
file, and a command that must fail because of it; on the unchanged sources the same command must pass, or its failure
means nothing.  To add one, for any tool: a row with the change, the command, and a pattern that the command's output
has when it fails for this reason.  Commands run in the copy; {checkout} is the real one, where build/ is.

    python -m tests.model.planted                 all, as a table
    python -m tests.model.planted lost-wake-up    some
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.model.plant import Change, Planted
from tests.model.planted_multicast import MULTICASTS
from tests.model.planted_queues import QUEUES

ROOT = Path(__file__).parents[2]
NEEDED = ("native", "tests", "tools", "Makefile")  # to build what is in native/
BUILT = "build/model/core"  # as old as it is: make compiles what is newer, and so what was changed


CHANNELS = (
    Planted.explored(
        "published-early",
        "the position is stored before the bytes",
        "copies",
        Change(
            "native/ring.h",
            "    copy_in(payload, src, length);\n    ipcr_ring_stage_claimed(w, payload, length, info);\n",
            "    ipcr_ring_stage_claimed(w, payload, length, info);\n"
            "    store_release64(&w->own->position, w->position);\n"
            "    copy_in(payload, src, length);\n",
        ),
    ),
    Planted.explored(
        "no-second-look",
        "after it has said that it parks, the waiter doesn't look again",
        "park-receiver",
        Change("native/waiting.c", "    if (!ready(what)) {\n        const", "    if (what != NULL) {\n        const"),
    ),
    Planted.explored(
        "room-for-less",
        "< for <= in the room check: what fits exactly never fits",
        "park-both",
        Change("native/ring.h", "        if (need > w->capacity - used)", "        if (need >= w->capacity - used)"),
        Change("native/ring.h", "    if (need > w->capacity - (w->pos", "    if (need >= w->capacity - (w->pos"),
    ),
    Planted.explored(
        "room-for-more",
        "the room check forgets the record's header",
        "park-sender-more",
        Change("native/ring.h", "        if (need > w->capacity - used)", "        if (length > w->capacity - used)"),
    ),
    Planted.explored(
        "stale-index",
        "a successor believes that all has been read that was written",
        "roles-successor",
        Change(
            "native/ring.c",
            ".position = write, .cached_read = read,",
            ".position = write, .cached_read = write,",
        ),
    ),
    Planted.explored(
        "lost-wake-up",
        "the waker wakes before it clears the flag, and so clears the next one",
        "park-both",
        Change(
            "native/waiting.c",
            "    if (exchange_acq_rel32(parked, 0) != 0)\n        ipcr_os_futex_wake(parked, 1);\n",
            "    if (load_acquire32(parked) != 0) {\n        ipcr_os_futex_wake(parked, 1);\n"
            "        exchange_acq_rel32(parked, 0);\n    }\n",
        ),
    ),
    Planted.explored(
        "woken-too-late",
        "< for <= in the look whether the sender wants to be woken",
        "park-sender-all",
        Change(
            "native/calls.h", "load_relaxed64(&e->theirs->wake_at)) >= 0)", "load_relaxed64(&e->theirs->wake_at)) > 0)"
        ),
    ),
    Planted.explored(
        "double-fetch",
        "a length is checked, and then loaded again",
        "hostile-length",
        Change("native/ring.h", "    out->length = length;\n", "    out->length = load_relaxed64(&record->length);\n"),
    ),
    Planted.explored(
        "own-lock",
        "a lock is held through the description by which it is probed: it always looks free",
        "roles-one-process",
        Change(
            "native/ends.c",
            "    rc = ipcr_hold_take(&e->role, e->segment->fd, e->segment->id, &role, 1);\n",
            "    rc = ipcr_os_lock(e->segment->fd, role.byte, role.exclusive);\n",
        ),
    ),
    Planted.explored(
        "own-lock-twice",
        "the same: it is granted a second time",
        "roles-take-here",
        Change(
            "native/ends.c",
            "    rc = ipcr_hold_take(&e->role, e->segment->fd, e->segment->id, &role, 1);\n",
            "    rc = ipcr_os_lock(e->segment->fd, role.byte, role.exclusive);\n",
        ),
    ),
    Planted.explored(
        "unlink-by-name",
        "an orphan's name is removed without a look whether it leads there still",
        "names-replace",
        Change("native/naming.c", "            rc = ipcr_still_named(dir, name, id);\n", "            rc = IPCR_OK;\n"),
    ),
    Planted.explored(
        "attach-by-name",
        "who attaches doesn't look whether the name still leads there",
        "names-leave",
        Change(
            "native/segment.c",
            "    if (rc == IPCR_OK && s->dir != NULL && !handed_over) {\n",
            "    if (rc == IPCR_OK && s->dir != NULL && !handed_over && false) {\n",
        ),
    ),
    Planted.explored(
        "closed-then-empty",
        "empty, then closed: the last message came in between",
        "close-last-looked",
        Change(
            "native/calls.h",
            "    rc = ipcr_ring_next(&e->reader, view);\n    return rc == IPCR_EMPTY ? IPCR_END_OF_CHANNEL : rc;\n",
            "    return IPCR_END_OF_CHANNEL;\n",
        ),
    ),
    Planted.explored(
        "thrown-away-late",
        "a successor says after the release, not before it, that nobody has the message",
        "dying-receiver-parts",
        Change(
            "native/parts.c",
            "    if (part == IPCR_LAST)\n"
            "        store_release64(&e->reader.marks->thrown_away, behind);"
            " /* before the release that the sender waits for */\n"
            "    ipcr_ring_consume_part(&e->reader, view->length, part);\n    ipcr_release_space(e);\n",
            "    ipcr_ring_consume_part(&e->reader, view->length, part);\n    ipcr_release_space(e);\n"
            "    if (part == IPCR_LAST)\n        store_release64(&e->reader.marks->thrown_away, behind);\n",
        ),
    ),
    Planted.explored(
        "one-mark",
        "the mark of the published position is overwritten, not the other one",
        "dying-sender",
        Change("native/ring.h", "    *next_mark ^= 1u;\n", ""),
    ),
    Planted.explored(
        "drained-asleep",
        "a flag is raised, and the sleeper looked for, without a fence in between (this one was ours)",
        "threads-drain",
        Change("native/ends.c", "ipcr_wake_if_parked(&e->mine->parked, true); /*", "ipcr_wake(&e->mine->parked); /*"),
    ),
)

TABLE = (*CHANNELS, *QUEUES, *MULTICASTS)


def copy_of_the_sources(where: Path) -> Path:
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, where / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, where / name)
    if (ROOT / BUILT).is_dir():
        shutil.copytree(ROOT / BUILT, where / BUILT)
    return where


def run(command: str, changes: tuple[Change, ...]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        tree = copy_of_the_sources(Path(name))
        for change in changes:
            change.apply(tree)
        return subprocess.run(
            command.format(checkout=ROOT),
            shell=True,
            cwd=tree,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )


def caught(planted: Planted) -> bool:
    done = run(planted.command, planted.changes)
    return done.returncode != 0 and re.search(planted.pattern, done.stdout + done.stderr) is not None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of the table; all by default")
    args = parser.parse_args()
    unknown = set(args.names) - {planted.name for planted in TABLE}
    if unknown:
        parser.error(f"not in the table: {', '.join(sorted(unknown))}")
    chosen = [planted for planted in TABLE if not args.names or planted.name in args.names]
    passes: dict[str, bool] = {}
    missed = 0
    print("| bug | what is wrong | must be found by | was |\n|---|---|---|---|")
    for planted in chosen:
        if planted.command not in passes:
            passes[planted.command] = run(planted.command, ()).returncode == 0
        found = "found" if caught(planted) else "MISSED"
        said = found if passes[planted.command] else "not judged: the command fails without it"
        missed += said != "found"
        print(f"| {planted.name} | {planted.says} | {planted.tool} | {said} |", flush=True)
    print(f"\n{len(chosen)} bugs, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
