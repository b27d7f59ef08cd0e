"""Worker processes: started with their channels as arguments, tied to their parent, heard when they fail.

    parent                                         child
    ------                                         -----
    takes the ends among the arguments
    in the child's name, then starts it  ------->  adopts them: its death is PeerDiedError from now on
    closes its own handles on them
    holds the lifeline's write end       - - - ->  a native thread polls the read end: parent gone, child ends
    reads the failure memo after exit    <-------  writes exception and traceback there, if fn raised

The lifeline is a pipe, not PR_SET_PDEATHSIG, which fires when the *thread* that started the child ends.  The memo is a
memfd, so that a child never blocks on a parent that isn't reading.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from multiprocessing.context import BaseContext
from types import CellType, FrameType, FunctionType, MethodType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, final

from ipc._core import arguments, ends, multicast_ends, parcels
from ipc._core.ends import End
from ipc._core.lifeline import end_with
from ipc._core.ring import ONE_END_OF_A_RING, Ring
from ipc._core.segment import close_file
from ipc._core.transfer import ReceivingEnd
from ipc.errors import EndOfChannel, HandOverError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Worker", "spawn"]

_ORPHANED = 113  # exit code of a worker whose parent went first
_SLICE_SECONDS = 0.1  # a signal that another thread receives does not end what the main thread waits for in the kernel


class RemoteTraceback(Exception):
    """The traceback of a worker, as text: the cause of `Worker.exception`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class _Fd:
    """A descriptor that goes along to a child, under every start method."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _detach, (reduction.DupFd(self.fd),)


def _detach(for_child: parcels.FdForChild) -> _Fd:
    fd = for_child.detach()
    os.set_inheritable(fd, False)
    return _Fd(fd)


# --- the parent's side --------------------------------------------------------------------------------------------

# Descriptors that no forked child may keep: a copy of a lifeline's write end would keep a sibling alive.
_ours: set[int] = set()


def _close_in_forked_child() -> None:
    for fd in _ours:
        os.close(fd)
    _ours.clear()


os.register_at_fork(after_in_child=_close_in_forked_child)


@final
class Worker:
    """A child process that runs one function; made by `ipc.spawn`.

    Belongs to the process that made it, and there to any thread.
    """

    __slots__ = ("__weakref__", "_exception", "_lifeline", "_memo", "_process")

    def __init__(self, process: Any, lifeline: int, memo: int) -> None:
        self._process = process
        self._lifeline = lifeline
        self._memo = memo
        self._exception: BaseException | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self._process.pid)

    @property
    def name(self) -> str:
        """What tools and messages call it."""
        return str(self._process.name)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return bool(self._process.is_alive())

    @property
    def exitcode(self) -> int | None:
        """None while it runs, 0 after a clean end, 1 after an exception, -N after signal N."""
        code: int | None = self._process.exitcode
        return code

    @property
    def exception(self) -> BaseException | None:
        """What `fn` raised, with the worker's traceback as its cause; None if nothing, or while it runs."""
        if self._memo >= 0 and not self.is_alive():
            self._read_memo()
        return self._exception

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; returns also after `timeout` seconds: ask `is_alive()` or `exitcode` then."""
        deadline_ns = arguments.deadline_ns(timeout)
        while True:
            left = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
            self._process.join(min(left, _SLICE_SECONDS))
            if not self.is_alive():
                self._read_memo()
                return
            if time.monotonic_ns() >= deadline_ns:
                return

    def terminate(self) -> None:
        """Ask it to finish (SIGTERM): its receivers hand out what is in the ring, then raise EndOfChannel.

        A worker without receivers ends at once, and so does one that is asked twice.
        """
        self._process.terminate()

    def kill(self) -> None:
        """End it now (SIGKILL); the other sides of its channels get PeerDiedError."""
        self._process.kill()

    def _read_memo(self) -> None:
        memo, self._memo = self._memo, -1
        if memo < 0:
            return
        _ours.discard(memo)
        with open(memo, "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(0)
            content = file.read()
        if content:
            self._exception, text = pickle.loads(content)
            self._exception.__cause__ = RemoteTraceback(text)
        self._drop_lifeline()

    def _drop_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            _ours.discard(lifeline)
            close_file(lifeline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for it; after an exception in the `with` block, ask it to finish first."""
        if kind is not None:
            self.terminate()
        self.join()

    def __del__(self) -> None:
        memo = getattr(self, "_memo", -1)
        if memo in _ours:  # otherwise read, or a forked copy: the descriptor is not ours to close
            _ours.discard(memo)
            close_file(memo)
            if not self.is_alive():  # while it runs, its lifeline lasts as long as this process does
                self._drop_lifeline()

    def __repr__(self) -> str:
        state = "running" if self.is_alive() else f"exit code {self.exitcode}"
        return f"<Worker {self.name}, pid {self.pid}, {state}>"


def _context(context: object) -> BaseContext:
    if isinstance(context, BaseContext):
        return context
    if context is None:
        return multiprocessing.get_context("spawn")
    if not isinstance(context, str):
        raise TypeError(f"context must be a start method's name or a multiprocessing context, not {context!r}")
    return multiprocessing.get_context(context)  # ValueError names an unknown method


