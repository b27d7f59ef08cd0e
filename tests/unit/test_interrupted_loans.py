"""A signal's handler may raise at any moment of a claim or a view: nothing is lost, and the end works on."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest

import ipc
from ipc._core import encoding, lending, receiver, sender, transfer

FILES = {module.__file__ for module in (encoding, lending, receiver, sender, transfer)}
LEFT_OUT = {("__enter__", "return"), ("__exit__", "call")}


class Interrupt(Exception):
    """What the handler raises; not one of ours."""


def _interrupt() -> None:
    raise Interrupt


@contextmanager
def interrupted_at(moment: int, handler: Callable[[], object] = _interrupt) -> Iterator[list[int]]:
    """Call the handler at the `moment`-th moment in the files above; the list says how many there were.

    Handlers run where a Python function begins and where any call returns, but not between `__enter__` and the body
    of a `with`.  Where `__exit__` begins nothing of it can run any more: that moment is left out.
    """
    moments = [0]

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename not in FILES or event not in {"call", "return", "c_return"}:
            return
        name = frame.f_code.co_name
        if name in {"__del__", "<genexpr>"} or (name, event) in LEFT_OUT:
            return  # errors in __del__ go nowhere, nor in a generator that is thrown away
        if frame.f_code.co_flags & inspect.CO_GENERATOR and (
            event == "return" or (event == "call" and frame.f_lasti > 0)
        ):
            return  # at a yield, or behind it: what raises here skips its `finally`, what a handler raises does not
        moments[0] += 1
        if moments[0] == moment:
            handler()

    sys.setprofile(profile)
    try:
        yield moments
    finally:
        sys.setprofile(None)


def each_moment(call: Callable[[], object], after: Callable[[bool], None], least: int = 10) -> None:
    """Interrupt `call` at its first moment, its second, and so on; `after` is told whether it was interrupted.

    There are at least so many moments, or the test looks at the wrong files.
    """
    moment, interrupted = 0, True
    while interrupted:
        moment += 1
        interrupted = False
        with interrupted_at(moment) as moments:
            try:
                call()
            except Interrupt:
                interrupted = True
        assert interrupted == (moments[0] >= moment)
        after(interrupted)
    assert moment > least


@pytest.mark.parametrize("what", [((3, 4), "f4"), (12, None)], ids=["array", "bytes"])
def test_an_interrupted_claim_sends_all_or_nothing_and_leaves_the_sender_usable(what: tuple[Any, Any]) -> None:
    tx, rx = ipc.channel()
    with tx, rx:

        def claim() -> None:
            with tx.claim(*what, timeout=5) as memory:  # by Python, where handlers run
                memory[:] = 7 if what[1] else b"\x07" * 12

        def after(interrupted: bool) -> None:
            tx.send(b"next")
            arrived = rx.recv(timeout=5)
            if not isinstance(arrived, bytes) or arrived != b"next":
                assert bytes(arrived) in {b"\x07" * 12, np.full((3, 4), 7, "f4").tobytes()}
                assert rx.recv(timeout=5) == b"next"
            else:
                assert interrupted

        each_moment(claim, after)


@pytest.mark.parametrize("message", [np.arange(12.0), b"raw bytes", {"a": "pickle"}], ids=["array", "bytes", "pickle"])
def test_an_interrupted_view_takes_its_message_or_leaves_it_and_leaves_the_receiver_usable(message: Any) -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(message)

        def view() -> None:
            with rx.view(timeout=5):
                pass

        def after(interrupted: bool) -> None:
            left = rx.try_recv()
            assert left is None or interrupted
            tx.send(b"next")
            assert rx.recv(timeout=5) == b"next"
            tx.send(message)

        each_moment(view, after)
        rx.recv(timeout=5)


def test_an_error_on_its_way_out_of_an_end_is_not_hidden_by_a_loan_that_still_runs() -> None:
    tx, rx = ipc.channel()
    lent = []

    def fail_in_between() -> None:
        with tx:
            lent.append(tx.claim(16).__enter__())
            raise Interrupt

    with rx, pytest.raises(Interrupt):
        fail_in_between()
    assert tx.closed
    lent[0][:] = b"still mapped, ok"
    assert bytes(lent[0]) == b"still mapped, ok"
