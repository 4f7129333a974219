"""What was asked of one text more than once, as of each word of an output: a matrix per method, answers down, words across."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pellucid.errors import BadData
from pellucid.metrics.sequences import first_wrong
from pellucid.report import heat, meanings, number, records

OPEN = 24  # rows that are not folded
UNFOLDED = 6  # more than those that are not worth folding
FAINT, PALE = 0.02, 0.3  # share of the strongest row below which a row is drawn paler, and so much


@dataclass(frozen=True)
class Row:
    """One answer.

    Args:
        place: of a word of an output, from 1; empty of a label.
        most: the word of the strongest cell, and its number.
        share: of that in the strongest of all rows.
        wanted: what should stand here, at the first place where the output is wrong.
    """

    place: str
    name: str
    cells: tuple[heat.Tile, ...]
    most: tuple[str, str]
    share: float
    score: str
    wanted: str
    checks: tuple[meanings.CheckView, ...]


@dataclass(frozen=True)
class Matrix:
    """What one method says of all answers.

    Args:
        signed: some cell is against its answer.
        letters: of the longest answer, by which folded rows stand below the others.
        score_name: of the number at the end of each row, with what it means; empty where there is none.
        flows: answers that have an information flow, with it.
    """

    method: str
    rows: tuple[Row, ...]
    words: tuple[str, ...]
    direction: str
    across: bool
    signed: bool
    spoken: str
    note: str
    letters: int
    score_name: str = ""
    score_title: str = ""
    flows: tuple[tuple[str, heat.Heat], ...] = ()

    @property
    def parts(self) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The rows that are shown, and those that are folded."""
        cut = OPEN if len(self.rows) > OPEN + UNFOLDED else len(self.rows)
        return self.rows[:cut], self.rows[cut:]

    @property
    def scored(self) -> bool:
        """Whether the rows end in a number that says how sure the model is."""
        return any(row.score for row in self.rows)

    @property
    def corrected(self) -> bool:
        """Whether a row says what should stand there."""
        return any(row.wanted for row in self.rows)

    @property
    def checks(self) -> tuple[tuple[str, str], ...]:
        """Names and meanings of the checks that some row has."""
        return tuple(dict.fromkeys((check.name + check.mark, check.title) for row in self.rows for check in row.checks))


def together(one: records.Explained, other: records.Explained) -> bool:
    """Whether two records next to each other are of one text: the same words read and the same output, asked about differently."""
    same = ("id", "words", "prediction")
    alike = one.get("set") == other.get("set") and all(one[key] == other[key] for key in same)  # type: ignore[literal-required]
    told = one.get("answer"), other.get("answer")
    pictures = one.get("picture") or other.get("picture")
    return alike and not pictures and None not in told and told[0] != told[1] and list(one["methods"]) == list(other["methods"])


def texts(examples: Sequence[records.Explained]) -> list[list[records.Explained]]:
    """The records, those of one text that stand next to each other together."""
    found: list[list[records.Explained]] = []
    for example in examples:
        if found and together(found[-1][0], example):
            found[-1].append(example)
        else:
            found.append([example])
    return found


def answer_of(answer: str) -> tuple[str, str]:
    """Place and word of WORD@PLACE; of a label no place."""
    word, _, place = answer.rpartition("@")
    return (place, word) if word and place.isdecimal() else ("", answer)


def views(group: Sequence[records.Explained], unit: str, source: str) -> tuple[Matrix, ...]:
    """A matrix for each method.

    Raises:
        BadData: a relevance that does not fit its words.
    """
    wrong = _first_wrong(group)
    found = [_matrix(group, name, unit, wrong, source) for name in group[0]["methods"]]
    flows = [(e.get("answer") or "", heat.flow(f, e["words"], _where(e, source))) for e in group if (f := e.get("flow"))]
    return (replace(found[0], flows=tuple((answer, flow) for answer, flow in flows if flow)), *found[1:]) if found else ()


def _where(example: records.Explained, source: str) -> str:
    return f"{source}: example {example['id']!r}"


