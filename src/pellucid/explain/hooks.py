"""Everything that is done to a running model to read and replace what is inside. The only hooks of the project are here."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from pellucid.errors import BadUsage
from pellucid.task import Site


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


def module_at(model: nn.Module, site: Site) -> nn.Module:
    """The module that a site names.

    Raises:
        BadUsage: there is none.
    """
    try:
        return model.get_submodule(site.module)
    except AttributeError:
        raise BadUsage(f"the model has no module {site.module!r}") from None


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

    module = module_at(model, site)
    handle = module.register_forward_pre_hook(before, with_kwargs=True) if site.side == "input" else module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
    if calls != 1:
        raise BadUsage(f"site {site.module!r} ran {calls} times; name a module that runs once")


# ---- what lies below a site ---------------------------------------------------------------------------------------------


class Reached(Exception):
    """The pass has come to the site; what lies above it is not wanted."""


class Opaque(Exception):
    """What a module gave cannot be kept; the message says why."""


@dataclass
class Below:
    """What a model computed before a site: the outermost module calls that ended there, in order.

    Args:
        calls: module and what it gave, on tensors of its own.
        reason: why it must not be used instead of running the modules again; empty where it may.
    """

    calls: list[tuple[nn.Module, Any]] = field(default_factory=list)
    reason: str = ""

    def saves_work(self) -> bool:
        """Whether anything but the site's own lookup would be skipped."""
        return len(self.calls) > 1 or any(True for module, _ in self.calls for _ in module.children())


@contextlib.contextmanager
def recorded(model: nn.Module, site: Site, stop: bool = False) -> Iterator[Below]:
    """Within the block, one pass of the model fills a `Below`.

    Args:
        stop: end the pass at the site, and the block with it.
    """
    found, marks, at = Below(), [], module_at(model, site)
    reached, before = False, _attributes(model)

    def enter(module: nn.Module, _: Any) -> None:
        nonlocal reached
        if reached:
            return
        if module is at and site.side == "input":
            reached = True
            if stop:
                raise Reached
        marks.append(len(found.calls))

    def leave(module: nn.Module, _: Any, value: Any) -> None:
        nonlocal reached
        if reached:
            return
        del found.calls[marks.pop() :]  # what ran inside need not be kept as well
        try:
            found.calls.append((module, _leaves(value, lambda t: t.detach().clone())))
        except Opaque as why:
            found.reason = str(why)
        if isinstance(module, torch.jit.ScriptModule):
            found.reason = "a module is compiled by TorchScript"
        if module is at:
            reached = True
            if stop:
                raise Reached

    handles = [m.register_forward_pre_hook(enter) for m in model.modules()] + [m.register_forward_hook(leave) for m in model.modules()]
    try:
        with contextlib.suppress(Reached):
            yield found
    finally:
        for handle in handles:
            handle.remove()
    inside = {id(m) for module, _ in found.calls for m in module.modules()}
    changed = [name for name, m in model.named_modules() if id(m) in inside and _own(m) != before[id(m)]]
    if changed and not found.reason:
        found.reason = f"module {changed[0]!r} keeps something of its own from one call to the next"


def _own(module: nn.Module) -> dict[str, int]:
    """Identity of what a module holds beside its parameters, submodules and hooks."""
    own = {k: id(v) for k, v in vars(module).items() if not k.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))}
    return own | {f"buffer {k}": id(v) for k, v in module._buffers.items()}


def _attributes(model: nn.Module) -> dict[int, dict[str, int]]:
    return {id(m): _own(m) for m in model.modules()}


