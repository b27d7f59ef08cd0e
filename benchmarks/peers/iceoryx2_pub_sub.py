"""iceoryx2: publish-subscribe through shared memory, by its Python package.

Lossy is a service with safe overflow, where the newest message takes the place of the oldest.  Lossless is one without,
whose publisher has the strategy RetryUntilDelivered.  In the Python package (0.9.3 and 0.10.0) that does not wait: a
send returns with fewer subscribers than there are, and those who had no room have lost the message.  So here readers
tell by a second service, each half a buffer, how far they are, and the publisher waits while the slowest has no room.

The payload is of fixed size, which is its fastest: `send_copy` borrows memory, copies the payload into it and sends.
A sample of 64 KiB or more is read where it lies.

A subscriber that is asked for the next message and has none gives the processor away and asks again: iceoryx2 leaves
waiting to the user, and its examples poll.  Parked, it is told by an event, as its documentation recommends for those
who sleep: a notification with every message, and a listener that waits for them.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import Link, ReceiveEnd, SendEnd, Wait

NAME = "iceoryx2"
DISTRIBUTION: str | None = "iceoryx2"
WAITS: tuple[Wait, ...] = ("default", "parked")
SHARED = True
MULTICAST = True
LENDS = True

LENT_FROM = 64 << 10
MOST_BUFFERED = 1024  # messages of a subscriber


def available() -> str | None:
    try:
        importlib.import_module("iceoryx2")
    except ImportError as error:
        return f"{error}; pip install iceoryx2"
    return None


def make(link: Link) -> tuple[object, object]:
    return None, None


@functools.cache
def _payload(size: int) -> type[ctypes.Structure]:
    return type("Payload", (ctypes.Structure,), {"_fields_": [("data", ctypes.c_uint8 * size)]})


@functools.cache
def _node(link: Link) -> Any:
    """One node of a process, whose files are nobody else's."""
    iox2: Any = importlib.import_module("iceoryx2")
    iox2.set_log_level(iox2.LogLevel.Error)
    config = iox2.config.default()
    config.global_cfg.root_path = iox2.Path.new(link.directory)
    config.global_cfg.prefix = iox2.FileName.new(_prefix(link.directory))
    quiet = iox2.SignalHandlingMode.Disabled  # a benchmark's processes handle signals themselves
    return iox2.NodeBuilder.new().config(config).signal_handling_mode(quiet).create(iox2.ServiceType.Ipc)


def _prefix(directory: str) -> str:
    return f"{Path(directory).name}_"


def tidy(directory: str) -> None:
    for left in Path("/dev/shm").glob(f"{_prefix(directory)}*"):  # a file for all nodes, and all of those killed
        left.unlink(missing_ok=True)


@functools.cache
def _service(link: Link) -> Any:
    iox2: Any = importlib.import_module("iceoryx2")
    return (
        _node(link)
        .service_builder(iox2.ServiceName.new(link.name))
        .publish_subscribe(_payload(link.message_bytes))
        .enable_safe_overflow(_lossy(link))
        .subscriber_max_buffer_size(_buffered(link))
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(max(1, link.receivers))
        .max_nodes(link.receivers + 2)
        .open_or_create()
    )


def _lossy(link: Link) -> bool:
    return "lossy" in link.way.split()


def _may_fill_up(link: Link) -> bool:
    """publishing.py reads before anything is full."""
    return not _lossy(link) and link.way.split()[-1] not in {"attached", "parked"}


