"""TripleNet's network: what each part sees, what runs when, and what must not matter."""

import itertools

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.nn.default_boxes import Tiling, default_boxes
from pellucid.nn.fusion import AttentionFusion, PairFusion, resized
from pellucid.nn.norms import thaw_norms
from pellucid.nn.resnet import BatchNorm, FrozenNorm, ResNet, resnet
from pellucid.nn.timm_maps import timm_maps
from pellucid.nn.triplenet import Heads, Inner, Shape, TripleNet

CLASSES = 3
SMALL = {"extra_channels": 16, "width": 16, "residual": 8, "squeeze": 4, "inner_widths": (4, 8, 12), "norm": "group", "num_extra": 2}
PAIR = {"fused": False, "inner": False, "agnostic": False, "attention": False}
DETECTION = {**PAIR, "segment": False, "pair": False}
SEGMENTATION = {**PAIR, "detect": False}
ROWS = {
    "detection": DETECTION,
    "segmentation": SEGMENTATION,
    "pair": PAIR,
    "fused": PAIR | {"fused": True},
    "inner": PAIR | {"fused": True, "inner": True},
    "agnostic": PAIR | {"fused": True, "inner": True, "agnostic": True},
    "triple": {},
}


def small(backbone=None, **changes) -> TripleNet:
    torch.manual_seed(0)
    backbone = backbone or ResNet((1, 1, 1, 1), (4, 4, 8, 8), 4, norm="group")
    return TripleNet(backbone, Shape(CLASSES, **(SMALL | changes)), Tiling())


def pictures(num=2, side=64):
    return torch.rand(num, 3, side, side, generator=torch.Generator().manual_seed(1))


def runs(net, kind) -> list[str]:
    """Names of the modules of a kind that run in one pass."""
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: seen.append(name)) for name, module in net.named_modules() if kind(name, module)
    ]
    with torch.no_grad():
        net(pictures())
    for hook in hooks:
        hook.remove()
    return seen


def test_the_shapes_are_the_papers_for_300_pixels():
    with torch.device("meta"):
        net = TripleNet(resnet("resnet50"), Shape(20), Tiling()).eval()
        told = net(torch.zeros(2, 3, 300, 300))
        decoded = net.decode(net.encode(torch.zeros(1, 3, 300, 300)))
    assert told["class_logits"].shape == (2, 11_658, 21)
    assert told["offsets"].shape == told["default_boxes"].shape == (2, 11_658, 4)
    assert told["map_logits"].shape == (2, 21, 38, 38)
    assert [x.shape[-1] for x in decoded] == [38, 19, 10, 5, 3, 2]


def test_a_stride_of_4_and_two_extra_stages_give_these_maps():
    net = small(finest=4).eval()
    assert [tuple(x.shape[-2:]) for x in net.decode(net.encode(torch.rand(1, 3, 90, 64)))] == [
        (23, 16),
        (12, 8),
        (6, 4),
        (3, 2),
        (2, 1),
        (1, 1),
    ]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_ablation_tells_its_tasks_and_learns_its_parts(row):
    changes = ROWS[row]
    net = small(**changes)
    told, shape = net(pictures()), net.shape
    boxes, pixels = {"class_logits", "offsets", "default_boxes"} if shape.detect else set(), {"map_logits"} if shape.segment else set()
    learned = {"aware_logits"} if shape.segment else set()
    assert set(told) == boxes | pixels | learned | ({"agnostic_logits"} if shape.agnostic else set())
    assert set(net.eval()(pictures())) == boxes | pixels
    if shape.segment:
        assert len(told["aware_logits"]) == 5 - (not shape.fused)  # the finest map's are what is told
        assert told["map_logits"].shape == (2, CLASSES + 1, 8, 8)
    if shape.agnostic:
        assert [tuple(one.shape[1:]) for one in told["agnostic_logits"]] == [(2, side, side) for side in (8, 4, 2, 1, 1)]


