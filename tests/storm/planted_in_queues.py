"""Does the storm of queues find anything?  `python -m tests.storm.planted --of queues` plants these, one at a time.

It can't find what x86 forgives, nor a window of few instructions that nobody happens to be killed or stopped in: that
`get` acknowledges before it copies, say, or that a number is used before it is swept, where others repair soon after.
"""

from __future__ import annotations

from typing import Final

from tests.storm.mistakes import Mistake

__all__ = ["MISTAKES_IN_QUEUES"]

_MAXSIZE = "    const uint64_t maxsize = q->segment->options.maxsize;\n    if (maxsize == 0)\n        return 0;\n"

MISTAKES_IN_QUEUES: Final[dict[str, Mistake]] = {
    "one acknowledgement in 64 is lost": Mistake(
        "native/ending.c",
        "int ipcr_lease_ack(struct ipcr_queue *q, const struct ipcr_lease *l) { return finish(q, l, IPCR_ACKED); }",
        "int ipcr_lease_ack(struct ipcr_queue *q, const struct ipcr_lease *l)\n"
        "{\n    return l->sequence % 64 == 7 ? IPCR_OK : finish(q, l, IPCR_ACKED);\n}",
    ),
    "a second delivery doesn't count": Mistake(
        "native/leases.h",
        "ipcr_phase_of(seen) == IPCR_KEPT || before == IPCR_MOST_DELIVERIES ? before",
        "ipcr_phase_of(seen) == IPCR_KEPT || before == IPCR_MOST_DELIVERIES || before == 1 ? before",
    ),
    "what a dead consumer held is never given back": Mistake(
        "native/repair.c",
        "        if (rc == IPCR_OK && !held)\n            rc = bury_holder(q, i);\n",
        "",
        also=(
            "load_acquire32(&h->active) != 0 ? ipcr_queue_sweep(q, holder) : IPCR_OK",
            "IPCR_OK",
        ),
    ),
    "a living consumer is taken for dead": Mistake(
        "native/repair.c",
        "        if (rc == IPCR_OK && !held)\n            rc = bury_holder(q, i);\n",
        "        if (rc == IPCR_OK)\n            rc = held ? ipcr_queue_sweep(q, i) : bury_holder(q, i);\n",
    ),
    "what comes back is not looked for below the hint": Mistake(
        "native/repair.c",
        "    ipcr_lower_hint(&q->segment->lane[lane].words->take, sequence);\n    ipcr_gate_signal",
        "    (void)lane, (void)sequence;\n    ipcr_gate_signal",
    ),
    "the newest of the oldest goes first": Mistake(
        "native/taking.c",
        "            break;\n        }\n        if (!ipcr_is_sound(state))",
        "            if (ipcr_deliveries_of(state) == 0 || at + 1 == hint + slots)\n                break;\n"
        "            continue;\n        }\n        if (!ipcr_is_sound(state))",
    ),
    "put returns before its message is there": Mistake(
        "ipc/_core/plain_queue.py",
        "                if _put(self._handle, obj, len(obj), 0, 0) >= 0:  # type: ignore[arg-type]\n"
        "                    return\n",
        "                threading.Timer(0.001, self._put_slowly, (encode(obj), True, None)).start()\n"
        "                return\n",
        also=('accelerate(Queue, "put", "get", "put_many", "get_many")', 'accelerate(Queue, "get", "get_many")'),
    ),
    "a batch says one more than it has put": Mistake(
        "ipc/_core/plain_queue.py",
        'error.put = done + getattr(error, "put", 0)',
        'error.put = done + getattr(error, "put", 0) + 1',
    ),
    "a lease that was lost can be acknowledged": Mistake(
        "native/ending.c",
        "    if (!ipcr_finish(slot_of(q, l), l->held, phase))\n        return leave(q, IPCR_LEASE_LOST);\n",
        "    if (!ipcr_finish(slot_of(q, l), l->held, phase))\n        return leave(q, IPCR_OK);\n",
    ),
    "a lease ends up to a unit early": Mistake(
        "native/leases.h",
        "(uint32_t)((ns + IPCR_TIME_UNIT_NS - 1) / IPCR_TIME_UNIT_NS)",
        "(uint32_t)(ns / IPCR_TIME_UNIT_NS)",
    ),
    "a message may be delivered once more than allowed": Mistake(
        "native/leases.h", "deliveries >= most + forgiven", "deliveries > most + forgiven"
    ),
    "a successor writes where the dead one's messages lie": Mistake(
        "native/lanes.c",
        "        p->position = load_relaxed64(&last->position) + ipcr_padded(load_relaxed64(&last->length));\n",
        "        p->position = load_relaxed64(&last->position);\n",
    ),
    "a dead letter is thrown away": Mistake(
        "ipc/_core/dead_letters.py",
        "                    self._dead_letter.put(self._letter(lease, why), timeout=0)\n",
        "                    if lease.id % 4:\n"
        "                        self._dead_letter.put(self._letter(lease, why), timeout=0)\n",
    ),
    "far more than maxsize": Mistake(
        "native/queue_counts.c", _MAXSIZE, _MAXSIZE.replace("options.maxsize;", "options.maxsize * 4;")
    ),
    "full when it is half full": Mistake(
        "native/queue_counts.c", _MAXSIZE, _MAXSIZE.replace("options.maxsize;", "options.maxsize / 2;")
    ),
    "a consumer's death takes its whole lane's messages along": Mistake(
        "native/repair.c",
        "        if (which(q, state, what))\n            ipcr_queue_return(q, lane, at, state, IPCR_NO_TIME);\n",
        "        if (which(q, state, what))\n"
        "            ipcr_finish(ipcr_slot_at(&q->segment->lane[lane], at), state, IPCR_ACKED);\n",
    ),
}