def _buffered(link: Link) -> int:
    return max(2, min(MOST_BUFFERED, link.capacity_bytes // link.message_bytes))


@functools.cache
def _events(link: Link) -> Any:
    iox2: Any = importlib.import_module("iceoryx2")
    builder = _node(link).service_builder(iox2.ServiceName.new(link.name)).event()
    limited = builder.max_notifiers(1).max_listeners(max(1, link.receivers)).max_nodes(link.receivers + 2)
    return limited.open_or_create()


class _Progress(ctypes.Structure):
    _fields_ = (("reader", ctypes.c_uint64), ("taken", ctypes.c_uint64))


def _progress(link: Link) -> Any:
    """Where readers say how far they are: of each, the newest word."""
    iox2: Any = importlib.import_module("iceoryx2")
    builder = _node(link).service_builder(iox2.ServiceName.new(f"{link.name} progress"))
    limited = builder.publish_subscribe(_Progress).max_publishers(link.receivers).max_subscribers(1)
    return limited.max_nodes(link.receivers + 2).subscriber_max_buffer_size(1).history_size(0).open_or_create()


def _teller(link: Link) -> Callable[[int], object]:
    publisher, reader = _progress(link).publisher_builder().create(), secrets.randbits(64)

    def tell(taken: int) -> None:
        publisher.send_copy(_Progress(reader, taken))

    return tell


class _Readers:
    """What all of them have said."""

    def __init__(self, link: Link) -> None:
        self._readers = link.receivers
        self._receive = _progress(link).subscriber_builder().create().receive
        self._taken: dict[int, int] = {}

    def wait(self, least: int) -> int:
        """Until the slowest has taken more than `least`; returns how many it has."""
        while True:
            while (sample := self._receive()) is not None:
                said = sample.payload().contents
                self._taken[said.reader] = said.taken
            slowest = min(self._taken.values()) if len(self._taken) == self._readers else 0
            if slowest > least:
                return slowest
            os.sched_yield()


class _Loan:
    """Memory that is sent at the end of its `with`."""

    __slots__ = ("_array", "_notify", "_sample")

    def __init__(
        self, sample: Any, notify: Callable[[], object] | None, size: int, shape: tuple[int, ...], dtype: str
    ) -> None:
        self._sample, self._notify = sample, notify
        memory: Any = (ctypes.c_uint8 * size).from_address(sample.payload_ptr)
        self._array = np.frombuffer(memory, dtype).reshape(shape)

    def __enter__(self) -> Any:
        return self._array

    def __exit__(self, *exc_info: object) -> None:
        self._sample.assume_init().send()
        if self._notify is not None:
            self._notify()


def sender(handle: object, link: Link) -> SendEnd:
    iox2: Any = importlib.import_module("iceoryx2")
    retry = iox2.BackpressureStrategy.RetryUntilDelivered
    builder = _service(link).publisher_builder().max_loaned_samples(1)
    publisher = builder.backpressure_strategy(retry).create()
    notifier: Any = _events(link).notifier_builder().create() if link.wait == "parked" else None

    send, room = publisher.send_copy, _buffered(link)
    wait_for_room = _Readers(link).wait if _may_fill_up(link) else None
    notify = None if notifier is None else notifier.notify
    sent = full_at = 0

    def send_to_all(message: Any) -> None:
        nonlocal sent, full_at
        if sent >= full_at and wait_for_room is not None:
            full_at = room + wait_for_room(sent - room)
        send(message)
        sent += 1

    def claim(shape: tuple[int, ...], dtype: str) -> _Loan:
        nonlocal sent, full_at
        if sent >= full_at and wait_for_room is not None:
            full_at = room + wait_for_room(sent - room)
        sent += 1
        return _Loan(publisher.loan_uninit(), notify, link.message_bytes, shape, dtype)

    def send_and_notify(message: Any) -> None:
        send_to_all(message)
        notifier.notify()

    def close() -> None:
        publisher.delete()
        if notifier is not None:
            notifier.delete()
        _forget(link)

    return SendEnd(
        send=send_and_notify if notifier is not None else send if wait_for_room is None else send_to_all,
        prepare=_payload(link.message_bytes).from_buffer_copy,
        claim=claim,
        close=close,
    )


def receiver(handle: object, link: Link) -> ReceiveEnd:
    subscriber = _service(link).subscriber_builder().buffer_size(_buffered(link)).create()
    listener = _events(link).listener_builder().create() if link.wait == "parked" else None
    wait: Callable[[], object] = os.sched_yield if listener is None else listener.blocking_wait
    receive, size, string_at = subscriber.receive, link.message_bytes, ctypes.string_at
    array_at = (ctypes.c_uint8 * size).from_address
    tell = _teller(link) if _may_fill_up(link) else None
    taken, half = 0, _buffered(link) // 2

    def took_one() -> None:
        nonlocal taken
        taken += 1
        if taken % half == 0 and tell is not None:
            tell(taken)

    def recv() -> bytes:
        while (sample := receive()) is None:
            wait()
        message = string_at(sample.payload_ptr, size)
        if tell is not None:
            sample.delete()
            took_one()
        return message

    class View:
        """A sample that is read where it lies."""

        __slots__ = ("_sample",)

        def __enter__(self) -> memoryview:
            while (sample := receive()) is None:
                wait()
            self._sample = sample
            return memoryview(array_at(sample.payload_ptr)).cast("B")

        def __exit__(self, *exc_info: object) -> None:
            self._sample.delete()
            if tell is not None:
                took_one()

    def close() -> None:
        subscriber.delete()
        if listener is not None:
            listener.delete()
        _forget(link)

    return ReceiveEnd(recv=recv, view=View if size >= LENT_FROM else None, close=close)


def _forget(link: Link) -> None:
    """Let go of what a process has one of."""
    with suppress(KeyError):
        for one in (_events, _service, _node):
            one.cache_clear()
