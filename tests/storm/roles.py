"""Who sends and who receives in the storm: every way that channels and rings have, mixed, and every call told to a log.

All of these run in processes that may be killed or stopped at any instruction.  What they tell is judged later, by
tests.history; they themselves check nothing but that no error comes which is not promised.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

import ipc
from tests.history.log import Log
from tests.history.operations import Item, Op, Result

__all__ = [
    "CAPACITY",
    "IMPATIENT",
    "MOST",
    "Paces",
    "Part",
    "channel_room",
    "encoded",
    "item_of",
    "new_message",
    "play",
]

CAPACITY: Final = 4096
LARGEST: Final = 1500  # of a message that is no larger than the ring
SMALLEST_IN_PARTS, LARGEST_IN_PARTS = CAPACITY + 1000, 5 * CAPACITY
IMPATIENT: Final = 0.0003
LINGER: Final = 0.001  # seconds for which a claim or a view is sometimes held

Paces = tuple[float, ...]
Way = Callable[["Part", Log, Any], Result]
MOST: Final = 8


def channel_room(size: int) -> int:
    """What a message takes in a channel at most, however it is encoded: a head, and the room to align its data."""
    return size + 512


class Part:
    """One process's part: what it sends or receives on which structure, how fast, and until when."""

    def __init__(
        self, kind: str, role: str, name: str, log: Path, process: int, paces: Paces, over: memoryview
    ) -> None:
        self.kind = kind
        self.role = role
        self.name = name
        self.log = log
        self.process = process
        self.paces = paces
        self.over = over  # of which the first byte is set when it is time to close
        self.random = random.Random(process)
        self.serial = 0
        self.pause = self.random.choice(paces)


def play(part: Part) -> None:
    """Do it, from attaching to closing."""
    log = Log(part.log, part.process)
    try:
        if part.kind == "ring":
            with ipc.Ring.attach(part.name) as ring:
                if part.role == "sender":
                    ring.reader().close()
                    _go_on(part, log, ring.writer(), WRITING)
                else:
                    ring.writer().close()
                    _go_on(part, log, ring.reader(), READING)
        elif part.role == "sender":
            with ipc.Sender.attach(part.name) as tx:
                _go_on(part, log, tx, SENDING)
        else:
            with ipc.Receiver.attach(part.name) as rx:
                _go_on(part, log, rx, RECEIVING)
    finally:
        log.close()


def _go_on(part: Part, log: Log, end: Any, ways: dict[str, Way]) -> None:
    choices = list(ways.values())
    while True:
        result = part.random.choice(choices)(part, log, end)
        if result == Result.ENDED or (part.role == "sender" and part.over[0]):
            return  # not before it has used its end: only who has taken it can close it for good
        if part.pause or result == Result.PEER_DIED:  # until there is a successor
            time.sleep(part.pause or 0.0005)


# --- messages -------------------------------------------------------------------------------------------------------


@cache
def _noise() -> bytes:
    return random.Random(4711).randbytes(1 << 16)


def new_message(part: Part, least: int = 16, most: int = LARGEST) -> tuple[Item, bytes]:
    """A message that was never sent before, and what its log says of it."""
    part.serial += 1
    value = part.process << 32 | part.serial
    size = part.random.randint(least, most)
    start = value * 7919 % (1 << 15)
    data = value.to_bytes(8, "little") + _noise()[start : start + size - 8]
    return Item(value, size, zlib.crc32(data)), data


def encoded(part: Part, data: bytes) -> Any:
    """As raw bytes mostly, else as an array or in a pickle."""
    kind = part.random.randrange(6)
    if kind == 0:
        return np.frombuffer(data, np.uint8)
    return ("pickled", data) if kind == 1 else data


def item_of(got: Any, sequence: int = -1) -> Item:
    """What a message that came says of itself."""
    if isinstance(got, tuple):
        got = got[1]
    data = got.tobytes() if isinstance(got, np.ndarray) else bytes(got)
    return Item(int.from_bytes(data[:8], "little"), len(data), zlib.crc32(data), sequence=sequence)


