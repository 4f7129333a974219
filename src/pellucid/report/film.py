"""Explained clips: the frames in order with their times, and under each what every method makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.errors import BadData
from pellucid.report import maps, number, records

DENSE, FEW = 36, 8  # frames above which they are drawn smaller, and up to which larger
TOP = 3  # strongest frames of a method, which bear their rank
FAINT = 0.2  # share of the strongest from which a frame has a rank


@dataclass(frozen=True)
class Bar:
    """What one method says of one frame: `sign` is pos, neg or empty, `share` its part of the method's strongest.

    Args:
        rank: 1, 2 or 3 of the strongest, 0 of the others.
    """

    sign: str
    share: float
    rank: int = 0


@dataclass(frozen=True)
class Frame:
    """One frame with a bar for each row.

    Args:
        told: its time and every number, for who points at it or cannot see it.
        marked: it is the strongest of some row.
    """

    source: str
    name: str
    told: str
    bars: tuple[Bar, ...] = ()
    marked: bool = False


@dataclass(frozen=True)
class Film:
    """A strip of frames.

    Args:
        rows: name of each method, and whether it also speaks against frames.
        spoken: what a reader who cannot see the strip should know.
        coarse: the frames' pixels are few and shown as they are.
    """

    frames: tuple[Frame, ...]
    rows: tuple[tuple[str, bool], ...]
    spoken: str
    coarse: bool

    @property
    def size(self) -> str:
        """How large frames are drawn: `few` are large, `dense` ones small, others neither."""
        return "dense" if len(self.frames) > DENSE else "few" if len(self.frames) <= FEW else ""

    @property
    def part(self) -> int:
        """Frames that stay together whatever the page's width; three parts fill a line of a wide page, two of `few`.

        As many as leave the least of the last line free.
        """
        sizes = {"dense": (5, 6, 7), "few": (4,)}.get(self.size, (4, 5))
        return min(sizes, key=lambda part: -len(self.frames) % (3 * part))

    @property
    def across(self) -> int:
        """Frames in a line of a wide page."""
        return self.part * (2 if self.size == "few" else 3)

    @property
    def parts(self) -> tuple[tuple[Frame, ...], ...]:
        """The frames by part."""
        return tuple(self.frames[i : i + self.part] for i in range(0, len(self.frames), self.part))


def view(found: Sequence[records.FilmFrame] | None, methods: Mapping[str, records.Relevance], where: str) -> Film | None:
    """What is drawn of one clip; None where no frames were kept.

    Raises:
        BadData: numbers that do not fit the frames, or a frame that is no picture; the message begins with `where`.
    """
    if not found:
        return None
    names = [frame["name"] for frame in found]
    for name, method in methods.items():
        if len(method["relevance"]) != len(found):
            raise BadData(f"{where}, method {name!r}: {len(method['relevance'])} numbers for {len(found)} frames; explain it again")
    for frame in found:
        if not maps.SOURCE.fullmatch(frame["src"]):
            raise BadData(f"{where}: its frame {frame['name']!r} is no PNG or JPEG as base64 data; explain it again")
    lanes = [_bars(method["relevance"]) for method in methods.values()]
    frames = tuple(
        Frame(
            frame["src"],
            frame["name"],
            _told(frame["name"], methods, i),
            tuple(lane[i] for lane in lanes),
            any(lane[i].rank == 1 for lane in lanes),
        )
        for i, frame in enumerate(found)
    )
    rows = tuple((number.title(name), any(bar.sign == "neg" for bar in lane)) for name, lane in zip(methods, lanes, strict=True))
    return Film(frames, rows, _spoken(names, methods, lanes), maps.coarse(found[0]["src"]))


def _bars(relevance: Sequence[records.Number]) -> list[Bar]:
    known = [r if r is not None and number.real(r) else 0.0 for r in relevance]
    largest = max(map(abs, known), default=0.0)
    shares = [round(r / largest, 3) if largest else 0.0 for r in known]
    order = sorted(range(len(shares)), key=lambda i: -abs(shares[i]))[:TOP]
    even = max(shares) - min(shares) < 1e-3 and len(shares) > 1  # an average gives all frames the same: none is the strongest
    ranks = {} if even else {i: k + 1 for k, i in enumerate(order) if abs(shares[i]) >= FAINT}
    return [Bar("pos" if s > 0 else "neg" if s < 0 else "", abs(s), ranks.get(i, 0)) for i, s in enumerate(shares)]


def _told(name: str, methods: Mapping[str, records.Relevance], i: int) -> str:
    numbers = [f"{number.title(method)} {number.significant(found['relevance'][i], 2)}" for method, found in methods.items()]
    return ": ".join(text for text in (name, ", ".join(numbers)) if text)


def _spoken(names: Sequence[str], methods: Mapping[str, records.Relevance], lanes: Sequence[Sequence[Bar]]) -> str:
    told = f"{len(names)} frames from {names[0]} to {names[-1]}." if len(names) > 1 else f"One frame, {names[0]}."
    for (method, found), lane in zip(methods.items(), lanes, strict=True):
        ranked = sorted((bar.rank, i) for i, bar in enumerate(lane) if bar.rank)
        top = ", ".join(f"{names[i]} {number.significant(found['relevance'][i], 2)}" for _, i in ranked)
        told += f" Strongest by {number.title(method)}: {top}." if top else f" No frame is the strongest by {number.title(method)}."
    return told