def _ends_in(brought: object) -> Iterator[End]:
    """The ends that a function and its arguments bring along: a forked child gets no pickle to find them in."""
    seen: dict[int, object] = {}  # with the objects: an id means nothing once its object is gone
    left = [brought]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, End):
            yield value
        elif isinstance(value, Ring):
            raise HandOverError(ONE_END_OF_A_RING)
        else:
            left.extend(reversed(_parts(value)))


def _parts(value: object) -> list[object]:
    """What an object holds, as far as pickle would follow it (and a function's closure, which pickle can't)."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, MethodType):
        return [value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]  # not an empty one
        return [*cells, value.__defaults__, value.__kwdefaults__]
    if hasattr(value, "__dict__") and not isinstance(value, (type, ModuleType)):
        return [vars(value)]
    return []


def spawn(
    fn: Callable[..., object],
    /,
    *args: Any,
    context: str | BaseContext | None = None,
    **kwargs: Any,
) -> Worker:
    """Run `fn(*args, **kwargs)` in a process of its own, which gets the channel ends among its arguments for good.

    The ends count as the worker's from this moment: if it dies before it first uses them, the other side gets
    PeerDiedError.  The handles of this process on them are closed.  The worker ends when this process is killed; a
    process that ends normally closes its ends and waits for its workers, as multiprocessing does.

    Args:
      fn: a function; importable by name, unless `context` is "fork".
      context: "spawn" (the default), "forkserver" or "fork", or a multiprocessing context.

    Raises:
      HandOverError: an end among the arguments is in use by this process.
      BusyError, ClosedError, EndOfChannel: an end is in use elsewhere, or was closed.
    """
    if not callable(fn):
        raise TypeError(f"fn must be callable, not {fn!r}")
    chosen = _context(context)
    reading, writing = os.pipe()
    _ours.add(writing)  # before the fork: a child with a copy of its own lifeline would outlive us
    memo = -1
    try:
        memo = os.memfd_create("ipc:worker", os.MFD_CLOEXEC)
        process = _start(chosen, fn, args, kwargs, reading, memo)
    except BaseException:
        _ours.discard(writing)
        close_file(writing)
        if memo >= 0:
            close_file(memo)
        raise
    finally:
        close_file(reading)
    _ours.add(memo)
    return Worker(process, writing, memo)


def _start(chosen: BaseContext, fn: Any, args: Any, kwargs: Any, lifeline: int, memo: int) -> Any:
    name = f"ipc-{getattr(fn, '__name__', type(fn).__name__)}"
    with _handed_over(chosen, (fn, args, kwargs)) as forked:
        process = chosen.Process(  # type: ignore[attr-defined]
            target=_work, name=name, args=(fn, args, kwargs, _Fd(lifeline), _Fd(memo), forked)
        )
        process.start()
    return process


@contextmanager
def _handed_over(chosen: BaseContext, brought: object) -> Iterator[list[parcels.Handover]]:
    """Ends change hands here: into the bag while the child starts, closed in this process when it has."""
    forked: list[parcels.Handover] = []
    with parcels.handing_roles_over() as pickled:
        try:
            if chosen.get_start_method() == "fork":
                for end in _ends_in(brought):
                    held = end._hand_over(with_role=True, for_fork=True)
                    forked.append(parcels.Handover(end, held))  # one by one: if the next fails, this goes back
            yield forked
        except BaseException:
            for end, held in (*forked, *pickled):
                end._take_back(held)
            raise
    parcels.sweep()
    for _, held in forked:
        parcels.close(held)
    for end, _ in (*forked, *pickled):
        if not end.closed:
            end._close("it was given to a worker", clean=False)


# --- the child's side ---------------------------------------------------------------------------------------------


class _Finishing:
    """SIGTERM: finish what is there, then end.  The second one, or the first without receivers, just ends."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        receivers = [end for end in tuple(ends.open_ends) if isinstance(end, ReceivingEnd)]
        # a forked child also has copies of its parent's receivers, which mean nothing to it
        draining = [receiver._drain() for receiver in receivers]
        if self.asked or not any(draining):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.asked = True


def _work(fn: Any, args: Any, kwargs: Any, line: _Fd, memo: _Fd, forked: list[parcels.Handover]) -> None:
    end_with(line.fd, _ORPHANED)
    for end, held in forked:
        end._adopt_role(held)
    for end in ends.inherited():
        # as under the other start methods: what is not an argument stays with the parent, which may close it
        end._close("it stayed with the parent; what a worker uses is an argument of ipc.spawn", clean=False)
    finishing = _Finishing()
    signal.signal(signal.SIGTERM, finishing)
    try:
        fn(*args, **kwargs)
    except EndOfChannel as error:
        if not finishing.asked:
            _report(error, memo.fd)
            raise
    except SystemExit:  # an orderly end, whatever its code
        raise
    except BaseException as error:
        _report(error, memo.fd)
        raise


def _report(error: BaseException, memo: int) -> None:
    """Leave the exception for the parent, and the ends as a crash would: their other sides must not take what came for
    everything there was to come."""
    ends.close_all(clean=False)
    multicast_ends.abandon()
    import traceback

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        content = pickle.dumps((error, text))
        pickle.loads(content)
    except Exception as problem:
        stand_in = RuntimeError(f"{type(error).__name__}: {error} (can't be pickled: {problem})")
        content = pickle.dumps((stand_in, text))
    view = memoryview(content)
    while view:
        view = view[os.write(memo, view) :]
