"""The checks of explanations as a reader wants them: a short name, which way is better, one line of meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pellucid.report import number, records

Better = Literal["larger", "smaller", "zero", ""]
MARKS: dict[Better, str] = {"larger": "↑", "smaller": "↓", "zero": "→0", "": ""}


@dataclass(frozen=True)
class Meaning:
    """What one check says; `better` is empty where neither side is."""

    better: Better
    about: str


CHECKS: dict[str, Meaning] = {
    "deletion": Meaning("larger", "area between the curves as the least and as the most relevant words are taken out"),
    "replacement": Meaning("larger", "the same area with words replaced by the mean unit instead of taken out"),
    "above_random": Meaning("larger", "replacement, less what random orders get; above 0 is better than chance"),
    "deletion_auc": Meaning("smaller", "area under the score as the most relevant words go"),
    "insertion_auc": Meaning("larger", "area under the score as the most relevant words come"),
    "comprehensiveness": Meaning("larger", "score lost without the top 1, 5, 10, 20, 50% of words"),
    "sufficiency": Meaning("smaller", "score lost with those words alone"),
    "agreement": Meaning("", "mean rank correlation with the other methods; 1 is the same order"),
    "completeness": Meaning("zero", "how far the relevances' sum is from the score's change; 0 for methods that promise it"),
    "infidelity": Meaning("smaller", "squared error of relevance as a forecast of what random sets of words cost"),
    "max_sensitivity": Meaning("smaller", "largest relative change of the explanation under small moves of the units"),
    "randomised_weights": Meaning("zero", "rank correlation with the explanation of a model of random weights"),
}
UNKNOWN = Meaning("", "")
SAID: dict[Better, str] = {"larger": "larger is better", "smaller": "smaller is better", "zero": "nearer to 0 is better", "": ""}


@dataclass(frozen=True)
class CheckView:
    """One check of one explanation, written out."""

    name: str
    mark: str
    value: str
    title: str


def of(check: str) -> Meaning:
    """What the check means; nothing of one that is not known here."""
    return CHECKS.get(check, UNKNOWN)


def title(check: str, things: str = "words") -> str:
    """Meaning and better side in one line, empty for an unknown check."""
    meaning = of(check)
    return "; ".join(part for part in (meaning.about.replace("words", things), SAID[meaning.better]) if part)


def line(checks: Mapping[str, records.Number], things: str = "words") -> tuple[CheckView, ...]:
    """The checks of one explanation, with two significant digits."""
    return tuple(
        CheckView(number.title(name), MARKS[of(name).better], number.significant(value, 2), title(name, things))
        for name, value in checks.items()
    )


def best(values: list[float | None], better: Better) -> float | None:
    """The value that none beats; None where neither side is better or there is nothing to compare."""
    known = [v for v in values if v is not None and number.real(v)]
    if len(known) < 2 or not better:
        return None
    return max(known) if better == "larger" else min(known) if better == "smaller" else min(known, key=abs)
