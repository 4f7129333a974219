"""DETR's network: sizes of the published ones, and what must not matter."""

import pytest
import torch
from timm.models.resnet import resnet18

from pellucid import checkpoint
from pellucid.errors import BadData, BadUsage
from pellucid.nn.detr import Detr, Shape, layers_of
from pellucid.nn.position import LearnedPosition, SinePosition
from pellucid.nn.resnet import ResNet, resnet
from pellucid.nn.resnet_weights import pretrained_resnet

SMALL = Shape(3, 5, width=16, num_heads=2, encoder_layers=2, decoder_layers=2, feedforward=24, dropout=0.0)


def small(norm="frozen", **changes):
    torch.manual_seed(0)
    net = Detr(ResNet((1, 1, 1, 1), (4, 8, 8, 16), 4, norm=norm), SMALL, **changes).eval()
    for module in net.backbone.modules():  # frozen norms do something
        for name, buffer in getattr(module, "_buffers", {}).items():
            buffer.copy_(torch.rand_like(buffer) + 0.5 if name != "bias" else torch.randn_like(buffer))
    return net


def pictures(sizes, canvas=None):
    """Random pictures of the sizes in one batch, and which pixels are real."""
    height, width = canvas or (max(h for h, _ in sizes), max(w for _, w in sizes))
    batch, present = torch.zeros(len(sizes), 3, height, width), torch.zeros(len(sizes), height, width, dtype=torch.bool)
    for i, (h, w) in enumerate(sizes):
        batch[i, :, :h, :w] = torch.rand(3, h, w, generator=torch.Generator().manual_seed(i))
        present[i, :h, :w] = True
    return batch, present


@pytest.mark.parametrize(
    ("backbone", "changes", "total", "trainable"),
    [
        ("resnet50", {}, 41_524_768, 41_302_368),
        ("resnet50", {"pre_norm": True}, 41_525_280, 41_302_880),
        ("resnet101", {}, 60_464_672, None),
        ("resnet18", {}, 28_843_552, None),
        ("resnet50", {"masks": "joint"}, 42_858_425, None),
        ("resnet50", {"masks": "joint", "num_classes": 250}, 42_899_288, None),
    ],
)
def test_the_published_networks_have_as_many_parameters_as_published(backbone, changes, total, trainable):
    shape = Shape(changes.get("num_classes", 91), pre_norm=changes.get("pre_norm", False))
    with torch.device("meta"):
        net = Detr(resnet(backbone), shape, masks=changes.get("masks", ""))
    net.backbone.freeze()
    assert sum(p.numel() for p in net.parameters()) == total
    if trainable:
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == trainable


def test_dilation_keeps_the_resolution_and_the_number_of_parameters():
    plain, spread = ResNet((1, 1, 1, 2), (4, 8, 8, 16), 4), ResNet((1, 1, 1, 2), (4, 8, 8, 16), 4, dilate=True)
    image = torch.rand(1, 3, 64, 96)
    assert [tuple(m.shape[-2:]) for m in plain(image)] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(m.shape[-2:]) for m in spread(image)] == [(16, 24), (8, 12), (4, 6), (4, 6)]
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in spread.parameters())
    assert spread.layer4[0].conv2.dilation == (1, 1)
    assert spread.layer4[1].conv2.dilation == (2, 2)