def _leaves(value: Any, work: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every tensor worked on.

    Raises:
        Opaque: something in it is neither a tensor, a plain value nor a container of them.
    """
    if isinstance(value, Tensor):
        if value.is_nested or value.layout != torch.strided:
            raise Opaque("a module gives a nested or sparse tensor")
        return work(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        parts = [_leaves(v, work) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, Mapping):
        return type(value)(**{k: _leaves(v, work) for k, v in value.items()})
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _leaves(getattr(value, f.name), work) for f in fields(value)})
    raise Opaque(f"a module gives {type(value).__name__}, which holds tensors out of sight")


@contextlib.contextmanager
def skipping(calls: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Within the block, one pass: each call listed gives what is listed, and nothing inside it runs; later calls run."""
    waiting: dict[nn.Module, list[Any]] = {}
    for module, value in calls:
        waiting.setdefault(module, []).append(value)
    own = {module: vars(module).get("forward") for module in waiting}
    for module, values in waiting.items():
        module.forward = _stand_in(module.forward, iter(values))
    try:
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _stand_in(forward: Callable[..., Any], values: Iterator[Any]) -> Callable[..., Any]:
    def give(*args: Any, **kwargs: Any) -> Any:
        for value in values:
            return value
        return forward(*args, **kwargs)

    return give


@dataclass(frozen=True)
class Tiles:
    """What lies below a site, for any number of copies of a batch.

    Args:
        single: of the batch itself.
        axes: of every tensor, in the order `_leaves` meets them, the axis that copies lengthen; None where none does.
    """

    single: list[tuple[nn.Module, Any]]
    axes: list[int | None]

    def times(self, copies: int) -> list[tuple[nn.Module, Any]]:
        """The calls as they would be for the batch repeated."""
        axes = iter(self.axes)

        def tile(value: Tensor) -> Tensor:
            axis = next(axes)
            return value.clone() if axis is None else torch.cat([value] * copies, axis)  # the caller may change it in place

        return [(module, _leaves(value, tile)) for module, value in self.single]


def tiles(batch: Below, one: Below, two: Below) -> Tiles | str:
    """How what was computed for a batch grows to many copies; or, in words, why it cannot be said.

    Args:
        one: the same of a single example, `two` of that example twice; from these the growth is learned.
    """
    for below in (batch, one, two):
        if below.reason:
            return below.reason
    if len({tuple(id(m) for m, _ in below.calls) for below in (batch, one, two)}) > 1:
        return "other modules run for other examples"
    axes = [_grown(a, b) for a, b in zip(_tensors(one), _tensors(two), strict=True)]
    if any(axis is not None and axis < 0 for axis in axes):
        return "a module gives other numbers for the same example again, or mixes examples"
    return Tiles(batch.calls, axes)


def _tensors(below: Below) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _leaves([value for _, value in below.calls], note)
    return found


def _grown(one: Tensor, two: Tensor) -> int | None:
    """The axis along which `two` is `one` twice; None if they are equal, -1 if neither."""
    if one.shape == two.shape:
        return None if alike(one, two) else -1
    wider = [i for i, (a, b) in enumerate(zip(one.shape, two.shape, strict=False)) if a != b]
    if one.ndim != two.ndim or len(wider) != 1 or not alike(torch.cat([one, one], wider[0]), two):
        return -1
    return wider[0]


def alike(one: Tensor, two: Tensor) -> bool:
    """Equal up to rounding; NaN equals NaN."""
    if one.shape != two.shape or not one.is_floating_point():
        return torch.equal(one, two)
    return torch.allclose(one.float(), two.float(), rtol=1e-4, atol=1e-5, equal_nan=True)


# ---- where numbers stop being finite ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """Where the numbers of a running model first are not finite.

    Args:
        module: its dotted name.
        side: "input" where such numbers came to it, "output" where it made them.
        rows: of the batch; empty where the tensor does not say.
    """

    module: str
    side: str
    rows: list[int]


@contextlib.contextmanager
def first_fault(model: nn.Module, size: int) -> Iterator[list[Fault]]:
    """Within the block, one pass of the model on `size` examples puts its first fault, if it has one, into the list."""
    found: list[Fault] = []

    def look(name: str, side: str, values: Any) -> None:
        for value in () if found else _floats(values):
            if (wrong := spoiled(value)).any():
                found.append(Fault(name or "the model", side, _rows(wrong, size)))
                return

    def watch(name: str, module: nn.Module) -> Iterator[Any]:
        if name:  # the model's own input is the batch, which may hold what is never used
            before = lambda _, args, kwargs: look(name, "input", [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)])  # noqa: E731
            yield module.register_forward_pre_hook(before, with_kwargs=True)
        yield module.register_forward_hook(lambda _, args, value: look(name, "output", value))

    handles = [handle for name, module in model.named_modules() for handle in watch(name, module)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def spoiled(value: Tensor) -> Tensor:
    """Where a tensor holds NaN or infinity; minus infinity is what masks are made of."""
    return ~(value < torch.inf) if value.is_floating_point() else torch.zeros((), dtype=torch.bool)


def _floats(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield from [value] if value.is_floating_point() and not value.is_nested and value.layout == torch.strided else []
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _floats(part)


def _rows(wrong: Tensor, size: int) -> list[int]:
    """Which of `size` examples, along the first axis of that length, or of a multiple of it where no other is."""
    axis = next((i for i, length in enumerate(wrong.shape) if length == size), None)
    if axis is None and wrong.ndim and wrong.shape[0] % size == 0:
        wrong, axis = rearrange(wrong, "(b k) ... -> b k ...", b=size), 0
    if axis is None:
        return []
    return [i for i, row in enumerate(wrong.unbind(axis)) if row.any()]
