"""Labels, split, input errors, and a tiny training of every stage."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.domain import CELL_CLASSES
from pipeline.errors import ImageError, TrainingError
from pipeline.models.mae import CellClassifier, CellEncoder, folded, new_encoder
from pipeline.phantom.samples import FieldSample
from pipeline.training import classes, commands, datasets, inputs, pretrain, roi, synthetic, toi
from pipeline.training.annotations import crops_of, load_fields
from pipeline.training.augment import Augmentation, augment, recolour
from pipeline.training.collage import collage
from pipeline.training.datasets import CellFolder, Crops, allowed_row, load_cells, standard_crop
from pipeline.training.inputs import folder_and_mpp, site_tiles
from pipeline.training.labels import CODES, Split, classes_of, split_of
from pipeline.training.loop import Schedule
from pipeline.training.sources import leave_one_source_out
from pipeline.training.suggest import rank
from pipeline.training.synthetic import Thumbnails, Tiles, nowhere_unfit

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def colours(count: int, names: tuple[str, ...] = ("lymphocyte", "eosinophil")) -> Crops:
    """Crops that a colour alone tells apart."""
    random = np.random.default_rng(0)
    kinds = [names[i % len(names)] for i in range(count)]
    images = random.integers(120, 140, (count, 160, 160, 3)).astype(np.uint8)
    for image, kind in zip(images, kinds, strict=True):
        image[40:120, 40:120] = (40, 30, 120) if kind == names[0] else (190, 70, 60)
    return Crops(
        images=images,
        allowed=np.stack([allowed_row((kind,)) for kind in kinds]),
        names=tuple(map(str, range(count))),
        codes=tuple(kinds),
        sources=("test",) * count,
    )


def test_every_code_maps_into_the_22_and_names_map_to_themselves() -> None:
    assert {name for names in CODES.values() for name in names} <= set(CELL_CLASSES)
    assert classes_of("Segmented_Neutrophil") == ("segmented neutrophil",)
    assert classes_of("bla") == ("myeloblast",)
    assert classes_of("megakaryocyte") == ()


def test_the_split_is_fixed_and_about_a_quarter() -> None:
    parts = [split_of(f"BLA_{i:05d}.jpg") for i in range(4000)]
    assert parts.count("test") / 4000 == pytest.approx(0.25, abs=0.02)
    assert split_of("BLA_00002.jpg") == split_of("BLA_00002.jpg")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "no images found"),
        ({"BLA/a.png": 1}, "one class only"),
        ({"BLA/a.png": 1, "ZZZ/b.png": 1}, "unknown class name 'ZZZ'"),
    ],
)
def test_unusable_cell_folders_are_named(tmp_path: Path, layout: dict[str, int], message: str) -> None:
    for name in layout:
        write(tmp_path / name, np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(TrainingError, match=message):
        load_cells([CellFolder(root=tmp_path, mpp=0.1)])


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder"):
        load_cells([CellFolder(root=tmp_path / "absent", mpp=0.1)])


def test_crops_of_different_scans_show_cells_at_one_size() -> None:
    def disc(radius_um: float, mpp: float) -> int:
        y, x = np.mgrid[:256, :256]
        image = np.full((256, 256, 3), 200, np.uint8)
        image[(x - 128) ** 2 + (y - 128) ** 2 < (radius_um / mpp) ** 2] = 0
        return int((standard_crop(image, mpp)[..., 0] < 100).sum())

    assert disc(5, 0.086) == pytest.approx(disc(5, 0.125), rel=0.05)


def test_augmentation_is_seeded_and_stays_in_range() -> None:
    images = torch.rand(4, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    a, b = (augment(images, 128, Augmentation(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == (4, 3, 128, 128)
    assert a.min() >= 0 and a.max() <= 1
    assert not torch.equal(recolour(images, Augmentation(), torch.Generator().manual_seed(5)), images)


def test_sharpening_raises_edges_and_leaves_flat_ground() -> None:
    still = Augmentation(
        scale=0.0, shift=0.0, stain=0.0, hue=0.0, saturation=0.0, brightness=0.0, borrow=0.0, blur=0.0, noise=0.0
    )
    images = torch.full((8, 3, 160, 160), 0.6)
    images[:, :, 60:100, 60:100] = 0.4
    plain, sharp = (
        augment(images, 160, replace(still, sharpen=share), torch.Generator().manual_seed(5)) for share in (0.0, 1.0)
    )
    assert (sharp.amax((1, 2, 3)) > plain.amax((1, 2, 3))).all()
    assert (sharp.amin((1, 2, 3)) < plain.amin((1, 2, 3))).all()
    assert torch.allclose(sharp[:, :, :8, :8], plain[:, :, :8, :8], atol=1e-5)


def test_partial_labels_ask_for_the_sum_only() -> None:
    logits = torch.tensor([[2.0, 2.0, -9.0]])
    both = classes.partial_cross_entropy(logits, torch.tensor([[True, True, False]])).mean()
    one = classes.partial_cross_entropy(logits, torch.tensor([[True, False, False]])).mean()
    assert both < 0.01
    assert one == pytest.approx(np.log(2), abs=0.01)


def test_temperature_of_an_overconfident_model_is_above_one() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 22, 400)
    logits = random.normal(0, 1, (400, 22)).astype(np.float32)
    logits[np.arange(400), np.where(random.random(400) < 0.7, truth, (truth + 1) % 22)] += 12
    assert classes.fit_temperature(logits, np.eye(22, dtype=bool)[truth]) > 1.5


def test_a_disk_too_small_for_the_crops_is_named() -> None:
    with pytest.raises(TrainingError, match=r"no room for .* MiB of crops; set TMPDIR"):
        datasets.room(1 << 40)


@pytest.mark.parametrize("text", ["cells", "cells:", "cells:0", ":0.1", "cells:far"])
def test_a_folder_needs_its_resolution(text: str) -> None:
    with pytest.raises(TrainingError, match="FOLDER:MPP"):
        folder_and_mpp(text)


def test_labelme_coco_and_yolo_give_the_same_cells(tmp_path: Path) -> None:
    image = np.full((100, 120, 3), 220, np.uint8)
    square = [[30.0, 20.0], [60.0, 20.0], [60.0, 50.0], [30.0, 50.0]]
    write(tmp_path / "labelme" / "a.png", image)
    (tmp_path / "labelme" / "a.json").write_text(json.dumps({"shapes": [{"label": "BLA", "points": square}]}))
    write(tmp_path / "coco" / "a.png", image)
    (tmp_path / "coco" / "annotations.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png"}],
                "categories": [{"id": 7, "name": "myeloblast"}],
                "annotations": [{"image_id": 1, "category_id": 7, "segmentation": [np.ravel(square).tolist()]}],
            }
        )
    )
    write(tmp_path / "yolo" / "a.png", image)
    (tmp_path / "yolo" / "classes.txt").write_text("BLA\n")
    (tmp_path / "yolo" / "a.txt").write_text("0 0.375 0.35 0.25 0.3\n")
    for name in ("labelme", "coco", "yolo"):
        crops = crops_of(load_fields(tmp_path / name), 0.15, name)
        assert len(crops) == 1
        assert crops.allowed[0].nonzero()[0].tolist() == [CELL_CLASSES.index("myeloblast")]


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((50, 50, 3), np.uint8))
    write(tmp_path / "a_mask.png", np.ones((40, 50), np.uint8))
    with pytest.raises(TrainingError, match=r"a_mask\.png: mask of \(40, 50\), image of \(50, 50\)"):
        load_fields(tmp_path)


def test_tiles_need_both_folders(tmp_path: Path) -> None:
    write(tmp_path / "countable" / "a.png", np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(TrainingError, match="other: no images"):
        site_tiles(tmp_path)


def test_suggestions_take_turns_between_classes() -> None:
    table = np.full((4, 22), 0.0)
    table[0, 0], table[0, 1] = 0.51, 0.49
    table[1, 0], table[1, 1] = 0.55, 0.45
    table[2, 0], table[2, 1] = 0.60, 0.40
    table[3, 5], table[3, 6] = 0.90, 0.10
    assert rank(table) == [0, 3, 1, 2]


GENTLE = Augmentation(hue=0.0, borrow=0.0, saturation=0.1, stain=0.02)
SHORT = Schedule(epochs=1, learning_rate=1e-3, batch=16, threads=1)
WHOLE = classes.ClassesConfig(
    augmentation=GENTLE, frozen_stages=0, frozen_depthwise=False, stem_scale=1.0, mixup=0.0, schedule=SHORT
)


def test_tiny_pretraining_and_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = CellEncoder(size=64, dim=32, depth=1, heads=2)
    cells = colours(32)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    pretrain.pretrain(encoder, cells, pretrain.PretrainConfig(schedule=SHORT), tmp_path / "pretrain")
    changed = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert "blocks.0.mlp.fc1.weight" in changed
    assert not any(name.startswith("stem.") for name in changed), "a frozen stem keeps its statistics, too"
    assert all(p.requires_grad for p in encoder.parameters())
    model = CellClassifier(encoder, 22)
    config = replace(WHOLE, schedule=replace(SHORT, epochs=4, learning_rate=3e-3))
    classes.train_classes(model, cells, cells, config, tmp_path / "classes")
    assert classes.accuracy(classes.predict(model, cells), cells) > 0.9


def test_what_is_frozen_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = folded(CellClassifier(CellEncoder(size=64, dim=32, depth=1, heads=2), 22))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cells = colours(16)
    classes.train_classes(
        model,
        cells,
        cells,
        replace(WHOLE, frozen_stages=2, frozen_depthwise=True, schedule=replace(SHORT, bf16=True)),
        tmp_path,
    )
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert "tail.conv_head.weight" in changed
    assert "head.weight" in changed
    assert not any(
        "conv_dw" in name or name.startswith(("encoder.stem.conv_stem", "encoder.stem.blocks.1.")) for name in changed
    )


def test_a_plain_vit_of_timm_can_take_the_encoders_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = new_encoder(vit="vit_tiny_patch16_224", size=32)
    cells = colours(32)
    pretrain.pretrain(encoder, cells, pretrain.PretrainConfig(schedule=SHORT), tmp_path / "pretrain")
    model = classes.train_classes(CellClassifier(encoder, 22), cells, cells, WHOLE, tmp_path / "classes")
    assert classes.predict(model, cells).shape == (32, 22)
    for name in ("no_such_model", "resnet18"):
        with pytest.raises(ValueError, match=name):
            new_encoder(vit=name)


def test_mixed_images_are_between_their_two_and_keep_both_labels() -> None:
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    allowed = torch.eye(2, dtype=torch.bool)
    views, first, second, share = classes.mix(images, allowed, 0.5, torch.Generator().manual_seed(3))
    assert torch.allclose(views[0], (1 - share[0]).expand(3, 8, 8))
    assert torch.allclose(views[1], share[1].expand(3, 8, 8))
    assert torch.equal(first, allowed)
    assert torch.equal(second, allowed.flip(0))
    assert torch.equal(classes.mix(images, allowed, 0.0, torch.Generator())[0], images)


def test_synthetic_cells_are_recoloured_harder() -> None:
    images = torch.full((64, 3, 20, 20), 0.5)
    images[:, :, 8:12, 8:12] = 0.2
    quiet = Augmentation(scale=0.0, shift=0.0, borrow=0.0, blur=0.0, noise=0.0, tone=0.1)
    harder = torch.where(torch.arange(64) < 32, 3.0, 1.0)
    views = augment(images, 16, quiet, torch.Generator().manual_seed(1), harder)
    colour = views.mean((2, 3))
    assert colour[:32].std(0).mean() > 1.5 * colour[32:].std(0).mean()


def test_synthetic_cells_are_seen_in_natural_colours_too() -> None:
    synthetic = torch.arange(2000) < 1000
    strengths = classes.colour_strengths(synthetic, 6.0, torch.Generator().manual_seed(1))
    assert (strengths[1000:] == 1).all()
    drawn = strengths[:1000]
    assert 1 <= drawn.min() < 1.01
    assert 5.9 < drawn.max() <= 6
    assert 2 < drawn.median() < 2.5


def test_many_crops_lie_in_a_file_and_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for i in range(6):
        write(
            tmp_path / ("BLA" if i % 2 else "EOS") / f"{i}.png", random.integers(0, 255, (40, 40, 3)).astype(np.uint8)
        )
    small = load_cells([CellFolder(root=tmp_path, mpp=0.2)])
    monkeypatch.setattr(datasets, "IN_MEMORY", 1000)
    large = load_cells([CellFolder(root=tmp_path, mpp=0.2)])
    assert isinstance(large.images, np.memmap)
    keep = np.array([True, False] * 3)
    assert np.array_equal(large.images, small.images)
    assert np.array_equal(large.subset(keep).images, small.images[keep])
    assert np.array_equal(datasets.join([large, small]).images[6:], small.images)


def test_an_unreadable_crop_is_named(tmp_path: Path) -> None:
    write(tmp_path / "EOS" / "a.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "EOS" / "b.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"b\.png: not a readable image"):
        load_cells([CellFolder(root=tmp_path, mpp=0.1)])


def test_cells_of_one_field_or_slide_never_fall_on_both_sides(tmp_path: Path) -> None:
    """Fields of one slide, called SLIDE#FIELD, and its single cells, called SLIDE#CELL, go together."""
    points = [[5.0, 5.0], [15.0, 5.0], [15.0, 15.0]]
    shapes = [{"label": ("BLA", "EOS")[i % 2], "points": points} for i in range(8)]
    slides = [f"slide{i}" for i in range(12)]
    for slide in slides:
        for number in range(2):
            write(tmp_path / "fields" / f"{slide}#{number}.png", np.full((20, 20, 3), 9, np.uint8))
            (tmp_path / "fields" / f"{slide}#{number}.json").write_text(json.dumps({"shapes": shapes}))
        write(tmp_path / "cells" / "BLA" / f"{slide}#a.png", np.zeros((20, 20, 3), np.uint8))
        write(tmp_path / "cells" / "EOS" / f"{slide}#b.png", np.zeros((20, 20, 3), np.uint8))
    both = datasets.join(
        [
            crops_of(load_fields(tmp_path / "fields"), 0.15, "fields"),
            load_cells([CellFolder(root=tmp_path / "cells", mpp=0.15)]),
        ]
    )
    assert len(both) == 12 * (16 + 2)
    sides = {
        slide: [p for p in SPLITS if any(n.startswith(f"{slide}#") for n in both.part(p).names)] for slide in slides
    }
    assert all(len(found) == 1 for found in sides.values())
    assert {found[0] for found in sides.values()} == {"train", "test"}


