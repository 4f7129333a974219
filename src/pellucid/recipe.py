"""What a run is made of: frozen values, overridden by name, written to YAML and read back. Imports nothing heavy."""

import contextlib
import dataclasses
import importlib
import importlib.util
import pathlib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import yaml

from pellucid.coerce import bare, coerce, nearest
from pellucid.errors import BadUsage, UnsafeInput

T = TypeVar("T")


@runtime_checkable
class TaskSettings(Protocol):
    """A frozen dataclass of plain values that can build its task.

    `build(train)` makes the task for training: pretrained weights, labels and vocabulary learned from the training examples.
    Tasks that learn something beside weights also offer `write(task, folder)` and `read(folder) -> Task`
    (labels, vocabulary, tokenizer, architecture; the weights are loaded after); without them a run is restored by `build(())`.
    """

    def build(self, train: Sequence[dict[str, Any]]) -> Any:
        """The task, ready to train."""


@dataclass(frozen=True)
class Data:
    """Where examples come from.

    Args:
        source: kind and place, `csv:reviews.csv`, `sentiment:movies/train`, `hf:folder`; `pellucid list data` names the kinds;
            `${NAME}` is read from the environment.
        columns: name the task reads -> column of the file, `{"text": "review", "label": "stars"}`; same names need no entry,
            `title+body` joins two.
        where: column -> value that a row must have to be kept.
        labels: value in the file -> label, where the file's labels are not the ones wanted.
        part: this share of the rows, 80, 10 and 10 in a hundred, drawn with `seed`; empty takes all.
        limit: keep so many rows, drawn with `seed`; None keeps all.
        seed: the draw of `part` and `limit`.
    """

    source: str
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    part: Literal["", "train", "dev", "test"] = ""
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Optim:
    """The optimiser and its parameter groups.

    Args:
        name: `adam` adds the decay to the gradient, `adamw` to the step; `lamb` and `rmsprop_tf` are timm's.
        lr: learning rate of the last layers.
        momentum: of `sgd` and `rmsprop_tf`.
        alpha: share of the past in the mean square of `rmsprop_tf`.
        layer_decay: factor on the rate per layer below the head (1 gives all layers `lr`).
        lr_scale: prefix of parameter names -> factor on their rate; 0 freezes them.
        no_decay_1d: biases and norm weights are left out of weight decay.
        clip_norm: largest norm of the whole gradient; None does not clip.
        agc: largest gradient of a unit, as a share of its weights' norm (adaptive gradient clipping, Brock et al. 2021); the last
            layer is left alone; None does not clip.
        max_grad_norm: `lamb` clips the whole gradient to this norm inside its step, also where a recipe says "no clipping".
        lamb: what `lamb` does beside the usual: adapt the step of undecayed weights too, keep the trust ratio below 1, take the
            moments as they are, decay outside the trust ratio.
    """

    name: Literal["adamw", "adam", "sgd", "lamb", "rmsprop_tf"] = "adamw"
    lr: float = 2e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = False
    alpha: float = 0.9
    layer_decay: float = 1.0
    lr_scale: Mapping[str, float] = field(default_factory=dict)
    no_decay_1d: bool = True
    clip_norm: float | None = 1.0
    agc: float | None = None
    max_grad_norm: float | None = 1.0
    lamb: tuple[Literal["always_adapt", "trust_clip", "no_bias_correction", "decoupled_decay"], ...] = ()


