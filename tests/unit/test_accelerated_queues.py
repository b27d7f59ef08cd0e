"""The accelerated methods of queues do what those in Python do, to the letter, and do the frequent cases themselves."""

from __future__ import annotations

import gc
import inspect
import os
import pickle
import subprocess
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipc
from ipc._core.delivery import Delivery
from ipc._core.native import fast
from tests.unit import left_to_python

accelerated = pytest.mark.skipif(fast is None, reason="the accelerator is not in use")

LONG = 30.0
METHODS: list[tuple[type, str]] = [
    (ipc.Queue, "put"), (ipc.Queue, "get"), (ipc.Queue, "put_many"), (ipc.Queue, "get_many"),
    (ipc.ReliableQueue, "put"), (ipc.ReliableQueue, "get"), (Delivery, "ack"),
]  # fmt: skip

Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def fallbacks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each method was left to Python."""
    return left_to_python.counted(monkeypatch, METHODS)


@pytest.fixture
def queue() -> Iterator[ipc.Queue[Any]]:
    with ipc.Queue[Any](spin=0) as made:
        yield made


@pytest.fixture
def reliable() -> Iterator[ipc.ReliableQueue[Any]]:
    with ipc.ReliableQueue[Any](spin=0) as made:
        yield made


PLAIN = [
    b"",
    b"x",
    bytes(8192),
    None,
    True,
    7,
    2**100,
    1.5,
    "text",
    (1, "a"),
    [1, [2]],
    {"key": {1, 2}},
    frozenset("ab"),
]


# --- what it does itself ------------------------------------------------------------------------------------------


@accelerated
@pytest.mark.parametrize("obj", PLAIN, ids=lambda obj: f"{type(obj).__name__}-{len(repr(obj))}")
def test_plain_objects_go_and_come_without_python(
    queue: ipc.Queue[Any], reliable: ipc.ReliableQueue[Any], fallbacks: Counter[str], obj: Any
) -> None:
    queue.put("takes a lane")
    queue.get()
    reliable.put("takes a lane")
    reliable.get().ack()
    fallbacks.clear()
    for options in ({}, {"timeout": None}, {"timeout": 1}):
        queue.put(obj, **options)
        assert queue.get(**options) == obj
        reliable.put(obj, **options)
        delivery = reliable.get(**options)
        assert (delivery.message, delivery.deliveries, delivery.source) == (obj, 1, os.getpid())
        delivery.ack()
    queue.put(obj, False)
    queue.put(obj, True, 2.5)
    assert [queue.get(False), queue.get_nowait() if queue.qsize() == 1 else None] == [obj, obj]
    queue.put_nowait(obj)
    assert queue.get(True, 0) == obj
    assert fallbacks == {}
    assert reliable.stats().acknowledged == 4


@accelerated
@pytest.mark.parametrize(
    ("call", "left"),
    [
        (lambda q, r: q.put(bytearray(b"x")), "put"),
        (lambda q, r: q.put(b"x", block=False), "put"),
        (lambda q, r: q.put({"array": memoryview(b"x").obj, "picklable": pickle.PickleBuffer(bytearray(9000))}), "put"),
        (lambda q, r: r.put("x", ttl=5), "put"),
        (lambda q, r: (q.put("x"), q.get(block=True)), "get"),
        (lambda q, r: (r.put("x"), (d := r.get()).extend(5), d.__setattr__("_state", 1), d.ack()), "ack"),
    ],
)
def test_everything_else_is_left_to_python_once(
    queue: ipc.Queue[Any],
    reliable: ipc.ReliableQueue[Any],
    fallbacks: Counter[str],
    call: Callable[[Any, Any], Any],
    left: str,
) -> None:
    for q in (queue, reliable):
        q.put(b"takes a lane")
    queue.get()
    reliable.get().ack()
    fallbacks.clear()
    call(queue, reliable)
    assert fallbacks == {left: 1}


@accelerated
def test_a_queue_that_looks_at_everything_is_left_to_python(fallbacks: Counter[str]) -> None:
    with (
        ipc.Queue[Any](accept=["pickle", "bytes"]) as queue,
        ipc.ReliableQueue[Any](prefetch=3) as reliable,
        ipc.ReliableQueue[Any](dead_letter=reliable) as moving,
    ):
        queue.put("text")
        assert queue.get() == "text"
        for q in (reliable, moving):
            q.put("text")
            q.get().ack()
    assert fallbacks["get"] == 3
    assert fallbacks["ack"] == 1  # one more may be held then


@accelerated
@pytest.mark.parametrize("message", [b"x" * 20_000, "y" * 20_000], ids=["bytes", "pickle"])
def test_what_python_did_not_come_to_decode_goes_back(message: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler raises between the native lease and the method in Python."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with ipc.Queue[Any]() as queue, ipc.ReliableQueue[Any](lease=None, accept=None) as reliable:
        for q, method in ((queue, "_finish_at"), (reliable, "_deliver_at")):
            q.put(message)
            with monkeypatch.context() as patched:
                patched.setattr(type(q), method, interrupted)
                with pytest.raises(KeyboardInterrupt):
                    q.get()
            assert q.stats().leased == 0
        assert queue.get() == message
        with reliable.get(0) as delivery:
            assert (delivery.message, delivery.deliveries) == (message, 2)


# --- both do the same ---------------------------------------------------------------------------------------------

OUTCOMES = """
import re, sys, ipc
import numpy as np

