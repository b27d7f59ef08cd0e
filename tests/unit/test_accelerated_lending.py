"""Claims of publishers and views of subscribers in the accelerator: what it lends itself, and how its loans end."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core.native import fast
from ipc._core.publisher import Publisher
from ipc._core.subscriber import Subscriber
from tests.unit import left_to_python

accelerated = pytest.mark.skipif(fast is None, reason="the accelerator is not in use")

METHODS: list[tuple[type, str]] = [(Publisher, "claim"), (Subscriber, "view")]
Ends = tuple[ipc.Publisher[Any], ipc.Subscriber[Any]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    with (
        ipc.Multicast[Any](capacity="64KiB", spin=0) as multicast,
        multicast.publisher() as publisher,
        multicast.subscribe() as subscriber,
    ):
        yield publisher, subscriber


@pytest.fixture
def fallbacks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each method was left to Python."""
    return left_to_python.counted(monkeypatch, METHODS)


def viewed(subscriber: ipc.Subscriber[Any]) -> Any:
    """The next message, copied out of its view."""
    with subscriber.view() as message:
        return message.copy() if isinstance(message, np.ndarray) else bytes(message)


# --- what it lends itself -----------------------------------------------------------------------------------------


@accelerated
def test_memory_and_arrays_are_lent_without_python(ends: Ends, fallbacks: Counter[str]) -> None:
    publisher, subscriber = ends
    with publisher.claim(3) as memory:
        memory[:] = b"abc"
    with publisher.claim(nbytes=3) as memory:
        memory[:] = b"def"
    for dtype in ("u2", np.dtype("u2"), np.uint16):
        with publisher.claim((2, 2), dtype) as array:
            array[:] = [[1, 2], [3, 4]]
    assert [viewed(subscriber) for _ in range(2)] == [b"abc", b"def"]
    for _ in range(3):
        array = viewed(subscriber)
        assert (array.dtype, array.tolist()) == (np.dtype("u2"), [[1, 2], [3, 4]])
    assert fallbacks == {}


@accelerated
@pytest.mark.parametrize(
    "claim",
    [
        lambda publisher: publisher.claim(3, topic="t"),
        lambda publisher: publisher.claim(3, timeout=1),
        lambda publisher: publisher.claim(3, "u1"),
        lambda publisher: publisher.claim([3], "u1"),
        lambda publisher: publisher.claim(shape=(3,), dtype="u1"),
    ],
)
def test_everything_else_is_left_to_python(ends: Ends, fallbacks: Counter[str], claim: Callable[[Any], Any]) -> None:
    publisher, subscriber = ends
    with claim(publisher) as lent:
        lent[:] = memoryview(b"abc") if isinstance(lent, memoryview) else 7
    assert len(viewed(subscriber)) == 3
    assert fallbacks == {"claim": 1}


@accelerated
def test_what_must_wait_is_left_to_python(ends: Ends, fallbacks: Counter[str]) -> None:
    _, subscriber = ends
    with pytest.raises(ipc.TimeoutError), subscriber.view(0.01):
        pass
    assert fallbacks == {"view": 1}


def test_each_message_is_shown_as_what_it_is_also_behind_another_of_the_same_length(ends: Ends) -> None:
    """A head that is the one before is not parsed again; any other is."""
    publisher, subscriber = ends
    arrays = [
        np.arange(6, dtype="i4").reshape(2, 3), np.arange(6, dtype="i4").reshape(3, 2), np.arange(6, dtype="f4"),
        np.asfortranarray(np.arange(6, dtype="i4").reshape(2, 3)), np.arange(6, dtype="i4").reshape(2, 3),
        np.zeros(3, [("a", "i4"), ("b", "i4")]), np.zeros((0, 3), "u1"), np.array(5, "u8"),
    ]  # fmt: skip
    for array in arrays * 2:
        publisher.publish(array)
        with subscriber.view() as seen:
            assert (seen.dtype, seen.shape, seen.tolist()) == (array.dtype, array.shape, array.tolist())
            assert seen.flags.f_contiguous == array.flags.f_contiguous
        with publisher.claim(array.shape, array.dtype) as claimed:
            claimed[...] = array
        assert viewed(subscriber).tolist() == array.tolist()
    for other in ("text", {"a": 1}, b"bytes", [np.arange(3)]):
        publisher.publish(other)
        with subscriber.view() as seen:
            assert str(bytes(seen) if isinstance(seen, memoryview) else seen) == str(other)


