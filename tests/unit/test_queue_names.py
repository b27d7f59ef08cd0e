"""Named queues, and how long a queue lasts: until its last user leaves it empty, or somebody removes the name."""

from __future__ import annotations

import gc
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ipc

SHM = Path("/dev/shm")

KINDS: dict[str, Any] = {"Queue": ipc.Queue, "ReliableQueue": ipc.ReliableQueue}

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def exists(name: str) -> bool:
    return (SHM / name).exists()


def take(q: Any) -> Any:
    """One message, done with."""
    got = q.get(timeout=30)
    if isinstance(got, ipc.Delivery):
        got.ack()
        return got.message
    return got


# --- finding it ---------------------------------------------------------------------------------------------------


@each_kind
def test_handles_of_one_name_are_one_queue(kind: Any, name: str) -> None:
    with kind(name=name) as made, kind.attach(name) as attached, kind.open(name) as opened:
        made.put("from its maker")
        attached.put("from an attacher")
        opened.put("from an opener")
        assert [take(q) for q in (opened, made, attached)] == ["from its maker", "from an attacher", "from an opener"]
        assert made.name == attached.name == opened.name == name


def test_what_belongs_to_the_queue_is_its_maker_s(name: str) -> None:
    with ipc.Queue[Any](3, name=name, capacity="64KiB"), ipc.Queue.open(name, 100, capacity=4096) as opened:
        assert (opened.stats().maxsize, opened.stats().capacity) == (3, 65536)
        for number in range(3):
            opened.put_nowait(number)
        assert opened.full()
        opened.purge()


@each_kind
def test_open_makes_what_is_not_there(kind: Any, name: str) -> None:
    with kind.open(name, capacity="64KiB", lanes=3) as q:
        assert exists(name)
        assert q.stats().capacity == 65536
    assert not exists(name)


@each_kind
def test_a_name_that_nobody_has_made_is_not_found(kind: Any, name: str) -> None:
    with pytest.raises(ipc.SegmentNotFoundError, match=name):
        kind.attach(name)


@each_kind
def test_a_name_in_use_can_not_be_made_again(kind: Any, name: str) -> None:
    with kind(name=name) as q:
        with pytest.raises(ipc.SegmentExistsError, match=name):
            kind(name=name)
        q.put("unharmed")
        assert take(q) == "unharmed"


OTHERS: dict[str, Callable[[str], Any]] = {
    "channel": lambda name: ipc.channel(name)[0],
    "Ring": ipc.Ring.create,
    "Queue": lambda name: ipc.Queue(name=name),
    "ReliableQueue": ipc.ReliableQueue,
}
ATTACH: dict[str, Callable[[str], Any]] = {
    "channel": ipc.Sender.attach,
    "Ring": ipc.Ring.attach,
    "Queue": ipc.Queue.attach,
    "ReliableQueue": ipc.ReliableQueue.attach,
    "open Queue": ipc.Queue.open,
    "open ReliableQueue": ipc.ReliableQueue.open,
}


@pytest.mark.parametrize(
    ("made", "wanted"), [(made, wanted) for made in OTHERS for wanted in ATTACH if wanted.split()[-1] != made]
)
def test_a_name_of_another_kind_is_refused(made: str, wanted: str, name: str) -> None:
    with OTHERS[made](name):
        with pytest.raises(ipc.IncompatibleFormatError, match="another kind"):
            ATTACH[wanted](name)
        assert exists(name)
    gc.collect()


@each_kind
@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "x" * 201, 5])
def test_a_name_is_a_plain_file_name(kind: Any, name: Any) -> None:
    for call in (lambda: kind(name=name), lambda: kind.attach(name), lambda: kind.open(name)):
        with pytest.raises((ValueError, TypeError), match="name"):
            call()


# --- how long it lasts --------------------------------------------------------------------------------------------


@each_kind
def test_the_name_goes_when_the_last_user_closes_and_nothing_is_unread(kind: Any, name: str) -> None:
    first, second = kind(name=name), kind.attach(name)
    first.put("read")
    first.close()
    assert exists(name)
    assert take(second) == "read"
    second.close()
    assert not exists(name)


@each_kind
def test_a_queue_that_was_never_used_goes_with_its_last_handle(kind: Any, name: str) -> None:
    q = kind(name=name)
    assert exists(name)
    q.close()
    assert not exists(name)


@each_kind
def test_a_forgotten_handle_leaves_as_a_closed_one_does(kind: Any, name: str) -> None:
    q = kind(name=name)
    q.put(1)
    take(q)
    del q
    gc.collect()
    assert not exists(name)