@pytest.mark.parametrize("row", ROWS)
def test_every_weight_of_a_row_learns(row):
    net = small(**ROWS[row])
    told = net(pictures())
    flat = [one for value in told.values() for one in (value if isinstance(value, list) else [value]) if one.requires_grad]
    sum(one.square().sum() for one in flat).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_what_only_is_learned_does_not_run_in_evaluation():
    for changes in ({}, {"share_agnostic": False}):
        net = small(**changes)

        def agnostic(name, module):
            return name.startswith("agnostic.")

        assert len(runs(net.train(), agnostic)) == 5
        assert runs(net.eval(), agnostic) == []


@pytest.mark.parametrize(
    ("changes", "training", "evaluation"),
    [
        ({}, 5, 5),  # boxes are told from them
        ({"inner": False}, 5, 0),
        (PAIR, 5, 1),
        (PAIR | {"pair": False}, 1, 1),
        (PAIR | {"pair": False, "fused": True}, 0, 0),
        (DETECTION, 0, 0),
    ],
)
def test_class_aware_logits_are_computed_only_where_they_are_used(changes, training, evaluation):
    net = small(**changes)

    def aware(name, module):
        return name.endswith(".aware")

    assert len(runs(net.train(), aware)) == training
    assert len(runs(net.eval(), aware)) == evaluation


@torch.no_grad()
def test_nothing_is_enlarged_in_evaluation_but_for_fusions_and_the_fused_map(monkeypatch):
    enlarged = []
    monkeypatch.setattr("pellucid.nn.fusion.resized", lambda *given: enlarged.append(tuple(given[0].shape)) or resized(*given))
    small(fused=False).eval()(pictures())
    assert len(enlarged) == 4  # one of each fusion
    enlarged.clear()
    small().eval()(pictures())
    assert len(enlarged) == 4 + 5


@torch.no_grad()
def test_training_and_evaluation_tell_the_same_where_norms_are_frozen():
    net = small(norm="frozen")
    learning, told = net.train()(pictures()), net.eval()(pictures())
    for name, value in told.items():
        assert torch.equal(learning[name], value)


@pytest.mark.parametrize(("inner", "detach", "moves"), [(True, False, True), (True, True, False), (False, False, False)])
def test_errors_of_boxes_change_class_aware_logits_only_through_the_inner_module(inner, detach, moves):
    heads = Heads(Shape(CLASSES, **(SMALL | {"inner": inner, "detach": detach})), 6, aware=True)
    told = heads(torch.rand(2, 16, 5, 5))
    (told.class_logits.square().sum() + told.offsets.square().sum()).backward()
    grad = heads.aware.weight.grad
    assert (grad is not None and bool(grad.abs().max() > 0)) == moves


@torch.no_grad()
def test_a_gate_is_a_number_between_0_and_1_for_each_channel_of_a_picture():
    net, gates = small().eval(), []
    for fusion in net.fusions:
        fusion.gate.register_forward_hook(lambda module, given, gate: gates.append(gate))
    net(pictures())
    assert [tuple(gate.shape) for gate in gates] == [(2, 16, 1, 1)] * 4
    assert all(bool((gate > 0).all() and (gate < 1).all()) for gate in gates)


@torch.no_grad()
def test_a_gate_is_told_by_the_coarse_map_and_shuts_the_fine_one():
    fusion = AttentionFusion(8, 6, 16, 8, "frozen", 4).eval()
    deep, skip = torch.randn(2, 8, 3, 3), torch.randn(2, 6, 5, 5)
    gates: list[torch.Tensor] = []
    fusion.gate.register_forward_hook(lambda module, given, gate: gates.append(gate))
    fusion(deep, skip), fusion(deep, torch.randn_like(skip)), fusion(torch.randn_like(deep), skip)
    assert torch.equal(gates[0], gates[1]) and not torch.equal(gates[0], gates[2])
    none = torch.zeros_like(skip)  # its norms leave 0 where it is
    alone = fusion.mix(torch.cat([fusion.deep(resized(deep, (5, 5))), torch.zeros(2, 16, 5, 5)], 1))
    assert torch.equal(fusion(deep, none), alone)
    fusion.gate[3].bias.fill_(-1e4)
    assert torch.equal(fusion(deep, skip), alone)


