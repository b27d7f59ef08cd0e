"""Where every word of the format stands: all compilers and machines agree.

A change of layout_1.txt other than a word that takes the place of padding is a new version of the format.
"""

from __future__ import annotations

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
