"""`marrow-node evaluate`: every measurement the data allow, each kept as it ends, so that a stopped run goes on.

`out/parts/NAME.json` holds one part with the digest of the bundle and the amounts it was measured with, and
`evaluation.json` holds them all. `baselines.json` (`evaluate baselines`) and `sources.json` (`train sources`) are taken
along when they lie in `out`.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.bundle import Bundle
from pipeline.errors import TrainingError
from pipeline.evaluation import classes, counts, fields, quality, robustness, sources, subset
from pipeline.evaluation.data import CENTRES, Amounts, Figures, Say
from pipeline.phantom.spec import Centre
from pipeline.training.loop import Progress, quiet

Part = Callable[[Say], Figures]
ALONGSIDE = {"baselines": "baselines.json", "sources_left_out": "sources.json"}


def evaluate(
    bundle: Bundle,
    amounts: Amounts,
    out: Path,
    *,
    real: Path | None = None,
    wanted: Sequence[str] = (),
    progress: Progress = quiet,
) -> Figures:
    """Run the wanted parts (none named: all) and write `evaluation.json` and plots into `out`.

    Parameters
    ----------
    real
        The folder that holds `mll`, `pbc`, `segpc` and `zheng`; without it only synthetic smears are measured.

    Raises
    ------
    TrainingError
        A part is unknown, or needs real data that were not given.
    """
    known = parts(bundle, amounts, real, out)
    if unknown := [name for name in wanted if name not in known]:
        hint = "" if real else "; those of real cells need --real"
        raise TrainingError(f"no part {', '.join(unknown)}; there are {', '.join(known)}{hint}")
    (out / "parts").mkdir(parents=True, exist_ok=True)
    info = bundle.info
    figures: Figures = {"bundle": {"name": info.name, "version": info.version, "digest": info.digest}}
    figures["amounts"] = asdict(amounts)
    chosen = [name for name in known if not wanted or name in wanted]
    for number, name in enumerate(chosen):

        def say(done: float, number: int = number, name: str = name) -> None:
            progress((number + done) / len(chosen), name)

        say(0.0)
        _kept(out / "parts" / f"{name}.json", {"digest": info.digest, "amounts": asdict(amounts)}, known[name], say)
    for name in known:
        path = out / "parts" / f"{name}.json"
        if path.exists():
            figures[name] = json.loads(path.read_text())["figures"]
    for name, file in ALONGSIDE.items():
        if (out / file).exists():
            figures[name] = json.loads((out / file).read_text())
    (out / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def parts(bundle: Bundle, amounts: Amounts, real: Path | None, out: Path) -> dict[str, Part]:
    """Every measurement by name, in the order of the model card."""
    found: dict[str, Part] = {}
    if real is not None:
        found |= {
            "classes_mll": partial(classes.real, bundle, real / "mll", amounts.real_cells, out),
            "classes_pbc": partial(classes.real, bundle, real / "pbc", amounts.real_cells, out),
            "cells_segpc": partial(fields.plasma_cells, bundle, real / "segpc", amounts.real_fields),
            "tiles_segpc": partial(fields.real_tiles, bundle, real / "segpc", amounts.real_fields),
            "cells_zheng": partial(fields.white_cells, bundle, real / "zheng", amounts.real_images),
            "modes": partial(fields.both_modes, bundle, real / "segpc", amounts.everything_fields),
        }
    for centre in CENTRES:
        found |= _of_centre(bundle, amounts, centre)
        found[f"classes_{centre}"] = partial(classes.synthetic, bundle, amounts.each, centre, out)
    found["quality"] = partial(quality.quality, amounts.quality_slides, real and real / "segpc", amounts.quality_fields)
    found["saliency"] = partial(classes.saliency, bundle, amounts.explained_cells, real and real / "segpc", out)
    found["robustness"] = partial(robustness.robustness, bundle, real, amounts, out)
    found["subset_synthetic"] = partial(subset.synthetic_subset, bundle)
    if real is not None:
        found["shortcut"] = partial(sources.shortcut, bundle, real, amounts)
        found["subset_real"] = partial(subset.real_subset, bundle, real)
    for centre in CENTRES:
        found[f"count_{centre}"] = partial(counts.counts, bundle, amounts.count_slides, centre, out)
    return found


def _of_centre(bundle: Bundle, amounts: Amounts, centre: Centre) -> dict[str, Part]:
    return {
        f"regions_{centre}": partial(fields.regions, bundle, amounts.thumbnails, centre),
        f"tiles_{centre}": partial(fields.tiles, bundle, amounts.tile_slides, centre),
        f"cells_{centre}": partial(fields.synthetic_cells, bundle, amounts.fields, centre),
    }


def _kept(path: Path, conditions: dict[str, Any], measure: Part, say: Say) -> None:
    """Measure into `path` unless it holds a measurement under the same conditions."""
    if path.exists():
        known = json.loads(path.read_text())
        if {key: known.get(key) for key in conditions} == conditions:
            return
    started = time.monotonic()
    figures = measure(say)
    figures["seconds"] = round(time.monotonic() - started, 1)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**conditions, "figures": figures}, indent=2) + "\n")
    part.replace(path)
