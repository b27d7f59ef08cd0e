"""Finding and reading the Python files that the demo works on."""

from __future__ import annotations

import os
import stat
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LARGEST_FILE_BYTES", "NoSourcesError", "Sources", "read_tree", "standard_library"]

LARGEST_FILE_BYTES = 8 * 1024 * 1024 - 4096
"""A file goes through a ring whole: this one just fits into a ring of 8 MiB."""

_SKIPPED_DIRECTORIES = frozenset({"__pycache__", "dist-packages", "site-packages"})


class NoSourcesError(Exception):
    """There is nothing to work on; the text says why."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Python files, read once: every run works on the same bytes and none of them waits for a disk."""

    root: Path
    paths: list[str]
    """Relative to the root, in sorted order; a file's index in this list is its number in messages."""
    contents: list[bytes]
    """What stands in the file of the same index."""
    unreadable: dict[str, str]
    """Files and directories that couldn't be read or are too large to be sent, with the reason."""

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.contents))

    def add(self, path: Path) -> None:
        """Read one file, or note why it can't be read."""
        try:
            content = _read(path)
        except (OSError, ValueError) as error:
            self.note(path, error)
        else:
            self.paths.append(str(path.relative_to(self.root)))
            self.contents.append(content)

    def note(self, path: Path, error: OSError | ValueError) -> None:
        reason = error.strerror if isinstance(error, OSError) else None
        self.unreadable[str(path.relative_to(self.root))] = reason or str(error)


def standard_library() -> Path:
    """Return the directory of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def read_tree(root: Path) -> Sources:
    """Read every ``.py`` file below `root`, installed packages and caches excepted.

    A file that can't be read is noted, never fatal.

    Raises:
      NoSourcesError: `root` is no directory, or no ``.py`` file below it could be read.
    """
    if not root.exists():
        raise NoSourcesError(f"{root} does not exist")
    if not root.is_dir():
        raise NoSourcesError(f"{root} is not a directory")
    sources = Sources(root, [], [], {})
    for path in sorted(_python_files(sources)):
        sources.add(path)
    if not sources.paths:
        which = "no .py file that can be read" if sources.unreadable else "no .py file"
        raise NoSourcesError(f"{root} contains {which}")
    return sources


def _python_files(sources: Sources) -> Iterator[Path]:
    def note(error: OSError) -> None:
        sources.note(Path(error.filename), error)

    for directory, subdirectories, names in os.walk(sources.root, onerror=note):
        subdirectories[:] = [name for name in subdirectories if name not in _SKIPPED_DIRECTORIES]
        for name in names:
            if name.endswith(".py"):
                yield Path(directory, name)


def _read(path: Path) -> bytes:
    # A FIFO without a writer would block for ever in open(), so ask first what it is.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > LARGEST_FILE_BYTES:
        raise ValueError(f"larger than {LARGEST_FILE_BYTES:,} bytes")
    with path.open("rb") as file:
        return file.read(LARGEST_FILE_BYTES)
