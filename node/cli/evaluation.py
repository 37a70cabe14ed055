"""`marrow-node evaluate`: measure a bundle; `evaluate baselines`: published networks beside ours."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from node.cli.bar import bar

evaluation = typer.Typer(invoke_without_command=True, help="Measure a bundle: every figure of its model card.")

Out = Annotated[Path, typer.Option(help="Folder of the figures and plots; a stopped run goes on there.")]
Real = Annotated[Path | None, typer.Option(help="Folder with mll, pbc, segpc and zheng.")]


@evaluation.callback()
def measure(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the figures and plots; a stopped run goes on there.")
    ] = None,
    bundle: Annotated[str, typer.Option(help="`default` or a bundle's folder.")] = "default",
    real: Real = None,
    parts: Annotated[str, typer.Option(help="Only these, separated by commas: classes_mll,cells_segpc, ...")] = "",
    fast: Annotated[bool, typer.Option(help="A small part of the data: minutes instead of an hour.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
) -> None:
    """Measure a bundle: every figure of its model card."""
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise typer.BadParameter("give the folder to write to", param_hint="--out")
    from pipeline.bundle import DEFAULT, load_bundle, read_document, stage_digests
    from pipeline.card import model_card, rows_of
    from pipeline.evaluation.data import FAST, Amounts
    from pipeline.evaluation.run import evaluate

    folder = DEFAULT if bundle == "default" else Path(bundle)
    model = load_bundle(folder, threads=threads)
    wanted = [name.strip() for name in parts.split(",") if name.strip()]
    with bar("evaluate") as say:
        amounts = FAST if fast else Amounts()
        figures = evaluate(model, stage_digests(folder), amounts, out, real=real, wanted=wanted, progress=say)
    pictures = sorted(path.name for path in out.glob("*.png"))
    (out / "MODEL_CARD.md").write_text(model_card(read_document(folder), figures, pictures), encoding="utf-8")
    table = Table("measurement", "figure", "value", "95 % limits", "n")
    for name in (name for name in figures if not wanted or name in wanted):
        for row in rows_of(figures[name]):
            table.add_row(name, *row)
    Console().print(table)
    print(out / "MODEL_CARD.md")


@evaluation.command()
def baselines(
    out: Out,
    real: Real = None,
    scale: Annotated[str, typer.Option(help="tiny, small or large: image sides, steps, examples.")] = "small",
    stages: Annotated[str, typer.Option(help="Of regions,tiles,classes.")] = "regions,tiles,classes",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of every network.")] = None,
    side: Annotated[int | None, typer.Option(min=32, help="Side of every image in pixels.")] = None,
    skip: Annotated[str, typer.Option(help="Networks to leave out, such as VGG16,ResNeXt101_32x8d.")] = "",
    imagenet: Annotated[
        Path | None, typer.Option(help="efficientnet-lite0-57934424.pth: classifiers that start from it, too.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
) -> None:
    """Published networks (U-Net, DeepLabV3, ResNet50, VGG16, ViT ...) beside ours, all trained the same way."""
    from pipeline.evaluation.baselines import scale_of
    from pipeline.evaluation.comparison import compare, markdown, stages_of

    left_out = [name.strip() for name in skip.split(",") if name.strip()]
    chosen = scale_of(scale, steps=steps, side=side, threads=threads, skip=left_out)
    with bar("baselines") as say:
        table = compare(chosen, out, real, stages_of(stages), imagenet, say)
    print(markdown(table))
