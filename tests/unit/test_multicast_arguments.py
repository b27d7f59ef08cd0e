"""What a Multicast and its subscribers are asked for: what can't be is refused, with the value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

import ipc


def test_a_start_that_is_not_there_is_an_error_that_says_what_is(lossless: ipc.Multicast[Any]) -> None:
    publisher = lossless.publisher()
    publisher.publish_many([b"x" * 1000] * 20)
    with pytest.raises(ValueError, match="keeps messages 16 to 19, and 20 comes next"):
        lossless.subscribe(3)
    with pytest.raises(ValueError, match="start=21"):
        lossless.subscribe(21)
    for nowhere in (-1, 2**62 + 1, 2**64):
        with pytest.raises(ValueError, match=f"start={nowhere} must be from 0 to"):
            lossless.subscribe(nowhere)
    with pytest.raises(ValueError, match="'latest', 'oldest' or a sequence"):
        lossless.subscribe("newest")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        lossless.subscribe(1.5)  # type: ignore[arg-type]


def test_a_start_where_nothing_is_kept_says_so(lossless: ipc.Multicast[Any]) -> None:
    with pytest.raises(ValueError, match="keeps no messages, and 0 comes next"):
        lossless.subscribe(5)


@pytest.mark.parametrize("max_lag", [2**62, 2**63, 2**70])
def test_a_max_lag_beyond_all_messages_is_no_bound(max_lag: int) -> None:
    with ipc.Multicast[Any](max_lag=max_lag) as multicast, multicast.subscribe() as subscriber:
        multicast.publisher().publish(b"one")
        assert subscriber.recv() == b"one"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "lost"}, "'lossless', 'lossy'"),
        ({"on_laggard": "kill"}, "'wait', 'evict'"),
        ({"max_lag": 0}, "max_lag=0 must be 1 or more"),
        ({"policy": "lossy", "on_laggard": "evict"}, "lossless"),
        ({"policy": "lossy", "max_lag": 5}, "lossless"),
        ({"capacity": 0}, "capacity=0"),
        ({"accept": ["text"]}, "accept="),
    ],
)
def test_bad_options_are_refused_with_what_is_allowed(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ipc.Multicast(**options)


def test_bad_arguments_of_a_subscription_are_refused(lossless: ipc.Multicast[Any]) -> None:
    with pytest.raises(ValueError, match="on_lap="):
        lossless.subscribe(on_lap="newest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="interval="):
        lossless.subscribe(observe=True, interval=-1)
    subscriber = lossless.subscribe()
    for timeout, error in ((-1, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error, match="timeout"):
            subscriber.recv(timeout=timeout)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max=0"):
        subscriber.recv_many(0)
