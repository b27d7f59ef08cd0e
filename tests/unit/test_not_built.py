"""A checkout whose extension is not built says so, and how to build it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_from_a_checkout_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ipc", tmp_path / "ipc", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    run = subprocess.run(
        [sys.executable, "-c", "import ipc; ipc.Queue"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("ImportError: the extension beside ")
    assert "`make build` does it" in run.stderr
    assert "start Python in another directory" in run.stderr
