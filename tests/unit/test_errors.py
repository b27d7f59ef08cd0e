"""The error tree, and what errors say: the value, the limit and the way out."""

from __future__ import annotations

import builtins
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

import ipc
from ipc import errors
from ipc._core import native

PAGE = 4096

BASES: dict[str, tuple[type[BaseException], ...]] = {
    "BusyError": (),
    "ClosedError": (ValueError, OSError),
    "CorruptSegmentError": (),
    "DeadLetteredError": (),
    "EndOfChannel": (EOFError,),
    "ForkedHandleError": (),
    "HandOverError": (TypeError,),
    "IncompatibleFormatError": (),
    "IpcError": (),
    "LaggedOutError": (),
    "LeaseLostError": (),
    "MessageTooLargeError": (ValueError,),
    "OutOfSharedMemoryError": (OSError,),
    "OutcomeUnknownError": (LookupError,),
    "PeerDiedError": (BrokenPipeError,),
    "RefusedEncodingError": (ValueError,),
    "SegmentExistsError": (FileExistsError,),
    "SegmentNotFoundError": (FileNotFoundError,),
    "SharedMemoryError": (OSError,),
    "ShutDown": (),
    "TimeoutError": (builtins.TimeoutError,),
    "TooManyParticipantsError": (),
    "UntrustedSegmentError": (PermissionError,),
}


@pytest.mark.parametrize("error", BASES)
def test_each_error_is_an_ipc_error_and_the_builtin_that_fits(error: str) -> None:
    kind = getattr(ipc, error)
    assert issubclass(kind, ipc.IpcError) or error == "ShutDown"  # which is the standard library's, where it has one
    for builtin in BASES[error]:
        assert issubclass(kind, builtin)


def test_these_are_all_the_errors() -> None:
    assert set(errors.__all__) == set(BASES)
    exported = {
        name
        for name in ipc.__all__
        if isinstance(getattr(ipc, name), type) and issubclass(getattr(ipc, name), BaseException)
    }
    assert exported == set(BASES)


@pytest.mark.parametrize("error", BASES)
def test_errors_survive_pickling_with_their_text(error: str) -> None:
    before = getattr(ipc, error)("what happened")
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is type(before)
    assert str(after) == "what happened"


OTHERS: dict[str, tuple[type[Exception], ...]] = {"IPCR_WRONG_SIDE": (TypeError,), "IPCR_SHUT_DOWN": (ipc.ShutDown,)}


def test_every_native_result_has_an_exception_with_advice() -> None:
    flow = {"OK", "FULL", "EMPTY", "TAKEN", "NOT_TAKEN", "AGAIN", "ERRNO_BASE"}
    for name in dir(native.lib):
        value = getattr(native.lib, name)
        if name.startswith("IPCR_") and isinstance(value, int) and value < 0 and name[5:] not in flow:
            with pytest.raises((ipc.IpcError, *OTHERS.get(name, ()))) as caught:
                native.raise_status(value, "this handle")
            assert str(caught.value).startswith("this handle ")


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (28, ipc.OutOfSharedMemoryError, "No space left"),
        (12, ipc.OutOfSharedMemoryError, "Cannot allocate memory"),
        (24, ipc.SharedMemoryError, "ulimit -n"),
        (9, ipc.SharedMemoryError, "closed the segment's descriptor"),
        (13, ipc.SharedMemoryError, "Permission denied"),
    ],
)
def test_a_failed_system_call_keeps_its_number_and_says_what_failed(
    number: int, error: type[OSError], text: str
) -> None:
    with pytest.raises(error, match=f"this handle: .*{text}") as caught:
        native.raise_status(native.lib.IPCR_ERRNO_BASE - number, "this handle")
    assert caught.value.errno == number


# --- messages that can't fit --------------------------------------------------------------------------------------


def claim(writer: ipc.RingWriter, size: int) -> None:
    with writer.claim(size):
        pytest.fail("nothing can be lent")


TOO_LARGE: dict[str, Callable[[ipc.RingWriter, int], Any]] = {
    "write": lambda writer, size: writer.write(bytes(size)),
    "write with timeout": lambda writer, size: writer.write(bytes(size), 5),
    "try_write": lambda writer, size: writer.try_write(bytes(size)),
    "write_many": lambda writer, size: writer.write_many([bytes(size)]),
    "claim": claim,
}


def advice(text: str) -> tuple[int, int]:
    """The limit that an error names, and the capacity that it advises."""
    match = re.search(r"carries at most (\d+)\. Make it with capacity=(\d+) or more", text)
    assert match is not None, text
    return int(match[1]), int(match[2])


@pytest.mark.parametrize("size", [PAGE - 15, PAGE, 2 * PAGE - 16, 2 * PAGE - 15, 100_000])
@pytest.mark.parametrize("put", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_message_too_large_for_a_ring_names_the_limit_and_a_capacity_that_works(
    put: Callable[[ipc.RingWriter, int], Any], size: int
) -> None:
    with ipc.Ring.create(capacity=PAGE) as ring:
        with pytest.raises(ipc.MessageTooLargeError, match=f"a message of {size} bytes.*capacity={PAGE} ") as caught:
            put(ring.writer(), size)
        limit, capacity = advice(str(caught.value))
        ring.writer().write(bytes(limit))
        assert len(ring.reader().read()) == limit
    with ipc.Ring.create(capacity=capacity) as ring:
        assert ring.capacity == capacity
        ring.writer().write(bytes(size), 0)
        assert len(ring.reader().read()) == size


@pytest.mark.parametrize("message", [bytes(PAGE), bytearray(5000), ["x" * PAGE]])
def test_a_message_that_would_go_in_parts_can_only_be_sent_by_waiting_and_the_error_says_so(message: object) -> None:
    tx, rx = ipc.channel(capacity=PAGE)
    with tx, rx:
        with pytest.raises(ipc.MessageTooLargeError, match=r"send\(\) takes it in parts") as caught:
            tx.try_send(message)
        limit, capacity = advice(str(caught.value))
        tx.send(bytes(limit))
        assert rx.recv() == bytes(limit)
    tx, rx = ipc.channel(capacity=capacity)
    with tx, rx:
        tx.send(message, timeout=0)
        assert rx.recv() == message


@pytest.mark.parametrize("size", [2**46, 2**48, 2**63, 2**64, 10**30])
def test_a_claim_beyond_any_ring_is_a_message_too_large(size: int) -> None:
    with ipc.Ring.create(capacity=PAGE) as ring:
        with pytest.raises(ipc.MessageTooLargeError, match=str(size)):
            claim(ring.writer(), size)
        ring.writer().write(b"fine")
        assert ring.reader().read() == b"fine"