@each_kind
def test_unread_messages_keep_the_name_and_whoever_attaches_gets_them(kind: Any, name: str) -> None:
    with kind(name=name) as q:
        for number in range(100):
            q.put(number)
        assert take(q) == 0
    assert exists(name)
    stats = ipc.stats(name)
    assert (stats.depth, stats.attached) == (99, False)
    with kind.attach(name) as q:
        assert [take(q) for _ in range(99)] == list(range(1, 100))
    assert not exists(name)


def test_a_message_that_was_taken_but_not_acknowledged_keeps_the_name(name: str) -> None:
    with ipc.ReliableQueue[str](name) as q:
        q.put("first")
        delivery = q.get()
        assert delivery.message == "first"
    del delivery
    assert exists(name)
    with ipc.ReliableQueue.attach(name) as q:
        with q.get(timeout=30) as delivery:
            assert (delivery.message, delivery.deliveries) == ("first", 2)
        del delivery
    assert not exists(name)


@each_kind
def test_an_orphan_is_replaced_by_whoever_makes_the_name_anew(kind: Any, name: str) -> None:
    with kind(name=name) as q:
        q.put("unread")
    with kind(name=name) as q:
        assert q.stats().depth == 0
        q.put("new")
        assert take(q) == "new"
    assert not exists(name)


@each_kind
def test_those_attached_go_on_after_unlink_and_the_name_is_free(kind: Any, name: str) -> None:
    with kind(name=name) as old, kind.attach(name) as also_old:
        old.unlink()
        assert not exists(name)
        with kind(name=name) as new:
            old.put("old")
            new.put("new")
            assert take(also_old) == "old"
            assert take(new) == "new"
    assert not exists(name)


@each_kind
def test_an_anonymous_queue_has_no_name_to_unlink(kind: Any) -> None:
    with kind() as q, pytest.raises(ValueError, match="anonymous"):
        q.unlink()


@each_kind
def test_rm_and_gc_treat_queues_as_they_treat_every_segment(kind: Any, name: str, ipc_dir: Path) -> None:
    with kind(name=name) as q:
        q.put("unread")
        assert ipc.gc() == []
    assert ipc.gc() == [name]
    with kind(name=name) as q:
        ipc.rm(name)
        assert ipc.ls() == []
        q.put("still works")
        assert take(q) == "still works"


# --- what outlives a close ----------------------------------------------------------------------------------------


def _nothing_within_no_time(q: Any) -> BaseException:
    with pytest.raises(queue.Empty) as caught:
        q.get(timeout=0)
    return caught.value


def _woken_by_the_close(q: Any) -> Future[Any]:
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(q.get)
        threading.Event().wait(0.02)  # long enough to sleep, mostly; it makes no difference to the result
        q.close()
    return waits


@pytest.mark.parametrize("keep", [_nothing_within_no_time, _woken_by_the_close])
@each_kind
def test_what_remembers_a_call_does_not_keep_the_name(kind: Any, keep: Callable[[Any], Any], name: str) -> None:
    with kind(name=name) as q:
        q.put(1)
        take(q)
        kept = keep(q)
    assert not exists(name)
    with kind(name=name):  # nobody is in the way
        pass
    del kept


@pytest.mark.parametrize("how", ["get", "get_many"])
def test_a_delivery_that_is_done_with_does_not_keep_the_name(how: str, name: str) -> None:
    with ipc.ReliableQueue[Any](name) as q:
        q.put(b"m" * 20_000)
        delivery = q.get() if how == "get" else q.get_many()[0]
        delivery.ack()
    assert not exists(name)
    assert delivery.message == b"m" * 20_000


def test_a_fork_amid_handles_that_are_closed_and_still_looked_at(name: str) -> None:
    with ipc.ReliableQueue[Any](name) as q:
        q.put(1)
        delivery = q.get()
        delivery.ack()
    child = os.fork()
    if child == 0:
        del delivery
        gc.collect()
        os._exit(exists(name))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with ipc.ReliableQueue[Any](name):
        assert exists(name)
        del delivery  # its memory is another segment's
        assert exists(name)


def test_an_error_on_its_way_out_of_a_queue_is_not_hidden_by_what_is_lent() -> None:
    def fail(q: ipc.ReliableQueue[Any]) -> None:
        view = q.get().view()
        view.__enter__()
        raise KeyError

    with ipc.ReliableQueue[Any](lease=None) as first:
        first.put(b"x")
        with pytest.raises(KeyError), first:
            fail(first)
        assert first.closed
