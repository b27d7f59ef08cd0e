"""What python_calls.py lets fail of queues and multicasts, and what must work after.

Those that are used here, and not made, are anonymous: what a failure has left of a first use (a consumer's number, a
lane that is mapped) goes with the handle, so after one they are made anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from typing import Any, NamedTuple

import ipc
from ipc._core import arguments, queues
from ipc._core.native import check, ffi, lib
from ipc._core.segment import close_file
from tests.faults.python_operations import (
    CAPACITY,
    PATIENCE,
    SOON,
    Operation,
    Scene,
    close_again,
    close_all,
    close_made,
    close_prepared,
    in_vain,
    nothing,
    prove_left,
)

__all__ = ["QUEUE_OPERATIONS"]

LANES = 4
FULL = 2  # messages


def queue(name: str | None = None) -> Any:
    return ipc.Queue(FULL, name=name, lanes=LANES, capacity=CAPACITY)


def reliable(name: str | None = None) -> Any:
    return ipc.ReliableQueue(name, lanes=LANES, capacity=CAPACITY)


def multicast(name: str | None = None) -> Any:
    return ipc.Multicast(name, capacity=CAPACITY)


def through(put_into: Any, got_from: Any) -> None:
    """Two messages, through a queue of either kind."""
    for message in (b"bytes", {"a": "pickle"}):
        put_into.put(message, timeout=PATIENCE)
        got = got_from.get(timeout=PATIENCE)
        if isinstance(got, ipc.Delivery):
            got.ack()
            got = got.message
        assert got == message


def published_through(publisher: Any, subscriber: Any) -> None:
    for message in (b"bytes", {"a": "pickle"}):
        publisher.publish(message, timeout=PATIENCE)
        assert subscriber.recv(timeout=PATIENCE) == message


def multicast_through(publishing: Any, subscribing: Any) -> None:
    subscriber, publisher = subscribing.subscribe(), publishing.publisher()
    published_through(publisher, subscriber)
    subscriber.close()
    publisher.close()


# --- for each kind ------------------------------------------------------------------------------------------------


def creating(what: str, make: Callable[..., Any], prove: Callable[[Any, Any], None]) -> tuple[Operation, ...]:
    """Make one, with a name and without; open it by name; close it."""

    def create(name: bool) -> Callable[[Scene], None]:
        return lambda scene: scene.made.append(make(scene.name if name else None))

    def prepare(scene: Scene) -> None:
        scene.ends.append(make(scene.name))

    def prepare_used(scene: Scene) -> None:
        prepare(scene)
        prove(scene.ends[0], scene.ends[0])

    def open_by_name(scene: Scene) -> None:
        kind = type(scene.ends[0])
        scene.made.append(kind.open(scene.name))

    def prove_made(scene: Scene) -> None:
        prove(scene.made[0], scene.made[0])

    def prove_opened(scene: Scene) -> None:
        prove(scene.ends[0], scene.made[0])

    def undo_opened(scene: Scene) -> None:
        """What was prepared has the other's lane mapped."""
        close_made(scene)
        close_prepared(scene)
        prepare(scene)

    return (
        Operation(f"create a {what}", nothing, create(False), prove_made, close_made, nothing),
        Operation(f"create a named {what}", nothing, create(True), prove_made, close_made, nothing, private=True),
        Operation(f"open a {what}", prepare, open_by_name, prove_opened, undo_opened, close_prepared),
        Operation(
            f"close a {what}",
            prepare_used,
            close_all,
            prove_left,
            nothing,
            nothing,
            ends=True,
            private=True,
            recover=close_again,
        ),
    )


def using(
    name: str,
    prepare: Callable[[Scene], object],
    act: Callable[[Scene], object],
    prove: Callable[[Scene], object],
) -> Operation:
    """Something that is done to what was prepared, which is made anew afterwards."""

    def anew(scene: Scene) -> None:
        close_made(scene)
        close_prepared(scene)
        prepare(scene)

    return Operation(name, prepare, act, prove, anew, close_prepared, recover=anew)


# --- queues -------------------------------------------------------------------------------------------------------


def make_queue(scene: Scene) -> None:
    scene.ends.append(queue())


