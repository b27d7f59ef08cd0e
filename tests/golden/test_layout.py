"""Where every word of the format stands: all compilers and machines agree, and no word is left out.

A word that takes the place of padding is a new line of layout_1.txt; any other change there is a new version of the
format.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.golden.placing import HERE, VERSION

NATIVE = HERE.parents[1] / "native"
LAYOUT = HERE / f"layout_{VERSION}.txt"

COMPILERS = {
    "this machine": (["gcc"], []),
    "32 bits": (["gcc", "-m32"], []),
    "clang": (["clang"], []),
    "aarch64": (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"]),
}


def tried(command: list[Any], need: str) -> str:
    """The output, or a skip that says what is missing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here; {need}")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0 and ("bits/" in done.stderr or "cannot find" in done.stderr or "gnu/stubs" in done.stderr):
        pytest.skip(f"{' '.join(command[:2])} has no C library to compile for; {need}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("machine", COMPILERS)
def test_every_compiler_and_machine_puts_every_word_in_the_same_place(machine: str, tmp_path: Path) -> None:
    compiler, runner = COMPILERS[machine]
    need = "Debian: apt-get install gcc-multilib clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
    program = tmp_path / "layout"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    tried([*compiler, *flags, HERE / "layout.c", "-o", program], need)
    assert tried([*runner, str(program)], need) == LAYOUT.read_text(encoding="ascii")


# --- nothing is left out ------------------------------------------------------------------------------------------


def sizes() -> dict[str, int]:
    """Every struct of the layout, and its size."""
    text = LAYOUT.read_text(encoding="ascii")
    return {name: int(size) for name, size in re.findall(r"^sizeof (\w+) +(\d+)$", text, re.MULTILINE)}


def test_every_struct_of_the_format_is_in_the_layout() -> None:
    headers = [path.read_text(encoding="utf-8") for path in sorted(NATIVE.glob("*format.h"))]
    declared = [name for text in headers for name in re.findall(r"\bstruct\s+(\w+)\s*\{", text)]
    assert len(headers) == 3
    assert sorted(sizes()) == sorted(declared)


@pytest.mark.parametrize("struct", sizes())
def test_the_members_of_a_struct_in_the_layout_leave_no_gap(struct: str) -> None:
    """One that layout.c leaves out is a gap, as is padding that a compiler put in by itself."""
    member_line = rf"^{struct}\.(\w+) +(\d+)  (\d+) bytes( each)?$"
    end = 0
    for member, offset, size, each in re.findall(member_line, LAYOUT.read_text(encoding="ascii"), re.MULTILINE):
        assert int(offset) == end, f"something stands before {member}"
        end += 0 if each else int(size)
    assert end == sizes()[struct], "something stands at the end"
