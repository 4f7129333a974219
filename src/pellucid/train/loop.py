"""The training loop: one readable pass over steps and epochs, resumable at any step to the same weights."""

import contextlib
import logging
import os
import pathlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pellucid import checkpoint
from pellucid.data import loader
from pellucid.errors import BadUsage, Interrupted, PellucidError
from pellucid.evaluate import Pass, evaluate
from pellucid.recipe import Loop, Recipe
from pellucid.task import Example, Task
from pellucid.train.blame import blame, overflow
from pellucid.train.log import Log
from pellucid.train.optim import clip_units, momentum_at, optimizer, rate_factor, set_rate
from pellucid.train.passes import Share, own_weights, weighted


@dataclass(frozen=True)
class Progress:
    """Where training stands; `dev` holds numbers only at the end of an epoch."""

    step: int
    total: int
    epoch: int
    loss: float
    dev: dict[str, float] = field(default_factory=dict)


@dataclass
class Position:
    """All that changes while training, besides weights, optimiser and random state."""

    step: int = 0
    epoch: int = 0
    offset: int = 0  # steps of this epoch already done
    best: float | None = None
    stale: int = 0  # epochs since the best
    time_s: float = 0.0


def start_fabric(precision: str) -> Fabric:
    """Fabric on the accelerator there is; under torchrun, one process per rank with DDP."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision on every start
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("WORLD_SIZE", local)) // local
    many = {"strategy": "ddp", "devices": local, "num_nodes": nodes} if local * nodes > 1 else {"devices": 1}
    fabric = Fabric(precision=precision, **many)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def pass_of(loop: Loop) -> Pass:
    """How the loop's settings say to measure."""
    return Pass(loop.eval_batch_size, loop.workers, loop.eval_precision)


