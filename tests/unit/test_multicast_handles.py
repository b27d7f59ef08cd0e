"""Who takes part in a multicast: joining, lagging, overtaken, by topic, closing; names and numbers."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from typing import Any

import pytest

import ipc

PAGE = 4096


def fill(publisher: ipc.Publisher[Any]) -> int:
    """Publish until there is no room; how many went."""
    count = 0
    while publisher.try_publish(count):
        count += 1
    return count


# --- joining ------------------------------------------------------------------------------------------------------


def test_where_a_subscriber_begins(lossless: ipc.Multicast[Any]) -> None:
    publisher = lossless.publisher()
    publisher.publish_many(range(5))
    assert lossless.subscribe().try_recv("none") == "none"
    assert lossless.subscribe("oldest").recv_many() == [0, 1, 2, 3, 4]
    assert lossless.subscribe(3).recv_many() == [3, 4]
    after = lossless.subscribe(5)
    publisher.publish(5)
    assert after.recv() == 5


def test_a_lossy_subscriber_may_begin_with_what_is_gone_and_is_told_so(lossy: ipc.Multicast[Any]) -> None:
    publisher = lossy.publisher()
    publisher.publish_many([b"x" * 1000] * 20)
    subscriber = lossy.subscribe(3)
    assert subscriber.recv_envelope()[1:3] == (16, 13)


def test_only_so_many_subscribers_are_alive_and_their_numbers_are_used_again(lossless: ipc.Multicast[Any]) -> None:
    subscribers = [lossless.subscribe() for _ in range(1024)]
    with pytest.raises(ipc.TooManyParticipantsError, match="1024"):
        lossless.subscribe()
    assert lossless.subscribe(observe=True).try_recv("none") == "none"
    lossless.publisher().publish("all")
    assert {subscriber.recv() for subscriber in subscribers} == {"all"}
    subscribers[500].close()
    lossless.subscribe().close()


# --- laggards -----------------------------------------------------------------------------------------------------


def test_the_publisher_waits_for_the_slowest_and_names_it(lossless: ipc.Multicast[Any]) -> None:
    publisher, quick, slow = lossless.publisher(), lossless.subscribe(), lossless.subscribe()
    count = fill(publisher)
    assert quick.recv_many(count) == list(range(count))
    with pytest.raises(ipc.TimeoutError, match=rf"subscriber 1 of process \d+ is {count} messages behind.* s$"):
        publisher.publish("more", timeout=0.05)
    with pytest.raises(ipc.TimeoutError, match="within 0 s"):
        publisher.publish("more", timeout=0)
    assert slow.recv() == 0
    publisher.publish("more", timeout=5)
    assert quick.recv() == "more"
    assert slow.recv_many() == [*range(1, count), "more"]


def test_who_leaves_is_not_waited_for(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    fill(publisher)
    timer = threading.Timer(0.05, subscriber.close)
    timer.start()
    publisher.publish("more", timeout=30)
    timer.join()


def test_max_lag_bounds_how_far_the_publisher_is_ahead() -> None:
    with ipc.Multicast[Any](max_lag=3) as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        assert fill(publisher) == 3
        assert subscriber.recv() == 0
        assert publisher.try_publish("more")
        assert not publisher.try_publish("too much")


def test_a_laggard_may_be_evicted_and_subscribe_again() -> None:
    with ipc.Multicast[Any](on_laggard="evict", max_lag=10) as multicast:
        publisher, laggard, other = multicast.publisher(), multicast.subscribe(), multicast.subscribe()
        for number in range(50):
            publisher.publish(number)
            assert other.recv() == number
        for attempt in (laggard.recv, laggard.try_recv, laggard.recv_many):
            with pytest.raises(ipc.LaggedOutError, match="subscribe again"):
                attempt()
        assert multicast.stats().evicted == 1
        laggard.close()
        again = multicast.subscribe("oldest")
        assert again.recv_many()[-1] == 49


# --- laps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_lap", ["oldest", "latest"])
def test_what_a_lossy_subscriber_loses_is_counted_exactly(lossy: ipc.Multicast[Any], on_lap: Any) -> None:
    publisher, subscriber = lossy.publisher(), lossy.subscribe(on_lap=on_lap)
    expected = 0
    for published in (10, 500, 1, 2000):
        for _ in range(published):
            last = publisher.publish(b"x" * 100)
        envelope = subscriber.recv_envelope()
        assert envelope.lost == envelope.sequence - expected
        if envelope.lost:
            assert (envelope.sequence == last) == (on_lap == "latest")
        expected = envelope.sequence + 1
        while (rest := subscriber.try_recv()) is not None:
            assert rest == b"x" * 100
            expected += 1
    assert subscriber.lost == publisher.stats().sent - publisher.stats().subscribers[0].received


def test_an_observer_loses_what_lossless_subscribers_get(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber, observer = lossless.publisher(), lossless.subscribe(), lossless.subscribe(observe=True)
    for number in range(100):
        publisher.publish(number)
        assert subscriber.recv() == number
    envelope = observer.recv_envelope()
    assert envelope.message == envelope.sequence == envelope.lost > 0
    assert [one.state for one in lossless.stats().subscribers] == ["active"]


# --- topics -------------------------------------------------------------------------------------------------------


def test_topics_are_chosen_by_their_names(lossless: ipc.Multicast[Any]) -> None:
    publisher = lossless.publisher()
    one, two, every = lossless.subscribe(topics="a"), lossless.subscribe(topics=["b", "ü" * 512]), lossless.subscribe()
    for topic in ("a", "b", None, "c", "ü" * 512, "a"):
        publisher.publish(topic, topic=topic)
    assert one.recv_many() == ["a", "a"]
    assert two.recv_many() == ["b", "ü" * 512]
    assert every.recv_many() == ["a", "b", None, "c", "ü" * 512, "a"]


def test_two_topics_with_the_same_hash_are_told_apart(lossless: ipc.Multicast[Any]) -> None:
    twins = "costarring", "liquid"  # a well-known collision of 32-bit FNV-1a
    publisher, first, second = lossless.publisher(), *(lossless.subscribe(topics=[twin]) for twin in twins)
    for twin in twins:
        publisher.publish(twin, topic=twin)
    assert first.recv_many() == ["costarring"]
    assert second.recv_many() == ["liquid"]


def test_topics_that_make_no_sense_are_refused(lossless: ipc.Multicast[Any]) -> None:
    publisher = lossless.publisher()
    with pytest.raises(ValueError, match="1025 bytes long; at most 1024"):
        publisher.publish(1, topic="x" * 1025)
    with pytest.raises(TypeError, match="topic must be a str"):
        publisher.publish(1, topic=b"x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="would get no message"):
        lossless.subscribe(topics=[])
    with pytest.raises(TypeError):
        lossless.subscribe(topics=[1])  # type: ignore[list-item]


# --- ends ---------------------------------------------------------------------------------------------------------


def test_when_the_publisher_closes_what_is_there_is_read_first(lossless: ipc.Multicast[Any]) -> None:
    subscriber, observer = lossless.subscribe(), lossless.subscribe(observe=True)
    with lossless.publisher() as publisher:
        publisher.publish_many([1, 2, 3])
    assert list(subscriber) == [1, 2, 3]
    assert list(observer) == [1, 2, 3]
    with pytest.raises(ipc.EndOfChannel):
        subscriber.recv()


def test_another_publisher_goes_on_with_the_numbers(lossless: ipc.Multicast[Any]) -> None:
    subscriber = lossless.subscribe()
    for number in range(5):
        with lossless.publisher() as publisher:
            with pytest.raises(ipc.BusyError, match="has a publisher, in process"):
                lossless.publisher()
            assert publisher.publish("x") == number
        assert subscriber.recv_envelope().sequence == number


@pytest.mark.parametrize("whose", ["publisher", "subscriber", "observer", "multicast"])
def test_a_close_from_another_thread_ends_a_call_that_waits(lossless: ipc.Multicast[Any], whose: str) -> None:
    publisher = lossless.publisher()
    subscriber = lossless.subscribe(observe=whose == "observer")
    if whose == "publisher":
        fill(publisher)
    handles: dict[str, Any] = {"publisher": publisher, "multicast": lossless}
    closed = handles.get(whose, subscriber)
    timer = threading.Timer(0.05, closed.close)
    timer.start()
    with pytest.raises(ipc.ClosedError, match="is closed"):
        publisher.publish(0) if whose == "publisher" else subscriber.recv()
    timer.join()


def test_a_close_while_a_long_message_finds_no_room_ends_its_publish() -> None:
    long = [10**6] * 150_000  # takes longer to pickle than who closes waits for the interpreter's lock
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        for _ in range(10):
            with ipc.Multicast[Any](capacity="1MiB") as multicast, multicast.subscribe():
                publisher = multicast.publisher()
                publisher.publish(long)
                go = threading.Lock()
                go.acquire()

                def close(publisher: ipc.Publisher[Any] = publisher, go: threading.Lock = go) -> None:
                    with go:
                        publisher.close()

                closing = threading.Thread(target=close)
                closing.start()
                go.release()
                with pytest.raises(ipc.ClosedError, match="is closed"):
                    publisher.publish(long)
                closing.join()
    finally:
        sys.setswitchinterval(interval)


def test_who_waits_when_all_is_closed_is_told_that_and_not_that_the_publisher_is_gone() -> None:
    told: list[Exception] = []

    def wait(subscriber: ipc.Subscriber[Any]) -> None:
        while True:
            try:
                subscriber.recv()
            except ipc.BusyError:  # whoever looks whether we wait was inside
                continue
            except Exception as error:
                told.append(error)
                return

    for _ in range(20):  # in which order ends were once closed was up to chance
        multicast = ipc.Multicast[Any](capacity=PAGE)
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        inside = threading.Thread(target=wait, args=(subscriber,))
        inside.start()
        while True:
            try:
                subscriber.try_recv(None)
            except ipc.BusyError:
                break
        multicast.close()
        inside.join()
        assert publisher.closed
    assert [type(error) for error in told] == [ipc.ClosedError] * 20


def test_a_second_thread_is_told_that_somebody_is_there(lossless: ipc.Multicast[Any]) -> None:
    subscriber, publisher = lossless.subscribe(), lossless.publisher()

    def wait() -> None:
        while True:
            try:
                subscriber.recv()
            except ipc.BusyError:  # whoever looks whether we wait was inside
                continue
            return

    inside = threading.Thread(target=wait)
    inside.start()
    try:
        while True:
            try:
                assert subscriber.try_recv("none") == "none"  # it has not begun yet
            except ipc.BusyError:
                break
    finally:
        publisher.publish("go on")
        inside.join()


def test_what_is_closed_says_so(lossless: ipc.Multicast[Any]) -> None:
    publisher, subscriber = lossless.publisher(), lossless.subscribe()
    assert not publisher.closed
    assert not lossless.closed
    lossless.close()
    lossless.close()
    for call in (
        lambda: publisher.publish(b"x"),
        lambda: publisher.publish("x", topic="t"),
        lambda: publisher.try_publish(1),
        lambda: publisher.claim(nbytes=1).__enter__(),
        subscriber.recv,
        subscriber.try_recv,
        lambda: subscriber.recv(timeout=0),
        subscriber.recv_many,
        lambda: subscriber.view().__enter__(),
        lambda: subscriber.lost,
        lossless.publisher,
        lossless.subscribe,
        lossless.stats,
    ):
        with pytest.raises(ipc.ClosedError, match="is closed"):
            call()
    for handle in (publisher, subscriber, lossless):
        assert handle.closed
        assert "closed" in repr(handle)


def test_ends_stay_where_they_are(lossless: ipc.Multicast[Any]) -> None:
    for end in (lossless.publisher(), lossless.subscribe()):
        with pytest.raises(ipc.HandOverError, match="hand over the Multicast"):
            pickle.dumps(end)
        with pytest.raises(TypeError, match="not made directly"):
            type(end)()
    with pytest.raises(ipc.HandOverError, match="name="):
        pickle.dumps(lossless)


def test_whoever_waits_when_a_multicast_is_closed_is_told_that_and_not_that_its_publisher_closed() -> None:
    multicast = ipc.Multicast[bytes]()
    publisher = multicast.publisher()
    told: list[BaseException] = []

    def wait(subscriber: ipc.Subscriber[bytes]) -> None:
        try:
            subscriber.recv()
        except ipc.IpcError as error:
            told.append(error)

    waiting = [threading.Thread(target=wait, args=(multicast.subscribe(),)) for _ in range(8)]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)  # so that they sleep; whoever doesn't yet is told the same
    multicast.close()
    for thread in waiting:
        thread.join()
    assert [type(error) for error in told] == [ipc.ClosedError] * 8
    assert publisher.closed


# --- names and numbers --------------------------------------------------------------------------------------------


def test_a_named_multicast_is_found_and_its_name_goes_with_the_last_process(name: str) -> None:
    with ipc.Multicast[Any](name) as made, ipc.Multicast.attach(name) as found, ipc.Multicast.open(name) as opened:
        assert made.name == found.name == opened.name == name
        subscriber = found.subscribe()
        made.publisher().publish("hello")
        assert subscriber.recv() == "hello"
        with pytest.raises(ipc.SegmentExistsError):
            ipc.Multicast(name)
        with pytest.raises(ipc.IncompatibleFormatError, match="another kind"):
            ipc.Queue.attach(name)
        with pytest.raises(ipc.IncompatibleFormatError, match="another kind"):
            ipc.Receiver.attach(name)
    with pytest.raises(ipc.SegmentNotFoundError):
        ipc.Multicast.attach(name)
    with ipc.Multicast.open(name, policy="lossy") as opened:
        assert opened.stats().policy == "lossy"
        opened.unlink()


def test_the_numbers_of_a_multicast(name: str) -> None:
    with ipc.Multicast[Any](name, capacity=PAGE) as multicast:
        publisher, quick, slow = multicast.publisher(), multicast.subscribe(), multicast.subscribe(topics=["none"])
        for number in range(10):
            publisher.publish(b"12345", topic="t")
            assert quick.recv() == b"12345", number
        stats = ipc.stats(name)
        assert isinstance(stats, ipc.MulticastStats)
        assert stats == multicast.stats() == publisher.stats()
        assert (stats.kind, stats.sent, stats.received, stats.depth, stats.bytes) == ("multicast", 10, 0, 10, 50)
        assert [(one.behind, one.received, one.alive) for one in stats.subscribers] == [(0, 10, True), (10, 0, True)]
        assert [one.role for one in stats.participants] == ["publisher", "subscriber", "subscriber"]
        (entry,) = [entry for entry in ipc.ls() if entry.name == name]
        assert entry.stats == stats
        slow.close()
        assert multicast.stats().depth == 0


def test_a_subscriber_that_was_lapped_has_been_as_far_behind_as_it_lost() -> None:
    with ipc.Multicast[Any](policy="lossy", capacity=PAGE) as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        publisher.publish_many([bytes(100)] * 10)
        subscriber.recv()
        assert multicast.stats().high_water == 10
        publisher.publish_many([bytes(100)] * 1000)
        subscriber.recv()
        assert multicast.stats().high_water == 1009
        assert subscriber.lost > 900


@pytest.mark.parametrize("policy", ["lossless", "lossy"])
def test_the_numbers_tell_how_far_behind_a_subscriber_has_been(policy: Any) -> None:
    with ipc.Multicast[Any](policy=policy) as multicast:
        publisher, subscriber, observer = (
            multicast.publisher(),
            multicast.subscribe(),
            multicast.subscribe(observe=True),
        )
        assert multicast.stats().high_water == 0
        for messages in (2, 5, 3):
            publisher.publish_many(range(messages))
            assert subscriber.recv_many() == list(range(messages))
        assert multicast.stats().high_water == 5
        assert len(observer.recv_many()) == 10  # which nobody sees
        subscriber.close()
        assert multicast.stats().high_water == 5
        with multicast.subscribe("oldest") as again:
            again.recv()
            assert multicast.stats().high_water == 10
        with multicast.subscribe() as last:
            publisher.publish("one")
            last.recv()
            assert multicast.stats().high_water == 10


def test_who_waits_longer_than_its_timeout_is_told_so(lossless: ipc.Multicast[Any]) -> None:
    with lossless.publisher():
        for subscriber in (lossless.subscribe(), lossless.subscribe(observe=True)):
            with pytest.raises(ipc.TimeoutError, match=r"no message within 0\.05"):
                subscriber.recv(timeout=0.05)
            with pytest.raises(ipc.TimeoutError):
                subscriber.recv(timeout=0)


@pytest.mark.parametrize("who", ["publisher", "subscriber"])
def test_what_remembers_a_call_does_not_keep_the_name(name: str, who: str) -> None:
    with ipc.Multicast[Any](name, capacity=PAGE) as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        with pytest.raises(ipc.TimeoutError) as kept:
            _ = (
                subscriber.recv(timeout=0)
                if who == "subscriber"
                else publisher.publish_many([bytes(999)] * 9, timeout=0)
            )
    assert not any(entry.name == name for entry in ipc.ls())
    with ipc.Multicast[Any](name):
        pass
    del kept


def test_a_claim_or_a_view_that_has_ended_does_not_keep_the_name(name: str) -> None:
    with ipc.Multicast[Any](name, capacity=PAGE) as multicast:
        publisher, subscriber = multicast.publisher(), multicast.subscribe()
        claim, view = publisher.claim(nbytes=8), subscriber.view()
        with claim as memory:
            memory[:] = b"12345678"
        with view as seen:
            assert bytes(seen) == b"12345678"
    assert not any(entry.name == name for entry in ipc.ls())


def test_what_an_attached_handle_accepts_is_its_own(name: str) -> None:
    with ipc.Multicast[Any](name) as made, ipc.Multicast.attach(name, accept=["bytes"]) as attached:
        publisher, anything, raw = made.publisher(), made.subscribe(), attached.subscribe()
        publisher.publish_many([{"a": 1}, b"raw"])
        assert [anything.recv(), anything.recv()] == [{"a": 1}, b"raw"]
        with pytest.raises(ipc.RefusedEncodingError):
            raw.recv()
        assert raw.recv() == b"raw"
