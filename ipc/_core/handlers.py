"""Is an error the call's, or a message's?

Decoding and encoding run code of users, whose errors are the message's, and are told in its place.  A signal's handler
may raise in the middle of that, and then the error is the call's: an alarm, say, that shall end it.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from types import CodeType
from typing import Any

__all__ = ["interrupts"]


def interrupts(error: BaseException) -> bool:
    """Whether it ends the call: no Exception, or one that came through a signal's handler that is installed now (a
    function, a method, a partial or an object).

    Only for errors on their way through an `except`: it looks at the whole traceback.
    """
    if not isinstance(error, Exception):
        return True
    codes = set(_codes())
    trace = error.__traceback__ if codes else None
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _codes() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if not callable(handler):
            continue  # SIG_DFL, SIG_IGN, or one that C has installed
        for one in (handler, type(handler).__call__):
            code = getattr(one, "__code__", None)
            if isinstance(code, CodeType):
                yield code
                break
