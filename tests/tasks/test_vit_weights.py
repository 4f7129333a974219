"""Pretrained transformers of others give here what they give at home: timm's, transformers', and Google's npz."""

import numpy as np
import pytest
import scipy.ndimage
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from pellucid.data import networks, packages
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.tasks.quality.model import Vtamiq
from pellucid.tasks.quality.settings import HeadShape, VitShape
from pellucid.tasks.quality.vit import PatchTransformer
from pellucid.tasks.quality.vit_weights import load_vit, positions, vit_tensors

GRID = 4
TINY = VitShape(64, 2, 256, 3, 8, GRID, registers=0, layer_scale=False)
MORE = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2, "num_classes": 5}


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """The model with every number away from where it starts."""
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * 0.2 + (1 if value.ndim == 1 else 0))
    return model.eval()


def timm_vit(**more) -> torch.nn.Module:
    return moved(timm.create_model("vit_tiny_patch16_224", **MORE | more))


def tokens(shape: VitShape, tensors, pictures: torch.Tensor) -> torch.Tensor:
    """All tokens of our transformer, which looks at every patch of the pictures once, in order."""
    net = PatchTransformer(shape).eval()
    net.load_state_dict({**net.state_dict(), **tensors})
    p, g = shape.patch, shape.grid
    patches = pictures.unflatten(2, (g, p)).unflatten(4, (g, p)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    down, across = torch.meshgrid(torch.arange(g), torch.arange(g), indexing="ij")
    places = ((torch.stack([down, across], -1).flatten(0, 1) + 0.5) / g).expand(len(pictures), -1, 2)
    with torch.no_grad():
        return net(patches, places, torch.zeros(patches.shape[:2], dtype=torch.long), whole=True)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32)


def saved(path, model) -> str:
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return str(path)


