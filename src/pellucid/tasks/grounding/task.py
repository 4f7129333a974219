"""Text-conditioned detection: the objects that a caption names, each as a box with the words that it answers."""

import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor

from pellucid.data.boxes import Framed, masks_of, test_boxes, train_boxes
from pellucid.data.grounding.spans import spans_of, text_of
from pellucid.data.padded import bucket_length, picture_batch
from pellucid.data.pictures import readable, where
from pellucid.data.polygons import to_codes
from pellucid.data.read import require
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData, BadUsage
from pellucid.losses.grounding import Codes, alignment_loss, contrast_loss, final_loss, soft_token_loss, word_amount, word_targets
from pellucid.losses.masks import covered, set_mask_losses
from pellucid.losses.matching import Costs, match
from pellucid.losses.set_prediction import Truth, Weights, box_losses, named
from pellucid.metrics.fixed_ap import fixed_metrics
from pellucid.metrics.grounding import box_metrics, phrase_metrics, referring_metrics
from pellucid.metrics.phrases import phrase_cut_metrics
from pellucid.metrics.replies import reply_metrics
from pellucid.nn.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from pellucid.nn.detectors import shape_of, sites_of
from pellucid.nn.detr import layers_of
from pellucid.nn.map_backbones import map_backbone
from pellucid.nn.mdetr import Extras, Mdetr
from pellucid.nn.queries import placed, queries_of
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.grounding.captions import Reader, caption_batch, own_tokens, reader, restored, tokenised
from pellucid.tasks.grounding.model import GroundingModel
from pellucid.tasks.grounding.names import POOLER, ours
from pellucid.tasks.grounding.replies import Vocabulary, read_answers, vocabulary, write_answers
from pellucid.tasks.grounding.settings import GroundingSettings

ANY = -1  # in an answer: the query that says it most


