"""Which interpreters can run this: the main one, with its lock.  Others are told why not when they import ipc.

Subinterpreters: what is attached, and what happens to it around fork, belongs to the process; the core keeps it once
for all interpreters.  Its counterparts in Python (fork and exit handlers, the list of open ends, descriptors on their
way to a child) belong to one interpreter, and a fork runs those of the interpreter that forks only.  So a child would
have descriptors that another interpreter's workers live by, and nobody there would close them.

Free-threaded builds: the core holds its own there (each handle has a busy word), but nobody has shown yet that the
Python layer does, so it isn't claimed.
"""

from __future__ import annotations

import sys

__all__ = ["refuse_unsupported"]


def _is_main() -> bool:
    """Whether this is the process's main interpreter."""
    try:
        from _thread import _is_main_interpreter  # type: ignore[attr-defined,unused-ignore]  # since Python 3.12
    except ImportError:
        try:
            import _xxsubinterpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
        except ImportError:  # then nobody can have made one from Python
            return True
        return int(interpreters.get_current()) == int(interpreters.get_main())
    return bool(_is_main_interpreter())


def _has_lock() -> bool:
    """Whether threads take turns here: always, but in a free-threaded build."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def refuse_unsupported() -> None:
    """Raise ImportError where this library can't keep its promises."""
    if not _is_main():
        raise ImportError(
            "ipc can't be used in a subinterpreter, because what it keeps belongs to the whole process: "
            "import it in the main interpreter, or use a process of its own (ipc.spawn) instead of the subinterpreter"
        )
    if not _has_lock():
        raise ImportError(
            "ipc has not been tested without Python's global interpreter lock: "
            "start this interpreter with PYTHON_GIL=1 or -X gil=1, or use a build that has the lock"
        )
