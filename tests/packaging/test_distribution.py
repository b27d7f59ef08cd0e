"""What is shipped: the sdist is what git tracks, and installs and works with every Python found here."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")
OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Distribution(NamedTuple):
    sdist: Path
    wheel: Path  # built from the sdist, by the Python that runs the tests


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed; a failure shows all that it said."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def find_python(version: str) -> str | None:
    """A Python of this version that really runs; a shim of pyenv may stand for one that isn't selected."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for candidate in [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]:
        if candidate and runs(candidate):
            return str(candidate)
    return None


def runs(python: str | Path) -> bool:
    return subprocess.run([python, "-c", "import ensurepip"], check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Built once, by whichever worker of pytest-xdist comes first: a build works in the checkout itself."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out = shared / "dist"
    with (shared / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            making = tmp_path_factory.mktemp("making")
            run(sys.executable, "-m", "build", "--outdir", making, ROOT, cwd=making)
            making.rename(out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return Distribution(sdist, wheel)


def tracked() -> set[str]:
    """What git tracks, or would if it were added."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def test_the_sdist_holds_what_git_tracks_but_no_dot_files(distribution: Distribution) -> None:
    with tarfile.open(distribution.sdist) as archive:
        packed = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in packed if name in {"PKG-INFO", "setup.cfg"} or name.startswith("ipc_rings.egg-info/")}
    wanted = {name for name in tracked() if not any(part.startswith(".") for part in Path(name).parts)}
    assert packed - made == wanted


def test_the_wheel_holds_both_packages_and_both_extensions(distribution: Distribution) -> None:
    packed = {name for name in zipfile.ZipFile(distribution.wheel).namelist() if ".dist-info/" not in name}
    extensions = {name for name in packed if name.endswith(".so")}
    ours = {name for name in tracked() if name.startswith("ipc/")}
    benchmarks = {f"ipc/_bench/{name[len('benchmarks/') :]}" for name in tracked() if name.startswith("benchmarks/")}

    assert sorted(name.split(".")[0] for name in extensions) == ["ipc/_core/_fast", "ipc/_core/_native"]
    assert packed - extensions == ours | benchmarks
    assert "ipc/py.typed" in packed


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_it_installs_from_elsewhere_and_works(version: str, distribution: Distribution, tmp_path: Path) -> None:
    found = sys.executable if version == OWN_VERSION else find_python(version)
    if found is None:
        pytest.skip(f"no Python {version} here")
    run(found, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    package = distribution.wheel if version == OWN_VERSION else distribution.sdist

    run(python, "-m", "pip", "install", "--quiet", package, cwd=tmp_path)
    smoke = shutil.copy(SMOKE, tmp_path)
    assert "works" in run(python, smoke, cwd=tmp_path)


def test_it_installs_and_works_where_the_accelerator_cannot_be_built(
    distribution: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *native/fast/*) echo "not here" >&2; exit 1 ;; esac\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    monkeypatch.setenv("CC", str(compiler))

    run(python, "-m", "pip", "install", "--quiet", distribution.sdist, cwd=tmp_path)
    smoke = shutil.copy(SMOKE, tmp_path)
    assert "works over cffi alone" in run(python, smoke, cwd=tmp_path)


def test_an_installed_accelerator_can_be_left_out_by_the_environment(
    distribution: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", distribution.wheel, cwd=tmp_path)
    smoke = shutil.copy(SMOKE, tmp_path)
    assert "works with its accelerator" in run(python, smoke, cwd=tmp_path)
    monkeypatch.setenv("IPC_PURE_CFFI", "1")
    assert "works over cffi alone" in run(python, smoke, cwd=tmp_path)
