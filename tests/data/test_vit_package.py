"""The ViT of a registry package has its weights in their places: timm's network gives what the package's own graph gives."""

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file
from torch.nn import functional

from pellucid.data import networks, packages, quantised


def test_a_nameless_matrix_of_a_graph_is_called_after_its_product_and_turned_back():
    matrix, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["y"], name="/blocks.0/attn/qkv/MatMul"),
            helper.make_node("Add", ["y", "model.blocks.0.attn.qkv.bias"], ["z"], name="/blocks.0/attn/qkv/Add"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(matrix, "onnx::MatMul_7"), numpy_helper.from_array(bias, "model.blocks.0.attn.qkv.bias")],
    )
    found = dict(quantised.onnx_weights(helper.make_model(graph).SerializeToString(), "x"))
    assert found.keys() == {"blocks.0.attn.qkv.weight", "model.blocks.0.attn.qkv.bias"}
    assert np.array_equal(found["blocks.0.attn.qkv.weight"], matrix.T)


@pytest.fixture(scope="module")
def package() -> packages.Package:
    """The package, where it has been fetched before."""
    if not (packages.cache_folder() / "packages" / packages.DINOV2.file).is_file():
        pytest.skip("the package is not in the cache")
    return packages.DINOV2


@pytest.mark.slow
def test_dinov2_in_timm_gives_the_features_of_the_packages_own_graph(package):
    import onnxruntime

    member = networks._origin("dinov2-small").member
    graph = onnx.load_from_string(packages.members(package, [member])[member])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    pictures = functional.interpolate(torch.randn(2, 3, 9, 9), (224, 224), mode="bicubic")
    expected = torch.from_numpy(session.run(None, {"input": pictures.numpy()})[0])  # b 8 8 d, means of 2 x 2 patches
    weights = load_file(networks.network_file("dinov2-small"))
    first, table = weights["pos_embed"].split([1, 37 * 37], 1)
    # the graph brings its table of 37 x 37 to 16 x 16 with the scale that DINOv2's authors use, and linearly, which they do not
    grid = functional.interpolate(table.unflatten(1, (37, 37)).permute(0, 3, 1, 2), scale_factor=(16.1 / 37, 16.1 / 37), mode="bilinear")
    model = timm.create_model("vit_small_patch14_dinov2", img_size=224).eval()
    model.load_state_dict(weights | {"pos_embed": torch.cat([first, grid.flatten(2).transpose(1, 2)], 1)})
    with torch.no_grad():
        patches = model.forward_features(pictures)[:, 1:].transpose(1, 2).unflatten(2, (16, 16))
    found = functional.avg_pool2d(patches, 2).permute(0, 2, 3, 1)
    assert expected.std() > 1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
