"""Text classification and regression, of one text or two."""

import json
import logging
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig

from pellucid.coerce import natural
from pellucid.data import encoders
from pellucid.data.read import require
from pellucid.data.tokens import Tokenizer, Words, load_pieces, load_tokenizer
from pellucid.errors import BadData
from pellucid.metrics.classification import Accuracy, MacroF1
from pellucid.metrics.regression import RMSE, Pearson, Spearman
from pellucid.nn.language import blocks, encoder_of
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.text_classification.data import read_vectors
from pellucid.tasks.text_classification.model import Baseline, Encoder, load_encoder
from pellucid.tasks.text_classification.settings import BASELINES, TextSettings

log = logging.getLogger("pellucid")


class TextClassification:
    """A text, or two, to one of `labels`; with no labels, to a number.

    Examples hold `text`, perhaps `text_pair`, and `label`: a name or a number.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, labels: Sequence[str], max_length: int, pairs: bool):
        self.model, self.tokenizer, self.labels, self.max_length, self.pairs = model, tokenizer, tuple(labels), max_length, pairs
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.score_unit = "log-probability" if self.labels else "value"
        self.sites = sites_of(model)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Tokens and checked labels, once per example.

        Raises:
            BadData: a column is missing, a label unknown, a value not a finite number; with the row.
        """
        require(examples, ("text", "text_pair") if self.pairs else ("text",), source)
        pairs = [e["text_pair"] for e in examples] if self.pairs else None
        encoded = self.tokenizer.encode([e["text"] for e in examples], pairs, self.max_length)
        return [
            {
                **e,
                **({"label": self._label(e, source)} if "label" in e else {}),
                "tokens": t,
                "length": len(t.tokens),
                "truncated": t.truncated,
            }
            for e, t in zip(examples, encoded, strict=True)
        ]

    def _label(self, example: Example, source: str) -> str | float:
        label, where = example["label"], f"{source}, row {example.get('id', '?')}"
        if not self.labels:
            return number(label, where)
        if str(label) not in self.index:
            raise BadData(f"{where}: label {label!r} is not one of {', '.join(self.labels)}; map it with --label {label}=NAME")
        return str(label)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`tokens`, `segments`, `word_of_token` (b n), `tokens_present`, `words`, and `label` where the examples have one."""
        if "tokens" not in examples[0]:
            examples = self.prepare(examples, "examples")
        encoded = [e["tokens"] for e in examples]
        tokens = _pad([e.tokens for e in encoded], -1)
        batch = {
            "tokens": tokens.clamp_min(0),
            "tokens_present": tokens >= 0,
            "segments": _pad([e.segments for e in encoded], 0),
            "word_of_token": _pad([e.word_of_token for e in encoded], -1),
            "words": [t.words(e["text"], e.get("text_pair")) for e, t in zip(examples, encoded, strict=True)],
        }
        if all("label" in e for e in examples):
            kind = torch.long if self.labels else torch.float32
            batch["label"] = torch.tensor([self.index[e["label"]] if self.labels else e["label"] for e in examples], dtype=kind)
        return batch

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy in nats, or squared error."""
        if self.labels:
            return {"cross_entropy": F.cross_entropy(output["logits"].float(), batch["label"])}
        return {"squared_error": F.mse_loss(output["value"].float(), batch["label"])}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """Label names, or numbers."""
        return [self.labels[i] for i in output["logits"].argmax(-1).tolist()] if self.labels else output["value"].float().tolist()

    def metrics(self) -> dict[str, Metric]:
        """Accuracy and macro F1, or Pearson, Spearman and root mean squared error."""
        if self.labels:
            return {"accuracy": Accuracy(), "macro_f1": MacroF1()}
        return {"pearson": Pearson(), "spearman": Spearman(), "rmse": RMSE()}

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        """The likeliest label's index; 0 for a value."""
        return output["logits"].argmax(-1) if self.labels else torch.zeros_like(output["value"], dtype=torch.long)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, " b"]:
        """The answers that the examples' labels name.

        Raises:
            BadData: an example without a label, or with one that the model does not know.
        """
        require(examples, ("label",), "explaining the gold answer")
        for example in examples:
            if self.labels and str(example["label"]) not in self.index:
                raise BadData(f"answer {example['label']!r}: not one of {', '.join(self.labels)}")
        return torch.tensor([self.index[str(e["label"])] if self.labels else 0 for e in examples])

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log p(label) in nats, or the value."""
        if not self.labels:
            return output["value"].float()
        return output["logits"].float().log_softmax(-1).gather(-1, answer[:, None])[:, 0]


def number(value: Any, where: str) -> float:
    """A finite number.

    Raises:
        BadData: it is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise BadData(f"{where}: label {value!r} is not a number; for named classes use --set task.target=classes") from None
    if not math.isfinite(found):
        raise BadData(f"{where}: label is {value}; remove the row or give a number")
    return found


def _pad(rows: Sequence[Any], fill: int) -> Shaped[Tensor, "b n"]:
    return pad_sequence([torch.from_numpy(row).long() for row in rows], batch_first=True, padding_value=fill)


# ---- sites ------------------------------------------------------------------------------------------------------------


def sites_of(model: nn.Module) -> Mapping[str, Site]:
    """`input` (word vectors), and of an encoder `embedding` and `layer.k`, found by the model's own structure."""
    found = {"input": _input_name(model)}
    if isinstance(model, Encoder):
        if hasattr(model.encoder, "embeddings"):
            found["embedding"] = "encoder.embeddings"
        count = getattr(model.encoder.config, "num_hidden_layers", 0)
        found |= {f"layer.{k}": name for k, name in enumerate(blocks(model, model.encoder, count))}
    along = ("tokens", "tokens_present", "segments", "word_of_token")
    return {
        name: Site(module, "b n d", present="tokens_present", names="words", groups="word_of_token", along=along)
        for name, module in found.items()
    }


