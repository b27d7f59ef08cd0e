"""Bugs of a multicast's messages, for planted.py: told too early, overwritten while they are read, counted wrongly.

And those of a publisher that takes over.
"""

from __future__ import annotations

from tests.model.plant import Change, Planted

MESSAGES = (
    Planted.explored(
        "told-early",
        "a message is published before its bytes are there",
        "multicast-one",
        Change(
            "native/publishing.c",
            "    racy_write(at(p, topic_at + ipcr_padded(topic->length)), message, length); /* V */\n"
            "    tell(p, topic, topic_at, length, info);\n"
            "    return IPCR_OK;\n",
            "    tell(p, topic, topic_at, length, info);\n"
            "    racy_write(at(p, topic_at + ipcr_padded(topic->length)), message, length);\n"
            "    return IPCR_OK;\n",
        ),
    ),
    Planted.explored(
        "entry-late",
        "a message is published before its entry says where it is",
        "multicast-one",
        Change("native/publishing.c", "    store_relaxed64(&entry->position, topic_at);\n", ""),
        Change(
            "native/publishing.c",
            "    store_release64(&p->header->published, ++p->next);\n",
            "    store_release64(&p->header->published, ++p->next);\n"
            "    store_release64(&entry->position, topic_at);\n",
        ),
    ),
    Planted.explored(
        "published-relaxed",
        "the number of messages can be seen before the last one is",
        "multicast-one",
        Change(
            "native/publishing.c",
            "    store_release64(&p->header->published, ++p->next);\n",
            "    store_relaxed64(&p->header->published, ++p->next);\n",
        ),
    ),
    Planted.explored(
        "topic-by-number",
        "a topic is known by its number alone, which is a hash",
        "multicast-topics",
        Change(
            "native/subscribing.c",
            "        if (memcmp(name, t->name, t->length) == 0)\n",
            "        if (t->number != 0)\n",
        ),
    ),
    Planted.explored(
        "topic-not-validated",
        "a topic's name is looked at, and the message passed over, without a look whether it was there until then",
        "multicast-wrapped-topic",
        Change(
            "native/subscribing.c",
            "        const bool wanted = sound && is_wanted(s, m);\n        rc = still_there(s);\n",
            "        rc = still_there(s);\n        const bool wanted = sound && is_wanted(s, m);\n",
        ),
    ),
)

LAPPED = (
    Planted.explored(
        "copy-not-validated",
        "a message is looked for, and copied, and not looked at again",
        "multicast-wrapped",
        Change(
            "native/subscribing.c",
            "        note_topic(s, &m);\n        rc = still_there(s);\n",
            "        note_topic(s, &m);\n",
        ),
    ),
    Planted.explored(
        "validated-unfenced",
        "the look after the copy may come before it",
        "multicast-lossy",
        Change("native/subscribing.c", "    fence_load_load();\n    if (s->evictable)", "    if (s->evictable)"),
    ),
    Planted.explored(
        "oldest-behind-the-bytes",
        "what is overwritten may be seen before it is said that it will be",
        "multicast-lossy",
        Change("native/multicast_room.c", "        fence_store_store(); /* V */\n    } else {", "    } else {"),
    ),
    Planted.explored(
        "lost-from-oldest",
        "who goes on at the newest message is told how many it lost up to the oldest",
        "multicast-lossy-latest",
        Change("native/subscribing.c", "    s->lost += to - s->next;\n", "    s->lost += oldest - s->next;\n"),
    ),
    Planted.explored(
        "lost-from-published",
        "the lost are counted up to what was published, although the oldest of those comes next",
        "multicast-lossy",
        Change("native/subscribing.c", "    s->lost += to - s->next;\n", "    s->lost += published - s->next;\n"),
    ),
    Planted.explored(
        "evicted-not-noticed",
        "who may be evicted alive copies, and doesn't look whether it was",
        "multicast-wrapped-evicted",
        Change("native/subscribing.c", "    if (!s->lossy && !s->evictable)\n", "    if (!s->lossy)\n"),
    ),
    Planted.explored(
        "evicted-unfenced",
        "what an evicted one may be reading is overwritten, and that may be seen before the eviction is",
        "multicast-joiner-evicted",
        Change(
            "native/multicast_room.c",
            "        fence_store_store(); /* V: what they may be reading is overwritten behind this */\n",
            "",
        ),
    ),
    Planted.explored(
        "view-overwritten",
        "who may be evicted alive reads in place",
        "multicast-evicted-view",
        Change(
            "native/subscribing.c",
            "    rc = s->lossy || s->evictable ? IPCR_WRONG_SIDE",
            "    rc = s->lossy ? IPCR_WRONG_SIDE",
        ),
    ),
)

SUCCESSORS = (
    Planted.explored(
        "head-before-the-lock",
        "who takes over reads how far its predecessor came, and then locks the role byte",
        "multicast-publisher-dies",
        Change(
            "native/publishing.c",
            "    ipcr_registry_lock();\n    int rc = ipcr_segment_be_present(p->segment);\n",
            "    int rc = go_on(p);\n"
            "    if (rc != IPCR_OK)\n        return rc;\n"
            "    ipcr_registry_lock();\n    rc = ipcr_segment_be_present(p->segment);\n",
        ),
        Change(
            "native/publishing.c",
            "    rc = go_on(p);\n    if (rc != IPCR_OK)\n        return rc;\n    p->generation",
            "    p->generation",
        ),
    ),
    Planted.explored(
        "number-passed-over",
        "a successor doesn't use the number again of the message that its predecessor had begun",
        "multicast-publisher-dies",
        Change(
            "native/publishing.c",
            "    p->announced = load_acquire64(&p->header->oldest);\n",
            "    if (load_relaxed64(&ipcr_entry_at(p->entries, p->mask, p->next)->sequence) == p->next)\n"
            "        store_release64(&p->header->published, ++p->next);\n"
            "    p->announced = load_acquire64(&p->header->oldest);\n",
        ),
    ),
    Planted.explored(
        "oldest-goes-back",
        "a successor takes back what its predecessor has announced, and perhaps overwritten",
        "multicast-wrapped-successor",
        Change(
            "native/publishing.c",
            "    p->announced = load_acquire64(&p->header->oldest);\n",
            "    p->announced = load_acquire64(&p->header->oldest);\n"
            "    if (p->announced != p->segment->start_position && p->next - p->announced <= p->mask)\n"
            "        store_release64(&p->header->oldest, --p->announced);\n",
        ),
    ),
    Planted.explored(
        "announced-is-passed",
        "a successor believes that everybody has passed what its predecessor has announced",
        "multicast-join-announced",
        Change("native/publishing.c", "    p->floor = p->announced - 1;\n", "    p->floor = p->announced;\n"),
    ),
    Planted.explored(
        "dead-then-published",
        "who finds the publisher dead says so without a last look for messages",
        "multicast-slices-told",
        Change("native/multicast_waits.c", "    if (held || may_be_message(s) || load", "    if (held || load"),
    ),
    Planted.explored(
        "closed-then-published",
        "nothing new, and then closed: the last message came in between",
        "multicast-close",
        Change(
            "native/subscribing.c",
            "    for (int look = 0; look < 2; look++) {",
            "    for (int look = 0; look < 1; look++) {",
        ),
    ),
)
