"""What a message looks like in a record: bytes, arrays and pickles, with their data aligned.

    bytes      the bytes
    array      <order 1><dimensions 1><length of the dtype 2><0 4>, the shape (8 each), the dtype as text; then, at a
               multiple of 64, the data
    pickle     pickle protocol 5; with out-of-band buffers, <their number 8><length of the pickle 8>, their lengths
               (8 each), the pickle; then each buffer at a multiple of 64

Bytes-like objects arrive as bytes, arrays as arrays that own their memory.  Everything read here is a peer's: lengths
and texts are checked before they are used.  numpy is imported when the first array is met.  docs/shm-format.md.
"""

from __future__ import annotations

import functools
import math
import pickle
import struct
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ipc import errors
from ipc._core.native import ffi, lib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

__all__ = [
    "ARRAY",
    "BYTES",
    "NAMES",
    "array_at",
    "array_head",
    "array_like",
    "array_over",
    "as_bytes",
    "corrupt",
    "data_at",
    "decode",
    "encode",
    "is_strided_array",
    "read_only",
    "reading",
]

BYTES: Final[int] = lib.IPCR_BYTES
PICKLE: Final[int] = lib.IPCR_PICKLE
ARRAY: Final[int] = lib.IPCR_ARRAY
PICKLE_BUFFERS: Final[int] = lib.IPCR_PICKLE_BUFFERS

NAMES: Final = {BYTES: "bytes", PICKLE: "pickle", ARRAY: "array", PICKLE_BUFFERS: "pickle"}

_ALIGNMENT: Final[int] = lib.IPCR_DATA_ALIGNMENT
_RAW = (bytes, bytearray, memoryview)
_HEAD = struct.Struct("<BBHI")
_TABLE = struct.Struct("<QQ")
_MOST_DIMENSIONS = 64
_LONGEST_DTYPE = 10_000  # as numpy bounds what it reads from a .npy file
_KINDS = frozenset("biufcmMSUV")

# What goes into a record: the encoding, the first piece, and those behind it, each of which begins aligned.
Encoded = tuple[int, Any, Sequence[Any]]

# Memory to fill up to an offset of the message (None: skip), and at the end the message.
Reading = Generator[tuple[Any, int], None, Any]

_new_memory = ffi.new_allocator(should_clear_after_alloc=False)

_ndarray: Any = None  # numpy.ndarray, once somebody has imported numpy


def _is_array(obj: object) -> bool:
    global _ndarray  # noqa: PLW0603
    if _ndarray is None:
        _ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
    return obj.__class__ is _ndarray and _ndarray is not None


# --- out --------------------------------------------------------------------------------------------------------


def as_bytes(data: object) -> Any:
    """Something that native code reads `len(...)` bytes from, without a copy where there is a way."""
    if isinstance(data, bytes):
        return data
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"a ring carries bytes-like objects, not {type(data).__name__}; ipc.channel takes any"
        ) from None
    if not view.c_contiguous:
        return view.tobytes()
    return ffi.from_buffer(view) if view.nbytes else b""


def encode(obj: Any) -> Encoded:
    """The pieces of a message; they may show the memory of `obj`."""
    if obj.__class__ in _RAW:
        return BYTES, as_bytes(obj), ()
    if _is_array(obj):
        flags = obj.flags
        fortran = flags.f_contiguous and not flags.c_contiguous
        head = array_head(obj.dtype, obj.shape, fortran)
        if head is not None:
            if not (fortran or flags.c_contiguous):
                obj = obj.copy("C")
            return ARRAY, head, (_memory_of(obj.T if fortran else obj),)
    return _pickled(obj)


def _pickled(obj: Any) -> Encoded:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(obj, protocol=5, buffer_callback=buffers.append)
    if not buffers:
        return PICKLE, data, ()
    views = [buffer.raw() for buffer in buffers]
    sizes = struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views))
    head = b"".join((_TABLE.pack(len(views), len(data)), sizes, data))
    return PICKLE_BUFFERS, head, [ffi.from_buffer(view) if view.nbytes else b"" for view in views]


def _memory_of(array: np.ndarray[Any, Any]) -> Any:
    """The memory of a C-contiguous array, of any dtype, also those that memoryview refuses."""
    return ffi.from_buffer(array) if array.nbytes else b""


