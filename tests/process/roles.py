"""What the other processes of these tests do.  Importable by name, and cheap to import: spawned children do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import ipc


def echo(inbox: Any, outbox: Any) -> None:
    """Send every message back, until the end."""
    for message in inbox:
        outbox.send(message)


def add_up(numbers: dict[str, Any], *, answers: list[Any]) -> None:
    """Ends in containers: sums to the one in `answers` what comes from those in `numbers`."""
    answers[0].send(sum(receiver.recv() for receiver in numbers["all"]))


def say_each(*senders: Any) -> None:
    """Number all the channels."""
    for number, sender in enumerate(senders):
        sender.send(number)


def send_and_return(outbox: Any, count: int) -> None:
    """Send, and end without a word."""
    for number in range(count):
        outbox.send(number)


def send_and_close(outbox: Any, count: int) -> None:
    """Send, then close."""
    send_and_return(outbox, count)
    outbox.close()


def send_until_it_fails(outbox: Any) -> None:
    """Send for as long as the other side lets us."""
    while True:
        outbox.send(bytes(100))


def receive_and_close(inbox: Any) -> None:
    """Take one message, then close."""
    inbox.recv()
    inbox.close()


def send_and_raise(outbox: Any, count: int) -> None:
    """Send, and fail."""
    send_and_return(outbox, count)
    raise LookupError("no such luck")


def take_then_wait(end: Any, told: Any) -> None:
    """Use an end once, then do nothing until the pipe says so."""
    if isinstance(end, ipc.Sender):
        end.send(b"first")
    else:
        end.recv()
    told.send(os.getpid())
    told.recv()


def wait_for(told: Any, *_: Any) -> None:
    """Do nothing with the ends that came along until the pipe says so."""
    told.send(os.getpid())
    told.recv()


def leave(told: Any, *_: Any) -> None:
    """End at once, uncleanly, without having used what came along."""
    os._exit(int(told))


def pause(*_: Any) -> None:
    """Do nothing until a signal ends it."""
    signal.pause()


def exit_with(code: object, *_: Any) -> None:
    """End by SystemExit."""
    sys.exit(code)  # type: ignore[arg-type]


class LocalProblem(Exception):
    """An exception that pickles, and has a state."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what, number)
        self.number = number


class Unpicklable(Exception):
    """An exception that does not pickle."""

    def __init__(self) -> None:
        super().__init__("can't travel")
        self.unpicklable = threading.Lock()


class PicklesButDoesNotUnpickle(Exception):
    """An exception whose constructor wants more than its args."""

    def __init__(self, what: str, *, number: int) -> None:
        super().__init__(what)
        self.number = number


def fail(kind: str, *_: Any) -> None:
    """Raise one of several exceptions."""
    if kind == "plain":
        raise KeyError("a key")
    if kind == "state":
        raise LocalProblem("trouble", 7)
    if kind == "unpicklable":
        raise Unpicklable
    if kind == "no way back":
        raise PicklesButDoesNotUnpickle("broken", number=1)
    raise RecursionError("x" * 3_000_000)  # much more than a pipe holds


def collect_until_the_end(inbox: Any, outbox: Any, told: Any) -> None:
    """Wait for the pipe, take everything, and report what it was."""
    told.send("ready")
    told.recv()
    outbox.send(list(inbox))


def collect_slowly(inbox: Any, told: Any) -> None:
    """Take messages, and tell each before taking the next."""
    for message in inbox:
        told.send(message)
        told.recv()
    told.send("end")


# --- blocked calls ------------------------------------------------------------------------------------------------

SENDING = {
    "send": lambda end: end.send(bytes(64)),
    "write": lambda end: end.write(bytes(64)),
    "write_many": lambda end: end.write_many([bytes(64)] * 3),
    "claim": lambda end: end.claim(64).__enter__(),
    "flush": lambda end: end.flush(None),
    "send_many": lambda end: end.send_many([bytes(64)] * 3),
    "send in parts": lambda end: end.send(bytes(20_000)),
    "send in time": lambda end: end.send(bytes(64), timeout=3600),
    "claim on a channel": lambda end: end.claim(64).__enter__(),
}
RECEIVING = {
    "recv": lambda end: end.recv(),
    "iteration": next,
    "read": lambda end: end.read(),
    "read_many": lambda end: end.read_many(),
    "peek": lambda end: end.peek().__enter__(),
    "recv_many": lambda end: end.recv_many(),
    "recv_envelope": lambda end: end.recv_envelope(),
    "recv in time": lambda end: end.recv(3600),
    "view": lambda end: end.view().__enter__(),
}
POLLING = {
    "try_send": lambda end: _poll(lambda: end.try_send(bytes(64))),
    "try_recv": lambda end: _poll(lambda: end.try_recv() is not None),
}
CALLS = {**SENDING, **RECEIVING, **POLLING}

# What these have in common with the others above is theirs for the most part: not each test makes them each time.
MORE = {"send_many", "send in parts", "send in time", "claim on a channel", "recv_many", "recv in time"}
MORE |= {"recv_envelope", "view"}

ON_CHANNELS = {"send", "flush", "recv", "iteration", *POLLING, *MORE}


def _poll(attempt: Any) -> None:
    while not attempt():
        time.sleep(0.001)


def fill(end: Any) -> None:
    """Leave no room for another 64 bytes."""
    attempt = end.try_send if isinstance(end, ipc.Sender) else end.try_write
    while attempt(bytes(64)):
        pass


def block(call: str, end: Any, told: Any, prepare: Any = None) -> None:
    """Make a call that blocks, and tell what came of it, and when; then once more, if we are told to."""
    if prepare is not None:
        prepare()
    if call in SENDING or call == "try_send":
        fill(end)
    told.send(os.getpid())
    again = True
    while again:
        lent = None
        try:
            lent = CALLS[call](end)
            outcome = "returned"
        except KeyboardInterrupt:
            outcome = "KeyboardInterrupt"
        except Exception as error:
            outcome = type(error).__name__
        told.send((outcome, time.monotonic()))
        again = told.recv() == "again"
        del lent


def serve(told: Any, end: Any) -> None:
    """Once we are told to: send something, or take everything."""
    told.send(os.getpid())
    told.recv()
    if isinstance(end, ipc.Sender):
        end.send(b"served")
    elif isinstance(end, ipc.RingWriter):
        end.write(b"served")
    else:
        take = end.recv if isinstance(end, ipc.Receiver) else end.read
        while True:
            take()
    told.recv()


def deliver_signals_to_another_thread() -> None:
    """From now on the kernel can't give SIGINT to the main thread, only to one that sleeps."""
    asleep = threading.Event()
    threading.Thread(target=asleep.wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


# --- of parents that die ------------------------------------------------------------------------------------------


def recv_for_ever(inbox: Any) -> None:
    """Take messages until the end."""
    for _ in inbox:
        pass


def recv_then_pause(inbox: Any) -> None:
    """Take one message, then sleep in the kernel."""
    inbox.recv()
    signal.pause()


def recv_then_say(inbox: Any) -> None:
    """Take one message, and end."""
    inbox.recv()


def recv_then_compute(inbox: Any) -> None:
    """Take one message, then keep the interpreter to itself in one call."""
    inbox.recv()
    sum(range(10**12))


def nest(outbox: Any, method: str, levels: int) -> None:
    """Tell who we are, and who the workers below us are."""
    outbox.send(os.getpid())
    if levels:
        inner, rx = ipc.channel()
        ipc.spawn(nest, inner, method, levels - 1, context=method)
        for _ in range(levels):
            outbox.send(rx.recv())
    signal.pause()
