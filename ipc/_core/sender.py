"""The sending side of channels.  How each message is encoded is decided per message (see encoding.py).

With the accelerator, `send` and `send_many` begin in native/fast/ends.c, which does exact bytes that can go at once;
everything else comes here, where cffi does it all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ipc import errors
from ipc._core import arguments
from ipc._core import encoding as encodings
from ipc._core.batches import Batch
from ipc._core.claims import ALIGNMENT, claim_array, claim_of
from ipc._core.encoding import Encoded, encode
from ipc._core.ends import NOT_READY
from ipc._core.lending import Claim
from ipc._core.native import accelerate, ffi, lib
from ipc._core.transfer import SendingEnd

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

__all__ = ["MessageSender"]

_T = TypeVar("_T")

_OK = lib.IPCR_OK
_FULL = lib.IPCR_FULL
_TOO_LARGE = lib.IPCR_TOO_LARGE

_send_bytes = lib.ipcr_send_bytes
_skew = lib.ipcr_lent_skew


class MessageSender(SendingEnd, Generic[_T]):
    """The methods of `ipc.Sender`."""

    __slots__ = ()

    _or_else = "; send() takes it in parts, and waits"

    def _set_up(self) -> None:
        super()._set_up()
        self._go_fast(arguments.most_bytes(None))

    def send(self, obj: _T, *, type: int = 0, timeout: float | None = None) -> None:
        """Send one message, waiting for room.

        Either the whole message is sent or none of it is ever received; once this returns, the message survives the
        death of this process.  Mutating `obj` afterwards changes nothing.

        A message larger than the channel goes in parts, and streams through: this call returns when the receiver has
        taken the last one.  (If it is given up while only that last part is waiting to be taken, it may still be.)

        Args:
          obj: bytes, bytearray and memoryview go as they are; numpy arrays without Python objects as their memory, of
            any shape and dtype, C and Fortran order kept; anything else as pickle protocol 5, with its buffers out of
            band.
          type: 32 bits that the application may use; `recv_envelope` shows them.
          timeout: seconds; None waits without limit, 0 never waits.

        Raises:
          TimeoutError: no room within `timeout`; nothing was sent.
          PeerDiedError: the receiver died, and there is no room to leave the message for a successor; or it died
            before it had all parts of a large one.
          EndOfChannel: the receiver closed.
          BusyError: another thread, or another process that is alive, is using this end.
        """
        if obj.__class__ is bytes and timeout is None and type == 0:
            status = _send_bytes(self._handle, obj, len(obj))  # type: ignore[arg-type]
            if status == _OK:
                return
        self._post(obj, arguments.message_type(type), timeout, wait=True)

    def try_send(self, obj: _T, *, type: int = 0) -> bool:
        """Send one message if there is room now; whether it was sent.

        Raises as `send`, but never waits; and MessageTooLargeError for a message that would have to go in parts.
        """
        if self._post(obj, arguments.message_type(type), 0, wait=False):
            return True
        self._peer_must_live()
        return False

    def send_many(self, objs: Iterable[_T], *, type: int = 0, timeout: float | None = None) -> int:
        """Send messages, in one native call per batch, and wake the receiver once for each; returns how many.

        A list or a tuple is fastest.  Other iterables are read ahead by at most 64 KiB of messages, or as far as they
        get in a millisecond.  Large messages go as `send` sends them.

        Args:
          objs: what to send.
          type: 32 bits, the same for all.
          timeout: seconds for all of them; None waits without limit, 0 never waits.

        Raises:
          What `send` raises.  The messages before the one that failed were sent; the error's `sent` says how many.
        """
        return self._send_many_from(objs, 0, type, timeout)

    def _send_many_from(self, objs: Iterable[_T], start: int, type: int = 0, timeout: float | None = None) -> int:
        """The same when `start` of them have gone."""
        info = arguments.message_type(type)
        deadline = arguments.deadline_ns(timeout)
        batch = Batch(self, info, deadline)
        batch.sent = start
        try:
            if isinstance(objs, (list, tuple)):
                batch.add_all(objs[start:] if start else objs)
            else:
                batch.add_slowly(objs)
        except BaseException as error:
            error.sent = batch.sent  # type: ignore[attr-defined]
            raise
        return batch.sent

    def _post(self, obj: Any, info: int, timeout: float | None, *, wait: bool) -> bool:
        """Encode one message and send it; whether there was room."""
        deadline = arguments.deadline_ns(timeout)
        if encodings.is_strided_array(obj):
            head = encodings.array_head(obj.dtype, obj.shape, False)
            assert head is not None
            if len(head) + ALIGNMENT + obj.nbytes <= self._attached().capacity - lib.IPCR_RECORD_HEADER:
                try:
                    with claim_array(self, _skew, obj.shape, obj.dtype, info, timeout, by_caller=False) as there:
                        there[...] = obj  # the one copy
                except errors.TimeoutError:
                    if wait:
                        raise
                    return False
                return True
        return self._post_encoded(encode(obj), info, deadline, wait=wait)

    def _post_encoded(self, message: Encoded, info: int, deadline: int, *, wait: bool) -> bool:
        encoding, first, rest = message
        count = 1 + len(rest)
        pieces = ffi.new("struct ipcr_piece[]", count)
        size, kept = 0, []
        for i, piece in enumerate((first, *rest)):
            memory = ffi.from_buffer(piece) if isinstance(piece, bytes) else piece
            kept.append(memory)  # alive until this returns
            pieces[i].data = memory
            pieces[i].length = len(piece)
            size += len(piece)
        info |= encoding << 32
        status = lib.ipcr_send_pieces(self._handle, pieces, count, info)
        if status in NOT_READY:
            self._get_ready(status)
            status = lib.ipcr_send_pieces(self._handle, pieces, count, info)
        if status == _OK:
            return True
        if not wait:
            if status == _FULL:
                return False
            self._refuse(status, size)
        start = time.monotonic_ns()
        if status == _TOO_LARGE:
            status = self._wait(lib.ipcr_send_parts_wait, pieces, count, info, deadline)
            if status == _FULL:
                self._timed_out(
                    f"the receiver did not take a message of {size} bytes, larger than the ring,", deadline, start
                )
            if status == lib.IPCR_PEER_DIED:
                raise errors.PeerDiedError(
                    f"{self}: the receiver died before it had all of a message of {size} bytes; it was not sent"
                )
        elif status == _FULL:
            status = self._wait(lib.ipcr_send_pieces_wait, pieces, count, info, deadline)
            if status == _FULL:
                self._timed_out(f"no room for {size} bytes", deadline, start)
        if status != _OK:
            self._refuse(status, size)
        return True

    # --- zero copy ----------------------------------------------------------------------------------------------

    @overload
    def claim(self, shape: int, *, type: int = 0, timeout: float | None = None) -> Claim[memoryview]: ...
    @overload
    def claim(self, *, nbytes: int, type: int = 0, timeout: float | None = None) -> Claim[memoryview]: ...
    @overload
    def claim(
        self, shape: int | Sequence[int], dtype: DTypeLike, *, type: int = 0, timeout: float | None = None
    ) -> Claim[np.ndarray[Any, Any]]: ...
    def claim(
        self,
        shape: Any = None,
        dtype: Any = None,
        *,
        nbytes: int | None = None,
        type: int = 0,
        timeout: float | None = None,
    ) -> Claim[Any]:
        """Lend memory straight in the ring, to be sent without a copy at the end of its `with`.

            with tx.claim((480, 640, 3), "uint8") as frame:
                camera.read_into(frame)

        The array (or, for `claim(nbytes)`, the memoryview) holds old bytes at first.  Nothing is sent if the body of
        the `with` raises.  Waits for room as `send` does.  While memory is lent, other calls raise BusyError.

        Args:
          shape: an int or a sequence of ints; without a dtype, a number of bytes.
          dtype: of numpy, without Python objects.
          nbytes: a number of bytes, in place of shape and dtype.
          type: 32 bits that the application may use.
          timeout: seconds to wait for room.

        Raises:
          MessageTooLargeError: it can never fit; `send` splits such a message.
          BusyError: at the end of the `with`, something made from the memory is still alive; nothing was sent.
          TimeoutError, PeerDiedError, EndOfChannel: as `send`.
        """
        info = arguments.message_type(type) if type != 0 else 0
        return claim_of(self, _skew, shape, dtype, nbytes, info, timeout)


accelerate(MessageSender, "send", "send_many", "claim")
