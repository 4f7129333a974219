"""The first thing a reader sees: one sentence and a few numbers, computed from the results."""

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.report import number, records
from pellucid.report.read import Run

MOST_NAMED = 3


@dataclass(frozen=True)
class Tile:
    """One number of the headline."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Away:
    """The first metric on one set away from home, less that at home; `loss` is positive where that is worse."""

    name: str
    change: float
    loss: float
    clear: bool


@dataclass(frozen=True)
class Home:
    """The first metric at home, and what it becomes elsewhere."""

    metric: str
    unit: number.Unit
    name: str
    n: int
    value: float | None
    interval: str
    away: tuple[Away, ...]
    higher_is_better: bool = True


def home_of(run: Run) -> Home | None:
    """The main number of a run; None where nothing was measured."""
    if run.shift and run.shift["home"] in run.shift["sets"]:
        return _from_shift(run.shift)
    if run.evaluate and run.evaluate["sets"]:
        known = list(run.evaluate["sets"])
        first = next((name for name in _tests(run) if name in known), known[0])
        found = run.evaluate["sets"][first]
        metric = next(iter(found["metrics"]), None)
        if metric is None:
            return None
        value = found["metrics"][metric]["value"]
        return Home(metric, number.unit_of(metric, [value]), first, found["n"], value, "", ())
    return None


def _tests(run: Run) -> list[str]:
    tests = run.recipe.get("tests")
    return list(tests) if isinstance(tests, dict) else []


def _from_shift(shift: records.Shift) -> Home | None:
    home = shift["sets"][shift["home"]]
    metric = next(iter(home["metrics"]), None)
    if metric is None:
        return None
    found = home["metrics"][metric]
    values = [s["metrics"][metric]["value"] for s in shift["sets"].values() if metric in s["metrics"]]
    others = {n: s["metrics"][metric] for n, s in shift["sets"].items() if n != shift["home"] and metric in s["metrics"]}
    away = [_away(name, value) for name, value in others.items() if number.real(value.get("drop"))]
    unit = number.unit_of(metric, values)
    interval = unit.interval(found.get("low"), found.get("high"))
    ranked = tuple(sorted(away, key=lambda a: -a.loss))
    return Home(metric, unit, shift["home"], home["n"], found["value"], interval, ranked, found["higher_is_better"])


def _away(name: str, found: records.Shifted) -> Away:
    """A change is clear when its interval leaves out zero; without an interval it is taken at its word."""
    change = found.get("drop") or 0.0
    low, high = found.get("drop_low"), found.get("drop_high")
    clear = low is None or high is None or low > 0 or high < 0
    return Away(name, change, -change if found["higher_is_better"] else change, clear)


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def verdict(run: Run) -> str:
    """One plain sentence: the number at home, what is lost elsewhere, and against whom."""
    home = home_of(run)
    if home is None:
        return "Trained; not yet measured on a test set."
    value = f"{home.unit.value(home.value)} {number.title(home.metric)}"
    if not home.away:
        return f"{value} on {home.name} ({number.count(home.n)} examples)."
    clauses = [f"{value} at home {home.interval}".strip(), *_losses(home), *_beside(run)]
    return "; ".join(clauses) + "."


def _losses(home: Home) -> list[str]:
    lost = [a for a in home.away if a.clear and a.loss > 0]
    won = [a for a in home.away if a.clear and a.loss < 0]
    alike = [a.name for a in home.away if not a.clear or a.loss == 0]
    clauses = []
    if lost:
        named = [f"{home.unit.amount(a.loss)} on {a.name}" for a in lost[:MOST_NAMED]]
        clauses.append(
            ("loses " if home.higher_is_better else "is worse by ")
            + joined([*named, f"less on {len(lost) - MOST_NAMED} more"] if len(lost) > MOST_NAMED else named)
        )
    if won:
        clauses.append(
            ("gains " if home.higher_is_better else "is better by ")
            + joined([f"{home.unit.amount(a.loss)} on {a.name}" for a in won[-MOST_NAMED:]])
        )
    if alike:
        clauses.append(
            "no clear change on " + joined(alike[:MOST_NAMED] + ([f"{len(alike) - MOST_NAMED} more"] if len(alike) > MOST_NAMED else []))
        )
    return clauses


def _beside(run: Run) -> list[str]:
    """The model that keeps most away from home, against the range of the others."""
    found = run.comparison
    known = {row["name"]: row.get("mean_drop") for row in found["rows"]} if found else {}
    changes = {name: value for name, value in known.items() if value is not None and number.real(value)}
    if not found or len(changes) < 2:
        return []
    unit = number.unit_of(found["metric"], [v for row in found["rows"] for v in row["values"].values()])
    higher = run.higher_is_better(found["metric"])
    first, *others = sorted(changes, key=lambda name: changes[name], reverse=higher)
    ends = list(dict.fromkeys([unit.change(changes[others[0]]), unit.change(changes[others[-1]])]))
    who = f"the {len(others)} others" if len(others) > 1 else others[0]
    return [f"mean change {unit.change(changes[first])} ({first}) against {' to '.join(ends)} ({who})"]


def tiles(run: Run) -> list[Tile]:
    """The numbers that most readers came for."""
    home = home_of(run)
    found: list[Tile] = []
    if home:
        found.append(Tile(f"{number.title(home.metric)} at home", home.unit.value(home.value), f"{home.name} {home.interval}".strip()))
        if home.away:
            found.append(_worst(home))
            mean = sum(a.change for a in home.away) / len(home.away)
            found.append(
                Tile(
                    "mean change away",
                    home.unit.change(mean),
                    f"{home.unit.noun} over {len(home.away)} set{'s' * (len(home.away) > 1)}".strip(),
                )
            )
    return found + _calibration(run) + _detection(run)


def _worst(home: Home) -> Tile:
    worst = home.away[0]
    return Tile(
        "worst change" if worst.loss > 0 else "smallest gain", home.unit.change(worst.change), f"{home.unit.noun} on {worst.name}".strip()
    )


def _calibration(run: Run) -> list[Tile]:
    home = run.shift["sets"].get(run.shift["home"]) if run.shift else None
    found = home.get("calibration") if home else None
    if not found:
        return []
    after = found.get("ece_after")
    note = f"{number.fixed(after)} after temperature" if number.real(after) else f"{len(found['bins'])} bins"
    return [Tile("calibration error at home", number.fixed(found["ece"]), note)]


def _detection(run: Run) -> list[Tile]:
    if not run.detection:
        return []
    scores: dict[str, list[float]] = {}
    for found in run.detection["sets"].values():
        for name, method in found["methods"].items():
            value = method["auroc"]
            if value is not None and number.real(value):
                scores.setdefault(name, []).append(value)
    if not scores:
        return []
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    best = max(means, key=lambda name: means[name])
    return [Tile("detection, mean AUROC", number.fixed(means[best]), number.title(best))]
