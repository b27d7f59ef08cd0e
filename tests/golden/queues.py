"""The golden segments of queues, for make.py.

A queue with two producers, whose slots and data have come round twice, and whose laps, a number of 19 bits, have passed
their end; all of its fillings were taken, all but the last were finished, and it was shut down.  A reliable queue with
a message in each state that one can be in.

A message's stamp, by which the oldest is found, becomes its id here: the ids have the same order, and are the same each
time.  The two hints become the least that they may say: consumers mend them every 150 ms, so they depend on the time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipc
from ipc._core.native import ffi
from ipc._core.segment import Segment
from tests.golden.common import ANYWHERE, CAPACITY, MESSAGES, NAME, directory, same_each_time

LANES = 3  # of the queue two are used
SLOTS = 8
START = (2**19 - 2) * SLOTS  # laps, before the first one: its number is the last that 19 bits can say
FIRST = START + SLOTS
FILLING = 2 * SLOTS + 1  # messages in each lane, before those that are looked at
FILLER = b"\x5a" * 440

MAXSIZE = 20
MOST_DELIVERIES = 3

# The parts of the segment; see docs/shm-format.md.
HOLDERS, LANE_WORDS, FIRST_LANE = 512, 16896, 20480
LANE_BYTES = 4096 + CAPACITY  # a page of slots, and data
FREED = 136  # in a lane's words
PIDS = (*((HOLDERS + 16 * n + 4, 4) for n in range(3)), *((LANE_WORDS + 384 * n + 260, 4) for n in range(LANES)))

# What becomes of the reliable queue's messages, by their place in MESSAGES; the others wait.
ACKED, LEASED, KEPT, RETURNED, REQUEUED = range(5)


def content() -> bytes:
    """A queue's segment as this library writes it."""
    with directory() as where:
        segment = _segment("queue", {"maxsize": MAXSIZE, "lanes_each": 1})
        attach = ipc.Queue[Any].attach
        with attach(NAME) as first, attach(NAME) as second, attach(NAME) as consumer, attach(NAME) as last:
            del segment
            for producer in (first, second) * FILLING:
                producer.put(FILLER)
                _take_all_but_one(consumer)
            for n, (message, _) in enumerate(MESSAGES):
                (first, second)[n % 2].put(message)
            consumer.shutdown()
            last.get_nowait()
            written = Path(where, NAME).read_bytes()
    return _same_each_time(written, 2)


def content_of_reliable_queue() -> bytes:
    """The same of a reliable queue, while two consumers and the producer are there."""
    with directory() as where:
        segment = _segment("reliable queue", {"max_deliveries": MOST_DELIVERIES, "lanes_each": 2})
        attach = ipc.ReliableQueue[Any].attach
        with attach(NAME) as producer, attach(NAME) as consumer, attach(NAME) as last:
            del segment
            for n in range(FILLING):
                producer.put(FILLER)
                if n == 1:
                    consumer.get(0).nack()
                if n in {0, FILLING - 1}:  # of these one is freed, and the other is not
                    consumer.purge()
                else:
                    consumer.get(0).ack()
            ids = [producer.put(message).id for message, _ in MESSAGES]
            _handle(consumer, ids)
            leased = last.get(0)
            assert leased.id == ids[LEASED]
            written = Path(where, NAME).read_bytes()
    return _same_each_time(written, 1)


def _segment(kind: str, options: dict[str, int]) -> Segment:
    made = ffi.new("struct ipcr_queue_options *", {"slots": SLOTS, **options})
    return Segment.create_queue(kind, CAPACITY, NAME, LANES, made, start_sequence=START)


def _take_all_but_one(consumer: ipc.Queue[Any]) -> None:
    while consumer.qsize() > 1:
        consumer.get_nowait()
        consumer.task_done()


def _handle(consumer: ipc.ReliableQueue[Any], ids: list[int]) -> None:
    """Take the first messages; each time the oldest is delivered that is not held, and not given up."""
    consumer.get(0).ack()
    leased = consumer.get(0)
    for _ in range(MOST_DELIVERIES):
        consumer.get(0).nack()
    returned = consumer.get(0)
    for _ in range(MOST_DELIVERIES):
        consumer.get(0).nack()
    returned.nack()
    leased.nack()
    consumer.requeue(ids[REQUEUED])


def _same_each_time(written: bytes, lanes: int) -> bytes:
    data = bytearray(same_each_time(written, (*ANYWHERE, *PIDS)))
    for lane in range(lanes):
        words = LANE_WORDS + 384 * lane
        data[words : words + 16] = 2 * data[words + FREED : words + FREED + 8]  # take and settled
        for slot in range(SLOTS):
            at = FIRST_LANE + lane * LANE_BYTES + 64 * slot
            sequence = int.from_bytes(data[at + 8 : at + 16], "little")
            data[at + 24 : at + 32] = (sequence * LANES + lane).to_bytes(8, "little")
            data[at + 56 : at + 60] = bytes(4)  # the producer's pid
    return bytes(data)
