"""Turns any task into one function, units in and score out."""

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.hooks import Below, Tiles, alike, recorded, replaced, skipping, still, tiles
from pellucid.explain.quick import QuickLinear
from pellucid.nn.queries import queries_of
from pellucid.task import Batch, Output, Site, Task

T = TypeVar("T")
VALUES_IN_PASS = 8192 * 384  # features at the site in one pass: enough to keep matrix products busy, little enough for any machine


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
        grid: sizes of the axes along which units lie, `(n,)` for tokens, `(h, w)` for a feature map or, where units have groups, for
            the groups; empty where they were not told.
        cut: scores with the units of a `k b n` mask taken out of the batch altogether, the rest closing up, or hidden from the model; None
            where the site says neither what else runs along its units nor that they can be hidden.
        attention: what each unit attends to in each layer, read when called; None where it was not asked of a model.
        looked: share of each cell in what the answer's query looked at, by head, read when called; None as for `attention`.
        rows: examples that go through the model in one pass; bounds memory, changes no result.
        passes: how the model is run; says whether what lies below the site is run again.
        site: where the units are; None for a probe that no model stands behind.
        elsewhere: units of the same examples at another site, by name or as it is.
        pictures: what the model saw, over the whole of which the grid lies; None where it saw none.
        films: per example the film whose pictures its real units were made of, or None; None where the site has none.
        pooled: share of each unit in every sum by which the model pools the units of this site, read when called; None as for `attention`.
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
    looked: Callable[[], Float[Tensor, "b m n"]] | None = None
    rows: int = 256
    passes: "Passes | None" = None
    site: Site | None = None
    elsewhere: Callable[[str | Site], Float[Tensor, "b n d"]] | None = None
    pictures: UInt8[Tensor, "b 3 h w"] | None = None
    films: list[Any] | None = None
    pooled: Callable[[], Float[Tensor, "b u n"]] | None = None


@dataclass(frozen=True)
class Attention:
    """What a model's attention layers looked at.

    Args:
        weights: share of unit m in what unit n became, by layer and head; rows sum to 1 over real units.
        read: share of each unit in what the head reads.
    """

    weights: Float[Tensor, "l b h n n"]
    read: Float[Tensor, "b n"]


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
    within = {"b", *site.unit.split()}
    return [axis for axis in site.layout.replace("(", " ").replace(")", " ").split() if axis not in within]


def unit_axes(site: Site) -> str:
    """The pattern `b (units) (features)` that every layout is read into."""
    return f"b ({' '.join(unit_names(site))}) ({site.unit})"


def _sizes(site: Site, raw: Tensor) -> dict[str, int]:
    """Sizes of the layout's axes, but for examples, as far as the tensor tells them.

    Raises:
        BadUsage: the tensor has other dimensions than the layout, or one that does not divide into the axes it is made of.
    """
    parts = [part.strip("()").split() for part in re.findall(r"\([^)]*\)|\S+", site.layout)]
    shape, sizes = list(raw.shape), dict(site.axes)
    if len(parts) != len(shape):
        raise BadUsage(f"site {site.module!r}: layout {site.layout!r} is of {len(parts)} dimensions, the tensor is {shape}")
    for part, size in zip(parts, shape, strict=True):
        open_axes = [axis for axis in part if axis not in sizes]
        known = math.prod(sizes[axis] for axis in part if axis in sizes)
        if size % known or (not open_axes and size != known):
            told = ", ".join(f"{axis}={sizes[axis]}" for axis in part if axis in sizes)
            raise BadUsage(f"site {site.module!r}: {told} does not divide the {size} of {site.layout!r}; choose another size of picture")
        if len(open_axes) == 1:
            sizes[open_axes[0]] = size // known
    return {axis: size for axis, size in sizes.items() if axis.isidentifier() and axis != "b"}  # einops also writes 1 for an axis


