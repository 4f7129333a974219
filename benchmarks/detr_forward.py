"""CPU seconds of one forward pass of DETR with ResNet-50 at 800 x 1066, beside the original's form, restated, and Hugging Face's.

All three have the same random weights, carried over by our name tables, and see the same picture; they take turns in one process. The
original's form is torchvision's ResNet with frozen batch norms and torch's own attention modules, put together as the paper says, all
decoder layers told of; Hugging Face's is its default. `ratio` is the original's time over ours, `ratio_hf` Hugging Face's; equal means
that logits and boxes agree to a ten-thousandth.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

HEIGHT, WIDTH, CLASSES, ROUNDS = 800, 1066, 91, 7
Told = tuple[Tensor, Tensor]


class Encoding(nn.Module):
    """A layer of the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(256, 8, dropout=0.1)
        self.linear1, self.linear2 = nn.Linear(256, 2048), nn.Linear(2048, 256)
        self.norm1, self.norm2 = nn.LayerNorm(256), nn.LayerNorm(256)

    def forward(self, x: Tensor, mask: Tensor, pos: Tensor) -> Tensor:
        """What comes out."""
        placed = x + pos
        x = self.norm1(x + self.self_attn(placed, placed, value=x, key_padding_mask=mask)[0])
        return self.norm2(x + self.linear2(torch.relu(self.linear1(x))))


class Decoding(nn.Module):
    """A layer of the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.multihead_attn = (nn.MultiheadAttention(256, 8, dropout=0.1) for _ in range(2))
        self.linear1, self.linear2 = nn.Linear(256, 2048), nn.Linear(2048, 256)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(256) for _ in range(3))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, pos: Tensor, query: Tensor) -> Tensor:
        """What comes out."""
        placed = x + query
        x = self.norm1(x + self.self_attn(placed, placed, value=x)[0])
        x = self.norm2(x + self.multihead_attn(x + query, memory + pos, value=memory, key_padding_mask=mask)[0])
        return self.norm3(x + self.linear2(torch.relu(self.linear1(x))))


class Stack(nn.Module):
    """Six layers, and perhaps a norm."""

    def __init__(self, layer: type[nn.Module], norm: bool):
        super().__init__()
        self.layers = nn.ModuleList(layer() for _ in range(6))
        if norm:
            self.norm = nn.LayerNorm(256)


class Original(nn.Module):
    """The paper's network out of torch's and torchvision's parts, under the official names."""

    def __init__(self) -> None:
        super().__init__()
        body = torchvision.models.resnet50(norm_layer=torchvision.ops.FrozenBatchNorm2d)
        del body.fc
        self.backbone = nn.ModuleList([nn.ModuleDict({"body": body})])
        self.input_proj, self.query_embed = nn.Conv2d(2048, 256, 1), nn.Embedding(100, 256)
        self.transformer = nn.ModuleDict({"encoder": Stack(Encoding, False), "decoder": Stack(Decoding, True)})
        self.class_embed = nn.Linear(256, CLASSES + 1)
        self.bbox_embed = nn.Module()
        self.bbox_embed.layers = nn.ModuleList([nn.Linear(256, 256), nn.Linear(256, 256), nn.Linear(256, 4)])

    def forward(self, image: Tensor, mask: Tensor) -> Told:
        """What comes out."""
        body = self.backbone[0]["body"]
        x = body.maxpool(body.relu(body.bn1(body.conv1(image))))
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = stage(x)
        small = nn.functional.interpolate(mask[None].float(), size=x.shape[-2:])[0].bool()
        pos = waves(small).flatten(2).permute(2, 0, 1)
        x, flat = self.input_proj(x).flatten(2).permute(2, 0, 1), small.flatten(1)
        for layer in self.transformer["encoder"].layers:
            x = layer(x, flat, pos)
        query = self.query_embed.weight.unsqueeze(1).repeat(1, len(image), 1)
        state, states = torch.zeros_like(query), []
        for layer in self.transformer["decoder"].layers:
            state = layer(state, x, flat, pos, query)
            states.append(self.transformer["decoder"].norm(state))
        hs = torch.stack(states).transpose(1, 2)
        boxes = hs
        for i, linear in enumerate(self.bbox_embed.layers):
            boxes = torch.relu(linear(boxes)) if i < 2 else linear(boxes).sigmoid()
        return self.class_embed(hs)[-1], boxes[-1]


