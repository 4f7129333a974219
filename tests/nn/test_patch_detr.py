import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.losses.features import feature_loss
from pellucid.losses.matching import Matches
from pellucid.losses.set_prediction import Truth
from pellucid.nn.detr import Detr, Shape
from pellucid.nn.detr_names import to_official
from pellucid.nn.patch_detr import PatchDetr, Patches, Told, group_mask
from pellucid.nn.resnet import ResNet, resnet

SHAPE = Shape(2, 12, 16, 2, 1, 2, 24, 0.0, pre_norm=True)


def net_of(num_patches=3, **options):
    return PatchDetr(ResNet((1, 1, 1, 1), (8, 8, 8, 8), 8), SHAPE, Patches(num_patches, **options)).eval()


def seen(num_patches=3):
    draw = torch.Generator().manual_seed(1)
    image, patches = torch.randn(2, 3, 64, 96, generator=draw), torch.randn(2, num_patches, 3, 32, 32, generator=draw)
    return image, torch.ones(2, 64, 96, dtype=torch.bool), patches


# ---- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("queries", "patches"), [(100, 10), (100, 20), (8, 4), (9, 9), (6, 1)])
def test_each_query_sees_exactly_the_queries_of_its_own_patch(queries, patches):
    group = queries // patches
    mask = group_mask(patches, group)
    assert mask.shape == (queries, queries) and (mask.sum(1) == group).all()
    assert all(mask[i].nonzero()[:, 0].tolist() == list(range(i // group * group, (i // group + 1) * group)) for i in range(queries))
    assert int(mask.sum()) == queries * group  # 1,000 of 10,000 for 100 queries and 10 patches


@pytest.mark.parametrize("patches", [1, 2, 3, 4, 6, 12])
def test_outputs_are_finite_for_every_number_of_patches_that_divides_the_queries(patches):
    """The authors' mask opens as many groups as a group has queries: with 12 queries and 4 patches or more, all become NaN."""
    told = net_of(patches)(*seen(patches))
    assert all(value.isfinite().all() for value in told.values())
    assert told["logits"].shape == (2, 12, 3) and told["features"].shape == (2, 12, 32)


def test_patches_that_do_not_divide_the_queries_are_refused():
    with pytest.raises(BadUsage, match="12 queries cannot be shared evenly by 5 patches"):
        net_of(5)
    with pytest.raises(BadUsage, match="4 patches, but the network was made for 3"):
        net_of(3)(*seen(4))


@torch.no_grad()
def test_a_patch_changes_its_own_queries_and_no_others():
    net, (image, present, patches) = net_of(), seen()
    other = patches.clone()
    other[:, 1] = torch.randn_like(other[:, 1])
    before, after = net(image, present, patches), net(image, present, other)
    for name in ("logits", "boxes_cxcywh", "features", "aux_logits"):
        moved = (before[name] - after[name]).abs().amax(-1)
        assert (moved[..., 4:8] > 1e-4).all(), name
        assert (moved[..., :4] < 1e-6).all() and (moved[..., 8:] < 1e-6).all(), name


@torch.no_grad()
def test_fewer_patches_are_looked_for_as_the_first_among_all():
    net, (image, present, patches) = net_of(), seen()
    whole = net(image, present, patches)
    for num in (1, 2):
        part = net(image, present, patches[:, :num])
        assert part["logits"].shape[1] == 4 * num
        for name in ("logits", "boxes_cxcywh", "features"):
            assert (part[name] - whole[name][:, : 4 * num]).abs().max() < 1e-5


# ---- what queries are told --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_query_that_is_not_told_its_patch_has_what_it_learned_and_the_others_no_more():
    net, (_, _, patches) = net_of(), seen()
    features = net.patch_features(patches)
    keep = torch.rand(2, 12) > 0.5
    whole, some = net.told_positions(features), net.told_positions(features, Told(keep=keep))
    learned = net.queries.weight.expand(2, -1, -1)
    assert torch.equal(some[~keep], learned[~keep]) and torch.equal(some[keep], whole[keep])


@torch.no_grad()
def test_shuffled_queries_keep_the_patches_of_their_places():
    net, (_, _, patches) = net_of(), seen()
    features = net.patch_features(patches)
    order = torch.stack([torch.randperm(12), torch.arange(12)])
    shuffled, plain = net.told_positions(features, Told(order=order)), net.told_positions(features)
    assert torch.equal(shuffled[1], plain[1])
    offset = plain[0] - net.queries.weight
    assert torch.allclose(shuffled[0], net.queries.weight[order[0]] + offset, atol=1e-6)


@torch.no_grad()
def test_pooled_patches_are_told_to_all_queries_and_absent_ones_to_none():
    net, (image, present, patches) = net_of(pooled=True, reconstruct=False), seen()
    offset = net.told_positions(net.patch_features(patches)) - net.queries.weight
    assert (offset - offset[:, :1]).abs().max() < 1e-6
    padded = torch.cat([patches[:, :1], torch.full_like(patches[:, 1:], 9.0)], 1)
    there = torch.tensor([[True, False, False]] * 2)
    alone, filled = net(image, present, patches[:, :1]), net(image, present, padded, Told(there))
    assert torch.allclose(alone["logits"], filled["logits"], atol=1e-5)
    assert net.among(3) is None


@torch.no_grad()
def test_attention_of_queries_sums_to_one_over_the_pictures_cells():
    net, (image, present, patches) = net_of(), seen()
    present[1, :, 64:] = False
    looks = net.attention(image, present, patches)
    assert looks.shape == (2, 12, 2, 6) and torch.allclose(looks.sum(-1), torch.ones(2, 12, 2))
    assert (looks[1, ..., [2, 5]] == 0).all()


# ---- what learns ------------------------------------------------------------------------------------------------------


def test_the_target_of_reconstruction_takes_no_gradient_unless_asked():
    for detach in (True, False):
        net = net_of(detach=detach)
        told = net(*seen())
        assert told["patch_features"].requires_grad is not detach
        assert told["features"].requires_grad and told["logits"].requires_grad


def test_the_papers_network_has_as_many_parameters_as_the_authors():
    with torch.device("meta"):
        net = PatchDetr(resnet("resnet50"), Shape(2, pre_norm=True))
    assert sum(p.numel() for p in net.parameters()) == 42_619_079
    net.backbone.freeze(all_of_it=True)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 19_164_167


def test_a_frozen_backbone_takes_no_gradient():
    net = net_of()
    net.backbone.freeze(all_of_it=True)
    told = net.train()(*seen())
    (told["logits"].sum() + told["boxes_cxcywh"].sum() + told["features"].sum()).backward()
    assert all(p.grad is None for p in net.backbone.parameters())
    assert all(p.grad is not None for name, p in net.named_parameters() if not name.startswith("backbone."))


def test_a_detector_takes_all_but_the_class_head_and_what_only_patches_need():
    with torch.device("meta"):
        before = to_official(PatchDetr(resnet("resnet50"), Shape(2, pre_norm=True)).state_dict())
        after = to_official(Detr(resnet("resnet50"), Shape(91, pre_norm=True)).state_dict())
    kept = {name for name in before if "class_embed" not in name}
    assert after.keys() - kept == {"class_embed.weight", "class_embed.bias"}
    left = {f"patch2query.{leaf}" for leaf in ("weight", "bias")}
    left |= {f"feature_align.layers.{i}.{leaf}" for i in (0, 1) for leaf in ("weight", "bias")}
    assert kept - after.keys() == left
    assert all(before[name].shape == after[name].shape for name in kept & after.keys())
    shapes = {name: tuple(before[name].shape) for name in (*left, "class_embed.weight", "query_embed.weight")}
    assert shapes["patch2query.weight"] == (256, 2048) and shapes["feature_align.layers.1.weight"] == (2048, 256)
    assert shapes["class_embed.weight"] == (3, 256) and shapes["query_embed.weight"] == (100, 256)


# ---- reconstruction ---------------------------------------------------------------------------------------------------


def test_features_alike_cost_nothing_opposite_ones_four_and_unlike_ones_two():
    told = torch.tensor([[[[3.0, 0], [0, 2], [-1, 0], [5, 5]]]])  # one layer, one picture, four queries
    target = torch.tensor([[7.0, 0]])
    truth = Truth([torch.ones(1, dtype=torch.long)], [torch.full((1, 4), 0.5)])

    def loss(query):
        zero = torch.zeros(1, dtype=torch.long)
        return feature_loss(told, [target], truth, Matches(zero, zero, torch.tensor([query]), zero)).item()

    assert [loss(0), loss(2), loss(1)] == pytest.approx([0, 4, 2], abs=1e-6)
    assert loss(3) == pytest.approx(2 - 2**0.5, abs=1e-6)  # 2 - 2 cos 45 degrees


def test_features_are_compared_with_the_patch_matched_and_divided_by_all_patches():
    """Query 0 of the second layer is matched with patch 1, query 1 with patch 0; the third patch has no query."""
    told = torch.tensor([[[[9.0, 9], [9, 9]]], [[[0, 1.0], [1, 0]]]])  # l b q e
    target = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    truth = Truth([torch.ones(3, dtype=torch.long)], [torch.full((3, 4), 0.5)])
    layer, example = torch.tensor([0, 1, 1]), torch.zeros(3, dtype=torch.long)
    matches = Matches(layer, example, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]))
    assert feature_loss(told, [target], truth, matches).tolist() == pytest.approx([(2 - 2**0.5) / 3, 0], abs=1e-6)
