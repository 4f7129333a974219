"""Every check of an explanation under its public name; what several need is computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.coerce import nearest
from pellucid.errors import BadUsage
from pellucid.explain import faithful
from pellucid.explain.agreement import agreement, summary
from pellucid.explain.attribution import completeness_gap, hold_padding
from pellucid.explain.degrade import Curves, curves
from pellucid.explain.deletion import Deletion, deletions
from pellucid.explain.methods import Method
from pellucid.explain.probe import Probe
from pellucid.explain.remove import Removal
from pellucid.explain.sanity import Setting, cascade, max_sensitivity

__all__ = ["CHECKS", "Again", "Case", "Check", "check_case", "default_checks", "run_checks", "summary"]
Values = dict[str, Float[Tensor, " b"]]


@dataclass(frozen=True)
class Again:
    """How the same is asked again, for checks that must explain anew.

    Args:
        methods: by the names of the relevances; those without one are not checked this way.
    """

    methods: Mapping[str, Method]
    setting: Setting


@dataclass(frozen=True)
class Case:
    """Explanations of one batch by several methods, to be checked.

    Args:
        probe: its score is the one that was explained.
        relevances: by method.
        baseline: what replaces units.
        unit: of the score; a "log-probability" is told as a probability in every check but those of sums.
    """

    probe: Probe
    relevances: Mapping[str, Float[Tensor, "b n"]]
    baseline: Float[Tensor, "b n d"]
    seed: int = 0
    unit: str = "value"
    again: Again | None = None

    @cached_property
    def replacing(self) -> Removal:
        """Units become the baseline; scores as they were explained."""
        return Removal(self.probe, self.baseline)

    @cached_property
    def shown(self) -> Removal:
        """Units become the baseline; scores as a person reads them."""
        return self._scaled(self.replacing)

    @cached_property
    def cutting(self) -> Removal:
        """Units are taken out; scores as a person reads them."""
        return self._scaled(Removal(self.probe))

    @cached_property
    def curves(self) -> dict[str, Curves]:
        """Replacement curves, each relevance against the same random orders."""
        return curves(self.shown, self.relevances, seed=self.seed)

    @cached_property
    def deletions(self) -> dict[str, Deletion]:
        """The paper's curves."""
        return deletions(self.cutting, self.relevances)

    @cached_property
    def removing(self) -> Removal:
        """Words are taken out where the site allows it, else replaced."""
        return self.shown if self.probe.cut is None else self.cutting

    def _scaled(self, removal: Removal) -> Removal:
        return removal.scaled(torch.exp) if self.unit == "log-probability" else removal

    def asked_again(self) -> Again:
        """How to ask again.

        Raises:
            BadUsage: it was not told.
        """
        if self.again is None:
            raise BadUsage("this check explains anew and must be told how: give `again`")
        return self.again


@dataclass(frozen=True)
class Check:
    """One number per example and method.

    Args:
        about: what it says and which way is better, in one line.
        run: of a case.
        default: cheap enough to go with every explanation.
        needs: "cut", a site whose units can be taken out; "two" methods; or "again", a way to explain anew.
    """

    about: str
    run: Callable[[Case], Values]
    default: bool = True
    needs: str = ""

    def missing(self, case: Case) -> str:
        """Why it cannot be run, or nothing."""
        lacks = {
            "cut": case.probe.cut is None and "the site's units cannot be taken out",
            "two": len(case.relevances) < 2 and "it compares methods, and there is one",
            "again": case.again is None and "it explains anew and was not told how (`again`)",
        }
        return lacks.get(self.needs) or ""


def _deletion(case: Case) -> Values:
    return {name: found.area for name, found in case.deletions.items()}


def _replacement(case: Case) -> Values:
    return {name: found.area for name, found in case.curves.items()}


def _above_random(case: Case) -> Values:
    return {name: found.area - found.random_area for name, found in case.curves.items()}


def _deletion_auc(case: Case) -> Values:
    return {name: found.deletion() for name, found in case.curves.items()}


def _insertion_auc(case: Case) -> Values:
    return {name: found.insertion() for name, found in case.curves.items()}


def _comprehensiveness(case: Case) -> Values:
    return faithful.comprehensiveness(case.removing, case.relevances)


def _sufficiency(case: Case) -> Values:
    return faithful.sufficiency(case.removing, case.relevances)