def test_each_source_is_left_out_once(tmp_path: Path) -> None:
    cells = colours(96)
    two = replace(cells, sources=("here", "there") * 48, codes=cells.codes)
    swapped = replace(two, allowed=two.allowed, sources=tuple("here" if i % 4 < 2 else "there" for i in range(96)))

    def start() -> CellClassifier:
        torch.manual_seed(0)
        return CellClassifier(CellEncoder(size=64, dim=32, depth=1, heads=2), 22)

    config = replace(WHOLE, schedule=replace(SHORT, epochs=12, batch=8, learning_rate=3e-3))
    found = leave_one_source_out(swapped, start, config, tmp_path)
    assert [one.source for one in found] == ["here", "there"]
    assert all(set(one.recall) == {"lymphocyte", "eosinophil"} for one in found)
    assert min(one.accuracy_among_shared for one in found) > 0.8
    with pytest.raises(TrainingError, match="cells of test only"):
        leave_one_source_out(cells, start, config, tmp_path / "one")
    with pytest.raises(TrainingError, match="share classes"):  # each source has one class of its own
        leave_one_source_out(two, start, config, tmp_path / "apart")


def test_the_commands_pretrain_then_class_then_compare(tmp_path: Path) -> None:
    cells = colours(80)
    for source in ("one", "two"):
        for i, (image, code) in enumerate(zip(cells.images, cells.codes, strict=True)):
            write(tmp_path / source / code / f"{i}.png", image[..., ::-1])
    folders = [f"{tmp_path / source}:0.135" for source in ("one", "two")]
    config = tmp_path / "config.toml"
    config.write_text("[schedule]\nepochs = 1\nsteps = 1\nbatch = 4\nthreads = 1\n[augmentation]\nhue = 0.0\n")
    encoder = commands.pretrain_encoder(
        tmp_path / "p", config, folders, 0, None, {"size": 32, "dim": 32, "depth": 1, "heads": 2}
    )
    weights = commands.train_classifier(tmp_path / "c", config, folders, 0, encoder)
    assert load_file(str(weights))["head.weight"].shape == (22, 32 + 1280)
    assert json.loads((tmp_path / "c" / "network.json").read_text())["size"] == 32
    assert 0.3 <= float((tmp_path / "c" / "temperature.txt").read_text()) <= 5
    left_out = commands.compare_sources(tmp_path / "s", config, folders, encoder, None)
    assert len(left_out) == 2
    more = commands.compare_sources(tmp_path / "t", config, folders, encoder, None, each=1)
    drawn = synthetic.draw_cells(1, inputs.SEED, side=8).part("train")
    assert [one.trained_on - two.trained_on for one, two in zip(more, left_out, strict=True)] == [len(drawn)] * 2
    assert [set(one.recall) for one in more] == [set(one.recall) for one in left_out]
    assert json.loads((tmp_path / "s" / "sources.json").read_text())[0]["source"] == "one"
    with pytest.raises(TrainingError, match="no such file"):
        commands.train_classifier(tmp_path / "d", config, folders, 0, tmp_path / "absent.safetensors")
    with pytest.raises(TrainingError, match=r"classes\.safetensors: not the encoder"):
        commands.train_classifier(tmp_path / "f", config, folders, 0, weights)
    with pytest.raises(TrainingError, match="Vision Transformer"):
        commands.pretrain_encoder(tmp_path / "e", config, folders, 0, None, {"vit": "resnet18"})


