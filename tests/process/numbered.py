"""Messages that tell their number and whose contents follow from it; who sends and receives them until it is killed.

One that is torn, mixed with another, lost, repeated or moved shows at once.  What each side knows stands on a board in
memory that all processes share: it survives the death of its writer, and takes no system call to write.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

import ipc
from tests.process.support import CTRL_C_SECONDS, Forked, pipe, receive, state_of, until

CAPACITY = 4096
LARGEST = 20 * CAPACITY
LARGEST_LENT = 3000  # of whole messages, which a claim or a view may lend
MOST = 2**18  # messages that the board has room for

THE_END = "the end"


# --- contents -----------------------------------------------------------------------------------------------------


def message(number: int, largest: int = LARGEST) -> Any:
    """Bytes, arrays and pickles with buffers; without any data, small, about as large as the ring, and larger."""
    kind = number % 8
    if kind == 0:
        return np.empty((number, 0))
    words = np.frombuffer(body(number, largest), np.uint64)
    if kind < 5:
        return words.tobytes()
    return words if kind < 7 else ("pickled", words)


def body(number: int, largest: int) -> bytes:
    """At least 8 bytes, and a multiple of them."""
    random_ = random.Random(number)
    most = random_.choice([200, min(largest, CAPACITY + 200), largest])
    size = random_.randrange(8, most) // 8 * 8
    return number.to_bytes(8, "little") + random_.randbytes(size - 8)


def same(got: Any, sent: Any) -> bool:
    """Whether two messages are equal, in type, dtype, shape, order and contents."""
    if type(got) is not type(sent):
        return False
    if isinstance(sent, np.ndarray):
        alike = (got.dtype, got.shape, got.flags.c_contiguous) == (sent.dtype, sent.shape, sent.flags.c_contiguous)
        return alike and got.tobytes() == sent.tobytes()
    if isinstance(sent, tuple):
        return len(got) == len(sent) and all(map(same, got, sent))
    return bool(got == sent)


def number_of(got: Any) -> int:
    """What a message says that it is."""
    if isinstance(got, tuple):
        got = got[1]
    if isinstance(got, np.ndarray):
        return int(got[0]) if got.size else int(got.shape[0])
    return int.from_bytes(got[:8], "little")


# --- what is known ------------------------------------------------------------------------------------------------


class Board:
    """What the senders have begun and finished, and what the receivers have told, message by message."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16 + 2 * MOST)
        whole = memoryview(self._memory)
        self._words = whole[:16].cast("Q")
        self.sent = whole[16 : 16 + MOST]
        self.told = whole[16 + MOST :]
        self._views = [self._words, self.sent, self.told, whole]

    @property
    def begun(self) -> int:
        """How many messages a sender was about to send: they are the numbers from 0."""
        return self._words[0]

    @property
    def last(self) -> int:
        """The number that was told last; -1 for none."""
        return self._words[1] - 1

    def begin(self, number: int) -> None:
        """From now on it may have been sent."""
        self._words[0] = number + 1

    def tell(self, got: Any, *, again: bool = False, largest: int = LARGEST) -> None:
        """Note a message that was taken; `again` when a successor may tell the same one."""
        if isinstance(got, (bytes, memoryview)) and len(got) == 0:
            return  # one that tells no number
        number = number_of(got)
        assert self.last - again < number < self.begun, f"{number} after {self.last}, of {self.begun}"
        self.told[number] += 1
        self._words[1] = number + 1
        if isinstance(got, memoryview):
            got = bytes(got)
        assert same(got, message(number, largest)), f"message {number} is not the one that was sent: {got!r:.200}"

    def close(self) -> None:
        """Give the memory back."""
        for view in self._views:
            view.release()
        self._memory.close()


@contextmanager
def board() -> Iterator[Board]:
    """A board for this process and those that it forks."""
    made = Board()
    try:
        yield made
    finally:
        made.close()


# --- who sends and receives ---------------------------------------------------------------------------------------


