"""The whole chain measured: the differential of unseen synthetic smears against their exact one."""

from pathlib import Path

import numpy as np

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.domain import COUNTED_CLASSES
from pipeline.errors import PipelineError
from pipeline.evaluation import plots
from pipeline.evaluation.data import Figures, Say, seed_of
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import Centre
from pipeline.run import AnalysisSettings, analyse
from pipeline.training.synthetic import smears

_STAGES = ("quality", "regions", "tiles", "cells", "classes", "count")


def counts(bundle: Bundle, count: int, centre: Centre, out: Path, say: Say) -> Figures:
    """Pearson and concordance of the 16 components of each slide, Bland-Altman over all, time per stage.

    A slide whose analysis ends in an error counts as failed and is named with the reason.
    """
    rows: list[dict[str, object]] = []
    own, true, names = [], [], []
    for number, spec in enumerate(smears(count, seed_of(700, centre), centre)):

        def tell(stage: str, done: float, number: int = number) -> None:
            say((number + (_STAGES.index(stage) + done) / len(_STAGES)) / count)

        slide = PhantomSlide(spec)
        truth = dict(slide.truth.counts)
        expected = np.array([truth[name] for name in COUNTED_CLASSES], dtype=np.float64)
        try:
            analysis = analyse(slide, bundle, AnalysisSettings(), tell)
        except PipelineError as exc:
            rows.append({"seed": spec.seed, "failed": str(exc)})
            continue
        percent = 100 * expected / max(expected.sum(), 1)
        found = np.array([component.percent for component in analysis.differential.components])
        own.append(found)
        true.append(percent)
        names += [f"seed {spec.seed}"] * len(found)
        rows.append(
            {
                "seed": spec.seed,
                "cells": analysis.differential.total,
                "true_cells": int(expected.sum()),
                "pearson": metrics.pearson(found, percent),
                "ccc": metrics.concordance(found, percent),
                "seconds": dict(analysis.timings_s),
            }
        )
    figures: Figures = {"n": count, "unit": "slides", "failed": count - len(own), "slides": rows}
    if not own:
        return figures
    model, exact = np.concatenate(own), np.concatenate(true)
    plots.agreement(out / f"agreement_{centre}.png", model, exact, names)
    each = list(zip(own, true, strict=True))
    return {
        **figures,
        "mean_ccc": float(np.mean([metrics.concordance(a, b) for a, b in each])),
        "mean_pearson": float(np.mean([metrics.pearson(a, b) for a, b in each])),
        "bland_altman": metrics.bland_altman(model, exact),
    }