def test_tiny_regions_and_tiles(tmp_path: Path, field: FieldSample) -> None:
    short = Schedule(epochs=1, learning_rate=1e-3, batch=2, threads=1)
    masks = np.zeros((50, 64, 64), dtype=bool)
    masks[:, 16:48] = True
    images = np.where(masks[..., None], 120, 220).repeat(3, axis=-1).astype(np.uint8)
    thumbnails = Thumbnails(images=images, masks=masks, inside=np.ones_like(masks))
    settings = roi.RoiConfig(width=4, schedule=replace(short, learning_rate=5e-3))
    found = roi.train_roi(roi.new_network(settings), thumbnails, settings, tmp_path / "roi")
    assert roi.dice(found, thumbnails.part(slice(0, 2))) > 0.8
    views = np.stack([field.image[:224, :224], np.full((224, 224, 3), 230, np.uint8)] * 2)
    countable = np.array([True, False] * 2)
    tiles = Tiles(images=views, countable=countable, slides=np.zeros(4, np.int64), unfit=nowhere_unfit(countable))
    choice = toi.ToiConfig(width=8, spoil=0.0, schedule=short)
    assert toi.scores(toi.train_toi(toi.new_network(choice), tiles, choice, tmp_path / "toi"), tiles).shape == (4,)
    with pytest.raises(TrainingError, match="all of one kind"):
        toi.train_toi(toi.new_network(choice), tiles.subset(tiles.countable), choice, tmp_path / "one")


def test_collages_are_tiles_of_real_colour() -> None:
    tiles = collage(colours(12), 2, seed=3)
    assert tiles.images.shape == (2, 224, 224, 3)
    assert tiles.countable.all()
    assert np.array_equal(tiles.images, collage(colours(12), 2, seed=3).images)
