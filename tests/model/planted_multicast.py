"""Bugs of multicasts, for planted.py: interleavings that a naive version gets wrong.

Those of joining stand first: each part of "announce, full fence, look" is left out once, on either side.  Those of
messages, and of who publishes them, are in planted_messages.py.
"""

from __future__ import annotations

from tests.model.plant import Change, Planted
from tests.model.planted_messages import LAPPED, MESSAGES, SUCCESSORS

LOOK_AGAIN = (
    "        const int rc = look_at_all(p, least.sequence);\n"
    "        p->need = least.sequence;\n"
    "        if (rc != IPCR_OK)\n"
    "            return rc;\n"
)
ANNOUNCED = (
    "        store_release32(&s->cursor->state, joining);\n"
    "        fence_store_load(); /* J */\n"
    "        rc = choose(s, wanted, oldest, next);\n"
    "        if (rc != IPCR_OK)\n"
    "            return rc; /* the caller departs */\n"
)

JOINS = (
    Planted.explored(
        "joins-not-looked-for",
        "the naive join at the oldest: the publisher looks at everybody, announces a new oldest, and doesn't look "
        "again before it overwrites",
        "multicast-join-oldest",
        Change("native/multicast_room.c", LOOK_AGAIN, ""),
    ),
    Planted.explored(
        "oldest-unfenced",
        "the publisher looks again, but its new oldest may not be there yet for who joins",
        "multicast-join-oldest",
        Change(
            "native/multicast_room.c",
            "        fence_store_load(); /* J; and V, for observers */\n",
            "        fence_store_store();\n",
        ),
    ),
    Planted.explored(
        "announced-late",
        "who joins reads where to begin, and then says that it joins",
        "multicast-join-oldest",
        Change(
            "native/joining.c",
            ANNOUNCED,
            "        rc = choose(s, wanted, oldest, next);\n"
            "        if (rc != IPCR_OK)\n"
            "            return rc;\n"
            "        store_release32(&s->cursor->state, joining);\n"
            "        fence_store_load();\n",
        ),
    ),
    Planted.explored(
        "announced-unfenced",
        "who joins says so, and reads where to begin without a full fence in between",
        "multicast-join-oldest",
        Change("native/joining.c", "        fence_store_load(); /* J */\n", ""),
    ),
    Planted.explored(
        "joiner-passed-by",
        "the publisher goes on beside somebody who joins and has not said yet where it begins",
        "multicast-join-oldest",
        Change(
            "native/multicast_room.c",
            "            joining = true;\n            continue;\n",
            "            continue;\n",
        ),
    ),
    Planted.explored(
        "joiner-not-told",
        "who has joined doesn't wake the publisher that waits for it to say where it begins",
        "multicast-join-idle",
        Change("native/joining.c", "    ipcr_tell_publisher(s); /* it may", "    /* it may"),
    ),
    Planted.explored(
        "published-before-oldest",
        "who joins reads how far it goes before it reads where it begins: the oldest can be above",
        "multicast-join-observer",
        Change(
            "native/joining.c",
            "    *oldest = load_acquire64(&s->header->oldest); /* first: it is never above the other */\n"
            "    *next = load_acquire64(&s->header->published);\n",
            "    *next = load_acquire64(&s->header->published);\n    *oldest = load_acquire64(&s->header->oldest);\n",
        ),
    ),
    Planted.explored(
        "joined-below",
        "an oldest that may go further than it must goes there although somebody has joined below it meanwhile",
        "multicast-ahead",
        Change(
            "native/multicast_room.c",
            "        if ((int64_t)(p->floor - most.sequence) < 0) /* somebody joined at the oldest meanwhile */\n"
            "            most = least;\n",
            "",
        ),
    ),
    Planted.explored(
        "number-missed",
        "who looks for a number passes over one that is a dead one's at the first look, and free at the second "
        "(this one was ours)",
        "multicast-join-dead-number",
        Change(
            "native/joining.c",
            "            if (!any && (state == IPCR_CURSOR_JOINING || state == IPCR_CURSOR_ACTIVE))\n",
            "            if ((state == IPCR_CURSOR_JOINING || state == IPCR_CURSOR_ACTIVE) != (any == 1))\n",
        ),
    ),
    Planted.explored(
        "number-without-generation",
        "a dead subscriber's number is used again with the same state: its eviction hits the next one",
        "multicast-join-dead-number",
        Change(
            "native/joining.c",
            "(load_relaxed32(&s->cursor->state) >> 2) + 1;",
            "(load_relaxed32(&s->cursor->state) >> 2);",
        ),
    ),
    Planted.explored(
        "evicted-joiner-goes-on",
        "who was evicted while it joined doesn't notice, and begins",
        "multicast-slices-joiner",
        Change(
            "native/joining.c",
            "        if (compare_exchange32(&s->cursor->state, &joining, s->state)) "
            "/* else the publisher took us for dead: once more */\n"
            "            break;\n",
            "        store_release32(&s->cursor->state, s->state);\n        break;\n",
        ),
    ),
)