def test_fields_that_somebody_renames_are_not_those_of_later_arrays(ends: Ends) -> None:
    publisher, subscriber = ends
    for _ in range(2):
        with publisher.claim((2,), np.dtype([("a", "i4")])) as claimed:
            claimed["a"] = 1
            claimed.dtype.names = ("renamed",)
        with subscriber.view() as seen:
            assert seen.dtype.names == ("a",)


def test_what_is_viewed_can_not_be_made_writable(ends: Ends) -> None:
    publisher, subscriber = ends
    publisher.publish(np.arange(3))
    with subscriber.view() as array:
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    publisher.publish(b"bytes")
    with subscriber.view() as memory:
        assert memory.readonly


# --- how a loan ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [(8,), ((8,), "u1")], ids=["memory", "array"])
def test_a_claim_is_published_only_at_its_good_end(ends: Ends, ask: Any) -> None:
    publisher, subscriber = ends
    with pytest.raises(LookupError), publisher.claim(*ask) as lent:  # noqa: PT012
        lent[0] = 1
        raise LookupError
    kept = []
    with pytest.raises(ipc.BusyError, match="still alive"), publisher.claim(*ask) as lent:
        kept.append(lent[2:])
    with pytest.raises(LookupError), publisher.claim(*ask) as lent:  # noqa: PT012  (what holds it may be the error)
        kept.append(lent[2:])
        raise LookupError
    kept.clear()
    with publisher.claim(*ask) as lent:
        lent[0] = 2
    assert viewed(subscriber)[0] == 2
    with pytest.raises(ipc.TimeoutError):
        subscriber.recv(0)


@pytest.mark.parametrize("message", [b"12345678", np.arange(8)], ids=["memory", "array"])
def test_a_view_takes_its_message_however_it_ends(ends: Ends, message: Any) -> None:
    publisher, subscriber = ends
    for _ in range(4):
        publisher.publish(message)
    kept = []
    with pytest.raises(LookupError), subscriber.view():
        raise LookupError
    with pytest.raises(ipc.BusyError, match="still alive"), subscriber.view() as lent:
        kept.append(lent[2:])
    kept.clear()
    with subscriber.view() as lent:
        pass
    assert len(viewed(subscriber)) == 8
    with pytest.raises(ipc.TimeoutError):
        subscriber.recv(0)


def test_an_array_that_only_its_name_holds_is_empty_behind_its_with(ends: Ends) -> None:
    publisher, subscriber = ends
    with publisher.claim((3,), "u1") as claimed:
        claimed[:] = 7
    with subscriber.view() as seen:
        pass
    assert claimed.shape == seen.shape == (0,)
    with pytest.raises(ipc.BusyError, match="still alive"), publisher.claim((3,), "u1") as claimed:
        second = claimed  # noqa: F841  (two names: it can't be emptied behind the other's back)


def test_a_loan_may_be_made_before_and_used_again_but_not_twice_at_once(ends: Ends) -> None:
    publisher, subscriber = ends
    claim, view = publisher.claim(3), subscriber.view()
    for text in (b"abc", b"def"):
        with claim as memory:
            memory[:] = text
            with pytest.raises(ipc.BusyError), claim:
                pass
        with view as memory:
            assert bytes(memory) == text
            with pytest.raises(ipc.BusyError), view:
                pass
    if fast is not None:
        for loan in (claim, view):
            with pytest.raises(RuntimeError, match="nothing is lent"):
                loan.__exit__(None, None, None)
            with pytest.raises(TypeError):
                type(loan)()  # type: ignore[call-arg]


def test_a_loan_that_was_dropped_in_the_middle_is_in_nobody_s_way(ends: Ends) -> None:
    publisher, subscriber = ends
    publisher.claim(3).__enter__()[:] = b"abc"
    with publisher.claim((3,), "u1") as array:
        array[:] = 7
    subscriber.view().__enter__()
    assert viewed(subscriber).tolist() == [7, 7, 7]


