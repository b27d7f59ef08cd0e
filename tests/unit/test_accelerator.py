"""The accelerator does what the methods in Python do, to the letter, and does the frequent cases itself."""

from __future__ import annotations

import gc
import inspect
import os
import re
import signal
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipc
from ipc._core.native import fast
from ipc._core.receiver import MessageReceiver
from ipc._core.sender import MessageSender
from tests.unit import left_to_python

accelerated = pytest.mark.skipif(fast is None, reason="the accelerator is not in use")

Ends = tuple[ipc.Sender[Any], ipc.Receiver[Any]]
Python = Callable[..., subprocess.CompletedProcess[str]]

METHODS = [(MessageSender, name) for name in ("send", "send_many")] + [
    (MessageReceiver, name) for name in ("recv", "recv_many", "__next__")
]


@pytest.fixture
def ends() -> Iterator[Ends]:
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    with tx, rx:
        yield tx, rx


# --- what it does itself ------------------------------------------------------------------------------------------


@pytest.fixture
def fallbacks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each method was left to Python."""
    return left_to_python.counted(monkeypatch, METHODS)


class Raw(bytes):
    """Not exactly bytes, so that it goes as a pickle."""


SENDS: list[Callable[[ipc.Sender[Any]], Any]] = [
    lambda tx: tx.send(b"x"),
    lambda tx: tx.send(b""),
    lambda tx: tx.send(bytes(100_000)),
    lambda tx: tx.send(b"x", timeout=0),
    lambda tx: tx.send(b"x", timeout=None),
    lambda tx: tx.send(b"x", timeout=1.5),
    lambda tx: tx.send_many([b"x"] * 2000),
    lambda tx: tx.send_many((b"x", b"y")),
]
TAKES: list[Callable[[ipc.Receiver[Any]], Any]] = [
    lambda rx: rx.recv(),
    lambda rx: rx.recv(0),
    lambda rx: rx.recv(None),
    lambda rx: rx.recv(timeout=2.5),
    next,
    lambda rx: rx.recv_many(),
    lambda rx: rx.recv_many(3),
    lambda rx: rx.recv_many(3, 0),
    lambda rx: rx.recv_many(3, timeout=0),
    lambda rx: rx.recv_many(1_000_000, None),
]


@accelerated
def test_bytes_that_can_go_or_come_at_once_are_done_by_the_accelerator(ends: Ends, fallbacks: Counter[str]) -> None:
    tx, rx = ends
    tx.send(b"takes the end")
    rx.recv()
    assert fallbacks == {"send": 1, "recv": 1}
    fallbacks.clear()
    for send in SENDS:
        send(tx)
    for take in TAKES:
        tx.send_many([b"x"] * 3)
        take(rx)
    assert fallbacks == {}


@accelerated
@pytest.mark.parametrize(
    ("call", "left"),
    [
        (lambda tx, rx: tx.send(bytearray(3)), "send"),
        (lambda tx, rx: tx.send("text"), "send"),
        (lambda tx, rx: tx.send(b"x", type=1), "send"),
        (lambda tx, rx: tx.send(Raw(b"x")), "send"),
        (lambda tx, rx: tx.send_many(iter([b"x"])), "send_many"),
        (lambda tx, rx: tx.send_many(["text", b"x"]), "send_many"),
        (lambda tx, rx: tx.send_many([b"x"], timeout=1), "send_many"),
        (lambda tx, rx: (tx.send(["pickled"], timeout=1), rx.recv()), "recv"),
        (lambda tx, rx: (tx.send_many([1], type=0), rx.recv_many()), "recv_many"),
    ],
)
def test_everything_else_is_left_to_python_once(
    fallbacks: Counter[str], call: Callable[[Any, Any], Any], left: str
) -> None:
    tx, rx = ipc.channel()
    with tx, rx:
        tx.send(b"takes the end")
        rx.recv()
        fallbacks.clear()
        call(tx, rx)
    assert fallbacks[left] == 1


@accelerated
@pytest.mark.parametrize("options", [{"accept": "pickle"}, {"max_message": 100}, {"accept": ["array", "pickle"]}])
def test_a_receiver_that_looks_at_everything_is_left_to_python(fallbacks: Counter[str], options: Any) -> None:
    tx, rx = ipc.channel(**options)
    with tx, rx:
        for take in (rx.recv, rx.recv_many, lambda: next(rx)):
            tx.send("text")
            take()
    assert (fallbacks["recv"], fallbacks["recv_many"], fallbacks["__next__"]) == (2, 1, 1)  # next asks recv


# --- both do the same ---------------------------------------------------------------------------------------------

OUTCOMES = """
import re, sys, inspect, ipc
import numpy as np
from ipc._core.native import fast