@torch.no_grad()
def read(task: Task, batch: Batch, site: str | Site) -> tuple[Output, Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Runs the model once; its output, and the units and their mask at a site, by name or as it is."""
    place = find_site(task, site) if isinstance(site, str) else site
    output, raw = _run(task, batch, place)
    return output, *_units(raw, batch, place)


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
    with torch.no_grad(), recorded(task.model, place) as below, QuickLinear():
        output, raw = _run(task, batch, place)
    told = task.answer(output) if answer is None else answer
    units, present = _units(raw, batch, place)
    sizes = _sizes(place, raw)
    grid = grid_of(place, sizes, units.shape[1])
    back = f"{unit_axes(place)} -> {place.layout}"
    b, n = present.shape
    passes = Passes(task, batch, place, raw, output, below)
    rows = rows or max(1, VALUES_IN_PASS // (n * max(64, units.shape[-1])))

    def tell(again: Output, times: int) -> Float[Tensor, " kb"]:
        return (task.score(again, torch.cat([told] * times)) if score is None else score(again)).float()

    def score_all(features: Float[Tensor, "kb n d"]) -> Float[Tensor, " kb"]:
        return torch.cat(in_chunks(score_some, features, b, rows))

    def score_some(features: Float[Tensor, "kb n d"]) -> Float[Tensor, " kb"]:
        seen = rearrange(features, back, **sizes)
        return tell(passes.run(seen, len(features) // b), len(features) // b)

    @torch.no_grad()
    def score_cut(removed: Bool[Tensor, "k b n"]) -> Float[Tensor, "k b"]:
        parts = in_chunks(score_shorter, rearrange(removed, "k b n -> (k b) n"), b, rows)
        return rearrange(torch.cat(parts), "(k b) -> k b", b=b)

    def score_shorter(removed: Bool[Tensor, "kb n"]) -> Float[Tensor, " kb"]:
        times = len(removed) // b
        with still(task.model), QuickLinear():
            return tell(task.model(cut_out(repeat_examples(batch, times), place, removed)), times)

    return Probe(
        units,
        present,
        score_all,
        told,
        batch[place.names] if place.names else patch_names(place, grid, present),
        batch[place.groups] if place.groups else None,
        grid,
        score_cut if place.along or place.hides else None,
        lambda: read_attention(task, batch),
        lambda: read_query_attention(task, batch, told, place),
        rows,
        passes,
        place,
        lambda site: read(task, batch, site)[1],
        batch[place.picture] if place.picture else None,
        batch[place.film] if place.film else None,
        lambda: read_pooling(task, batch, place),
    )


def grid_of(site: Site, sizes: Mapping[str, int], num_units: int) -> tuple[int, ...]:
    """Sizes of the axes along which the site's units, or their groups, lie."""
    axes = unit_names(site)
    told = all(axis in sizes for axis in axes) and not site.groups
    return tuple(site.grid) or (tuple(sizes[axis] for axis in axes) if told else (num_units,))


def patch_names(site: Site, grid: tuple[int, ...], present: Bool[Tensor, "b n"]) -> list[list[str]] | None:
    """`row,column` for the units, or groups, of a picture; None elsewhere."""
    if site.picture is None or len(grid) < 2:
        return None
    names = [",".join(map(str, place)) for place in itertools.product(*map(range, grid))]
    if site.groups:
        return [names] * len(present)
    return [[name for name, real in zip(names, row, strict=True) if real] for row in present.tolist()]


def in_chunks(work: Callable[[Tensor], T], copies: Tensor, b: int, rows: int) -> list[T]:
    """The work's results on as many whole copies of a batch at a time as `rows` hold, on fewer where memory does not suffice."""
    parts: list[T] = []
    times, first = max(1, rows // b), 0
    while first < len(copies):
        try:
            parts.append(work(copies[first : first + times * b]))
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if times == 1 or not (isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)):
                raise
            times //= 2
            continue
        first += times * b
    return parts


class Passes:
    """Runs a model with the units at one site replaced; from the second pass on only what lies above the site.

    What lies below gives the same in every pass, so it is kept from the first; one example alone and twice tells how it grows
    with the copies. Where that is not so, or where the model tells the difference, every pass is whole and `reason` says why.
    """

    def __init__(self, task: Task, batch: Batch, site: Site, raw: Tensor, output: Output, below: Below):
        self.task, self.batch, self.site, self.raw, self.output, self.below = task, batch, site, raw, output, below
        self.count, self.reason = 0, ""
        self.kept: Tiles | None = None

    def run(self, seen: Tensor, times: int) -> Output:
        """The output for `times` copies of the batch with the site's tensor being `seen`, in the site's own layout."""
        self.count += 1
        if self.count == 2:  # a method that asks once would not get back what this costs
            self._learn()
        return self._run(seen.to(self.raw.dtype), times, self.kept)

    def _run(self, seen: Tensor, times: int, kept: Tiles | None) -> Output:
        model = self.task.model
        with still(model), skipping(kept.times(times) if kept else []), replaced(model, self.site, lambda _: seen.clone()), QuickLinear():
            return model(repeat_examples(self.batch, times))

    @torch.no_grad()
    def _learn(self) -> None:
        if not self.below.saves_work() and not self.below.reason:
            return
        found = tiles(self.below, self._first(1), self._first(2))
        if isinstance(found, Tiles):
            self.reason = self._difference(found)
            self.kept = None if self.reason else found
        else:
            self.reason = found

    def _first(self, times: int) -> Below:
        """What lies below for the first example, so many times."""
        example = {k: v[:1] for k, v in self.batch.items()}
        with still(self.task.model), recorded(self.task.model, self.site, stop=True) as below:
            self.task.model(repeat_examples(example, times))
        return below

    def _difference(self, kept: Tiles) -> str:
        try:
            again = self._run(self.raw, 1, kept)
        except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
            return f"the model does not run without what lies below ({' '.join(str(error).split())[:80]})"
        wrong = [k for k, v in self.output.items() if isinstance(v, Tensor) and not alike(again[k], v)]
        return f"the model's {wrong[0]} changes when what lies below is not run again" if wrong else ""


def cut_out(batch: Batch, site: Site, removed: Bool[Tensor, "b n"]) -> Batch:
    """The batch without the units removed, hidden or those after them closing up; an example that loses all keeps one, as padding."""
    assert site.present, "a site that can be cut has a mask"
    kept = batch[site.present] & ~removed
    if site.hides:
        return {**batch, site.present: kept}
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


@torch.no_grad()
def read_query_attention(task: Task, batch: Batch, answer: Shaped[Tensor, "b ..."], site: Site | None = None) -> Float[Tensor, "b m n"]:
    """How much each head of the answer's query looked at each cell of the picture, or at each unit of a site that it looks at beside them.

    Raises:
        BadUsage: the model has no queries, or does not offer what they attend to.
    """
    with still(task.model):
        output = task.model({**batch, "with_attention": True})
    if "query_attention" not in output or answer.ndim != 2:
        raise BadUsage(f"{type(task.model).__name__} does not offer what its queries attend to; choose another method")
    query = queries_of(output["logits"], answer)
    beside = f"query_attention.{site.module}" if site else ""
    return output[beside if beside in output else "query_attention"][torch.arange(len(query), device=query.device), query].float()


@torch.no_grad()
def read_pooling(task: Task, batch: Batch, site: Site) -> Float[Tensor, "b u n"]:
    """What the model itself gives each unit of a site where it pools them, by each of its attention units.

    Raises:
        BadUsage: the model does not pool the units of this site by weights.
    """
    with still(task.model):
        output = task.model({**batch, "with_attention": True})
    if f"pooling.{site.module}" not in output:
        raise BadUsage(
            f"{type(task.model).__name__} does not pool the units at {site.module!r} by attention; choose another method or site"
        )
    return output[f"pooling.{site.module}"].float()


def _run(task: Task, batch: Batch, site: Site) -> tuple[Output, Tensor]:
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value.clone())  # what comes after may change it in place
        return value

    with still(task.model), replaced(task.model, site, keep):
        output = task.model(batch)
    return output, found[0]


def _units(raw: Tensor, batch: Batch, site: Site) -> tuple[Tensor, Tensor]:
    units = rearrange(raw, f"{site.layout} -> {unit_axes(site)}", **_sizes(site, raw)).float()
    present = batch[site.present] if site.present else torch.ones(units.shape[:2], dtype=torch.bool, device=units.device)
    return units, present
