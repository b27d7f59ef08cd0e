"""Segments as Python sees them: made, attached, handed to a child, removed."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import Any, Final

import posix_ipc

from ipc import errors
from ipc._core.native import check, ffi, lib, raise_status

__all__ = ["KINDS", "Segment", "close_file", "directory", "open_file"]

DEFAULT_DIRECTORY: Final = "/dev/shm"
ATTACH_TRIES: Final = (
    2000  # of 1 ms, as in naming.c: whoever replaces it needs microseconds, unless stopped or throttled
)

KINDS: Final = {
    "ring": lib.IPCR_KIND_RING,
    "channel": lib.IPCR_KIND_CHANNEL,
    "queue": lib.IPCR_KIND_QUEUE,
    "reliable queue": lib.IPCR_KIND_RELIABLE,
    "multicast": lib.IPCR_KIND_MULTICAST,
}


def directory() -> str:
    """Where named segments live: IPC_DIR, or the system's directory for POSIX shared memory."""
    path = os.environ.get("IPC_DIR") or DEFAULT_DIRECTORY
    from pathlib import Path  # here, because it would weigh on `import ipc`

    if not Path(path).is_dir():
        raise errors.SharedMemoryError(
            errno.ENOTDIR, f"IPC_DIR={path!r} is no directory; make it, or unset IPC_DIR to use {DEFAULT_DIRECTORY}"
        )
    return path