@torch.no_grad()
def test_a_box_of_a_cell_is_told_at_the_place_of_its_default_box():
    """The head that only says yes at one cell, and only for its second box, says it opposite that default box."""
    heads = Heads(Shape(1, **(SMALL | PAIR)), 3, aware=True)
    heads.offsets.weight.zero_()
    heads.offsets.bias.zero_()
    heads.offsets.weight[1 * 4 + 2, 0, 1, 1] = 1.0  # second box, its width, from channel 0 of the cell itself
    decoded = torch.zeros(1, 16, 4, 5)
    decoded[0, 0, 2, 3] = 7.0
    offsets = heads(decoded).offsets[0]
    (place,) = offsets.abs().sum(-1).nonzero().flatten().tolist()
    assert offsets[place].tolist() == [0, 0, 7, 0]
    box = default_boxes([(4, 5)], Tiling(ratios=(1, 2)))[place]
    assert box.tolist() == pytest.approx([3.5 / 5, 2.5 / 4, 0.1 * 2**0.5, 0.1 / 2**0.5])


@torch.no_grad()
def test_a_picture_alone_is_told_as_among_others():
    net = small().eval()
    together = net(pictures(3))
    for name, value in net(pictures(3)[1:2]).items():
        torch.testing.assert_close(value, together[name][1:2], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_each_map_of_encoder_and_decoder_can_be_replaced():
    """Another finest map changes the fused one and its own boxes alone; what the extra stages are made of changes all."""
    net = small().eval()
    plain = net(pictures())
    counts = [len(default_boxes([(side, side)])) for side in (8, 4, 2, 1, 1)]

    def changed(site):
        hook = site.register_forward_hook(lambda module, given, output: output + 1)
        told = net(pictures())
        hook.remove()
        apart = [
            bool((a - b).abs().max() > 1e-4)
            for a, b in zip(told["class_logits"].split(counts, 1), plain["class_logits"].split(counts, 1), strict=True)
        ]
        return apart, bool((told["map_logits"] - plain["map_logits"]).abs().max() > 1e-4)

    for i, (encoded, decoded) in enumerate(zip(net.encoded, net.decoded, strict=True)):
        first = [place <= i for place in range(5)]
        assert changed(decoded) == (first, True)
        assert changed(encoded) == (first if i < 2 else [True] * 5, True)


@torch.no_grad()
def test_the_first_fusion_sees_the_projected_map_or_the_raw_one():
    image = pictures()
    projected, raw = small(), small(project_deepest=False)
    assert projected.fusions[-1].deep[0].in_channels == 16
    assert raw.fusions[-1].deep[0].in_channels == raw.shape.extra_channels
    for net, moves in ((projected, True), (raw, False)):
        before = net.eval().decode(net.encode(image))
        net.deepest.bias.fill_(3.0)
        after = net.decode(net.encode(image))
        assert bool((after[-1] - before[-1]).abs().max() > 1)
        assert bool((after[-2] - before[-2]).abs().max() > 1e-4) == moves


@torch.no_grad()
def test_boxes_begin_with_the_background_they_are_told_to():
    net = small(background=0.9).eval()
    for heads in net.heads:
        heads.classes.weight.zero_()
    probs = net(pictures())["class_logits"].softmax(-1)
    torch.testing.assert_close(probs[..., 0], torch.full(probs.shape[:2], 0.9))
    torch.testing.assert_close(probs[..., 1:], torch.full((*probs.shape[:2], 3), 0.1 / 3))


@pytest.mark.parametrize("name", ["resnet18", "resnet_tiny", "timm:mobilenetv3_small_050"])
@torch.no_grad()
def test_backbones_of_both_kinds_carry_it(name):
    backbone = timm_maps(name.removeprefix("timm:")) if name.startswith("timm:") else resnet(name)
    told = small(backbone).eval()(pictures())
    assert told["map_logits"].shape == (2, CLASSES + 1, 8, 8)
    assert told["class_logits"].shape[1] == 6 * (64 + 16 + 4 + 1 + 1)


@pytest.mark.parametrize("name", ["resnet18", "timm:mobilenetv3_small_050"])
@torch.no_grad()
def test_thawed_norms_say_the_same_until_they_learn(name):
    net = timm_maps(name.removeprefix("timm:")) if name.startswith("timm:") else resnet(name)
    for key, buffer in net.named_buffers():
        buffer.copy_(torch.randn_like(buffer) * 0.1 if "mean" in key or "bias" in key else torch.rand_like(buffer) + 0.5)
    image = pictures()
    frozen, keys = net.eval()(image), set(net.state_dict())
    few = sum(p.numel() for p in net.parameters())
    thaw_norms(net)
    for before, after in zip(frozen, net(image), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in net.parameters()) > few
    assert {key for key in net.state_dict() if not key.endswith("num_batches_tracked")} == keys
    assert not any(isinstance(module, FrozenNorm) for module in net.modules())
    mean = {key: value.clone() for key, value in net.named_buffers() if key.endswith("running_mean")}
    net.train()(image)
    assert all(bool((value != mean[key]).any()) for key, value in net.named_buffers() if key in mean)


def holds_exported(net, example, axes, image):
    program = torch.export.export(
        net, (example,), dynamic_shapes=({i: torch.export.Dim(name, min=least, max=most) for i, (name, least, most) in axes.items()},)
    )
    with torch.no_grad():
        told, same = net(image), program.module()(image)
    assert set(told) == set(same)
    for name, value in told.items():
        torch.testing.assert_close(same[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [pytest.param(one, marks=pytest.mark.slow) for one in ({}, PAIR, SEGMENTATION)] + [DETECTION])
def test_it_can_be_exported_for_any_number_of_pictures(changes):
    net = small(norm="batch", **(changes | {"num_extra": 0})).eval()
    holds_exported(net, pictures(), {0: ("b", 1, 64)}, pictures(3))


@pytest.mark.slow
def test_it_can_be_exported_for_any_size_of_pictures():
    net = small(norm="batch", num_extra=1).eval()
    holds_exported(net, pictures(2, 160), {0: ("b", 1, 64), 2: ("h", 65, 640), 3: ("w", 65, 640)}, torch.rand(3, 3, 200, 301))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"detect": False, "segment": False}, "nothing is left"),
        ({"segment": False}, "fused=True with segment=False"),
        ({"detect": False}, "inner=True needs detect=True"),
        ({"pair": False}, "inner=True needs"),
        ({"finest": 16}, "finest=16"),
        ({"extra_channels": 18}, "multiple of 4"),
        ({"background": 1.0}, "probability below 1"),
        ({"norm": "layer"}, "norm='layer'"),
        ({"num_extra": -1}, "num_extra=-1"),
    ],
)
def test_parts_that_cannot_be_together_are_refused(changes, says):
    with pytest.raises(BadUsage, match=says):
        small(**changes)