def is_strided_array(obj: Any) -> bool:
    """Whether `obj` is sent as an array but lies scattered in memory: best copied straight to where it goes."""
    if not _is_array(obj):
        return False
    flags = obj.flags
    return not (flags.c_contiguous or flags.f_contiguous) and array_head(obj.dtype, obj.shape, False) is not None


def array_head(dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> bytes | None:
    """What stands before an array's data; None for arrays that go as pickles."""
    return _array_head(dtype, dtype.type, shape, fortran)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=512)
def _array_head(dtype: np.dtype[Any], scalar: type, shape: tuple[int, ...], fortran: bool) -> bytes | None:
    """The scalars' type is part of the question: numpy calls structures equal that make records and that make voids."""
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.itemsize == 0 or scalar.__module__ != "numpy":
        return None
    text = dtype.str
    if dtype.names is not None or dtype.subdtype is not None:
        from numpy.lib import format as npy

        try:
            with warnings.catch_warnings():  # that it leaves metadata out
                warnings.simplefilter("ignore", UserWarning)
                description = npy.dtype_to_descr(dtype)
            if npy.descr_to_dtype(description) != dtype or scalar.__name__ != "void":
                return None
        except (TypeError, ValueError):  # overlapping fields, say: no description tells them
            return None
        text = repr(description)
    name = text.encode()
    if len(name) > _LONGEST_DTYPE:
        return None
    return b"".join((_HEAD.pack(fortran, len(shape), len(name), 0), struct.pack(f"<{len(shape)}Q", *shape), name))


def array_like(dtype: DTypeLike, shape: tuple[int, ...]) -> tuple[bytes, np.dtype[Any], str, int]:
    """The head, dtype, order and data bytes of a C-contiguous array that shall be lent."""
    try:
        head, known, names, nbytes = _array_like(dtype, shape)  # type: ignore[arg-type]
    except TypeError:  # a list of fields has no hash; anything else fails again
        import numpy as np

        head, known, names, nbytes = _array_like(np.dtype(dtype), shape)
    if known.names is not names:  # somebody has renamed the fields of an array that was lent with this dtype
        _array_like.cache_clear()
        return array_like(dtype, shape)
    return head, known, "C", nbytes


@functools.lru_cache(maxsize=512)
def _array_like(dtype: DTypeLike, shape: tuple[int, ...]) -> tuple[bytes, np.dtype[Any], Any, int]:
    import numpy as np

    known = np.dtype(dtype)
    if len(shape) > _MOST_DIMENSIONS or math.prod(n or 1 for n in shape) * known.itemsize >= 2**63:
        raise ValueError(f"shape={str(shape)[:100]}: no array of {known} can have that shape")
    head = array_head(known, shape, False)
    if head is None:
        raise TypeError(f"dtype={known} can't be lent: it holds Python objects, takes no memory, or has no description")
    nbytes = math.prod(shape) * known.itemsize
    if nbytes > (most := lib.IPCR_MAX_CAPACITY - lib.IPCR_RECORD_HEADER - len(head) - _ALIGNMENT):
        raise errors.MessageTooLargeError(f"an array of {nbytes} bytes is more than any ring can carry: {most}")
    return head, known, known.names, nbytes


# --- in ---------------------------------------------------------------------------------------------------------


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT


def corrupt(what: str) -> errors.CorruptSegmentError:
    """What to raise for a message that holds `what`."""
    return errors.CorruptSegmentError(f"a message holds {what}, which no correct peer writes; it was dropped")


def _head_length(start: bytes) -> int:
    """The length of an array's head, from its first 8 bytes."""
    _, dimensions, text, _ = _HEAD.unpack(start)
    return int(_HEAD.size + 8 * dimensions + text)


