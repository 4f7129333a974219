"""The contract between the two wings: what a task promises, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Tensor, nn

Example = dict[str, Any]  # one row of a data set, under the names the task reads
Batch = dict[str, Any]  # every tensor and list in it has the example axis first
Output = dict[str, Tensor]  # what the model returns, untouched


@dataclass(frozen=True)
class Site:
    """A place in a model whose features can be read and replaced.

    Args:
        module: dotted name of a submodule that runs exactly once per forward.
        layout: einops pattern of the tensor there; `b` examples, `d` (or the axes named by `unit`) numbers per unit, every other
            axis counts units.
        side: whether the tensor is the module's first "input" or its "output".
        present: batch key of a bool `b n` mask, true where a unit is real; None if all are.
        axes: sizes that the pattern cannot infer.
        names: batch key of one list of words per example, naming its units or, with `groups`, its groups of units.
        groups: batch key of an int `b n` tensor, the group (word) of each unit, -1 for units in none (special tokens).
        along: batch keys of all tensors that run along the units (`b n ...`), the mask among them; given, units can be cut out
            of an example, the rest closing up.
        unit: axes of the layout whose numbers make one unit; `c p q` makes units of patches of pixels.
        picture: batch key of the uint8 `b 3 h w` pictures that the model saw, before their values were normalised; the grid of
            units lies evenly over the whole of them, its first row on top.
        grid: rows and columns of a picture's units where the layout does not count them in two axes: tokens in one row, of which
            `groups` says the patch, row * columns + column, and -1 for class and register tokens.
        zero: a unit of zeros says nothing, as what was done to a patch that is left alone; it takes the place of the mean unit wherever
            units are replaced by that.
        hides: units can be taken out by marking them as not real in `present`, the rest staying in place, as where answers name places.
        film: batch key of one `pellucid.data.clips.clip.Film` (or None) per example, which has a small picture of what each real unit was
            made of.

    Pictures in full, each with `picture="image_uint8"`:
        pixels in patches: Site("stem", "b c (h p) (w q)", side="input", unit="c p q", axes={"p": 16, "q": 16}); height and width
            of the tensor must be multiples of p and q. The module is the first that sees the normalised pixels.
        a feature map: Site("layer3", "b d h w"), or "b h w d" where channels come last.
        a transformer's tokens: Site("blocks.5", "b n d", groups="patch_of_token", grid=(14, 14)).
    Patches are named "row,column" from "0,0", unless `names` says otherwise.
    """

    module: str
    layout: str
    side: str = "output"
    present: str | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    names: str | None = None
    groups: str | None = None
    along: tuple[str, ...] = ()
    unit: str = "d"
    picture: str | None = None
    grid: tuple[int, ...] = ()
    zero: bool = False
    film: str | None = None
    hides: bool = False


@runtime_checkable
class Metric(Protocol):
    """A number gathered example by example; `merge` joins what two processes gathered."""

    higher_is_better: bool

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction against its example."""

    def merge(self, other: Any) -> None:
        """Adds what another accumulator of the same kind has gathered."""

    def compute(self) -> float:
        """The number so far; NaN before the first update."""


@runtime_checkable
class Task(Protocol):
    """Eight promises; `pellucid.testing.check_task` holds a task to them.

    `score_unit` ("log-probability" or "value") says what `score` returns. A task may also offer
    `prepare(examples, source) -> examples`: it checks rows before training (raising BadData with source and row)
    and does once per row what every batch would repeat, such as tokenising. A prepared example may carry `length`,
    by which batches of similar size are formed. Where training sees random views, `train_batch(examples, seeds) -> Batch` makes
    them in the place of `collate`, from one seed per example and nothing else, so that workers, processes and resuming change
    nothing. `takes = "image"` says that a path given to `predict` is a picture, and `needs = ("reference",)` that each comes with
    another to compare it with, or `("caption",)` with words to look for. `inputs = ("input", "words")` names the sites at which a task of
    several inputs is explained where none is asked for. Where answers are places, `places(output, answer, batch) -> dicts` says of each
    what it is asked for by, `answer`; of a box where it lies, `box_xyxy`, and how large the picture is, `size_hw`, both in its pixels;
    of a region which cells it has of a grid evenly over the whole picture, `region`: a text of 0 and 1 for each row, `["011", "001"]`.
    Where the first metric alone does not say how good a model is, as of two jobs, `headlines` names those that do, from the first.
    A task with labels may offer `gold(examples) -> answer`, the answer that each example's `label` names, so that the right
    answer, or any label, can be explained and not only the one given; where an example
    may have several labels, `predict` gives a list of names, or a dict that holds one as `labels`, the strongest first, which is
    the one that `answer` names, and each of them can be explained.

    Where a part of the loss is a mean over something else than examples, `amounts(batch) -> dict` says over how much in this batch, by
    the part's name and under the same names for every batch, as in `{"giou": 7.0}` for seven boxes; the parts of a step computed in
    several passes or processes are weighted by it, and a batch with none gives 0. The batch has not been moved to the device.
    `translate(tensors) -> tensors` gives published weights this model's names, so that training can start from such a file; `unread`
    are prefixes of what such files may hold that this model has nothing for.
    Where a model can be run in several calls, its `stages` name its methods for them: each takes a batch with what those before it gave,
    the last one gives what the model gives, and each can be exported by itself.

    Where the model writes its answer step by step, `force(examples, predictions) -> examples` gives examples that hold what is to be
    written: of these the model says in one pass, with a gradient, how likely that is. Explanations are of such examples, and a
    prediction that is forced scores as it did when it was written. `prediction(value)` makes a prediction of what the data set or
    another program gives as a plain value; `train_batch` forces the targets, and it is its batches that `loss` and `amounts` are of.
    """

    model: nn.Module  # model(batch) -> Output
    sites: Mapping[str, Site]  # where it can be explained; "input" is always there
    score_unit: str

    def collate(self, examples: Sequence[Example]) -> Batch:
        """One batch of the examples; masks are `*_present`, true where real."""

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Named parts, each a mean over examples, or over what `amounts` says; their sum is minimised."""

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """One prediction per example, in the data set's own units."""

    def metrics(self) -> dict[str, Metric]:
        """Fresh accumulators by name; the first is the one that chooses a checkpoint."""

    def answer(self, output: Output) -> Shaped[Tensor, "b ..."]:
        """Indices that name, per example, the statement to be explained."""

    def score(self, output: Output, answer: Shaped[Tensor, "b ..."]) -> Float[Tensor, " b"]:
        """How strongly the output makes that statement, in `score_unit`."""