class Raw(bytes): pass
class List(list): pass
class Index:
    def __index__(self): return 2
class Float:
    def __float__(self): return 0.0

nan, inf = float("nan"), float("inf")

def show(what):
    if isinstance(what, np.ndarray):
        return f"array {what.dtype} {what.shape} {what.tolist()}"
    text = repr(what)
    return f"{type(what).__name__} {len(text)} {text[:200]}"

def drained(rx):
    while (message := rx.try_recv(rx)) is not rx:
        yield show(message)

def attempt(call):
    try:
        return show(call())
    except Exception as error:
        text = re.sub(r"_(\\w+?)_over_cffi", r"\\1", str(error))
        text = re.sub(r" at 0x[0-9a-f]+", "", text)
        return f"{type(error).__name__} {text} sent={getattr(error, 'sent', None)}"

calls = sys.stdin.read().splitlines()
for capacity in (4096, 1 << 20):
    for text in calls:
        call = eval(f"lambda tx, rx: {text}")
        for used in (False, True):
            tx, rx = ipc.channel(capacity=capacity, spin=0)
            if used:
                tx.send(b"used"), rx.recv()
            outcome = attempt(lambda: call(tx, rx))
            left = attempt(lambda: [*drained(rx)])
            counted = attempt(lambda: (rx.stats() if tx.closed else tx.stats()).sent)
            print(capacity, used, text, "->", outcome, left, counted)
            for end in (tx, rx):
                try:
                    end.close()
                except ipc.BusyError:  # lent; it goes with the process
                    pass
