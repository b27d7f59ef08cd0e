"""One publisher, many subscribers, in one process: messages, one by one and in batches, also in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

import ipc
from ipc._core import encoding

PAGE = 4096


def fill(publisher: ipc.Publisher[Any]) -> int:
    """Publish until there is no room; how many went."""
    count = 0
    while publisher.try_publish(count):
        count += 1
    return count


# --- messages -----------------------------------------------------------------------------------------------------

MESSAGES: list[Any] = [
    b"",
    b"bytes",
    bytes(PAGE),
    "text",
    None,
    {"nested": [1, 2, (3,)]},
    list(range(1000)),
]


@pytest.mark.parametrize("copies", ["lossless", "lossy", "evicting", "observed"])
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: repr(message)[:20])
def test_a_message_arrives_as_it_was(copies: str, message: Any) -> None:
    with ipc.Multicast[Any](
        policy="lossy" if copies == "lossy" else "lossless",
        on_laggard="evict" if copies == "evicting" else "wait",
        capacity="64KiB",
    ) as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe(observe=copies == "observed")
        for _ in range(100):  # over the end of the ring
            publisher.publish(message)
            assert subscriber.recv(timeout=5) == message


@pytest.mark.parametrize("policy", ["lossless", "lossy"])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_an_array_arrives_with_its_shape_its_dtype_and_its_order(policy: Any, order: str) -> None:
    array = np.arange(6000, dtype="float32").reshape(60, 100)
    array = np.asfortranarray(array) if order == "F" else array[::2, ::5] if order == "strided" else array
    with ipc.Multicast[Any](policy=policy, capacity="256KiB") as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        for _ in range(20):
            publisher.publish(array)
            found = cast("Any", subscriber.recv(timeout=5))
            assert found.dtype == array.dtype
            assert np.array_equal(found, array)
            assert found.flags.owndata or found.base is not None


@pytest.mark.parametrize("policy", ["lossless", "lossy"])
def test_a_pickle_with_buffers_arrives_whole(policy: Any) -> None:
    with ipc.Multicast[Any](policy=policy, capacity="1MiB") as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        sent = {"frame": np.arange(30000), "also": np.ones(5), "name": "x"}
        for _ in range(10):
            publisher.publish(sent)
            found = cast("Any", subscriber.recv(timeout=5))
            assert np.array_equal(found["frame"], cast("Any", sent["frame"]))
            assert np.array_equal(found["also"], cast("Any", sent["also"]))


def test_every_subscriber_gets_every_message_once_and_in_order(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscribers = lossless.publisher(), [lossless.subscribe() for _ in range(5)]
    for number in range(1000):
        assert publisher.publish(number) == number
        assert [subscriber.recv(timeout=5) for subscriber in subscribers] == [number] * 5
    assert {subscriber.try_recv("none") for subscriber in subscribers} == {"none"}


def test_an_envelope_has_the_number_the_gap_and_the_topic(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    publisher.publish("a")
    publisher.publish("b", topic="läufe")
    publisher.publish("c", topic="")
    assert subscriber.recv_envelope() == ("a", 0, 0, None)
    assert subscriber.recv_envelope() == ("b", 1, 0, "läufe")
    assert subscriber.recv_envelope(timeout=5) == ("c", 2, 0, "")


def test_a_message_that_can_never_fit_is_refused_and_the_error_names_what_would_do(
    lossless: ipc.Multicast[Any],
) -> None:
    publisher = lossless.publisher()
    with pytest.raises(ipc.MessageTooLargeError, match="capacity=8192") as caught:
        publisher.publish(bytes(PAGE + 1))
    assert "capacity=4096" in str(caught.value)
    with ipc.Multicast[Any](capacity=8192) as larger:
        subscriber = larger.subscribe()
        larger.publisher().publish(bytes(PAGE + 1))
        assert len(subscriber.recv()) == PAGE + 1
    with pytest.raises(ipc.MessageTooLargeError):
        publisher.claim(nbytes=PAGE + 1).__enter__()


@pytest.mark.parametrize("take", [lambda s: s.recv(), next, lambda s: s.recv_envelope().message])
def test_an_array_of_a_kind_that_never_came_before_arrives(
    lossless: ipc.Multicast[Any], take: Callable[[ipc.Subscriber[Any]], Any]
) -> None:
    encoding._parse_head.cache_clear()
    sent = np.arange(21, dtype="<i2").reshape(3, 7)
    with lossless.publisher() as publisher, lossless.subscribe() as subscriber:
        publisher.publish(sent)
        got = take(subscriber)
        assert (got == sent).all()
        assert got.dtype == sent.dtype
        assert got.flags.writeable


# --- batches ------------------------------------------------------------------------------------------------------


def test_batches_go_and_come(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    assert publisher.publish_many([b"1", (2,), np.arange(3)]) == 3
    assert publisher.publish_many(str(number) for number in range(3)) == 3
    assert publisher.publish_many([]) == 0
    first, second, third, *rest = subscriber.recv_many()
    assert (first, second, third.tolist(), rest) == (b"1", (2,), [0, 1, 2], ["0", "1", "2"])
    publisher.publish_many([b"x"] * 10)
    assert subscriber.recv_many(4) == [b"x"] * 4
    assert len(subscriber.recv_many(100, timeout=0)) == 6
    with pytest.raises(ipc.TimeoutError):
        subscriber.recv_many(timeout=0)


def test_a_batch_that_fails_says_how_many_went(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()

    def failing() -> Iterator[Any]:
        yield 1
        yield 2
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        publisher.publish_many(failing())
    assert caught.value.published == 2  # type: ignore[attr-defined]
    with pytest.raises(ipc.TimeoutError) as late:
        publisher.publish_many([b"x" * 100] * 1000, timeout=0.05)
    went = late.value.published  # type: ignore[attr-defined]
    assert 0 < went < 1000
    assert len(subscriber.recv_many()) == 2 + went


def test_a_batch_ends_before_a_message_that_is_refused(lossless: ipc.Multicast[Any]) -> None:
    with ipc.Multicast[Any](accept=["bytes"]) as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        publisher.publish_many([b"1", b"2", {"no": 1}, b"3"])
        assert subscriber.recv_many() == [b"1", b"2"]
        with pytest.raises(ipc.RefusedEncodingError, match="passed over"):
            subscriber.recv_many()
        assert subscriber.recv_many() == [b"3"]
        publisher.publish([1])
        with pytest.raises(ipc.RefusedEncodingError, match="'pickle'"):
            subscriber.recv()
        publisher.publish(b"4")
        assert subscriber.recv() == b"4"


class Bomb:
    """Raises when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def test_a_message_that_cannot_be_decoded_is_passed_over_and_harms_no_other(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    publisher.publish_many([1, Bomb(), 3])
    assert subscriber.recv_many() == [1]
    with pytest.raises(ValueError, match="no number"):
        subscriber.recv()
    assert subscriber.recv() == 3


def test_what_a_batch_has_copied_is_not_overwritten_before_it_was_decoded(lossless: ipc.Multicast[Any]) -> None:
    """Messages of other topics stood behind the batch: the cursor moved over them, and over what came before."""
    publisher, subscriber = lossless.publisher(), lossless.subscribe(topics="a")
    overwritten = 0

    def overwrite() -> None:
        nonlocal overwritten
        while publisher.try_publish(b"x" * 500):
            overwritten += 1
        raise ValueError("no number")

    _while_unpickling.append(overwrite)
    try:
        publisher.publish_many([1, Provoking(), 3], topic="a")
        publisher.publish("noise", topic="b")
        assert subscriber.recv_many(timeout=5) == [1]
        assert overwritten > 0
        with pytest.raises(ValueError, match="no number"):
            subscriber.recv(timeout=5)
        assert subscriber.recv(timeout=5) == 3
    finally:
        _while_unpickling.clear()


_while_unpickling: list[Callable[[], object]] = []


def _call_it() -> object:
    return _while_unpickling[0]()


class Provoking:
    """Makes the test do something while it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _call_it, ()


def test_a_batch_is_not_given_back_over_what_was_received_meanwhile(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    _while_unpickling.append(subscriber.recv)  # as another thread might
    try:
        publisher.publish_many([1, Provoking(), 3])
        publisher.publish(4)
        assert subscriber.recv_many(1) == [1]
        with pytest.raises(ipc.BusyError):
            subscriber.recv_many(2)
        publisher.publish(5)
        assert subscriber.recv_many() == [5]
    finally:
        _while_unpickling.clear()


def test_messages_of_other_topics_before_a_batch_are_passed_over_once(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe(topics="a")
    for _ in range(100):  # each would be in the way for ever
        publisher.publish(b"x" * 1000, topic="b", timeout=0)
        with pytest.raises(ipc.TimeoutError):
            subscriber.recv_many(timeout=0)


def test_a_batch_that_fails_at_once_does_not_forget_what_was_lost_before_it() -> None:
    with ipc.Multicast[Any](policy="lossy", capacity=PAGE) as lossy:
        publisher, subscriber = lossy.publisher(), lossy.subscribe(topics="a")
        publisher.publish_many([b"x" * 100] * 1000, topic="b")
        assert subscriber.try_recv("none") == "none"  # it knows of the gap now
        lost = subscriber.lost
        assert lost > 0

        def interrupt() -> None:
            raise KeyboardInterrupt

        _while_unpickling.append(interrupt)
        publisher.publish_many([Provoking()], topic="a")
        with pytest.raises(KeyboardInterrupt):
            subscriber.recv_many(timeout=5)
        _while_unpickling[0] = list
        assert subscriber.recv_envelope(timeout=5) == ([], 1000, lost, "a")
        _while_unpickling.clear()


# --- zero copy ----------------------------------------------------------------------------------------------------


def test_what_is_claimed_is_published_and_can_be_viewed_in_place(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber, other = lossless.publisher(), lossless.subscribe(), lossless.subscribe()
    for number in range(50):
        with publisher.claim((10, 10), "int32", topic="t") as array:
            array[...] = number
        with publisher.claim(nbytes=5) as memory:
            memory[:] = b"bytes"
        with subscriber.view() as seen:
            assert seen.dtype == np.int32
            assert int(seen.sum()) == 100 * number
            assert not seen.flags.writeable
        with subscriber.view(timeout=5) as memory:
            assert bytes(memory) == b"bytes"
        envelope = other.recv_envelope()
        assert (int(envelope.message[0, 0]), envelope.topic) == (number, "t")
        assert other.recv() == b"bytes"


def test_a_claim_keeps_its_topic_however_many_others_are_named_meanwhile(lossless: ipc.Multicast[Any]) -> None:
    with lossless.publisher() as publisher, lossless.subscribe() as subscriber:
        with publisher.claim(nbytes=4, topic="wanted 0000") as memory:
            memory[:] = b"text"
            for i in range(1500):
                with pytest.raises(ipc.BusyError):
                    publisher.try_publish(b"", topic=f"other {i:05}")
        assert subscriber.recv_envelope().topic == "wanted 0000"


def test_a_claim_whose_body_fails_is_not_published(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    with pytest.raises(KeyError), publisher.claim(nbytes=5):
        raise KeyError
    held = []
    with pytest.raises(ipc.BusyError, match="still alive"), publisher.claim((3,), "u1") as array:
        held.append(array[1:])
    with publisher.claim(nbytes=3), pytest.raises(ipc.BusyError):
        publisher.publish(1)
    assert len(subscriber.recv()) == 3
    assert subscriber.try_recv() is None


def test_while_a_message_is_viewed_the_publisher_waits(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    count = fill(publisher)
    with subscriber.view() as message:
        assert message == 0
        assert not publisher.try_publish("more")
        with pytest.raises(ipc.BusyError):
            subscriber.recv()
        with pytest.raises(ipc.BusyError):
            subscriber.close()
    assert publisher.try_publish("more")
    assert len(subscriber.recv_many()) == count


@pytest.mark.parametrize("options", [{"policy": "lossy"}, {"on_laggard": "evict"}, {}], ids=str)
def test_what_may_be_overwritten_is_not_lent(options: Any) -> None:
    with ipc.Multicast[Any](**options) as multicast, pytest.raises(TypeError, match="recv\\(\\) copies"):
        multicast.subscribe(observe=not options).view()


def test_a_claim_that_is_refused_leaves_the_one_that_is_lent_its_topic() -> None:
    """Found by fuzzing: the other's topic was published, and what was claimed stood elsewhere."""
    with ipc.Multicast[bytes]() as multicast, multicast.publisher() as publisher, multicast.subscribe() as subscriber:
        with publisher.claim(nbytes=5, topic="first") as memory:
            memory[:] = b"12345"
            with pytest.raises(ipc.BusyError):
                publisher.claim(nbytes=5, topic="a name that needs more room than the other's").__enter__()
        assert subscriber.recv_envelope() == (b"12345", 0, 0, "first")
