"""CPU seconds to judge one pair of 1080p pictures by 512 patches: taking the patches and VTAMIQ's forward pass, B/16's first six blocks.

Ours beside the procedure of the published code, restated, two threads, the same random weights in both (carried over by our name tables,
as published, no anchor). The peer's: both pictures turned to floats and normalised whole; in the 2021 layout a map of weights in float64,
a search in its sums per place in Python and a loop of crops, in that of 2024 (`ratio`) a jittered grid and one gather; then the two
pictures through the transformer one after the other, queries, keys and values by three layers, all attention written out, `no_grad`.
Programs take turns within each round. `equal`: the errors agree to a ten-thousandth on the same patches, which in the 2024 layout both
draw from one stream; in that of 2021 the peer's sums in float32 draw other places, and is then given ours. `moved` is how far the error
lies from that of an identical pair, of which `apart` is the part that programs differ by. `ratio_of_products` is what `ratio` would be if
nothing but the transformer's matrix products in float32 took time.
`bf16` is ours in bfloat16 where the processor has it, which is another arithmetic and no part of `ratio`. `throughput`: pairs of
512 x 384 PNG files a second through `evaluate`, loading overlapped by two workers and not; `loading` is its share of the time without.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD

NUM, HEIGHT, WIDTH, PATCH, HIDDEN, HEADS, BLOCKS, GRID = 512, 1080, 1920, 16, 768, 12, 6, 24
ROUNDS, PAIRS, TURNS, CLOSE, SEED = 7, 24, 2, 1e-4, 77
LAYOUTS = ("2024", "2021")
HALF = (0.5, 0.5, 0.5)
Pictures = tuple[Image.Image, Image.Image]
Seen = tuple[Tensor, Tensor, Tensor]  # patches of the reference and the picture, 1 n 3 p p each, and positions, 1 n 2


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ---- the published network, restated ----------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A factor per feature."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        """The features, scaled."""
        return x * self.gamma


class Attention(nn.Module):
    """Three layers for queries, keys and values, and every product written out."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """What the tokens gather."""
        q, k, v = (layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        shares = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(HIDDEN // HEADS), -1)
        return self.out((shares @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A block of the transformer."""

    def __init__(self, modern: bool) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = (nn.LayerNorm(HIDDEN, eps=1e-6) for _ in range(2))
        self.attn = Attention()
        self.ffn = nn.ModuleDict({"fc1": nn.Linear(HIDDEN, 4 * HIDDEN), "fc2": nn.Linear(4 * HIDDEN, HIDDEN)})
        self.ls1, self.ls2 = (Scaled() if modern else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The tokens after it."""
        x = x + self.ls1(self.attn(self.attention_norm(x)))
        return x + self.ls2(self.ffn["fc2"](nn.functional.gelu(self.ffn["fc1"](self.ffn_norm(x)))))


class Gate(nn.Module):
    """Channel attention."""

    def __init__(self, modern: bool) -> None:
        super().__init__()
        small = HIDDEN // 16
        layers = [kernel(HIDDEN, small, modern), nn.ReLU() if modern else nn.PReLU(), kernel(small, HIDDEN, modern)]
        apart = [nn.Identity()] if modern else []  # the names of 2024 count a dropout before each layer
        self.conv_du = nn.Sequential(*apart, *layers[:2], *apart, layers[2], nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """The features, weighed."""
        return x * self.conv_du(x)


class Beside(nn.Module):
    """What a body makes of the features, beside them."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.body(x)


def kernel(wide: int, out: int, modern: bool) -> nn.Module:
    return nn.Conv1d(wide, out, 1) if modern else nn.Conv2d(wide, out, 1)


def difference_network(modern: bool) -> nn.Sequential:
    def block() -> nn.Module:
        return Beside(nn.Identity(), nn.PReLU(), kernel(HIDDEN, HIDDEN, modern), nn.Identity(), Gate(modern))

    groups = [Beside(*(block() for _ in range(4)), kernel(HIDDEN, HIDDEN, modern)) for _ in range(4)]
    return nn.Sequential(*groups, kernel(HIDDEN, HIDDEN, modern))


class Published(nn.Module):
    """The network of one of the two layouts, under the published names."""

    def __init__(self, modern: bool) -> None:
        super().__init__()
        self.modern, table = modern, nn.Module()
        embeddings, encoder, self.transformer = nn.Module(), nn.Module(), nn.Module()
        embeddings.cls_token = nn.Parameter(torch.randn(1, 1, HIDDEN) * 0.02)
        if modern:
            embeddings.extra_tokens = nn.Parameter(torch.randn(1, 8, HIDDEN) * 0.02)
            self.diff_scale = Scaled()
        embeddings.patch_embeddings = nn.Conv2d(3, HIDDEN, PATCH, PATCH)
        table.positional_embeddings = nn.Parameter(torch.randn(1, GRID**2 + 1, HIDDEN) * 0.02)
        embeddings.positional_embeddings = table
        encoder.encoder_norm = nn.LayerNorm(HIDDEN, eps=1e-6)
        layers = nn.ModuleList(Layer(modern) for _ in range(BLOCKS))
        setattr(encoder, "layers" if modern else "layer", layers)
        self.transformer.embeddings, self.transformer.encoder = embeddings, encoder
        setattr(self, "quality_decoder" if modern else "diff_net", difference_network(modern))
        last = (nn.Linear(HIDDEN, HIDDEN // 4), nn.PReLU(), nn.Identity(), nn.Linear(HIDDEN // 4, 1))
        self.q_predictor = nn.Sequential(nn.Identity(), *last)

    def looked(self, patches: Tensor, position: Tensor) -> Tensor:
        """The class token of one picture."""
        given, encoder = self.transformer.embeddings, self.transformer.encoder
        x = given.patch_embeddings(patches.flatten(0, 1)).flatten(1).unflatten(0, patches.shape[:2])
        table = given.positional_embeddings.positional_embeddings[0]
        down, across = (GRID * (position if self.modern else (position + 1) / (2 + 1e-6))).floor().long().unbind(-1)
        x = x + table[GRID * down + across + int(self.modern)]
        first = [given.cls_token + table[0], given.extra_tokens] if self.modern else [given.cls_token]
        x = torch.cat([*first, x], 1)
        for layer in encoder.layers if self.modern else encoder.layer:
            x = layer(x)
        return encoder.encoder_norm(x)[:, 0]

    def forward(self, reference: Tensor, image: Tensor, position: Tensor) -> Tensor:
        """The error."""
        apart = self.looked(reference, position) - self.looked(image, position)
        if self.modern:
            return self.q_predictor(self.quality_decoder(self.diff_scale(apart)[..., None])[..., 0]).flatten()
        return self.q_predictor(self.diff_net(apart[..., None, None])[..., 0, 0]).flatten()


# ---- the published sampling, restated ---------------------------------------------------------------------------------


def whole(picture: Image.Image, modern: bool) -> Tensor:
    """The picture in floats, normalised: 3 h w."""
    return TF.normalize(TF.to_tensor(picture), *((HALF, HALF) if modern else (IMAGENET_MEAN, IMAGENET_STD)))


def grid_sampled(pictures: Pictures, rng: np.random.RandomState) -> Seen:
    """As of 2024: places on a jittered grid, and one gather from both pictures laid together."""
    both = torch.stack([whole(picture, True) for picture in pictures])
    across = math.ceil(math.sqrt(NUM * WIDTH / HEIGHT))
    grid = np.array([[math.ceil(across * HEIGHT / WIDTH)], [across]])
    moved = (2 * rng.rand(2, NUM) - 1) * 0.4
    cells = rng.choice(grid.prod(), NUM, replace=False)
    places = np.clip((np.stack([cells % grid[0], cells // grid[0]]) + moved + 0.5) / grid, 0, 1) * np.array(
        [[HEIGHT - PATCH], [WIDTH - PATCH]]
    )
    half = PATCH // 2
    position = torch.from_numpy((places.T + half) / [HEIGHT - half, WIDTH - half]).clamp(0, 1 - 1e-6).float()
    rows, columns = np.meshgrid(np.arange(PATCH), np.arange(PATCH), indexing="ij")
    first = places.astype(int)[:, :, None, None]
    reference, image = (x[:, first[0] + rows, first[1] + columns].permute(1, 0, 2, 3).contiguous() for x in both)
    return reference[None], image[None], position[None]


def weights_of(pictures: Pictures) -> np.ndarray:
    """As of 2021: the map of weights of first pixels, each part at most 1, in float64; the centre's log density is a Gaussian of 1024^2."""
    from scipy.ndimage import gaussian_filter, zoom
    from scipy.special import logsumexp

    axis = ((np.arange(1024) + 0.5) / 1024 - 0.5) / 0.25
    density = zoom(-0.5 * (axis[:, None] ** 2 + axis**2), (HEIGHT / 1024, WIDTH / 1024), order=0, mode="nearest")
    density -= logsumexp(density)
    centre = np.exp(density) / np.sum(np.exp(density))
    reference, image = (np.array(picture).astype(float) for picture in pictures)
    apart = np.power(np.sum(np.abs(reference - image) ** 2, axis=2), 1)
    smooth = gaussian_filter(apart / apart.max(), (2 * PATCH**2) ** 0.25, mode="constant")
    inside = (slice(PATCH // 2, HEIGHT - PATCH // 2), slice(PATCH // 2, WIDTH - PATCH // 2))
    found = 2 * centre[inside] / centre.max() + 5 * smooth[inside] / smooth[inside].max() + 0.25
    return found / found.sum()


def saliency_sampled(pictures: Pictures, rng: np.random.RandomState) -> Seen:
    """As of 2021: places one by one from the map, and a crop after the other."""
    whole_ones = [whole(picture, False) for picture in pictures]
    weights = weights_of(pictures)
    sums, aimed = weights.cumsum().astype(np.float32).reshape(-1, 1), rng.rand(NUM).astype(np.float32)

    def search(wanted: np.float32, low: int, high: int) -> int:
        if low >= high:
            return low - 1
        middle = (low + high) // 2
        return search(wanted, low, middle - 1) if wanted < sums[middle] else search(wanted, middle + 1, high)

    places = [divmod(max(search(value, 0, len(sums)), 0), weights.shape[1]) for value in aimed]
    patches, position = [torch.zeros(NUM, 3, PATCH, PATCH) for _ in pictures], torch.zeros(NUM, 2)
    for i, (top, left) in enumerate(places):
        position[i] = torch.as_tensor(np.array([top, left], np.float32) / [HEIGHT - PATCH, WIDTH - PATCH] * 2 - 1, dtype=torch.float32)
    for target, picture in zip(patches, whole_ones, strict=True):
        for i, (top, left) in enumerate(places):
            target[i] = picture[:, top : top + PATCH, left : left + PATCH]
    return patches[0][None], patches[1][None], position[None]


# ---- ours -------------------------------------------------------------------------------------------------------------


def taken(pictures: Pictures, layout: Any, rng: Any) -> dict[str, Tensor]:
    """The batch that the task makes of two pictures."""
    from pellucid.tasks.quality.data import Pair
    from pellucid.tasks.quality.sampling import sample
    from pellucid.tasks.quality.settings import published

    settings = published(layout)
    pair = Pair(*(rearrange(torch.from_numpy(np.array(picture)), "h w c -> c h w") for picture in pictures))
    found = sample(pair, settings.sampling, settings.vit, NUM, rng)
    return {name: getattr(found, name)[None, None] for name in ("reference", "image", "position", "scale_index")}


def both(layout: Any) -> tuple[nn.Module, nn.Module]:
    """The published network and ours, of the same random weights."""
    from pellucid.tasks.quality.names import ours
    from pellucid.tasks.quality.settings import published
    from pellucid.tasks.quality.task import network

    torch.manual_seed(0)
    theirs, mine = Published(layout == "2024").eval(), network(published(layout)).eval()
    weights, _ = ours(theirs.state_dict())
    mine.net.load_state_dict(weights)
    return theirs, mine


# ---- taking turns -----------------------------------------------------------------------------------------------------


def spent(work: Callable[[], Any]) -> tuple[Any, np.ndarray]:
    """What comes of it, CPU seconds and seconds by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    found = work()
    return found, np.array([time.process_time() - cpu, time.perf_counter() - clock])


def photographed(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A made-up photograph: clouds, edges, a little grain."""
    from pellucid.data.corrupt.filters import plasma

    side = 1 << (max(height, width) - 1).bit_length()
    clouds = np.stack([plasma(side, 1.7, rng)[:height, :width] for _ in range(3)], 2) * 255
    for top, left in rng.integers(0, (height, width), (12, 2)):
        clouds[top : top + height // 6, left : left + width // 6] = rng.uniform(0, 255, 3)
    return np.clip(clouds + rng.normal(0, 2, clouds.shape), 0, 255).astype(np.uint8)


def spoiled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)


def products(turns: int) -> float:
    """CPU seconds of the matrix products alone that neither program can do without: its layers' on the tokens of both pictures."""
    tokens, found = torch.randn(2 * (NUM + 9), HIDDEN), []
    shapes = [(HIDDEN, 3 * HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN, HIDDEN)] * (BLOCKS - 1) + [(HIDDEN, 2 * HIDDEN)]
    layers = [(tokens.repeat(1, wide // HIDDEN), torch.randn(out, wide)) for wide, out in shapes]
    for _ in range(turns + 1):
        _, (cpu, _) = spent(lambda: [nn.functional.linear(x, weight) for x, weight in layers])
        found.append(cpu)
    return float(statistics.median(found[1:]))


def compared(layout: str, pictures: Pictures, rounds: int) -> dict[str, Any]:
    """Medians of both programs, part by part."""
    theirs, mine = both(layout)
    sampler = grid_sampled if layout == "2024" else saliency_sampled
    times: dict[str, list[np.ndarray]] = {name: [] for name in ("ours_sampling", "ours_forward", "peer_sampling", "peer_forward", "bf16")}
    for turn in range(rounds + 1):  # the first warms up
        with torch.no_grad():
            seen, peer_sampling = spent(lambda: sampler(pictures, np.random.RandomState(SEED)))
            error, peer_forward = spent(lambda s=seen: theirs(*s))
        with torch.inference_mode():
            batch, ours_sampling = spent(lambda: taken(pictures, layout, np.random.RandomState(SEED)))
            output, ours_forward = spent(lambda b=batch: mine(b))
            with torch.autocast("cpu", torch.bfloat16):
                rough, bf16 = spent(lambda b=batch: mine(b))
        if turn:
            for name, value in zip(times, (ours_sampling, ours_forward, peer_sampling, peer_forward, bf16), strict=True):
                times[name].append(value)
    same = {"reference": batch["image"], "image": batch["image"], "position": batch["position"], "scale_index": batch["scale_index"]}
    with torch.inference_mode():
        if layout == "2021":
            error = theirs(*(mine.normalised(batch[name][0]) for name in ("reference", "image")), batch["position"][0])
        found, identical = 1 - output["quality"], 1 - mine(same)["quality"]
    middle = {name: np.median(value, 0) for name, value in times.items()}
    turns = [np.array(times[f"{who}_sampling"]) + np.array(times[f"{who}_forward"]) for who in ("ours", "peer")]
    ratios = np.median(turns[1] / turns[0], 0)
    apart = float((found - error).abs())
    return {
        "ours": float(np.median(turns[0][:, 0])),
        "peer": float(np.median(turns[1][:, 0])),
        "ratio": float(ratios[0]),
        "wall_ratio": float(ratios[1]),
        "equal": apart < CLOSE,
        "apart": apart,
        "moved": float((found - identical).abs()),
        "cpu_s": {name: float(value[0]) for name, value in middle.items()},
        "wall_s": {name: float(value[1]) for name, value in middle.items()},
        "bf16": {
            "cpu_s": float(middle["bf16"][0]),
            "wall_s": float(middle["bf16"][1]),
            "apart": float((rough["quality"] - output["quality"]).abs()),
        },
    }


def throughput(num: int) -> dict[str, float]:
    """Pairs a second of a folder of pairs, one sampling each, and the share of the seconds that loading alone takes."""
    from pellucid.evaluate import Pass, evaluate
    from pellucid.tasks.quality.settings import published
    from pellucid.tasks.quality.task import Quality, network

    rng = np.random.default_rng(1)
    settings = published("2024")
    settings = dataclasses.replace(settings, sampling=dataclasses.replace(settings.sampling, samplings=1))
    task = Quality(network(settings).eval(), settings)
    speeds: dict[int, list[float]] = {0: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        rows = [pair_of_files(pathlib.Path(folder), str(i), rng) for i in range(num)]
        evaluate(task, rows[:2], Pass(2), labelled=False)
        _, (_, load_s) = spent(lambda: [task.collate([row]) for row in rows])
        for _ in range(TURNS):
            for workers, speed in speeds.items():
                _, (_, wall) = spent(lambda w=workers: evaluate(task, rows, Pass(2, w), labelled=False))
                speed.append(num / wall)
                say(f"{num} pairs, {workers} workers: {wall:.1f} s")
    found = {workers: statistics.median(speed) for workers, speed in speeds.items()}
    ratio = found[2] / found[0]
    return {"pairs": num, "overlapped": found[2], "not_overlapped": found[0], "ratio": ratio, "loading": load_s / num * found[0]}


def pair_of_files(folder: pathlib.Path, name: str, rng: np.random.Generator) -> dict[str, str]:
    picture = photographed(rng, 384, 512)
    files = {role: str(folder / f"{name}-{role}.png") for role in ("reference", "image")}
    for file, pixels in zip(files.values(), (picture, spoiled(picture, rng)), strict=True):
        Image.fromarray(pixels).save(file)
    return {"id": name, **files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of the folder; 0 leaves it out")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    picture = photographed(rng, HEIGHT, WIDTH)
    pictures = Image.fromarray(picture), Image.fromarray(spoiled(picture, rng))
    found = {}
    for layout in LAYOUTS:
        found[layout] = compared(layout, pictures, given.rounds)
        say(f"{layout}: {json.dumps(found[layout])}")
    main_one = found["2024"]
    result = {
        "name": "vtamiq",
        "ours": main_one["ours"],
        "peer": main_one["peer"],
        "peer_name": "the published code's procedure, restated",
        "unit": "CPU s",
        "ratio": main_one["ratio"],
        "equal": all(one["equal"] for one in found.values()),
        "wall_ratio": main_one["wall_ratio"],
        "ratio_of_products": main_one["peer"] / products(given.rounds),
        "layouts": found,
    }
    if given.pairs:
        result["throughput"] = throughput(given.pairs)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
