"""Networks of pictures: every weight has its place or is named, and every block named runs once and gives what is said of it."""

import contextlib

import pytest
import timm
import torch
import torchvision
from einops import parse_shape
from safetensors.torch import save_file
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from pellucid.data import networks, packages
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.nn.backbone import backbone, blocks_of


def weights(path, model, **changed):
    save_file({k: v for k, v in (model.state_dict() | changed).items() if v is not None}, path)
    return str(path)


# ---- the networks -----------------------------------------------------------------------------------------------------


def test_the_tiny_resnet_is_the_one_of_the_digits_experiment():
    model = backbone("resnet_tiny", 10)
    assert sum(p.numel() for p in model.parameters()) == 127_954
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("name", "count"), [("resnet18", 11_689_512), ("efficientnet-lite0", 4_652_008), ("mobilenetv3-small", 2_542_856)])
def test_a_network_of_the_registry_has_its_published_size(name, count):
    assert sum(p.numel() for p in backbone(name, 1000).parameters()) == count


def test_the_architecture_is_the_names_alone_so_that_a_run_is_restored_as_it_was_trained():
    assert backbone("mobilenetv3-small", 2).bn1.eps == 1e-3
    assert backbone("mobilenetv3_small_100", 2).bn1.eps == 1e-5


@pytest.mark.parametrize(("name", "module"), [("resnet_tiny", "act1"), ("efficientnet-lite0", "blocks.0"), ("mobilenetv3-small", "bn1")])
def test_a_small_stem_keeps_the_resolution(name, module):
    for small, side in ((False, 16), (True, 32)):
        seen = shapes_of(backbone(name, 2, small_stem=small), torch.rand(1, 3, 32, 32), [module])
        assert seen[0][1][-2:] == (side, side)


def test_a_small_stem_of_a_resnet_is_not_pooled():
    seen = shapes_of(backbone("resnet_tiny", 2, small_stem=True), torch.rand(1, 3, 32, 32), ["layer1", "layer4"])
    assert [shape[-1] for _, shape in seen] == [32, 4]


def test_stochastic_depth_rises_from_0_at_the_first_branch_to_its_value_at_the_last():
    rates = [m.drop_prob for m in backbone("resnet50", 2, drop_path=0.05).modules() if type(m).__name__ == "DropPath"]
    assert len(rates) == 15 and rates[-1] == pytest.approx(0.05)
    assert rates == pytest.approx([0.05 * k / 15 for k in range(1, 16)])


def test_a_network_that_must_know_the_size_is_told():
    assert backbone("vit_tiny_patch16_224", 2, in_size=64)(torch.rand(1, 3, 64, 64)).shape == (1, 2)
    assert backbone("resnet18", 2, in_size=64)(torch.rand(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "pretrained", "options", "message"),
    [
        ("resnet81", "", {}, "no network 'resnet81'; did you mean 'resnet18'"),
        ("resnet50.a9", "", {}, "no network 'resnet50.a9'; did you mean 'resnet50."),
        ("xqz", "", {}, "no network 'xqz'; there are efficientnet-lite0"),
        ("vgg11", "", {"drop_path": 0.1}, "network 'vgg11' cannot be made with drop_path_rate=0.1"),
        ("convnext_atto", "", {"small_stem": True}, "small_stem: convnext_atto has no single first convolution"),
        ("resnet50", "auto", {}, "no registry package carries weights of resnet50, only of efficientnet-lite0"),
        (
            "mobilenetv3_small_100",
            "mobilenetv3-small",
            {},
            "the weights mobilenetv3-small are not of mobilenetv3_small_100; they go",
        ),
        ("resnet_tiny", "hub", {}, "timm has no weights of resnet_tiny on the hub"),
        ("resnet18", "resnet_18", {}, "pretrained=resnet_18: no such file; did you mean 'resnet18'"),
    ],
)
def test_what_there_is_not_is_told_in_one_line(name, pretrained, options, message):
    with pytest.raises(BadUsage, match=message) as caught:
        backbone(name, 2, pretrained, **options)
    assert "\n" not in str(caught.value)


# ---- weights ----------------------------------------------------------------------------------------------------------


def test_a_head_of_another_size_stays_fresh_and_all_else_is_loaded(tmp_path):
    trained = backbone("resnet_tiny", 7)
    file = weights(tmp_path / "w.safetensors", trained)
    model = backbone("resnet_tiny", 3, file)
    assert model.left_fresh == ("fc.weight", "fc.bias")
    same = [k for k, v in trained.state_dict().items() if k in model.state_dict() and torch.equal(v, model.state_dict()[k])]
    assert set(same) == set(trained.state_dict()) - {"fc.weight", "fc.bias"}
    assert backbone("resnet_tiny", 7, file).left_fresh == ()