"""

CALLS = """
tx.send(b"raw")
tx.send(b"")
tx.send(bytearray(b"array"))
tx.send(memoryview(b"view")[::2])
tx.send(Raw(b"subclass"))
tx.send({"key": 1})
tx.send(np.arange(3))
tx.send(bytes(4080))
tx.send(bytes(65535)) if tx.stats().capacity > 4096 else None
tx.send(bytes(65536)) if tx.stats().capacity > 4096 else None
tx.send(bytes(65537)) if tx.stats().capacity > 4096 else None
tx.send(bytes(4081), timeout=0)
tx.send(b"x", type=7)
tx.send(b"x", type=0, timeout=0)
tx.send(b"x", timeout=0)
tx.send(b"x", timeout=False)
tx.send(b"x", timeout=-1)
tx.send(b"x", timeout=-1.0)
tx.send(b"x", timeout=nan)
tx.send(b"x", timeout=inf)
tx.send(b"x", timeout=2**200)
tx.send(b"x", timeout=-2**200)
tx.send(b"x", timeout="1")
tx.send(b"x", timeout=Float())
tx.send(b"x", timeout=np.float64(0))
tx.send(b"x", timeout=True)
tx.send(b"x", type=-1)
tx.send(b"x", type=None)
tx.send(b"x", type=True)
tx.send()
tx.send(b"x", 1)
tx.send(b"x", 1, 2)
tx.send(obj=b"named")
tx.send(b"x", obj=b"y")
tx.send(b"x", nothing=1)
tx.send(timeout=1)
tx.send(*[b"x"] * 5)
[tx.send(bytes(1000), timeout=0) for _ in range(5)]
(tx.send(b"before"), tx.send(lambda: None))
tx.send_many([])
tx.send_many(())
tx.send_many([b"a", b"b"])
tx.send_many((b"a", b"b"))
tx.send_many(List([b"a", b"b"]))
tx.send_many(iter([b"a", "b"]))
tx.send_many({b"a": 1, "b": 2})
tx.send_many("text")
tx.send_many(b"raw")
tx.send_many([b"a", "b", b"c", 4])
tx.send_many(["a", b"b"])
tx.send_many([b"a", Raw(b"b"), b"c"][:1])
tx.send_many([b"a", bytes(3000), b"c"])
tx.send_many([b"a", bytes(70000), b"c"]) if tx.stats().capacity > 4096 else None
tx.send_many([b"x" * 20] * 5000, timeout=0)
tx.send_many([b"a", b"b", lambda: None, b"c"])
tx.send_many((b"a", lambda: None))
tx.send_many([b"x"], type=5)
tx.send_many([b"x"], type=-5)
tx.send_many([b"x"], timeout=-5)
tx.send_many([b"x"], timeout=0)
tx.send_many(objs=[b"x"])
tx.send_many()
tx.send_many(None)
tx.send_many(5)
tx.send_many([b"x"], 5)
tx.send_many([b"x"], nothing=5)
rx.recv(0)
rx.recv(timeout=0)
rx.recv(0.0)
rx.recv(-1)
rx.recv(nan)
rx.recv("0")
rx.recv(False)
rx.recv(0, 0)
rx.recv(0, timeout=0)
rx.recv(nothing=0)
(tx.send(b"x"), rx.recv())
(tx.send(b"x"), rx.recv(0))
(tx.send(b"x"), rx.recv(inf))
(tx.send(b"x"), rx.recv(timeout=0.0))
(tx.send(b"x"), rx.recv(-1))
(tx.send(b"x"), rx.recv(nan))
(tx.send(b"x"), rx.recv("0"))
(tx.send(b"x"), rx.recv(True))
(tx.send(b"x"), rx.recv(Float()))
(tx.send(b"x"), rx.recv(0, 0))
(tx.send(b"x"), rx.recv(nothing=0))
(tx.send("x"), rx.recv())
(tx.send(np.arange(3)), rx.recv())[1]
(tx.send(b"x"), next(rx))
(tx.send("x"), next(rx))
(tx.send(b"x"), rx.__next__(1))
(tx.send(b"x"), rx.__next__(self=1))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many())
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(max=2))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2, 0))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2, timeout=0))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(timeout=0))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(timeout=0, max=1))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(Index()))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2**100))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(0))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(-1))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(-2**100))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(1.0))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many("1"))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(True))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2, -1))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2, nan))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(2, 0, 0))
(tx.send_many([b"a", b"b", b"c"]), rx.recv_many(nothing=0))
(tx.send_many([b"a", "b", b"c"]), rx.recv_many())
(tx.send_many(["a", "b", b"c"]), rx.recv_many())
(tx.send_many([b"a"] * 100), rx.recv_many(1), rx.recv_many(99))
(tx.send_many([b"a"] * 1000) if tx.stats().capacity > 4096 else 0, tx.send(b"b"), len(rx.recv_many(500)))
(tx.send(b"x", type=3), rx.recv_envelope())
(tx.send("x", type=3), rx.recv_envelope(0))
rx.recv_many(5, 0)
rx.recv_many(timeout=-1)
(tx.send(b"x"), tx.close(), rx.recv(), rx.recv())
(tx.send(b"x"), tx.close(), list(rx))
(tx.close(), tx.send(b"x"))
(tx.close(), tx.send_many([b"x"]))
(tx.send(b"x"), rx.recv(), rx.close(), tx.send(b"x"))
(rx.close(), rx.recv())
((claim := tx.claim(3)).__enter__(), tx.send(b"x"))
((claim := tx.claim(3)).__enter__(), tx.send_many([b"x"]))
(tx.send(b"x"), (view := rx.view()).__enter__(), rx.recv())
(tx.send(b"x"), (view := rx.view()).__enter__(), rx.recv_many())
(tx.send(b"x"), (view := rx.view()).__enter__(), next(rx))
[(str(p.kind), p.name, p.default) for p in inspect.signature(tx.send).parameters.values()]
[(str(p.kind), p.name, p.default) for p in inspect.signature(tx.send_many).parameters.values()]
[(str(p.kind), p.name, p.default) for p in inspect.signature(rx.recv).parameters.values()]
[(str(p.kind), p.name, p.default) for p in inspect.signature(rx.recv_many).parameters.values()]
[(str(p.kind), p.name, p.default) for p in inspect.signature(rx.__next__).parameters.values()]
[inspect.getdoc(f) for f in (tx.send, tx.send_many)]
[inspect.getdoc(f) for f in (rx.recv, rx.recv_many, rx.__next__)]
[f.__name__ for f in (tx.send, tx.send_many, rx.recv, rx.recv_many, rx.__next__)]
"""


def outcomes(python: Python, pure: bool) -> list[str]:
    done = python(OUTCOMES, input=CALLS.strip(), env={**os.environ, "IPC_PURE_CFFI": "1" if pure else "0"})
    return done.stdout.splitlines()


def test_the_same_calls_have_the_same_outcomes_with_and_without_it(python: Python) -> None:
    ours, theirs = outcomes(python, pure=False), outcomes(python, pure=True)
    assert len(ours) == len(theirs) == 4 * len(CALLS.strip().splitlines())
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.parametrize("pure", [False, True], ids=["accelerated", "pure"])
@pytest.mark.parametrize(
    "call",
    [
        "tx.send(*[b'x'] * 20)",
        "rx.recv(*[0] * 20)",
        "rx.recv_many(*[1] * 20)",
        "tx.send_many(*[[]] * 20)",
        "tx.send(b'x', **{str(i): 1 for i in range(20)})",
        "tx.send_many([b'x', b'y'], _start=1)",
        "ipc.Sender.send(b'x')",
        "ipc.Receiver.recv()",
        "ipc.Sender.send(object(), b'x')",
        "ipc.Sender.send(ipc.Sender, b'x')",
    ],
)
def test_calls_that_nobody_means_are_type_errors(python: Python, call: str, pure: bool) -> None:
    code = f"""