class Raw(bytes): pass
class Tuple(tuple): pass
class Float:
    def __float__(self): return 0.0
class Unpicklable:
    def __reduce__(self): raise RuntimeError("not me")
class Undecodable:
    def __reduce__(self): return (int, ("no number",))

nan, inf = float("nan"), float("inf")

def show(what):
    if isinstance(what, np.ndarray):
        return f"array {what.dtype} {what.shape} {what.tolist()}"
    if type(what).__name__ == "Delivery":
        return f"Delivery {what.id} {what.deliveries} {show(what.message)} {what!r}"
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(what))
    return f"{type(what).__name__} {len(text)} {text[:200]}"

def attempt(call):
    try:
        return show(call())
    except Exception as error:
        text = re.sub(r"_(\\\\w+?)_over_cffi", r"\\\\1", str(error))
        return f"{type(error).__name__} {re.sub(r' at 0x[0-9a-f]+', '', text)}"

for text in sys.stdin.read().splitlines():
    call = eval(f"lambda q, r: {text}")
    for used in (False, True):
        q, r = ipc.Queue(maxsize=3, spin=0), ipc.ReliableQueue(capacity=8192, spin=0, lease=None if used else 30)
        if used:
            q.put("used"), q.get(), r.put("used"), r.get().ack()
        print(used, text, "->", flush=True)
        print("   ", attempt(lambda: call(q, r)))
        if not q.closed and not r.closed:
            print("   left", attempt(lambda: [q.get(False) for _ in range(q.qsize())]))
            print("   done", attempt(lambda: r.stats().acknowledged))
            print("   then", attempt(lambda: (q.put(("x",)), q.get(), r.put(("y",), 0.01), r.get(0).message)))
        for one in (q, r):
            one.close()
