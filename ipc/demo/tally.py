"""The demo's work: tokenise one file, add the results up, say where two sums differ."""

from __future__ import annotations

import io
import keyword
import token
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["FILE_TALLY", "FileTally", "Tally", "differences", "merge", "tally_file"]

_LONGEST_KEPT = 10
_NAME_LIMIT = 200
_ERROR_LIMIT = 200

FILE_TALLY = np.dtype(
    [
        ("number", "u4"),  # the file's index in the list of sources
        ("counts", "u4", (token.N_TOKENS,)),  # tokens of each type; all 0 if the file couldn't be tokenised
        ("longest", f"U{_NAME_LIMIT}", (_LONGEST_KEPT,)),  # identifiers, longest first; empty where there are no more
        ("error", f"U{_ERROR_LIMIT}"),  # why the file couldn't be tokenised, or empty
    ]
)
"""What is known about one file: the message that a worker sends back.  Its size is the same whatever the file holds."""

FileTally = NDArray[np.void]
"""One record of `FILE_TALLY`, without dimensions."""


@dataclass(slots=True)
class Tally:
    """The sum over many files."""

    counts: Counter[str] = field(default_factory=Counter)
    longest: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """Path to reason, for the files that couldn't be tokenised."""
    files: int = 0
    """Results merged, failed ones included."""


def tally_file(number: int, content: bytes) -> FileTally:
    """Tokenise one file.  A file that can't be tokenised gives a result with `error`, never an exception."""
    result = np.zeros((), FILE_TALLY)
    result["number"] = number
    counts: Counter[int] = Counter()
    names: set[str] = set()
    try:
        for one in tokenize.tokenize(io.BytesIO(content).readline):
            counts[one.type] += 1
            if one.type == token.NAME:
                names.add(one.string)
    except Exception as error:  # SyntaxError, TokenError, UnicodeDecodeError, LookupError: whatever bad bytes provoke
        result["error"] = f"{type(error).__name__}: {error}"[:_ERROR_LIMIT]
        return result
    result["counts"][list(counts)] = list(counts.values())
    longest = _longest(name[:_NAME_LIMIT] for name in names if not keyword.iskeyword(name))
    result["longest"][: len(longest)] = longest
    return result


def merge(paths: Sequence[str], results: Iterable[FileTally]) -> Tally:
    """Add up the results of many files; the order in which they come makes no difference."""
    table = np.array(list(results), FILE_TALLY)
    counts = table["counts"].sum(axis=0, dtype=np.uint64)
    failed = table[table["error"] != ""]
    return Tally(
        Counter({token.tok_name[kind]: count for kind, count in enumerate(counts.tolist()) if count}),
        _longest(name for name in table["longest"].ravel().tolist() if name),
        {paths[result["number"]]: str(result["error"]) for result in failed},
        len(table),
    )


def differences(expected: Tally, found: Tally) -> list[str]:
    """Say in sentences where two sums differ; an empty list means that they agree."""
    said = []
    if expected.files != found.files:
        said.append(f"{expected.files:,} files expected, {found.files:,} found")
    for kind in sorted(expected.counts.keys() | found.counts.keys()):
        want, got = expected.counts[kind], found.counts[kind]
        if want != got:
            said.append(f"{kind}: {want:,} tokens expected, {got:,} found")
    if expected.longest != found.longest:
        said.append(f"longest identifiers: {expected.longest} expected, {found.longest} found")
    for path in sorted(expected.errors.keys() | found.errors.keys()):
        reason, other = expected.errors.get(path, "no error"), found.errors.get(path, "no error")
        if reason != other:
            said.append(f"{path}: {reason!r} expected, {other!r} found")
    return said


def _longest(names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (-len(name), name))[:_LONGEST_KEPT]
