"""Optimisers with parameter groups, and the rate at every step as a pure function."""

import math
import re
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from pellucid.errors import BadUsage
from pellucid.recipe import Optim, Schedule


def parameter_groups(model: nn.Module, optim: Optim, schedules: Iterable[str] = ()) -> list[dict]:
    """Groups of one rate, decay and schedule each; frozen parameters stop requiring gradients.

    Args:
        schedules: prefixes of parameters that have one of their own; a group's `schedule` is the longest that fits, or empty.
    Raises:
        BadUsage: a prefix of `lr_scale` or of `schedules` that no parameter has.
    """
    groups: dict[tuple[float, float, str], dict] = {}
    depths, own = _depths(model), list(schedules)
    for prefix, field in [*((p, "optim.lr_scale") for p in optim.lr_scale), *((p, "schedules") for p in own)]:
        if not any(name.startswith(prefix) for name in depths):
            raise BadUsage(f"{field}.{prefix}: no parameter begins so; they begin {', '.join(sorted({n.split('.')[0] for n in depths}))}")
    for name, parameter in model.named_parameters():
        scale = math.prod(factor for prefix, factor in optim.lr_scale.items() if name.startswith(prefix))
        parameter.requires_grad_(parameter.requires_grad and scale > 0)
        if not parameter.requires_grad:
            continue
        rate = optim.lr * scale * optim.layer_decay ** (max(depths.values()) - depths[name])
        decay = 0.0 if optim.no_decay_1d and parameter.ndim < 2 else optim.weight_decay
        by = max((prefix for prefix in own if name.startswith(prefix)), key=len, default="")
        group = {"params": [], "lr": rate, "base_lr": rate, "weight_decay": decay, "schedule": by}
        groups.setdefault((rate, decay, by), group)["params"].append(parameter)
    return list(groups.values())


def _depths(model: nn.Module) -> dict[str, int]:
    """Depth of every parameter: 0 before the model's largest list of blocks, 1.. in it, one more after it."""
    lists = {
        name: sum(p.numel() for p in m.parameters())
        for name, m in model.named_modules()
        if isinstance(m, (nn.ModuleList, nn.Sequential)) and len(m) > 1
    }
    names = [name for name, _ in model.named_parameters()]
    if not lists:
        return dict.fromkeys(names, 0)
    main = max(lists, key=lambda name: lists[name])
    inside = re.compile(re.escape(main) + r"\.(\d+)\.")
    last, seen, depths = len(model.get_submodule(main)), False, {}  # type: ignore[arg-type]
    for name in names:
        match = inside.match(name)
        seen = seen or match is not None
        depths[name] = int(match[1]) + 1 if match else (last + 1 if seen else 0)
    return depths


def optimizer(model: nn.Module, optim: Optim, schedules: Iterable[str] = ()) -> torch.optim.Optimizer:
    """Adam, AdamW, SGD with momentum, LAMB (You et al. 2020) or TensorFlow's RMSProp over `parameter_groups`.

    Differs: LAMB here is timm's: beside its own clipping (`max_grad_norm`) it leaves the step of undecayed weights unscaled.
    """
    groups = parameter_groups(model, optim, schedules)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov)
    if optim.name == "adam":
        return torch.optim.Adam(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)
    import timm.optim  # seconds to import, all of timm comes with it

    if optim.name == "rmsprop_tf":
        return timm.optim.RMSpropTF(groups, lr=optim.lr, alpha=optim.alpha, eps=optim.eps, momentum=optim.momentum)
    return timm.optim.Lamb(
        groups,
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        max_grad_norm=optim.max_grad_norm,
        bias_correction="no_bias_correction" not in optim.lamb,
        **{flag: flag in optim.lamb for flag in ("always_adapt", "trust_clip", "decoupled_decay")},
    )


def clip_units(model: nn.Module, factor: float) -> None:
    """Shortens every unit's gradient to `factor` times its weights' norm; the last layer's stay (adaptive gradient clipping).

    A unit is a row of a weight, or a whole bias or norm weight; weights shorter than 1e-3 count as that long. Gradients of half
    precision must have been unscaled.
    Source: Brock et al. 2021. Differs: the last layer is the module that holds the model's last parameter, with or without bias.
    """
    from timm.utils.agc import adaptive_clip_grad

    names = [name for name, _ in model.named_parameters()]
    last = names[-1].rpartition(".")[0] + "."
    adaptive_clip_grad([p for name, p in model.named_parameters() if not name.startswith(last)], clip_factor=factor)


def rate_factor(schedule: Schedule, step: int, total: int, steps_per_epoch: int) -> float:
    """Factor on the base rate at `step` of `total`, counted from 0."""
    whole = total if schedule.epochs is None else schedule.epochs * steps_per_epoch
    at: float = step
    if schedule.by == "epoch":
        at, whole = step // steps_per_epoch, whole / steps_per_epoch
    if schedule.name == "onecycle":
        low = 1 / 25 if schedule.warmup_start is None else schedule.warmup_start
        return _cycle(schedule, at, whole, (low, 1.0, schedule.final))
    warmup = schedule.warmup if schedule.warmup >= 1 else schedule.warmup * whole
    if at < warmup:
        start = schedule.warmup_start
        return (at + 1) / (warmup + 1) if start is None else start + at * ((1 - start) / warmup)
    if schedule.name == "constant":
        return 1.0
    if schedule.name == "step":
        epochs = step / steps_per_epoch
        fallen = sum(epochs >= drop for drop in schedule.drops) if schedule.drops else math.floor(epochs / schedule.step_epochs)
        return max(schedule.final, schedule.gamma**fallen)
    begin = warmup if schedule.after_warmup else 0.0
    done = min(1.0, (at - begin) / max(1.0, whole - begin))
    shape = 0.5 * (1 + math.cos(math.pi * done)) if schedule.name == "cosine" else 1 - done
    return schedule.final + (1 - schedule.final) * shape


def momentum_at(schedule: Schedule, step: int, total: int, steps_per_epoch: int) -> float | None:
    """Momentum of `onecycle` at `step`, high where the rate is low; None where the schedule leaves it."""
    if schedule.name != "onecycle" or schedule.momentum is None:
        return None
    whole = total if schedule.epochs is None else schedule.epochs * steps_per_epoch
    low, high = schedule.momentum
    return _cycle(schedule, step, whole, (high, low, high))


def _cycle(schedule: Schedule, at: float, whole: float, through: tuple[float, float, float]) -> float:
    """A cosine from the first value to the second over the warm-up, and on to the third."""
    peak = (schedule.warmup if schedule.warmup >= 1 else schedule.warmup * whole) - 1  # torch's: the last step of the warm-up
    rising = at <= peak
    begin, end = through[:2] if rising else through[1:]
    done = at / max(peak, 1e-9) if rising else min(1.0, (at - max(peak, 0.0)) / max(1.0, whole - 1 - peak))
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(
    optimizer: torch.optim.Optimizer, factor: float, momentum: float | None = None, others: Mapping[str, float] | None = None
) -> float:
    """Sets every group's rate to its base times `factor`, and momentum or first beta where one is given; gives the largest rate.

    Args:
        others: factors of the groups that have a schedule of their own, by its prefix.
    """
    for group in optimizer.param_groups:
        own = group.get("schedule")  # checkpoints from before there were such have none
        group["lr"] = group["base_lr"] * (others[own] if others and own else factor)
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum
    return max(group["lr"] for group in optimizer.param_groups)
