"""Does the storm find anything?  Known mistakes, planted in a copy of the sources: `python -m tests.storm.planted`.

It can't find all of them.  A wrong memory order that x86 forgives, a window of few instructions (a death that is told
without a last look at the ring, say), a lost wake-up that costs only the rest of a slice are for other tools.  So is a
sender that is told OK when a successor threw the rest of its message away: the dead receiver may have had it, say the
logs.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from tests.storm.mistakes import Mistake, caught_by
from tests.storm.planted_in_multicasts import MISTAKES_IN_MULTICASTS
from tests.storm.planted_in_queues import MISTAKES_IN_QUEUES

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

OF: Final = {"channels": MISTAKES, "queues": MISTAKES_IN_QUEUES, "multicasts": MISTAKES_IN_MULTICASTS}


def main() -> int:
    """Plant each, and print what found it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--of", choices=(*OF, "all"), default="all")
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    missed = 0
    for of in OF if options.of == "all" else (options.of,):
        for name, mistake in OF[of].items():
            if options.only in name:
                verdict = caught_by(mistake, options.kills, of)
                missed += not verdict
                print(f"{name}: {verdict[:160] or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
