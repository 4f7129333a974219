"""What results/qualities.json holds, as types."""

from typing import NotRequired, TypedDict

from pellucid.report.records import Number


class Rated(TypedDict):
    """One judged picture; both numbers are better where higher, and `label` lies within 0 and 1."""

    id: str
    label: float
    quality: float
    spread: NotRequired[Number]
    kind: NotRequired[str]
    level: NotRequired[int]


class Misjudged(Rated):
    """One of the worst, with both pictures as data URIs; `over` is how far it was judged too well, in the labels' unit."""

    over: float
    image: str
    reference: str
    width: int
    height: int


class Kind(TypedDict):
    """The pairs of one kind of distortion, after a curve with five parameters; `residual` above 0: judged too well."""

    n: int
    srocc: Number
    plcc_5: Number
    rmse_5: Number
    residual: NotRequired[Number]


class Level(TypedDict):
    """Mean label and quality of one level of distortion."""

    level: int
    n: int
    label: Number
    quality: Number


class Preferences(TypedDict):
    """Of n compared pairs the decided ones, and the share of those in which quality agrees."""

    n: int
    decided: int
    agreement: Number


class Qualities(TypedDict):
    """One set; `points` are some of its n scored pairs, `curve` runs through labels and qualities, `weak` labels are no person's."""

    n: int
    weak: NotRequired[bool]
    numbers: dict[str, Number]
    points: list[Rated]
    curve: NotRequired[list[list[float]] | None]
    kinds: dict[str, Kind]
    levels: list[Level]
    misses: list[Misjudged]
    preferences: NotRequired[Preferences | None]


class QualitySets(TypedDict):
    """results/qualities.json."""

    sets: dict[str, Qualities]