@functools.lru_cache(maxsize=512)
def _parse_head(head: bytes) -> tuple[np.dtype[Any], Any, tuple[int, ...], str, int]:
    """The dtype, its fields' names, the shape, order and data bytes that a whole head stands for."""
    import ast

    import numpy as np

    fortran, dimensions, length, zero = _HEAD.unpack_from(head)
    if len(head) != _HEAD.size + 8 * dimensions + length or length > _LONGEST_DTYPE or dimensions > _MOST_DIMENSIONS:
        raise corrupt(f"an array's head of {len(head)} bytes with {dimensions} dimensions and a dtype of {length}")
    shape = struct.unpack_from(f"<{dimensions}Q", head, _HEAD.size)
    try:
        text = head[_HEAD.size + 8 * dimensions :].decode()
        structured = text.startswith("[")
        dtype = np.lib.format.descr_to_dtype(ast.literal_eval(text)) if structured else np.dtype(text)
    except Exception as error:  # literal_eval and numpy have many ways to say no
        raise corrupt(f"an array of dtype {head[_HEAD.size + 8 * dimensions :][:80]!r}") from error
    size = math.prod(shape) * dtype.itemsize
    # a dtype that is a sub-array would add its axes to the shape
    known = dtype.kind in _KINDS and dtype.itemsize and not dtype.hasobject and dtype.subdtype is None
    if fortran > 1 or zero or not known:
        raise corrupt(f"an array of dtype {text[:80]!r}")
    if math.prod(n or 1 for n in shape) * dtype.itemsize >= 2**63:  # numpy's limit, also where a 0 is among them
        raise corrupt(f"an array of shape {shape[:80]}")
    return dtype, dtype.names, shape, "F" if fortran else "C", size


def _head(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], str, int]:
    """The same, remembered; unless somebody has renamed the fields of an array that came with this dtype."""
    dtype, names, shape, order, size = _parse_head(head)
    if dtype.names is not names:
        _parse_head.cache_clear()
        dtype, _, shape, order, size = _parse_head(head)
    return dtype, shape, order, size


def array_over(shape: tuple[int, ...], dtype: np.dtype[Any], memory: Any, at: int, order: str) -> np.ndarray[Any, Any]:
    """An array over some memory, without a copy."""
    global _ndarray  # noqa: PLW0603
    if _ndarray is None:
        import numpy as np

        _ndarray = np.ndarray
    return _ndarray(shape, dtype, memory, at, None, order)  # type: ignore[no-any-return]


def read_only(exporter: Any) -> np.ndarray[Any, Any]:
    """All of some memory, such that no array over this can be made writable.  (Over a memoryview it can: numpy goes
    behind it.)"""
    import numpy as np

    return np.frombuffer(memoryview(exporter).toreadonly(), np.uint8)


def array_at(memory: Any, size: int, skew: int, exporter: Any) -> np.ndarray[Any, Any]:
    """The array of a whole message, over the message's own memory, which `exporter` exports (perhaps read-only)."""
    head, dtype, shape, order, _ = array_parts(memory, size, skew)
    return array_over(shape, dtype, exporter, data_at(len(head), skew), order)


Parts = tuple[bytes, "np.dtype[Any]", tuple[int, ...], str, int]
"""Of an array in a message: its head, dtype, shape, order, and the bytes of its data."""


def array_parts(memory: Any, size: int, skew: int) -> Parts:
    """What a whole message says of its array."""
    start = bytes(memory[:8])
    if size < 8 or (end := _head_length(start)) > size:
        raise corrupt(f"an array of {size} bytes without a head")
    head = bytes(memory[:end])
    dtype, shape, order, nbytes = _head(head)
    if data_at(end, skew) + nbytes != size:
        raise corrupt(f"{size} bytes for an array of dtype {dtype} and shape {shape}")
    return head, dtype, shape, order, nbytes


def parts_to_claim(dtype: DTypeLike, shape: tuple[int, ...]) -> Parts:
    """The same of an array that shall be lent."""
    head, known, order, nbytes = array_like(dtype, shape)
    return head, known, shape, order, nbytes


def data_at(end: int, skew: int) -> int:
    """Where the data begins behind a head of `end` bytes, in a message `skew` behind a multiple of 64."""
    return _aligned(skew + end) - skew


def _decode_array(memory: Any, size: int, skew: int) -> Any:
    array = array_at(memory, size, skew, memory)
    return array.copy("K") if array.flags.c_contiguous else array.copy("F")


def _decode_bytes(memory: Any, size: int, skew: int) -> Any:
    return bytes(memory)


def _decode_pickle(memory: Any, size: int, skew: int) -> Any:
    return pickle.loads(memory)


