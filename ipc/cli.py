"""The command line: ``python -m ipc`` and the script ``ipc``.

Exit codes: 0 done; 1 an error, or the demo's results differ; 2 wrong use, or the extra `cli` is not installed;
3 a worker process of the demo died.

typer and rich are optional and imported only when a command runs, so that this module can always be imported: by the
script, to say what is missing, and by spawned children, which run no command.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import ipc

if TYPE_CHECKING:
    import typer
    from rich.console import Console

__all__ = ["main"]

_DIFFERENT = 1
_WORKER_DIED = 3


def main() -> None:
    """Run the command that the process's arguments ask for, and exit."""
    try:
        # typer resolves the annotations of the commands below among this module's names.
        globals()["typer"] = importlib.import_module("typer")
        importlib.import_module("rich")
    except ModuleNotFoundError as missing:
        print(f'ipc: the command line needs {missing.name}: pip install "ipc-rings[cli]"', file=sys.stderr)
        sys.exit(2)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may hold what the terminal's encoding doesn't
        sys.stdout.reconfigure(errors="backslashreplace")
    app = typer.Typer(
        help="Shared-memory IPC: a demo, and a look at the segments of this machine.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for command in (demo, ls, rm, gc):
        app.command()(command)
    try:
        app(prog_name="ipc")
    except ipc.IpcError as error:
        print(f"ipc: {error}", file=sys.stderr)
        sys.exit(1)


def _console() -> Console:
    from rich.console import Console

    # Names of files and segments are printed as they are: no mark-up, emoji codes or colours are looked for in them.
    return Console(markup=False, emoji=False, highlight=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


# --- demo -------------------------------------------------------------------------------------------------------------


def demo(
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes.", show_default="one per usable CPU")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="Directory of Python files.", show_default="the standard library")
    ] = None,
    kill: Annotated[int, typer.Option(min=0, help="Workers to kill in the middle of their work.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Let worker processes tokenise many Python files, and kill one of them on the way.

    The same work is done in one process, by workers over a reliable queue, and by workers over multiprocessing.Queue.
    The results are checked against each other and the times compared.
    """
    from ipc.demo.compare import compare, usable_cpus
    from ipc.demo.sources import NoSourcesError, read_tree, standard_library
    from ipc.demo.worker import WorkerFailedError

    try:
        sources = read_tree(source or standard_library())
    except NoSourcesError as error:
        raise typer.BadParameter(str(error), param_hint="--source") from None
    workers = workers or usable_cpus()
    try:
        if as_json:
            comparison = compare(sources, workers, lambda _: _nothing, kill)
            _print_json(comparison.as_json())
        else:
            from ipc.demo.screen import progress_bar, show

            console = _console()
            with progress_bar(console, len(sources.paths)) as stage:
                comparison = compare(sources, workers, stage, kill)
            show(comparison, console)
    except WorkerFailedError as error:
        if as_json:
            _print_json({"ok": False, "error": str(error)})
        print(f"ipc: {error}", file=sys.stderr)
        raise typer.Exit(_WORKER_DIED) from None
    if not comparison.agree:
        raise typer.Exit(_DIFFERENT)


def _nothing() -> None:
    pass


# --- ls, rm, gc -------------------------------------------------------------------------------------------------------

_COLUMNS: Final[tuple[tuple[str, Literal["left", "right"]], ...]] = (
    ("kind", "left"),
    ("size", "right"),
    ("sent", "right"),
    ("received", "right"),
    ("depth", "right"),
    ("users", "left"),
    ("age", "right"),
)


def ls(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array and nothing else.")] = False) -> None:
    """List this user's named segments, and who uses them."""
    entries = ipc.ls()
    if as_json:
        _print_json([_plain(entry) for entry in entries])
    elif not entries:
        print("No segments.")
    else:
        _show(entries)


def _plain(entry: ipc.Entry) -> dict[str, object]:
    """What JSON shows of an entry."""
    stats = None
    if entry.stats is not None:
        stats = {**entry.stats._asdict(), "participants": [one._asdict() for one in entry.stats.participants]}
        if isinstance(entry.stats, ipc.QueueStats):
            stats["lanes"] = [lane._asdict() for lane in entry.stats.lanes]
        elif isinstance(entry.stats, ipc.MulticastStats):
            stats["subscribers"] = [one._asdict() for one in entry.stats.subscribers]
    return {**entry._asdict(), "stats": stats, "kind": entry.kind, "attached": entry.attached}


def _show(entries: list[ipc.Entry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("name", overflow="fold")  # where a line is too short for everything, this column gives way
    for heading, side in _COLUMNS:
        table.add_column(heading, justify=side, no_wrap=True)
    for entry in entries:
        table.add_row(entry.name, entry.kind, *_details(entry))
    console = _console()
    console.print(table)
    for entry in entries:
        if entry.problem:
            console.print(entry.problem, soft_wrap=True)
    if any(entry.stats is not None and not entry.attached for entry in entries):
        console.print("`ipc gc` removes the segments that nobody uses.")


def _details(entry: ipc.Entry) -> list[str]:
    size, age = _size(entry.size), _duration(time.time() - entry.modified)
    if entry.stats is None:
        return [size, "-", "-", "-", "see below", age]
    counts = (entry.stats.sent, entry.stats.received, entry.stats.depth)
    return [size, *(f"{count:,}" for count in counts), _users(entry.stats), age]


def _users(stats: ipc.Stats | ipc.QueueStats | ipc.MulticastStats) -> str:
    if not stats.attached:
        return "nobody"
    return "\n".join(f"{user.role} {_who(user)}" for user in stats.participants)


def _who(user: ipc.Participant) -> str:
    if user.state in {"taken", "active"}:
        return f"{user.pid}" if user.alive else f"{user.pid} died"
    return user.state


def _size(count: int) -> str:
    for unit, length in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count / 2**10:.1f} KiB"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def rm(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Segments to remove.")]) -> None:
    """Remove segments by name.

    Processes that use them go on; nobody new can attach.
    """
    failed = [name for name in names if not _removed(name)]
    if failed:
        raise typer.Exit(1)


def _removed(name: str) -> bool:
    try:
        ipc.rm(name)
    except (ipc.IpcError, ValueError) as error:
        print(f"ipc: {error}", file=sys.stderr)
        return False
    return True


def gc() -> None:
    """Remove segments that nobody uses, and print their names.

    What they still hold unread goes with them.
    """
    removed = ipc.gc()
    for name in removed:
        print(name)
    if not removed:
        print("Nothing to remove.", file=sys.stderr)
