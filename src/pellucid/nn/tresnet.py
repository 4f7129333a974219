"""Published TResNet weights, whose norms are in-place, under timm's names and back."""

import re
from collections.abc import Mapping

from torch import Tensor

from pellucid.errors import BadData

_EPS = 1e-5  # an in-place norm scales by |weight| + eps, a plain one by its weight
_OFFICIAL = (
    (re.compile(r"(.*\bconv\d)\.0\.0\.(.*)"), r"\1.conv.\2"),  # a strided convolution stands one deeper, before its blur
    (re.compile(r"(.*\bconv\d)\.0\.1\.(.*)"), r"\1.bn.\2"),
    (re.compile(r"(.*(?:\bconv\d|\bdownsample\.\d))\.0\.(.*)"), r"\1.conv.\2"),
    (re.compile(r"(.*(?:\bconv\d|\bdownsample\.\d))\.1\.(.*)"), r"\1.bn.\2"),
)


def is_official(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are a TResNet's weights as its authors publish them."""
    return "body.conv1.0.weight" in tensors


def from_official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as timm's TResNet has them: plain norms, positive.

    Raises:
        BadData: two keys would get one name.
    """
    moved: dict[str, Tensor] = {}
    for key, value in tensors.items():
        ours = next((pattern.sub(to, key) for pattern, to in _OFFICIAL if pattern.fullmatch(key)), key)
        if ours in moved:
            raise BadData(f"TResNet weights: two keys become {ours!r}, the second is {key!r}")
        moved[ours] = value.abs() + _EPS if ours.endswith(".bn.weight") else value
    return moved


def to_official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's weights as the authors' TResNet has them.

    Raises:
        BadData: a norm has a weight below 0.00001, which an in-place norm cannot have.
    """
    moved = {}
    for key, value in tensors.items():
        if key.endswith(".bn.weight"):
            if (value < _EPS).any():
                raise BadData(
                    f"TResNet weights: {key} is as low as {float(value.min()):.3g}; an in-place norm has no weight below {_EPS:g}"
                )
            value = value - _EPS
        moved[_official_name(key, tensors)] = value
    return moved


def _official_name(key: str, tensors: Mapping[str, Tensor]) -> str:
    found = re.fullmatch(r"(.*(?:conv(\d)|downsample\.\d))\.(conv|bn)\.(.*)", key)
    if not found:
        return key
    place, conv, part, rest = found.groups()
    block = re.match(r"body\.layer([2-9])\.0\.conv", key)
    if block:  # the first block of these stages halves the map: in its first convolution of two, in its second of three
        strided = "2" if f"body.layer{block[1]}.0.conv3.conv.weight" in tensors else "1"
        place += ".0" if conv == strided else ""
    return f"{place}.{'0' if part == 'conv' else '1'}.{rest}"