@dataclass(frozen=True)
class Schedule:
    """How the rate moves, as a factor on `Optim.lr`: a warm-up, then a shape.

    timm's cosine is `Schedule("cosine", 5, 1e-6 / lr, by="epoch", warmup_start=1e-4 / lr, after_warmup=False)`;
    torch's OneCycleLR is `Schedule("onecycle", pct_start, 4e-6, momentum=(0.85, 0.95))`.

    Args:
        warmup: share of the whole (below 1), or number of steps or epochs (1 and above).
        final: factor at the end of `linear`, `cosine` and `onecycle`; `step` does not fall below it.
        step_epochs: `step` multiplies by `gamma` every so many epochs.
        by: whether the rate moves at every step, or holds through an epoch.
        warmup_start: factor of the first step; None begins one step above 0 (`onecycle`: at 1/25).
        after_warmup: `linear` and `cosine` begin where the warm-up ends; false lays them over the whole, the warm-up in place of
            their beginning.
        epochs: that the shape is laid out over, where not the loop's: shorter ends at `final`, longer is cut off.
        momentum: lowest and highest momentum (or first beta) of `onecycle`, moving against the rate; None leaves it.
        drops: epochs after which `step` multiplies, where they are not evenly apart.
    """

    name: Literal["linear", "cosine", "step", "constant", "onecycle"] = "linear"
    warmup: float = 0.06
    final: float = 0.0
    step_epochs: float = 1.0
    gamma: float = 0.1
    by: Literal["step", "epoch"] = "step"
    warmup_start: float | None = None
    after_warmup: bool = True
    epochs: float | None = None
    momentum: tuple[float, float] | None = None
    drops: tuple[float, ...] = ()


