"""The training loop of every stage: seeded, resumable after a kill, with curves as CSV and PNG.

After each epoch `checkpoint.pt` holds the model, its exponential moving average, the optimiser and the history;
a run started again in the same folder continues there. Batches depend on (seed, epoch) only, so an interrupted run
and an uninterrupted one see the same data.
"""

import csv
import json
import math
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from pipeline.cpu import use_cpu
from pipeline.errors import OutOfMemory, TrainingError

matplotlib.use("Agg")
from matplotlib import pyplot

Batch = tuple[Tensor, ...]
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast. The rate rises linearly for `warmup` of the steps, then falls as a cosine to 1 %.

    `stop` ends a run after so many of its epochs, the rate as if all were to come; 0 runs them all. `steps` are the
    most batches an epoch may have, 0 for all. `bf16` computes in bfloat16 on a CPU too (AVX-512 BF16, AMX); a GPU
    always does.
    """

    epochs: int
    learning_rate: float
    batch: int
    weight_decay: float = 0.0
    warmup: float = 0.05
    ema: float = 0.0
    seed: int = 1
    threads: int = 2
    stop: int = 0
    steps: int = 0
    bf16: bool = False


def device() -> torch.device:
    """Where training runs: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def spread(model: nn.Module) -> nn.Module:
    """The model as it is called in a loss: over all GPUs where there are several, each taking a part of the batch."""
    return nn.DataParallel(model) if torch.cuda.device_count() > 1 else model


def quiet(_fraction: float, _message: str) -> None:
    """A `Progress` that says nothing."""


def fit(
    model: nn.Module,
    groups: Iterable[Mapping[str, Any]],
    batches: Callable[[int], Iterable[Batch]],
    steps: int,
    loss_of: Callable[[Batch], Tensor],
    schedule: Schedule,
    folder: Path,
    config: Mapping[str, Any],
    *,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    progress: Progress = quiet,
) -> nn.Module:
    """Train in place and return the weights to ship: the moving average where `schedule.ema` asks for one.

    Parameters
    ----------
    groups
        Parameter groups of AdamW; `scale` in a group multiplies its learning rate.
    batches
        epoch → its batches, a function of (schedule.seed, epoch).
    steps
        Batches per epoch.

    Raises
    ------
    TrainingError
        The folder holds a run of another config, or the loss is no longer a number.
    OutOfMemory
        The batch does not fit.

    """
    settings = {**config, "schedule": asdict(schedule)}
    checkpoint = _claim(folder, settings)
    use_cpu(schedule.threads)
    parts = [dict(group) for group in groups]
    scales = [part.pop("scale", 1.0) for part in parts]
    place = next(model.parameters()).device
    optimiser = torch.optim.AdamW(parts, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    average = _Average(model, schedule.ema) if schedule.ema else None
    history: list[dict[str, float]] = []
    if checkpoint is not None:
        history = _restore(checkpoint, model, average, optimiser)
    steps = min(steps, schedule.steps or steps)
    total = schedule.epochs * steps
    for epoch in range(len(history), schedule.stop or schedule.epochs):
        torch.manual_seed(schedule.seed * 10_000 + epoch)
        _set_to_train(model)
        sum_loss, seen = 0.0, 0
        for batch in islice(batches(epoch), steps):
            rate = schedule.learning_rate * _rate(epoch * steps + seen, total, schedule.warmup)
            for group, scale in zip(optimiser.param_groups, scales, strict=True):
                group["lr"] = rate * scale
            sum_loss += _step(model, tuple(part.to(place) for part in batch), loss_of, optimiser, schedule.bf16)
            if not math.isfinite(sum_loss):
                raise TrainingError(
                    f"{folder}: the loss of epoch {epoch + 1} is not a number; the epochs before are kept, "
                    "start anew in another folder with a lower schedule.learning_rate"
                )
            if average is not None:
                average.update(model)
            seen += 1
            progress((epoch * steps + seen) / total, f"epoch {epoch + 1}/{schedule.epochs} loss {sum_loss / seen:.4f}")
        row = {"epoch": epoch + 1.0, "loss": sum_loss / max(1, seen)}
        if validate is not None:
            model.eval()
            row |= _with_average(model, average, validate)
        history.append(row)
        _save(folder, model, average, optimiser, history)
    if average is not None:
        average.copy_to(model)
    return model.eval()


def _set_to_train(model: nn.Module) -> None:
    """A batch normalisation that does not learn keeps its statistics, too."""
    model.train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d) and not any(p.requires_grad for p in part.parameters()):
            part.eval()


