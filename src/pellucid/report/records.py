"""What the files of a run folder hold, as types; the reader checks every file against them."""

from typing import Any, NotRequired, TypedDict

Number = float | None  # NaN is written as null or NaN


class Environment(TypedDict, total=False):
    """Where and how the run was made; `truncated` is the share of shortened examples by set."""

    task: str
    pellucid: str
    torch: str
    python: str
    commit: str | None
    seed: int | None
    processes: int | None
    num_parameters: int | None
    train_time_s: Number
    truncated: dict[str, Number]
    command: str


class Value(TypedDict):
    """One metric of one set."""

    value: Number
    higher_is_better: bool


class Evaluated(TypedDict):
    """One set, measured."""

    n: int
    metrics: dict[str, Value]


class Evaluate(TypedDict):
    """results/evaluate.json."""

    sets: dict[str, Evaluated]


class Shifted(Value):
    """One metric with its interval and its change from home."""

    low: NotRequired[Number]
    high: NotRequired[Number]
    drop: NotRequired[Number]
    drop_low: NotRequired[Number]
    drop_high: NotRequired[Number]


class Bin(TypedDict):
    """One bin of a reliability plot; means are null where it is empty."""

    low: float
    high: float
    confidence: Number
    accuracy: Number
    n: int


class Calibration(TypedDict):
    """Expected calibration error before and after one temperature fitted at home."""

    ece: Number
    temperature: NotRequired[Number]
    ece_after: NotRequired[Number]
    bins: list[Bin]


class ShiftedSet(TypedDict):
    """One set of results/shift.json."""

    n: int
    metrics: dict[str, Shifted]
    calibration: NotRequired[Calibration | None]


class Spoiled(TypedDict):
    """One kind of corruption: the first metric by severity, and its error as a share of the baseline's."""

    values: dict[str, Number]
    mean: Number
    error: NotRequired[Number]


class SpoiledBeside(TypedDict):
    """Another metric of corrupted copies."""

    clean: Number
    kinds: dict[str, Spoiled]
    mean: Number


class Corruption(TypedDict):
    """What corrupted copies of home cost; `beside` tells further metrics by name."""

    metric: str
    clean: Number
    kinds: dict[str, Spoiled]
    mean: Number
    baseline: NotRequired[str | None]
    mce: NotRequired[Number]
    relative_mce: NotRequired[Number]
    complete: NotRequired[bool]
    beside: NotRequired[dict[str, SpoiledBeside] | None]


class Shift(TypedDict):
    """results/shift.json; `headlines` are the metrics that say how good a run is, where the first alone does not."""

    home: str
    sets: dict[str, ShiftedSet]
    headlines: NotRequired[list[str] | None]
    corruption: NotRequired[Corruption | None]


class Detector(TypedDict):
    """How well one method tells a set from home; `roc` holds (false, true) alarm shares."""

    auroc: Number
    aupr: Number
    base_rate: NotRequired[Number]
    far95: Number
    roc: NotRequired[list[list[float]]]


class Detected(TypedDict):
    """One set of results/detection.json."""

    n: int
    methods: dict[str, Detector]


class Detection(TypedDict):
    """results/detection.json."""

    home: str
    positive: str
    sets: dict[str, Detected]


class Object(TypedDict):
    """An object in a picture, its box in pixels; `spans` are the characters of a caption that it answers, or that name it."""

    label: str
    box_xyxy: list[Number]
    score: NotRequired[Number]
    spans: NotRequired[list[list[int]]]


class ObjectsPicture(TypedDict):
    """A picture as a data URI, its size in pixels, what was found in it and what is there."""

    id: str
    src: str
    width: int
    height: int
    caption: NotRequired[str]
    found: list[Object]
    objects: list[Object]


class Objects(TypedDict):
    """results/objects.json: some pictures of one set, with what scores the threshold or more, and by set the first metric by class.

    Of captions it is `metric` by their kind.
    """

    threshold: float
    labels: NotRequired[list[str]]
    set: str
    pictures: list[ObjectsPicture]
    classes: dict[str, dict[str, Number]]
    metric: NotRequired[str]
    by: NotRequired[str]


class Counted(TypedDict):
    """How many of n sequences are right, and the 95% interval of the share."""

    n: int
    right: int
    low: NotRequired[Number]
    high: NotRequired[Number]


class OfLength(Counted):
    """Those whose target has from `least` to `most` words."""

    least: int
    most: int


class OfDepth(Counted):
    """Those of one depth of recursion."""

    depth: int


class KindsMean(TypedDict):
    """The mean share of some categories, each with the same weight."""

    mean: Number
    kinds: list[str]


class Sequences(Counted):
    """Written sequences by category, length and depth (of each category that has one), and means of groups of categories."""

    categories: dict[str, Counted]
    groups: dict[str, KindsMean]
    lengths: list[OfLength]
    depths: dict[str, list[OfDepth]]


class WrongSequence(TypedDict):
    """A sequence that is not its target, in words; `more` of them followed that are not kept."""

    id: str
    text: str
    category: NotRequired[str | None]
    kind: str
    target: list[str]
    made: list[str]
    more: NotRequired[int]
    score: NotRequired[Number]