def test_an_end_is_not_closed_under_a_loan_and_what_outlives_it_stays_mapped() -> None:
    multicast = ipc.Multicast[Any](capacity=4096)
    publisher, subscriber = multicast.publisher(), multicast.subscribe()
    publisher.publish(b"stays")
    view = subscriber.view()
    memory = view.__enter__()
    with publisher.claim(3), pytest.raises(ipc.BusyError):
        publisher.close()
    with pytest.raises(ipc.BusyError):
        subscriber.close()
    with pytest.raises(LookupError), subscriber:  # an error on its way closes it nevertheless
        raise LookupError
    publisher.close()
    multicast.close()
    del multicast, publisher, subscriber
    gc.collect()
    assert bytes(memory) == b"stays"
    with pytest.raises(ipc.ClosedError):
        view.__exit__(None, None, None)
    for call in (view.__enter__, lambda: view.__exit__(None, None, None)):
        with pytest.raises((ipc.ClosedError, RuntimeError, AttributeError)):
            call()


def test_an_end_that_is_dropped_is_closed_also_while_a_slice_of_its_loan_lives() -> None:
    """Or it would be in everybody's way for as long as that."""
    multicast = ipc.Multicast[Any](capacity=4096)
    kept = []
    with pytest.raises(ipc.BusyError, match="still alive"), multicast.publisher().claim(3) as memory:
        kept.append(memory[1:])
    gc.collect()
    with multicast.publisher() as publisher:  # there is one at a time
        publisher.publish(b"abc")
        with (
            pytest.raises(ipc.BusyError, match="still alive"),
            multicast.subscribe("oldest").view() as memory,
        ):
            kept.append(memory[1:])
        gc.collect()
        assert multicast.stats().subscribers == ()
        assert bytes(kept[1]) == b"bc"
    kept.clear()
    multicast.close()


def test_an_end_knows_of_its_loan_while_the_array_is_being_made(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread, or a signal's handler, must not take the memory for abandoned."""
    from ipc._core import encoding

    publisher, subscriber = ends
    parse, met = encoding.array_parts, []

    def busy_meanwhile(*args: Any) -> Any:
        for call in (subscriber.recv, subscriber.view().__enter__, subscriber.close):
            with pytest.raises(ipc.BusyError):
                call()
            met.append(call)
        return parse(*args)

    publisher.publish(np.arange(3))
    monkeypatch.setattr(encoding, "array_parts", busy_meanwhile)
    with subscriber.view() as array:
        assert array.tolist() == [0, 1, 2]
    assert len(met) == 3


def test_an_array_that_can_not_be_made_is_taken_and_the_end_may_be_closed(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ipc._core import encoding

    publisher, subscriber = ends

    def fails(*_: Any) -> Any:
        raise MemoryError

    publisher.publish(np.arange(3))
    publisher.publish(b"next")
    with monkeypatch.context() as patched:
        patched.setattr(encoding, "array_parts", fails)
        view = subscriber.view()
        with pytest.raises(MemoryError):
            view.__enter__()
    assert subscriber.recv() == b"next"
    subscriber.close()
    publisher.close()


def test_a_claim_that_can_never_fit_says_so(ends: Ends) -> None:
    publisher, _ = ends
    for ask in ((1 << 20,), ((1 << 20,), "u1"), ((1 << 40,), "u1")):
        with pytest.raises(ipc.MessageTooLargeError), publisher.claim(*ask):
            pass


def test_a_loan_in_a_cycle_is_found_by_the_collector(ends: Ends) -> None:
    publisher, _ = ends

    class Holder:
        pass

    holder: Any = Holder()
    holder.claim = publisher.claim(3)
    holder.memory = holder.claim.__enter__()
    holder.itself = holder
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None
    with publisher.claim(3):
        pass


def test_lending_leaves_no_references_behind(ends: Ends) -> None:
    publisher, subscriber = ends
    shape, dtype = (5,), np.dtype("u2")
    text = "u2"

    def all_of_it() -> None:
        for asked in (dtype, text):
            with publisher.claim(shape, asked) as array:
                array[:] = 7
            with subscriber.view() as array:
                assert array.sum() == 35
        with publisher.claim(5) as memory:
            memory[:] = b"12345"
        with subscriber.view():
            pass
        with pytest.raises(LookupError), publisher.claim(5):
            raise LookupError

    counted = (publisher, subscriber, publisher._handle, subscriber._handle, shape, dtype, text)
    all_of_it()
    gc.collect()
    before = [sys.getrefcount(one) for one in counted]
    for _ in range(50):
        all_of_it()
    gc.collect()
    assert [sys.getrefcount(one) for one in counted] == before
