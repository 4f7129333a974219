"""ImageNet's weights in a detector's backbone."""

from pellucid import checkpoint
from pellucid.coerce import nearest
from pellucid.errors import BadUsage
from pellucid.nn.backbone import weights_of
from pellucid.nn.resnet import NAMES, TINY, ResNet, resnet

_LEFT_OUT = ("fc.", "projection_head.", "prototypes.")  # heads, ImageNet's and those of SwAV


def pretrained_resnet(name: str, pretrained: str = "", dilate: bool = False, frozen: str = "") -> ResNet:
    """The network, with pretrained weights in place, or random ones.

    Args:
        pretrained: as `nn.backbone.backbone` takes it; `hub` stands for torchvision's first weights, with which DETR was trained. A file
            may have the head of a classifier or of SwAV, which is left out.
        frozen: what does not train: `stem` and the first stage, `all`, or nothing.
    Raises:
        BadUsage: no such network or weights.
        BadData: the weights do not fit, or cannot be had.
    """
    if name not in NAMES:
        raise BadUsage(f"no backbone {name!r}{nearest(name, NAMES)}")
    if pretrained and name == TINY:
        raise BadUsage(f"backbone {name} has no pretrained weights; say pretrained= without a value")
    model = resnet(name, dilate)
    if pretrained:
        tensors, source = weights_of(f"{name}.tv_in1k" if pretrained == "hub" else name, pretrained)
        counters = [key for key in tensors if key.endswith("num_batches_tracked")]
        checkpoint.load_into(model, tensors, source, drop=(*_LEFT_OUT, *counters))
    if frozen:
        model.freeze(all_of_it=frozen == "all")
    return model