ROOM = (
    Planted.explored(
        "slowest-alone",
        "the slowest has moved: the others are not looked at, their lowest position is believed as it was",
        "multicast",
        Change(
            "native/multicast_room.c",
            "    const int rc = look_at_all(p, least);\n    if (rc == IPCR_OK)\n",
            "    const int rc = p->blocked_by == IPCR_NO_SUBSCRIBER ? look_at_all(p, least) : IPCR_OK;\n"
            "    if (p->blocked_by != IPCR_NO_SUBSCRIBER)\n"
            "        p->floor = load_acquire64(&p->header->cursor[p->blocked_by].next);\n"
            "    if (rc == IPCR_OK)\n",
        ),
        Change("native/multicast_room.c", LOOK_AGAIN, "        p->need = least.sequence;\n"),
    ),
    Planted.explored(
        "cursor-relaxed",
        "a subscriber's position says that it has read what it may still be reading",
        "multicast-wrapped-in-place",
        Change(
            "native/subscribing.c",
            "    store_release64(&s->cursor->next, s->next);\n",
            "    store_relaxed64(&s->cursor->next, s->next);\n",
        ),
    ),
    Planted.explored(
        "evicted-by-looks",
        "who is in the way at the end of a slice is evicted without a look at its lock byte",
        "multicast-slices-slow",
        Change(
            "native/multicast_room.c",
            "        const int rc = ipcr_probe(p->segment->fd, p->segment->id, IPCR_LOCK_SUBSCRIBER(i), &held);\n",
            "        const int rc = IPCR_OK;\n        held = false;\n",
        ),
    ),
    Planted.explored(
        "dead-never-evicted",
        "nobody looks whether the one that is waited for is alive",
        "multicast-subscriber-dies",
        Change(
            "native/multicast_room.c", "        if (!held || evict) /* who lives", "        if (evict) /* who lives"
        ),
    ),
    Planted.explored(
        "left-in-silence",
        "who leaves doesn't wake the publisher that waits for it",
        "multicast-leave",
        Change(
            "native/joining.c",
            "    if (load_relaxed32(&s->header->room_parked) != 0)\n",
            "    if (s->header == NULL)\n",
        ),
    ),
    Planted.explored(
        "gone-not-noticed",
        "the publisher looks whether the one it waits for has moved, and not whether it has gone",
        "multicast-leave",
        Change("native/multicast_waits.c", "    return state != IPCR_CURSOR_JOINING;\n", "    return false;\n"),
    ),
    Planted.explored(
        "free-behind-the-lock",
        "who leaves gives its number up, and then says that it is free: it may be somebody's by then",
        "multicast-join-left-number",
        Change(
            "native/joining.c",
            "        return;\n    store_release32(&s->cursor->state, (load",
            "        return;\n"
            "    ipcr_registry_lock();\n"
            "    ipcr_hold_drop(&s->hold);\n"
            "    ipcr_registry_unlock();\n"
            "    store_release32(&s->cursor->state, (load",
        ),
    ),
    Planted.explored(
        "observer-gates",
        "an observer has a number, and is waited for",
        "multicast-observer-idle",
        Change(
            "native/joining.c",
            "    if (wanted->observe)\n        return choose",
            "    if (wanted == NULL)\n        return choose",
        ),
        Change(
            "native/subscribing.c",
            "wanted->observe ? map_for_observer(s) : IPCR_OK",
            "wanted == NULL ? map_for_observer(s) : IPCR_OK",
        ),
    ),
)

