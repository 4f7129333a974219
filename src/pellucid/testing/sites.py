"""The promises of sites: units can be read and put back, padding is dead, and methods that know no task work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import EinopsError, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.data.loader import move
from pellucid.errors import BadUsage
from pellucid.explain.attribution import baseline
from pellucid.explain.bottleneck import Settings, bottleneck, of_sample
from pellucid.explain.gradient import integrated_gradients
from pellucid.explain.perturb import occlusion
from pellucid.explain.probe import Probe, ask, replaced, still, unit_axes
from pellucid.task import Batch, Example, Output, Task
from pellucid.testing.alike import close


@dataclass(frozen=True)
class Run:
    """A task, its examples, and what its model made of them in eval mode."""

    task: Task
    examples: list[Example]
    batch: Batch
    output: Output
    scores: Float[Tensor, " b"]


def collated(task: Task, examples: list[Example]) -> Batch:
    """The batch, on the model's device."""
    device = next((p.device for p in task.model.parameters()), torch.device("cpu"))
    return move(task.collate(examples), device)


def check_site(run: Run, name: str) -> None:
    """Units can be read and put back, padding there is dead, and methods that know no task work."""
    for some in (run.examples, run.examples[:1]):
        check_layout(run.task, collated(run.task, some), len(some), name)
    probe = attempt(lambda: ask(run.task, run.batch, name), name)
    real = probe.present.any(1)
    if name != "input" and real.any() and not real.all():  # an example may lack a modality; the others are held to the rest
        kept = [example for example, there in zip(run.examples, real.tolist(), strict=True) if there]
        run = replace(run, examples=kept, batch=collated(run.task, kept), scores=run.scores[real])
        probe = attempt(lambda: ask(run.task, run.batch, name), name)
    assert bool(probe.present.any(1).all()), f"site {name!r}: an example has no real unit; is its mask true where real?"
    check_replacement(run, probe, name)
    check_names(probe, name)
    check_methods(probe, name)


def check_layout(task: Task, batch: Batch, size: int, name: str) -> None:
    """The tensor at the site reads as `b n d`, its mask as `b n`."""
    site, found = task.sites[name], []

    def keep(value: Tensor) -> Tensor:
        found.append(value)
        return value

    def run_once() -> None:
        with torch.no_grad(), still(task.model), replaced(task.model, site, keep):
            task.model(batch)

    attempt(run_once, name)
    (raw,) = found
    assert raw.is_floating_point(), f"site {name!r} carries {raw.dtype}, not features; name a module after the embedding"
    units = attempt(lambda: rearrange(raw, f"{site.layout} -> {unit_axes(site)}", **site.axes), name)
    told = f"site {name!r}: layout {site.layout!r} of a tensor of shape {tuple(raw.shape)}"
    assert len(units) == size, f"{told} gives {len(units)} examples, the batch has {size}"
    for kind, key in (("present", site.present), ("groups", site.groups)):
        if key is not None:
            assert key in batch, f"site {name!r}: collate gives no {key!r}, named as its {kind}"
            assert batch[key].shape == units.shape[:2], f"{told} has units {tuple(units.shape[:2])}, {key!r} {tuple(batch[key].shape)}"
    if site.present is not None:
        assert batch[site.present].dtype == torch.bool, f"site {name!r}: mask {site.present!r} is not bool, true where real"
    if site.picture is not None:
        seen = batch.get(site.picture)
        assert isinstance(seen, Tensor) and seen.dtype == torch.uint8 and seen.ndim == 4 and seen.shape[1] == 3, (
            f"site {name!r}: picture {site.picture!r} is not a uint8 tensor `b 3 h w`"
        )


