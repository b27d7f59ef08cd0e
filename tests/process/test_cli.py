"""The command line: what `ls`, `rm` and `gc` show and do, and what is said when it can't be used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOLD_A_CHANNEL = """
import sys, ipc
tx, rx = ipc.channel(sys.argv[1], capacity="64KiB")
for message in (b"first", b"second", b"third"):
    tx.send(message)
rx.recv()
print("ready", flush=True)
sys.stdin.read()
"""


def ipc_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ipc", *arguments], check=False, capture_output=True, text=True)


def files_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def listed() -> list[dict[str, Any]]:
    done = ipc_command("ls", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


@pytest.fixture
def holder(ipc_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has sent three messages over the channel "held" and taken one."""
    command = [sys.executable, "-c", HOLD_A_CHANNEL, "held"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
def orphan(holder: subprocess.Popen[str]) -> str:
    """The name of a channel whose only process was killed."""
    holder.kill()
    holder.wait()
    return "held"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_line_says_what_to_install(missing: str) -> None:
    code = f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_module('ipc', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert missing in done.stderr
    assert 'pip install "ipc-rings[cli]"' in done.stderr


def test_importing_ipc_and_its_command_line_imports_nothing_optional() -> None:
    code = "import ipc, ipc.cli, ipc.demo.over_reliable, sys; print({'typer', 'rich'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_without_a_command_the_commands_are_listed() -> None:
    done = ipc_command()
    for command in ("demo", "ls", "rm", "gc"):
        assert f"\n  {command} " in done.stdout + done.stderr


def test_an_unknown_command_is_refused() -> None:
    done = ipc_command("nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


def test_without_segments_ls_says_so(ipc_dir: Path) -> None:
    assert ipc_command("ls").stdout == "No segments.\n"
    assert listed() == []


def test_ls_shows_what_a_channel_carried_and_who_uses_it(ipc_dir: Path, holder: subprocess.Popen[str]) -> None:
    (entry,) = listed()
    assert (entry["name"], entry["kind"], entry["attached"]) == ("held", "channel", True)
    assert Path(entry["path"]) == ipc_dir / "held"
    assert (entry["stats"]["sent"], entry["stats"]["received"], entry["stats"]["depth"]) == (3, 1, 2)
    assert [user["pid"] for user in entry["stats"]["participants"]] == [holder.pid, holder.pid]
    table = ipc_command("ls")
    assert (table.returncode, table.stderr) == (0, "")
    size = f"{entry['size'] / 1024:.1f} KiB"
    rows = [line.split() for line in table.stdout.splitlines()]
    assert ["held", "channel", *size.split(), "3", "1", "2", "sender", str(holder.pid)] in [row[:-2] for row in rows]
    assert ["receiver", str(holder.pid)] in rows


def test_ls_shows_an_orphan_and_its_way_out(ipc_dir: Path, orphan: str) -> None:
    assert [(entry["name"], entry["attached"]) for entry in listed()] == [(orphan, False)]
    table = ipc_command("ls").stdout
    assert "nobody" in table
    assert table.endswith("`ipc gc` removes the segments that nobody uses.\n")


def test_ls_shows_a_damaged_segment_with_its_problem_and_no_other_file(
    ipc_dir: Path, holder: subprocess.Popen[str]
) -> None:
    held = (ipc_dir / "held").read_bytes()
    damaged = ipc_dir / "damaged"
    damaged.write_bytes(held[:8] + bytes(len(held) - 8))
    damaged.chmod(0o600)
    (ipc_dir / "of_another_program").write_bytes(b"something else")
    entries = {entry["name"]: entry for entry in listed()}
    assert sorted(entries) == ["damaged", "held"]
    assert (entries["damaged"]["kind"], entries["damaged"]["stats"]) == ("unknown", None)
    assert entries["damaged"]["problem"] != ""
    table = ipc_command("ls")
    assert table.returncode == 0
    assert entries["damaged"]["problem"] in table.stdout


def test_rm_removes_names_and_leaves_their_users_alone(ipc_dir: Path, holder: subprocess.Popen[str]) -> None:
    done = ipc_command("rm", "held")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files_in(ipc_dir) == []
    assert holder.poll() is None


def test_rm_removes_what_it_can_and_says_what_it_cannot(ipc_dir: Path, holder: subprocess.Popen[str]) -> None:
    (ipc_dir / "of_another_program").write_bytes(b"something else")
    done = ipc_command("rm", "missing", "of_another_program", "../outside", "held")
    assert (done.returncode, done.stdout) == (1, "")
    complaints = done.stderr.splitlines()
    assert len(complaints) == 3
    assert all(complaint.startswith("ipc: ") for complaint in complaints)
    assert "'missing'" in complaints[0]
    assert "'of_another_program'" in complaints[1]
    assert "'../outside'" in complaints[2]
    assert files_in(ipc_dir) == ["of_another_program"]


def test_rm_without_a_name_is_refused() -> None:
    assert ipc_command("rm").returncode == 2


def test_gc_removes_orphans(ipc_dir: Path, orphan: str) -> None:
    done = ipc_command("gc")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{orphan}\n", "")
    assert files_in(ipc_dir) == []


def test_gc_leaves_what_is_in_use(ipc_dir: Path, holder: subprocess.Popen[str]) -> None:
    done = ipc_command("gc")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Nothing to remove.\n"
    assert files_in(ipc_dir) == ["held"]
    assert holder.poll() is None


def test_an_ipc_dir_that_is_none_is_an_error_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_DIR", "/nowhere")
    done = ipc_command("ls")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ipc: ")
    assert "/nowhere" in done.stderr
    assert "Traceback" not in done.stderr