import ipc
tx, rx = ipc.channel()
with tx, rx:
    tx.send(b"a"), tx.send(b"b"), rx.recv()
    try:
        {call}
    except (TypeError, AttributeError):  # the latter in pure Python, which looks at no class
        pass
    else:
        raise SystemExit("it did something")
    assert rx.recv() == b"b"
    assert rx.try_recv("nothing") == "nothing"
"""
    python(code, env={**os.environ, "IPC_PURE_CFFI": "1" if pure else "0"})


@pytest.mark.parametrize("pure", [False, True], ids=["accelerated", "pure"])
@pytest.mark.parametrize(
    "call",
    [
        "ipc.Receiver.recv(tx)",
        "ipc.Receiver.recv(tx, 0)",
        "ipc.Receiver.recv_many(tx)",
        "ipc.Receiver.__next__(tx)",
        "ipc.Sender.send(rx, b'x')",
        "ipc.Sender.send_many(rx, [b'x'])",
    ],
)
def test_a_method_of_one_side_refuses_an_end_of_the_other(python: Python, call: str, pure: bool) -> None:
    code = f"""
import ipc
tx, rx = ipc.channel()
with tx, rx:
    tx.send(b"a"), tx.send(b"b"), rx.recv()
    try:
        {call}
    except (TypeError, AttributeError, ipc.IpcError):
        pass
    else:
        raise SystemExit("it did something")
    assert rx.recv() == b"b"
    assert rx.try_recv("nothing") == "nothing"