def test_a_network_without_a_head_gives_what_the_head_would_see_and_leaves_its_weights_out(tmp_path):
    trained, pictures = backbone("resnet18", 7).eval(), torch.rand(2, 3, 64, 64)
    model = backbone("resnet18", 0, weights(tmp_path / "w.safetensors", trained)).eval()
    assert model.left_fresh == ()
    torch.testing.assert_close(trained.fc(model(pictures)), trained(pictures))


@pytest.mark.parametrize("name", ["resnet_tiny", "efficientnet-lite0"])
def test_other_channels_start_from_those_of_colour_so_that_grey_stays_grey(tmp_path, name):
    colour = backbone(name, 3).eval()
    file, grey = weights(tmp_path / "w.safetensors", colour), torch.rand(2, 1, 64, 64)
    for channels, seen in ((1, grey), (6, grey.expand(2, 6, 64, 64))):
        model = backbone(name, 3, file, in_chans=channels).eval()
        assert model.left_fresh == ()
        torch.testing.assert_close(model(seen), colour(grey.expand(2, 3, 64, 64)), atol=1e-5, rtol=1e-4)


def test_a_first_convolution_that_cannot_be_adapted_is_told(tmp_path):
    file = weights(tmp_path / "w.safetensors", backbone("resnet_tiny", 3, in_chans=2))
    assert backbone("resnet_tiny", 3, file, in_chans=2).left_fresh == ()
    with pytest.raises(BadUsage, match=r"conv1.weight cannot be adapted to pictures of 5 channels"):
        backbone("resnet_tiny", 3, file, in_chans=5)
    with pytest.raises(BadData, match=r"other shape: conv1.weight"):
        backbone("resnet_tiny", 3, file)


def test_torchvision_weights_and_those_of_a_run_are_loaded(tmp_path):
    theirs, pictures = torchvision.models.resnet18(num_classes=5).eval(), torch.rand(2, 3, 64, 64)
    as_run = {f"net.{key}": value for key, value in theirs.state_dict().items()}
    save_file(as_run, tmp_path / "model.safetensors")
    for place in (weights(tmp_path / "tv.safetensors", theirs), str(tmp_path)):
        torch.testing.assert_close(backbone("resnet18", 5, place).eval()(pictures), theirs(pictures))


def test_positions_are_fitted_to_another_size(tmp_path):
    file = weights(tmp_path / "w.safetensors", timm.create_model("vit_tiny_patch16_224", num_classes=2))
    model = backbone("vit_tiny_patch16_224", 2, file, in_size=64)
    assert model.left_fresh == () and model.pos_embed.shape == (1, 17, 192)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer2.0.bn1.bias": None}, "missing: layer2.0.bn1.bias"),
        ({"surprise": torch.zeros(1)}, "unknown: surprise"),
        ({"layer4.0.conv1.weight": torch.zeros(1)}, r"other shape: layer4.0.conv1.weight \(1,\)"),
    ],
)
def test_any_other_key_that_does_not_fit_is_named(tmp_path, changed, message):
    file = weights(tmp_path / "w.safetensors", backbone("resnet_tiny", 7), **changed)
    with pytest.raises(BadData, match=f"w.safetensors: weights do not fit; {message}"):
        backbone("resnet_tiny", 3, file)


def test_counters_that_older_files_do_without_are_not_missed(tmp_path):
    file = weights(tmp_path / "w.safetensors", backbone("resnet_tiny", 7), **{"bn1.num_batches_tracked": None})
    assert backbone("resnet_tiny", 7, file).left_fresh == ()


def test_a_new_stem_is_among_what_stays_fresh(tmp_path):
    file = weights(tmp_path / "w.safetensors", backbone("resnet_tiny", 7))
    assert backbone("resnet_tiny", 7, file, small_stem=True).left_fresh == ("conv1.weight",)
    file = weights(tmp_path / "w.safetensors", backbone("resnet_tiny", 7, small_stem=True))
    assert backbone("resnet_tiny", 7, file, small_stem=True).left_fresh == ()


def test_a_pickle_is_refused_with_the_verb_that_converts_it(tmp_path):
    torch.save(backbone("resnet_tiny", 7).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UnsafeInput, match=r"w.pth: a pickle can run code when loaded; give the weights as .safetensors.*`pellucid convert"):
        backbone("resnet_tiny", 7, str(tmp_path / "w.pth"))


