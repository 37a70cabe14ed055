"""The command line, `marrow-node`: sites and tests script against it (design.md).

A mistake is answered with one line that says what to do, and an exit code that is not 0; MARROW_NODE_DEBUG=1 shows the
traceback. Heavy imports wait until a command needs them.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy.exc import SQLAlchemyError

from dicom_io.errors import DicomError
from hl7.errors import Hl7Error
from node.cli import cases, evaluation, review, tools, training, users
from node.errors import NodeError, SettingsError
from node.settings import AnalysisSettings, Settings, default_file, load_settings
from node.work.worker_protocol import UNUSABLE
from pipeline.errors import PipelineError

Config = Annotated[Path | None, typer.Option(help="The site's TOML file; without it the one that ships with the node.")]
Roi = Literal["auto", "whole"]
Tiles = Literal["auto", "all"]

app = typer.Typer(
    help="The differential count of bone marrow smears, between PACS and LIS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(cases.app, name="cases")
app.command("requeue")(cases.requeue)
app.add_typer(users.app, name="user")
app.add_typer(tools.bundles, name="bundle")
app.add_typer(review.review, name="review")
app.add_typer(training.train, name="train")
app.add_typer(evaluation.evaluation, name="evaluate")
for tool in (
    tools.segment,
    tools.classify,
    tools.phantom,
    tools.convert,
    tools.check,
):
    app.command()(tool)


@app.command()
def serve(config: Config = None) -> None:
    """Receive slides and orders, count, and deliver: DICOM, MLLP and the pages, until stopped."""
    from node import log
    from node.app import serve as run

    settings = load_settings(config)
    log.configure(settings.log.level)
    run(settings, (config or default_file()).absolute())


@app.command()
def worker(config: Config = None, supervised: Annotated[bool, typer.Option(hidden=True)] = False) -> None:
    """One more worker for a node that keeps its state in PostgreSQL."""
    from node import log
    from node.work.worker import run_worker

    settings = load_settings(config)
    log.configure(settings.log.level)
    if not supervised and settings.database_url.startswith("sqlite"):
        msg = "database.url is SQLite, whose one worker `marrow-node serve` starts itself; more need PostgreSQL"
        raise SettingsError(msg)
    try:
        run_worker(settings, parent=sys.stdin.fileno() if supervised else None)
    except (NodeError, PipelineError) as exc:
        if not supervised:
            raise
        print(exc, flush=True)  # the parent reads it
        raise typer.Exit(UNUSABLE) from exc


@app.command()
def demo(
    slide: Annotated[
        Path | None, typer.Option(help="A folder of DICOM instances; without it a synthetic smear.")
    ] = None,
    roi: Annotated[Roi, typer.Option(help="whole: no body and tail to find, the whole slide counts.")] = "auto",
    tiles: Annotated[Tiles, typer.Option(help="all: every tile counts.")] = "auto",
    port_base: Annotated[int | None, typer.Option(help="DICOM, MLLP and HTTP on N, N+1, N+2; else free ports.")] = None,
    browser: Annotated[bool, typer.Option(help="Keep the node up and open its page when a person is there.")] = True,
) -> None:
    """Show the whole way once: a slide and an order go in; SEG, ANN, SR and an ORU come out."""
    from node.cli.demo import run_demo, show_page

    run_demo(slide, roi=roi, tiles=tiles, port_base=port_base, visit=show_page if browser else None)


@app.command()
def analyse(
    slide: Annotated[Path, typer.Argument(metavar="SLIDE_DIR", help="A folder of DICOM instances.")],
    out: Annotated[Path, typer.Option(help="Where the results go.")],
    roi: Annotated[Roi | None, typer.Option(help="Default: the site's setting.")] = None,
    tiles: Annotated[Tiles | None, typer.Option(help="Default: the site's setting.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json instead of a table.")] = False,
    config: Config = None,
) -> None:
    """Count one slide without a node: result.json, SEG, ANN, SR, PDF, ORU text, GeoJSON and the overview."""
    from node.cases import whole_progress
    from node.cli.analyse import analyse_folder
    from node.cli.show import progress_bar, show_report

    settings = _with_analysis(load_settings(config), roi, tiles)
    with progress_bar(quiet=as_json) as show:
        done = analyse_folder(
            slide, out, settings, lambda stage, fraction: show(stage, whole_progress(stage, fraction))
        )
    if as_json:
        sys.stdout.write((out / "result.json").read_text(encoding="utf-8") + "\n")
        return
    show_report(done.report)
    print(f"{len(done.outputs)} files in {out}")


def _with_analysis(settings: Settings, roi: Roi | None, tiles: Tiles | None) -> Settings:
    stated = {name: value for name, value in (("roi", roi), ("tiles", tiles)) if value is not None}
    analysis = AnalysisSettings(**(settings.analysis.model_dump() | stated))
    return settings.model_copy(update={"analysis": analysis})


def main() -> None:
    """Run a command; every error that a person can act on becomes one line."""
    if os.environ.get("MARROW_NODE_DEBUG"):
        app()
    try:
        app()
    except (NodeError, DicomError, Hl7Error, PipelineError) as exc:
        _end(str(exc))
    except SQLAlchemyError as exc:
        _end(f"the database does not answer ({type(exc).__name__}); check database.url and free disk space")
    except OSError as exc:
        _end(f"{exc.filename or 'system'}: {exc.strerror or exc}")
    except KeyboardInterrupt:
        _end("interrupted", code=130)
    except Exception as exc:
        _end(f"unforeseen {type(exc).__name__}: {exc}; run again with MARROW_NODE_DEBUG=1 and report the traceback")


def _end(message: str, *, code: int = 1) -> None:
    print(f"marrow-node: {message}", file=sys.stderr)
    sys.exit(code)