def _first_wrong(group: Sequence[records.Explained]) -> tuple[int, str]:
    """The row, which there need not be, where the output first differs from the label, and what should stand there."""
    prediction, label = group[0]["prediction"], group[0].get("label")
    if not isinstance(prediction, str) or not isinstance(label, str):
        return -1, ""
    made, target = prediction.split(), label.split()
    at = first_wrong(made, target)
    return (-1, "") if at is None else (at, target[at] if at < len(target) else "the end")


def _matrix(group: Sequence[records.Explained], name: str, unit: str, wrong: tuple[int, str], source: str) -> Matrix:
    words, title = group[0]["words"], number.title(name)
    told = [example["methods"][name] for example in group]
    for example, one in zip(group, told, strict=True):
        if len(one["relevance"]) != len(words):
            sizes = f"{len(one['relevance'])} numbers for {len(words)} words"
            raise BadData(f"{_where(example, source)}, method {name!r}: {sizes}; explain it again")
    peaks = [_peak(one["relevance"]) for one in told]
    largest = max((abs(one["relevance"][at] or 0.0) for one, at in zip(told, peaks, strict=True) if at is not None), default=0.0)
    rows = tuple(
        _row(example, one, at, largest, unit, wrong[1] if i == wrong[0] else "")
        for i, (example, one, at) in enumerate(zip(group, told, peaks, strict=True))
    )
    axes = "answer, one column per frame" if group[0].get("film") else "word that was written, one column per word that was read"
    spoken = f"{title}: one row per {axes}; the strongest of a row stands at its end."
    return Matrix(
        title,
        rows,
        tuple(words),
        heat.direction(words),
        sum(max(len(w), 2) + 1 for w in words) <= ACROSS,
        any(cell.sign == "neg" for row in rows for cell in row.cells),
        spoken,
        told[0].get("note") or "",
        max(len(row.name) for row in rows),
        *(("probability", "given what stands before it") if unit == "log-probability" else ("score", "")),
    )


ACROSS = 58  # letters of the words, with their gaps, that stand above the matrix without being turned


def _peak(values: Sequence[records.Number]) -> int | None:
    """The strongest word's place."""
    known = [(abs(v), -i) for i, v in enumerate(values) if v is not None and math.isfinite(v) and v]
    return -max(known)[1] if known else None


def _row(example: records.Explained, told: records.Relevance, at: int | None, largest: float, unit: str, wanted: str) -> Row:
    words, values = example["words"], told["relevance"]
    place, name = answer_of(str(example.get("answer")))
    peak = abs(values[at] or 0.0) if at is not None else 0.0
    most = (words[at], number.signed_significant(values[at])) if at is not None else ("", "")
    fade = 1.0 if peak >= FAINT * largest else PALE
    tiles = heat.tiles(str(example.get("answer")), words, values, peak)
    cells = tuple(replace(tile, alpha=round(fade * tile.alpha, 3), best=i == at) for i, tile in enumerate(tiles))
    share = round(peak / largest, 3) if largest else 0.0
    return Row(place, name, cells, most, share, score(example.get("score"), unit), wanted, _checks(told))


def _checks(told: records.Relevance) -> tuple[meanings.CheckView, ...]:
    found = meanings.line(told.get("checks") or {}, "words")
    gap = told.get("gap")
    return found if gap is None else (meanings.CheckView("gap", "→0", number.percent(gap), ""), *found)


def score(value: float | None, unit: str) -> str:
    """A probability as per cent, another score as it is."""
    if value is None:
        return ""
    return number.percent(math.exp(min(value, 0.0))) if unit == "log-probability" else number.significant(value)


def drawn(found: Matrix) -> heat.Heat:
    """The same as rows of tiles, for a picture."""
    bands = [heat.Band(f"{row.name} {row.place}".strip(), row.cells, " ".join(row.most)) for row in found.rows]
    about = (found.words, found.direction, found.across, found.spoken, "", found.signed, "most relevant")
    return heat.Heat(found.method, tuple(bands), *about, above=True)
