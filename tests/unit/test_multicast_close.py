"""Closing a multicast, whose publisher and subscribers are all in this process."""

from __future__ import annotations

import threading
import time

import ipc

SUBSCRIBERS = 8


def test_whoever_waits_when_a_multicast_is_closed_is_told_that_and_not_that_its_publisher_closed() -> None:
    multicast = ipc.Multicast[bytes]()
    publisher = multicast.publisher()
    told: list[BaseException] = []

    def wait(subscriber: ipc.Subscriber[bytes]) -> None:
        try:
            subscriber.recv()
        except ipc.IpcError as error:
            told.append(error)

    waiting = [threading.Thread(target=wait, args=(multicast.subscribe(),)) for _ in range(SUBSCRIBERS)]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)  # so that they sleep; whoever doesn't yet is told the same
    multicast.close()
    for thread in waiting:
        thread.join()
    assert [type(error) for error in told] == [ipc.ClosedError] * SUBSCRIBERS
    assert publisher.closed
