"""Turns any task into one function, units in and score out. The only hooks of the project are here."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import parse_shape, rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from pellucid.errors import BadUsage
from pellucid.task import Batch, Output, Site, Task


UNITS_IN_PASS = 8192  # tokens (or pixels) in one pass: enough to keep matrix products busy, little enough for any machine


@dataclass(frozen=True)
class Probe:
    """One question put to a model: why this score?

    Args:
        units: features at the site.
        present: true where a unit is real and not padding.
        score: maps `(k b) n d` features to `(k b)` scores, all else in the batch held fixed.
        answer: the statement being explained, per example.
        names: per example the words that name its units or groups; None where the site names nothing.
        groups: group of each unit, -1 for none; None where units are their own groups.
        grid: sizes of the axes that count units, `(n,)` for tokens, `(h, w)` for a feature map; empty where they were not told.
        cut: scores with the units of a `k b n` mask taken out of the batch altogether, the rest closing up; None where the
            site does not say what else runs along its units.
        attention: what each unit attends to in each layer, read when called; None where it was not asked of a model.
        rows: examples that go through the model in one pass; bounds memory, changes no result.
    """

    units: Float[Tensor, "b n d"]
    present: Bool[Tensor, "b n"]
    score: Callable[[Float[Tensor, "kb n d"]], Float[Tensor, " kb"]]
    answer: Shaped[Tensor, "b ..."]
    names: list[list[str]] | None = None
    groups: Int[Tensor, "b n"] | None = None
    grid: tuple[int, ...] = ()
    cut: Callable[[Bool[Tensor, "k b n"]], Float[Tensor, "k b"]] | None = None
    attention: Callable[[], "Attention"] | None = None
    rows: int = 256


@dataclass(frozen=True)
class Attention:
    """What a model's attention layers looked at.

    Args:
        weights: share of unit m in what unit n became, by layer and head; rows sum to 1 over real units.
        read: share of each unit in what the head reads.
    """

    weights: Float[Tensor, "l b h n n"]
    read: Float[Tensor, "b n"]


@contextlib.contextmanager
def replaced(model: nn.Module, site: Site, swap: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within the block, the tensor at `site` passes through `swap`.

    Raises:
        BadUsage: the module does not exist, or ran more or less than once within the block.
    """
    calls = 0

    def swap_first(value: Any) -> Any:
        if isinstance(value, Tensor):
            return swap(value)
        if isinstance(value, tuple):
            return (swap_first(value[0]), *value[1:])
        if isinstance(value, Mapping):  # transformers' ModelOutput: the first entry is the hidden state
            first = next(iter(value))
            value[first] = swap_first(value[first])  # type: ignore[index]
            return value
        raise BadUsage(f"site {site.module!r} gives {type(value).__name__}, not a tensor; name another module")

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        if args:
            return (swap_first(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: swap_first(kwargs[first])}

    def after(_: nn.Module, args: tuple[Any, ...], value: Any) -> Any:
        nonlocal calls
        calls += 1
        return swap_first(value)

    try:
        module = model.get_submodule(site.module)
    except AttributeError:
        raise BadUsage(f"the model has no module {site.module!r}") from None
    handle = module.register_forward_pre_hook(before, with_kwargs=True) if site.side == "input" else module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
    if calls != 1:
        raise BadUsage(f"site {site.module!r} ran {calls} times; name a module that runs once")


@contextlib.contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Within the block the model is in eval mode, its parameters take no gradient and torch's fused attention path,
    which hands hooks nested tensors, is off; all is as before afterwards.
    """
    training, fused = [m for m in model.modules() if m.training], torch.backends.mha.get_fastpath_enabled()
    wanting = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    for parameter in wanting:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module in training:
            module.training = True
        for parameter in wanting:
            parameter.requires_grad_(True)


def find_site(task: Task, name: str) -> Site:
    """The task's site of that name.

    Raises:
        BadUsage: there is none; the message lists those there are.
    """
    if name not in task.sites:
        raise BadUsage(f"no site {name!r}; this task has {', '.join(task.sites)}")
    return task.sites[name]


def unit_names(site: Site) -> list[str]:
    """The axes of the layout that count units, in order."""
    return [axis for axis in site.layout.replace("(", " ").replace(")", " ").split() if axis not in ("b", "d")]


def unit_axes(site: Site) -> str:
    """The pattern `b (units) d` that every layout is read into."""
    return f"b ({' '.join(unit_names(site))}) d"


def _sizes(site: Site, raw: Tensor) -> dict[str, int]:
    """Sizes of the layout's axes, but for examples and features, as far as the tensor tells them."""
    told = {} if "(" in site.layout else {k: v for k, v in parse_shape(raw, site.layout).items() if k not in ("b", "d")}
    return dict(site.axes) | told


@torch.no_grad()
def read(task: Task, batch: Batch, site: str) -> tuple[Output, Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Runs the model once; its output, and the units and their mask at `site`."""
    output, raw = _run(task, batch, find_site(task, site))
    return output, *_units(raw, batch, find_site(task, site))


def repeat_examples(batch: Batch, times: int) -> Batch:
    """`b` examples become `(times b)`: the whole batch, over and over."""
    return {k: torch.cat([v] * times) if isinstance(v, Tensor) else list(v) * times for k, v in batch.items()} if times > 1 else batch


def ask(
    task: Task,
    batch: Batch,
    site: str = "input",
    answer: Shaped[Tensor, "b ..."] | None = None,
    rows: int | None = None,
    score: Callable[[Output], Float[Tensor, " b"]] | None = None,
) -> Probe:
    """Puts a model's own answer, or the one given, to it: which units made you say so?

    Args:
        rows: examples that go through the model in one pass; None chooses by their size.
        score: what to explain instead of the task's `score` of the answer, as a margin between two labels.
    Raises:
        BadUsage: the task has no such site.
    """
    place = find_site(task, site)
    with torch.no_grad():
        output, raw = _run(task, batch, place)
    told = task.answer(output) if answer is None else answer
    units, present = _units(raw, batch, place)
    sizes = _sizes(place, raw)
    back = f"{unit_axes(place)} -> {place.layout}"
    b, n = present.shape
    rows = rows or max(1, UNITS_IN_PASS // n)

    def tell(again: Output, times: int) -> Float[Tensor, " kb"]:
        return (task.score(again, torch.cat([told] * times)) if score is None else score(again)).float()

    def score_all(features: Float[Tensor, "kb n d"]) -> Float[Tensor, " kb"]:
        return torch.cat([score_some(part) for part in features.split(max(1, rows // b) * b)])

    def score_some(features: Float[Tensor, "kb n d"]) -> Float[Tensor, " kb"]:
        times = len(features) // b
        seen = rearrange(features, back, **sizes).to(raw.dtype)
        with still(task.model), replaced(task.model, place, lambda _: seen):
            again = task.model(repeat_examples(batch, times))
        return tell(again, times)

    @torch.no_grad()
    def score_cut(removed: Bool[Tensor, "k b n"]) -> Float[Tensor, "k b"]:
        parts = []
        for some in removed.split(max(1, rows // b)):
            shorter = cut_out(repeat_examples(batch, len(some)), place, rearrange(some, "k b n -> (k b) n"))
            with still(task.model):
                parts.append(rearrange(tell(task.model(shorter), len(some)), "(k b) -> k b", b=b))
        return torch.cat(parts)

    return Probe(
        units,
        present,
        score_all,
        told,
        batch[place.names] if place.names else None,
        batch[place.groups] if place.groups else None,
        tuple(sizes[axis] for axis in unit_names(place)) if all(axis in sizes for axis in unit_names(place)) else (n,),
        score_cut if place.along else None,
        lambda: read_attention(task, batch),
        rows,
    )


def cut_out(batch: Batch, site: Site, removed: Bool[Tensor, "b n"]) -> Batch:
    """The batch without the units removed, those after them closing up; an example that loses all keeps one, as padding."""
    assert site.present, "a site that can be cut has a mask"
    kept = batch[site.present] & ~removed
    order = (~kept).long().argsort(dim=1, stable=True)[:, : max(1, int(kept.sum(1).max()))]

    def close_up(value: Tensor) -> Tensor:
        index = order.reshape(*order.shape, *[1] * (value.ndim - 2)).expand(*order.shape, *value.shape[2:])
        return value.gather(1, index)

    shorter = {key: close_up(batch[key]) for key in site.along} | {site.present: kept.gather(1, order)}
    return {**batch, **shorter}


@torch.no_grad()
def read_attention(task: Task, batch: Batch) -> Attention:
    """What the model's attention layers looked at.

    Raises:
        BadUsage: the model does not offer it.
    """
    with still(task.model):
        output = task.model({**batch, "with_attention": True})
    if "attention" not in output:
        raise BadUsage(f"{type(task.model).__name__} does not offer its attention, on which this method rests; choose another method")
    return Attention(output["attention"].float(), output["attention_read"].float())


def _run(task: Task, batch: Batch, site: Site) -> tuple[Output, Tensor]:
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value)
        return value

    with still(task.model), replaced(task.model, site, keep):
        output = task.model(batch)
    return output, found[0]


def _units(raw: Tensor, batch: Batch, site: Site) -> tuple[Tensor, Tensor]:
    units = rearrange(raw, f"{site.layout} -> {unit_axes(site)}", **site.axes).float()
    present = batch[site.present] if site.present else torch.ones(units.shape[:2], dtype=torch.bool, device=units.device)
    return units, present