def _input_name(model: nn.Module) -> str:
    inner = model.encoder.get_input_embeddings() if isinstance(model, Encoder) else model.embedding  # type: ignore[operator]
    return next(name for name, module in model.named_modules() if module is inner)


# ---- building ---------------------------------------------------------------------------------------------------------


def build(settings: TextSettings, train: Sequence[Example]) -> TextClassification:
    """The task as `settings` say, its labels and vocabulary from the training examples."""
    source = train[0]["id"] if train else "training set"
    require(train, ("text", "label"), str(source))
    pairs = "text_pair" in train[0]
    labels = _labels(train) if settings.target == "classes" else ()
    if settings.model in BASELINES:
        texts = (t for e in train for t in (e["text"], e.get("text_pair") or ""))
        tokenizer: Tokenizer = Words.learn(texts)
        model: nn.Module = _baseline(settings, tokenizer.vocabulary, len(labels), pairs)  # type: ignore[attr-defined]
        if settings.vectors:
            _fix_vectors(model, settings.vectors, tokenizer.vocabulary)  # type: ignore[attr-defined]
        return TextClassification(model, tokenizer, labels, settings.max_length, pairs)
    place = _place(settings.model)
    encoder = load_encoder(place, settings.dropout, settings.from_random)
    model = Encoder(encoder, len(labels) or 1, not labels, settings.pooling, settings.head_dropout)
    task = TextClassification(model, load_pieces(place), labels, _most(settings, encoder), pairs)
    if settings.start_head:
        start_head(task, train)
    return task


def restore(settings: TextSettings, folder: pathlib.Path) -> TextClassification:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    about = json.loads((folder / "labels.json").read_text())
    labels, pairs = about["labels"], about["pairs"]
    tokenizer = load_tokenizer(folder)
    if isinstance(tokenizer, Words):
        model: nn.Module = _baseline(settings, tokenizer.vocabulary, len(labels), pairs)
        return TextClassification(model, tokenizer, labels, settings.max_length, pairs)
    encoder = encoder_of(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    model = Encoder(encoder, len(labels) or 1, not labels, settings.pooling, settings.head_dropout)
    return TextClassification(model, tokenizer, labels, _most(settings, encoder), pairs)


def write(task: TextClassification, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps({"labels": list(task.labels), "pairs": task.pairs}) + "\n")
    task.tokenizer.save(folder)
    task.model.save_config(folder)  # type: ignore[operator]


def _labels(train: Sequence[Example]) -> tuple[str, ...]:
    found = {str(e["label"]) for e in train}
    if len(found) < 2:
        raise BadData(f"{train[0]['id']}: every label is {next(iter(found))!r}; a classifier needs two or more")
    if len(found) > max(100, len(train) // 10):
        raise BadData(f"{train[0]['id']}: {len(found)} labels in {len(train)} rows; for numbers use --set task.target=value")
    return tuple(sorted(found, key=natural))


def _baseline(settings: TextSettings, vocabulary: Sequence[str], num_labels: int, pairs: bool) -> Baseline:
    value = settings.target == "value"
    return Baseline(settings.model, len(vocabulary), num_labels or 1, value, pairs, settings.scale, settings.official_sum)


def _fix_vectors(model: nn.Module, path: str, vocabulary: Sequence[str]) -> None:
    try:
        table = torch.from_numpy(read_vectors(pathlib.Path(path), vocabulary))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadData(f"task.vectors={path}: {error}") from None
    if table.shape[1] != model.embedding.weight.shape[1]:  # type: ignore[union-attr, index]
        raise BadData(f"task.vectors={path}: vectors of {table.shape[1]} numbers; the baselines take 300")
    model.embedding = nn.Embedding.from_pretrained(table, freeze=True)


def _place(model: str) -> str:
    return str(encoders.encoder_folder(model)) if model in encoders.ENCODERS else model


def _most(settings: TextSettings, encoder: nn.Module) -> int:
    return min(settings.max_length, getattr(encoder.config, "max_position_embeddings", settings.max_length))


@torch.no_grad()
def start_head(task: TextClassification, train: Sequence[Example], batch_size: int = 64, strength: float = 0.1) -> None:
    """Sets the head to a logistic (or ridge) regression on the frozen encoder's features.

    Fine-tuning from a random head first distorts good features; from this one it need not. Source: Kumar et al. 2022, LP-FT.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    task.model.eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task.model.to(device)
    rows = sorted(task.prepare(train, "training set"), key=lambda e: -e["length"])
    features = []
    for first in range(0, len(rows), batch_size):
        batch = task.collate(rows[first : first + batch_size])
        moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        with torch.autocast(device.type, torch.bfloat16):
            features.append(task.model.features(moved).float().cpu())  # type: ignore[operator]
    x, head = torch.cat(features).numpy(), task.model.head
    if task.labels:
        fit = LogisticRegression(C=strength, max_iter=2000).fit(x, [task.index[e["label"]] for e in rows])
    else:
        fit = Ridge(alpha=1 / strength).fit(x, [[e["label"]] for e in rows])
    weight, bias = torch.as_tensor(fit.coef_).float(), torch.as_tensor(fit.intercept_).float()
    if len(task.labels) == 2:  # one row of log-odds becomes two logits
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head.weight.copy_(weight)  # type: ignore[union-attr, operator]
    head.bias.copy_(bias)  # type: ignore[union-attr, operator]
    log.info("head started from a regression on %d frozen features", len(rows))
