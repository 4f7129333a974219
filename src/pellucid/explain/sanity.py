"""Does an explanation depend on what the model has learned, and hold still where the input hardly moves?"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pellucid.explain.agreement import by_things, spearman
from pellucid.explain.attribution import Statistics
from pellucid.explain.bottleneck import of_sample
from pellucid.explain.draw import Draw
from pellucid.explain.methods import Method
from pellucid.explain.probe import Probe, ask
from pellucid.task import Batch, Task

RUNNING = ("running_mean", "running_var")  # what a batch norm has learned without being a parameter


# ---- randomised weights -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Weights that are randomised together.

    Args:
        weights: parameters and the running statistics of batch norms.
    """

    name: str
    weights: tuple[Tensor, ...]


def blocks(model: nn.Module) -> list[Block]:
    """The model in its parts from the bottom (embedding) to the top (head), in the order in which they were registered.

    A part is a child that holds no list of layers; lists are opened. A weight used twice belongs to its first part.
    """
    seen: set[int] = set()
    found = []
    for name, own in _parts("", model):
        fresh = [w for w in own if id(w) not in seen]
        seen |= {id(w) for w in fresh}
        if fresh:
            found.append(Block(name or "model", tuple(fresh)))
    return found


def _parts(name: str, module: nn.Module) -> Iterator[tuple[str, list[Tensor]]]:
    listed = any(isinstance(m, (nn.ModuleList, nn.Sequential, nn.ModuleDict)) for m in module.modules())
    if name and not listed:
        yield name, _weights(module, recurse=True)
        return
    yield name, _weights(module, recurse=False)
    for child, inner in module.named_children():
        yield from _parts(f"{name}.{child}".lstrip("."), inner)


def _weights(module: nn.Module, recurse: bool) -> list[Tensor]:
    running = [b for key, b in module.named_buffers(recurse=recurse) if key.rpartition(".")[2] in RUNNING]
    return [*module.parameters(recurse=recurse), *running]


@contextlib.contextmanager
def randomised(some: Sequence[Block], seed: int = 0) -> Iterator[None]:
    """Within the block, every weight is a random number of its tensor's own mean and spread; afterwards all are as before.

    No random number generator of torch moves. Running variances are mixed up among their places, so that they stay positive.
    """
    weights = [w for block in some for w in block.weights]
    kept = [w.detach().clone() for w in weights]
    draw = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for weight in weights:
                weight.copy_(_redrawn(weight, draw))
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def _redrawn(weight: Tensor, draw: torch.Generator) -> Tensor:
    if not isinstance(weight, nn.Parameter):
        order = torch.randperm(weight.numel(), generator=draw).to(weight.device)
        return weight.flatten()[order].reshape(weight.shape)
    values = weight.detach().double()
    alone = values.numel() == 1  # a single number has no spread: its size takes its place
    mean, std = (torch.zeros_like(values), values.abs()) if alone else (values.mean(), values.std(correction=0))
    return (mean + std * torch.randn(weight.shape, generator=draw, dtype=torch.float32).to(weight.device)).to(weight.dtype)


@dataclass(frozen=True)
class Setting:
    """What was asked of which model, so that it can be asked again.

    Args:
        statistics: those of the site, called anew for every set of weights; may give None.
        answer: what is explained; also under random weights.
    """

    task: Task
    batch: Batch
    site: str
    answer: Shaped[Tensor, "b ..."]
    statistics: Callable[[], Statistics | None]


@dataclass(frozen=True)
class Cascade:
    """How like the true explanation those of ever more randomised models are.

    Args:
        stages: the part whose weights went last; parts above it are random too, at the last stage all.
        likeness: Spearman's correlation of absolute relevance over words, near 0 where the method looks at the model.
    """

    stages: tuple[str, ...]
    likeness: dict[str, Float[Tensor, "s b"]]


def cascade(
    setting: Setting, methods: Mapping[str, Method], relevances: Mapping[str, Float[Tensor, "b n"]], seed: int = 0, only_full: bool = False
) -> Cascade:
    """Explains the same answers with weights randomised part by part from the top.

    Args:
        relevances: the true explanation of each method.
        only_full: just the last stage, with every weight random.
    Source: Adebayo et al. 2018. Differs: weights keep their tensor's mean and spread instead of the initialiser's; the order
    of the parts is that of registration.
    """
    parts = blocks(setting.task.model)[::-1]
    stages = range(len(parts) if only_full else 1, len(parts) + 1)
    found: dict[str, list[Tensor]] = {name: [] for name in methods}
    for depth in stages:
        with randomised(parts[:depth], seed):
            probe, statistics = ask(setting.task, setting.batch, setting.site, setting.answer), setting.statistics()
            for name, method in methods.items():
                found[name].append(_likeness(probe, relevances[name], method(probe, statistics, seed).relevance))
    return Cascade(tuple(parts[depth - 1].name for depth in stages), {name: torch.stack(rows) for name, rows in found.items()})


def _likeness(probe: Probe, one: Float[Tensor, "b n"], two: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    things, exists = by_things(probe, {"one": one, "two": two})
    return spearman(things["one"].abs(), things["two"].abs(), exists)


# ---- small moves of the input -----------------------------------------------------------------------------------------


def max_sensitivity(
    probe: Probe,
    method: Method,
    statistics: Statistics | None,
    radius: float = 0.1,
    samples: int = 10,
    seed: int = 0,
) -> Float[Tensor, " b"]:
    """Largest change of the explanation when the units move a little, relative to its length; smaller is better.

    Args:
        radius: most that a feature moves, in its standard deviations.
    Source: Yeh et al. 2019. A method that reads the batch and not the units (attention, taking units out) does not feel the move.
    """
    spread = of_sample(probe.units, probe.present) if statistics is None else statistics
    noise = Draw(probe.present.sum(1), seed).normal(samples, probe.present, probe.units.shape[-1])
    moves = radius * spread.std.to(noise) * (2 * torch.special.ndtr(noise) - 1)  # k b n d; 0 where padded, as the noise is
    before = method(probe, statistics, seed).relevance
    length = before.norm(dim=1)
    far = [
        (method(dataclasses.replace(probe, units=probe.units + move), statistics, seed).relevance - before).norm(dim=1) for move in moves
    ]
    return reduce(torch.stack(far), "k b -> b", "max") / length.where(length > 0, torch.nan)
