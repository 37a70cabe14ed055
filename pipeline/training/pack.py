"""A site's bundle: the stages it trained, in place of those of another bundle."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.bundle import verify_bundle, write_bundle
from pipeline.classify import ClassesConfig
from pipeline.errors import TrainingError
from pipeline.models.sam import SAM_ENCODER

NETWORK = "network.json"  # beside a classifier's weights: what `new_encoder` is called with
TEMPERATURE = "temperature.txt"
STAGES = {"roi": "regions", "toi": "tiles", "cells": "cells", "classes": "classes"}  # of a run, of a bundle
THRESHOLD = 0.5  # another network's says nothing of a site's own
ABOUT_CLASSES = ("learnt_from", "real_training_cells")


def pack(base: Path, runs: Sequence[Path], out: Path, *, name: str, version: str) -> Path:
    """Write the bundle `base` into `out` with the stages of `runs`, folders of `train roi`, `toi`, `cells`, `classes`.

    Raises
    ------
    TrainingError
        `out` holds files, or a run is of no stage, of one given twice, or not finished.
    WeightsError
        `base` is no whole bundle.
    """
    document = verify_bundle(base)
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out}: holds files; give a new folder for the bundle")
    own: dict[str, tuple[Path, dict[str, Any]]] = {}
    for run in runs:
        stage, config = _stage_of(run)
        if stage in own:
            raise TrainingError(f"{run}: a second run of stage {stage}; give one of each")
        own[stage] = run, _entry(document["stages"][stage], stage, run, config)
    out.mkdir(parents=True, exist_ok=True)
    stages = {stage: own[stage][1] if stage in own else entry for stage, entry in document["stages"].items()}
    for stage, entry in stages.items():
        for file in (entry[key] for key in ("file", "encoder") if key in entry):
            trained = own[stage][0] / file if stage in own else base / file
            shutil.copy(trained if trained.is_file() else base / file, out / file)
    stale = {"notes", *(ABOUT_CLASSES if "classes" in own else ())}  # what was seen of other weights
    kept = {key: value for key, value in document.items() if key not in stale}
    source = {"name": f"the site's own: {', '.join(sorted(own))}", "licence": "the site's"}
    described = {"name": name, "version": version, "training_data": [*document["training_data"], source]}
    write_bundle(out, {**kept, **described, "stages": stages})
    return out / "bundle.json"


def _stage_of(run: Path) -> tuple[str, Mapping[str, Any]]:
    """The bundle's stage that a run's folder holds, and its config."""
    try:
        config: Mapping[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
        stage = STAGES[config["stage"]]
    except (OSError, ValueError, KeyError) as exc:
        raise TrainingError(f"{run}: no run of train {', '.join(STAGES)}; give the folder of its --out") from exc
    if not (run / f"{stage}.safetensors").is_file():
        raise TrainingError(f"{run / stage}.safetensors: missing, the run has not ended; start it again to go on")
    return stage, config


def _entry(base: Mapping[str, Any], stage: str, run: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The stage's part of `bundle.json`: what another bundle says of it, changed by what was trained."""
    entry = {**base, "file": f"{stage}.safetensors"}
    if stage in ("regions", "tiles"):
        return {**entry, "network": {"width": config["width"]}, "config": {**base["config"], "threshold": THRESHOLD}}
    if stage == "cells":
        return {**entry, "kind": "sam", "encoder": SAM_ENCODER} if (run / SAM_ENCODER).is_file() else entry
    network = json.loads((run / NETWORK).read_text()) if (run / NETWORK).is_file() else {}
    temperature = float((run / TEMPERATURE).read_text())
    return {**entry, "network": network, "config": asdict(ClassesConfig(temperature=temperature))}
