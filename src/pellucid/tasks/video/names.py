"""Published weights of attention clusters under our names: of the authors' experiment with flashed digits, and of Baidu's program.

Both lay the units' sums side by side, unit after unit, and modality after modality, as we do; so no row or column moves. Baidu's layers
keep their weights as inputs by outputs, which are turned over. A file is taken whole or refused by the names of its keys.
"""

import re
from collections.abc import Mapping, Sequence

from einops import rearrange
from torch import Tensor

from pellucid import checkpoint
from pellucid.checkpoint import Tensors
from pellucid.errors import BadData

_AUTHORS = {"weight": "att.attentions.weight", "bias": "att.attentions.bias", "scale": "att.w", "shift": "att.b"}
_BAIDU = {"weight": "satt{}.conv.weight", "bias": "satt{}.conv.bias", "scale": "satt{}.shift_w", "shift": "satt{}.shift_b"}
_LAYERS = ("fc1", "fc2", "logistic")  # Baidu's classifier
_FIRST = 1  # of the head, after its dropout; between its layers lies a tanh
_TOLD = "att.attentions.weight of the authors' or satt0.conv.weight of Baidu's program"


def ours(tensors: Mapping[str, Tensor], modalities: Sequence[str]) -> Tensors:
    """The tensors under our names.

    Args:
        modalities: ours in the order of the file's clusters.
    Raises:
        BadData: neither program's, of another number of modalities, or keys that are missing, have no place or another shape; the
            message names them.
    """
    given = _plain(tensors)
    if _AUTHORS["weight"] in given:
        whose, clusters, layers = "the authors'", [_AUTHORS], [("fc.weight", "fc.bias")]
    elif _BAIDU["weight"].format(0) in given:
        num = len({match[1] for key in given if (match := re.match(r"satt(\d+)\.", key))})
        clusters = [{name: key.format(i) for name, key in _BAIDU.items()} for i in range(num)]
        whose, layers = "Baidu's", [(f"{name}.weights", f"{name}.bias") for name in _LAYERS]
        given = {key: rearrange(value, "i o -> o i") if _is_turned(key, value) else value for key, value in given.items()}
    else:
        raise BadData(f"no published attention clusters ({_TOLD}); the keys are {checkpoint.few(list(given)) or 'none'}")
    _check_names(given, [key for keys in (*map(dict.values, clusters), *layers) for key in keys], whose)
    if len(clusters) != len(modalities):
        raise BadData(f"{whose} weights have {len(clusters)} clusters, here are {len(modalities)}: {', '.join(modalities) or 'none'}")
    _check_shapes(given, clusters, layers, whose)
    found: Tensors = {}
    for modality, keys in zip(modalities, clusters, strict=True):
        found |= {f"clusters.{modality}.{name}": given[key].flatten(1) if name == "weight" else given[key] for name, key in keys.items()}
    for i, (weight, bias) in enumerate(layers):
        found |= {f"head.{_FIRST + 2 * i}.weight": given[weight], f"head.{_FIRST + 2 * i}.bias": given[bias]}
    return found


def _plain(tensors: Mapping[str, Tensor]) -> Tensors:
    """Without the `module.` of a network that was trained on several devices."""
    wrapped = all(key.startswith("module.") for key in tensors)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in tensors.items()}


def _is_turned(key: str, value: Tensor) -> bool:
    return key.endswith(".weights") and value.ndim == 2


def _check_names(given: Tensors, expected: Sequence[str], whose: str) -> None:
    missing = [key for key in expected if key not in given]
    unknown = [key for key in given if key not in expected]
    wrong = [f"{what}: {checkpoint.few(keys)}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys]
    if wrong:
        raise BadData(f"{whose} names: weights do not fit; {'; '.join(wrong)}")


def _check_shapes(given: Tensors, clusters: Sequence[Mapping[str, str]], layers: Sequence[tuple[str, str]], whose: str) -> None:
    """Each unit has one number of every kind, and each layer takes what the one before it gives."""
    wrong, width = [], 0
    for keys in clusters:
        units = len(given[keys["weight"]])
        width += given[keys["weight"]].numel()
        wrong += [_told(given, key, (units,)) for name, key in keys.items() if name != "weight" and given[key].shape != (units,)]
    for weight, bias in layers:
        rows = len(given[weight])
        wrong += [_told(given, weight, (rows, width))] if given[weight].shape != (rows, width) else []
        wrong += [_told(given, bias, (rows,))] if given[bias].shape != (rows,) else []
        width = rows
    if wrong:
        raise BadData(f"{whose} names: weights do not fit; other shape: {checkpoint.few(wrong)}")


def _told(given: Tensors, key: str, expected: tuple[int, ...]) -> str:
    shape = tuple(given[key].shape)
    if key.endswith(".weights"):
        shape, expected = shape[::-1], expected[::-1]
    return f"{key} {shape}, expected {expected}"
