"""What is weakened in the core, one site at a time: the list of mutants.

    an acquire load, a release store            made relaxed
    an exchange or a compare-exchange           without its acquire, without its release, not one step
    the full fence                              left out, and made acquire-release, which orders all but store to load
    other fences, membarrier                    left out
    racy_copy, racy_write                       made plain copies
    a store or call that publishes              moved before the statement before it

Some of the last kind don't compile; those are no mutants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
NOT_MODELLED = {
    "atomics.h",
    "os.c",
    "fast_calls.c",
    "fast_calls.h",
    "cdef.h",
    "api.h",
    "os.h",
}

# A call, what replaces its name, what is added to its arguments, and what that is called.
CALLS = (
    ("load_acquire32", "load_relaxed32", "", "acquire load made relaxed"),
    ("load_acquire64", "load_relaxed64", "", "acquire load made relaxed"),
    ("store_release32", "store_relaxed32", "", "release store made relaxed"),
    ("store_release64", "store_relaxed64", "", "release store made relaxed"),
    *(
        (f"{name}{bits}", f"{weak}{bits}", f", {order}", f"{said} {how}")
        for name, weak, widths, said in (
            ("exchange_acq_rel", "exchange_weak", ("32",), "exchange"),
            ("compare_exchange", "compare_exchange_weak", ("32", "64"), "compare-exchange"),
        )
        for bits in widths
        for order, how in (
            ("MODEL_RELEASE", "without its acquire"),
            ("MODEL_ACQUIRE", "without its release"),
            ("MODEL_TORN", "not one step"),
        )
    ),
    ("fence_store_load", "(void)0, (void)", "0", "full fence left out"),
    ("fence_store_load", "fence_acq_rel", "", "full fence made acquire-release"),
    ("fence_compiler", "(void)0, (void)", "0", "compiler fence left out"),
    ("fence_load_load", "(void)0, (void)", "0", "load-load fence left out"),
    ("fence_store_store", "(void)0, (void)", "0", "store-store fence left out"),
    ("ipcr_os_membarrier", "(bool)", "1", "membarrier left out"),
    ("racy_copy", "copy_out", "", "racy copy made plain"),
    ("racy_write", "copy_in", "", "racy copy made plain"),
)
# Stores that publish, and functions whose last step is one: tell() of a publisher, not that of queues, which wakes.
PUBLISHING = "store_release32 store_release64 ipcr_ring_publish ipcr_ring_release ipcr_publish ipcr_release_space"
PUBLISHING += r" ipcr_producer_publish publish_freed tell(?=\(p,) move_cursor"
PUBLISHES = re.compile(rf"(\w+ = (\(\w+\))?)?({'|'.join(PUBLISHING.split())})\(")
NEVER_MOVED = re.compile(r"(else|return|break|continue|goto|case|default|do|for|while|switch)\b")
FUNCTION = re.compile(r"^(?!#|\s|typedef|struct \w+ \{|enum|union)[\w *]*?(\w+)\(", re.MULTILINE)
EARLY = "published one statement early"


@dataclass(frozen=True)
class Mutant:
    """One change to one file."""

    path: Path
    line: int
    function: str
    what: str
    text: str  # the line, or as much of it as tells it from others
    source: str  # of the whole file, changed

    @property
    def key(self) -> str:
        """What it is called in the list of survivors, where line numbers would not last."""
        return f"{self.path.name} {self.function} | {self.what} | {self.text}"


def without_comments(source: str) -> str:
    """The same text with blanks for comments and strings, so that places stay the same."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)


def closing(code: str, opening: int) -> int:
    """Where the parenthesis at `opening` is closed."""
    depth = 0
    for at in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"never closed: {code[opening : opening + 60]}")


def statements(code: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each simple statement and each `if (...) simple;`; (0, 0) where a block begins or ends."""
    begin = depth = 0
    for at, sign in enumerate(code):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign in "{}" and depth == 0:
            yield 0, 0
            begin = at + 1
        elif sign == ";" and depth == 0:
            yield begin + len(code[begin:at]) - len(code[begin:at].lstrip()), at + 1
            begin = at + 1


@dataclass(frozen=True)
class Source:
    """A file of the core."""

    path: Path
    text: str
    code: str

    def mutant(self, at: int, what: str, changed: str) -> Mutant:
        line = self.text.count("\n", 0, at) + 1
        functions = [match for match in FUNCTION.finditer(self.code, 0, at + 1) if match.start() <= at]
        shown = self.code.splitlines()[line - 1]
        column = at - (self.code.rfind("\n", 0, at) + 1)
        same = [match.start() for match in re.finditer(re.escape(shown[column:].split("(")[0] + "("), shown)]
        text = shown.strip() + (f" [{same.index(column) + 1}]" if len(same) > 1 and column in same else "")
        return Mutant(self.path, line, functions[-1].group(1) if functions else "", what, text, changed)

    def weakened(self) -> Iterator[Mutant]:
        for name, weaker, more, what in CALLS:
            for match in re.finditer(rf"\b{name}\(", self.code):
                at, end = match.start(), closing(self.code, match.end() - 1)
                changed = self.text[:at] + weaker + self.text[match.end() - 1 : end] + more + self.text[end:]
                yield self.mutant(at, what, changed)

    def publishes(self, at: int) -> bool:
        """Whether the statement there publishes something, perhaps under a condition."""
        condition = re.match(r"if \(", self.code[at:])
        if condition:
            behind = closing(self.code, at + condition.end() - 1) + 1
            at = behind + len(self.code[behind:]) - len(self.code[behind:].lstrip())
        return PUBLISHES.match(self.code, at) is not None

    def moved(self) -> Iterator[Mutant]:
        begin = end = 0
        for at, behind in statements(self.code):
            before = self.code[begin:end]
            if end > 0 and behind > 0 and self.publishes(at) and not NEVER_MOVED.match(before):
                changed = (
                    self.text[:begin] + self.text[at:behind] + "\n" + self.text[begin:end] + "\n" + self.text[behind:]
                )
                yield self.mutant(at, EARLY, changed)
            begin, end = at, behind


def mutants_of(path: Path) -> list[Mutant]:
    text = path.read_text()
    source = Source(path, text, without_comments(text))
    return sorted([*source.weakened(), *source.moved()], key=lambda mutant: mutant.line)


def modelled() -> list[Path]:
    """What the explorer runs; its back ends stand for the others."""
    return sorted(path for path in NATIVE.glob("*.[ch]") if path.name not in NOT_MODELLED)
