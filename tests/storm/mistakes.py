"""A mistake planted in a copy of the sources, and what the storm says about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Mistake", "caught_by"]

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("ipc", "native", "tests", "benchmarks", "setup.py", "pyproject.toml", "README.md", "LICENSE")


class Mistake(NamedTuple):
    """In one file."""

    file: str
    right: str
    wrong: str
    also: tuple[str, str] = ("", "")
    """Another place of the same file, changed as well."""


def caught_by(mistake: Mistake, kills: int, of: str) -> str:
    """What the storm says about it; "" if nothing."""
    with tempfile.TemporaryDirectory() as directory:
        for name in COPIED:
            source, copy = ROOT / name, Path(directory, name)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
            else:
                shutil.copy(source, copy)
        path = Path(directory, mistake.file)
        text = path.read_text(encoding="utf-8")
        assert text.count(mistake.right) == 1, f"{mistake.file} has changed: plant this one anew"
        assert mistake.also[0] in text, f"{mistake.file} has changed: plant this one anew"
        text = text.replace(mistake.right, mistake.wrong)
        path.write_text(text.replace(*mistake.also) if mistake.also[0] else text, encoding="utf-8")
        build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        built = subprocess.run(build, cwd=directory, check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        storm = [sys.executable, "-m", "tests.storm", "--of", of, "--kills", str(kills), "--per-round", "20"]
        done = subprocess.run(storm, cwd=directory, check=False, capture_output=True, text=True)
        return "" if done.returncode == 0 else verdict_in(done.stderr)


def verdict_in(trace: str) -> str:
    """The line that says it best: the checker's, the watchdog's, or the first error of a process."""
    lines = [line.strip() for line in trace.splitlines()]
    for sign in ("REFUSED", "Hang:", "Error"):
        for line in lines:
            if sign in line:
                return line[line.rfind("REFUSED") :] if sign == "REFUSED" else line
    return lines[-1]
