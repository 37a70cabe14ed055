"""`marrow-node segment`, `classify`, `phantom`, `convert`, `bundle` and `check`: one part at a time, without a node."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from node.errors import SettingsError
from node.settings import load_settings
from pipeline.domain import CELL_CLASSES, Patient, RgbImage, Slide
from pipeline.errors import ImageError
from pipeline.phantom.spec import Centre, PhantomSpec

Config = Annotated[Path | None, typer.Option(help="The site's TOML file.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Plain RGB images, such as PNG or JPEG.")]
BundleFolder = Annotated[Path | None, typer.Option(help="A bundle folder; without it the site's.")]
Out = Annotated[Path, typer.Option(help="Folder for the results; made when absent.")]

bundles = typer.Typer(help="Locked models.", no_args_is_help=True)


def segment(
    images: Images,
    mpp: Annotated[float, typer.Option(help="µm per pixel of the images.")],
    out: Out,
    bundle: BundleFolder = None,
) -> None:
    """Outline the nucleated cells of plain images: STEM.png with 16-bit instance labels, 0 is background."""
    from pipeline.bundle import load_bundle
    from pipeline.cells import segment_image

    _check_mpp(mpp)
    out.mkdir(parents=True, exist_ok=True)
    loaded = load_bundle(_bundle_folder(bundle))
    for path in images:
        labels = segment_image(_read_image(path), mpp, loaded)
        Image.fromarray(labels).save(out / f"{path.stem}.png")
        print(f"{out / path.stem}.png: {int(labels.max(initial=0))} cells")


def classify(
    images: Images,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel of the crops; without it, that of training.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line each.")] = False,
    bundle: BundleFolder = None,
) -> None:
    """Name the cell in the middle of each single-cell crop."""
    from pipeline.bundle import load_bundle
    from pipeline.classify import classify_crop

    if mpp is not None:
        _check_mpp(mpp)
    loaded = load_bundle(_bundle_folder(bundle))
    for path in images:
        found = classify_crop(_read_image(path), mpp, loaded)
        probabilities = dict(zip(CELL_CLASSES, found.tolist(), strict=True))
        name = max(probabilities, key=lambda each: probabilities[each])
        if as_json:
            line = {
                "file": str(path),
                "class": name,
                "probability": round(probabilities[name], 4),
                "probabilities": {each: round(value, 4) for each, value in probabilities.items()},
            }
            print(json.dumps(line), flush=True)
        else:
            print(f"{path}: {name} ({probabilities[name]:.0%})", flush=True)


def phantom(
    out: Out,
    seed: Annotated[int, typer.Option(help="The same seed makes the same smear.")],
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "12000x8000",
    mpp: Annotated[float, typer.Option(help="µm per pixel.")] = 0.25,
    centre: Annotated[Centre, typer.Option(help="Laboratory: two, or another one for every seed.")] = "a",
) -> None:
    """Make a synthetic smear as DICOM WSI, with its truth: regions, tiles, cells, classes, the exact count."""
    from pipeline.phantom.slide import BLOCK, PhantomSlide
    from pipeline.phantom.truth import write_truth

    _check_mpp(mpp)
    width, height = _size(size)
    try:
        spec = PhantomSpec(seed=seed, size=(width, height), mpp=mpp, centre=centre)
    except ValueError as exc:
        raise SettingsError(f"--size, --mpp or --seed: {exc}") from exc
    smear = PhantomSlide(spec, cached_blocks=width // BLOCK + 1)  # the writer walks row by row and comes back to one
    paths = write_slide(smear, out, container=f"PHANTOM-{seed}", synthetic=True)
    truth = write_truth(smear.truth, out)
    print(f"{len(paths)} levels and {truth.name} in {out}")


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="svs, ndpi, mrxs and other formats of openslide.")],
    out: Out,
) -> None:
    """Make DICOM WSI of a vendor's slide (extra `convert`)."""
    if not file.is_file():
        raise ImageError(f"{file}: no such file")
    from dicom_io.convert import convert_slide

    paths = convert_slide(file, out)
    print(f"{len(paths)} DICOM files in {out}")