def persist(call: Callable[[], Any]) -> Any:
    """The other side's death is news, not an end: a successor of it will come."""
    while True:
        try:
            return call()
        except ipc.PeerDiedError:
            pass


def keep_sending(name: str, known: Board, incarnation: int, *, more: int = -1) -> None:
    """Send messages of any size, one by one or some at a time; end after `more`."""
    at_once = 1 if incarnation % 2 or more >= 0 else 3
    with ipc.Sender.attach(name) as tx:
        number = known.begun
        end = number + more
        while number != end:
            persist(partial(tx.send, b""))
            behind = number + at_once
            known.begin(behind - 1)
            while number < behind:
                try:
                    done = send(tx, [message(each) for each in range(number, behind)])
                except ipc.PeerDiedError as error:
                    done = getattr(error, "sent", 0)
                for each in range(number, number + done):
                    known.sent[each] = 1
                number += done
        persist(partial(tx.send, THE_END))


def send(tx: ipc.Sender[Any], batch: list[Any]) -> int:
    """One as one, several as several."""
    if len(batch) > 1:
        return tx.send_many(batch)
    tx.send(batch[0])
    return 1


def keep_receiving(name: str, known: Board, incarnation: int, *, more: int = -1) -> None:
    """Take messages, each incarnation in another way, until the end."""
    take = list(TAKING.values())[incarnation % len(TAKING)]
    with ipc.Receiver.attach(name) as rx:
        while True:
            for got in persist(partial(take, rx)):
                if isinstance(got, str) and got == THE_END:
                    return
                known.tell(got)


def take_impatiently(rx: ipc.Receiver[Any]) -> list[Any]:
    """A timeout in the middle of a message loses nothing of it."""
    while True:
        try:
            return [rx.recv(timeout=0.0002)]
        except ipc.TimeoutError:
            pass


def poll(rx: ipc.Receiver[Any]) -> list[Any]:
    """Look again and again."""
    nothing = object()
    while (got := rx.try_recv(nothing)) is nothing:
        time.sleep(0)
    return [got]


TAKING: dict[str, Callable[[ipc.Receiver[Any]], list[Any]]] = {
    "recv": lambda rx: [rx.recv()],
    "recv_many": lambda rx: rx.recv_many(),
    "impatient": take_impatiently,
    "poll": poll,
    "envelope": lambda rx: [rx.recv_envelope().message],
    "iteration": lambda rx: [next(rx)],
}


def keep_claiming(name: str, known: Board, incarnation: int, *, more: int = -1) -> None:
    """Send arrays and bytes by claims, filled step by step; end after `more`."""
    with ipc.Sender.attach(name) as tx:
        number = known.begun
        end = number + more
        while number != end:
            known.begin(number)
            persist(partial(send_by_claim, tx, b""))
            persist(partial(send_by_claim, tx, message(number, LARGEST_LENT)))
            known.sent[number] = 1
            number += 1
        persist(partial(tx.send, THE_END))


