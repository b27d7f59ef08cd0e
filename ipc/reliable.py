"""A queue that loses nothing: acknowledgements, leases, redelivery, dead letters and receipts.

    tasks = ipc.ReliableQueue(lease=None)           # a message is its holder's until that ends it, or dies
    receipt = tasks.put(obj)
    with tasks.get() as delivery:                   # acknowledged at the end, given back if the block raises
        work(delivery.message)
    receipt.wait(timeout=5)                         # True once somebody has acknowledged it

At least once: who dies, or is too slow for its lease, between the work and the ack has the work done twice.
`delivery.id` is the same each time, and `Deduplicator` remembers ids.
"""

from __future__ import annotations

from ipc._core.reliable_queue import DeadLetter, Deduplicator, Delivery, Receipt, ReliableQueue

__all__ = ["DeadLetter", "Deduplicator", "Delivery", "Receipt", "ReliableQueue"]