def open_file(where: str, name: str) -> int:
    """A descriptor, on a description of its own, of what `name` leads to."""
    try:
        if where == DEFAULT_DIRECTORY:
            return int(posix_ipc.SharedMemory(f"/{name}").fd)
        return os.open(f"{where}/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (posix_ipc.ExistentialError, FileNotFoundError):
        raise_status(lib.IPCR_NOT_FOUND, f"segment {name!r} in {where}")
    except (posix_ipc.PermissionsError, PermissionError):
        raise_status(lib.IPCR_UNTRUSTED, f"segment {name!r} in {where}")
    except ValueError:  # what posix_ipc makes of a directory
        raise_status(lib.IPCR_NOT_OURS, f"{name!r} in {where}")
    except InterruptedError:  # which posix_ipc hands on; a signal's handler has run by now
        return open_file(where, name)
    except OSError as error:  # a directory, a symbolic link, a socket
        if error.errno in {errno.EISDIR, errno.ELOOP, errno.ENXIO}:
            raise_status(lib.IPCR_NOT_OURS, f"{name!r} in {where}")
        # two that posix_ipc says in words only
        number = error.errno or (errno.ENFILE if "system limit" in str(error) else errno.EMFILE)
        raise_status(lib.IPCR_ERRNO_BASE - number, f"{name!r} in {where}")


def close_file(fd: int) -> None:
    """Give a descriptor back.  Linux has closed it, whatever it says, and nothing was written that could be lost."""
    with contextlib.suppress(OSError):
        os.close(fd)


class Segment:
    """One attached segment.  Ends hold references of their own, so it lives as long as any of them."""

    __slots__ = ("__weakref__", "directory", "kind", "name", "pointer")

    def __init__(self, pointer: Any, kind: str, where: str | None, name: str | None) -> None:
        self.pointer = pointer
        self.kind = kind
        self.directory = where
        self.name = name

    def __del__(self) -> None:
        release, pointer = lib.ipcr_segment_release, getattr(self, "pointer", None)
        if pointer is not None:
            self.pointer = None
            release(pointer)

    def keep(self, pointer: object) -> None:
        """Called when memory of the segment is let go of; its purpose is to hold the segment until then."""

    def __str__(self) -> str:
        return self.kind if self.name is None else f"{self.kind} {self.name!r}"

    @classmethod
    def create(cls, kind: str, capacity: int, name: str | None, *, start_position: int = 0) -> Segment:
        """A new segment for a ring; `start_position` is for tests of counter wrap."""

        def make(where: Any, label: bytes, out: Any) -> int:
            return int(lib.ipcr_segment_create(where, label, KINDS[kind], capacity, start_position, out))

        return cls._create(kind, capacity, name, int(lib.ipcr_segment_footprint(capacity)), make)

    @classmethod
    def create_queue(
        cls, kind: str, capacity: int, name: str | None, lanes: int, options: Any, *, start_sequence: int = 0
    ) -> Segment:
        """A new segment for a queue; each lane takes its memory when a producer takes it."""

        def make(where: Any, label: bytes, out: Any) -> int:
            number = KINDS[kind]
            return int(
                lib.ipcr_segment_create_queue(where, label, number, capacity, lanes, options, start_sequence, out)
            )

        return cls._create(kind, capacity, name, int(lib.ipcr_queue_footprint(lanes)), make)

    @classmethod
    def create_multicast(
        cls, capacity: int, name: str | None, entries: int, options: Any, *, start_sequence: int = 0
    ) -> Segment:
        """A new segment for a multicast that keeps at most so many messages."""

        def make(where: Any, label: bytes, out: Any) -> int:
            return int(lib.ipcr_segment_create_multicast(where, label, capacity, entries, options, start_sequence, out))

        return cls._create("multicast", capacity, name, int(lib.ipcr_multicast_footprint(capacity, entries)), make)

    @classmethod
    def _create(
        cls, kind: str, capacity: int, name: str | None, footprint_bytes: int, make: Callable[[Any, bytes, Any], int]
    ) -> Segment:
        from ipc._core import footprint  # here, because of its pathlib

        where = None if name is None else directory()
        footprint.require(footprint_bytes, where, f"a segment of capacity {capacity}")
        label = f"ipc:{kind}:{os.getpid()}-{os.urandom(4).hex()}" if name is None else name
        out = ffi.new("struct ipcr_segment **")
        status = make(ffi.NULL if where is None else os.fsencode(where), label.encode(), out)
        what = f"{kind} of capacity {capacity}" if name is None else f"{kind} {name!r} in {where}"
        if status == lib.IPCR_NOT_OURS:
            raise errors.SegmentExistsError(
                f"{what}: a file of that name exists and is no segment; choose another name"
            )
        if status in {lib.IPCR_ERRNO_BASE - errno.ENOSPC, lib.IPCR_ERRNO_BASE - errno.ENOMEM}:  # gone since we looked
            number = lib.IPCR_ERRNO_BASE - status
            needs = f"{what}: {os.strerror(number)}; it needs {footprint_bytes} bytes"
            raise errors.OutOfSharedMemoryError(number, f"{needs}: {footprint.ways_out(where)}")
        check(status, what)
        return cls(out[0], kind, where, name)

    @classmethod
    def attach(cls, kind: str, name: str) -> Segment:
        """The named segment, checked."""
        where = directory()
        what = f"{kind} {name!r} in {where}"
        for _ in range(ATTACH_TRIES):
            fd = open_file(where, name)
            out = ffi.new("struct ipcr_segment **")
            status = lib.ipcr_segment_attach(fd, os.fsencode(where), name.encode(), KINDS[kind], False, out)
            if status == lib.IPCR_OK:
                return cls(out[0], kind, where, name)
            close_file(fd)
            if status != lib.IPCR_AGAIN:
                raise_status(status, what)
            time.sleep(0.001)  # it is being removed or replaced: open it anew
        raise_status(lib.IPCR_NAME_BUSY, what)

    @classmethod
    def adopt(cls, fd: int, kind: str, where: str | None, name: str | None) -> Segment:
        """The segment behind a descriptor that a parent process sent."""
        out = ffi.new("struct ipcr_segment **")
        status = lib.ipcr_segment_attach(
            fd,
            ffi.NULL if where is None else os.fsencode(where),
            ffi.NULL if name is None else name.encode(),
            KINDS[kind],
            True,
            out,
        )
        if status != lib.IPCR_OK:
            close_file(fd)
            raise_status(status, f"{kind} from the parent process")
        return cls(out[0], kind, where, name)

    @property
    def fd(self) -> int:
        """The descriptor behind the mapping; never lock through it."""
        return int(lib.ipcr_segment_fd(self.pointer))

    @property
    def capacity(self) -> int:
        """Bytes of data."""
        return int(lib.ipcr_segment_capacity(self.pointer))

    def unlink(self) -> None:
        """Remove the name; those attached go on."""
        if self.name is None:
            raise ValueError(f"an anonymous {self.kind} has no name to unlink; it goes with its last handle")
        check(lib.ipcr_segment_unlink(self.pointer), str(self))