"""

CALLS = """
[q.put(x) for x in (b"", b"x", "text")]
q.put(Raw(b"x"))
q.put(Tuple((1,)))
q.put(bytearray(b"x"))
q.put(np.arange(3))
(q.put((np.arange(3), "x")), q.get())
(q.put({"a": np.arange(3)}), r.put({"a": np.arange(3)}), r.get().message, q.get())
(q.put(np.arange(5000.)), q.get(), q.put(bytes(20000)), q.get(), q.put("x" * 20000), q.get())
(r.put(np.arange(300.)), r.get().message, r.put(bytes(2000)), r.get().message, r.put("x" * 1000), r.get().message)
(r.put(bytes(8192)), (d := r.get()).message, d.ack())
r.put(bytes(8193))
q.put(bytes(1 << 20))
q.put("x" * (1 << 20))
q.put(lambda: None)
q.put([lambda: None])
q.put([Unpicklable()])
r.put([Unpicklable()])
(q.put([Undecodable()]), q.get())
(r.put([Undecodable()]), r.get())
(r.put([Undecodable()]), attempt(r.get), r.stats().leased, r.stats().redelivered)
[q.put(1) for _ in range(3)] + [q.put(1, False)]
[q.put(1) for _ in range(3)] + [q.put(1, True, 0)]
[q.put(1) for _ in range(3)] + [q.put(1, timeout=0.01)]
[q.put(1) for _ in range(3)] + [q.put(1, timeout=-1)]
[r.put(bytes(1000), 0) for _ in range(9)]
[r.put(bytes(1000), timeout=0.01) for _ in range(9)]
[r.put("x" * 1000, timeout=0) for _ in range(9)]
q.put_many([1, b"x", "text"])
(q.put_many((1, b"x")), q.get_many(), q.put_many([]), q.put_many(()), q.put_many([3], True, 1), q.get_many())
(q.put_many([np.arange(3), bytearray(b"x"), ("y",)]), q.get_many())
(q.put_many([b"x" * 20000, np.arange(5000.)]), q.get_many(1), q.get_many(1, 0), q.get_many(1, 0))
(q.put_many([1, 2, 3]), q.get_many(2), q.get_many(max=2), q.get_many(2, 0.01))
(q.put_many([b"x", "y", b"z"]), q.get_many(max=1), q.get_many(1, timeout=1), q.get_many(timeout=0))
q.put_many([1, 2, Unpicklable(), 3])
q.put_many([1, lambda: None])
q.put_many([1, 2, bytes(1 << 20)])
(q.put_many([1, Undecodable(), 3]), q.get_many(), attempt(q.get_many), q.get_many())
q.put_many(range(4), False)
q.put_many([1, 2, 3, 4], timeout=0)
q.put_many([1], "yes")
q.put_many(7)
q.put_many()
q.put_many([1], nothing=1)
q.put_many([1], 1, 2, 3)
q.get_many(0)
q.get_many(-1)
q.get_many("1")
q.get_many(1.5)
q.get_many(True, 0)
q.get_many(10**30, 0)
q.get_many(5, timeout=0)
q.get_many(5, nan)
q.get_many(1, 2, 3)
q.get_many(timeout=-1)
(q.close(), q.put_many([1]))
(q.close(), q.put_many([]))
(q.close(), q.get_many())
(q.shutdown(), q.put_many([1]))
(q.put_many([1, 2]), q.shutdown(), q.get_many(), q.get_many())
q.put(1, True, nan)
q.put(1, True, "1")
q.put(1, 0, nan)
q.put(1, 1, Float())
q.put(1, "yes")
q.put()
q.put(1, 2, 3, 4)
q.put(1, obj=2)
q.put(obj=1)
q.put(1, nothing=2)
q.put(1, timeout=inf)
r.put(1, nan)
r.put(1, -1)
r.put(1, None, -1)
r.put(1, ttl=0)
r.put()
r.put(1, 2, 3, 4)
r.put(1, timeout="1")
q.get(False)
q.get_nowait()
q.get(True, 0)
q.get(timeout=0.01)
q.get(timeout=-1)
q.get(timeout=nan)
q.get(True, 1, 2)
q.get(nothing=1)
r.get(0)
r.get(timeout=0.01)
r.get(-1)
r.get(nan)
r.get("1")
r.get(1, 2)
r.get(nothing=1)
(q.close(), q.put(1))
(q.close(), q.get())
(r.close(), r.put(1))
(r.close(), r.get())
(q.shutdown(), q.put(1))
(q.put(1), q.shutdown(), q.get(), q.get())
(q.shutdown(immediate=True), q.get())
(r.put(1), d := r.get(), d.ack(), d.ack())
(r.put(1), d := r.get(), d.nack(), d.ack())
(r.put(1), d := r.get(), d.ack(1))
(r.put(1), d := r.get(), d.ack(x=1))
(r.put(1), d := r.get(), r.close(), d.ack())
(r.put(1), d := r.get(), d.extend(5), d.ack(), d.message, d.id)
(r.put(1), d := r.get(), d.__enter__(), d.__exit__(None, None, None), d)
(r.put(1), d := r.get(), d.__enter__(), d.__exit__(ValueError, ValueError(), None), r.get())
(r.put(b"viewed"), r.get(), 1)
(r.put(1), r.get(), r.stats().leased, r.put(2), r.get().deliveries)
(x := r.put(1), x.done(), r.get().ack(), x.done(), x.wait(1), x)
"""


def test_every_call_ends_alike_with_and_without_the_accelerator(python: Python) -> None:
    said = []
    for pure in ("0", "1"):
        environment = {**os.environ, "IPC_PURE_CFFI": pure}
        said.append(python(OUTCOMES, env=environment, input=CALLS.strip()).stdout.splitlines())
    assert len(said[0]) > 2 * CALLS.count("\n")
    assert said[0] == said[1]


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda it: getattr(it, "__name__", it))
def test_methods_look_alike_with_and_without_the_accelerator(owner: type, name: str) -> None:
    method = getattr(owner, name)
    assert method.__name__ == name
    assert method.__doc__
    if fast is not None:
        in_python = getattr(owner, f"_{name}_over_cffi")
        ours, theirs = inspect.signature(method), inspect.signature(in_python)
        assert [(p.name, p.default, p.kind) for p in list(ours.parameters.values())[1:]] == [
            (p.name, p.default, p.kind) for p in list(theirs.parameters.values())[1:]
        ]


# --- lifetimes and threads ----------------------------------------------------------------------------------------


def test_a_queue_that_was_never_made_is_no_crash() -> None:
    for cls in (ipc.Queue, ipc.ReliableQueue):
        for call in (lambda made: made.put(b"x"), lambda made: made.get()):
            with pytest.raises(AttributeError):
                call(cls.__new__(cls))
    with pytest.raises(AttributeError):
        Delivery.__new__(Delivery).ack()
    if fast is not None:
        fast.Queue()
        fast.Delivery()


def test_a_queue_and_a_delivery_are_freed_as_soon_as_nobody_has_them() -> None:
    reliable = ipc.ReliableQueue[Any]()
    reliable.put("text")
    delivery = reliable.get()
    referred = weakref.ref(reliable)
    reliable.close()
    del reliable
    assert referred() is not None
    del delivery
    assert referred() is None


def test_a_delivery_in_a_cycle_is_found_by_the_collector(reliable: ipc.ReliableQueue[Any]) -> None:
    class Marked(dict[str, Any]):
        pass

    reliable.put({"a": "cycle"})
    delivery = reliable.get()
    message = Marked()
    delivery._message = message
    message["delivery"] = delivery
    gone = weakref.ref(message)
    delivery.nack()
    del delivery, message
    gc.collect()
    assert gone() is None
    reliable.purge()


def test_closing_while_others_put_and_get_ends_them_and_crashes_nobody() -> None:
    for _ in range(20):
        queue, reliable = ipc.Queue[Any](), ipc.ReliableQueue[Any]()
        begun = threading.Barrier(5)

        def work(act: Callable[[], object], begun: threading.Barrier = begun) -> str:
            begun.wait()
            try:
                while True:
                    act()
            except (ipc.ClosedError, ipc.LeaseLostError) as error:
                return type(error).__name__

        with ThreadPoolExecutor(4) as pool:
            ended = [
                pool.submit(work, lambda queue=queue: queue.put((1, "x"))),  # type: ignore[misc]
                pool.submit(work, lambda queue=queue: queue.get()),  # type: ignore[misc]
                pool.submit(work, lambda reliable=reliable: reliable.put(b"x")),  # type: ignore[misc]
                pool.submit(work, lambda reliable=reliable: reliable.get().ack()),  # type: ignore[misc]
            ]
            begun.wait()
            queue.close()
            reliable.close()
            assert {one.result(LONG) for one in ended} <= {"ClosedError", "LeaseLostError"}
        queue.join_thread()


def test_an_object_whose_pickling_closes_the_queue_is_refused_and_nothing_crashes() -> None:
    class Closes:
        def __reduce__(self) -> tuple[Any, ...]:
            one.close()
            return (int, ())

    one: ipc.Queue[Any] | ipc.ReliableQueue[Any]
    for one in (ipc.Queue[Any](), ipc.ReliableQueue[Any]()):
        one.put("takes a lane")
        with pytest.raises(ipc.ClosedError):
            one.put([Closes()])


_closing: list[Any] = []


def closes() -> int:
    """What unpickling calls, here."""
    for one in _closing:
        one.close()
    return 7


class ClosesWhenRead:
    def __reduce__(self) -> tuple[Any, ...]:
        return (closes, ())


def test_an_object_whose_unpickling_closes_the_queue_crashes_nothing() -> None:
    queue, reliable = ipc.Queue[Any](), ipc.ReliableQueue[Any]()
    _closing[:] = [queue, reliable]
    try:
        queue.put([ClosesWhenRead()])
        assert queue.get() == [7]
        assert queue.closed
        assert reliable.closed
        _closing[:] = [again := ipc.ReliableQueue[Any]()]
        again.put([ClosesWhenRead()])
        with pytest.raises(ipc.ClosedError):
            again.get()
    finally:
        _closing.clear()
