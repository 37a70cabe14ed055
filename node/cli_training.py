"""`marrow-node train ...`: fit a stage."""

import csv
from pathlib import Path
from typing import Annotated, Literal

import typer

from node.cli_bar import bar as _bar

train = typer.Typer(no_args_is_help=True, help="Fit a stage; every run is seeded and continues after a kill.")

Out = Annotated[Path, typer.Option(help="Folder of the run: config, checkpoint, curves, weights.")]
Config = Annotated[Path | None, typer.Option(help="TOML that changes the published defaults.")]
Cells = Annotated[list[str] | None, typer.Option(help="FOLDER:MPP, one sub-folder per class or annotated fields.")]
Synthetic = Annotated[int, typer.Option(min=0, help="Synthetic examples: cells a class, fields or slides.")]


@train.command()
def roi(out: Out, config: Config = None, synthetic: Synthetic = 24) -> None:
    """TextureUNet: the body-tail junction on thumbnails of synthetic slides."""
    from pipeline.training import commands

    with _bar("roi") as say:
        print(commands.train_regions(out, config, synthetic, say))


@train.command()
def toi(
    out: Out,
    config: Config = None,
    synthetic: Synthetic = 5,
    tiles: Annotated[Path | None, typer.Option(help="Folder with sub-folders countable and other.")] = None,
) -> None:
    """TCNet: countable tiles."""
    from pipeline.training import commands

    with _bar("toi") as say:
        print(commands.train_tiles(out, config, synthetic, tiles, say))


@train.command()
def cells(
    out: Out,
    config: Config = None,
    synthetic: Synthetic = 16,
    fields: Annotated[list[str] | None, typer.Option(help="FOLDER:MPP of annotated fields.")] = None,
) -> None:
    """SAM's mask decoder: the whole cell around a nucleus."""
    from pipeline.training import commands

    with _bar("cells") as say:
        print(commands.train_decoder(out, config, synthetic, fields or [], say))


@train.command()
def pretrain(
    out: Out,
    cells: Cells = None,
    config: Config = None,
    synthetic: Synthetic = 0,
    imagenet: Annotated[Path | None, typer.Option(help="EfficientNet-Lite0 weights for the stem.")] = None,
) -> None:
    """Masked autoencoding of unlabelled cells."""
    from pipeline.training import commands

    with _bar("pretrain") as say:
        print(commands.pretrain_encoder(out, config, cells or [], synthetic, imagenet, say))


@train.command()
def classes(
    out: Out,
    cells: Cells = None,
    config: Config = None,
    synthetic: Synthetic = 0,
    encoder: Annotated[Path | None, typer.Option(help="encoder.safetensors of `pretrain`.")] = None,
) -> None:
    """The classifier of the 22 classes, with its temperature."""
    from pipeline.training import commands

    with _bar("classes") as say:
        print(commands.train_classifier(out, config, cells or [], synthetic, encoder, say))


@train.command("bundle")
def make_bundle(
    mll: Annotated[Path, typer.Option(help="MLL crops, one sub-folder per code.")],
    pbc: Annotated[Path, typer.Option(help="PBC crops, one sub-folder per code.")],
    imagenet: Annotated[Path, typer.Option(help="efficientnet-lite0-57934424.pth")],
    work: Annotated[Path, typer.Option(help="Folder of the runs.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    scale: Annotated[Literal["full", "tiny"], typer.Option(help="tiny: every step, nothing learnt, minutes.")] = "full",
) -> None:
    """The default bundle, every stage, by its recipe."""
    from pipeline.training.recipe import Recipe, tiny
    from pipeline.training.recipe import make_bundle as make

    recipe = tiny(Recipe()) if scale == "tiny" else Recipe()
    with _bar("bundle") as say:
        make(mll, pbc, imagenet, work, out, recipe, say)
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
