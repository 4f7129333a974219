"""The network for boxes and a map as a task's model: uint8 pictures of one size to what `TripleNet` tells, lists as numbered tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.nn.pixels import Normalising
from pellucid.nn.triplenet import TripleNet
from pellucid.task import Batch, Output


class JointModel(Normalising):
    """Reads `picture` (b 3 h w, uint8).

    Args:
        mean: of pixel values between 0 and 1, that the backbone was trained with.
        size: side of the pictures that it is for.
    """

    def __init__(self, net: TripleNet, mean: Sequence[float], std: Sequence[float], size: int):
        super().__init__(mean, std)
        self.net, self.size = net, size

    def forward(self, batch: Batch) -> Output:
        """What `TripleNet` tells; while training also `aware_logits_0`, `agnostic_logits_0` and so on, one of each scale."""
        output: Output = {}
        for name, told in self.net(self.pixels(self.normalised(batch["picture"]))).items():
            output |= {name: told} if isinstance(told, Tensor) else {f"{name}_{i}": one for i, one in enumerate(told)}
        return output

    @torch.no_grad()
    def map_sizes(self) -> list[tuple[int, int]]:
        """Height and width of the decoder's maps, finest first."""
        training = self.net.training
        image = next(self.net.parameters()).new_zeros(1, 3, self.size, self.size)
        try:
            return [(x.shape[2], x.shape[3]) for x in self.net.eval().encode(image)]
        finally:
            self.net.train(training)


def scales(output: Output, name: str) -> list[Tensor]:
    """What is told of each scale; empty where nothing is."""
    return [value for key, value in output.items() if key.startswith(f"{name}_")]
