"""Bugs of lanes, leases and repairs to plant in the core; see plants.py."""

from __future__ import annotations

from tests.crash.plants import Change, Plant

LEDGER = "the messages stand as after some steps of the script"

QUEUE_PLANTS = (
    Plant(
        "a message is there before its slot says what it is",
        (
            Change(
                "lanes.c",
                "    store_relaxed64(&slot->sequence, sequence);\n",
                "    store_release64(&slot->state, ipcr_state(ipcr_lap_at(p->lane, sequence), IPCR_READY, 0, 0, "
                "IPCR_NO_TIME));\n"
                "    store_relaxed64(&slot->sequence, sequence);\n",
            ),
        ),
        "put",
        "load_relaxed64(&slot->sequence)",
    ),
    Plant(
        "a message is there before its payload",
        (
            Change(
                "queue.c",
                "    racy_write(ipcr_producer_payload(p), message, length); "
                "/* V: a stalled holder may be copying what stood there */\n"
                "    *at = publish(q, p, length, info, now, ttl_ns);\n",
                "    uint8_t *payload = ipcr_producer_payload(p);\n"
                "    *at = publish(q, p, length, info, now, ttl_ns);\n"
                "    racy_write(payload, message, length);\n",
            ),
        ),
        "put-many",
        "is_stamped(lane->data",
    ),
    Plant(
        "a producer says that the message is there before it is",
        (
            Change(
                "lanes.c",
                "    store_relaxed64(&slot->sequence, sequence);\n",
                "    store_release64(&p->lane->words->head, sequence + 1);\n"
                "    store_release64(&slot->sequence, sequence);\n",
            ),
        ),
        "put",
        "load_acquire64(&w->head)) >= 0",
    ),
    Plant(
        "slots are said to be free before the mark says what was in them",
        (
            Change(
                "lanes.c",
                "    store_release64(&mark->freed, p->freed);\n",
                "    store_release64(&w->freed, p->freed);\n    store_release64(&mark->freed, p->freed);\n",
            ),
        ),
        "put",
        "load_acquire64(&w->mark[0].freed) == freed",
    ),
    Plant(
        "a lane has one mark, which is overwritten while it is valid",
        (Change("lanes.c", "    p->next_mark ^= 1u;\n", ""),),
        "put-and-get",
        "load_acquire64(&w->mark[0].freed) == freed",
    ),
    Plant(
        "a slot is used again before it is said to be free",
        (
            Change("lanes.c", "    if (p->freed != before)\n        publish_freed(p);\n", "    (void)before;\n"),
            Change(
                "lanes.c",
                "    p->next++;\n    p->position += ipcr_padded(length);\n",
                "    p->next++;\n    p->position += ipcr_padded(length);\n"
                "    if (load_relaxed64(&p->lane->words->freed) != p->freed)\n        publish_freed(p);\n",
            ),
        ),
        "put",
        "load_relaxed64(&slot->sequence)",
    ),
    Plant(
        "a successor believes what is only a hint, and writes over its predecessor's last message",
        (
            Change(
                "lanes.c",
                "    int rc = ipcr_lane_bounds(l, &p->freed, &p->next);\n",
                "    int rc = ipcr_lane_bounds(l, &p->freed, &p->next);\n"
                "    p->next = load_acquire64(&l->words->head);\n",
            ),
        ),
        "put",
        "ipcr_queue_task_done(w->consumer) is",  # its messages are less than were put
    ),
    Plant(
        "a lane is in use before anybody looks so far",
        (
            Change(
                "lanes.c",
                "            raise_to(&ipcr_queue_header(s)->lanes_high, index + 1);\n"
                "            store_release32(&w->used, 1);\n",
                "            store_release32(&w->used, 1);\n"
                "            raise_to(&ipcr_queue_header(s)->lanes_high, index + 1);\n",
            ),
        ),
        "adopt-lane-and-put",
        "load_acquire32(&ipcr_queue_header(segment)->lanes_high)",
    ),
    Plant(
        "a message is acknowledged before it is copied out",
        (
            Change(
                "taking.c", "        copy_out(out, (const uint8_t *)l->payload, l->length);\n    } while", "    } while"
            ),
            Change(
                "taking.c",
                "    ipcr_queue_tell_done(q, l->lane, l->sequence);\n    return IPCR_OK;\n",
                "    copy_out(out, (const uint8_t *)l->payload, l->length);\n"
                "    ipcr_queue_tell_done(q, l->lane, l->sequence);\n    return IPCR_OK;\n",
            ),
        ),
        "get",
        "what is gone from the queue is in its taker's hand",
    ),
    Plant(
        "a delivery is counted after the lease was granted",
        (
            Change(
                "leases.h",
                "    return ipcr_change(slot, seen, *held);\n}\n\n/* LEASED -> ACKED",
                "    const uint64_t uncounted = ipcr_with(*held, IPCR_LEASED, holder, before, until);\n"
                "    return ipcr_change(slot, seen, uncounted) && ipcr_change(slot, uncounted, *held);\n"
                "}\n\n/* LEASED -> ACKED",
            ),
        ),
        "lease",
        LEDGER,
    ),
    Plant(
        "whoever takes a dead man's number has his leases as well",
        (
            Change(
                "repair.c",
                "load_acquire32(&h->active) != 0 ? ipcr_queue_sweep(q, holder) : IPCR_OK;\n",
                "IPCR_OK;\n",
            ),
        ),
        "register",
        "done is 0, not 2",
    ),
    Plant(
        "a dead man counts as buried before his leases are ended",
        (
            Change(
                "repair.c",
                "    if (load_acquire32(&h->active) != 0) {\n        rc = ipcr_queue_sweep(q, holder);\n",
                "    if (load_acquire32(&h->active) != 0) {\n        store_release32(&h->active, 0);\n"
                "        rc = ipcr_queue_sweep(q, holder);\n",
            ),
        ),
        "repair",
        "holders[holder].active",
    ),
    Plant(
        "who leaves gives his number back before his leases",
        (
            Change(
                "queue.c",
                "        if (ipcr_queue_sweep(q, q->holder) == IPCR_OK)\n"
                "            store_release32(&q->header->holders[q->holder].active, 0);\n",
                "        store_release32(&q->header->holders[q->holder].active, 0);\n"
                "        ipcr_queue_sweep(q, q->holder);\n",
            ),
        ),
        "leave-with-leases",
        "holders[holder].active",
    ),
    Plant(
        "a message that a repair gives back has never been delivered",
        (
            Change(
                "leases.h",
                "               : ipcr_with(held, IPCR_READY, 0, deliveries, from);\n",
                "               : ipcr_with(held, IPCR_READY, 0, 0, from);\n",
            ),
        ),
        "repair",
        LEDGER,
    ),
    Plant(
        "what came back below the hint stays there",
        (Change("repair.c", "            ipcr_lower_hint(&l->words->take, at);\n", ""),),
        "lease",
        "IPCR_INFO_TYPE(lease->info)",
    ),
    Plant(
        "messages are settled that somebody holds",
        (
            Change(
                "repair.c",
                "        if (all_done)\n            upto = at + 1;\n",
                "        upto = at + 1;\n",
            ),
        ),
        "repair",
        "load_acquire64(&w->settled)) >= 0",
    ),
    Plant(
        "a dead letter is ready again before its deliveries are forgiven",
        (
            Change("ending.c", "    store_relaxed32(&slot->forgiven, ipcr_deliveries_of(l->held));\n", ""),
            Change(
                "ending.c",
                "        return leave(q, IPCR_LEASE_LOST);\n    ipcr_queue_tell_returned(q, l->lane, l->sequence);\n",
                "        return leave(q, IPCR_LEASE_LOST);\n"
                "    store_release32(&slot->forgiven, ipcr_deliveries_of(l->held));\n"
                "    ipcr_queue_tell_returned(q, l->lane, l->sequence);\n",
            ),
        ),
        "requeue",
        "it.deliveries < s->operation->shape->most_deliveries",
    ),
    Plant(
        "whoever takes a number begins to count finished tasks anew",
        (
            Change(
                "repair.c",
                "    store_relaxed32(&h->pid, ipcr_os_pid());\n",
                "    store_relaxed32(&h->pid, ipcr_os_pid());\n    store_release64(&h->finished, 0);\n",
            ),
        ),
        "task-done",
        "sum >= least",
    ),
    Plant(
        "a hint that is laps behind stays, and nobody sleeps",
        (Change("taking.c", "if (upto - hint >= RAISE_EVERY || jumps > 0)", "if (upto - hint >= RAISE_EVERY)"),),
        "wait-for-message",
        "s->result is -12, not 0",
    ),
    Plant(
        "a lane that went on for a lap is taken for one that got nothing",
        (
            Change(
                "taking.c",
                "!ipcr_is_yet_to_come(l, end, load_acquire64",
                "ipcr_is_there(l, end, load_acquire64",
            ),
        ),
        "lease-what-moves",
        "s->result == 1",
    ),
)
