"""The training loop: killed runs go on, others are refused, and memory that ends says what to lower."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import OutOfMemory, TrainingError
from pipeline.training.loop import Batch, Schedule, fit


def line(folder: Path, epochs: int, learning_rate: float = 0.1) -> tuple[nn.Module, Path]:
    """A one-weight regression trained for some epochs."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    schedule = Schedule(epochs=epochs, learning_rate=learning_rate, batch=4, ema=0.9, threads=1)

    def batches(epoch: int) -> Iterable[Batch]:
        x = torch.rand(8, 1, generator=torch.Generator().manual_seed(epoch))
        return [(x[:4], 3 * x[:4]), (x[4:], 3 * x[4:])]

    fit(
        model,
        [{"params": list(model.parameters())}],
        batches,
        2,
        lambda b: ((model(b[0]) - b[1]) ** 2).mean(),
        schedule,
        folder,
        {"stage": "line"},
    )
    return model, folder


def test_a_killed_run_continues_to_the_same_weights(tmp_path: Path) -> None:
    whole, folder = line(tmp_path / "whole", 6)
    assert len((folder / "curves.csv").read_text().splitlines()) == 7
    assert (folder / "curves.png").stat().st_size > 1000

    def stop_after_three(done: float, _message: str) -> None:
        if done >= 0.5:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    model = nn.Linear(1, 1)

    def batches(epoch: int) -> Iterable[Batch]:
        x = torch.rand(8, 1, generator=torch.Generator().manual_seed(epoch))
        return [(x[:4], 3 * x[:4]), (x[4:], 3 * x[4:])]

    schedule = Schedule(epochs=6, learning_rate=0.1, batch=4, ema=0.9, threads=1)
    groups = [{"params": list(model.parameters())}]
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            groups,
            batches,
            2,
            lambda b: ((model(b[0]) - b[1]) ** 2).mean(),
            schedule,
            tmp_path / "cut",
            {"stage": "line"},
            progress=stop_after_three,
        )
    again, _ = line(tmp_path / "cut", 6)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_run_with_another_config_is_refused(tmp_path: Path) -> None:
    line(tmp_path, 1)
    with pytest.raises(TrainingError, match=r"holds a run with another schedule\.learning_rate \(0\.1, now 0\.2\)"):
        line(tmp_path, 1, learning_rate=0.2)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    line(tmp_path, 1)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: not a checkpoint of this run; remove it"):
        line(tmp_path, 1)


def test_memory_that_ends_says_what_to_lower(tmp_path: Path) -> None:
    """The allocator of torch on a CPU raises a plain RuntimeError."""
    model = nn.Linear(1, 1)

    def loss_of(_batch: Batch) -> torch.Tensor:
        return torch.empty(1 << 56).sum()

    with pytest.raises(OutOfMemory, match=r"a batch of 4 does not fit into the memory of cpu; lower schedule\.batch"):
        fit(
            model,
            [{"params": list(model.parameters())}],
            lambda _epoch: [(torch.zeros(4, 1),)],
            1,
            loss_of,
            Schedule(epochs=1, learning_rate=0.1, batch=4, threads=1),
            tmp_path,
            {"stage": "line"},
        )


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_epochs_before(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)

    def batches(epoch: int) -> Iterable[Batch]:
        return [(torch.full((4, 1), 1.0 if epoch == 0 else torch.nan),)]

    def run() -> None:
        groups = [{"params": list(model.parameters())}]
        schedule = Schedule(epochs=2, learning_rate=0.1, batch=4, threads=1)
        fit(model, groups, batches, 1, lambda batch: model(batch[0]).mean(), schedule, tmp_path, {"stage": "line"})

    with pytest.raises(TrainingError, match=r"loss of epoch 2 is not a number.*lower schedule\.learning_rate"):
        run()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(state["history"]) == 1
    assert all(value.isfinite().all() for value in state["model"].values())
