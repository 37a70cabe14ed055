"""`marrow-node review ...`: what experts chose, for those who train models."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from node.errors import ReviewRefused
from node.settings import load_settings

review = typer.Typer(no_args_is_help=True, help="What experts chose.")


@review.callback()
def _review() -> None:
    """Keep `export` a command of its own."""


@review.command()
def export(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    since: Annotated[datetime | None, typer.Option(help="Only choices made then or later, UTC.")] = None,
    config: Annotated[Path | None, typer.Option(help="The site's TOML file.")] = None,
) -> None:
    """Reviewed cells as training data: a folder per class and cells.json, as `train classes` reads them."""
    from node.opening import open_existing
    from node.review.cell_book import CellBook
    from node.review.training_data import INDEX, MPP, training_files

    if out.exists() and any(out.iterdir()):
        msg = f"--out: {out} holds files already; give a new folder, so that no cell lies in two classes"
        raise ReviewRefused(msg)
    settings = load_settings(config)
    database = open_existing(settings.database_url)
    book = CellBook(database, settings.home_folder / "cases")
    written = 0
    for name, content in training_files(database, book, since=None if since is None else since.replace(tzinfo=UTC)):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written += name != INDEX
    book.close()
    database.close()
    print(f"{written} cells in {out}; marrow-node train classes --cells {out}:{MPP}" if written else "no choices yet")
