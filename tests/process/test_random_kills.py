"""Random SIGKILLs of the sender and the receiver of a named channel, and what their logs say afterwards.

Every process writes what it is about to do and what it has done to a file of its own, one write per line.  A line
survives the death of its writer; what the dead one was doing between two lines stays open, and only that.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ipc
from tests.process.support import Forked

CAPACITY = 4096


class Log:
    """An append-only file of one process."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def __call__(self, *words: object) -> None:
        os.write(self.fd, (" ".join(map(str, words)) + "\n").encode())


def lines_of(directory: Path, role: str) -> list[list[str]]:
    """All lines of a role's incarnations, in their order."""
    paths = sorted(directory.glob(f"{role}-*"))
    return [line.split() for path in paths for line in path.read_text(encoding="ascii").splitlines()]


def message(incarnation: int, number: int) -> bytes:
    """Unique, of a size that walks all over the ring, and told from any torn mixture of two."""
    head = b"%d.%d " % (incarnation, number)
    return head + head[:1] * ((incarnation * 131 + number * 37) % 700) + b" %d" % number


def name_of(got: bytes) -> str:
    head = got.split(b" ", 1)[0].decode()
    incarnation, number = map(int, head.split("."))
    assert got == message(incarnation, number), f"torn: {got!r}"
    return head


def keep_sending(name: str, log: Log, incarnation: int, last: int) -> None:
    with ipc.Sender.attach(name) as tx:
        number = 0
        while number != last:
            log("about", f"{incarnation}.{number}")
            persist(partial(tx.send, message(incarnation, number)))
            log("sent", f"{incarnation}.{number}")
            number += 1
        persist(partial(tx.send, b"the end"))


def keep_receiving(name: str, log: Log) -> None:
    with ipc.Receiver.attach(name) as rx:
        while (got := persist(rx.recv)) != b"the end":
            log("got", name_of(got))
        log("ended")


def keep_peeking(name: str, log: Log) -> None:
    with ipc.Ring.attach(name) as ring:
        reader = ring.reader()
        ring.writer().close()
        while persist(partial(peek_and_log, reader, log)) != b"the end":
            pass
        log("ended")


def peek_and_log(reader: ipc.RingReader, log: Log) -> bytes:
    with reader.peek() as memory:
        got = bytes(memory)
        if got != b"the end":
            log("got", name_of(got))
    return got


def keep_writing(name: str, log: Log, incarnation: int, last: int) -> None:
    with ipc.Ring.attach(name) as ring:
        writer = ring.writer()
        number = 0
        while number != last:
            log("about", f"{incarnation}.{number}")
            persist(partial(writer.write, message(incarnation, number)))
            log("sent", f"{incarnation}.{number}")
            number += 1
        persist(partial(writer.write, b"the end"))


def persist(call: Callable[[], Any]) -> Any:
    """The other side's death is news, not an end: a successor of it will come."""
    while True:
        try:
            return call()
        except ipc.PeerDiedError:
            pass


def storm(name: str, directory: Path, kills: int, kind: str) -> None:
    """Kill either side at random times, and start a successor."""
    random_ = random.Random(kills)
    send, receive_ = (keep_sending, keep_receiving) if kind == "recv" else (keep_writing, keep_peeking)
    started = {"sender": 0, "receiver": 0}

    def start(role: str, last: int = -1) -> Forked:
        incarnation = started[role] = started[role] + 1
        path = directory / f"{role}-{incarnation:05}"
        if role == "sender":
            return Forked(lambda: send(name, Log(path), incarnation, last))
        return Forked(lambda: receive_(name, Log(path)))

    at_work = {role: start(role) for role in ("sender", "receiver")}
    for _ in range(kills):
        time.sleep(random_.uniform(0.0, 0.03))
        for role in random_.choice([("sender",), ("receiver",), ("sender", "receiver")]):
            at_work[role].kill()
            at_work[role] = start(role)
    for forked in at_work.values():
        forked.kill()
    with start("receiver") as receiver, start("sender", last=100) as sender:
        assert (sender.join(), receiver.join()) == (0, 0)


def check(directory: Path, kind: str, counters: ipc.Stats) -> None:
    """Compare what the processes say with what is promised."""
    sending, receiving = lines_of(directory, "sender"), lines_of(directory, "receiver")
    about = [value for what, value in (line for line in sending) if what == "about"]
    sent = {value for what, value in (line for line in sending) if what == "sent"}
    got = [line[1] for line in receiving if line[0] == "got"]
    assert receiving[-1] == ["ended"]
    assert len(set(about)) == len(about)
    order = {value: place for place, value in enumerate(about)}
    killed_receivers = len(list(directory.glob("receiver-*"))) - 1
    killed_senders = len(list(directory.glob("sender-*"))) - 1

    assert set(got) <= set(about), "invented"
    places = [order[value] for value in got]
    assert places == sorted(places), "out of order"
    repeated = len(got) - len(set(got))
    missing = sent - set(got)
    if kind == "peek":  # looked at, told, then taken: told again by a successor at most once per death
        assert not missing, "lost"
        assert repeated <= killed_receivers
    else:  # taken, then told: never twice, and what a dead receiver had taken but not told is missing in its log only
        assert repeated == 0, "duplicated"
        assert len(missing) <= killed_receivers, "lost"
        unfinished = len(set(about) - sent)
        assert unfinished <= killed_senders
        untold = counters.received - 1 - len(got)  # one is "the end"
        assert len(missing) <= untold <= killed_receivers
    assert len(sent) <= counters.sent - 1 <= len(about)
    assert counters.sent == counters.received


@pytest.mark.parametrize("kind", ["recv", "peek"])
@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_random_kills_of_both_sides_lose_invent_and_reorder_nothing(
    kind: str, kills: int, name: str, tmp_path: Path
) -> None:
    creator: Any = ipc.Ring.create(name, capacity=CAPACITY) if kind == "peek" else ipc.channel(name, capacity=CAPACITY)
    try:
        storm(name, tmp_path, kills, kind)
        check(tmp_path, kind, ipc.stats(name))
    finally:
        for end in [creator] if kind == "peek" else creator:
            end.close()
        with suppress(ipc.SegmentNotFoundError):
            ipc.rm(name)
