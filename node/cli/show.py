"""Results and progress in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.domain import DifferentialCount, Report

_BAR = 10
_DOING = {
    "read": "reading the slide",
    "quality": "checking focus and stain",
    "regions": "finding the countable region",
    "tiles": "choosing tiles",
    "cells": "outlining cells",
    "classes": "classifying cells",
    "count": "counting",
    "encode": "writing results",
    "deliver": "delivering",
}


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error; what is yielded takes the stage and how far the whole case is, 0..1."""
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(stage: str, whole: float) -> None:
            bar.update(task, description=doing(stage), completed=whole)

        yield show
        bar.update(task, description="done", completed=1.0)


def doing(stage: str) -> str:
    """A stage in words."""
    return _DOING.get(stage, stage)


def show_report(report: Report, console: Console | None = None) -> None:
    """The differential as a table and a histogram, or why there is none."""
    console = console or Console()
    for warning in dict.fromkeys((*report.warnings, *(report.analysis.warnings if report.analysis else ()))):
        console.print(f"[yellow]![/] {warning}")
    if report.analysis is None:
        console.print(f"[red]not countable:[/] {report.reason}")
        return
    console.print(differential_table(report.analysis.differential))
    bundle = report.bundle
    console.print(f"{bundle.name} {bundle.version}: preliminary, not validated for diagnostic use")


def differential_table(count: DifferentialCount) -> Table:
    """One row per counted class with its 95 % limits and a bar as long as its share."""
    ratio = "not defined" if count.me_ratio is None else f"{count.me_ratio:.1f}"
    table = Table(title=f"{count.total} cells · M:E {ratio}", caption=count.me_definition, box=SIMPLE_HEAD)
    table.add_column("class", no_wrap=True)
    for heading, width in (("count", 5), ("%", 5), ("95 % limits", 11)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    table.add_column("", no_wrap=True)
    longest = max((component.percent for component in count.components), default=0.0) or 1.0
    for component in count.components:
        low, high = component.ci95
        bar = "█" * round(component.percent / longest * _BAR)
        table.add_row(component.name, str(component.count), f"{component.percent:.1f}", f"{low:.1f} - {high:.1f}", bar)
    for name, number in count.excluded:
        if number:
            table.add_row(f"[dim]{name}[/]", f"[dim]{number}[/]", "", "", "[dim]not counted[/]")
    return table