SLEEPS = (
    Planted.explored(
        "no-second-look-for-messages",
        "a subscriber arms the gate, and sleeps without a look whether the message has come",
        "multicast-one",
        Change(
            "native/gates.c",
            "    if (ready(what))\n        return IPCR_OK;\n    *slept = true;\n    const int rc",
            "    if (what == NULL)\n        return IPCR_OK;\n    *slept = ready != NULL;\n    const int rc",
        ),
    ),
    Planted.explored(
        "no-second-look-for-room",
        "the publisher says that it sleeps, and sleeps without a look whether there is room by now",
        "multicast-one",
        Change("native/waiting.c", "    if (!ready(what)) {\n        const", "    if (what != NULL) {\n        const"),
    ),
    Planted.explored(
        "no-barrier",
        "where the publisher doesn't fence, the subscriber doesn't run membarrier, nor look a second time",
        "multicast-one-asymmetric",
        Change(
            "native/gates.c",
            "    ipcr_os_membarrier(); /* forbidden since we attached?",
            "    /* forbidden since we attached?",
        ),
        Change("native/gates.c", "    if (second_look >= deadline_ns)\n", "    if (second_look != 0)\n"),
    ),
    Planted.explored(
        "not-announced",
        "the publisher looks for sleepers without a fence behind the message",
        "multicast-one",
        Change(
            "native/publishing.c",
            "    ipcr_order_publish_before_look(p->fence_needed);\n",
            "    ipcr_order_publish_before_look(false);\n",
        ),
    ),
    Planted.explored(
        "room-not-announced",
        "a subscriber looks for the sleeping publisher without a fence behind its position",
        "multicast-one",
        Change(
            "native/subscribing.c",
            "    ipcr_order_publish_before_look(s->fence_needed);\n",
            "    ipcr_order_publish_before_look(false);\n",
        ),
    ),
    Planted.explored(
        "one-is-woken",
        "of all that wait for the message one is woken",
        "multicast",
        Change(
            "native/publishing.c",
            "        ipcr_gate_open(&p->header->readers_parked, IPCR_ALL);",
            "        ipcr_gate_open(&p->header->readers_parked, 1);",
        ),
    ),
    Planted.explored(
        "wrong-one-wakes",
        "the publisher doesn't say anew whom it waits for",
        "multicast",
        Change(
            "native/multicast_waits.c",
            "    store_relaxed32(&p->header->blocked_by, p->blocked_by);\n",
            "    if (load_relaxed64(&p->header->wake_at) == 0)\n"
            "        store_relaxed32(&p->header->blocked_by, p->blocked_by);\n",
        ),
    ),
    Planted.explored(
        "woken-past-the-need",
        "< for <= in the look whether the publisher wants to be woken",
        "multicast-max-lag",
        Change(
            "native/subscribing.c",
            "load_relaxed64(&s->header->wake_at)) >= 0)",
            "load_relaxed64(&s->header->wake_at)) > 0)",
        ),
    ),
)

MULTICASTS = (*JOINS, *ROOM, *MESSAGES, *LAPPED, *SUCCESSORS, *SLEEPS)
