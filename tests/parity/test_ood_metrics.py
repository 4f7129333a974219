"""Our detection numbers on the reference cases, to 1e-9."""

import json

import numpy as np
import pytest

from pellucid.metrics.outlier import aupr, auroc, detection_numbers, far95

CASES = ["gauss", "ties", "saturated", "constant", "tiny", "inverted"]


@pytest.mark.parametrize("case", CASES)
def test_reference_cases_to_nine_digits(references, case):
    reference = json.loads((references / "text/ood_metrics.json").read_text())[case]
    ood, home = np.array(reference["ood"]), np.array(reference["id"])
    expected = {"auroc": reference["auroc"], "aupr": reference["aupr_ood"], "far95": reference["far95_at_least"]}
    numbers = detection_numbers(ood, home)
    assert {k: numbers[k] for k in expected} == pytest.approx(expected, abs=1e-9)
    assert [auroc(ood, home), aupr(ood, home), far95(ood, home)] == pytest.approx(list(expected.values()), abs=1e-9)
    # home as the positive class, scores turned round: the other AUPR
    assert aupr(-home, -ood) == pytest.approx(reference["aupr_id"], abs=1e-9)


def test_the_reference_holds_no_case_that_is_not_checked(references):
    assert sorted(json.loads((references / "text/ood_metrics.json").read_text())) == sorted(CASES)