def waves(mask: Tensor) -> Tensor:
    real = ~mask
    y, x = real.cumsum(1, dtype=torch.float32), real.cumsum(2, dtype=torch.float32)
    y, x = y / (y[:, -1:, :] + 1e-6) * 2 * torch.pi, x / (x[:, :, -1:] + 1e-6) * 2 * torch.pi
    steps = 10000 ** (2 * (torch.arange(128) // 2) / 128)
    x, y = x[..., None] / steps, y[..., None] / steps
    x, y = (torch.stack((v[..., 0::2].sin(), v[..., 1::2].cos()), 4).flatten(3) for v in (x, y))
    return torch.cat((y, x), 3).permute(0, 3, 1, 2)


def three() -> dict[str, Callable[[Tensor, Tensor], Told]]:
    from transformers import DetrConfig, DetrForObjectDetection

    from pellucid import checkpoint
    from pellucid.nn.detr import Detr, Shape
    from pellucid.nn.detr_names import from_official, to_hf
    from pellucid.nn.resnet import resnet

    torch.manual_seed(0)
    theirs = Original().eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith(("running_var", "bn3.weight")):
            buffer.fill_(1.0 if name.endswith("var") else 0.2)  # else random weights grow through fifty layers
    weights = from_official(theirs.state_dict())
    ours = Detr(resnet("resnet50"), Shape(CLASSES), mask_padding=False).eval()
    ours.load_state_dict(weights)
    with tempfile.TemporaryDirectory() as folder:  # its names are turned into those of today only on the way from a file
        checkpoint.save(to_hf(weights), pathlib.Path(folder) / "model.safetensors")
        DetrConfig(use_pretrained_backbone=False, num_labels=CLASSES).save_pretrained(folder)
        hf, report = DetrForObjectDetection.from_pretrained(folder, output_loading_info=True)
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    hf.eval()

    def by_hf(image: Tensor, mask: Tensor) -> Told:
        told = hf(image, pixel_mask=(~mask).long())
        return told.logits, told.pred_boxes

    def by_us(image: Tensor, mask: Tensor) -> Told:
        told = ours(image, ~mask, all_layers=False)
        return told["logits"], told["boxes_cxcywh"]

    return {"ours": by_us, "original": theirs, "hf": by_hf}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    image, mask = torch.randn(1, 3, HEIGHT, WIDTH), torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    programs = three()
    with torch.inference_mode():
        told = {name: program(image, mask) for name, program in programs.items()}
        apart = {name: max(float((a - b).abs().max()) for a, b in zip(told["ours"], value, strict=True)) for name, value in told.items()}
        times: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(given.rounds):
            for name, program in programs.items():
                start = time.process_time()
                program(image, mask)
                times[name].append(time.process_time() - start)
    middle = {name: statistics.median(value) for name, value in times.items()}
    least = {name: min(value) for name, value in times.items()}
    print(f"medians {middle}, least {least}, furthest apart {apart}", file=sys.stderr)
    ratios = {name: statistics.median(b / a for a, b in zip(times["ours"], times[name], strict=True)) for name in ("original", "hf")}
    line = {
        "name": "detr_forward",
        "ours": round(middle["ours"], 3),
        "peer": round(middle["original"], 3),
        "peer_name": "the original's form, restated",
        "unit": "CPU s",
        "ratio": round(ratios["original"], 3),
        "ratio_hf": round(ratios["hf"], 3),
        "equal": all(value < 1e-4 for value in apart.values()),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