def test_a_backbone_that_keeps_its_resolution_is_refused():
    with pytest.raises(BadUsage, match="stride 16"):
        small(ResNet((1, 1, 1, 1), (4, 4, 8, 8), 4, norm="group", dilate=True))


def test_switches_take_away_exactly_their_modules():
    kinds = {"fused": "fuse", "agnostic": "agnostic"}
    for name, prefix in kinds.items():
        without = set(small(**{name: False}).state_dict())
        assert without == {key for key in small().state_dict() if not key.startswith(f"{prefix}.")}
    for inner, attention in itertools.product((True, False), repeat=2):
        net = small(inner=inner, attention=attention)
        assert any(isinstance(module, Inner) for module in net.modules()) == inner
        assert all(isinstance(fusion, AttentionFusion if attention else PairFusion) for fusion in net.fusions)


def test_extra_stages_are_of_the_number_and_blocks_asked_for():
    net = small(num_extra=3, extra_blocks=2, norm="batch")
    assert [len(stage) for stage in net.extra] == [2, 2, 2]
    sides = [x.shape[-1] for x in net.encode(pictures(2, 256))]
    assert sides == [32, 16, 8, 4, 2, 1]
    assert all(isinstance(block.bn2, BatchNorm) for stage in net.extra for block in stage)
