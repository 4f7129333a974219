"""ResNet strikes back: optimiser, mixing, sampler, schedules, RandAugment and networks against numbers of the original program.

Every test takes its keys out of the whole set and fails if one of them is left over; the last test holds that all keys are taken.
"""

import hashlib
import json
import pathlib
import re

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn
from torch.nn import functional

from pellucid.data.augment import RandAugment, seeded
from pellucid.data.loader import repeated_order
from pellucid.data.mix import draw_box, draw_shares, kept_share, mix_drawn
from pellucid.data.views import Mix
from pellucid.nn.backbone import backbone, load_weights
from pellucid.recipe import Optim, Schedule
from pellucid.train.optim import clip_units, optimizer, parameter_groups, rate_factor, set_rate

LAMB = {
    "lamb_default": {},
    "lamb_alwaysadapt": {"lamb": ("always_adapt",)},
    "lamb_noclip": {"max_grad_norm": None},
    "lamb_trustclip": {"lamb": ("trust_clip",)},
    "lamb_nobias": {"lamb": ("no_bias_correction",)},
    "lamb_sched": {},
    "lamb_decoupled": {"lamb": ("decoupled_decay",)},
}
# settings and label smoothing
MIX = {
    "mix_A1": (Mix(0.2, 1.0), 0.1),
    "mix_A2": (Mix(0.1, 1.0), 0.0),
    "mix_A2_elem": (Mix(0.1, 1.0, mode="elem"), 0.0),
    "mix_A2_pair": (Mix(0.1, 1.0, mode="pair"), 0.0),
    "mix_prob.5": (Mix(0.1, 1.0, prob=0.5), 0.0),
}
TINY = {"tiny_basic": BasicBlock, "tiny_bottleneck": Bottleneck}
NETWORKS = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50d",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "seresnet50",
    "ecaresnet50t",
    "tresnet_m",
    "tresnet_l",
    "tresnet_xl",
    "regnety_040",
    "efficientnet_b0",
    "densenet121",
    "vit_small_patch16_224",
]
RAND_AUGMENT = ["rand-m6-mstd0.5-inc1", "rand-m7-mstd0.5-inc1"]
ABOUT = {"timm", "torch", "pillow"}
# which test compares a key: the first prefix that fits
CLAIMED = {
    **dict.fromkeys((f"{name}_params_per_batch_only" for name in MIX), "shares"),
    **dict.fromkeys((f"{name}_{part}" for name in MIX for part in ("in0", "out", "target")), "mix"),
    **dict.fromkeys(LAMB, "lamb"),
    **dict.fromkeys(TINY, "tiny"),
    **dict.fromkeys(("rand_bbox_", "cutmix_corrected_"), "boxes"),
    **dict.fromkeys((f"ra_{name}" for name in RAND_AUGMENT), "rand_augment"),
    **dict.fromkeys(("ra_input", "ra_ops_inc"), "rand_augment"),
    **dict.fromkeys(("lr_A2_", "lr_A3_"), "schedules"),
    **dict.fromkeys(("resnet50_param_groups_no_decay", "resnet50_n_tensors"), "groups"),
    "resnet50_state_names": "names",
    "repeat_aug": "sampler",
    "drop_path_": "drop_path",
    "params": "counts",
    "agc_": "agc",
    **dict.fromkeys(("bce_", "softce_", "lsce_"), "test_rsb_losses.py"),
    "eval_": "test_eval_view.py",
}


@pytest.fixture(scope="module")
def reference(references):
    folder = references / "vision/rsb"
    return json.loads((folder / "rsb.json").read_text()) | {f"{k} ": v for k, v in load_file(folder / "rsb.safetensors").items()}


class Taken(dict):
    """The reference's keys that one test claims; tensors' names lose the space that tells them from numbers' names."""

    def __init__(self, reference, test, start=""):
        super().__init__({k.strip(): v for k, v in reference.items() if claim(k) == test and k.startswith(start)})
        assert self, f"nothing is claimed by {test} {start}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        assert kind or not self, f"not compared: {sorted(self)[:5]}"


def claim(key):
    return next((test for start, test in CLAIMED.items() if key.startswith(start)), None)


def test_every_reference_number_is_claimed(reference):
    unclaimed = [key for key in reference if claim(key) is None and key not in ABOUT]
    assert unclaimed == []
    tests = set(CLAIMED.values())
    here = pathlib.Path(__file__)
    assert {t for t in tests if t.endswith(".py") and not (here.parent / t).is_file()} == set()
    assert {t for t in tests if not t.endswith(".py") and f'"{t}"' not in here.read_text().split("class Taken", 1)[1]} == set()


