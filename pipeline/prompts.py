"""Where SAM is asked: boxes around nuclei, and around the lobes of one nucleus that stain apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.csgraph import connected_components

from pipeline.nuclei import Nucleus

if TYPE_CHECKING:
    from pipeline.cells import CellsConfig

MOST_LOBES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What SAM is asked for some nuclei, in pixels of their image; `malus` is how much its mask is mistrusted."""

    nuclei: tuple[int, ...]
    centre: tuple[float, float]
    box: tuple[float, float, float, float]
    malus: float


def prompts(nuclei: Sequence[Nucleus], mpp: float, config: "CellsConfig") -> list[Prompt]:
    """Two boxes for each nucleus and one for each group of lobes; `mpp` of the image the nuclei are in."""
    asked = [
        Prompt(nuclei=(i,), centre=n.centre, box=prompt_box(n.box, share), malus=malus)
        for i, n in enumerate(nuclei)
        for share, malus in ((config.widen, 0.0), (config.tight, config.tight_malus))
    ]
    for group in lobes(nuclei, mpp, config):
        own = np.array([nuclei[i].box for i in group])
        box = (*own[:, :2].min(axis=0).tolist(), *own[:, 2:].max(axis=0).tolist())
        x, y = np.mean([nuclei[i].centre for i in group], axis=0).tolist()
        asked.append(Prompt(nuclei=group, centre=(x, y), box=prompt_box(box, config.tight), malus=0.0))
    return asked


def lobes(nuclei: Sequence[Nucleus], mpp: float, config: "CellsConfig") -> list[tuple[int, ...]]:
    """Groups of two to MOST_LOBES small nuclei whose boxes are close to one another, together no larger than a cell."""
    small = [i for i, nucleus in enumerate(nuclei) if nucleus.area_um2 <= config.largest_lobe_um2]
    if not small:
        return []
    boxes = np.array([nuclei[i].box for i in small]) * mpp
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    gaps = np.maximum(np.maximum(low - high.swapaxes(0, 1), low.swapaxes(0, 1) - high), 0)
    count, owner = connected_components(np.hypot(gaps[..., 0], gaps[..., 1]) < config.lobe_gap_um)
    groups = []
    for number in range(count):
        own = np.flatnonzero(owner == number)
        extent = boxes[own, 2:].max(axis=0) - boxes[own, :2].min(axis=0)
        if 2 <= len(own) <= MOST_LOBES and extent.max() <= config.widest_lobes_um:
            groups.append(tuple(small[i] for i in own.tolist()))
    return groups


def prompt_box(box: tuple[float, float, float, float], share: float) -> tuple[float, float, float, float]:
    """A nucleus's box, each side moved out by half of `share` of its length."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * share / 2, (y1 - y0) * share / 2
    return x0 - dx, y0 - dy, x1 + dx, y1 + dy