@dataclass(frozen=True)
class Loop:
    """The training loop.

    Args:
        batch_size: examples per optimiser step, over all processes.
        accumulate: passes that a step is split into, to save memory; changes no result, but where batch normalisation or mixing of
            pictures sees a pass by itself.
        eval_batch_size: examples per forward pass when measuring; changes no result.
        bucket: batches drawn together and sorted by length; 0 keeps the random order.
        repeats: times that an example comes in an epoch of unchanged length, so that only one in `repeats` comes at all, in as many
            random views (repeated augmentation, Hoffer et al. 2020); 1 for none.
        spread: the repeats of an example lie in different batches; else side by side.
        drop_last: leave out an epoch's last batch where it is smaller.
        precision: of training, `32-true`, `bf16-mixed` or `16-mixed`.
        eval_precision: of measuring; at `bf16-mixed` the batch size moves scores by a part in a hundred.
        ema: decay of an exponential moving average of the weights; 0 keeps none.
        keep_start: share of the starting weights in the final ones (Wortsman et al. 2022, WiSE-FT); 0 keeps none.
        keep: the weights to ship, of the epoch that is best at home, or of the last; where the rate falls to 0 the last have
            settled, and may be worth more away than a dev set can tell.
        patience: epochs without a better home metric before stopping; None never stops early.
        save_every: optimiser steps between checkpoints; one is written at every epoch's end anyway.
        loggers: any of csv, tensorboard, wandb, mlflow; metrics.jsonl is always written.
    """

    epochs: int = 3
    batch_size: int = 32
    accumulate: int = 1
    eval_batch_size: int = 64
    bucket: int = 50
    repeats: int = 1
    spread: bool = False
    drop_last: bool = False
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    eval_precision: Literal["32-true", "bf16-mixed"] = "32-true"
    ema: float = 0.0
    keep_start: float = 0.0
    keep: Literal["best", "last"] = "best"
    patience: int | None = None
    save_every: int = 200
    log_every: int = 10
    workers: int = 0
    seed: int = 0
    loggers: tuple[str, ...] = ("csv",)


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs; `tests` are measured after training, the first is home.

    Args:
        task: frozen settings that build the task.
        dev: chooses the checkpoint; always of the home distribution.
        tests: labelled test sets by name.
        outliers: sets by name that only detection looks at; their labels are ignored.
        claims: the paper's numbers, by `set/metric`.
        schedules: prefix of parameter names -> schedule in the place of `schedule`; of several prefixes the longest counts.
        init: run folder or safetensors file whose weights training starts from; every key must fit or be named.
        init_skip: prefixes of the model's keys that keep their fresh weights.
        init_drop: prefixes of the file's keys that are left out.
        name: how `get` found it; filled in by `get`.
    """

    task: Any
    train: Data
    dev: Data | None = None
    tests: Mapping[str, Data] = field(default_factory=dict)
    outliers: Mapping[str, Data] = field(default_factory=dict)
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    loop: Loop = Loop()
    claims: Mapping[str, float] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    init: str = ""
    init_skip: tuple[str, ...] = ()
    init_drop: tuple[str, ...] = ()
    name: str = ""


# ---- finding recipes ----------------------------------------------------------------------------------------------


def get(name: str, run: pathlib.Path | None = None) -> Recipe:
    """The recipe called `file:function`, `./mine.py:function`, or written in a YAML file.

    Args:
        run: a run folder being restored; a recipe file inside it is refused, since it would run a stranger's code.
    Raises:
        BadUsage: no such recipe; the message gives the nearest name.
        UnsafeInput: the recipe file lies inside `run`.
    """
    if name.endswith((".yaml", ".yml")):
        return read(pathlib.Path(name))
    place, _, function = name.partition(":")
    if not function:
        known = [f"{place}:{f}" for f in functions(place)] or names()
        raise BadUsage(f"recipe {name!r} has no function part" + nearest(name, known))
    if not place.endswith(".py") and place not in places():
        raise BadUsage(f"no recipe {name!r}" + nearest(name, names()))
    module = file_module(place, run) if place.endswith(".py") else importlib.import_module(f"pellucid.recipes.{place}")
    build = getattr(module, function, None)
    if function.startswith("_") or not callable(build):
        known = [f"{place}:{k}" for k, v in vars(module).items() if isinstance(v, types.FunctionType) and v.__module__ == module.__name__]
        raise BadUsage(f"no recipe {name!r}" + nearest(name, [k for k in known if ":_" not in k]))
    recipe = build()
    if not isinstance(recipe, Recipe):
        raise BadUsage(f"{name!r} returns {type(recipe).__name__}, not a Recipe")
    return dataclasses.replace(recipe, name=name)


def file_module(place: str, run: pathlib.Path | None = None) -> types.ModuleType:
    """A Python file of the user's, run as a module; never one inside a `run` that may be a stranger's."""
    path = pathlib.Path(place)
    if run and path.resolve().is_relative_to(run.resolve()):
        raise UnsafeInput(f"{path}: the run names a recipe inside its own folder; look at it and move it elsewhere to use it")
    if not path.is_file():
        raise BadUsage(f"no file {place!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def places() -> list[str]:
    """Files of recipes in the package."""
    return sorted(p.stem for p in (pathlib.Path(__file__).parent / "recipes").glob("*.py") if p.stem != "__init__")


def functions(place: str) -> dict[str, str]:
    """Recipe functions of one file of the package -> first line of their docstring, read without importing it."""
    import ast

    path = pathlib.Path(__file__).parent / "recipes" / f"{place}.py"
    if not path.is_file():
        return {}
    found = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    returns = {n.name: n for n in found if isinstance(n.returns, ast.Name) and n.returns.id == "Recipe"}
    return {name: (ast.get_docstring(node) or "").split("\n")[0] for name, node in returns.items()}


def names() -> list[str]:
    """Every recipe of the package."""
    return [f"{place}:{function}" for place in places() for function in functions(place)]


# ---- overrides ----------------------------------------------------------------------------------------------------


def override(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with fields replaced by dotted name; strings are read with the field's type.

    Raises:
        BadUsage: no such field (with the nearest), or a value of another type.
    """
    for key, value in settings.items():
        recipe = _set(recipe, key.split("."), value, key)
    return recipe


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """`["optim.lr=1e-4"]` as a dict.

    Raises:
        BadUsage: a pair without `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise BadUsage(f"--set {pair}: expected FIELD=VALUE, as in optim.lr=1e-4")
    return {key.strip(): value for key, value in (pair.split("=", 1) for pair in pairs)}


def _set(node: Any, path: list[str], value: Any, full: str) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(node, Mapping):
        if not rest:
            return {**node, head: value}
        if head not in node:
            raise BadUsage(f"no field {full!r}" + nearest(head, list(node)))
        return {**node, head: _set(node[head], rest, value, full)}
    hints = typing.get_type_hints(type(node))
    if not dataclasses.is_dataclass(node) or head not in hints or (head == "name" and isinstance(node, Recipe)):
        before = full.removesuffix(".".join(path))
        known = [before + key for key in flat(node)] if dataclasses.is_dataclass(node) else []
        raise BadUsage(f"no field {full!r}" + nearest(full, known))
    old, kind = getattr(node, head), hints[head]
    if not rest:
        new = coerce(value, kind, full)
    elif typing.get_origin(kind) is Mapping or isinstance(old, Mapping):
        kind = (typing.get_args(kind) or (str, Any))[1]
        if len(rest) > 1 or dataclasses.is_dataclass(kind):
            if len(rest) > 1 and rest[0] not in old:
                with contextlib.suppress(TypeError):  # where nothing must be told, a new entry begins as it is without being told
                    old = {**old, rest[0]: kind()}
            new = _set(old, rest, coerce(value, kind, full) if len(rest) == 1 else value, full)
        else:
            new = {**old, rest[0]: coerce(value, kind, full)}
    elif old is None and dataclasses.is_dataclass(kind := bare(kind)):
        new = coerce({rest[0]: value}, kind, full)
    else:
        new = _set(old, rest, value, full)
    return dataclasses.replace(node, **{head: new})  # type: ignore[type-var]


# ---- YAML ---------------------------------------------------------------------------------------------------------


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every field by dotted name; mappings of plain values stay whole."""
    rows: dict[str, Any] = {}
    for f in dataclasses.fields(node):
        value, key = getattr(node, f.name), prefix + f.name
        if dataclasses.is_dataclass(value):
            rows |= flat(value, key + ".")
        elif isinstance(value, Mapping) and value and all(dataclasses.is_dataclass(v) for v in value.values()):
            for name, item in value.items():
                rows |= flat(item, f"{key}.{name}.")
        else:
            rows[key] = value
    return rows


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML: its name and every value, nested by field."""
    tree = {"recipe": recipe.name, **{k: v for k, v in _plain(recipe).items() if k != "name"}}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def from_yaml(text: str, source: str = "recipe.yaml", run: pathlib.Path | None = None) -> Recipe:
    """The recipe that `to_yaml` wrote: found by name, with every value of the file set over it.

    Raises:
        BadUsage: not YAML, no recipe name, an unknown field or a wrong type.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadUsage(f"{source}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("recipe"), str):
        raise BadUsage(f"{source}: no 'recipe: NAME' line")
    base = get(tree.pop("recipe"), run)
    hints = typing.get_type_hints(Recipe) | {"task": type(base.task)}
    for key in tree:
        if key not in hints or key == "name":
            raise BadUsage(f"{source}: no field {key!r}" + nearest(key, list(hints)))
    merged = {key: coerce(_over(getattr(base, key), value), hints[key], key) for key, value in tree.items()}
    return dataclasses.replace(base, **merged)


def read(path: pathlib.Path, run: pathlib.Path | None = None) -> Recipe:
    """The recipe in a YAML file; see `from_yaml`."""
    if not path.is_file():
        raise BadUsage(f"no file {path}")
    return from_yaml(path.read_text(encoding="utf-8"), str(path), run)


def _over(base: Any, value: Any) -> Any:
    """A dataclass value that the file gives only in part keeps the base's other fields."""
    if dataclasses.is_dataclass(base) and not isinstance(base, type) and isinstance(value, Mapping):
        return {**{f.name: getattr(base, f.name) for f in dataclasses.fields(base)}, **value}
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
