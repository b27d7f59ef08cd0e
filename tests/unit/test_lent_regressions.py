"""What went wrong once with memory that was lent, and with what the collector finds, and must not again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import transfer
from ipc._core.native import lib

READ_POSITION = 384  # of the receiver, in the segment; see native/format.h

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


# --- collected ---------------------------------------------------------------------------------------------------

COLLECTED = """
import gc, ipc
tx, rx = ipc.channel()
class Session:
    def __init__(self): self.rx, self.me = rx, self
    def __del__(self): self.rx.close()
tx.send_many([b"x"] * 5)
rx.recv()
receive = getattr(rx, {method!r})
gc.collect()
gc.disable()
Session()
keep = [[] for _ in range(200)]  # so that the next list needs memory, and asks the collector
gc.set_threshold(1)
gc.enable()
try:
    receive()
except ipc.ClosedError:
    pass
gc.disable()
assert rx.closed, "nothing was collected in the middle of it"
"""


@pytest.mark.parametrize("method", ["recv_many", "recv", "__next__"])
def test_a_finalizer_that_closes_the_receiver_in_the_middle_of_a_call_does_not_hang(
    python: Python, method: str
) -> None:
    code = COLLECTED.format(method=method)
    if method != "recv_many":  # they make nothing that the collector tracks, and may finish before it runs
        code = code.replace('assert rx.closed, "nothing was collected in the middle of it"', "rx.close()")
    python(code, timeout=60)


HELD_IN_CYCLES = {
    "the claim": "hold.claim = hold.tx.claim(4096, 'u1'); kept = hold.claim.__enter__(); kept[:] = 1",
    "the view": "hold.tx.send(np.ones(4096, 'u1')); hold.view = hold.rx.view(); kept = hold.view.__enter__()",
    "a generator": "hold.frames = frames(hold.tx); kept = next(hold.frames)[10:20]",
    "bytes": "hold.claim = hold.tx.claim(4096); kept = hold.claim.__enter__(); kept[:] = bytes([1]) * 4096",
}
CYCLE = """
import gc, warnings
import ipc, numpy as np
warnings.simplefilter("ignore", ResourceWarning)
class Hold: pass
def frames(tx):
    with tx.claim(4096, "u1") as frame:
        frame[:] = 1
        yield frame
def mapped():
    with open("/proc/self/maps") as maps:
        return any("ipc:" in line for line in maps)
gc.disable()
hold = Hold()
hold.me = hold
hold.tx, hold.rx = ipc.channel(capacity="1MiB")
{how}
del hold
gc.collect()
gc.collect()
assert mapped()
assert set(bytes(kept)) == {{1}}
del kept
gc.collect()
assert not mapped()
"""


@pytest.mark.parametrize("how", HELD_IN_CYCLES.values(), ids=HELD_IN_CYCLES)
def test_what_was_kept_of_a_loan_that_went_with_a_garbage_cycle_stays_readable(python: Python, how: str) -> None:
    python(CYCLE.format(how=how))


# --- claims and views ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [10, 0])
def test_flush_is_busy_while_another_thread_has_a_claim_which_can_be_committed(
    ends: Ends, pool: ThreadPoolExecutor, timeout: float
) -> None:
    tx, rx = ends
    tx.send(b"unread")
    with tx.claim(4) as memory:
        with pytest.raises(ipc.BusyError, match="has lent out a claim or a view"):
            pool.submit(tx.flush, timeout).result()
        memory[:] = b"lent"
    assert rx.recv_many() == [b"unread", b"lent"]
    tx.flush(timeout)


def test_a_claim_ends_also_when_the_receivers_word_has_become_garbage(ends: Ends) -> None:
    tx, _ = ends
    tx.send(b"unread")
    assert tx._segment is not None
    with tx.claim(4) as memory:
        os.pwrite(tx._segment.fd, (1 << 40).to_bytes(8, "little"), READ_POSITION)
        with pytest.raises(ipc.BusyError):
            tx.flush(0)
        memory[:] = b"lent"
    calls: list[Callable[[], object]] = [tx.flush, lambda: tx.send("x"), lambda: tx.claim(4).__enter__()]
    for call in calls:
        with pytest.raises(ipc.CorruptSegmentError):
            call()
    tx.close()


@pytest.mark.parametrize(("status", "error"), [("IPCR_CORRUPT", ipc.CorruptSegmentError), ("IPCR_BUSY", ipc.BusyError)])
def test_a_claim_that_can_not_be_committed_is_not_lent_for_ever(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, status: str, error: type[Exception]
) -> None:
    class Refusing(SimpleNamespace):
        """The core, which refuses to commit."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

    tx, rx = ends
    tx.send(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "lib", Refusing(ipcr_commit=lambda *_: getattr(lib, status)))
        with pytest.raises(error), tx.claim(4, timeout=5) as memory:  # by Python
            memory[:] = b"lent"
    assert not lib.ipcr_end_is_lent(tx._handle)
    tx.send(b"after")
    assert rx.recv_many() == [b"before", b"after"]


def test_claims_and_views_may_be_used_again_whatever_became_of_them(ends: Ends) -> None:
    tx, rx = ends
    claim, view = tx.claim((3, 5), "f8"), rx.view(0)
    for index in range(10):
        tx.send(bytes(8 * index))  # so that the next stands elsewhere behind a multiple of 64
        rx.recv(0)
        if index % 3 == 2:
            with pytest.raises(ZeroDivisionError), claim as there:
                there[:] = 1 / 0
            with pytest.raises(ipc.TimeoutError), view:
                pass
        else:
            with claim as there:
                there[:] = index
            with view as here:
                assert here.tolist() == [[index] * 5] * 3


@pytest.mark.parametrize("sent", [np.arange(6.0), np.asfortranarray(np.ones((3, 4))), np.array(3), np.zeros((2, 0))])
def test_an_array_lent_by_view_can_not_be_made_writable(ends: Ends, sent: Any) -> None:
    tx, rx = ends
    tx.send(sent)
    with rx.view(0) as there:
        assert not there.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            there.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            there.setflags(write=True)
        with pytest.raises(ValueError, match="WRITEABLE"):
            there[...].flags.writeable = True