@bundles.command("list")
def bundle_list(config: Config = None) -> None:
    """The bundle that ships with the node, and the site's."""
    from pipeline.bundle import DEFAULT, list_bundles

    folder = _bundle_folder(None, config)
    table = Table()
    for heading in ("name", "version", "digest", "folder"):
        table.add_column(heading)
    for found in sorted({DEFAULT.parent, folder.parent}):
        for place, info in list_bundles(found):
            table.add_row(info.name, info.version, info.digest[:12], str(place))
    Console().print(table)


@bundles.command("show")
def bundle_show(
    folder: Annotated[Path | None, typer.Argument(help="Without it the site's bundle.")] = None, config: Config = None
) -> None:
    """What a bundle says of itself: classes, resolutions, training data, measured figures."""
    document = _bundle_folder(folder, config) / "bundle.json"
    try:
        print(document.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise SettingsError(f"{document} does not exist; bundle.path must name a bundle folder") from exc


@bundles.command("verify")
def bundle_verify(
    folder: Annotated[Path | None, typer.Argument(help="Without it the site's bundle.")] = None, config: Config = None
) -> None:
    """Check that every file of a bundle is the one it was locked with."""
    from pipeline.bundle import verify_bundle

    place = _bundle_folder(folder, config)
    verify_bundle(place)
    print(f"{place}: every file is the one named in bundle.json")


@bundles.command("make")
def bundle_make(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of train roi, toi, cells, classes.")],
    out: Out,
    name: Annotated[str, typer.Option(help="What the bundle is called in every report.")],
    version: Annotated[str, typer.Option(help="Its version.")] = "1",
    base: BundleFolder = None,
) -> None:
    """A site's own bundle: another one, the default, with the stages that were trained in place of its own."""
    from pipeline.bundle import DEFAULT
    from pipeline.training.pack import pack

    print(pack(base or DEFAULT, runs, out, name=name, version=version))


def check(config: Config = None) -> None:
    """Look before starting: configuration, disk, database, ports, bundle, GPU, and whether each peer answers."""
    from node.cli.preflight import run_checks

    settings = load_settings(config)
    results = run_checks(settings)
    table = Table()
    for heading in ("what", "", "detail"):
        table.add_column(heading)
    for result in results:
        table.add_row(result.name, "[green]ok[/]" if result.ok else "[red]FAILS[/]", result.detail)
    Console().print(table)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def write_slide(slide: Slide, out: Path, *, container: str, synthetic: bool) -> tuple[Path, ...]:
    """Write any slide as a DICOM pyramid of an invented patient, with a progress bar."""
    from dicom_io.wsi import WsiIdentity, write_pyramid

    identity = WsiIdentity(
        patient=Patient(patient_id=container, name="Phantom^Synthetic", sex="O"),
        container_identifier=container,
        accession_number=container[:16],
        acquired_at=datetime(2026, 1, 1, tzinfo=UTC),
        synthetic=synthetic,
    )
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing the slide", total=1.0)
        return write_pyramid(slide, out, identity, progress=lambda done: bar.update(task, completed=done))


def _bundle_folder(folder: Path | None, config: Path | None = None) -> Path:
    from node.work.inference import bundle_folder

    return folder if folder is not None else bundle_folder(load_settings(config).bundle)


def _read_image(path: Path) -> RgbImage:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as exc:
        raise ImageError(f"{path}: no such file") from exc
    except (UnidentifiedImageError, OSError) as exc:
        raise ImageError(f"{path} is no image that can be read; give PNG, JPEG or TIFF") from exc


def _check_mpp(mpp: float) -> None:
    if not 0 < mpp < 10:
        raise SettingsError(f"--mpp is {mpp:g}; µm per pixel is above 0 and below 10, usually 0.08 to 0.5")


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as exc:
        raise SettingsError(f"--size is {text!r}; write WIDTHxHEIGHT, such as 12000x8000") from exc
    return width, height
