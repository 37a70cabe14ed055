"""`marrow-node cases` and `requeue`: the worklist, from a terminal."""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from node import audit, dispatch
from node.cases import current, list_cases, read_case
from node.database import Database
from node.errors import UnknownCase
from node.intake.withdrawing import withdraw
from node.opening import open_existing
from node.queues import Work
from node.settings import Settings, load_settings
from node.views import CaseState, CaseView, WorklistQuery

Config = Annotated[Path | None, typer.Option(help="The site's TOML file.")]
Case = Annotated[str, typer.Argument(metavar="CASE", help="As `marrow-node cases` shows it.")]
Reason = Annotated[str, typer.Option(help="Kept with the case.")]

app = typer.Typer(help="The worklist.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def worklist(
    context: typer.Context,
    state: Annotated[list[CaseState] | None, typer.Option(help="Only these; may be given again.")] = None,
    search: Annotated[str, typer.Option(help="Part of an accession, container or patient.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    config: Config = None,
) -> None:
    """List the cases, STAT first, then the oldest."""
    if context.invoked_subcommand is not None:
        return
    database = open_existing(load_settings(config).database_url)
    page = list_cases(database, WorklistQuery(states=tuple(state or ()), search=search, limit=limit))
    if as_json:
        print(json.dumps({"total": page.total, "cases": [asdict(row) for row in page.rows]}, default=str))
        return
    table = Table(caption=f"{len(page.rows)} of {page.total}", box=SIMPLE_HEAD)
    for heading in ("case", "state", "prio", "accession", "container", "since", "%", "cause"):
        table.add_column(heading, no_wrap=heading in {"case", "state"})
    for row in page.rows:
        since = row.changed_at.astimezone().strftime("%Y-%m-%d %H:%M")
        percent = f"{row.progress * 100:.0f}"
        table.add_row(
            row.case_id, row.state, row.priority, row.accession_number, row.container_id, since, percent, row.cause
        )
    Console().print(table)


@app.command()
def show(
    case: Case,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    config: Config = None,
) -> None:
    """Everything that happened to one case."""
    view = read_case(open_existing(load_settings(config).database_url), case)
    if view is None:
        raise _unknown(case)
    if as_json:
        print(json.dumps(asdict(view), default=str))
        return
    _print_case(view)


@app.command("audit")
def audited(
    case: Case,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    config: Config = None,
) -> None:
    """Who opened one case, changed its cells, signed it or acted on it, and when."""
    with open_existing(load_settings(config).database_url).read() as connection:
        current(connection, case)
        entries = audit.read(connection, case)
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], default=str))
        return
    table = Table(box=SIMPLE_HEAD)
    for heading in ("when", "who", "what", ""):
        table.add_column(heading, no_wrap=heading == "when")
    for entry in entries:
        table.add_row(f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}", entry.actor, entry.action, entry.detail)
    Console().print(table)


@app.command()
def accept(case: Case, reason: Reason, config: Config = None) -> None:
    """Take a held or waiting case as it is: close it when its result is out, else count it all the same."""
    with _changing(config) as (_settings, database, work), database.write() as connection:
        done = dispatch.accept(connection, work, case, _person(), reason)
        audit.record(connection, _person(), "case accepted", subject=case, detail=reason)
    print(f"{case}: accepted, {done}")


@app.command()
def cancel(case: Case, reason: Reason, config: Config = None) -> None:
    """Drop a case whose result is not out yet."""
    with _changing(config) as (_settings, database, _work), database.write() as connection:
        dispatch.cancel(connection, case, _person(), reason)
        audit.record(connection, _person(), "case cancelled", subject=case, detail=reason)
    print(f"{case}: cancelled")


@app.command("withdraw")
def withdraw_result(case: Case, reason: Reason, config: Config = None) -> None:
    """Take back a result that is out: LIS and archives are told, and its slide may go to another order."""
    with _changing(config) as (_settings, database, work), database.write() as connection:
        holder = withdraw(connection, work, case, _person(), reason)
        audit.record(connection, _person(), "result withdrawn", subject=case, detail=reason)
    print(f"{case}: the result is withdrawn; its slide is held in case {holder}")


def requeue(case: Case, config: Config = None) -> None:
    """Take a failed or held case up again where it stopped."""
    with _changing(config) as (_settings, database, work), database.write() as connection:
        done = dispatch.requeue(connection, work, case, _person())
        audit.record(connection, _person(), "case requeued", subject=case)
    print(f"{case}: {done}")


@contextmanager
def _changing(config: Path | None) -> Iterator[tuple[Settings, Database, Work]]:
    settings = load_settings(config)
    database = open_existing(settings.database_url)
    work = Work(settings.database_url)
    try:
        yield settings, database, work
    finally:
        work.close()
        database.close()


def _print_case(view: CaseView) -> None:
    console = Console()
    row = view.row
    console.print(f"[bold]{row.case_id}[/] {row.state} · {row.accession_number} · {row.container_id}")
    for event in view.events:
        console.print(f"  {event.at.astimezone():%Y-%m-%d %H:%M:%S}  {event.state:<10} {event.cause} ({event.actor})")
    for delivery in view.deliveries:
        problem = f": {delivery.last_error}" if delivery.last_error else ""
        console.print(f"  to {delivery.destination}: {delivery.state} after {delivery.attempts} attempts{problem}")
    for file in view.files:
        console.print(f"  {file.kind:<8} {file.path}")


def _unknown(case: str) -> UnknownCase:
    return UnknownCase(f"there is no case {case}; `marrow-node cases` lists them")


def _person() -> str:
    return getpass.getuser()