@torch.no_grad()
def check_replacement(run: Run, probe: Probe, name: str) -> None:
    """The model's own units give its own score, in any number of copies, whatever stands in the padding."""
    whole = attempt(lambda: probe.score(probe.units), name)
    assert close(whole, run.scores), f"site {name!r}: putting the units back changes the score: {run.scores.tolist()} to {whole.tolist()}"
    other = probe.units + torch.randn_like(probe.units) * probe.units.std().clamp_min(0.1)
    noise = other.where(~probe.present[..., None], probe.units)
    padded = probe.score(noise)
    assert close(padded, whole), f"site {name!r}: noise in padded units changes the score: {whole.tolist()} to {padded.tolist()}"
    disturbed = other.where(probe.present[..., None], probe.units)
    alone = probe.score(disturbed)
    assert not torch.equal(alone, whole), f"site {name!r}: the score does not depend on the units there; name a module on its way"
    both = probe.score(torch.cat([probe.units, disturbed]))
    assert close(both, torch.cat([whole, alone])), f"site {name!r}: two copies scored together differ from each alone"


def check_names(probe: Probe, name: str) -> None:
    """Words line up with the units or the groups that they name."""
    if probe.groups is not None:
        padded = probe.groups.where(~probe.present, -1)
        assert bool((padded == -1).all()) and probe.groups.min() >= -1, f"site {name!r}: groups are 0, 1, ... at words, -1 elsewhere"
    if probe.pictures is not None:
        assert len(probe.grid) == 2, f"site {name!r}: units of a picture lie on a grid of rows and columns, not {probe.grid}"
    for i, words in enumerate(probe.names or []):
        if probe.groups is None:
            count, what = int(probe.present[i].sum()), "real units"
            assert len(words) == count, f"site {name!r}: example {i} has {len(words)} names for {count} {what}"
        else:
            last = int(probe.groups[i].max())
            assert last < len(words), f"site {name!r}: example {i} has a unit in group {last} but {len(words)} names"


def check_methods(probe: Probe, name: str) -> None:
    """A gradient method adds up, occlusion and the information bottleneck give finite numbers."""
    start = baseline(probe, "mean")
    near = probe.units + 0.1 * (start - probe.units)  # nearer to the baseline a sound model can be steep and need 1,000 steps
    try:
        total = integrated_gradients(probe, near, steps=16).relevance.sum(1)
    except RuntimeError as error:
        raise AssertionError(f"site {name!r}: no gradient of the score reaches the units: {error}") from None
    with torch.no_grad():
        change = probe.score(probe.units) - probe.score(near)
    assert torch.allclose(total, change, rtol=0.05, atol=1e-3), (
        f"site {name!r}: integrated gradients add up to {total.tolist()}, the score changes by {change.tolist()}"
    )
    bits = bottleneck(probe, of_sample(probe.units, probe.present), Settings(steps=2, copies=2))
    for method, relevance in (("occlusion", occlusion(probe, start).relevance), ("iba", bits.relevance)):
        assert bool(relevance.isfinite().all()), f"site {name!r}: {method} is not finite"
        assert bool((relevance[~probe.present] == 0).all()), f"site {name!r}: {method} finds padding relevant"


@contextmanager
def nothing_left_behind(model: nn.Module, name: str) -> Iterator[None]:
    """Fails if hooks, modes or gradients differ after the block."""
    model.train()

    def state() -> dict[str, Any]:
        modules, parameters = list(model.modules()), list(model.parameters())
        return {
            "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules],
            "training modes": [m.training for m in modules],
            "requires_grad flags": [p.requires_grad for p in parameters],
            "parameter gradients": [p.grad is None for p in parameters],
            "fused attention": torch.backends.mha.get_fastpath_enabled(),
        }

    before = state()
    yield
    changed = [what for what, value in state().items() if value != before[what]]
    assert not changed, f"site {name!r}: explaining changes the model's {', '.join(changed)}"


def attempt(work: Callable[[], Any], name: str) -> Any:
    """The work's result; an error that the site's description causes becomes an AssertionError naming the site."""
    try:
        return work()
    except (BadUsage, EinopsError) as error:
        raise AssertionError(f"site {name!r}: {' '.join(str(error).split())}") from error
