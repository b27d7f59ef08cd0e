"""What the demo shows on a terminal: a progress bar while it works, then a short table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ipc.demo.compare import AGAIN_MEANS, SECONDS_MEAN, TRANSPORT_MEANS, Comparison

__all__ = ["progress_bar", "show"]

_FAILURES_SHOWN = 5
_IDENTIFIERS_SHOWN = 3
_DIFFERENCES_SHOWN = 20


@contextmanager
def progress_bar(screen: Console, files: int) -> Iterator[Callable[[str], Callable[[], object]]]:
    """Show one bar, taken over by one run after the other; nothing at all where output is not a terminal.

    Yields a function that begins the bar of a run; what that returns moves it on by one file.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:

        def stage(name: str) -> Callable[[], object]:
            for finished in progress.task_ids:
                progress.remove_task(finished)
            task = progress.add_task(name, total=files)
            return lambda: progress.advance(task)

        yield stage


def show(comparison: Comparison, screen: Console) -> None:
    sources, tally = comparison.sources, comparison.tally
    screen.print(
        f"{sources.root}: {len(sources.paths):,} Python files, {sources.size_bytes / 1e6:,.1f} MB, "
        f"{tally.counts.total():,} tokens",
    )
    screen.print(_table(comparison))
    screen.print("Longest identifiers:" if tally.longest else "No identifiers.")
    for name in tally.longest[:_IDENTIFIERS_SHOWN]:
        screen.print(f"  {name}", no_wrap=True, overflow="ellipsis")
    _show_failures(comparison.failed, screen)
    screen.print(f"\n{SECONDS_MEAN}\n{TRANSPORT_MEANS}\n{AGAIN_MEANS}\n", style="dim")
    _show_check(comparison, screen)


def _table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)  # narrow enough for 80 columns
    table.add_column("", no_wrap=True)
    for heading in ("workers", "killed", "again", "messages", "seconds", "speed-up", "transport"):
        table.add_column(heading, justify="right", no_wrap=True)
    alone = comparison.runs[0].seconds
    for run in comparison.runs:
        if run.transport_share is None:
            table.add_row(run.name, "-", "-", "-", "-", f"{run.seconds:.2f}", "-", "-")
            continue
        table.add_row(
            run.name.replace("multiprocessing", "mp"),
            f"{run.processes:,}",
            f"{run.killed:,}",
            f"{run.redelivered:,}",
            f"{run.messages:,}",
            f"{run.seconds:.2f}",
            f"{alone / run.seconds:.2f}",
            f"{run.transport_share:.1%}",
        )
    return table


def _show_failures(failed: dict[str, str], screen: Console) -> None:
    if not failed:
        return
    screen.print(f"{len(failed):,} files could not be read or tokenised:")
    for path, reason in list(failed.items())[:_FAILURES_SHOWN]:
        screen.print(f"  {path}: {reason}", soft_wrap=True)
    if len(failed) > _FAILURES_SHOWN:
        screen.print(f"  and {len(failed) - _FAILURES_SHOWN:,} more (--json lists them all)")


def _show_check(comparison: Comparison, screen: Console) -> None:
    if comparison.agree:
        screen.print("All runs gave the same result.", style="green")
    for run in comparison.runs:
        if run.differences:
            screen.print(f"The result over {run.name} is not that of one process:", style="red")
            for difference in run.differences[:_DIFFERENCES_SHOWN]:
                screen.print(f"  {difference}", soft_wrap=True)
            if len(run.differences) > _DIFFERENCES_SHOWN:
                screen.print(f"  and {len(run.differences) - _DIFFERENCES_SHOWN:,} more (--json lists them all)")