class Trainer:
    """Fits one task to one recipe in one folder.

    Args:
        examples: prepared training examples.
        dev: prepared examples that choose the checkpoint; never out of distribution.
    """

    def __init__(self, task: Task, recipe: Recipe, examples: Sequence[Example], dev: Sequence[Example], fabric: Fabric):
        self.task, self.recipe, self.loop, self.examples, self.dev, self.fabric = task, recipe, recipe.loop, examples, dev, fabric
        if not examples:
            raise BadUsage("no training examples")
        self.inner = optimizer(task.model, recipe.optim, recipe.schedules)
        self.model, self.optimizer = fabric.setup(task.model, self.inner)
        self.start = _copy(task.model.state_dict()) if self.loop.keep_start else {}
        self.ema = AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(self.loop.ema), use_buffers=True) if self.loop.ema else None
        self.at = Position()
        self.log: Log | None = None
        self.watch: Callable[[Progress], None] = lambda _: None
        self.steps_per_epoch = len(self._batches(0))
        self.total = self.steps_per_epoch * self.loop.epochs

    # ---- the loop ------------------------------------------------------------------------------------------------

    def fit(self, out: pathlib.Path, watch: Callable[[Progress], None] | None = None) -> Position:
        """Trains to the end, or from where the folder's last checkpoint stands; the best weights end in `model.safetensors`.

        Args:
            watch: told about progress, in the main process.
        Raises:
            Interrupted: SIGTERM or SIGINT came; a checkpoint was written first.
            PellucidError: the loss is not finite.
        """
        self.out, self.watch = out, watch or self.watch
        torch.manual_seed(self.loop.seed * 1000 + self.fabric.global_rank)
        self._resume()
        self.log = Log(out, self.loop.loggers, self.at.step) if self.fabric.is_global_zero else None
        began = time.monotonic() - self.at.time_s
        with _signals() as stopped:
            while self.at.epoch < self.loop.epochs and not self._out_of_patience():
                for _ in self._epoch():
                    self.at.time_s = time.monotonic() - began
                    if self._any(stopped):
                        self._save()
                        raise Interrupted(f"stopped at step {self.at.step} of {self.total}; the same command goes on from here")
                    if self.at.step % self.loop.save_every == 0:
                        self._save()
                self._end_epoch()
                self._save()
        self._finish()
        return self.at

    def _epoch(self) -> Iterator[None]:
        loop, world = self.loop, self.fabric.world_size
        places = [loop.accumulate * world, *(p * world + self.fabric.global_rank for p in range(loop.accumulate))]
        batches, seeds = self._batches(self.at.epoch), self._seeds()
        drawn = [seeds[i * loop.batch_size : i * loop.batch_size + len(b)] for i, b in enumerate(batches)]
        steps = list(zip(batches, drawn, strict=True))[self.at.offset :]
        parts = [[(loader.share(b, p, places[0]), loader.share(s, p, places[0])[0]) for p in places[1:]] for b, s in steps]
        flat = [part for step in parts for part in step]
        stream = loader.load(self.task, self.examples, [i for (i, _), _ in flat], loop.workers, [s for _, s in flat])
        self.task.model.train()
        for step in parts:
            self._step([Share(next(stream), rows, weight) for (rows, weight), _ in step])
            yield

    def _seeds(self) -> list[int]:
        """One for each place of the epoch's order."""
        return loader.epoch_seeds(self.steps_per_epoch * self.loop.batch_size, self.loop.seed, self.at.epoch)

    def _batches(self, epoch: int) -> list[list[int]]:
        """Indices of each step's examples, over all processes."""
        loop = self.loop
        lengths = [e["length"] for e in self.examples] if "length" in self.examples[0] else len(self.examples)
        return loader.epoch_batches(lengths, loop, epoch)

    def _step(self, shares: Sequence[Share]) -> None:
        recipe, at = self.recipe, (self.at.step, self.total, self.steps_per_epoch)
        others = {prefix: rate_factor(own, *at) for prefix, own in recipe.schedules.items()}
        rate = set_rate(self.inner, rate_factor(recipe.schedule, *at), momentum_at(recipe.schedule, *at), others)
        losses: dict[str, Tensor] = {}
        drawn, own = _random_state(), own_weights(self.task, shares, self.fabric)
        for i, share in enumerate(shares):
            batch = loader.move(share.batch, self.fabric.device)
            held = self.fabric.world_size > 1 and i + 1 < len(shares)
            with self.fabric.no_backward_sync(self.model, enabled=True) if held else contextlib.nullcontext():
                parts = self.task.loss(self.model(batch), batch)
                # DDP averages over processes; weights sum to one over all passes of the step, so this is the batch's mean
                self.fabric.backward(weighted(parts, share.weight, own[i], self.fabric.world_size))
            for name, value in parts.items():
                losses[name] = losses.get(name, 0) + value.detach() * own[i].get(name, share.weight)
        self._refuse_nan(losses, shares, drawn)
        self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update_parameters(self.task.model)
        self.at.step += 1
        self.at.offset += 1
        if self.at.step % self.loop.log_every == 0 or self.at.step == self.total:
            self._tell(losses, rate)

    def _clip(self) -> None:
        optim, scaler = self.recipe.optim, getattr(self.fabric._precision, "scaler", None)
        if optim.agc is not None:
            if scaler is not None:
                scaler.unscale_(self.inner)
            clip_units(self.task.model, optim.agc)
        if optim.clip_norm is None:
            return
        strict = scaler is None  # it skips a step whose gradients are not finite
        try:
            if optim.agc is not None:  # already unscaled, which may be done once
                torch.nn.utils.clip_grad_norm_(self.task.model.parameters(), optim.clip_norm, error_if_nonfinite=strict)
            else:
                self.fabric.clip_gradients(self.model, self.optimizer, max_norm=optim.clip_norm, error_if_nonfinite=strict)
        except RuntimeError as error:
            if "non-finite" not in str(error):
                raise
            raise PellucidError(f"step {self.at.step + 1}: {overflow(self.task.model, self._remedy())}") from None

    def _refuse_nan(self, losses: dict[str, Tensor], shares: Sequence[Share], drawn: dict[str, Any]) -> None:
        """Stops all processes where one has a loss that is not finite; that one runs the step again to tell why.

        Args:
            drawn: state of the random numbers before the step.
        """
        bad = [name for name, value in losses.items() if not value.isfinite()]
        if not self._any(bad):
            return
        told = [""]
        if bad:
            _set_random_state(drawn)
            cause = blame(self.task, shares, self.examples, self.fabric, self._remedy())
            told = [f"loss {', '.join(bad)} is not finite: {cause}"]
        if self.fabric.world_size > 1:
            told = [told[0]] * self.fabric.world_size
            torch.distributed.all_gather_object(told, told[0])
        raise PellucidError(f"step {self.at.step + 1}: {next(filter(None, told))}")

    def _remedy(self) -> str:
        return "lower optim.lr" + ("" if self.loop.precision == "32-true" else ", or use loop.precision=32-true")

    def _tell(self, losses: dict[str, Tensor], rate: float) -> None:
        whole = {name: float(self.fabric.all_reduce(value, reduce_op="sum")) for name, value in losses.items()}  # type: ignore[arg-type]
        loss = sum(whole.values())
        parts = {f"train/{k}": v for k, v in whole.items()} if len(whole) > 1 else {}
        self._write({"train/loss": loss, **parts, "lr": rate})
        if self.log:
            self.watch(Progress(self.at.step, self.total, self.at.epoch, loss))

    def _write(self, row: dict[str, float]) -> None:
        if self.log:
            self.log.write({"step": self.at.step, "epoch": self.at.step / self.steps_per_epoch, "time_s": round(self.at.time_s, 3), **row})

    # ---- epochs' ends --------------------------------------------------------------------------------------------

    def _end_epoch(self) -> None:
        self.at.epoch, self.at.offset = self.at.epoch + 1, 0
        weights = self._weights()
        if not self.dev:
            self._keep(weights)
            return
        with swapped(self.task.model, weights):
            found = evaluate(self.task, self.dev, pass_of(self.loop), self.fabric)
        self._write({f"dev/{k}": v for k, v in found.metrics.items()})
        if self.log:
            self.watch(Progress(self.at.step, self.total, self.at.epoch, float("nan"), found.metrics))
        name = next(iter(found.metrics))
        value = found.metrics[name] if found.higher_is_better[name] else -found.metrics[name]
        better = self.at.best is None or value > self.at.best
        self.at.stale = 0 if better else self.at.stale + 1
        if better:
            self.at.best = value
        if better or self.loop.keep == "last":
            self._keep(weights)

    def _weights(self) -> checkpoint.Tensors:
        """The weights to measure and ship: the average if one is kept, with its share of the starting weights."""
        model = self.ema.module if self.ema else self.task.model
        weights = _copy(model.state_dict())
        for key, first in self.start.items():
            if weights[key].is_floating_point():
                weights[key] = torch.lerp(weights[key], first.to(weights[key].device), self.loop.keep_start)
        return weights

    def _keep(self, weights: checkpoint.Tensors) -> None:
        if self.fabric.is_global_zero:
            checkpoint.save(weights, self.out / "checkpoints" / "best.safetensors")

    def _out_of_patience(self) -> bool:
        return self.loop.patience is not None and self.at.stale >= self.loop.patience

    def _finish(self) -> None:
        self.fabric.barrier()
        best = checkpoint.load(self.out / "checkpoints" / "best.safetensors")
        checkpoint.load_into(self.task.model, best, "best checkpoint")
        if self.log:
            checkpoint.save(best, self.out / "model.safetensors")
            self.log.close()
        self.fabric.barrier()

    # ---- exact resume --------------------------------------------------------------------------------------------

    def _save(self) -> None:
        rng: list[Any] = [_random_state()]
        if self.fabric.world_size > 1:
            rng = [None] * self.fabric.world_size
            torch.distributed.all_gather_object(rng, _random_state())
        if self.fabric.is_global_zero:
            place = self.out / "checkpoints" / "last"
            fresh = place.with_name("last.new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            checkpoint.save(self.task.model.state_dict(), fresh / "model.safetensors")
            if self.start:
                checkpoint.save(self.start, fresh / "start.safetensors")
            ema = self.ema.state_dict() if self.ema else {}
            scaler = self.fabric._precision.state_dict()
            state = {"at": vars(self.at), "optimizer": self.inner.state_dict(), "ema": ema, "scaler": scaler, "rng": rng}
            checkpoint.save_state(state, fresh)
            checkpoint.replace_folder(fresh, place)
        self.fabric.barrier()

    def _resume(self) -> None:
        last = checkpoint.newest(self.out / "checkpoints" / "last")
        if last is None:
            return
        checkpoint.load_into(self.task.model, checkpoint.load(last / "model.safetensors"), str(last))
        state = checkpoint.load_state(last)
        self.at = Position(**state["at"])
        self.inner.load_state_dict(state["optimizer"])
        _lay_out(self.inner)
        self.fabric._precision.load_state_dict(state["scaler"])
        if self.start:
            self.start = checkpoint.load(last / "start.safetensors")
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        if len(state["rng"]) == self.fabric.world_size:
            _set_random_state(state["rng"][self.fabric.global_rank])

    def _any(self, some: Sequence[object]) -> bool:
        """Whether there is something in any process."""
        if self.fabric.world_size == 1:
            return bool(some)
        return bool(self.fabric.all_reduce(torch.tensor(float(len(some)), device=self.fabric.device), reduce_op="sum"))


@contextlib.contextmanager
def swapped(model: torch.nn.Module, weights: checkpoint.Tensors) -> Iterator[None]:
    """Within the block the model has other weights."""
    own = _copy(model.state_dict())
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Within the block SIGTERM and SIGINT are noted, not obeyed; the list holds those that came."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy(weights: checkpoint.Tensors) -> checkpoint.Tensors:
    return {k: v.detach().clone() for k, v in weights.items()}


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Gives state the order in memory of its parameter, which a file does not keep: a norm is summed in that order."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _random_state() -> dict[str, Any]:
    # torch alone: dropout draws from it, and augmentation draws from generators of its own
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
