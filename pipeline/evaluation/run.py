"""`marrow-node evaluate`: every measurement the data allow, each kept as it ends, so that a stopped run goes on.

`out/parts/NAME.json` holds one part with the amounts it was measured with and the digests of the stages and of the
code that draws smears, so that a stage trained again has only its own parts measured again, and a smear drawn
otherwise those that are drawn; `evaluation.json` holds them all. `baselines.json`
(`evaluate baselines`) and `sources.json` (`train sources`) are taken along when they lie in `out`.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.bundle import Bundle
from pipeline.errors import TrainingError
from pipeline.evaluation import classes, counts, fields, quality, robustness, sources, subset
from pipeline.evaluation.data import CENTRES, Amounts, Figures, Say
from pipeline.training.loop import Progress, quiet
from pipeline.training.synthetic import smear_digest

STAGES = ("regions", "tiles", "cells", "classes")
ALONGSIDE = {"baselines": "baselines.json", "sources_left_out": "sources.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One measurement, the stages of the bundle that it depends on, and whether on what `pipeline.phantom` draws."""

    stages: tuple[str, ...]
    drawn: bool
    measure: Callable[[Say], Figures]


def evaluate(
    bundle: Bundle,
    stages: Mapping[str, str],
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
    stages
        The digest of each stage of the bundle, as `stage_digests` gives them.
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
        part = known[name]
        conditions = {
            "stages": {stage: stages[stage] for stage in part.stages},
            "smear": smear_digest() if part.drawn else "",
            "amounts": asdict(amounts),
        }
        _kept(out / "parts" / f"{name}.json", conditions, part.measure, say)
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

    def add(
        name: str,
        stages: str | tuple[str, ...],
        measure: Callable[..., Figures],
        *arguments: object,
        drawn: bool = True,
    ) -> None:
        needs = (stages,) if isinstance(stages, str) else stages
        found[name] = Part(stages=needs, drawn=drawn, measure=partial(measure, *arguments))

    if real is not None:
        photographed = partial(add, drawn=False)
        photographed("classes_mll", "classes", classes.real, bundle, real / "mll", amounts.real_cells, out)
        photographed("classes_pbc", "classes", classes.real, bundle, real / "pbc", amounts.real_cells, out)
        photographed("classes_segpc", "classes", classes.plasma, bundle, real / "segpc", amounts.real_cells)
        photographed("cells_segpc", "cells", fields.plasma_cells, bundle, real / "segpc", amounts.real_fields)
        add("tiles_segpc", "tiles", fields.real_tiles, bundle, real / "segpc", amounts.real_fields)
        photographed("cells_zheng", "cells", fields.white_cells, bundle, real / "zheng", amounts.real_images)
        photographed("modes", "cells", fields.both_modes, bundle, real / "segpc", amounts.everything_fields)
    for centre in CENTRES:
        add(f"regions_{centre}", "regions", fields.regions, bundle, amounts.thumbnails, centre)
        add(f"tiles_{centre}", ("regions", "tiles"), fields.tiles, bundle, amounts.tile_slides, centre)
        add(f"cells_{centre}", "cells", fields.synthetic_cells, bundle, amounts.fields, centre)
        add(f"classes_{centre}", "classes", classes.synthetic, bundle, amounts.each, centre, out)
    segpc = real and real / "segpc"
    add("quality", (), quality.quality, amounts.quality_slides, segpc, amounts.quality_fields)
    add("saliency", ("cells", "classes"), classes.saliency, bundle, amounts.explained_cells, segpc, out)
    add("robustness", "classes", robustness.robustness, bundle, real, amounts, out)
    add("subset_synthetic", STAGES, subset.synthetic_subset, bundle)
    if real is not None:
        add("shortcut", "classes", sources.shortcut, bundle, real, amounts)
        add("subset_real", STAGES, subset.real_subset, bundle, real)
    for centre in CENTRES:
        add(f"count_{centre}", STAGES, counts.counts, bundle, amounts.count_slides, centre, out)
    return found


def _kept(path: Path, conditions: dict[str, Any], measure: Callable[[Say], Figures], say: Say) -> None:
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
