"""Many messages in one call, both ways: all of them, in order, and when something fails it is said which have gone."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipc

PAGE = 4096
FITS = PAGE // 24  # messages of up to 8 bytes that a ring of a page holds

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture
def small() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity=PAGE, spin=0)
    with tx, rx:
        yield tx, rx


def rest(rx: ipc.Receiver[Any]) -> list[Any]:
    """What is left in the channel."""
    messages = []
    while (message := rx.try_recv(rx)) is not rx:
        messages.append(message)
    return messages


def sent_by(caught: Any) -> int:
    return int(caught.value.sent)


# --- send_many ----------------------------------------------------------------------------------------------------

RAW = [b"raw %d" % index for index in range(3000)]
MIXED = [b"raw", "text", 3, bytearray(b"array"), None, b"", [1, 2], memoryview(b"view")] * 100

ITERABLES: dict[str, Callable[[Iterable[Any]], Iterable[Any]]] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "generator": lambda messages: (message for message in messages),
    "iterator": iter,
    "list of its own class": type("Listing", (list,), {}),
}


def plain(message: Any) -> Any:
    return bytes(message) if isinstance(message, (bytearray, memoryview)) else message


@pytest.mark.parametrize("kind", ITERABLES.values(), ids=ITERABLES)
@pytest.mark.parametrize(
    "messages", [[], RAW[:1], RAW, MIXED, [b"raw", *MIXED], ["text"]], ids=["0", "1", "raw", "mixed", "both", "text"]
)
def test_all_of_any_iterable_is_sent_in_order(
    ends: Ends, messages: list[Any], kind: Callable[[Iterable[Any]], Iterable[Any]]
) -> None:
    tx, rx = ends
    assert tx.send_many(kind(messages)) == len(messages)
    assert rest(rx) == [plain(message) for message in messages]
    assert tx.stats().sent == len(messages)


def test_a_batch_may_be_longer_than_the_ring_if_somebody_takes_it(small: Ends) -> None:
    tx, rx = small
    messages = [*RAW, *MIXED, *RAW[::-1]]
    for kind in ITERABLES.values():
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(tx.send_many, kind(messages), timeout=60)
            assert [rx.recv(60) for _ in messages] == [plain(message) for message in messages]
            assert sending.result() == len(messages)


def test_arrays_and_pickles_with_buffers_go_in_batches_too(ends: Ends) -> None:
    tx, rx = ends
    messages = [
        np.arange(5),
        {"a": np.arange(7)},
        np.ones((3, 4), order="F"),
        np.arange(20)[::2],
        [np.arange(3)] * 40,  # more buffers than fit in a batch
        b"raw",
        np.array(1),
        np.zeros(40_000),  # alone in its batch
        np.empty((0, 2)),
    ]
    for kind in (list, iter):
        assert tx.send_many(kind(messages * 3)) == 27
        got: list[Any] = []
        while len(got) < 27:
            got += rx.recv_many()
        assert [repr(message) for message in got] == [repr(message) for message in messages * 3]


def test_a_batch_has_one_type_and_each_message_its_number(ends: Ends) -> None:
    tx, rx = ends
    tx.send_many([b"a", "b"], type=9)
    tx.send_many(iter([b"c"]), type=10)
    tx.send_many([b"d"])
    assert [tuple(rx.recv_envelope()) for _ in range(4)] == [(b"a", 9, 0), ("b", 9, 1), (b"c", 10, 2), (b"d", 0, 3)]


def test_a_slow_iterable_does_not_keep_its_messages_back(ends: Ends) -> None:
    tx, rx = ends
    taken: list[Any] = []

    def endless() -> Iterator[Any]:
        for index in itertools.count():
            yield index
            while len(taken) < index - 1:  # goes on when all but the last two have arrived, far less than 64 KiB
                taken.append(rx.recv(60))
            if index == 200:
                raise KeyError

    # each is sent at the latest when the one after it comes a millisecond later
    def slowly() -> Iterator[Any]:
        for index in endless():
            yield index
            threading.Event().wait(0.0015)

    with pytest.raises(KeyError) as caught:
        tx.send_many(slowly())
    assert sent_by(caught) == 201
    assert taken + rest(rx) == list(range(201))


def test_what_a_generator_gave_before_it_raised_was_sent(ends: Ends) -> None:
    tx, rx = ends

    def failing(messages: Iterable[Any]) -> Iterator[Any]:
        yield from messages
        raise KeyError("no more")

    for messages in ([], RAW[:10], MIXED, RAW * 3):
        with pytest.raises(KeyError, match="no more") as caught:
            tx.send_many(failing(messages))
        assert sent_by(caught) == len(messages)
        assert rest(rx) == [plain(message) for message in messages]


@pytest.mark.parametrize("kind", ITERABLES.values(), ids=ITERABLES)
@pytest.mark.parametrize("before", [[], RAW, MIXED], ids=["nothing", "raw", "mixed"])
def test_what_stands_before_an_object_that_cannot_be_pickled_was_sent(ends: Ends, before: list[Any], kind: Any) -> None:
    tx, rx = ends
    with pytest.raises((TypeError, AttributeError)) as caught:
        tx.send_many(kind([*before, threading.Lock(), b"behind"]))
    assert sent_by(caught) == len(before)
    assert rest(rx) == [plain(message) for message in before]


@pytest.mark.parametrize("kind", ITERABLES.values(), ids=ITERABLES)
@pytest.mark.parametrize("message", [b"8 bytes.", 12345])
def test_a_batch_that_runs_into_its_timeout_says_how_many_went(small: Ends, message: Any, kind: Any) -> None:
    tx, rx = small
    for timeout in (0, 0.01):
        with pytest.raises(ipc.TimeoutError, match="no room for") as caught:
            tx.send_many(kind([message] * 1000), timeout=timeout)
        assert sent_by(caught) == (FITS if isinstance(message, bytes) else PAGE // 32) == rx.stats().depth
        assert rest(rx) == [message] * sent_by(caught)


@pytest.mark.parametrize("kind", ITERABLES.values(), ids=ITERABLES)
def test_a_batch_says_how_many_went_before_the_receiver_closed(
    small: Ends, kind: Any, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = small
    rx.try_recv()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(tx.send_many, kind([b"8 bytes."] * 1000), timeout=60)
        eventually(lambda: parked(tx))
        rx.close()
        with pytest.raises(ipc.EndOfChannel) as caught:
            sending.result()
    assert sent_by(caught) == FITS


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("message", [b"raw", "text"])
def test_a_batch_into_a_closed_or_a_lent_end_sends_nothing(kind: Any, message: Any) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with rx:
        with tx.claim(3) as memory:
            with pytest.raises(ipc.BusyError) as caught:
                tx.send_many(kind([message] * 3))
            assert sent_by(caught) == 0
            memory[:] = b"abc"
        assert rest(rx) == [b"abc"]
        tx.close()
        with pytest.raises(ipc.ClosedError) as closed:
            tx.send_many(kind([message] * 3))
        assert sent_by(closed) == 0


def test_a_generator_may_use_the_channel_that_it_is_sent_through(ends: Ends) -> None:
    tx, rx = ends

    def chatty() -> Iterator[Any]:
        for index in range(50):
            yield ("yielded", index)
            tx.send(("sent", index))
            if index % 7 == 0:
                tx.send_many([("batch", index)] * 2)
            if index % 9 == 0:
                with tx.claim(1) as memory:
                    memory[:] = bytes([index])

    assert tx.send_many(chatty()) == 50
    got = rest(rx)
    assert [message[1] for message in got if message[0] == "yielded"] == list(range(50))
    assert [message[1] for message in got if message[0] == "sent"] == list(range(50))
    assert len(got) == 50 + 50 + 16 + 6


def test_a_generator_may_take_what_it_has_given(ends: Ends) -> None:
    tx, rx = ends
    taken: list[Any] = []

    def ping_pong() -> Iterator[int]:
        for index in range(2000):
            yield index
            if index % 50 == 49:
                taken.extend(rest(rx))

    assert tx.send_many(ping_pong(), timeout=0) == 2000
    assert taken + rest(rx) == list(range(2000))


def test_a_generator_that_closes_the_channel_ends_its_batch(ends: Ends) -> None:
    tx, rx = ends

    def closing() -> Iterator[int]:
        yield 1
        tx.close()
        yield 2

    with pytest.raises(ipc.ClosedError) as caught:
        tx.send_many(closing())
    assert sent_by(caught) == len(list(rx))


def test_a_list_that_grows_while_it_is_pickled_is_no_crash(ends: Ends) -> None:
    tx, rx = ends
    messages: list[Any] = [b"raw"] * 10

    class Grows:
        def __reduce__(self) -> Any:
            messages.extend([b"more"] * 5)
            return int, ()

    messages.append(Grows())
    sent = tx.send_many(messages)
    assert len(rest(rx)) == sent >= 11


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda tx: tx.send_many(None), TypeError),
        (lambda tx: tx.send_many(5), TypeError),
        (lambda tx: tx.send_many(), TypeError),
        (lambda tx: tx.send_many([b"x"], 1), TypeError),
        (lambda tx: tx.send_many([b"x"], type=-1), ValueError),
        (lambda tx: tx.send_many([b"x"], type=b"1"), TypeError),
        (lambda tx: tx.send_many([b"x"], timeout=-1), ValueError),
        (lambda tx: tx.send_many([b"x"], timeout="soon"), TypeError),
    ],
)
def test_wrong_arguments_send_nothing(ends: Ends, call: Callable[[Any], Any], error: type) -> None:
    tx, rx = ends
    with pytest.raises(error):
        call(tx)
    assert rest(rx) == []


# --- recv_many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [RAW, [*range(3000)], [b"raw", "text"] * 1500], ids=["raw", "pickled", "mixed"])
@pytest.mark.parametrize("most", [1, 2, 7, 1023, 1024, 1025, 2**40, 2**100])
def test_batches_have_at_most_as_many_as_were_asked_for(ends: Ends, messages: list[Any], most: int) -> None:
    tx, rx = ends
    tx.send_many(messages)
    got: list[Any] = []
    while len(got) < len(messages):
        batch = rx.recv_many(most)
        assert 1 <= len(batch) <= most
        got += batch
    assert got == messages


def test_a_batch_has_all_that_is_there_up_to_its_maximum(ends: Ends) -> None:
    tx, rx = ends
    for messages in (RAW[:1024], [*range(1024)]):
        tx.send_many(messages)
        assert rx.recv_many(1000) == messages[:1000]
        assert rx.recv_many() == messages[1000:]


@pytest.mark.parametrize("size", [0, 8, 8192, 8193, 65_535, 65_536, 65_537, 300_000])
def test_batches_of_messages_of_any_size_lose_nothing(ends: Ends, size: int) -> None:
    tx, rx = ends
    for kind in (bytes, str):
        messages: list[Any] = [kind(b"%03d" % index + bytes(size), "ascii") if kind is str else
                               b"%03d" % index + bytes(size) for index in range(3)]  # fmt: skip
        tx.send_many(messages)
        got: list[Any] = []
        while len(got) < 3:
            got += rx.recv_many()
        assert got == messages


def test_a_batch_waits_for_its_first_message_only(
    ends: Ends, parked: Callable[[Any], bool], eventually: Callable[[Callable[[], object]], None]
) -> None:
    tx, rx = ends
    for timeout in (0, 0.01):
        with pytest.raises(ipc.TimeoutError, match="no message within"):
            rx.recv_many(5, timeout)
        with pytest.raises(ipc.TimeoutError):
            rx.recv_many(timeout=timeout)
    with ThreadPoolExecutor(1) as pool:
        for message in (b"raw", "text"):
            receiving = pool.submit(rx.recv_many, 5, 60)
            eventually(lambda: parked(rx))
            tx.send(message)
            assert receiving.result() == [message]
    tx.close()
    with pytest.raises(ipc.EndOfChannel):
        rx.recv_many()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ((0,), ValueError),
        ((-1,), ValueError),
        ((-(2**70),), ValueError),
        ((1.0,), TypeError),
        (("5",), TypeError),
        ((None,), TypeError),
        ((True,), TypeError),
        ((5, -1), ValueError),
        ((5, "soon"), TypeError),
        ((5, 0, 0), TypeError),
    ],
)
def test_wrong_arguments_take_nothing(ends: Ends, wrong: tuple[Any, ...], error: type) -> None:
    tx, rx = ends
    tx.send(b"x")
    with pytest.raises(error):
        rx.recv_many(*wrong)
    assert rx.recv_many(np.int64(5)) == [b"x"]  # type: ignore[arg-type]


loads: list[int] = []


class Loading:
    """Does as it is told when it is loaded."""

    does: Callable[[int], Any] = int

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return self.load, (self.number,)

    @staticmethod
    def load(number: int) -> Any:
        loads.append(number)
        return Loading.does(number)


@pytest.fixture
def loading() -> Iterator[type[Loading]]:
    loads.clear()
    yield Loading
    Loading.does = int


def fails_at(number: int, error: BaseException) -> Callable[[int], int]:
    def does(this: int) -> int:
        if this == number:
            raise error
        return this

    return does


def test_what_stands_around_a_message_that_fails_to_load_arrives(ends: Ends, loading: type[Loading]) -> None:
    tx, rx = ends
    for bad in range(5):
        loading.does = fails_at(bad, KeyError(bad))
        tx.send_many([Loading(index) for index in range(5)])
        if bad:
            assert rx.recv_many() == list(range(bad))
        with pytest.raises(KeyError):
            rx.recv_many()
        if bad < 4:
            assert rx.recv_many() == list(range(bad + 1, 5))
        assert rx.stats().depth == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_while_a_batch_is_decoded_loses_nothing_of_what_stood_before(
    ends: Ends, loading: type[Loading], error: type[BaseException]
) -> None:
    tx, rx = ends
    loading.does = fails_at(2, error())
    tx.send_many([Loading(index) for index in range(5)])
    got: list[Any] = []
    with pytest.raises(error):
        got += rx.recv_many()
    loading.does = int
    while rx.stats().depth:
        got += rx.recv_many()
    assert [number for number in got if number != 2] == [0, 1, 3, 4]


def test_a_message_that_receives_while_it_is_loaded_loses_nothing(ends: Ends, loading: type[Loading]) -> None:
    # it finds the batch that it belongs to still in the ring
    tx, rx = ends
    nested: list[Any] = []

    def does(number: int) -> int:
        if number == 1 and loads.count(1) == 1:
            with contextlib.suppress(ipc.BusyError):  # as good: nothing was taken
                nested.append(rx.recv(0))
        return number

    loading.does = does
    tx.send_many([Loading(index) for index in range(5)])
    got: list[Any] = []
    with contextlib.suppress(ipc.BusyError):  # as good, if it took nothing either
        got += rx.recv_many()
    assert sorted(nested + got + rest(rx)) == list(range(5))


def test_a_batch_with_a_message_that_is_not_accepted_loses_nothing_else() -> None:
    tx, rx = ipc.channel(accept=["bytes", "array"])
    with tx, rx:
        for messages in (["no", b"1", b"2"], [b"1", "no", b"2"], [np.arange(2), "no", b"2"], [b"1", b"2", "no"]):
            tx.send_many(messages)
            got, refused = 0, 0
            while got + refused < 3:
                try:
                    got += len(rx.recv_many())
                except ipc.RefusedEncodingError:
                    refused += 1
            assert (got, refused) == (2, 1)


# --- iteration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [RAW, MIXED], ids=["raw", "mixed"])
def test_iteration_ends_when_the_sender_has_closed(ends: Ends, messages: list[Any]) -> None:
    tx, rx = ends
    tx.send_many(messages)
    tx.close()
    assert list(rx) == [plain(message) for message in messages]
    assert list(rx) == []
    assert next(rx, "nothing") == "nothing"


@pytest.mark.parametrize("messages", [RAW, MIXED], ids=["raw", "mixed"])
def test_leaving_a_loop_loses_nothing(ends: Ends, messages: list[Any]) -> None:
    tx, rx = ends
    expected = [plain(message) for message in messages]
    tx.send_many(messages)
    got = []
    for message in rx:
        got.append(message)
        if len(got) % 10 == 0:
            break
    got.append(rx.recv(0))
    got += rx.recv_many(5)
    for message in rx:
        got += [message, rx.recv(0), *rx.recv_many(3)]  # in the middle of the loop
        if len(got) >= 30:
            break
    assert rx.stats().depth == len(messages) - len(got)
    tx.close()
    assert got + list(rx) == expected


def test_iteration_goes_on_behind_a_message_that_fails_to_load(ends: Ends, loading: type[Loading]) -> None:
    tx, rx = ends
    loading.does = fails_at(2, KeyError())
    tx.send_many([Loading(index) for index in range(5)])
    tx.close()
    assert [next(rx), next(rx)] == [0, 1]
    with pytest.raises(KeyError):
        next(rx)
    assert list(rx) == [3, 4]
    assert loads == list(range(5))


# --- two threads at one end ---------------------------------------------------------------------------------------


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


TAKES: dict[str, Callable[[ipc.Receiver[Any]], list[Any]]] = {
    "recv": lambda rx: [rx.recv(60)],
    "next": lambda rx: [next(rx)],
    "recv_many": lambda rx: rx.recv_many(10, 60),
    "try_recv": lambda rx: [message for message in [rx.try_recv()] if message is not None],
}


@pytest.mark.parametrize("pickled", [False, True], ids=["raw", "pickled"])
@pytest.mark.parametrize("takes", list(itertools.combinations_with_replacement(TAKES, 2)), ids="-".join)
def test_two_threads_that_receive_from_one_end_lose_and_double_nothing(
    ends: Ends, switching_often: None, takes: tuple[str, str], pickled: bool
) -> None:
    tx, rx = ends
    count = 4000
    messages: list[Any] = [(index,) if pickled else b"%05d" % index for index in range(count)]

    def consume(take: Callable[[Any], list[Any]]) -> list[Any]:
        got: list[Any] = []
        while True:
            try:
                got += take(rx)
            except ipc.BusyError:
                pass
            except (ipc.EndOfChannel, StopIteration):
                return got

    with ThreadPoolExecutor(3) as pool:
        consuming = [pool.submit(consume, TAKES[take]) for take in takes]
        for message in messages:
            tx.send(message, timeout=60)
        tx.close()
        got = [future.result() for future in consuming]
    assert sorted(got[0] + got[1]) == messages
    assert all(mine == sorted(mine) for mine in got)


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("pickled", [False, True], ids=["raw", "pickled"])
def test_two_threads_that_send_batches_into_one_end_lose_and_double_nothing(
    small: Ends, switching_often: None, pickled: bool, kind: Any
) -> None:
    tx, rx = small
    count = 3000

    def produce(who: int) -> None:
        messages: list[Any] = [(who, index) if pickled else b"%d %d" % (who, index) for index in range(count)]
        done = 0
        while done < count:
            try:
                done += tx.send_many(kind(messages[done : done + 50]), timeout=60)
            except ipc.BusyError as error:
                done += error.sent  # type: ignore[attr-defined]

    with ThreadPoolExecutor(2) as pool:
        producing = [pool.submit(produce, who) for who in (0, 1)]
        got = [rx.recv(60) for _ in range(2 * count)]
        for future in producing:
            future.result()
    if not pickled:
        got = [tuple(map(int, message.split())) for message in got]
    for who in (0, 1):
        assert [index for whose, index in got if whose == who] == list(range(count))