def make_queue_with_message(scene: Scene) -> None:
    make_queue(scene)
    scene.ends[0].put(b"bytes")


def make_used_queue(scene: Scene) -> None:
    make_queue(scene)
    through(scene.ends[0], scene.ends[0])


def make_full_queue(scene: Scene) -> None:
    make_used_queue(scene)
    for _ in range(FULL):
        scene.ends[0].put(b"filling")


def put_first(scene: Scene) -> None:
    scene.ends[0].put(b"bytes")


def get_first(scene: Scene) -> None:
    assert scene.ends[0].get(timeout=SOON) == b"bytes"


def get_in_vain(scene: Scene) -> None:
    with in_vain("a message from nowhere"):
        scene.ends[0].get(timeout=SOON)


def put_in_vain(scene: Scene) -> None:
    with in_vain("no room was enough"):
        scene.ends[0].put(b"bytes", timeout=SOON)


def prove_put(scene: Scene) -> None:
    assert scene.ends[0].get(timeout=PATIENCE) == b"bytes"
    prove_empty(scene)


def prove_empty(scene: Scene) -> None:
    assert scene.ends[0].qsize() == 0
    through(scene.ends[0], scene.ends[0])


def prove_full(scene: Scene) -> None:
    for _ in range(FULL):
        assert scene.ends[0].get(timeout=PATIENCE) == b"filling"
    prove_empty(scene)


# --- reliable queues ----------------------------------------------------------------------------------------------


def make_reliable(scene: Scene) -> None:
    scene.ends.append(reliable())


def make_reliable_with_message(scene: Scene) -> None:
    make_reliable(scene)
    scene.receipt = scene.ends[0].put(b"bytes")


def make_used_reliable(scene: Scene) -> None:
    make_reliable(scene)
    through(scene.ends[0], scene.ends[0])


def make_full_reliable(scene: Scene) -> None:
    make_used_reliable(scene)
    with suppress(ipc.TimeoutError):
        while True:
            scene.ends[0].put(b"filling", timeout=0)


def put_first_reliably(scene: Scene) -> None:
    scene.receipt = scene.ends[0].put(b"bytes")


def get_and_acknowledge(scene: Scene) -> None:
    delivery = scene.ends[0].get(timeout=SOON)
    assert delivery.message == b"bytes"
    delivery.ack()


def prove_put_reliably(scene: Scene) -> None:
    get_and_acknowledge(scene)
    prove_acknowledged(scene)


def prove_acknowledged(scene: Scene) -> None:
    assert scene.receipt.wait(timeout=0)
    prove_empty(scene)


def wait_in_vain(scene: Scene) -> None:
    with in_vain("acknowledged by nobody"):
        scene.receipt.wait(timeout=SOON)


def prove_full_reliable(scene: Scene) -> None:
    while scene.ends[0].qsize():
        with scene.ends[0].get(timeout=PATIENCE) as delivery:
            assert delivery.message == b"filling"
    prove_empty(scene)


# --- multicasts ---------------------------------------------------------------------------------------------------


def make_multicast(scene: Scene) -> None:
    scene.ends.append(multicast())


def make_both(scene: Scene) -> None:
    """The multicast, its subscriber and its publisher, in the order in which they are closed, from the last."""
    make_multicast(scene)
    scene.ends.append(scene.ends[0].subscribe())
    scene.ends.append(scene.ends[0].publisher())


def make_observed(scene: Scene) -> None:
    make_multicast(scene)
    scene.ends.append(scene.ends[0].subscribe(observe=True, interval=0.001))
    scene.ends.append(scene.ends[0].publisher())


def make_full_multicast(scene: Scene) -> None:
    make_both(scene)
    while scene.ends[2].try_publish(b"filling"):
        pass


def become_publisher(scene: Scene) -> None:
    """Publishing itself makes a system call only where somebody sleeps: the half in C has that."""
    scene.made.append(scene.ends[0].publisher())
    scene.made[0].publish(b"bytes")


def prove_publisher(scene: Scene) -> None:
    with scene.ends[0].subscribe(start="oldest") as subscriber:
        assert subscriber.recv(timeout=PATIENCE) == b"bytes"
        published_through(scene.made[0], subscriber)


