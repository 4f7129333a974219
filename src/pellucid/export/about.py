"""What a program needs to know that runs an exported model."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import pellucid
from pellucid.data.box_views import BoxView
from pellucid.data.joint_views import JointView
from pellucid.data.views import TestView
from pellucid.task import Example, Output, Task

if TYPE_CHECKING:
    from pellucid.run import Run

MOST = 30_000  # numbers of an output that are shown


def about(settings: Any, task: Task, example: Example, given: Mapping[str, Tensor], output: Output) -> dict[str, Any]:
    """Labels, preprocessing, settings, and one example with its outputs, by which a reader can tell that all is as it should be.

    Args:
        given: what the model was given of the example, of which pictures are left out, and `output` what it gave.
    """
    told = {
        "task": type(task).__name__,
        "labels": list(getattr(task, "labels", ())),
        "score_unit": task.score_unit,
        "preprocessing": _steps(task),
        "settings": asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {},
        "example": {
            **{key: value for key, value in example.items() if isinstance(value, (str, int, float))},
            "inputs": {key: value[0].tolist() for key, value in given.items() if value.ndim < 3},
            "prediction": task.predict(output, task.collate([example]))[0],
            "outputs": shown(output),
        },
        "versions": {"pellucid": pellucid.__version__, "torch": torch.__version__},
    }
    return json.loads(json.dumps(told, default=str))


def shown(output: Output) -> dict[str, Any]:
    """The numbers of the first example; without those outputs, as of every default box, that would make the file a large one."""
    return {key: value[0].tolist() for key, value in output.items() if value[0].numel() <= MOST}


def tensor(name: str, value: Tensor, free: Mapping[int, str]) -> dict[str, Any]:
    """A tensor's name, type and shape; a free size is a name."""
    return {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": [free.get(i, n) for i, n in enumerate(value.shape)]}


def copy_preprocessing(run: "Run", folder: pathlib.Path) -> dict[str, str]:
    """Copies vocabulary or tokenizer beside the model, where the run has any."""
    kept = run.folder / "preprocessing"
    if not kept.is_dir() or {path.name for path in kept.iterdir()} <= {"labels.json"}:
        return {}
    shutil.copytree(kept, folder)
    return {"preprocessing_folder": folder.name}


def _steps(task: Task) -> list[str]:
    view = getattr(getattr(task, "settings", None), "view", None)
    if isinstance(view, TestView):
        return picture_steps(view)
    if isinstance(view, BoxView):
        return [*box_steps(view), *(caption_steps(task.settings.num_tokens) if getattr(task, "reader", None) else ())]  # type: ignore[attr-defined]
    if isinstance(view, JointView):
        return joint_steps(view, task.settings)  # type: ignore[attr-defined]
    if hasattr(task, "tokenizer"):
        return [
            "tokens, segments (0 in the first text, 1 in the second) as the tokenizer of the preprocessing folder gives them",
            f"at most {getattr(task, 'max_length', 'all')} tokens a text; shorter ones filled up with 0, where tokens_present is false",
        ]
    return [f"as {type(task).__name__}.collate makes them of its examples"]


def box_steps(view: BoxView) -> list[str]:
    """How pictures become a detector's input, in words."""
    end = f", the long side ending at {view.longest}" if view.longest else ""
    return [
        "upright, 8-bit RGB",
        f"the short side to {view.short} pixels{end} (bilinear)",
        "channels first, values 0 to 255: the model normalises them itself",
        "a batch: 0 below and to the right, to the largest's sides and on to multiples of 32; pixel_present is true at real pixels",
    ]


def joint_steps(view: JointView, settings: Any) -> list[str]:
    """How pictures become the input of a network for boxes and a map, and how its numbers are read, in words."""
    steps = [
        "upright, 8-bit RGB",
        f"the whole picture to {view.size} x {view.size} pixels (bilinear), whatever its sides",
        "channels first, values 0 to 255: the model normalises them itself",
    ]
    if settings.jobs != "segmentation":
        shift, _, growth, _ = settings.variances
        steps += [
            "column 0 of class_logits is background, column k the k-th label: a box's probabilities are softmax(class_logits)",
            "boxes, default_boxes and offsets are middle x, middle y, width, height, of the picture's sides: a box's middle is the default "
            f"box's + {shift:g} x offset x its side, a side is its side x exp({growth:g} x offset)",
            f"boxes that overlap a likelier one of their class by more than {settings.suppress_iou:g} are left out by who reads the "
            f"numbers, as are those of a probability below {settings.least_score:g}",
        ]
    if settings.jobs != "detection":
        steps.append("channel 0 of map_logits is background, channel k the k-th label; enlarge the logits to the picture, bilinear")
    return steps


def caption_steps(most: int) -> list[str]:
    """How a caption becomes a text-conditioned detector's input, and what its numbers say, in words."""
    return [
        "tokens as the tokenizer of the preprocessing folder gives them, those that it adds at both ends among them",
        f"at most {most} tokens a caption; shorter ones filled up with 0, where tokens_present is false",
        "column i of logits is token i of the caption, the last column is no object: a box's score is 1 - softmax(logits)[last]",
    ]


def picture_steps(view: TestView) -> list[str]:
    """How a picture becomes an input, in words."""
    size, short = view.size, int(view.size / view.crop)
    fit = (
        f"the short side to {short} pixels ({view.interpolation}), then the middle {size} x {size}"
        if view.fit == "crop"
        else f"the whole picture to {size} x {size} pixels ({view.interpolation})"
    )
    return ["upright, 8-bit RGB", fit, "channels first, values 0 to 255: the model normalises them itself"]