def _decode_pickle_with_buffers(memory: Any, size: int, skew: int) -> Any:
    data = memoryview(memory)
    try:
        sizes, at = _table(data[: _TABLE.size], size, lambda n: data[_TABLE.size : n])
        start, at = at, at + sizes.pop(0)
        buffers = []
        end = at
        for length in sizes:
            begin = data_at(end, skew)
            end = begin + length
            buffers.append(bytearray(data[begin:end]))
        if end != size:
            raise corrupt(f"{size} bytes for a pickle with buffers of {end} in all")
        return pickle.loads(data[start:at], buffers=buffers)
    finally:
        data.release()


def _table(start: Any, size: int, rest: Callable[[int], Any]) -> tuple[list[int], int]:
    """The lengths of the pickle and its buffers, and where the pickle begins."""
    if len(start) < _TABLE.size:
        raise corrupt(f"a pickle of {size} bytes without its table")
    count, length = _TABLE.unpack(start)
    end = _TABLE.size + 8 * count
    if end + length > size:
        raise corrupt(f"a pickle of {length} bytes and {count} buffers in {size} bytes")
    sizes = struct.unpack(f"<{count}Q", rest(end))
    if sum(sizes) > size:
        raise corrupt(f"buffers of {sum(sizes)} bytes in {size} bytes")
    return [length, *sizes], end


_DECODERS: Final[dict[int, Callable[[Any, int, int], Any]]] = {
    BYTES: _decode_bytes,
    PICKLE: _decode_pickle,
    ARRAY: _decode_array,
    PICKLE_BUFFERS: _decode_pickle_with_buffers,
}


def decode(encoding: int, memory: Any, size: int, skew: int) -> Any:
    """The message in `memory`, whose address is `skew` behind a multiple of 64; it refers to none of that memory."""
    return _DECODERS[encoding](memory, size, skew)


# --- in, part by part -------------------------------------------------------------------------------------------


def reading(encoding: int, size: int) -> Reading:
    """How to read a message that comes in parts, each piece straight to where it shall stay."""
    return _READERS[encoding](size)


def _read(size: int, upto: int) -> Generator[tuple[Any, int], None, Any]:
    memory = _new_memory("char[]", size)
    yield memory, upto
    return ffi.buffer(memory)


def _read_bytes(size: int) -> Reading:
    memory = yield from _read(size, size)
    return memory[:]


def _read_pickle(size: int) -> Reading:
    memory = yield from _read(size, size)
    return pickle.loads(memory)


def _read_array(size: int) -> Reading:
    import numpy as np

    start = (yield from _read(_HEAD.size, _HEAD.size))[:]
    end = _head_length(start)
    if end > size:
        raise corrupt(f"an array of {size} bytes without a head")
    rest = yield from _read(end - _HEAD.size, end)
    dtype, shape, order, nbytes = _head(start + rest[:])
    at = _aligned(end)
    if at + nbytes != size:
        raise corrupt(f"{size} bytes for an array of dtype {dtype} and shape {shape}")
    yield None, at
    array = np.empty(shape, dtype, order)  # type: ignore[call-overload]
    yield ffi.from_buffer("char[]", array if order == "C" else array.T, require_writable=True), size
    return array


def _read_pickle_with_buffers(size: int) -> Reading:
    start = (yield from _read(_TABLE.size, _TABLE.size))[:]
    count, _ = _TABLE.unpack(start)
    if 8 * count > size:
        raise corrupt(f"a pickle with {count} buffers in {size} bytes")
    end = _TABLE.size + 8 * count
    table = yield from _read(8 * count, end)
    sizes, at = _table(start, size, lambda n: table)
    end = at + sizes.pop(0)
    data = yield from _read(end - at, end)
    buffers = []
    for length in sizes:
        yield None, _aligned(end)
        end = _aligned(end) + length
        if end > size:
            raise corrupt(f"a buffer of {length} bytes in a pickle of {size}")
        buffer = bytearray(length)
        if length:
            yield ffi.from_buffer("char[]", buffer, require_writable=True), end
        buffers.append(buffer)
    if end != size:
        raise corrupt(f"{size} bytes for a pickle with buffers of {end} in all")
    return pickle.loads(data, buffers=buffers)


_READERS: Final[dict[int, Callable[[int], Reading]]] = {
    BYTES: _read_bytes,
    PICKLE: _read_pickle,
    ARRAY: _read_array,
    PICKLE_BUFFERS: _read_pickle_with_buffers,
}
