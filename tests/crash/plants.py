"""Bugs to plant in the core, each of which the crash tests must find: a change of its sources, and who notices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Change(NamedTuple):
    """Text that must stand exactly once in a file of native/, and what stands there instead."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Plant:
    """A bug, the operation that is to find it, and words of the complaint that says it has found this very bug."""

    name: str
    changes: tuple[Change, ...]
    operation: str
    complaint: str
    program: str = "every_instruction"


MOVE = "static inline void ipcr_side_move("
MOVE_DECLARED = """\
static inline void ipcr_side_move(struct ipcr_side_position *own, struct ipcr_side_marks *marks, uint32_t *next_mark,
                                  uint64_t position, uint64_t sequence, uint64_t bytes);
static inline int ipcr_ring_stage("""

PLANTS = (
    Plant(
        "the position is published before the payload is there",
        (
            Change("ring.h", "static inline int ipcr_ring_stage(", MOVE_DECLARED),
            Change(
                "ring.h",
                "    copy_in(payload, src, length);\n    ipcr_ring_stage_claimed(w, payload, length, info);\n",
                "    ipcr_ring_stage_claimed(w, payload, length, info);\n"
                "    ipcr_side_move(w->own, w->marks, &w->next_mark, w->position, w->sequence, w->bytes);\n"
                "    copy_in(payload, src, length);\n",
            ),
        ),
        "write",
        "is_stamped",
    ),
    Plant(
        "the mark is written after the position that it describes",
        (
            Change(
                "ring.h",
                "    *next_mark ^= 1u;\n    store_release64(&own->position, position);\n",
                "    *next_mark ^= 1u;\n",
            ),
            Change(
                "ring.h",
                "    store_release64(&mark->position, position);\n",
                "    store_release64(&own->position, position);\n    store_release64(&mark->position, position);\n",
            ),
        ),
        "read",
        "ipcr_ring_reader_open",
    ),
    Plant(
        "there is one mark, which is overwritten while it is valid",
        (Change("ring.h", "    *next_mark ^= 1u;\n", "    (void)next_mark;\n"),),
        "write-each",
        "ipcr_ring_writer_open",
    ),
    Plant(
        "the position is stored in two halves",
        (
            Change(
                "ring.h",
                "    *next_mark ^= 1u;\n    store_release64(&own->position, position);\n",
                "    *next_mark ^= 1u;\n"
                "    ipcr_word32 *half = (ipcr_word32 *)(void *)&own->position;\n"
                "    store_release32(half, (uint32_t)position);\n"
                "    store_release32(half + 1, (uint32_t)(position >> 32));\n",
            ),
        ),
        "write",
        "write - read <= segment->capacity",
    ),
    Plant(
        "a message is released before it is copied out",
        (
            Change(
                "receiving.c",
                "    copy_out(out, view.payload, view.length);\n    ipcr_ring_consume(&e->reader, view.length);\n"
                "    ipcr_release_space(e);\n",
                "    ipcr_ring_consume(&e->reader, view.length);\n    ipcr_release_space(e);\n"
                "    copy_out(out, view.payload, view.length);\n",
            ),
        ),
        "read",
        "s->between->hand",
    ),
    Plant(
        "the parts of a beheaded message are released before it is said that they were thrown away",
        (
            Change(
                "parts.c",
                "    if (part == IPCR_LAST)\n"
                "        store_release64(&e->reader.marks->thrown_away, behind);"
                " /* before the release that the sender waits for */\n",
                "",
            ),
            Change(
                "parts.c",
                "    ipcr_ring_consume_part(&e->reader, view->length, part);\n    ipcr_release_space(e);\n",
                "    ipcr_ring_consume_part(&e->reader, view->length, part);\n    ipcr_release_space(e);\n"
                "    if (part == IPCR_LAST)\n"
                "        store_release64(&e->reader.marks->thrown_away, behind);\n",
            ),
        ),
        "throw-parts-away",
        "send_it(s->peer",
    ),
    Plant(
        "a close gives the role up before it says that the end is closed",
        (
            Change(
                "ends.c",
                "        store_release32(&e->mine->end_state, e->end_generation << 2 | IPCR_END_CLOSED);\n"
                "    ipcr_hold_drop(&e->role);\n",
                "        ipcr_hold_drop(&e->role);\n"
                "    if (ours && clean)\n"
                "        store_release32(&e->mine->end_state, e->end_generation << 2 | IPCR_END_CLOSED);\n"
                "    ipcr_hold_drop(&e->role);\n",
            ),
        ),
        "close-sender",
        "the victim lives, and is taken for dead",
    ),
    Plant(
        "an end is said to be taken before its role byte is locked",
        (
            Change(
                "ends.c",
                "    rc = ipcr_hold_take(&e->role, e->segment->fd, e->segment->id, &role, 1);\n"
                "    if (rc == IPCR_TAKEN)\n",
                "    store_release32(&e->mine->end_state, next_taken(load_acquire32(&e->mine->end_state)));\n"
                "    rc = ipcr_hold_take(&e->role, e->segment->fd, e->segment->id, &role, 1);\n"
                "    if (rc == IPCR_TAKEN)\n",
            ),
        ),
        "take-sender",
        "somebody came, lives, and is not seen any more",
    ),
    Plant(
        "a segment gets its name before its creator is present",
        (
            Change(
                "segment.c", "    return rc == IPCR_OK ? ipcr_segment_become_present(s) : rc;\n", "    return rc;\n"
            ),
            Change(
                "segment.c",
                "    return rc == IPCR_OK ? publish_name(s, NULL) : rc;\n",
                "    if (rc == IPCR_OK)\n        rc = publish_name(s, NULL);\n"
                "    return rc == IPCR_OK ? ipcr_segment_become_present(s) : rc;\n",
            ),
        ),
        "create",
        "a segment whose creator lives looks orphaned",
    ),
    Plant(
        "a segment gets its name before it is initialised",
        (
            Change(
                "segment.c",
                "    if (rc == IPCR_OK)\n        rc = furnish_nameless(s);\n"
                "    return rc == IPCR_OK ? publish_name(s, NULL) : rc;\n",
                "    if (rc == IPCR_OK)\n        rc = publish_name(s, NULL);\n"
                "    return rc == IPCR_OK ? furnish_nameless(s) : rc;\n",
            ),
        ),
        "create",
        "rc == IPCR_OK || rc == IPCR_NOT_FOUND",
    ),
    Plant(
        "the last one out takes the name along though something is unread",
        (
            Change(
                "segment.c",
                "    if (s->dir != NULL && ipcr_nothing_unread(s))\n"
                "        ipcr_unlink_checked(s->fd, s->id, s->dir, s->name, true, s);\n",
                "    if (s->dir != NULL)\n        ipcr_unlink_checked(s->fd, s->id, s->dir, s->name, true, NULL);\n",
            ),
        ),
        "detach",
        "is != STANDS || rc == IPCR_OK",
    ),
    Plant(
        "what an unfinished creation leaves is nobody's",
        (
            Change(
                "naming.c",
                "strncmp(name, IPCR_TEMPORARY_PREFIX, sizeof IPCR_TEMPORARY_PREFIX - 1) != 0)\n",
                "name != NULL)\n",
            ),
        ),
        "create-by-rename",
        "rc == IPCR_OK || rc == IPCR_EXISTS",
        "kill_points",
    ),
    Plant(
        "an orphan is nobody's business: its name is never free again",
        (
            Change(
                "segment.c",
                "        rc = ipcr_name_remove(s->dir, s->name, IPCR_REMOVE_ORPHAN);\n",
                "        rc = IPCR_EXISTS;\n",
            ),
        ),
        "create",
        "create_name(s->dir, &created) is",
        "kill_points",
    ),
)
