"""A queue that loses nothing: acknowledgements, leases, redelivery, dead letters and receipts."""

from __future__ import annotations

from ipc._core.reliable_queue import DeadLetter, Deduplicator, Delivery, Receipt, ReliableQueue

__all__ = ["DeadLetter", "Deduplicator", "Delivery", "Receipt", "ReliableQueue"]