def with_statistics(model: nn.Module, batches: Iterable[Batch], most: int = 20) -> nn.Module:
    """The model, the means and variances of its batch normalisations taken anew of a few batches.

    In a short training they lag behind, by 100 steps in EfficientNets, and those of averaged weights are no averages
    (Izmailov et al. 2018, arXiv:1803.05407).
    """
    update_bn(islice(batches, most), model, next(model.parameters()).device)
    return model.eval()


class _Average:
    """Exponential moving average of floating-point state, ramped up over the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        own = model.state_dict()
        floating = [name for name, value in own.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_([self.state[name] for name in floating], [own[name] for name in floating], 1 - decay)
        for name in own.keys() - set(floating):
            self.state[name].copy_(own[name])

    def copy_to(self, model: nn.Module) -> None:
        model.load_state_dict(self.state)


def _with_average(
    model: nn.Module, average: _Average | None, validate: Callable[[nn.Module], Mapping[str, float]]
) -> dict[str, float]:
    if average is None:
        return dict(validate(model))
    own = {name: value.clone() for name, value in model.state_dict().items()}
    average.copy_to(model)
    try:
        return dict(validate(model))
    finally:
        model.load_state_dict(own)


def _step(
    model: nn.Module, batch: Batch, loss_of: Callable[[Batch], Tensor], optimiser: torch.optim.Optimizer, bf16: bool
) -> float:
    try:
        with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=bf16 or batch[0].is_cuda):
            loss = loss_of(batch)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimiser.step()
    except (RuntimeError, MemoryError) as exc:
        if not _exhausted(exc):
            raise
        where, count = batch[0].device, len(batch[-1])
        raise OutOfMemory(f"a batch of {count} does not fit into the memory of {where}; lower schedule.batch") from exc
    return float(loss.detach())


def _exhausted(exc: Exception) -> bool:
    """Whether memory ended: of a GPU, of Python, or, a plain RuntimeError, of torch on a CPU."""
    return isinstance(exc, (torch.cuda.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(exc)


def _rate(step: int, total: int, warmup: float) -> float:
    rise = max(1, int(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


def refuse_another(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the folder holds a run to go on with, of these settings as far as they are given.

    Raises
    ------
    TrainingError
        It holds a run of other settings; the message names them.
    """
    config = folder / "config.json"
    if not ((folder / "checkpoint.pt").exists() and config.exists()):
        return False
    old, new = _flat(json.loads(config.read_text())), _flat(json.loads(json.dumps(settings, default=str)))
    if changed := [f"{key} ({old[key]}, now {new[key]})" for key in old.keys() & new.keys() if old[key] != new[key]]:
        names = ", ".join(sorted(changed))
        raise TrainingError(f"{folder}: holds a run with another {names}; repeat its config.json or give a new folder")
    return True


def _flat(settings: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested settings as `schedule.epochs`."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        values |= _flat(value, f"{where}{key}.") if isinstance(value, Mapping) else {where + key: value}
    return values


def _claim(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """The checkpoint to continue from, or None for a new run; writes `config.json`."""
    if refuse_another(folder, settings):
        return folder / "checkpoint.pt"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=2, sort_keys=True, default=str)
    (folder / "config.json").write_text(text + "\n")
    return None


def _restore(
    checkpoint: Path, model: nn.Module, average: _Average | None, optimiser: torch.optim.Optimizer
) -> list[dict[str, float]]:
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as exc:
        raise TrainingError(f"{checkpoint}: not a checkpoint of this run; remove it to start again") from exc
    if average is not None:
        average.steps = state["average_steps"]
        for name, value in state["average"].items():
            average.state[name].copy_(value)
    history: list[dict[str, float]] = state["history"]
    return history


def _save(
    folder: Path,
    model: nn.Module,
    average: _Average | None,
    optimiser: torch.optim.Optimizer,
    history: list[dict[str, float]],
) -> None:
    state: dict[str, Any] = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "history": history}
    if average is not None:
        state |= {"average": average.state, "average_steps": average.steps}
    part = folder / "checkpoint.pt.part"
    torch.save(state, part)
    part.replace(folder / "checkpoint.pt")
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    _plot(folder / "curves.png", history)


def _plot(path: Path, history: list[dict[str, float]]) -> None:
    names = [name for name in history[0] if name != "epoch"]
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.plot([row["epoch"] for row in history], [row[name] for row in history], marker=".")
        axis.set(xlabel="epoch", title=name)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
