"""The plain values of text-conditioned detection, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.box_views import BoxTrainView, BoxView

if TYPE_CHECKING:
    from pellucid.tasks.grounding.task import Grounding


@dataclass(frozen=True)
class GroundingSettings:
    """One picture and a caption in; out, for each of so many queries, a box and the words that it answers. The numbers are MDETR's.

    Args:
        backbone: resnet18, resnet34, resnet50, resnet101, resnet_tiny; or `timm:NAME`, any of timm's that gives feature maps.
        pretrained: of the backbone: `auto` takes the weights that a registry package carries, `hub` timm's copy of torchvision's first
            ones, a path a safetensors file; empty starts from random weights.
        text: the encoder of captions: `minilm`, `bge-small`, `bert-tiny`, or any folder or hub name of transformers; or `words`, a small
            transformer over the training captions' words, for training from scratch.
        words: that `words` knows in their place, so that one run can start from another with other captions.
        from_random: the text encoder starts from random weights.
        freeze_text: it does not learn.
        dilate: a ResNet's last stage keeps the resolution, four times the cells.
        frozen: what of the backbone does not train: the `stem` and first stage, `all`, or nothing.
        pre_norm: norms come before attention, which learns sooner from random weights; the authors' come after.
        num_tokens: slots of the map from boxes to words; a caption of more tokens is refused, or cut where `long` says so.
        long: `refuse` or `cut` captions of more tokens than that.
        target: of a box's words in the loss and the match: each 1 (`binary`, as the authors' program does), or together 1 (`uniform`, as
            the paper says).
        align: weight of the contrastive alignment of queries and words; 0 leaves it out.
        align_width: of its projections; `temperature` divides their products.
        align_padding: padding and special tokens take part in its denominators, as in the authors' program, where a caption's loss
            depends on the captions beside it.
        soft_tokens: weight of the soft token prediction; 0 leaves it out (an ablation: then a query only learns whether there is an object,
            and its `align` says which words).
        final: weight of `isfinal`, whether a box is what the whole caption asks for; 0 for no such head.
        contrast: weight of the image-text contrastive loss; 0 for none.
        answers: heads that answer the caption as a question, of examples' `answer`, from the first decoder layer: `gqa`, a head for each
            type of answer, `gqa_unified`, one for all, or `clevr`; empty for none.
        answer_list: a JSON file of GQA's answers by type, `{"obj": ["no", "yes"], ...}`, or the authors' own; published weights need it.
            Without, they are those of the training examples. CLEVR's are known.
        answer_weight: of each head's loss; the authors took 25 for GQA, 1 for CLEVR.
        detect: boxes and their words are learned, and every training example has objects, perhaps none; without, answers alone are.
        masks: a mask for each query, too, whose attention sums to 1 for each head; every object has a segmentation then. The authors learn
            it on a detector that stays as it is (`optim.lr_scale` 0).
        aux_loss: every decoder layer is told what it got wrong, not only the last.
        mask_padding: padding changes no prediction; the published weights were trained without.
        threshold: probability (1 - that of no object) from which a box is shown and can be asked about.
        word_threshold: probability from which a word is told as one that a box answers.
        hit: overlap by which a referred box is found: `iou`, or `giou` as the authors' program has it; both are told.
        measure: whose numbers come first, and choose a checkpoint: of referred boxes (`expressions`), of `phrases`, of all `boxes`, or of
            answers (`replies`); and, which are told only then, of all that a phrase speaks of (`phrase_cut`: the captions are the phrases,
            boxes and masks above the threshold answer them together), or of classes asked for one by one (`lvis`: fixed average
            precision; a caption is a class).
        patch: side of the square patches of pixels by which a picture is explained.
        check: what is looked at of every picture before training: nothing, its header, or all of it.
        broken: pictures that cannot be read stop the run, or are left out and counted.
    """

    backbone: str = "resnet101"
    pretrained: str = "hub"
    text: str = "roberta-base"
    words: tuple[str, ...] = ()
    from_random: bool = False
    freeze_text: bool = False
    dilate: bool = False
    frozen: Literal["", "stem", "all"] = "stem"
    view: BoxView = BoxView()
    train_view: BoxTrainView = BoxTrainView(flip=0.0, crop_range=(384, 1333))
    num_queries: int = 100
    width: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward: int = 2048
    dropout: float = 0.1
    pre_norm: bool = False
    num_tokens: int = 255
    long: Literal["refuse", "cut"] = "refuse"
    target: Literal["binary", "uniform"] = "binary"
    align: float = 1.0
    align_width: int = 64
    temperature: float = 0.07
    align_padding: bool = False
    soft_tokens: float = 1.0
    final: float = 0.0
    contrast: float = 0.0
    answers: Literal["", "gqa", "gqa_unified", "clevr"] = ""
    answer_list: str = ""
    answer_weight: float = 1.0
    detect: bool = True
    masks: Literal["", "per_head"] = ""
    aux_loss: bool = True
    mask_padding: bool = True
    label_cost: float = 1.0
    box_cost: float = 5.0
    giou_cost: float = 2.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    no_object_weight: float = 0.1
    threshold: float = 0.7
    word_threshold: float = 0.1
    hit: Literal["iou", "giou"] = "iou"
    measure: Literal["expressions", "phrases", "boxes", "replies", "phrase_cut", "lvis"] = "boxes"
    patch: int = 32
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    @property
    def position(self) -> Literal["sine", "learned"]:
        """Always of sines."""
        return "sine"

    def build(self, train: Sequence[dict[str, Any]]) -> "Grounding":
        """The task with pretrained backbone and text encoder.

        Raises:
            BadUsage: settings that do not go together.
        """
        from pellucid.tasks.grounding import task

        return task.build(self, train)

    def write(self, task: "Grounding", folder: pathlib.Path) -> None:
        """Tokenizer and configuration of the text encoder, and what can be answered."""
        from pellucid.tasks.grounding import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Grounding":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.grounding import task as room

        return room.restore(self, folder)