class SequenceSet(Sequences):
    """One set of results/parses.json; `unknown` targets hold pieces that the tokenizer does not know."""

    right_by_ids: NotRequired[int | None]
    unknown: NotRequired[int]
    errors: dict[str, int]
    examples: list[WrongSequence]


class TogetherSets(Sequences):
    """Sets of different categories as one."""

    sets: list[str]


class Parses(TypedDict):
    """results/parses.json: what was written of each set."""

    score_unit: NotRequired[str]
    sets: dict[str, SequenceSet]
    together: NotRequired[TogetherSets | None]


class LeakedRow(TypedDict):
    """A test row and the training row that it repeats; `label` says whether theirs is the "same" or an "other"."""

    test_id: str
    train_id: str
    kind: str
    label: NotRequired[str]


class Leaked(TypedDict):
    """One set of results/leaks.json; where rows have labels, of how many of the exact and near ones they are the same."""

    n: int
    exact: int
    near: int
    same_label: NotRequired[int]
    other_label: NotRequired[int]
    near_same_label: NotRequired[int]
    examples: NotRequired[list[LeakedRow]]


class Leaks(TypedDict):
    """results/leaks.json."""

    train: int
    sets: dict[str, Leaked]


class Degradation(TypedDict):
    """Score as words are removed in three orders."""

    fractions: list[float]
    most_first: list[Number]
    least_first: list[Number]
    random: list[Number]
    area: Number
    random_area: NotRequired[Number]


class Relevance(TypedDict):
    """What one method says of one example."""

    relevance: list[Number]
    gap: NotRequired[Number]
    note: NotRequired[str | None]
    degradation: NotRequired[Degradation | None]
    checks: NotRequired[dict[str, Number] | None]


class Picture(TypedDict):
    """A picture as a data URI, where it was kept, and the rows and columns of patches over which relevance is told.

    Height and width of the grid are `span` of the picture's, 1 unless told; `box_xyxy` is the explained box as shares of its sides, and
    `region` the explained cells of a grid evenly over the whole of it, a text of 0 and 1 for each row.
    """

    src: NotRequired[str]
    grid: list[int]
    span: NotRequired[list[float] | None]
    box_xyxy: NotRequired[list[float] | None]
    region: NotRequired[list[str] | None]


class FilmFrame(TypedDict):
    """A small picture of what one unit was made of, as a data URI, and its time."""

    src: str
    name: str


class Flow(TypedDict):
    """Relevance of each word at each site, from below to above, by one method in one unit; of patches, with each site's grid and span."""

    grids: NotRequired[list[list[int]] | None]
    spans: NotRequired[list[list[float]] | None]

    method: NotRequired[str]
    unit: NotRequired[str]
    sites: list[str]
    relevance: list[list[Number]]


class Beside(TypedDict):
    """The same answer explained at another site: over `words`, or over a `picture` of which the grid alone is told."""

    words: list[str]
    methods: dict[str, Relevance]
    picture: NotRequired[Picture | None]


class Explained(TypedDict):
    """One explained example; `answer` is what was explained, where that is said, and `words` name the patches of a `picture` or
    the frames of a `film`.

    Of a detection `box_xyxy` is where, in pixels of the picture. `beside` has the same by the names of more sites.
    """

    set: NotRequired[str]
    id: str
    prediction: Any
    label: NotRequired[Any]
    answer: NotRequired[str | None]
    box_xyxy: NotRequired[list[float] | None]
    picture: NotRequired[Picture | None]
    film: NotRequired[list[FilmFrame] | None]
    score: NotRequired[Number]
    words: list[str]
    methods: dict[str, Relevance]
    flow: NotRequired[Flow | None]
    caption: NotRequired[str | None]
    beside: NotRequired[dict[str, Beside] | None]


class Checked(TypedDict):
    """One check of one method: mean over examples, its interval, and the examples on which it is defined."""

    mean: Number
    low: NotRequired[Number]
    high: NotRequired[Number]
    n: NotRequired[int]


class Agreement(TypedDict):
    """Mean rank correlation of each method with each."""

    methods: list[str]
    spearman: list[list[Number]]


class Summary(TypedDict):
    """All explained examples together; `checks` and `ms_per_example` by method."""

    n: int
    checks: NotRequired[dict[str, dict[str, Checked]]]
    agreement: NotRequired[Agreement | None]
    ms_per_example: NotRequired[dict[str, Number]]


class Explanations(TypedDict):
    """results/explanations.json; `num` examples were explained, of which `examples` may be the first, and `passes` says why
    every pass ran the whole model, if it did; `beside` has the summary by the names of more sites."""

    site: NotRequired[str]
    score_unit: NotRequired[str]
    num: NotRequired[int]
    passes: NotRequired[str]
    summary: NotRequired[Summary | None]
    beside: NotRequired[dict[str, Summary | None] | None]
    examples: list[Explained]


class Compared(TypedDict):
    """One model of results/comparison.json."""

    name: str
    values: dict[str, Number]
    mean_drop: NotRequired[Number]


class Comparison(TypedDict):
    """results/comparison.json."""

    columns: list[str]
    home: str
    rows: list[Compared]
    metric: str