# --- sending --------------------------------------------------------------------------------------------------------


def _tell_sending(log: Log, items: list[Item], send: Callable[[], int | None]) -> Result:
    """`send` returns how many of them were sent, or None for all; an error says it itself."""
    log.begin(Op.SEND, items)
    try:
        done = send()
    except ipc.IpcError as error:
        if isinstance(error, ipc.TimeoutError):  # of one in parts, the last part may lie there still
            result = Result.UNKNOWN if items[0].size > CAPACITY else Result.FULL
        elif isinstance(error, ipc.PeerDiedError):
            result = Result.PEER_DIED
        elif isinstance(error, ipc.EndOfChannel):
            result = Result.ENDED
        else:
            raise
        log.end(result, done=getattr(error, "sent", getattr(error, "written", 0)))
        return result
    done = len(items) if done is None else done
    result = Result.OK if done == len(items) else Result.FULL
    log.end(result, done=done)
    return result


def _fill(claim: Any, data: bytes) -> None:
    """Step by step, so that a kill leaves half of it."""
    with claim as lent:
        step = max(1, len(data) // 4)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            lent[start : start + step] = np.frombuffer(piece, np.uint8) if isinstance(lent, np.ndarray) else piece
            if start == step and data[8] < 32:
                time.sleep(LINGER)


def _send(part: Part, log: Log, tx: Any) -> Result:
    item, data = new_message(part)
    message = encoded(part, data)
    return _tell_sending(log, [item], lambda: tx.send(message))


def _send_impatiently(part: Part, log: Log, tx: Any) -> Result:
    item, data = new_message(part)
    message = encoded(part, data)
    return _tell_sending(log, [item], lambda: tx.send(message, timeout=IMPATIENT))


def _try_send(part: Part, log: Log, tx: Any) -> Result:
    item, data = new_message(part)
    message = encoded(part, data)
    return _tell_sending(log, [item], lambda: int(tx.try_send(message)))


def _send_in_parts(part: Part, log: Log, tx: Any) -> Result:
    item, data = new_message(part, SMALLEST_IN_PARTS, LARGEST_IN_PARTS)
    message = encoded(part, data)
    timeout = part.random.choice((None, None, IMPATIENT))
    return _tell_sending(log, [item], lambda: tx.send(message, timeout=timeout))


def _send_many(part: Part, log: Log, tx: Any) -> Result:
    pairs = [new_message(part, most=300) for _ in range(part.random.randint(2, MOST))]
    messages = [encoded(part, data) for _, data in pairs]
    return _tell_sending(log, [item for item, _ in pairs], lambda: tx.send_many(messages))


def _claim(part: Part, log: Log, tx: Any) -> Result:
    item, data = new_message(part)
    return _tell_sending(log, [item], lambda: _fill(tx.claim(len(data)), data))


def _claim_an_array(part: Part, log: Log, tx: Any) -> Result:
    item, data = new_message(part)
    return _tell_sending(log, [item], lambda: _fill(tx.claim((len(data),), "uint8"), data))


def _write(part: Part, log: Log, writer: Any) -> Result:
    item, data = new_message(part)
    timeout = part.random.choice((None, None, IMPATIENT))
    return _tell_sending(log, [item], lambda: writer.write(data, timeout))


def _try_write(part: Part, log: Log, writer: Any) -> Result:
    item, data = new_message(part)
    return _tell_sending(log, [item], lambda: int(writer.try_write(data)))


def _write_many(part: Part, log: Log, writer: Any) -> Result:
    pairs = [new_message(part, most=300) for _ in range(part.random.randint(2, MOST))]
    timeout = part.random.choice((None, IMPATIENT))
    return _tell_sending(
        log, [item for item, _ in pairs], lambda: writer.write_many([data for _, data in pairs], timeout)
    )


# --- receiving ------------------------------------------------------------------------------------------------------


def _tell_receiving(log: Log, take: Callable[[], list[Item]], most: int = 1) -> Result:
    """`take` returns what came; nothing, if nothing was there."""
    log.begin(Op.RECV, most=most)
    try:
        items = take()
    except ipc.IpcError as error:
        result = _result_of(error)
        log.end(result)
        return result
    result = Result.OK if items else Result.EMPTY
    log.end(result, items)
    return result


def _result_of(error: ipc.IpcError) -> Result:
    if isinstance(error, ipc.TimeoutError):
        return Result.EMPTY
    if isinstance(error, ipc.PeerDiedError):
        return Result.PEER_DIED
    if isinstance(error, ipc.EndOfChannel):
        return Result.ENDED
    raise error


def _recv(part: Part, log: Log, rx: Any) -> Result:
    return _tell_receiving(log, lambda: [item_of(rx.recv())])


def _recv_impatiently(part: Part, log: Log, rx: Any) -> Result:
    return _tell_receiving(log, lambda: [item_of(rx.recv(timeout=IMPATIENT))])


def _try_recv(part: Part, log: Log, rx: Any) -> Result:
    return _tell_receiving(log, lambda: [item_of(got)] if (got := rx.try_recv()) is not None else [])


def _recv_many(part: Part, log: Log, rx: Any) -> Result:
    most = part.random.randint(2, MOST)
    return _tell_receiving(log, lambda: [item_of(got) for got in rx.recv_many(most)], most)


def _recv_envelope(part: Part, log: Log, rx: Any) -> Result:
    def take() -> list[Item]:
        envelope = rx.recv_envelope()
        return [item_of(envelope.message, envelope.sequence)]

    return _tell_receiving(log, take)


def _iterate(part: Part, log: Log, rx: Any) -> Result:
    def take() -> list[Item]:
        for got in rx:
            return [item_of(got)]
        raise ipc.EndOfChannel

    return _tell_receiving(log, take)


def _look(part: Part, log: Log, lend: Callable[[], Any]) -> Result:
    """See, tell, and take only then."""
    log.begin(Op.VIEW)
    try:
        with lend() as lent:
            log.seen(item_of(lent))
            if part.random.random() < 0.1:
                time.sleep(LINGER)
    except ipc.MessageTooLargeError:  # it comes in parts, and stays
        log.end(Result.HELD_BACK)
        return Result.HELD_BACK
    except ipc.IpcError as error:
        result = _result_of(error)
        log.end(result)
        return result
    log.end(Result.OK)
    return Result.OK


def _view(part: Part, log: Log, rx: Any) -> Result:
    result = _look(part, log, rx.view)
    return _recv(part, log, rx) if result == Result.HELD_BACK else result


def _peek(part: Part, log: Log, reader: Any) -> Result:
    return _look(part, log, reader.peek)


def _read(part: Part, log: Log, reader: Any) -> Result:
    timeout = part.random.choice((None, None, IMPATIENT))
    return _tell_receiving(log, lambda: [item_of(reader.read(timeout))])


def _try_read(part: Part, log: Log, reader: Any) -> Result:
    return _tell_receiving(log, lambda: [item_of(got)] if (got := reader.try_read()) is not None else [])


def _read_many(part: Part, log: Log, reader: Any) -> Result:
    most = part.random.randint(2, MOST)
    return _tell_receiving(log, lambda: [item_of(got) for got in reader.read_many(most)], most)


SENDING: Final[dict[str, Way]] = {
    "send": _send,
    "send, impatiently": _send_impatiently,
    "try_send": _try_send,
    "send in parts": _send_in_parts,
    "send_many": _send_many,
    "claim of bytes": _claim,
    "claim of an array": _claim_an_array,
}
RECEIVING: Final[dict[str, Way]] = {
    "recv": _recv,
    "recv, impatiently": _recv_impatiently,
    "try_recv": _try_recv,
    "recv_many": _recv_many,
    "recv_envelope": _recv_envelope,
    "iteration": _iterate,
    "view": _view,
}
WRITING: Final[dict[str, Way]] = {"write": _write, "try_write": _try_write, "write_many": _write_many, "claim": _claim}
READING: Final[dict[str, Way]] = {"read": _read, "try_read": _try_read, "read_many": _read_many, "peek": _peek}
