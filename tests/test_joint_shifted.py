"""What spoiled pictures cost a network for boxes and a map: both jobs' numbers side by side, in the table and on the page."""

import json

import pytest
import torch

from pellucid import cli, run
from untrained import made

NARROW = {"width": "16", "extra_channels": "32", "residual": "8", "squeeze": "4", "inner_widths": "[4, 8, 16]"}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    settings = {f"task.{name}": value for name, value in NARROW.items()}
    return made("triplenet:tiny", tmp_path_factory.mktemp("joint") / "run", **settings)


@pytest.fixture(scope="module")
def printed(done) -> list[str]:
    """The arguments of the command, after the run's folder."""
    return ["--home", "shapes:test?maps=yes&num=3", "--corrupt", "1,3", "--kinds", "gaussian_noise,contrast", "--site", "none"]


def test_both_metrics_are_told_of_every_copy_and_are_those_of_the_sets(done, printed, capsys):
    assert cli.main(["shift", str(done.folder), *printed, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = told["corruption"]
    assert told["headlines"] == ["AP", "mIoU"] and found["metric"] == "AP" and list(found["beside"]) == ["mIoU"]
    for metric, one in (("AP", found), ("mIoU", found["beside"]["mIoU"])):
        for kind in ("gaussian_noise", "contrast"):
            for severity in ("1", "3"):
                value = told["sets"][f"home/{kind}-{severity}"]["metrics"][metric]["value"]
                assert one["kinds"][kind]["values"][severity] == value
    miou = found["beside"]["mIoU"]
    assert miou["clean"] == told["sets"]["home"]["metrics"]["mIoU"]["value"] > 0
    assert miou["kinds"]["contrast"]["values"]["3"] != miou["clean"]  # the copies were seen spoiled


def test_table_and_page_show_both(done, printed, capsys):
    assert cli.main(["shift", str(done.folder), *printed]) == 0
    out = capsys.readouterr().out
    head = next(line.split() for line in out.splitlines() if "drop" in line)
    assert head == ["set", "n", "AP", "drop", "mIoU", "drop", "ECE"]
    assert "AP and mIoU under corruption (clean AP " in out and "mIoU 3" in out
    assert cli.main(["report", str(done.folder)]) == 0
    page = (done.folder / "report.html").read_text()
    for text in ("AP, severity 3", "mIoU, severity 3", "AP by set", "mIoU by set", "AP and mIoU of corrupted copies of home"):
        assert text.casefold() in page.casefold(), text
    assert page.index("AP, mean") < page.index("mIoU, severity 1")
