"""The demo's work: tokenise one file, add the results up, say where two sums differ."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["FileTally", "Tally", "differences", "merge", "tally_file"]

LONGEST_KEPT = 10
_NAME_LIMIT = 200  # with LONGEST_KEPT, this is why a result has a bounded size whatever stands in the file
_ERROR_LIMIT = 200


class FileTally(NamedTuple):
    """What is known about one file: the message that a worker sends back."""

    number: int
    """The file's index in the list of sources."""
    counts: dict[str, int]
    """Number of tokens per type, by the type's name; empty if the file couldn't be tokenised."""
    longest: list[str]
    """The longest identifiers, longest first."""
    error: str | None
    """Why the file couldn't be tokenised, or None."""


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
    counts: Counter[int] = Counter()
    names: set[str] = set()
    try:
        for token in tokenize.tokenize(io.BytesIO(content).readline):
            counts[token.type] += 1
            if token.type == tokenize.NAME:
                names.add(token.string)
    except Exception as error:  # SyntaxError, TokenError, UnicodeDecodeError, LookupError: whatever bad bytes provoke
        return FileTally(number, {}, [], f"{type(error).__name__}: {error}"[:_ERROR_LIMIT])
    identifiers = (name[:_NAME_LIMIT] for name in names if not keyword.iskeyword(name))
    return FileTally(number, {tokenize.tok_name[kind]: n for kind, n in counts.items()}, _longest(identifiers), None)


def merge(paths: Sequence[str], results: Iterable[FileTally]) -> Tally:
    """Add up the results of many files; the order in which they come makes no difference."""
    total = Tally()
    names: set[str] = set()
    for result in results:
        total.files += 1
        total.counts.update(result.counts)
        names.update(result.longest)
        if result.error is not None:
            total.errors[paths[result.number]] = result.error
    total.longest = _longest(names)
    return total


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
    return sorted(set(names), key=lambda name: (-len(name), name))[:LONGEST_KEPT]