# ---- the optimiser ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAMB)
def test_lamb_takes_the_original_steps(reference, name):
    with Taken(reference, "lamb", f"{name}") as taken:
        about = taken.pop(name)
        model = nn.ParameterList([nn.Parameter(taken.pop(f"{name}_p{i}_init")) for i in range(6)])
        inner = optimizer(model, Optim("lamb", lr=about["lr"], weight_decay=about["groups_wd"][0], eps=1e-6, **LAMB[name]))
        decayed, other = inner.param_groups
        assert [[p.ndim for p in group["params"]] for group in (decayed, other)] == [[2, 4, 2], [1, 1, 1]]
        assert (decayed["weight_decay"], other["weight_decay"]) == (about["groups_wd"][0], 0.0)
        other["weight_decay"] = about["groups_wd"][1]  # no recipe decays the two groups differently, one case does
        for step in range(about["steps"]):
            set_rate(inner, about["sched"][step] / about["lr"] if about["sched"] else 1.0)
            for i, parameter in enumerate(model):
                parameter.grad = taken.pop(f"{name}_p{i}_g{step}")
            inner.step()
            for i, parameter in enumerate(model):
                torch.testing.assert_close(parameter.data, taken.pop(f"{name}_p{i}_s{step}"), rtol=1e-6, atol=1e-6)


