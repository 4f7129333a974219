"""Numbers as a reader wants them: one rule for missing values, signs, shares and units."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MISSING = "n/a"
MINUS = "\u2212"
SHARES = {"accuracy", "acc", "f1", "precision", "recall", "top1", "top5", "match", "error"}
NOT_SHARES = {"absolute", "squared"}  # a mean absolute error is no share


def real(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def fixed(value: float | None, digits: int = 3) -> str:
    """With so many decimals; `n/a` for no number, and no minus on a zero."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    text = f"{abs(value):.{digits}f}"
    return MINUS + text if value < 0 and float(text) else text


def significant(value: float | None, digits: int = 3) -> str:
    """With so many significant digits, in powers of ten when very small or large."""
    if value is None or not math.isfinite(value) or value == 0:
        return fixed(value, 0)
    mantissa, power = f"{abs(value):.{digits - 1}e}".split("e")  # after rounding: 0.9996 is 1.00
    if -3 <= int(power) < 6:
        return fixed(value, max(0, digits - 1 - int(power)))
    sign = MINUS if value < 0 else ""
    return f"{sign}{mantissa}e{int(power)}".replace("e-", f"e{MINUS}")


def signed(value: float | None, digits: int = 3) -> str:
    """Like `fixed`, with a plus."""
    text = fixed(value, digits)
    return "+" + text if real(value) and (value or 0) > 0 and float(text) else text


def signed_significant(value: float | None, digits: int = 2) -> str:
    """Like `significant`, with a plus."""
    text = significant(value, digits)
    return "+" + text if value is not None and value > 0 else text


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent."""
    return f"{fixed(value * 100, digits)}%" if value is not None and math.isfinite(value) else MISSING


def count(value: int | None) -> str:
    """With commas at the thousands."""
    return MISSING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@dataclass(frozen=True)
class Unit:
    """How the values of one metric are written.

    Args:
        scale: factor before writing.
        mark: written behind a value.
        noun: written behind a difference.
    """

    scale: float = 1.0
    digits: int = 3
    mark: str = ""
    noun: str = ""

    def value(self, value: float | None) -> str:
        """`84.9%`."""
        text = self.bare(value)
        return text if text == MISSING else text + self.mark

    def bare(self, value: float | None) -> str:
        """`84.9`."""
        return fixed(None if value is None else value * self.scale, self.digits)

    def interval(self, low: float | None, high: float | None) -> str:
        """`[82.7, 87.1]`, empty where either end is missing."""
        return f"[{self.bare(low)}, {self.bare(high)}]" if real(low) and real(high) else ""

    def change(self, value: float | None) -> str:
        """`−9.9`, `+1.2`."""
        return signed(None if value is None else value * self.scale, self.digits)

    def amount(self, value: float | None) -> str:
        """`9.9 points`, without a sign."""
        text = self.bare(None if value is None else abs(value))
        return f"{text} {self.noun}".strip()

    def zero(self, value: float | None) -> bool:
        """Whether it would be written as nought."""
        return real(value) and not float(fixed(abs((value or 0.0) * self.scale), self.digits))


def unit_of(metric: str, values: Iterable[float | None]) -> Unit:
    """Per cent for metrics that are shares, three decimals for all others; values above 1 are taken as they are."""
    found = [v for v in values if v is not None and math.isfinite(v)]
    tokens = set(metric.lower().replace("/", "_").replace("-", "_").split("_"))
    if tokens & SHARES and not tokens & NOT_SHARES:
        return Unit(100.0, 1, "%", "points") if all(abs(v) <= 1 for v in found) else Unit(1.0, 1, "%", "points")
    return Unit(1.0, 1 if any(abs(v) >= 100 for v in found) else 3)


_LETTERS = ("F1", "AUC", "AUROC", "AUPR", "MSE", "RMSE", "MAE", "ECE", "IBA", "LIME", "SHAP", "SROCC", "KROCC", "PLCC", "PSNR", "SSIM")
SPELLED = {"lr": "learning rate", "gradcam": "Grad-CAM"} | {word.lower(): word for word in (*_LETTERS, "Pearson", "Spearman")}


def title(name: str) -> str:
    """`macro_f1` as `macro F1`."""
    return " ".join(SPELLED.get(word, word) for word in name.replace("_", " ").split())