def npz(path, model: torch.nn.Module, heads: int) -> str:
    """The weights of timm's transformer as Google's files have them."""
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    width = state["cls_token"].shape[-1]
    arrays = {"cls": state["cls_token"], "Transformer/posembed_input/pos_embedding": state["pos_embed"]}
    arrays |= {"embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0), "embedding/bias": state["patch_embed.proj.bias"]}
    arrays |= {"head/kernel": state["head.weight"].T, "head/bias": state["head.bias"]}
    norms = {"Transformer/encoder_norm": "norm"}
    for i in range(len(model.blocks)):
        here, there = f"blocks.{i}", f"Transformer/encoderblock_{i}"
        norms |= {f"{there}/LayerNorm_0": f"{here}.norm1", f"{there}/LayerNorm_2": f"{here}.norm2"}
        for j, part in enumerate(("query", "key", "value")):
            rows = slice(j * width, (j + 1) * width)
            place = f"{there}/MultiHeadDotProductAttention_1/{part}"
            arrays[f"{place}/kernel"] = state[f"{here}.attn.qkv.weight"][rows].T.reshape(width, heads, -1)
            arrays[f"{place}/bias"] = state[f"{here}.attn.qkv.bias"][rows].reshape(heads, -1)
        place = f"{there}/MultiHeadDotProductAttention_1/out"
        arrays |= {f"{place}/kernel": state[f"{here}.attn.proj.weight"].T.reshape(heads, -1, width)}
        arrays |= {f"{place}/bias": state[f"{here}.attn.proj.bias"]}
        for j in (0, 1):
            place = f"{there}/MlpBlock_3/Dense_{j}"
            arrays |= {f"{place}/kernel": state[f"{here}.mlp.fc{j + 1}.weight"].T, f"{place}/bias": state[f"{here}.mlp.fc{j + 1}.bias"]}
    for there, here in norms.items():
        arrays |= {f"{there}/scale": state[f"{here}.weight"], f"{there}/bias": state[f"{here}.bias"]}
    np.savez(path, **arrays)
    return str(path)


def test_timms_weights_and_googles_of_the_same_network_give_timms_features(tmp_path, pictures):
    model = timm_vit()
    with torch.no_grad():
        expected = model.forward_features(pictures)
    for file in (saved(tmp_path / "vit.safetensors", model), npz(tmp_path / "ViT.npz", model, 2)):
        torch.testing.assert_close(tokens(TINY, vit_tensors(file, TINY), pictures), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept", [True, False])
def test_factors_of_branches_are_kept_or_multiplied_in(tmp_path, pictures, kept):
    model = timm_vit(init_values=0.1)
    with torch.no_grad():
        expected = model.forward_features(pictures)
    shape = VitShape(**{**vars(TINY), "layer_scale": kept})
    found = tokens(shape, vit_tensors(saved(tmp_path / "vit.safetensors", model), shape), pictures)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_factors_that_the_file_has_not_are_one(tmp_path):
    shape = VitShape(**{**vars(TINY), "layer_scale": True})
    found = vit_tensors(saved(tmp_path / "vit.safetensors", timm_vit()), shape)
    assert all(torch.equal(found[f"blocks.{i}.scale{j}"], torch.ones(64)) for i in range(3) for j in (1, 2))


def test_register_tokens_and_a_class_token_without_a_position_are_taken_over(tmp_path, pictures):
    model = timm_vit(reg_tokens=3, no_embed_class=True)
    with torch.no_grad():
        expected = model.forward_features(pictures)
    shape = VitShape(**{**vars(TINY), "registers": 3})
    found = vit_tensors(saved(tmp_path / "vit.safetensors", model), shape)
    assert not found["position"][:, 0].any()
    torch.testing.assert_close(tokens(shape, found, pictures), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [(ViTModel, ViTConfig, {"intermediate_size": 256}), (Dinov2Model, Dinov2Config, {"mlp_ratio": 4})])
def test_the_files_of_transformers_give_its_features(tmp_path, pictures, kind):
    network, config, more = kind
    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    model = moved(network(config(**sizes, **more)))
    model.config.layer_norm_eps = 1e-6
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6
    model.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        expected = model(pictures).last_hidden_state
    for file in (str(tmp_path / "theirs"), saved(tmp_path / "memory.safetensors", model)):
        torch.testing.assert_close(tokens(TINY, vit_tensors(file, TINY), pictures), expected, rtol=1e-4, atol=1e-4)


def test_the_first_blocks_and_the_last_norm_are_kept_and_all_else_of_the_network_stays(tmp_path, pictures):
    model = timm_vit()
    shape = VitShape(64, 2, 256, 2, 8, GRID, registers=2, scales=3)
    net = Vtamiq(shape, HeadShape(1, 1))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    load_vit(net, saved(tmp_path / "vit.safetensors", model))
    after = net.state_dict()
    fresh = [key for key in after if key.startswith(("difference.", "head.")) or key in ("registers", "scale")]
    assert len(fresh) > 10 and all(torch.equal(after[key], before[key]) for key in fresh)
    assert torch.equal(after["blocks.1.fc2.weight"], model.blocks[1].mlp.fc2.weight) and torch.equal(after["norm.bias"], model.norm.bias)
    same = [key for key in after if key not in fresh and torch.equal(after[key], before[key])]
    assert same == [f"blocks.{i}.scale{j}" for i in (0, 1) for j in (1, 2)]


# ---- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [3, 7])
def test_positions_zoom_linearly_as_scipy_and_bicubically_as_timm(grid):
    table = torch.randn(1, 26, 6)
    linear = scipy.ndimage.zoom(table[0, 1:].reshape(5, 5, 6).numpy(), (grid / 5, grid / 5, 1), order=1)
    found = positions(table, grid, "linear")
    assert torch.equal(found[:, 0], table[:, 0])
    np.testing.assert_allclose(found[0, 1:].reshape(grid, grid, 6).numpy(), linear, atol=1e-5)
    torch.testing.assert_close(positions(table, grid, "bicubic"), resample_abs_pos_embed(table, (grid, grid)))
    assert torch.equal(positions(table, 5, "linear"), table)


def test_googles_positions_are_zoomed_linearly_and_others_bicubically(tmp_path):
    model, shape = timm_vit(), VitShape(**{**vars(TINY), "grid": 6})
    table = model.pos_embed.detach()
    files = {"linear": npz(tmp_path / "v.npz", model, 2), "bicubic": saved(tmp_path / "v.safetensors", model)}
    for resize, file in files.items():
        assert torch.equal(vit_tensors(file, shape)["position"], positions(table, 6, resize))
        assert torch.equal(vit_tensors(file, shape, "linear")["position"], positions(table, 6, "linear"))


# ---- what does not fit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"width": 128, "mlp": 512},
            "weights of another transformer than width=128, mlp=512; --set task.vit.width=64 --set task.vit.mlp=256",
        ),
        ({"patch": 16}, "than patch=16; --set task.vit.patch=8 would fit"),
        ({"blocks": 4}, "than blocks=4; --set task.vit.blocks=3 would fit"),
        ({"heads": 4}, "than heads=4; --set task.vit.heads=2 would fit"),
    ],
)
def test_weights_of_another_size_say_which_settings_would_fit(tmp_path, changed, message):
    file = npz(tmp_path / "v.npz", timm_vit(), 2)
    with pytest.raises(BadData, match=message):
        vit_tensors(file, VitShape(**{**vars(TINY), **changed}))


