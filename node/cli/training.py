"""`marrow-node train ...`: fit a stage."""

import csv
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from node.cli.bar import bar

train = typer.Typer(no_args_is_help=True, help="Fit a stage; every run is seeded and continues after a kill.")

Out = Annotated[Path, typer.Option(help="Folder of the run: config, checkpoint, curves, weights.")]
Config = Annotated[Path | None, typer.Option(help="TOML that changes the published defaults.")]
Cells = Annotated[list[str] | None, typer.Option(help="FOLDER:MPP, one sub-folder per class or annotated fields.")]
Encoder = Annotated[Path | None, typer.Option(help="encoder.safetensors of `pretrain`.")]
Imagenet = Annotated[Path | None, typer.Option(help="efficientnet-lite0-57934424.pth: ImageNet weights to start from.")]
Synthetic = Annotated[int, typer.Option(min=0, help="Synthetic examples: cells a class, fields or slides.")]


@train.command()
def roi(
    out: Out,
    config: Config = None,
    synthetic: Synthetic = 24,
    slides: Annotated[list[str] | None, typer.Option(help="FOLDER:MPP of thumbnails with outlined regions.")] = None,
) -> None:
    """TextureUNet: the body-tail junction on thumbnails of slides."""
    from pipeline.training import commands

    with bar("roi") as say:
        print(commands.train_regions(out, config, synthetic, slides or [], say))


@train.command()
def toi(
    out: Out,
    config: Config = None,
    synthetic: Synthetic = 5,
    tiles: Annotated[Path | None, typer.Option(help="Folder with sub-folders countable and other.")] = None,
) -> None:
    """TCNet: countable tiles."""
    from pipeline.training import commands

    with bar("toi") as say:
        print(commands.train_tiles(out, config, synthetic, tiles, say))


@train.command()
def cells(
    out: Out,
    config: Config = None,
    synthetic: Synthetic = 16,
    fields: Annotated[list[str] | None, typer.Option(help="FOLDER:MPP of annotated fields.")] = None,
    sam: Annotated[
        Path | None, typer.Option(help="A SAM checkpoint (.pth) in place of the bundle's MobileSAM.")
    ] = None,
) -> None:
    """SAM's mask decoder: the whole cell around a nucleus."""
    from pipeline.training import commands

    with bar("cells") as say:
        print(commands.train_decoder(out, config, synthetic, fields or [], sam, say))


@train.command()
def pretrain(
    out: Out,
    cells: Cells = None,
    config: Config = None,
    synthetic: Synthetic = 0,
    imagenet: Imagenet = None,
    vit: Annotated[str, typer.Option(help="A timm ViT, such as vit_base_patch16_224, for the small encoder.")] = "",
    size: Annotated[int | None, typer.Option(min=32, help="Side of the input in pixels.")] = None,
) -> None:
    """Masked autoencoding of unlabelled cells."""
    from pipeline.training import commands

    network = {"vit": vit} if vit else {}
    with bar("pretrain") as say:
        given = network | ({"size": size} if size else {})
        print(commands.pretrain_encoder(out, config, cells or [], synthetic, imagenet, given, say))


@train.command()
def classes(
    out: Out,
    cells: Cells = None,
    config: Config = None,
    synthetic: Synthetic = 0,
    encoder: Encoder = None,
    imagenet: Imagenet = None,
) -> None:
    """The classifier of the 22 classes, with its temperature."""
    from pipeline.training import commands

    with bar("classes") as say:
        print(commands.train_classifier(out, config, cells or [], synthetic, encoder, imagenet, say))


@train.command()
def sources(
    out: Out,
    cells: Cells = None,
    synthetic: Synthetic = 0,
    config: Config = None,
    encoder: Encoder = None,
    imagenet: Imagenet = None,
) -> None:
    """Leave one source out: each folder's cells classed by a model trained on the others."""
    from pipeline.training import commands

    with bar("sources") as say:
        found = commands.compare_sources(out, config, cells or [], encoder, imagenet, synthetic, say)
    table = Table("source left out", "trained on", "tested on", "accuracy", "among shared classes")
    for one in found:
        figures = f"{one.accuracy:.3f}", f"{one.accuracy_among_shared:.3f}"
        table.add_row(one.source, str(one.trained_on), str(one.tested_on), *figures)
    Console().print(table)


@train.command("bundle")
def make_bundle(
    mll: Annotated[Path, typer.Option(help="MLL crops, one sub-folder per code.")],
    pbc: Annotated[Path, typer.Option(help="PBC crops, one sub-folder per code.")],
    imagenet: Annotated[Path, typer.Option(help="efficientnet-lite0-57934424.pth")],
    work: Annotated[Path, typer.Option(help="Folder of the runs.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    scale: Annotated[Literal["full", "tiny"], typer.Option(help="tiny: every step, nothing learnt, minutes.")] = "full",
    only: Annotated[
        Literal["classes", "tiles", "regions", "cells"] | None,
        typer.Option(help="Train this stage only, beside other processes that train the others."),
    ] = None,
) -> None:
    """The default bundle, every stage, by its recipe."""
    from pipeline.training.recipe import Recipe
    from pipeline.training.recipe import make_bundle as make
    from pipeline.training.tiny import tiny

    recipe = tiny(Recipe()) if scale == "tiny" else Recipe()
    with bar("bundle") as say:
        make(mll, pbc, imagenet, work, out, recipe, only, say)
    print(out)


@train.command()
def suggest(
    images: Annotated[list[Path], typer.Argument(help="Crops of unlabelled cells.")],
    mpp: Annotated[float | None, typer.Option(help="µm per pixel.")] = None,
    most: Annotated[int, typer.Option(min=1)] = 100,
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("suggestions.csv"),
) -> None:
    """Rank unlabelled cells worth an expert's minute."""
    from pipeline.bundle import load_bundle
    from pipeline.training.suggest import suggest as rank

    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "probability", "worth"])
        writer.writerows((s.path, s.class_name, s.probability, s.worth) for s in rank(images, mpp, load_bundle(), most))
    print(out)
