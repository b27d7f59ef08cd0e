"""Bugs of publishers, cursors and evictions to plant in the core; see plants.py.

`make check` plants every other of the first, which differ most, and the stress tests all others.
"""

from __future__ import annotations

from tests.crash.plants import Change, Plant

WRITE = "    racy_write(at(p, topic_at + ipcr_padded(topic->length)), message, length); /* V */\n"
TELL = "    tell(p, topic, topic_at, length, info);\n"
PUBLISHED = "    store_release64(&p->header->published, ++p->next);\n"
FREE = (
    "    store_release32(&s->cursor->state, "
    "(load_relaxed32(&s->cursor->state) & ~IPCR_CURSOR_MASK) | IPCR_CURSOR_FREE);\n"
    "    fence_store_load();\n"
)
NEXT = "        store_relaxed64(&s->cursor->next, s->next);\n"

MULTICAST_PLANTS = (
    Plant(
        "a message is published before its payload is there",
        (Change("publishing.c", WRITE + TELL, TELL + WRITE),),
        "publish",
        "is_stamped(s->segment->data",
    ),
    Plant(
        "what may be overwritten is said after it was",
        (
            Change(
                "multicast_room.c",
                "        store_release64(&p->header->oldest, most.sequence);"
                " /* who sees it sees a `published` that is not below it */\n",
                "",
            ),
            Change("publishing.c", PUBLISHED, PUBLISHED + "    store_release64(&p->header->oldest, p->announced);\n"),
        ),
        "publish-lossy",
        "load_relaxed64(&e->sequence) is",
    ),
    Plant(
        "a successor believes that everybody has passed what its predecessor announced",
        (Change("publishing.c", "    p->floor = p->announced - 1;\n", "    p->floor = p->announced;\n"),),
        "publish",
        "result >= 0",  # which one that lives reads
    ),
    Plant(
        "a successor forgets the topic in front of the last payload",
        (
            Change(
                "publishing.c",
                "        p->position = load_relaxed64(&last->position) + ipcr_padded(topic) + ipcr_padded(length);\n",
                "        p->position = load_relaxed64(&last->position) + ipcr_padded(length);\n",
            ),
        ),
        "publish-pieces",
        "is_stamped(received, length_of(w->s, number), number)",
    ),
    Plant(
        "nobody asks whether who was joining is dead",
        (
            Change(
                "multicast_room.c",
                "        if (kind != IPCR_CURSOR_JOINING &&\n"
                "            (kind != IPCR_CURSOR_ACTIVE || (int64_t)(load_acquire64(&c->next) - p->need) >= 0))\n",
                "        if (kind != IPCR_CURSOR_ACTIVE || (int64_t)(load_acquire64(&c->next) - p->need) >= 0)\n",
            ),
        ),
        "join-oldest",
        "nobody alive is in the way",
    ),
    Plant(
        "who is in the way is evicted though it lives",
        (
            Change(
                "multicast_room.c", "        if (!held || evict) /* who", "        if (!held || evict || held) /* who"
            ),
        ),
        "evict-the-dead",
        "who lives is waited for",
    ),
    Plant(
        "a publisher gives its role up before it says that it goes",
        (
            Change(
                "publishing.c",
                "    store_release32(&p->header->publisher_state, p->generation << 2 | IPCR_END_CLOSED);\n"
                "    fence_store_load();\n",
                "    ipcr_hold_drop(&p->hold);\n"
                "    store_release32(&p->header->publisher_state, p->generation << 2 | IPCR_END_CLOSED);\n"
                "    fence_store_load();\n",
            ),
        ),
        "close-publisher",
        "the victim publishes, lives, and is taken for dead",
    ),
    Plant(
        "a cursor passes a message before it is copied out",
        (
            Change(
                "subscribing.c",
                "        copy(s, out, m.payload_at, m.length);\n        note_topic(s, &m);\n",
                "        s->next++;\n        move_cursor(s);\n        s->next--;\n"
                "        copy(s, out, m.payload_at, m.length);\n        note_topic(s, &m);\n",
            ),
        ),
        "hear",
        "s->between->hand",
    ),
    Plant(
        "a message that was overwritten in the middle of its copy is believed",
        (
            Change(
                "subscribing.c",
                "        note_topic(s, &m);\n        rc = still_there(s);\n",
                "        note_topic(s, &m);\n        rc = IPCR_OK;\n",
            ),
        ),
        "hear-lapped",
        "is_stamped(s->between->hand",
    ),
    Plant(
        "what was lost is one too few",
        (Change("subscribing.c", "    s->lost += to - s->next;\n", "    s->lost += to - s->next - 1;\n"),),
        "publish-lossy",
        "ipcr_subscriber_last_lost(h->it.handle) is",
    ),
    Plant(
        "a subscriber is active before it says where it begins",
        (
            Change("joining.c", NEXT, ""),
            Change(
                "joining.c",
                "    ipcr_tell_publisher(s); /* it may have waited for us to come so far */\n",
                "    store_release64(&s->cursor->next, s->next);\n"
                "    ipcr_tell_publisher(s); /* it may have waited for us to come so far */\n",
            ),
        ),
        "join-latest",
        "published - from <= s->operation->multicast->entries",
    ),
    Plant(
        "numbers of the dead are never given again",
        (
            Change(
                "joining.c",
                "            if (!any && (state == IPCR_CURSOR_JOINING || state == IPCR_CURSOR_ACTIVE))\n",
                "            if (state == IPCR_CURSOR_JOINING || state == IPCR_CURSOR_ACTIVE)\n",
            ),
        ),
        "hear",
        "subscribe(w, start, observe, &h->it.handle) is -10, not 0",
    ),
)