def test_the_backbone_gives_timms_maps_with_timms_weights():
    theirs = resnet18(num_classes=0).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    ours = resnet("resnet18")
    weights = {k: v for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    ours.load_state_dict(weights)
    image = torch.rand(1, 3, 70, 90)
    torch.testing.assert_close(ours(image)[-1], theirs.forward_features(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["frozen", "group"])
@pytest.mark.parametrize("dilate", [False, True])
def test_a_picture_alone_and_in_a_padded_batch_gives_the_same(norm, dilate):
    torch.manual_seed(0)
    net = Detr(ResNet((1, 1, 1, 2), (16, 16, 16, 16), 16, norm=norm, dilate=dilate), SMALL).eval()
    sizes = [(64, 64), (37, 91), (90, 20), (1, 1)]
    together = net(*pictures(sizes, (96, 96)))
    for i, (h, w) in enumerate(sizes):
        batch, present = pictures(sizes, (96, 96))
        small_height, small_width = -(-h // 32) * 32, -(-w // 32) * 32
        alone = net(batch[i : i + 1, :, :small_height, :small_width], present[i : i + 1, :small_height, :small_width])
        torch.testing.assert_close(alone["logits"][0], together["logits"][i], rtol=1e-4, atol=1e-5)


def test_without_masked_padding_a_picture_depends_on_how_it_is_padded():
    net = small(mask_padding=False)
    one, far = (net(*pictures([(40, 50)], canvas))["logits"] for canvas in ((40, 50), (96, 96)))
    assert (one - far).abs().max() > 1e-3


def test_permuting_the_queries_permutes_what_they_say():
    net, order = small(), torch.tensor([3, 0, 4, 1, 2])
    batch = pictures([(64, 64)])
    before = net(*batch)
    with torch.no_grad():
        net.queries.weight.copy_(net.queries.weight[order])
    after = net(*batch)
    torch.testing.assert_close(after["logits"], before["logits"][:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after["boxes_cxcywh"], before["boxes_cxcywh"][:, order], rtol=1e-4, atol=1e-5)


def test_all_layers_are_told_of_or_the_last_alone():
    net = small()
    batch = pictures([(64, 64)])
    whole, last = net(*batch), net(*batch, all_layers=False)
    assert whole["aux_logits"].shape == (1, 1, 5, 4)
    assert layers_of(whole, "logits").shape == (2, 1, 5, 4)
    assert "aux_logits" not in last
    torch.testing.assert_close(last["logits"], whole["logits"])


def test_a_sine_position_does_not_depend_on_what_is_padded():
    alone = SinePosition(8)(torch.ones(1, 3, 4, dtype=torch.bool))
    present = torch.zeros(1, 5, 6, dtype=torch.bool)
    present[:, :3, :4] = True
    torch.testing.assert_close(SinePosition(8)(present)[:, :, :3, :4], alone)


def test_a_sine_position_by_hand():
    found = SinePosition(4)(torch.ones(1, 1, 2, dtype=torch.bool))  # one row: y = 1 of 1; columns: 1 and 2 of 2
    turn = 2 * torch.pi
    wanted = [
        torch.sin(torch.tensor(turn)),
        torch.cos(torch.tensor(turn)),
        torch.sin(torch.tensor(turn / 2)),
        torch.cos(torch.tensor(turn / 2)),
    ]
    torch.testing.assert_close(found[0, :, 0, 0], torch.stack(wanted), rtol=0, atol=1e-4)


def test_learned_positions_have_an_end():
    with pytest.raises(BadUsage, match=r"3 x 4 cells.*learned for 3"):
        LearnedPosition(4, 3)(torch.ones(1, 3, 4, dtype=torch.bool))


def test_masks_need_widths_that_norms_can_group():
    with pytest.raises(BadUsage, match="multiple of 128"):
        small(masks="joint")


def test_a_backbone_takes_the_file_of_a_classifier_and_is_strict(tmp_path):
    theirs = resnet18(num_classes=7).state_dict()
    checkpoint.save(theirs, tmp_path / "whole.safetensors")
    ours = pretrained_resnet("resnet18", str(tmp_path / "whole.safetensors"), frozen="stem")
    assert torch.equal(ours.layer4[0].conv1.weight, theirs["layer4.0.conv1.weight"])
    assert {n.split(".")[0] for n, p in ours.named_parameters() if not p.requires_grad} == {"conv1", "layer1"}
    checkpoint.save({k: v for k, v in theirs.items() if k != "layer3.0.conv1.weight"}, tmp_path / "part.safetensors")
    with pytest.raises(BadData, match=r"layer3\.0\.conv1\.weight"):
        pretrained_resnet("resnet18", str(tmp_path / "part.safetensors"))
    with pytest.raises(BadUsage, match="resnet50"):
        pretrained_resnet("resnet51")
    with pytest.raises(BadUsage, match="no pretrained weights"):
        pretrained_resnet("resnet_tiny", "auto")