def become_subscriber(scene: Scene) -> None:
    scene.made.append(scene.ends[0].subscribe())


def become_observer(scene: Scene) -> None:
    scene.made.append(scene.ends[0].subscribe(observe=True, interval=0.001))


def prove_subscriber(scene: Scene) -> None:
    with scene.ends[0].publisher() as publisher:
        published_through(publisher, scene.made[0])


def recv_in_vain(scene: Scene) -> None:
    with in_vain("a message from nowhere"):
        scene.ends[1].recv(timeout=SOON)


def publish_in_vain(scene: Scene) -> None:
    with in_vain("no room was enough"):
        scene.ends[2].publish(b"bytes", timeout=SOON)


def prove_both(scene: Scene) -> None:
    published_through(scene.ends[2], scene.ends[1])


def prove_full_multicast(scene: Scene) -> None:
    while (message := scene.ends[1].try_recv()) is not None:
        assert message == b"filling"
    prove_both(scene)


# --- to another process -------------------------------------------------------------------------------------------


def answer(handed_over: Any) -> None:
    """What the other process does."""
    handed_over.put(b"bytes")


def start(scene: Scene) -> None:
    scene.worker = get_context("spawn").Process(target=answer, args=(scene.ends[0],))
    scene.worker.start()


def prove_started(scene: Scene) -> None:
    scene.worker.join(PATIENCE)
    assert scene.worker.exitcode == 0
    scene.worker = None
    prove_put(scene)


class Sent(NamedTuple):
    """A descriptor as the process finds it that it was sent to."""

    fd: int

    def detach(self) -> int:
        return self.fd


def take_over(scene: Scene) -> None:
    """What the other process does first, here; so much of the sender's part as it takes."""
    segment = scene.ends[0]._segment
    file = os.dup(segment.fd)
    held = ffi.new("int *")
    try:
        status = lib.ipcr_segment_hand_over(segment.pointer, held)
        check(lib.IPCR_NAME_BUSY if status == lib.IPCR_TAKEN else status, "the queue")
    except BaseException:
        close_file(file)
        raise
    lib.ipcr_parcel_keep(held[0])
    shared = (Sent(file), Sent(held[0]), (segment.kind, segment.directory, segment.name))
    scene.made.append(queues._adopt(ipc.Queue, shared, 0, arguments.ALL_ENCODINGS, True))


def prove_taken_over(scene: Scene) -> None:
    through(scene.ends[0], scene.made[0])


QUEUE_OPERATIONS = (
    *creating("queue", queue, through),
    using("queue: first put", make_queue, put_first, prove_put),
    using("queue: first get", make_queue_with_message, get_first, prove_empty),
    using("queue: get that waits", make_used_queue, get_in_vain, prove_empty),
    using("queue: put that waits", make_full_queue, put_in_vain, prove_full),
    using("queue: take over", make_queue, take_over, prove_taken_over),
    using("spawn with a queue", make_queue, start, prove_started),
    *creating("reliable queue", reliable, through),
    using("reliable: first put", make_reliable, put_first_reliably, prove_put_reliably),
    using("reliable: first get, ack", make_reliable_with_message, get_and_acknowledge, prove_acknowledged),
    using("reliable: get that waits", make_used_reliable, get_in_vain, prove_empty),
    using("reliable: put that waits", make_full_reliable, put_in_vain, prove_full_reliable),
    using("reliable: receipt that waits", make_reliable_with_message, wait_in_vain, prove_put_reliably),
    *creating("multicast", multicast, multicast_through),
    using("multicast: publish first", make_multicast, become_publisher, prove_publisher),
    using("multicast: subscribe", make_multicast, become_subscriber, prove_subscriber),
    using("multicast: observe", make_multicast, become_observer, prove_subscriber),
    using("multicast: recv that waits", make_both, recv_in_vain, prove_both),
    using("multicast: observer that waits", make_observed, recv_in_vain, prove_both),
    using("multicast: publish that waits", make_full_multicast, publish_in_vain, prove_full_multicast),
)
