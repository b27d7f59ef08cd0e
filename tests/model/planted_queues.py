"""Bugs of queues, for planted.py: interleavings that a naive version gets wrong, and those that were found in ours."""

from __future__ import annotations

from tests.model.plant import Change, Planted

QUEUES = (
    Planted.explored(
        "gate-without-number",
        "a gate is only armed or not: who is about to sleep doesn't notice that it was opened, and armed "
        "again (this one was ours)",
        "queue-sleepers",
        Change(
            "native/gates.c",
            "compare_exchange32(parked, &seen, seen + 1))",
            "compare_exchange32(parked, &seen, seen - 1))",
        ),
    ),
    Planted.explored(
        "gate-not-armed-again",
        "whoever was woken doesn't arm the gate for those that still sleep",
        "queue-threads-sleep",
        Change(
            "native/gates.c",
            "    arm(parked); /* whoever",
            "    /* whoever",
        ),
    ),
    Planted.explored(
        "gate-without-fence",
        "the gate is armed, and looked past, without a full fence",
        "lease-nack-wakes",
        Change(
            "native/gates.c",
            "    fence_store_load(); /* G */\n",
            "",
        ),
    ),
    Planted.explored(
        "not-passed-on",
        "whoever was woken, and leaves messages, wakes nobody",
        "queue-sleepers",
        Change(
            "native/queue_waits.c",
            "    if (rc == IPCR_EMPTY || load_relaxed32(&q->get_woken) == 0)\n",
            "    if (rc <= IPCR_OK)\n",
        ),
    ),
    Planted.explored(
        "close-opens-one",
        "who closes wakes others only if the gate is armed (this one was ours)",
        "queue-close-putting",
        Change(
            "native/queue.c",
            "        ipcr_gate_open_wide(&q->own[i].lane->words->room_parked);",
            "        ipcr_gate_open(&q->own[i].lane->words->room_parked, 1);",
        ),
    ),
    Planted.explored(
        "empty-at-once",
        "Empty is said after one look at each lane",
        "queue-never-empty",
        Change(
            "native/taking.c",
            "        if (!something_came(q, &s) && (fully || s.returns == 0))\n",
            "        if (!something_came(q, &s) || out != NULL)\n",
        ),
    ),
    Planted.explored(
        "empty-but-new-lane",
        "the second look is only at lanes that were in use at the first",
        "queue-new-lane",
        Change(
            "native/taking.c",
            "    if (load_acquire32(&q->header->lanes_high) != s->lanes)\n        return true;\n",
            "",
        ),
    ),
    Planted.explored(
        "empty-but-come-back",
        "the second look is only for new messages, not for those that came back",
        "queue-comes-back",
        Change(
            "native/taking.c",
            "    if (load_acquire64(&q->header->returns) != s->returns)\n        return true;\n",
            "",
        ),
    ),
    Planted.explored(
        "shut-looked-late",
        "whether the queue is shut down is asked after the look at its messages (this one was ours)",
        "queue-shutdown",
        Change(
            "native/taking.c",
            "            return shut ? IPCR_SHUT_DOWN",
            "            return load_acquire32(&q->header->shutdown) != IPCR_OPEN ? IPCR_SHUT_DOWN",
        ),
    ),
    Planted.explored(
        "put-into-the-shut",
        "a put that began before the shutdown is not taken back (this one was ours)",
        "queue-shutdown",
        Change(
            "native/queue.c",
            "    if (load_relaxed32(&q->header->shutdown) != IPCR_OPEN)\n        while",
            "    if (q == NULL)\n        while",
        ),
    ),
    Planted.explored(
        "hint-raised-over",
        "the hint is raised without a second look for what came back below it",
        "queue-raised-hint-sleep",
        Change(
            "native/taking.c",
            "    if (load_acquire64(&q->header->returns) != returns) {\n",
            "    if (q == NULL && returns != 0) {\n",
        ),
    ),
    Planted.explored(
        "empty-by-hint",
        "Empty is said after a scan from the hints on, which somebody raises just then (this one was ours)",
        "queue-raised-hint",
        Change("native/taking.c", " && (fully || s.returns == 0))", ")"),
    ),
    Planted.explored(
        "head-relaxed",
        "the hint how far the lane has come is seen before the message is (this one was ours)",
        "queue-settled-count",
        Change(
            "native/lanes.c",
            "    store_release64(&p->lane->words->head, p->next);",
            "    store_relaxed64(&p->lane->words->head, p->next);",
        ),
    ),
    Planted.explored(
        "hint-not-lowered",
        "who gives a message back below the hint leaves the hint",
        "queue-raised-before-sleep",
        Change(
            "native/repair.c",
            "    ipcr_lower_hint(&q->segment->lane[lane].words->take, sequence);\n    ipcr_gate",
            "    if (sequence == 0)\n"
            "        ipcr_lower_hint(&q->segment->lane[lane].words->take, sequence);\n    ipcr_gate",
        ),
    ),
    Planted.explored(
        "not-swept",
        "a dead consumer's number is used again without a sweep",
        "queue-number-again",
        Change(
            "native/repair.c",
            "load_acquire32(&h->active) != 0 ? ipcr_queue_sweep(q, holder) : IPCR_OK;",
            "IPCR_OK;",
        ),
    ),
    Planted.explored(
        "buried-unlocked",
        "a dead consumer's number is given free without its lock byte: it may be another's by then",
        "queue-buried-again",
        Change(
            "native/repair.c",
            "    int rc = take_number(q, holder, &hold);\n"
            "    if (rc == IPCR_TAKEN)\n"
            "        return IPCR_OK;\n"
            "    if (rc != IPCR_OK)\n"
            "        return rc;\n"
            "    struct ipcr_holder_words",
            "    int rc = IPCR_OK;\n    hold.page = NULL;\n    struct ipcr_holder_words",
        ),
    ),
    Planted.explored(
        "ack-of-anything",
        "an acknowledgement takes the word as it is, not as it was leased",
        "lease-stale-ack",
        Change(
            "native/ending.c",
            "    if (!ipcr_finish(slot_of(q, l), l->held, phase))",
            "    if (!ipcr_finish(slot_of(q, l), load_acquire64(&slot_of(q, l)->state), phase))",
        ),
    ),
    Planted.explored(
        "count-goes-back",
        "a requeued message counts its deliveries from 0: its second lease looks like its first",
        "lease-stale-requeue",
        Change(
            "native/ending.c",
            "    if (!ipcr_change(slot, l->held,\n                     ipcr_with(l->held, IPCR_READY, IPCR_REQUEUED, "
            "ipcr_deliveries_of(l->held), IPCR_NO_TIME)))\n"
            "        return leave(q, IPCR_LEASE_LOST);\n"
            "    ipcr_queue_tell_returned",
            "    if (!ipcr_change(slot, l->held, ipcr_with(l->held, IPCR_READY, 0, 0, IPCR_NO_TIME)))\n"
            "        return leave(q, IPCR_LEASE_LOST);\n"
            "    ipcr_queue_tell_returned",
        ),
    ),
    Planted.explored(
        "not-validated",
        "a copy is believed without a look whether the lease is still ours",
        "lease-recycled",
        Change(
            "native/taking.c",
            "    return load_relaxed64(&slot->state) == lease->held ?",
            "    return slot != NULL ?",
        ),
    ),
    Planted.explored(
        "plain-put",
        "a put writes plainly where a late holder may be reading (this one was ours)",
        "lease-recycled",
        Change(
            "native/queue.c",
            "    racy_write(ipcr_producer_payload(p), message, length);",
            "    copy_in(ipcr_producer_payload(p), message, length);",
        ),
    ),
    Planted.explored(
        "successor-unfenced",
        "a successor doesn't order its writes behind what its predecessor has freed (this one was ours)",
        "lease-recycled-adopted",
        Change(
            "native/lanes.c",
            "    fence_store_store(); /* V: as in publish_freed; what is free now was freed by somebody else */\n",
            "",
        ),
    ),
    Planted.explored(
        "put-early",
        "a message is published before its bytes are there",
        "queue-fifo",
        Change(
            "native/queue.c",
            "    racy_write(ipcr_producer_payload(p), message, length); /* V: a stalled holder may be copying "
            "what stood there */\n"
            "    *at = publish(q, p, length, info, now, ttl_ns);\n",
            "    uint8_t *payload = ipcr_producer_payload(p);\n"
            "    *at = publish(q, p, length, info, now, ttl_ns);\n"
            "    racy_write(payload, message, length);\n",
        ),
    ),
    Planted.explored(
        "freed-at-random",
        "a slot is freed although one before it is still held",
        "queue-full",
        Change(
            "native/lanes.c",
            "        if (!ipcr_is_done(state))\n            break;\n        const uint64_t length",
            "        if (!ipcr_is_done(state) && p->freed + 1 == p->next)\n"
            "            break;\n"
            "        const uint64_t length",
        ),
    ),
    Planted.explored(
        "head-believed",
        "a successor believes the hint how many messages there are",
        "queue-producer-dies",
        Change(
            "native/lanes.c",
            "        while (at - first < slots && ipcr_is_there(l, at, state))\n"
            "            state = load_acquire64(&ipcr_slot_at(l, ++at)->state);\n"
            "        *freed",
            "        *freed",
        ),
    ),
    Planted.explored(
        "room-for-one-more",
        "> for >= in the look at maxsize",
        "queue-maxsize-exact",
        Change(
            "native/queue_counts.c",
            "        if (again.left < maxsize)\n",
            "        if (again.left <= maxsize)\n",
        ),
    ),
    Planted.explored(
        "receipt-for-one",
        "two threads wait, and the word says only which message the second one waits for",
        "receipt-two",
        Change(
            "native/queue_waits.c",
            "++*waiters == 1 ? wish->sequence : IPCR_ANY_OUTCOME)",
            "(++*waiters, wish->sequence))",
        ),
    ),
    Planted.explored(
        "dead-forgotten",
        "what was given up is said to be acknowledged when its slot is used again",
        "receipt-moved-on",
        Change(
            "native/lanes.c",
            "        if (p->dead_sequences[i] == sequence)\n",
            "        if (p->dead_sequences[i] == sequence && sequence == 0)\n",
        ),
    ),
    Planted.explored(
        "join-in-order",
        "join() counts the messages before it counts what was finished",
        "receipt-join-twice",
        Change(
            "native/queue_counts.c",
            "    const uint64_t done = finished(q);\n    return count(q, false, &sum) == IPCR_OK && done >= sum.put;",
            "    return count(q, false, &sum) == IPCR_OK && finished(q) >= sum.put;",
        ),
    ),
    Planted.explored(
        "stats-in-order",
        "an observer looks how far a lane has come, and then, once only, at what was freed (this one was ours)",
        "queue-stats",
        Change("native/queue_stats.c", "LOOKS = 10 };", "LOOKS = 1 };"),
        Change(
            "native/queue_stats.c",
            "    uint64_t at = freed_totals(l, out), freed_since;\n"
            "    const int rc = ipcr_lane_bounds(l, &freed_since, next); /* later: no message is counted that "
            "has not been put */\n"
            "    if (rc != IPCR_OK)\n"
            "        return rc;\n",
            "    uint64_t at, freed_since;\n"
            "    const int rc = ipcr_lane_bounds(l, &freed_since, next);\n"
            "    if (rc != IPCR_OK)\n"
            "        return rc;\n"
            "    at = freed_totals(l, out);\n",
        ),
    ),
)