def send_by_claim(tx: ipc.Sender[Any], whole: Any) -> None:
    """Fill the memory piece by piece, so that a kill leaves half of it."""
    if isinstance(whole, tuple):
        tx.send(whole)
        return
    claim: Any = tx.claim(len(whole)) if isinstance(whole, bytes) else tx.claim(whole.shape, whole.dtype)
    with claim as lent:
        step = max(1, len(whole) // 4)
        for start in range(0, len(whole), step):
            lent[start : start + step] = whole[start : start + step]


def keep_viewing(name: str, known: Board, incarnation: int, *, more: int = -1) -> None:
    """Look at each message where it lies, tell it, and take it only then."""
    with ipc.Receiver.attach(name) as rx:
        while not persist(partial(view_and_tell, rx, known)):
            pass


def view_and_tell(rx: ipc.Receiver[Any], known: Board) -> bool:
    """Whether that was the end."""
    with rx.view() as got:
        if isinstance(got, str):
            assert got == THE_END
            return True
        known.tell(got.copy() if isinstance(got, np.ndarray) else got, again=True, largest=LARGEST_LENT)
        return False


# --- calls --------------------------------------------------------------------------------------------------------


@contextmanager
def calling(attach: Callable[[], Any], *calls: Callable[[Any], Any]) -> Iterator[tuple[Forked, Any]]:
    """A process that makes calls on an end; what came of each comes out of the pipe."""
    with pipe() as (ours, told):

        def call_all() -> None:
            with attach() as end:
                told.send("ready")
                for call in calls:
                    told.send(outcome_of(call, end))
                told.recv()

        with Forked(call_all) as caller:
            assert receive(ours) == "ready"
            yield caller, ours


def outcome_of(call: Callable[[Any], Any], end: Any) -> Any:
    """What a call returns, or the name of what it raises."""
    try:
        return call(end)
    except (ipc.IpcError, KeyboardInterrupt) as error:
        return type(error).__name__


def stop(process: Any) -> None:
    """SIGSTOP."""
    os.kill(process.pid, signal.SIGSTOP)
    until(lambda: state_of(process.pid) == "T", "the process has stopped")


def go_on(process: Any) -> None:
    """End its stop."""
    os.kill(process.pid, signal.SIGCONT)


def press_ctrl_c(process: Forked, outcomes: Any) -> None:
    """And see the exception come."""
    pressed = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    assert receive(outcomes) == "KeyboardInterrupt"
    assert time.monotonic() - pressed < CTRL_C_SECONDS


# --- kills --------------------------------------------------------------------------------------------------------


@contextmanager
def orphaned(name: str, ends: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Close both ends, and remove what the dead may have left."""
    try:
        yield ends
    finally:
        for end in ends:
            end.close()
        with suppress(ipc.SegmentNotFoundError):
            ipc.rm(name)


SIDES = {"the sender": ["sender"], "the receiver": ["receiver"], "both": ["sender", "receiver"]}

Role = Callable[..., None]


def storm(name: str, known: Board, kills: int, victims: str, sending: Role, receiving: Role) -> tuple[int, int]:
    """Kill a side (or both, or either) at random times and start its successor; how many of each were killed."""
    random_ = random.Random(kills)
    roles = {"sender": sending, "receiver": receiving}
    killed = {"sender": 0, "receiver": 0}
    sides = SIDES[victims]

    def start(role: str, more: int = -1) -> Forked:
        return Forked(lambda: roles[role](name, known, killed[role], more=more))

    at_work = {role: start(role) for role in roles}
    try:
        for _ in range(kills):
            time.sleep(random_.uniform(0.0, 0.02))
            for role in random_.sample(sides, random_.randint(1, len(sides))):
                assert at_work[role].kill() == -signal.SIGKILL, f"the {role} has failed"
                killed[role] += 1
                at_work[role] = start(role)
        assert at_work["sender"].kill() == -signal.SIGKILL
        killed["sender"] += 1
        at_work["sender"] = start("sender", more=50)
        assert at_work["sender"].join() == 0
        assert at_work["receiver"].join() == 0
    finally:
        for forked in at_work.values():
            forked.__exit__()
    return killed["sender"], killed["receiver"]


def check(
    known: Board,
    senders: int,
    receivers: int,
    counters: ipc.Stats | ipc.QueueStats | ipc.MulticastStats,
    *,
    told_before_taken: bool,
) -> None:
    """Compare what is known with what is promised, after so many deaths of senders and receivers."""
    begun = known.begun
    sent, told = bytes(known.sent[:begun]), bytes(known.told[:begun])
    lost = sum(1 for number in range(begun) if sent[number] and not told[number])
    repeated = sum(told) - sum(map(bool, told))
    assert begun - sum(sent) <= 3 * senders  # what a dead one was about to send; it may have come
    if told_before_taken:
        assert lost == 0
        assert repeated <= receivers
    else:
        assert repeated == 0
        assert lost <= receivers  # taken by one that didn't live to tell
    assert counters.depth == 0
    assert begun > 50, "nothing was sent between the kills"
    assert os.getpid() == counters.creator_pid
