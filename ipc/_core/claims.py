"""What a claim lends: memory, or an array with its head in front; the same for every writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ipc._core import arguments
from ipc._core import encoding as encodings
from ipc._core.lending import Claim, Loan
from ipc._core.native import lib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

    from ipc._core.lending import ClaimingEnd

__all__ = ["ALIGNMENT", "claim_array", "claim_of"]

ALIGNMENT: Final[int] = lib.IPCR_DATA_ALIGNMENT
SkewOf = Callable[[Any], int]


def claim_of(
    writer: ClaimingEnd, skew_of: SkewOf, shape: Any, dtype: Any, nbytes: int | None, info: int, timeout: float | None
) -> Claim[Any]:
    """`nbytes`, or a shape and a dtype, as a user gives them.  skew_of: how far lent memory is behind a multiple of 64.

    Raises:
      TypeError, ValueError: arguments that make no sense.
      MessageTooLargeError: no ring could carry it.
    """
    if nbytes is not None and not (shape is None and dtype is None):
        raise TypeError("claim() takes nbytes, or a shape and a dtype, not both")
    if dtype is None:
        size = arguments.claim_bytes(shape if nbytes is None else nbytes)
        return Claim(writer, size, timeout, info, _memory)
    shape = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    for extent in shape:
        if extent.__class__ is not int or extent < 0:
            shape = tuple(map(arguments.extent, shape))
            break
    return claim_array(writer, skew_of, shape, dtype, info, timeout)


def claim_array(
    writer: ClaimingEnd,
    skew_of: SkewOf,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    info: int,
    timeout: float | None,
    *,
    by_caller: bool = True,
) -> Claim[np.ndarray[Any, Any]]:
    """The same for a shape that was checked."""
    head, known, order, nbytes = encodings.array_like(dtype, shape)
    length = len(head)

    def lend(loan: Loan, handle: Any) -> tuple[np.ndarray[Any, Any], int]:
        exporter = loan.exporter
        exporter[:length] = head
        at = encodings.data_at(length, skew_of(handle))
        return loan.array(encodings.array_over(shape, known, exporter, at, order)), at + nbytes

    size = length + ALIGNMENT + nbytes
    return Claim(writer, size, timeout, info | encodings.ARRAY << 32, lend, by_caller=by_caller)


def _memory(loan: Loan, handle: Any) -> tuple[memoryview, int]:
    return loan.memory(read_only=False), len(loan.exporter)
