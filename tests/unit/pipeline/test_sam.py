"""The decoder in torch against the exported graph it was read from."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.bundle import DEFAULT, Bundle
from pipeline.errors import WeightsError
from pipeline.image import read_image
from pipeline.models.sam import OnnxEncoder, PromptDecoder, decoder_from_onnx, official
from pipeline.phantom.samples import FieldSample

BOXES = np.array([[300, 300, 420, 430], [80, 500, 190, 610]], np.float32)


@pytest.fixture(scope="module")
def released() -> PromptDecoder:
    return decoder_from_onnx(DEFAULT / "sam_decoder.onnx")


def check_equal(released: PromptDecoder, embedding: torch.Tensor) -> None:
    """Each box gives the same masks and the same quality in torch and in onnxruntime."""
    session = onnxruntime.InferenceSession(str(DEFAULT / "sam_decoder.onnx"), providers=["CPUExecutionProvider"])
    for box in BOXES:
        _, quality, low = session.run(
            None,
            {
                "image_embeddings": embedding.numpy(),
                "point_coords": box.reshape(1, 2, 2),
                "point_labels": np.array([[2, 3]], np.float32),
                "mask_input": np.zeros((1, 1, 256, 256), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array([1024, 1024], np.float32),
            },
        )
        with torch.inference_mode():
            masks, own = released(embedding, None, torch.from_numpy(box[None]), multimask=True)
        best = int(own[0].argmax())  # the graph returns the best of the three
        np.testing.assert_allclose(own[0, best].item(), quality[0, 0], atol=1e-4)
        np.testing.assert_allclose(masks[0, best].numpy(), low[0, 0], atol=2e-3)


def test_equal_to_the_graph_on_a_synthetic_field(released: PromptDecoder, bundle: Bundle, field: FieldSample) -> None:
    check_equal(released, bundle.cells.embed(field.image, bundle.cells.mpp))


@pytest.mark.shared
def test_equal_to_the_graph_on_real_fields(released: PromptDecoder, bundle: Bundle, shared: Path) -> None:
    for path in sorted((shared / "segpc" / "images").glob("*.jpg"))[:2]:
        check_equal(released, bundle.cells.embed(read_image(path), 0.1))


def test_a_window_of_the_whole_embedding_is_the_whole(released: PromptDecoder) -> None:
    embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(3))
    boxes = torch.from_numpy(BOXES)
    points = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    with torch.inference_mode():
        masks, quality = released(embedding, points, boxes)
        same, also = released.decode_windows(embedding, torch.zeros(2, 2, dtype=torch.int64), 64, points, boxes)
    torch.testing.assert_close(masks[:, 0], same, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quality[:, 0], also, atol=1e-5, rtol=1e-4)


def test_only_prompts_worth_it_are_drawn(released: PromptDecoder) -> None:
    embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(3))
    points = torch.tensor([[[200.0, 300.0]], [[700.0, 650.0]], [[90.0, 900.0]]])
    with torch.inference_mode():
        masks, quality = released(embedding, points, None, multimask=True)
        least = float(quality.amax(1).median())
        few, own = released(embedding, points, None, multimask=True, least_quality=least)
    chosen = quality.amax(1) >= least
    assert int(chosen.sum()) == 2
    torch.testing.assert_close(own, quality[chosen])
    torch.testing.assert_close(few, masks[chosen], atol=1e-4, rtol=1e-4)


def test_a_broken_encoder_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sam_encoder.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(WeightsError, match=r"sam_encoder\.onnx: not a readable ONNX model"):
        OnnxEncoder(path)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    for write in (lambda: torch.save({"a": torch.zeros(1)}, path), lambda: path.write_bytes(b"no weights")):
        write()
        with pytest.raises(WeightsError, match=r"sam\.pth: not a SAM checkpoint; download"):
            official(path)