"""
    python(code, env={**os.environ, "IPC_PURE_CFFI": "1" if pure else "0"})


def test_an_end_that_was_never_made_is_no_crash() -> None:
    for call in (
        lambda: ipc.Sender.__new__(ipc.Sender).send(b"x"),
        lambda: ipc.Sender.__new__(ipc.Sender).send_many([b"x"]),
        lambda: ipc.Receiver.__new__(ipc.Receiver).recv(),
        lambda: ipc.Receiver.__new__(ipc.Receiver).recv_many(),
        lambda: next(ipc.Receiver.__new__(ipc.Receiver)),
    ):
        with pytest.raises(AttributeError):
            call()
    if fast is not None:
        fast.End()


# --- as objects ---------------------------------------------------------------------------------------------------


def test_ends_can_be_subclassed_and_referred_to_weakly(name: str) -> None:
    class MySender(ipc.Sender):  # type: ignore[misc,type-arg]
        extra = "attribute"

    class MyReceiver(ipc.Receiver):  # type: ignore[misc,type-arg]
        __slots__ = ("tag",)

    tx, rx = ipc.channel(name)
    with tx, rx, MySender.attach(name) as my_tx, MyReceiver.attach(name) as my_rx:
        my_rx.tag = 5  # type: ignore[attr-defined]
        my_tx.mine = 6  # type: ignore[attr-defined]
        assert my_tx.send_many([b"raw", "text"]) == 2
        assert [my_rx.recv(), next(my_rx)] == [b"raw", "text"]
        assert weakref.ref(my_tx)() is my_tx
    kept = weakref.ref(my_rx), weakref.ref(tx)
    del my_tx, my_rx, tx, rx
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_ends_in_cycles_are_collected_and_their_classes_are_not_leaked() -> None:
    gc.collect()
    before = sys.getrefcount(ipc.Sender), sys.getrefcount(ipc.Receiver)
    for _ in range(50):
        tx, rx = ipc.channel(capacity=4096)
        tx.send(b"x")
        rx.recv()
        cycle: list[Any] = [tx, rx]
        cycle.append(cycle)
        tx.close()
        rx.close()
    del tx, rx, cycle
    gc.collect()
    assert (sys.getrefcount(ipc.Sender), sys.getrefcount(ipc.Receiver)) == before


def test_messages_are_not_leaked(ends: Ends) -> None:
    tx, rx = ends
    message = b"a message of its own" * 2
    before = sys.getrefcount(message)
    for _ in range(100):
        tx.send(message)
        tx.send_many([message, message])
        got = [rx.recv(), *rx.recv_many()]
        assert [sys.getrefcount(one) for one in got] == [3, 3, 3]  # the list's, the comprehension's, and the argument
    assert sys.getrefcount(message) == before


def test_methods_can_be_kept_and_called_later(ends: Ends) -> None:
    tx, rx = ends
    send, recv, step = tx.send, rx.recv, rx.__next__
    for index in range(3):
        send(b"%d" % index)
    assert [recv(), step(), recv(timeout=0)] == [b"0", b"1", b"2"]
    assert ipc.Sender.send(tx, b"x") is None  # type: ignore[func-returns-value]
    assert ipc.Receiver.recv(rx) == b"x"
    assert inspect.isroutine(tx.send)
    assert re.search(r"\bSender\b", repr(type(tx)))


# --- in the middle of things --------------------------------------------------------------------------------------


class Interrupt(Exception):
    """What a signal's handler raises."""


def test_a_signal_in_the_middle_of_a_long_batch_says_how_many_went() -> None:
    tx, rx = ipc.channel(capacity="64MiB", spin=0)
    messages = [b""] * 2_000_000
    base = 0

    def interrupt(*_: object) -> None:
        if base < tx.stats().sent < base + len(messages):
            raise Interrupt

    with tx, rx:
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            with pytest.raises(Interrupt) as caught:  # noqa: PT012
                while True:
                    tx.send_many(messages)
                    while rx.stats().depth:
                        rx.recv_many(1_000_000)
                    base = tx.stats().sent
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert 0 <= caught.value.sent <= tx.stats().sent - base  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [10, 100_000], ids=["with the lock", "without the lock"])
def test_two_threads_that_send_and_receive_at_one_end_each_lose_and_double_nothing(size: int) -> None:
    # of who has it, and while it is given back, a second thread takes it for abandoned and receives it again.
    tx, rx = ipc.channel(capacity="1MiB", spin=0)
    count = 20_000_000 // (size + 10_000)

    def produce(who: int) -> None:
        for index in range(count):
            message = (b"%d %06d" % (who, index)).ljust(size)
            while True:
                try:
                    tx.send(message, timeout=60)
                    break
                except ipc.BusyError:
                    pass

    def consume() -> list[bytes]:
        got: list[bytes] = []
        while True:
            try:
                message = rx.recv(60)
            except ipc.BusyError:
                continue
            except ipc.EndOfChannel:
                return got
            assert len(message) == size
            got.append(message[:8])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with tx, rx, ThreadPoolExecutor(4) as pool:
            consuming = [pool.submit(consume) for _ in range(2)]
            producing = [pool.submit(produce, who) for who in range(2)]
            for future in producing:
                future.result()
            tx.close()
            got = [future.result() for future in consuming]
    finally:
        sys.setswitchinterval(interval)
    assert sorted(got[0] + got[1]) == [b"%d %06d" % (who, index) for who in range(2) for index in range(count)]
    for mine in got:
        for who in (b"0", b"1"):
            theirs = [message for message in mine if message[:1] == who]
            assert theirs == sorted(theirs)
