"""What results/explanations.json holds: one record per example, and what many records say together."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pellucid.explain.agreement import spearman, summary
from pellucid.explain.attribution import Attribution
from pellucid.explain.degrade import Curves, short
from pellucid.explain.patches import Ground, encoded, over
from pellucid.explain.probe import Probe
from pellucid.explain.words import to_words

Record = dict[str, Any]
FRAME, SMALL_FRAME, MANY = 112, 72, 36  # pixels of the longer side of a film's frame, and where there are more frames than so many
FRAME_QUALITY = 72  # of JPEG: a film has many frames, and half the bytes show what one is of


@dataclass(frozen=True)
class Flow:
    """One method at every site of a batch, from below to above.

    Args:
        told: by site and example, words and the relevance of each.
        grounds: what patches lie over, by site and example.
    """

    method: str
    unit: str
    told: Mapping[str, Sequence[tuple[list[str], list[float]]]]
    grounds: Mapping[str, Sequence[Ground]] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """What was found out about one batch.

    Args:
        heads: per example its set, id, prediction, label, answer and score.
        attributions: by method.
        curves: by method; empty where none were drawn.
        checks: by method, then by check, one number per example.
        times_ms: by method, per example.
        grounds: what patches of pictures lie over, per example; empty where there are none.
    """

    probe: Probe
    heads: Sequence[Mapping[str, Any]]
    attributions: Mapping[str, Attribution]
    curves: Mapping[str, Curves]
    checks: Mapping[str, Mapping[str, Tensor]]
    times_ms: Mapping[str, float]
    flow: Flow | None = None
    grounds: Sequence[Ground] = ()


def records(found: Findings, seen: Sequence[bool] | None = None, beside: Mapping[str, Findings] | None = None) -> list[Record]:
    """One record per example of the batch, in order.

    Args:
        seen: which of them a page shows; the others' hold no pictures. None shows all.
        beside: of the same examples at other sites; told in each record, without what it holds already.
    """
    rows = _records(found, seen)
    for site, other in (beside or {}).items():
        first = seen if found.probe.pictures is None else [False] * len(rows)  # a picture is kept once
        for row, more in zip(rows, _records(other, first), strict=True):
            kept = {name: more[name] for name in ("words", "methods", "picture") if name in more}
            row.setdefault("beside", {})[site] = kept
    return rows


def _records(found: Findings, seen: Sequence[bool] | None) -> list[Record]:
    seen = [True] * len(found.heads) if seen is None else seen
    words = {name: to_words(a.relevance, found.probe) for name, a in found.attributions.items()}
    if found.probe.pictures is not None:
        words = {name: over(told, found.probe, found.grounds) for name, told in words.items()}
    flow, rows = found.flow, []
    flows = flow.told if flow else {}
    for i, head in enumerate(found.heads):
        told = next(iter((words or flows).values()))[i][0]
        named = {name: value for name, value in head.items() if name != "region"}
        row: Record = {**named, "words": told, "methods": {name: _method(found, name, words[name][i][1], i) for name in words}}
        if found.probe.pictures is not None:
            row["picture"] = _picture(found.probe.pictures[i], found.grounds[i], head, seen[i])
        if found.probe.films is not None and found.probe.films[i] is not None and seen[i]:
            row["film"] = _film(found.probe.films[i])
        if flow:
            maps = [[_told(v) for v in flows[site][i][1]] for site in flows]
            row["flow"] = {"method": flow.method, "unit": flow.unit, "sites": list(flows), "relevance": maps}
            if found.probe.pictures is not None:
                row["flow"]["grids"] = [list(flow.grounds[site][i].grid) for site in flows]
                if any(flow.grounds[site][i].span != (1.0, 1.0) for site in flows):
                    row["flow"]["spans"] = [[round(v, 5) for v in flow.grounds[site][i].span] for site in flows]
        rows.append(row)
    return rows


def _picture(picture: UInt8[Tensor, "3 h w"], ground: Ground, head: Mapping[str, Any], seen: bool) -> Record:
    """The picture without padding, if it is seen, the grid over it, how far that reaches, and the explained region, or box in shares."""
    height, width = ground.size
    row: Record = {**({"src": encoded(picture[:, :height, :width])} if seen else {}), "grid": list(ground.grid)}
    if ground.span != (1.0, 1.0):
        row["span"] = [round(v, 5) for v in ground.span]
    if "region" in head:
        row["region"] = head["region"]
    if "box_xyxy" in head and "size_hw" in head:
        tall, wide = head["size_hw"]
        sides = (wide, tall, wide, tall)
        row["box_xyxy"] = [round(min(1.0, max(0.0, x / side)), 5) for x, side in zip(head["box_xyxy"], sides, strict=True)]
    return row


def _film(film: Any) -> list[dict[str, str]]:
    """A small picture of what each unit was made of, with its time."""
    side = FRAME if len(film.names) <= MANY else SMALL_FRAME
    return [{"src": encoded(one, side, FRAME_QUALITY), "name": name} for one, name in zip(film.pictures(side), film.names, strict=True)]


def _method(found: Findings, name: str, relevance: Sequence[float], i: int) -> Record:
    attribution = found.attributions[name]
    checks = {check: values[i].item() for check, values in found.checks.get(name, {}).items()}
    return {
        "relevance": [_told(v) for v in relevance],
        "gap": None if attribution.gap is None else short(attribution.gap[i].item()),
        "note": attribution.note or None,
        "degradation": found.curves[name].as_dict(i) if name in found.curves else None,
        "checks": {check: short(v) if v == v else None for check, v in checks.items()},
        "ms": round(found.times_ms[name], 3),
    }


def _told(value: float) -> float | None:
    """A number as it is written; None of a place of which nothing is known."""
    return short(value) if value == value else None


def summarise(rows: Sequence[Record]) -> Record:
    """Means over records with their intervals: checks by method, agreement of methods, milliseconds per example."""
    methods = list(rows[0]["methods"]) if rows else []
    checks = {m: {c: _mean([row["methods"][m]["checks"].get(c) for row in rows]) for c in rows[0]["methods"][m]["checks"]} for m in methods}
    times = {m: short(sum(row["methods"][m]["ms"] for row in rows) / len(rows)) for m in methods}
    return {"n": len(rows), "checks": checks, "agreement": _agreement(rows, methods), "ms_per_example": times}


def _mean(values: Sequence[float | None]) -> dict[str, float | int | None]:
    found = summary(_numbers(values))
    return {k: v if k == "n" else _told(v) for k, v in found.items()}


def _agreement(rows: Sequence[Record], methods: Sequence[str]) -> Record | None:
    """Mean rank correlation of every two methods over the words of each example."""
    if len(methods) < 2:
        return None
    told = {m: pad_sequence([_numbers(row["methods"][m]["relevance"]) for row in rows], True, torch.nan) for m in methods}
    exists = torch.stack([values.isfinite() for values in told.values()]).all(0)
    told = {m: values.where(exists, 0.0) for m, values in told.items()}
    cells = {m: dict.fromkeys(methods, 1.0) for m in methods}
    for a, b in itertools.combinations(methods, 2):
        mean = spearman(told[a], told[b], exists).nanmean().item()
        cells[a][b] = cells[b][a] = short(mean)
    return {"methods": list(methods), "spearman": [[v if v == v else None for v in cells[a].values()] for a in methods]}


def _numbers(values: Sequence[float | None]) -> Float[Tensor, " p"]:
    return torch.tensor([torch.nan if v is None else v for v in values], dtype=torch.float64)
