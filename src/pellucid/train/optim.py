"""Optimisers with parameter groups, and the rate at every step as a pure function."""

import math
import re

import torch
from torch import nn

from pellucid.errors import BadUsage
from pellucid.recipe import Optim, Schedule


def parameter_groups(model: nn.Module, optim: Optim) -> list[dict]:
    """Groups of one rate and decay each; frozen parameters stop requiring gradients.

    Raises:
        BadUsage: a prefix of `lr_scale` that no parameter has.
    """
    groups: dict[tuple[float, float], dict] = {}
    depths = _depths(model)
    for prefix in optim.lr_scale:
        if not any(name.startswith(prefix) for name in depths):
            raise BadUsage(
                f"optim.lr_scale.{prefix}: no parameter begins so; they begin {', '.join(sorted({n.split('.')[0] for n in depths}))}"
            )
    for name, parameter in model.named_parameters():
        scale = math.prod(factor for prefix, factor in optim.lr_scale.items() if name.startswith(prefix))
        parameter.requires_grad_(parameter.requires_grad and scale > 0)
        if not parameter.requires_grad:
            continue
        rate = optim.lr * scale * optim.layer_decay ** (max(depths.values()) - depths[name])
        decay = 0.0 if optim.no_decay_1d and parameter.ndim < 2 else optim.weight_decay
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "base_lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
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


def optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """AdamW, SGD with momentum, or LAMB (You et al. 2020, timm's) over `parameter_groups`."""
    groups = parameter_groups(model, optim)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum)
    if optim.name == "lamb":
        import timm.optim  # seconds to import, all of timm comes with it

        return timm.optim.Lamb(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)
    return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)


def rate_factor(schedule: Schedule, step: int, total: int, steps_per_epoch: int) -> float:
    """Factor on the base rate at `step` of `total`, counted from 0."""
    warmup = schedule.warmup if schedule.warmup >= 1 else schedule.warmup * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule.name == "constant":
        return 1.0
    if schedule.name == "step":
        return schedule.gamma ** math.floor(step / steps_per_epoch / schedule.step_epochs)
    done = (step - warmup) / max(1.0, total - warmup)
    shape = 0.5 * (1 + math.cos(math.pi * done)) if schedule.name == "cosine" else 1 - done
    return schedule.final + (1 - schedule.final) * shape


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group's rate to its base times `factor`; gives the largest."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return max(group["lr"] for group in optimizer.param_groups)
