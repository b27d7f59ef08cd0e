"""What python_calls.py lets fail: each operation of the public API with system calls, and what must work after."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ipc
from tests.process import roles

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "CAPACITY",
    "OPERATIONS",
    "PATIENCE",
    "SOON",
    "Operation",
    "Scene",
    "close_again",
    "close_all",
    "close_made",
    "close_prepared",
    "in_vain",
    "nothing",
    "prove_left",
]

SHM = Path("/dev/shm")
CAPACITY = 4096
SOON = 0.01
PATIENCE = 30.0


class Scene:
    """Where an operation acts, and what it has there."""

    def __init__(self, private: bool) -> None:
        self.name = f"ipc-test-{os.getpid()}-faults"
        self.directory = SHM / f"{self.name}-dir" if private else SHM
        self.ends: list[Any] = []  # prepared
        self.made: list[Any] = []  # by the operation
        self.worker: Any = None
        self.receipt: Any = None
        self.failing = 0  # the errno of the call that fails, or has failed, in this turn

    def files(self) -> Iterator[Path]:
        """The segments that are ours."""
        return (path for path in self.directory.iterdir() if path.name.startswith((self.name, ".ipc-")))

    def __enter__(self) -> Self:
        os.environ.pop("IPC_DIR", None)
        if self.directory != SHM:
            self.directory.mkdir(mode=0o700)
            os.environ["IPC_DIR"] = str(self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        if self.directory != SHM:
            shutil.rmtree(self.directory)
        else:
            for path in SHM.glob(f"{self.name}*"):
                path.unlink()


class Operation(NamedTuple):
    """See python_calls.attempt for the order."""

    name: str
    prepare: Callable[[Scene], object]
    act: Callable[[Scene], object]
    prove: Callable[[Scene], object]
    undo: Callable[[Scene], object]
    tidy: Callable[[Scene], object]
    private: bool = False  # in a directory of its own
    may_remove: bool = False  # a failure may have removed a name that nobody used
    ends: bool = False  # act undoes prepare
    recover: Callable[[Scene], object] | None = None  # after a failure: what the program keeps, and that is no leak


def nothing(_: Scene) -> None:
    pass


def message_through(tx: Any, rx: Any) -> None:
    for message in (b"bytes", {"a": "pickle"}):
        tx.send(message, timeout=PATIENCE)
        assert rx.recv(timeout=PATIENCE) == message


def close(ends: list[Any]) -> None:
    while ends:
        ends.pop().close()


def close_made(scene: Scene) -> None:
    close(scene.made)


def close_prepared(scene: Scene) -> None:
    close(scene.ends)


# --- making and attaching -----------------------------------------------------------------------------------------


def make(scene: Scene) -> None:
    scene.ends.extend(ipc.channel(scene.name, capacity=CAPACITY))


def create_anonymous(scene: Scene) -> None:
    scene.made.extend(ipc.channel(capacity=CAPACITY))


def create_named(scene: Scene) -> None:
    scene.made.extend(ipc.channel(scene.name, capacity=CAPACITY))


def create_ring(scene: Scene) -> None:
    scene.made.append(ipc.Ring.create(scene.name, capacity=CAPACITY))


def prove_ring(scene: Scene) -> None:
    ring = scene.made[0]
    ring.writer().write(b"bytes")
    assert ring.reader().read(timeout=PATIENCE) == b"bytes"


def prove_channel(scene: Scene) -> None:
    message_through(*scene.made)


def attach(scene: Scene) -> None:
    scene.made.append(ipc.Receiver.attach(scene.name))


def prove_attached(scene: Scene) -> None:
    scene.ends[0].send(b"bytes", timeout=PATIENCE)
    assert scene.made[0].recv(timeout=PATIENCE) == b"bytes"


def undo_attached(scene: Scene) -> None:
    """The receiver has closed its side for good: a channel anew."""
    close_made(scene)
    close_prepared(scene)
    make(scene)


def orphan(scene: Scene) -> None:
    pid = os.fork()
    if pid == 0:
        tx, _ = ipc.channel(scene.name, capacity=CAPACITY)
        tx.send(b"unread")
        os._exit(0)
    os.waitpid(pid, 0)


def undo_replacement(scene: Scene) -> None:
    close_made(scene)
    orphan(scene)


def remove(scene: Scene) -> None:
    ipc.rm(scene.name)


# --- using --------------------------------------------------------------------------------------------------------


def first_send(scene: Scene) -> None:
    scene.ends[0].send(b"bytes")


def prove_first_send(scene: Scene) -> None:
    assert scene.ends[1].recv(timeout=PATIENCE) == b"bytes"
    message_through(*scene.ends)


def make_anew(scene: Scene) -> None:
    close_prepared(scene)
    make(scene)


def make_used(scene: Scene) -> None:
    make(scene)
    message_through(*scene.ends)


@contextmanager
def in_vain(surprise: str) -> Iterator[None]:
    """What is done here runs out of time; that it comes back is the surprise."""
    with suppress(ipc.TimeoutError):
        yield
        raise AssertionError(surprise)


def recv_in_vain(scene: Scene) -> None:
    with in_vain("a message from nowhere"):
        scene.ends[1].recv(timeout=SOON)


def make_full(scene: Scene) -> None:
    make_used(scene)
    while scene.ends[0].try_send(b"filling"):
        pass


def send_in_vain(scene: Scene) -> None:
    with in_vain("no room was enough"):
        scene.ends[0].send(b"bytes", timeout=SOON)


def prove_full(scene: Scene) -> None:
    tx, rx = scene.ends
    taken = 0
    while rx.try_recv() == b"filling":
        taken += 1
    assert taken == CAPACITY // 24
    message_through(tx, rx)
    while tx.try_send(b"filling"):
        pass


def close_full(scene: Scene) -> None:
    close_prepared(scene)
    ipc.rm(scene.name)


def prove_used(scene: Scene) -> None:
    message_through(*scene.ends)


def close_all(scene: Scene) -> None:
    while scene.ends:
        scene.ends.pop().close()


def prove_left(scene: Scene) -> None:
    """The name has gone, or is an orphan that gc collects."""
    assert ipc.gc() in ([], [scene.name])
    try:
        ipc.stats(scene.name)
    except ipc.SegmentNotFoundError:
        return
    raise AssertionError("still there")


def close_again(scene: Scene) -> None:
    for end in scene.ends:
        end.close()
    scene.ends.clear()
    ipc.gc()


def look(scene: Scene) -> None:
    stats = ipc.stats(scene.name)
    assert (stats.capacity, stats.attached, stats.participants[0].alive) == (CAPACITY, True, True)


def list_all(scene: Scene) -> None:
    """A file that can't be read is left out, and a segment that can't be mapped comes with its problem."""
    entries = ipc.ls()
    if not entries:  # lack of descriptors or memory says nothing about the file
        assert scene.failing not in {0, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
    for entry in entries:
        assert entry.name == scene.name
        assert (entry.stats is None) == bool(entry.problem)


def collect(_: Scene) -> None:
    ipc.gc()


def prove_collected(scene: Scene) -> None:
    """At the latest by now."""
    ipc.gc()
    assert list(scene.files()) == []


# --- spawning -----------------------------------------------------------------------------------------------------


def spawner(method: str) -> Callable[[Scene], None]:
    def spawn(scene: Scene) -> None:
        scene.made = []
        tx, inbox, outbox, rx = scene.ends
        scene.worker = ipc.spawn(roles.echo, inbox, outbox, context=method)
        scene.made = [tx, rx]

    return spawn


def make_two(scene: Scene) -> None:
    scene.ends.extend((*ipc.channel(capacity=CAPACITY), *ipc.channel(capacity=CAPACITY)))


def prove_worker(scene: Scene) -> None:
    """It echoes; or it lacked something to live, and then both sides are told."""
    tx, rx = scene.made
    try:
        tx.send(b"bytes", timeout=PATIENCE)
        assert rx.recv(timeout=PATIENCE) == b"bytes"
        tx.close()
        scene.worker.join()
        assert (scene.worker.exitcode, scene.worker.exception) == (0, None)
    except ipc.PeerDiedError:
        assert scene.failing
        scene.worker.join()
        assert scene.worker.exitcode != 0


def undo_worker(scene: Scene) -> None:
    close_prepared(scene)
    scene.made.clear()
    scene.worker = None
    make_two(scene)


def recover_worker(scene: Scene) -> None:
    """Nothing has changed hands, once a child that came to life all the same (multiprocessing's start failed after its
    fork) has found that nobody wants it."""
    tx, inbox, outbox, rx = scene.ends
    when_free(inbox.try_recv)
    when_free(lambda: outbox.send(b"free again"))
    assert rx.recv(timeout=PATIENCE) == b"free again"
    message_through(tx, inbox)
    message_through(outbox, rx)
    undo_worker(scene)


def when_free(first_use: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            first_use()
        except ipc.BusyError:
            assert time.monotonic() < deadline, "still in use"
            time.sleep(0.002)
        else:
            return


def spawning(method: str) -> Operation:
    return Operation(
        f"spawn by {method}",
        make_two,
        spawner(method),
        prove_worker,
        undo_worker,
        close_prepared,
        recover=recover_worker,
    )


OPERATIONS = (
    Operation("create anonymous", nothing, create_anonymous, prove_channel, close_made, nothing),
    Operation("create named", nothing, create_named, prove_channel, close_made, nothing),
    Operation("create a ring", nothing, create_ring, prove_ring, close_made, nothing, private=True),
    Operation("create over an orphan", orphan, create_named, prove_channel, undo_replacement, remove, may_remove=True),
    Operation("attach", make, attach, prove_attached, undo_attached, close_prepared),
    Operation("attach in a directory", make, attach, prove_attached, undo_attached, close_prepared, private=True),
    Operation("first send", make, first_send, prove_first_send, make_anew, close_prepared),
    Operation("recv that waits", make_used, recv_in_vain, prove_used, nothing, close_prepared),
    Operation("send that waits", make_full, send_in_vain, prove_full, nothing, close_full),
    Operation(
        "close", make_used, close_all, prove_left, nothing, nothing, ends=True, private=True, recover=close_again
    ),
    Operation("stats", make_used, look, prove_used, nothing, close_prepared),
    Operation("ls", make_used, list_all, prove_used, nothing, close_prepared, private=True),
    Operation("rm", orphan, remove, prove_left, orphan, remove, private=True, may_remove=True),
    Operation("gc", orphan, collect, prove_collected, orphan, remove, private=True, may_remove=True),
    spawning("fork"),
    spawning("spawn"),
)