class Grounding:
    """A picture and a caption to boxes, each with words of the caption.

    Examples hold `image`, `caption` and `objects` (`box_xyxy` in pixels, `spans` of the caption's characters that name it, perhaps
    `final` and `segmentation`); perhaps `answer`, where the caption is a question, `phrases`, `expression` and `corruption`. An answer is
    a query and words, written `the red cup@17`, or `the red cup`, of whichever query says so most.

    Args:
        replies: what questions can be answered with.
    """

    score_unit = "log-probability"
    takes = "image"
    inputs = ("input", "words")
    needs = ("caption",)

    def __init__(self, model: GroundingModel, read: Reader, settings: GroundingSettings, replies: Vocabulary | None = None):
        self.model, self.reader, self.settings, self.replies = model, read, settings, replies
        seen = sites_of(settings.patch)
        self.sites = {"input": seen.pop("input"), "words": _words_site(), **seen}

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read, with their captions as tokens; captions that name nothing stay.

        Raises:
            BadData: a column is missing, a picture broken, a caption empty or too long, a span outside of it, an answer of no known type;
                with the row.
        """
        require(examples, ("image", "caption"), source)
        if self.replies:
            self.replies.checked(examples)
        kept = readable(examples, source, self.settings.check, self.settings.broken)
        return [{**e, "length": bucket_length(e)} for e in tokenised(kept, self.reader.tokenizer, self.settings)]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`picture`, its masks, `size_hw`, tokens, and of objects, where there are any, `boxes_cxcywh`, `positive`, `own_tokens`, lists."""
        return self._batch(examples, [test_boxes(e, self.settings.view) for e in examples])

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of random views that lose no object."""
        view = self.settings.train_view
        return self._batch(examples, [train_boxes(e, view, seed, lose=False) for e, seed in zip(examples, seeds, strict=True)])

    def _batch(self, examples: Sequence[Example], framed: Sequence[Framed]) -> Batch:
        stride = self.model.net.backbone.stride
        batch = picture_batch([f.picture for f in framed], [f.size_hw for f in framed], self.settings.patch, stride)
        batch |= caption_batch(examples)
        if self.replies:
            batch |= self.replies.batch(examples)
        if not self.settings.detect or not all("objects" in e for e in examples):
            return batch
        shown = [torch.tensor(f.picture.shape[:0:-1]).repeat(2) for f in framed]  # width, height, width, height
        rows = [[e["objects"][i] for i in f.kept] for e, f in zip(examples, framed, strict=True)]
        length = batch["tokens"].shape[1]
        batch["boxes_cxcywh"] = [xyxy_to_cxcywh(f.boxes_xyxy / size) for f, size in zip(framed, shown, strict=True)]
        batch["own_tokens"] = [
            own_tokens([o["spans"] for o in some], e["tokens"].offsets.tolist(), length) for some, e in zip(rows, examples, strict=True)
        ]
        batch["positive"] = [self._slots(own) for own in batch["own_tokens"]]
        if self.settings.final:
            batch["final"] = [torch.tensor([bool(o.get("final", True)) for o in some]) for some in rows]
        if self.settings.masks:
            batch["masks"] = [masks_of(f, where(e)) for f, e in zip(framed, examples, strict=True)]
        return batch

    def _slots(self, own: Shaped[Tensor, "n t"]) -> Float[Tensor, "n c"]:
        """The map of an object's words over all slots, the last of which says that there is no object."""
        slots = torch.zeros(len(own), self.settings.num_tokens + 1)
        slots[:, : own.shape[1]] = own.float()
        return slots

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Detection's of each layer, the last under plain names; contrast; and of answers those of each head, as `reply_`; in nats."""
        told = self.settings
        parts = self._detection(output, batch) if told.detect else {}
        if told.contrast:
            parts["contrast"] = told.contrast * contrast_loss(output["picture_code"], output["caption_code"], told.temperature)
        if self.replies:
            parts |= {name: told.answer_weight * value for name, value in self.replies.losses(output, batch).items()}
        return parts

    def _detection(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Soft tokens in nats, distance of boxes, 1 - GIoU, alignment, finality of each layer; masks of the last."""
        told = self.settings
        logits, boxes = layers_of(output, "logits"), layers_of(output, "boxes_cxcywh")
        words = word_targets(batch["positive"], told.target)
        truth = Truth(words, batch["boxes_cxcywh"])
        matches = match(logits, boxes, words, truth.boxes, Costs(told.label_cost, told.box_cost, told.giou_cost))
        weight = told.soft_tokens or 1.0
        parts = box_losses(boxes, truth, matches, Weights(weight, told.box_weight, told.giou_weight, told.no_object_weight))
        amount, said = word_amount([len(rows) for rows in words]), truth
        if not told.soft_tokens:  # whether there is an object is learned all the same
            logits = torch.stack([logits[..., :-1].logsumexp(-1), logits[..., -1]], -1)
            said = Truth([rows.new_tensor([1.0, 0.0]).expand(len(rows), 2) for rows in words], truth.boxes)
        parts["ce"] = weight * soft_token_loss(logits, said, matches, told.no_object_weight, amount)
        if told.align:
            counted = None if told.align_padding else batch["tokens_present"]
            codes = Codes(layers_of(output, "query_code"), output["token_code"], counted)
            parts["align"] = told.align * alignment_loss(codes, batch["own_tokens"], truth, matches, told.temperature)
        if told.final:
            parts["final"] = told.final * final_loss(layers_of(output, "final"), batch["final"], truth, matches)
        if not told.masks:
            return named(parts)
        last, size = matches.of_layer(len(logits) - 1), batch["pixel_present"].shape
        return named(parts) | set_mask_losses(output["mask_logits"], batch["masks"], last, (size[1], size[2]), told.mask_padding)

    def amounts(self, batch: Batch) -> dict[str, float]:
        """Over how much each part of the loss is a mean: objects, and for words pictures without any, too; questions of a kind."""
        asked = self.replies.amounts(batch) if self.replies else {}
        if not self.settings.detect:
            return asked
        sizes = [len(boxes) for boxes in batch["boxes_cxcywh"]]
        each = dict.fromkeys(("bbox", "giou", "align", "final"), float(sum(sizes))) | {"ce": word_amount(sizes)}
        earlier = {f"{name}_{i}": value for name, value in each.items() for i in range(self.settings.decoder_layers - 1)}
        return each | earlier | dict.fromkeys(("mask", "dice"), each["bbox"]) | asked

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """All queries, the surest first: `boxes_xyxy` in pixels, `scores`, `queries`, and as `labels` and `spans` the words each answers.

        `token_probs` (q t) is how likely each query answers each token, `token_spans` the tokens' characters; `answers` are those from the
        threshold on, as `the red cup@17`. With a mask head there are `masks`, in run lengths; with heads that answer questions a `reply`
        of `type`, `value` and its probability, `score`.
        """
        probs = output["logits"].float().softmax(-1)
        scores = 1 - probs[..., -1]
        height, width = batch["size_hw"].unbind(1)
        boxes = cxcywh_to_xyxy(output["boxes_cxcywh"].float()) * rearrange(torch.stack([width, height, width, height]), "d b -> b 1 d")
        order = scores.argsort(stable=True, dim=-1, descending=True)
        found = []
        for i, rows in enumerate(order):
            spans = batch["token_spans"][i].tolist()
            told = {"boxes_xyxy": boxes[i][rows].tolist(), "scores": scores[i][rows].tolist(), "queries": rows.tolist()}
            if "final" in output:
                told["final_scores"] = (scores[i] * output["final"][i].float().sigmoid())[rows].tolist()
            if "mask_logits" in output:
                told["masks"] = to_codes(covered(output["mask_logits"][i], batch, i, rows, self.settings.mask_padding, smooth=True))
            found.append(told | self._worded(probs[i][rows][:, : len(spans)].cpu(), spans, batch["caption"][i], told))
        replies = self.replies.told(output) if self.replies else []
        return [one | {"reply": reply} for one, reply in zip(found, replies, strict=True)] if replies else found

    def _worded(self, probs: Float[Tensor, "q t"], spans: list[list[int]], caption: str, told: dict[str, Any]) -> dict[str, Any]:
        """The words of each query: those tokens that are likely enough, and of a box that is shown at least the likeliest."""
        likely = probs > self.settings.word_threshold
        shown = torch.tensor(told["scores"]) >= self.settings.threshold
        likely |= (probs == probs.amax(-1, keepdim=True)) & (shown & ~likely.any(-1))[:, None]
        chosen = [spans_of(row, spans) for row in likely.tolist()]
        labels = [text_of(some, caption) for some in chosen]
        each = zip(labels, told["queries"], told["scores"], strict=True)
        answers = [f"{label}@{query}" for label, query, score in each if score >= self.settings.threshold]
        return {"labels": labels, "spans": chosen, "token_probs": probs.detach().numpy(), "token_spans": spans, "answers": answers}

    def metrics(self) -> dict[str, Metric]:
        """Those of what is learned, and what else `measure` names; the ones that it names come first."""
        told, kinds = self.settings, dict[str, dict[str, Metric]]()
        if told.detect:
            kinds = {"expressions": referring_metrics(told.hit), "phrases": phrase_metrics(), "boxes": box_metrics(bool(told.masks))}
        if self.replies:
            kinds["replies"] = reply_metrics(not self.replies.unified)
        if told.measure == "phrase_cut":
            kinds["phrase_cut"] = phrase_cut_metrics(bool(told.masks), told.threshold)
        if told.measure == "lvis":
            kinds["lvis"] = fixed_metrics()
        order = sorted(kinds, key=lambda kind: kind != told.measure)
        return {name: metric for kind in order for name, metric in kinds[kind].items()}

    def answer(self, output: Output) -> Shaped[Tensor, "b s"]:
        """The surest query and the slots of the words that it answers, at least of the likeliest."""
        probs = output["logits"].float().softmax(-1)
        query = probs[..., -1].argmin(-1)
        words = probs[torch.arange(len(query), device=query.device), query, :-1]
        slots = words > words.amax(-1, keepdim=True).clamp(max=self.settings.word_threshold)
        slots |= words == words.amax(-1, keepdim=True)
        return torch.cat([query[:, None], slots.long()], -1)

    def places(self, output: Output, answer: Shaped[Tensor, "b s"], batch: Batch) -> list[dict[str, Any]]:
        """What each answer is called, the words and of one query which, and its box."""
        return placed(output["boxes_cxcywh"], queries_of(output["logits"], answer), _called(answer, batch), batch["size_hw"])

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, "b s"]:
        """Query and words that each example's `label` names: `the red cup@17`; of `the red cup`, or of its first object, the query is any.

        Raises:
            BadData: an example without a label or objects.
            BadUsage: words that are not in the caption, or a query that the model does not have.
        """
        return torch.stack([self._asked(e) for e in examples])

    def _asked(self, example: Example) -> Shaped[Tensor, " s"]:
        caption = example["caption"]
        if "label" in example:
            words, query = self._parted(str(example["label"]), caption)
            at = caption.casefold().find(words.casefold())
            spans = [[at, at + len(words)]]
        elif example.get("objects"):
            query, spans = ANY, example["objects"][0]["spans"]
        else:
            raise BadData(f"{where(example)}: it has no object whose detection could be explained")
        bare = {key: value for key, value in example.items() if key != "objects"}  # spans of others may not be of this model's tokens
        [prepared] = tokenised([bare], self.reader.tokenizer, self.settings)
        own = own_tokens([spans], prepared["tokens"].offsets.tolist(), self.settings.num_tokens)
        return torch.cat([torch.tensor([query]), own[0].long()])

    def _parted(self, label: str, caption: str) -> tuple[str, int]:
        """Words of the caption and a query; the words may hold an @."""
        for words, query in ((label, ""), label.rpartition("@")[::2]):
            if words and words.casefold() in caption.casefold():
                if query and not (query.isdecimal() and int(query) < self.settings.num_queries):
                    raise BadUsage(f"answer {label!r}: no query {query!r}; there are 0 to {self.settings.num_queries - 1}")
                return words, int(query) if query else ANY
        raise BadUsage(f"answer {label!r}: no such words in the caption {caption!r}")

    def score(self, output: Output, answer: Shaped[Tensor, "b s"]) -> Float[Tensor, " b"]:
        """log p(one of the words at the query) in nats; of any query, the highest."""
        query, slots = answer[:, 0], answer[:, 1:].bool()
        log_probs = output["logits"].float().log_softmax(-1)[..., :-1]  # b q t
        told = log_probs.masked_fill(~slots[:, None], -torch.inf).logsumexp(-1)
        at = told.gather(-1, query.clamp_min(0)[:, None])[:, 0]
        return torch.where(query == ANY, told.amax(-1), at)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published weights under our names."""
        return ours(tensors)

    @property
    def unread(self) -> tuple[str, ...]:
        """What published weights hold of a text encoder, and only a contrast of pictures and captions reads."""
        return () if self.settings.contrast else (POOLER,)


def _called(answer: Shaped[Tensor, "b s"], batch: Batch) -> list[str]:
    """Each answer as it can be asked for."""
    told = []
    for (query, *slots), spans, caption in zip(answer.tolist(), batch["token_spans"], batch["caption"], strict=True):
        words = text_of(spans_of(list(map(bool, slots[: len(spans)])), spans.tolist()), caption)
        told.append(words if query == ANY else f"{words}@{query}")
    return told


def _words_site() -> Site:
    """The caption's words, as the text encoder is given them."""
    return Site("net.text.words", "b n d", present="tokens_present", names="words", groups="word_of_token", hides=True)


# ---- building ---------------------------------------------------------------------------------------------------------


def check(settings: GroundingSettings) -> None:
    """Whether the settings go together.

    Raises:
        BadUsage: they do not, and which.
    """
    told, alone = settings, "task.detect=false"
    if told.masks and told.contrast:
        raise BadUsage(f"task.masks={told.masks}, task.contrast={told.contrast:g}: no mask head learns beside a contrast; leave one out")
    if not told.soft_tokens and not told.align:
        raise BadUsage("task.soft_tokens=0, task.align=0: nothing would say which words a box answers; leave one on")
    if not told.detect and (told.masks or not told.answers):
        what = f"task.masks={told.masks} needs boxes" if told.masks else "nothing is learned without task.answers"
        raise BadUsage(f"{alone}: {what}")
    if not told.answers and (told.answer_list or told.measure == "replies"):
        what = f"answer_list={told.answer_list}" if told.answer_list else "measure=replies"
        raise BadUsage(f"task.{what}: there are no heads that answer; name them with task.answers")
    if not told.detect and told.measure in ("phrase_cut", "lvis"):
        raise BadUsage(f"{alone}: task.measure={told.measure} is of boxes; measure replies")


def network(settings: GroundingSettings, read: Reader, pretrained: str) -> GroundingModel:
    """The detector that the settings describe; `pretrained` weights are the backbone's. Without boxes, what only they need is frozen."""
    backbone = map_backbone(settings.backbone, pretrained, settings.dilate, settings.frozen)
    extras = Extras(settings.align_width, bool(settings.final), bool(settings.contrast), settings.answers, bool(settings.align))
    sizes = shape_of(settings, settings.num_tokens)
    net = Mdetr(backbone, sizes, read.encoder, read.width, extras, settings.mask_padding, settings.masks)
    if not settings.detect:
        heads = (net.class_head, net.box_head, net.final_head, net.align_queries, net.align_tokens)
        for part in (*net.decoder.layers[1:], *(head for head in heads if head is not None)):
            part.requires_grad_(False)
    mean, std = settings.view.mean or IMAGENET_MEAN, settings.view.std or IMAGENET_STD
    aligned = None if settings.soft_tokens else settings.temperature
    return GroundingModel(net, mean, std, settings.aux_loss and settings.detect, aligned)


def build(settings: GroundingSettings, train: Sequence[Example]) -> Grounding:
    """The task as `settings` say, with pretrained backbone and text encoder; what it can answer, the settings or the examples tell."""
    check(settings)
    needed = ("image", "caption", "objects") if settings.detect else ("image", "caption")
    require(train, needed, str(train[0]["id"]) if train else "training set")
    replies = vocabulary(settings.answers, settings.answer_list, train) if settings.answers else None
    read = reader(settings, [e["caption"] for e in train])
    return Grounding(network(settings, read, settings.pretrained), read, settings, replies)


def restore(settings: GroundingSettings, folder: pathlib.Path) -> Grounding:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    check(settings)
    read = restored(settings, folder)
    return Grounding(network(settings, read, ""), read, settings, read_answers(folder) if settings.answers else None)


def write(task: Grounding, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    folder.mkdir(parents=True, exist_ok=True)
    task.reader.tokenizer.save(folder)
    task.reader.encoder.config.save_pretrained(folder)  # type: ignore[union-attr, operator]
    if task.replies:
        write_answers(task.replies, folder)