def _infidelity(case: Case) -> Values:
    return faithful.infidelity(case.replacing, case.relevances, seed=case.seed)


def _completeness(case: Case) -> Values:
    start = hold_padding(case.probe, case.baseline)
    return {name: completeness_gap(case.probe, relevance, start).abs() for name, relevance in case.relevances.items()}


def _agreement(case: Case) -> Values:
    pairs = agreement(case.probe, case.relevances)["spearman"]
    return {name: torch.stack([v for pair, v in pairs.items() if name in pair]).nanmean(0) for name in case.relevances}


def _max_sensitivity(case: Case) -> Values:
    again = case.asked_again()
    statistics = again.setting.statistics()
    known = {name: again.methods[name] for name in case.relevances if name in again.methods}
    return {name: max_sensitivity(case.probe, method, statistics, seed=case.seed) for name, method in known.items()}


def _randomised(case: Case) -> Values:
    again = case.asked_again()
    known = {name: again.methods[name] for name in case.relevances if name in again.methods}
    found = cascade(again.setting, known, case.relevances, case.seed, only_full=True)
    return {name: rows[-1] for name, rows in found.likeness.items()}


CHECKS: dict[str, Check] = {
    "deletion": Check(
        "area between the curves as the least and as the most relevant tokens are taken out (Jiang 2020); larger is better",
        _deletion,
        needs="cut",
    ),
    "replacement": Check("the same with words becoming the baseline, in tenths of the words; larger is better", _replacement),
    "above_random": Check("replacement, less what random orders get; above 0 is better than chance", _above_random),
    "deletion_auc": Check("area under the score as the most relevant words go (RISE, Petsiuk 2018); smaller is better", _deletion_auc),
    "insertion_auc": Check("area under the score as the most relevant words come (RISE); larger is better", _insertion_auc),
    "comprehensiveness": Check(
        "score lost without the top 1, 5, 10, 20, 50% of words (ERASER, DeYoung 2020); larger is better", _comprehensiveness
    ),
    "sufficiency": Check("score lost with those words alone (ERASER); smaller is better", _sufficiency),
    "agreement": Check("mean rank correlation with the other methods; 1 is the same order", _agreement, needs="two"),
    "completeness": Check(
        "how far the relevances' sum is from the score's change, relative to it; 0 for methods that promise it", _completeness, False
    ),
    "infidelity": Check(
        "squared error of relevance as a forecast of what random sets of words cost (Yeh 2019); smaller is better", _infidelity, False
    ),
    "max_sensitivity": Check(
        "largest relative change of the explanation under small moves of the units (Yeh 2019); smaller is better",
        _max_sensitivity,
        False,
        "again",
    ),
    "randomised_weights": Check(
        "rank correlation with the explanation of a model of random weights (Adebayo 2018); near 0 is better", _randomised, False, "again"
    ),
}


def default_checks(case: Case) -> tuple[str, ...]:
    """The cheap checks that this case allows."""
    return tuple(name for name, check in CHECKS.items() if check.default and not check.missing(case))


def check_case(case: Case, names: Sequence[str] | None = None) -> dict[str, Values]:
    """Method to check to one number per example.

    Args:
        names: of `CHECKS`; None takes the cheap ones that are possible.
    Raises:
        BadUsage: an unknown name, or a check that this case does not allow; the message says why.
    """
    wanted = default_checks(case) if names is None else tuple(names)
    for name in wanted:
        if name not in CHECKS:
            raise BadUsage(f"no check {name!r}" + nearest(name, list(CHECKS)))
        if why := CHECKS[name].missing(case):
            raise BadUsage(f"check {name!r} cannot be run: {why}")
    found: dict[str, Values] = {method: {} for method in case.relevances}
    for name in wanted:
        for method, values in CHECKS[name].run(case).items():
            found[method][name] = values
    return found


def run_checks(
    probe: Probe,
    relevances: Mapping[str, Float[Tensor, "b n"]],
    baseline: Float[Tensor, "b n d"],
    seed: int = 0,
    names: Sequence[str] | None = None,
    unit: str = "value",
) -> dict[str, Values]:
    """As `check_case`, of a probe and the relevances that several methods gave."""
    return check_case(Case(probe, relevances, baseline, seed, unit), names)
