"""The folders of the reference that hold an MDETR of the authors' program: weights, what it was given, and every number that it made."""

import json
import os
import pathlib
import re
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from pellucid.losses.grounding import word_targets
from pellucid.losses.matching import Matches, match
from pellucid.losses.set_prediction import Truth
from pellucid.nn.detr import Shape
from pellucid.nn.mdetr import Extras, Mdetr
from pellucid.nn.resnet import ResNet
from pellucid.tasks.grounding.names import from_published

PLACE = pathlib.Path(os.environ.get("PELLUCID_REFERENCE", pathlib.Path(__file__).parents[2] / "shared" / "reference")) / "detection"
LAYER = re.compile(r"aux(\d+)\.(.+)")


def configured(folder: pathlib.Path) -> dict:
    file = folder / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}


CASES = sorted(p.name for p in PLACE.iterdir() if "text_encoder" in configured(p)) if PLACE.is_dir() else []


@dataclass
class Case:
    """One folder of the reference; `told` is what it has as JSON."""

    config: dict
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    told: dict

    @classmethod
    def read(cls, folder: pathlib.Path) -> "Case":
        weights, inputs, outputs = (load_file(folder / f"{part}.safetensors") for part in ("weights", "inputs", "outputs"))
        return cls(configured(folder), weights, inputs, outputs, json.loads((folder / "losses.json").read_text()))

    @cached_property
    def net(self) -> Mdetr:
        net = network(self.config).eval()
        net.load_state_dict(from_published(self.weights))
        net.backbone.freeze()
        return net

    @property
    def given(self) -> list[Tensor]:
        return [self.inputs["padded"], self.inputs["mask"] == 0, self.inputs["input_ids"], self.inputs["attention_mask"] == 1]

    def of_examples(self, name: str) -> list[Tensor]:
        return [self.inputs[f"target{i}.{name}"] for i in range(len(self.inputs["mask"]))]

    def layers(self, name: str) -> Tensor:
        earlier = {int(found[1]): value for key, value in self.outputs.items() if (found := LAYER.fullmatch(key)) and found[2] == name}
        return torch.stack([*(earlier[i] for i in sorted(earlier)), self.outputs[name]])

    def maps(self, kind: str) -> list[Tensor]:
        return word_targets(self.inputs["positive_map_collated"].split([len(b) for b in self.of_examples("boxes")]), kind)

    def matched(self, kind: str) -> tuple[Truth, Matches]:
        truth = Truth(self.maps(kind), self.of_examples("boxes"))
        return truth, match(self.layers("pred_logits"), self.layers("pred_boxes"), truth.classes, truth.boxes)


def network(config: dict) -> Mdetr:
    stem, planes, blocks = re.search(r"stem (\d+), planes \(([\d,]+)\), blocks per stage \(([\d,]+)\)", config["backbone"]).groups()
    backbone = ResNet([int(n) for n in blocks.split(",")], [int(n) for n in planes.split(",")], int(stem))
    sizes = [config[key] for key in ("num_queries", "hidden_dim", "nheads", "enc_layers", "dec_layers", "dim_feedforward")]
    extras = Extras(
        config["contrastive_hdim"],
        config.get("predict_final", False),
        config.get("contrastive_loss", False),
        config.get("qa_dataset", ""),
        config["contrastive_align_loss"],
    )
    text = text_encoder(config["text_encoder"])
    masks = "per_head" if config.get("masks") else ""
    return Mdetr(backbone, Shape(255, *sizes, dropout=0.0), text, text.config.hidden_size, extras, mask_padding=False, masks=masks)


def text_encoder(text: str) -> RobertaModel:
    return RobertaModel(text_config(text))


def text_config(text: str) -> RobertaConfig:
    patterns = (r"vocab (\d+)", r"hidden (\d+)", r"(\d+) layers", r"(\d+) heads", r"intermediate (\d+)", r"max_pos (\d+)")
    vocab, hidden, layers, heads, inner, most = (int(re.search(pattern, text)[1]) for pattern in patterns)
    return RobertaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=most,
        type_vocab_size=1,
        pad_token_id=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def text_folder(case: Case, place: pathlib.Path) -> pathlib.Path:
    """The text encoder's configuration and tokenizer as a user has them: a folder without weights."""
    RobertaTokenizerFast.from_pretrained(PLACE / "mdetr_tokenizer").save_pretrained(place)
    text_config(case.config["text_encoder"]).save_pretrained(place)
    return place
