"""Does the storm of multicasts find anything?  `python -m tests.storm.planted --of multicasts` plants these.

It can't find what x86 forgives, nor a window of few instructions: that a message is published a moment before it is
written, that a joiner at the oldest message is not looked for again, or that a successor believes an `oldest` that not
everybody has passed (by the time it is there, readers have gone on), which are the explorer's to find.
"""

from __future__ import annotations

from typing import Final

from tests.storm.mistakes import Mistake

__all__ = ["MISTAKES_IN_MULTICASTS"]

MISTAKES_IN_MULTICASTS: Final[dict[str, Mistake]] = {
    "a claim is published before it is filled": Mistake(
        "native/publishing.c",
        "        p->lent_length = length;\n",
        "        p->lent_length = length;\n"
        "        tell(p, &p->lent_topic, p->lent_position, length, IPCR_INFO(0, IPCR_BYTES));\n"
        "        wake_readers(p);\n",
        also=(
            "        result = (int64_t)tell(p, &p->lent_topic, p->lent_position, length, info);\n",
            "        (void)info;\n        result = (int64_t)(p->next - 1);\n",
        ),
    ),
    "a dead subscriber is waited for": Mistake("native/multicast_room.c", "if (!held || evict)", "if (evict)"),
    "a slow subscriber is taken for dead": Mistake("native/multicast_room.c", "if (!held || evict)", "if (true)"),
    "the publisher waits for nobody": Mistake(
        "native/multicast_room.c",
        "    const int rc = look_at_all(p, least);\n    if (rc == IPCR_OK)\n        p->blocked_by",
        "    const int rc = IPCR_OK;\n    p->floor = p->next;\n    if (rc == IPCR_OK)\n        p->blocked_by",
        also=("        const int rc = look_at_all(p, least.sequence);\n", "        const int rc = IPCR_OK;\n"),
    ),
    "a successor publishes where the dead one's last message lies": Mistake(
        "native/publishing.c",
        "        p->position = load_relaxed64(&last->position) + ipcr_padded(topic) + ipcr_padded(length);\n",
        "        p->position = load_relaxed64(&last->position);\n",
    ),
    "of what was lost, one too few is told": Mistake(
        "native/subscribing.c", "    s->lost += to - s->next;\n", "    s->lost += to - s->next - (to - s->next > 2);\n"
    ),
    "what was copied is believed": Mistake(
        "native/subscribing.c",
        "    return (int64_t)(s->next - load_relaxed64(&s->header->oldest)) >= 0 ? IPCR_OK : IPCR_AGAIN;\n",
        "    return IPCR_OK;\n",
    ),
    "who was evicted is not told": Mistake(
        "native/subscribing.c",
        "        return load_relaxed32(&s->cursor->state) == s->state ? IPCR_OK : IPCR_LAGGED_OUT;\n",
        "        return IPCR_OK;\n",
        also=("        if (s->evictable && load_acquire32(&s->cursor->state) != s->state)\n", "        if (false)\n"),
    ),
    "a view is taken at its beginning": Mistake(
        "native/subscribing.c",
        "        s->lent_at = m.payload_at;\n",
        "        s->lent_at = m.payload_at;\n        s->next++;\n        move_cursor(s);\n        s->next--;\n",
    ),
    "of a batch that failed, one more is said to be published": Mistake(
        "ipc/_core/publisher.py", "error.published = published ", "error.published = published + 1 "
    ),
    "a successor uses the last number again": Mistake(
        "native/publishing.c",
        "    p->next = load_acquire64(&p->header->published);\n",
        "    p->next = load_acquire64(&p->header->published);\n"
        "    p->next -= p->next - load_acquire64(&p->header->oldest) > 1;\n",
    ),
    "a claim that was given up is published": Mistake(
        "native/publishing.c",
        "    p->lent = false; /* private until it is committed: nothing to undo */\n",
        "    if (p->lent)\n"
        "        tell(p, &p->lent_topic, p->lent_position, p->lent_length, IPCR_INFO(0, IPCR_BYTES));\n"
        "    p->lent = false;\n",
    ),
    "who is not far behind is evicted": Mistake(
        "native/multicast_room.c",
        "        least = p->next + 1 - max_lag;\n",
        "        least = p->next + 1 - max_lag / 4;\n",
    ),
    "a joiner gets one of before it came": Mistake(
        "native/joining.c",
        "wanted->start == IPCR_START_LATEST ? *next : *oldest",
        "wanted->start == IPCR_START_LATEST ? *next - (*next != *oldest) : *oldest",
    ),
    "a joiner misses what is published until it reads": Mistake(
        "native/subscribing.c",
        "    if (s->next != s->cached_published)\n        return IPCR_OK;\n",
        "    if (s->next != s->cached_published)\n        return IPCR_OK;\n"
        "    if (s->received == 0 && s->lost == 0)\n"
        "        s->next = s->cached_published = load_acquire64(&s->header->published);\n",
    ),
    "a reader of one topic gets all": Mistake(
        "native/subscribing.c",
        "    if (s->topics == 0)\n        return true;\n",
        "    if (s->topics < 2)\n        return true;\n",
    ),
    "the last one of a batch stays": Mistake(
        "ipc/_core/subscriber.py",
        "return (self._sequences[taken - 1] + 1, self._lost[taken - 1])",
        "return (self._sequences[taken - 1] + (taken == 1), self._lost[taken - 1])",
    ),
    "a death is told as the end": Mistake(
        "native/multicast_waits.c",
        "        return IPCR_OK;\n    return IPCR_PEER_DIED;",
        "        return IPCR_OK;\n    return IPCR_END_OF_CHANNEL;",
    ),
    "a death is never noticed": Mistake(
        "native/multicast_waits.c",
        "        return IPCR_OK;\n    return IPCR_PEER_DIED;",
        "        return IPCR_OK;\n    return IPCR_OK;",
    ),
    "a living publisher is taken for dead": Mistake(
        "native/multicast_waits.c",
        "    if (held || may_be_message(s)",
        "    if (may_be_message(s)",
    ),
}