def test_the_hub_without_a_network_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadData, match=r"hf-hub:timm/resnet18.* cannot be had .*pretrained=FILE.safetensors") as caught:
        backbone("resnet18", 2, "hub")
    assert "\n" not in str(caught.value)


def test_registry_weights_are_found_by_any_name_of_their_network():
    if not (packages.cache_folder() / "packages" / packages.LITE0.file).is_file():
        pytest.skip("the package is not in the cache")
    pictures = torch.rand(1, 3, 64, 64)
    found = [backbone(n, 1000, p).eval() for n, p in (("efficientnet-lite0", "auto"), ("tf_efficientnet_lite0", "efficientnet-lite0"))]
    assert found[0].left_fresh == () and found[0].pretrained_cfg["mean"] == networks.network_view("efficientnet-lite0")[0]
    torch.testing.assert_close(found[0](pictures), found[1](pictures))
    assert backbone("efficientnet-lite0", 3, "auto").left_fresh == ("classifier.weight", "classifier.bias")


# ---- blocks -----------------------------------------------------------------------------------------------------------


class Told(nn.Module):
    """A module that tells the shape of what it gives."""

    def __init__(self, inner, name, seen):
        super().__init__()
        self.inner, self.name, self.seen = inner, name, seen

    def forward(self, *arguments):
        given = self.inner(*arguments)
        self.seen.append((self.name, tuple(given.shape)))
        return given


def shapes_of(model, pictures, names):
    """What the modules gave in one forward, in the order in which they ran."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    with contextlib.ExitStack() as stack, torch.no_grad():
        for name in names:
            place, _, child = name.rpartition(".")
            inner = model.get_submodule(name)
            setattr(model.get_submodule(place), child, Told(inner, name, seen))
            stack.callback(setattr, model.get_submodule(place), child, inner)
        model.eval()(pictures)
    return seen


@pytest.mark.parametrize(
    ("name", "num", "layout", "prefix"),
    [
        ("resnet50", 5, "b d h w", 0),
        ("tf_efficientnet_lite0", 5, "b d h w", 0),
        ("mobilenetv2_100", 5, "b d h w", 0),
        ("mobilenetv3_small_100", 5, "b d h w", 0),
        ("convnext_atto", 4, "b d h w", 0),
        ("swin_tiny_patch4_window7_224", 4, "b h w d", 0),
        ("vit_tiny_patch16_224", 12, "b n d", 1),
        ("deit_tiny_distilled_patch16_224", 12, "b n d", 2),
        ("cait_xxs24_224", 24, "b n d", 0),
        ("mixer_s32_224", 8, "b n d", 0),
        ("tresnet_m", 4, "b d h w", 0),
        ("nest_tiny", 3, "b d h w", 0),
        ("volo_d1_224", 4, "b h w d", 0),
        ("regnety_002", 5, "b d h w", 0),
    ],
)
def test_every_block_runs_once_and_gives_what_is_said_of_it(name, num, layout, prefix):
    with torch.device("meta"):
        model, pictures = timm.create_model(name), torch.zeros(2, 3, 224, 224)
    blocks = blocks_of(model)
    seen = shapes_of(model, pictures, blocks)
    assert [module for module, _ in seen] == list(blocks) and len(blocks) == num
    assert all(block == (module, layout, prefix) for module, block in blocks.items())
    widths = {f["module"]: f["num_chs"] for f in model.feature_info if f["module"]}
    for module, shape in seen:
        axes = dict(zip(layout.split(), shape, strict=True))
        assert axes["d"] == widths[module]
        num_units = axes["n"] - prefix if "n" in axes else axes["h"] * axes["w"]
        assert round(num_units**0.5) ** 2 == num_units


def test_a_network_whose_blocks_give_several_tensors_names_none():
    with torch.device("meta"):
        assert blocks_of(timm.create_model("crossvit_9_240")) == {}


def test_a_network_of_ones_own_is_read_by_the_usual_names():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.layer1, self.layer2 = nn.Identity(), nn.Identity(), nn.Identity()

    assert list(blocks_of(Own())) == ["layer1", "layer2"]
    own = nn.Module()
    own.blocks = nn.Sequential(nn.Identity(), nn.Identity())
    assert list(blocks_of(own)) == ["blocks.0", "blocks.1"]
    assert ResNet(BasicBlock, (1, 1, 1, 1)).feature_info and parse_shape(torch.zeros(1, 2), "b d")