def test_units_are_clipped_as_the_original_clips_them(reference):
    with Taken(reference, "agc") as taken:
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(2, 2))
        model[0].weight.data, model[0].weight.grad = taken.pop("agc_w"), taken.pop("agc_gw")
        model[0].bias.data, model[0].bias.grad = torch.zeros(5), taken.pop("agc_gb")
        model[1].weight.grad = torch.full((2, 2), 1e3)
        clip_units(model, 0.01)
        torch.testing.assert_close(model[0].weight.grad, taken.pop("agc_gw_clipped"), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(model[0].bias.grad, taken.pop("agc_gb_clipped"), rtol=1e-6, atol=1e-12)
        assert model[1].weight.grad.eq(1e3).all(), "the last layer is left alone"


def test_weights_are_decayed_and_norms_and_biases_are_not(reference):
    with Taken(reference, "groups") as taken, torch.device("meta"):
        groups = parameter_groups(backbone("resnet50", 1000), Optim(weight_decay=0.02))
        count = {group["weight_decay"]: len(group["params"]) for group in groups}
        spared = taken.pop("resnet50_param_groups_no_decay")
        assert count == {0.02: taken.pop("resnet50_n_tensors") - spared, 0.0: spared}
        assert spared == 107


def test_rates_are_those_of_the_original_schedules(reference):
    epochs, steps = {"lr_A3_epochs": (8e-3, 100), "lr_A2_epochs_first12_last3": (5e-3, 300)}, 7
    with Taken(reference, "schedules") as taken:
        for key, (lr, total) in epochs.items():
            schedule = Schedule("cosine", 5, 1e-6 / lr, by="epoch", warmup_start=1e-4 / lr, after_warmup=False)
            rates = [lr * rate_factor(schedule, step, total * steps, steps) for step in range(total * steps)]
            within = np.reshape(rates, (total, steps))
            assert (within == within[:, :1]).all(), "the rate holds through an epoch"
            found = within[:, 0] if total == 100 else within[[*range(12), -3, -2, -1], 0]
            np.testing.assert_allclose(found, taken.pop(key), rtol=1e-12)


# ---- mixing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MIX)
def test_mixed_batches_are_the_original_ones(reference, name):
    settings, smoothing = MIX[name]
    with Taken({k: v for k, v in reference.items() if re.match(rf"{re.escape(name)}_(in|out|target)\d", k)}, "mix") as taken:
        rng, generator = np.random.RandomState(31), torch.Generator().manual_seed(5)
        targets = functional.one_hot(torch.tensor([0, 3, 5, 9]), 10) * (1 - smoothing) + smoothing / 10
        for batch in range(6):
            images = torch.rand(4, 2, 16, 16, generator=generator)
            if batch == 0:
                assert images.equal(taken.pop(f"{name}_in0"))
            mixed, soft = mix_drawn(images, targets, settings, rng)
            torch.testing.assert_close(soft, taken.pop(f"{name}_target{batch}"), rtol=0, atol=1e-6)
            if batch < 3:
                torch.testing.assert_close(mixed, taken.pop(f"{name}_out{batch}"), rtol=0, atol=1e-6)


def test_shares_are_drawn_in_the_original_order(reference):
    with Taken(reference, "shares") as taken:
        for name, (settings, _) in MIX.items():
            rng, told = np.random.RandomState(31), taken.pop(f"{name}_params_per_batch_only")
            for own, pasted in told:
                drawn = draw_shares(rng, Mix(settings.mixup, settings.cutmix, settings.prob), 1)
                assert (drawn.own.item(), drawn.pasted.item()) == (own, pasted)


def test_rectangles_are_the_original_ones(reference):
    with Taken(reference, "boxes") as taken:
        rng = np.random.RandomState(31)
        boxes = [draw_box(rng, 32, 32, own) for own in (0.3, 0.9, 0.5)]
        assert [list(box) for box in boxes] == taken.pop("rand_bbox_32x32_lam.3_.9_.5")
        assert [kept_share(box, 32, 32) for box in boxes] == taken.pop("cutmix_corrected_lam_.3_.9_.5")


# ---- pictures -----------------------------------------------------------------------------------------------------


def test_repeated_augmentation_gives_the_original_order(reference):
    with Taken(reference, "sampler") as taken:
        for name, told in taken.pop("repeat_aug").items():
            n, world, rank, repeats, round_to, epoch = map(int, re.findall(r"\d+", name))
            order = repeated_order(n, repeats, epoch, process=(rank, world), round_to=round_to)
            found = {"len": len(order), "n_unique": len(set(order.tolist())), "first24": order[:24].tolist()}
            assert found | {"sha1": hashlib.sha1(order.tobytes()).hexdigest()} == told


@pytest.mark.skipif(PIL.__version__ != "13.0.0", reason=f"made with Pillow 13.0.0, resampling of {PIL.__version__} may differ")
def test_rand_augment_gives_the_original_pictures(reference):
    assert reference["pillow"] == "13.0.0"
    with Taken(reference, "rand_augment") as taken:
        image, operations = Image.fromarray(taken.pop("ra_input").numpy()), taken.pop("ra_ops_inc")
        for notation in RAND_AUGMENT:
            policy, rng = RandAugment(notation), np.random.RandomState(0)
            assert [operation.name for operation in policy.policy.ops] == operations
            with seeded(0):
                found = np.stack([np.array(policy(image, rng)) for _ in range(12)])
            np.testing.assert_array_equal(found, taken.pop(f"ra_{notation}").numpy())


# ---- networks -----------------------------------------------------------------------------------------------------


def test_the_residual_branches_are_left_out_at_the_original_rates(reference):
    with Taken(reference, "drop_path") as taken, torch.device("meta"):
        model = backbone("resnet50", 1000, drop_path=0.05)
        blocks = {name: block for name, block in model.named_modules() if isinstance(block, Bottleneck)}
        rates = [[name, round(getattr(block.drop_path, "drop_prob", 0.0), 8)] for name, block in blocks.items()]
        assert rates == taken.pop("drop_path_resnet50_0.05")


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_original_numbers_of_parameters(reference, name):
    with Taken(reference, "counts") as taken, torch.device("meta"):
        told = taken.pop("params")
        assert list(told) == NETWORKS
        assert sum(p.numel() for p in backbone(name, 1000).parameters()) == told[name]


def test_resnet50_has_the_names_of_torchvision(reference):
    with Taken(reference, "names") as taken, torch.device("meta"):
        state = backbone("resnet50", 1000).state_dict()
        assert [[name, list(value.shape)] for name, value in state.items()] == taken.pop("resnet50_state_names")


@pytest.mark.parametrize("name", TINY)
def test_small_networks_compute_the_original_numbers(reference, references, name):
    with Taken(reference, "tiny", name) as taken:
        model = ResNet(TINY[name], (1, 1, 1, 1), num_classes=7, channels=(8, 16, 24, 32)).eval()
        assert sum(p.numel() for p in model.parameters()) == {"tiny_basic": 45_447, "tiny_bottleneck": 65_159}[name]
        weights = load_file(references / f"vision/rsb/{name.replace('tiny', 'tiny_resnet')}_state.safetensors")
        assert load_weights(model, weights, "x") == []
        x = taken.pop(f"{name}_x")
        y = model(x)
        y.square().sum().backward()
        torch.testing.assert_close(y, taken.pop(f"{name}_y"), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.conv1.weight.grad, taken.pop(f"{name}_conv1grad"), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(model.fc.weight.grad, taken.pop(f"{name}_fcgrad"), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(model.train()(x), taken.pop(f"{name}_y_train"), rtol=1e-5, atol=1e-5)