def test_registers_of_another_number_say_which_settings_would_fit(tmp_path):
    file = saved(tmp_path / "v.safetensors", timm_vit(reg_tokens=4))
    with pytest.raises(BadData, match=r"than registers=0; --set task\.vit\.registers=4 would fit"):
        vit_tensors(file, TINY)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.update({"blocks.0.attn.q_norm.weight": torch.zeros(32)}), "'blocks.0.attn.q_norm.weight' is none that we know"),
        (lambda t: t.pop("blocks.1.mlp.fc1.bias"), "missing: blocks.1.fc1.bias"),
        (lambda t: t.update(norm=torch.zeros(1)), "'norm' is none that we know"),
        (lambda t: t.pop("patch_embed.proj.weight"), "no weights of a vision transformer: neither patch_embed.proj.weight nor"),
        (lambda t: t.update(pos_embed=torch.zeros(1, 12, 64)), "a table of 12 positions, expected a square"),
    ],
)
def test_a_key_that_is_missing_or_has_no_place_is_named(tmp_path, spoil, message):
    state = dict(timm_vit().state_dict())
    spoil(state)
    save_file(state, tmp_path / "v.safetensors")
    with pytest.raises(BadData, match=message):
        vit_tensors(str(tmp_path / "v.safetensors"), TINY)


def test_an_npz_with_a_pickle_is_refused_and_a_broken_or_foreign_one_is_bad_data(tmp_path):
    np.savez(tmp_path / "pickle.npz", cls=np.array([{}], dtype=object))
    with pytest.raises(UnsafeInput, match=r"pickle.npz: holds a pickle"):
        vit_tensors(str(tmp_path / "pickle.npz"), TINY)
    (tmp_path / "broken.npz").write_bytes((tmp_path / "pickle.npz").read_bytes()[:50])
    np.savez(tmp_path / "foreign.npz", cls=np.zeros(3))
    for name, message in (("broken", "not a whole npz file"), ("foreign", "no weights of Google's vision transformer"), ("no", "no such")):
        with pytest.raises(BadData, match=message):
            vit_tensors(str(tmp_path / f"{name}.npz"), TINY)


def test_a_name_that_nothing_has_gives_the_nearest():
    with pytest.raises(BadUsage, match="pretrained=dinov2-smal: no such file, nor a network of timm's; did you mean 'dinov2-small'"):
        vit_tensors("dinov2-smal", TINY)


@pytest.mark.slow
def test_the_packages_dinov2_gives_timms_features_here():
    if not (packages.cache_folder() / "packages" / packages.DINOV2.file).is_file():
        pytest.skip("the package is not in the cache")
    shape = VitShape(384, 6, 1536, 12, 14, 16, registers=0)
    tensors, pictures = vit_tensors("dinov2-small", shape), torch.randn(1, 3, 224, 224)
    model = timm.create_model("vit_small_patch14_dinov2", img_size=224).eval()
    model.load_state_dict(load_file(networks.network_file("dinov2-small")) | {"pos_embed": tensors["position"]})
    with torch.no_grad():
        expected = model.forward_features(pictures)
    torch.testing.assert_close(tokens(shape, tensors, pictures), expected, rtol=1e-3, atol=1e-3)