MORE_MULTICAST_PLANTS = (
    Plant(
        "a message is published before its entry says what it is",
        (
            Change(
                "publishing.c",
                "    store_relaxed64(&entry->sequence, p->next);\n",
                "    store_release64(&p->header->published, p->next + 1);\n"
                "    store_release64(&entry->sequence, p->next);\n",
            ),
        ),
        "publish",
        "load_relaxed64(&e->sequence) is",
    ),
    Plant(
        "a successor goes on behind a number that was never published",
        (
            Change(
                "publishing.c",
                "        p->bytes = load_relaxed64(&last->bytes) + length;\n",
                "        p->bytes = load_relaxed64(&last->bytes) + length;\n"
                "        const struct ipcr_entry *begun = ipcr_entry_at(p->entries, p->mask, p->next);\n"
                "        p->next += load_relaxed64(&begun->sequence) == p->next;\n",
            ),
        ),
        "publish",
        "nobody alive is in the way",
    ),
    Plant(
        "a successor forgets the last message when it counts bytes",
        (
            Change(
                "publishing.c",
                "        p->bytes = load_relaxed64(&last->bytes) + length;\n",
                "        p->bytes = load_relaxed64(&last->bytes);\n",
            ),
        ),
        "publish",
        "load_relaxed64(&e->bytes) is",
    ),
    Plant(
        "a live one is evicted before it is in the way",
        (
            Change(
                "multicast_room.c",
                "        if ((int64_t)(next - least) < 0 && evict) {\n",
                "        if ((int64_t)(next - least) < (int64_t)(p->next - next >= p->mask) && evict) {\n",
            ),
        ),
        "publish-evicting",
        "only who was in the way is evicted",
    ),
    Plant(
        "the role is said to be taken before it is",
        (
            Change(
                "publishing.c",
                "    int rc = ipcr_segment_be_present(p->segment);\n",
                "    p->generation = (load_acquire32(&p->header->publisher_state) >> 2) + 1;\n"
                "    store_release32(&p->header->publisher_state, p->generation << 2 | IPCR_END_TAKEN);\n"
                "    int rc = ipcr_segment_be_present(p->segment);\n",
            ),
            Change(
                "publishing.c",
                "    p->generation = (load_acquire32(&p->header->publisher_state) >> 2) + 1;\n"
                "    store_relaxed32(&p->header->publisher_pid, ipcr_os_pid());\n",
                "    store_relaxed32(&p->header->publisher_pid, ipcr_os_pid());\n",
            ),
        ),
        "take-publisher",
        "the victim publishes, lives, and is taken for dead",
    ),
    Plant(
        "who lands on the newest message lands behind it",
        (
            Change(
                "subscribing.c",
                "        to = published - 1;\n",
                "        to = published;\n",
            ),
        ),
        "hear-latest",
        "is_stamped(s->between->hand",
    ),
    Plant(
        "a batch is passed before its caller has settled it",
        (
            Change(
                "subscribing.c",
                "        results[done++] = result;\n    }\n",
                "        results[done++] = result;\n    }\n    move_cursor(s);\n",
            ),
        ),
        "hear-many-settle-some",
        "next <= s->next",
    ),
    Plant(
        "a number is in use before anybody looks so far",
        (
            Change("joining.c", "    raise_high(&s->header->subscribers_high, s->number + 1);\n", ""),
            Change(
                "joining.c",
                "    ipcr_tell_publisher(s); /* it may have waited for us to come so far */\n",
                "    raise_high(&s->header->subscribers_high, s->number + 1);\n"
                "    ipcr_tell_publisher(s); /* it may have waited for us to come so far */\n",
            ),
        ),
        "join-oldest",
        "whoever has a number can be seen",
    ),
    Plant(
        "a joiner that was evicted goes on as if it were active",
        (
            Change(
                "joining.c",
                "        if (compare_exchange32(&s->cursor->state, &joining, s->state))"
                " /* else the publisher took us for dead: once more */\n            break;\n",
                "        store_release32(&s->cursor->state, s->state);\n        break;\n",
            ),
        ),
        "join-evicted",
        "published - from <= s->operation->multicast->entries",
    ),
    Plant(
        "who leaves gives its number back before it says so",
        (Change("joining.c", FREE, "    ipcr_hold_drop(&s->hold);\n" + FREE),),
        "leave-multicast",
        "the victim subscribes, lives, and is taken for dead",
    ),
    Plant(
        "a publisher does not look again when it has said what may be overwritten",
        (
            Change(
                "multicast_room.c",
                "        const int rc = look_at_all(p, least.sequence);\n        p->need = least.sequence;\n",
                "        const int rc = IPCR_OK;\n        p->need = least.sequence;\n",
            ),
        ),
        "join-beside-a-publisher",
        "result >= 0",
    ),
    Plant(
        "a publisher lets what was announced be overwritten though somebody joined below it",
        (
            Change(
                "multicast_room.c",
                "        if (rc != IPCR_OK)\n            return rc;\n        if ((int64_t)(p->floor - most",
                "        if (rc != IPCR_OK && p->blocked_by == IPCR_NO_SUBSCRIBER)\n            return rc;\n"
                "        if ((int64_t)(p->floor - most",
            ),
        ),
        "publish-beside-a-joiner",
        "load_relaxed64(&e->sequence) is",
    ),
)
