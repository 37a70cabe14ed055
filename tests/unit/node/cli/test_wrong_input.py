"""What training cannot use ends it before the first step: one line that names the file and the remedy, exit code 1."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from node.cli import commands as cli
from pipeline.training.labels import split_of
from pipeline.training.roi import RoiConfig

Make = Callable[[Path], list[str]]
SQUARE = [[5.0, 5.0], [15.0, 5.0], [15.0, 15.0], [5.0, 15.0]]


def picture(path: Path, side: tuple[int, int] = (20, 20), value: int = 9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*side, 3), value, np.uint8))


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def labelme(label: str = "BLA", **more: object) -> dict[str, object]:
    return {"shapes": [{"label": label, "points": SQUARE}], **more}


def coco(**entry: object) -> dict[str, object]:
    return {
        "images": [{"id": 1, "file_name": "a.png", **entry}],
        "categories": [{"id": 7, "name": "myeloblast"}],
        "annotations": [{"image_id": 1, "category_id": 7, "segmentation": [np.ravel(SQUARE).tolist()]}],
    }


def annotated(name: str, content: object, command: str = "classes") -> Make:
    """A field `a.png` of 20 x 20 px with one annotation file."""

    def make(folder: Path) -> list[str]:
        picture(folder / "set" / "a.png")
        write(folder / "set" / name, content)
        if name == "a.txt" and "\n" in str(content):
            write(folder / "set" / "classes.txt", "BLA\n")
        option = {"classes": "--cells", "cells": "--fields", "roi": "--slides"}[command]
        return [command, option, f"{folder / 'set'}:0.15"] + ([] if command == "classes" else ["--synthetic", "0"])

    return make


def crops(*names: str, bad: str = "") -> Make:
    """A folder of cells, each picture another one, `bad` no picture at all."""

    def make(folder: Path) -> list[str]:
        (folder / "set").mkdir()
        for number, name in enumerate(names):
            picture(folder / "set" / name, value=number)
        if bad:
            write(folder / "set" / bad, "no picture")
        return ["classes", "--cells", f"{folder / 'set'}:0.15"]

    return make


def mask_of_another_size(folder: Path) -> list[str]:
    picture(folder / "set" / "a.png")
    cv2.imwrite(str(folder / "set" / "a_mask.png"), np.ones((10, 20), np.uint8))
    return ["cells", "--synthetic", "0", "--fields", f"{folder / 'set'}:0.15"]


def tiles(*shapes: tuple[str, tuple[int, int]]) -> Make:
    def make(folder: Path) -> list[str]:
        for name, side in shapes:
            picture(folder / "set" / name, side)
        return ["toi", "--tiles", str(folder / "set")]

    return make


def unreadable_tile(folder: Path) -> list[str]:
    picture(folder / "set" / "other" / "b.png")
    write(folder / "set" / "countable" / "a.png", "no picture")
    return ["toi", "--tiles", str(folder / "set")]


def a_picture_on_both_sides(folder: Path) -> list[str]:
    names = [f"{i}.png" for i in range(40)]
    train, test = (next(n for n in names if split_of(n) == part) for part in ("train", "test"))
    for name in (train, test):
        picture(folder / "set" / "BLA" / name)
    picture(folder / "set" / "EOS" / "x.png", value=200)
    return ["classes", "--cells", f"{folder / 'set'}:0.15"]


def a_cell_in_two_classes(folder: Path) -> list[str]:
    picture(folder / "set" / "BLA" / "x.png")
    picture(folder / "set" / "EOS" / "x.png")
    return ["classes", "--cells", f"{folder / 'set'}:0.15"]


def a_run_of_another_config(folder: Path) -> list[str]:
    config = RoiConfig(schedule=replace(RoiConfig().schedule, epochs=3))
    write(folder / "run" / "config.json", {"stage": "roi", **asdict(config)})
    (folder / "run" / "checkpoint.pt").write_bytes(b"")
    return ["roi"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(crops(), r"set: no annotation found; give", id="empty folder"),
        pytest.param(crops("BLA/a.png", "BLA/b.png"), r"set:0.15: cells of one class only; give", id="one class"),
        pytest.param(crops("BLA/a.png", "EOS/a.webp"), r"EOS: no images found; remove .*\.png", id="empty class"),
        pytest.param(crops("BLA/a.png", "ZZZ/b.png"), r"ZZZ: unknown class name 'ZZZ'; rename", id="unknown class"),
        pytest.param(crops("BLA/a.png", bad="BLA/b.png"), r"b\.png: not a readable image; give", id="unreadable crop"),
        pytest.param(crops("BLA/a.png", "EOS/b.png"), r"too few to split.*give more", id="too few"),
        pytest.param(
            annotated("a.json", labelme(imageWidth=40, imageHeight=20)),
            r"a\.json: drawn on 40 x 20 px, but a\.png has 20 x 20 px; give the image",
            id="LabelMe of another size",
        ),
        pytest.param(
            annotated("annotations.json", coco(width=20, height=50)),
            r"annotations\.json: drawn on 20 x 50 px, but a\.png has 20 x 20 px; give the image",
            id="COCO of another size",
        ),
        pytest.param(
            annotated("annotations.json", coco(file_name="b.png")),
            r"annotations\.json: its image .*b\.png does not exist; put it there",
            id="COCO without its image",
        ),
        pytest.param(annotated("b.json", labelme()), r"b\.json: no image beside it; give", id="LabelMe alone"),
        pytest.param(annotated("a.json", "{"), r"a\.json: not readable as JSON; export", id="broken JSON"),
        pytest.param(
            annotated("a.json", {"shapes": [{"label": "BLA", "points": [[90, 90], [99, 90], [99, 99]]}]}),
            r"a\.json: outline 1 \(BLA\) lies outside of a\.png; annotate",
            id="outline beside the image",
        ),
        pytest.param(
            annotated("a.json", {"shapes": [{"label": "BLA", "shape_type": "rectangle", "points": SQUARE[::2]}]}),
            r"a\.json: holds a rectangle; draw polygons",
            id="a rectangle",
        ),
        pytest.param(
            annotated("a.json", labelme("megakaryocyte")),
            r"a\.png: unknown class name 'megakaryocyte'; label",
            id="unknown label",
        ),
        pytest.param(
            annotated("a.json", labelme("BLA"), "roi"), r"a\.png: label 'BLA' is no region; call it", id="no region"
        ),
        pytest.param(annotated("a.txt", "0 .5 .5 .1 .1"), r"classes\.txt: missing; YOLO", id="YOLO without classes"),
        *(
            pytest.param(
                annotated("a.txt", f"0 .5 .5 .1 .1\n{box}"), r"a\.txt line 2: the box leaves the image; give", id=box
            )
            for box in ("0 10 10 5 5", "0 .9 .5 .4 .1", "0 .5 .5 -.1 .1")
        ),
        pytest.param(mask_of_another_size, r"a_mask\.png: mask of \(10, 20\), image of \(20, 20\); give", id="mask"),
        pytest.param(tiles(("countable/a.png", (20, 20))), r"other: no images; give tiles", id="one kind of tiles"),
        pytest.param(
            tiles(("countable/a.png", (20, 30)), ("other/b.png", (20, 20))),
            r"a\.png: 30 x 20 px; a tile is a square of 160 µm: cut",
            id="oblong tile",
        ),
        pytest.param(unreadable_tile, r"a\.png: not a readable image; give", id="unreadable tile"),
        pytest.param(a_picture_on_both_sides, r"the same picture as .*other side of the split; remove", id="leak"),
        pytest.param(
            a_cell_in_two_classes, r"EOS/x\.png: the same picture as .*BLA/x\.png, in another class", id="both"
        ),
        pytest.param(
            a_run_of_another_config,
            r"run: holds a run with another schedule\.epochs \(3, now 40\).*give a new folder",
            id="another config",
        ),
    ],
)
def test_it_is_named_with_its_remedy_before_the_first_step(
    make: Make, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, *options = make(tmp_path)
    out = tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["marrow-node", "train", stage, "--out", str(out), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 1
    assert said.startswith("marrow-node: ")
    assert re.search(message, said), said
    assert not list(out.glob("curves.*"))
