"""Why this box, why this region: both are asked about by name, through the command line, and drawn over what was found."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import cli, run
from pellucid.metrics.segmentation import unpack_map
from pellucid.report import photos
from pellucid.tasks.detection_segmentation.answers import cells_of
from untrained import made

NARROW = {"width": 16, "extra_channels": 32, "residual": 8, "squeeze": 4, "inner_widths": [4, 8, 16], "threshold": 0.98}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> run.Run:
    """A run whose boxes and maps are of random weights, so that both are told of every picture."""
    torch.manual_seed(3)
    settings = {f"task.{name}": json.dumps(value) for name, value in NARROW.items()}
    return made("triplenet:tiny", tmp_path_factory.mktemp("joint") / "run", **settings)


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    """Wider than high: the model sees it stretched."""
    place = tmp_path_factory.mktemp("pictures") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((144, 96)).save(place)
    return str(place)


@pytest.fixture(scope="module")
def told(done, picture) -> dict:
    (row,) = done.predict([picture], threshold=0.98)
    return row


def asked(done: run.Run, picture: str, answer: str, capsys, *more: str) -> list[dict]:
    """Records of `pellucid explain`."""
    given = ["--input", picture, "--answer", answer, "--method", "gradient", "--check", "none", "--json", *more]
    capsys.readouterr()
    assert cli.main(["explain", str(done.folder), *given]) == 0
    return json.loads(capsys.readouterr().out)["examples"]


def output_of(done: run.Run, picture: str) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return done.task.model.eval()(done.task.collate([{"id": picture, "image": picture}]))


def test_a_box_is_explained_by_its_name_and_drawn_where_it_was_told(done, picture, told, capsys):
    (row,) = asked(done, picture, told["answers"][1], capsys)
    assert row["answer"] == told["answers"][1] and row["box_xyxy"] == pytest.approx(told["boxes_xyxy"][1], abs=0.01)
    assert row["score"] == pytest.approx(np.log(told["scores"][1]), abs=1e-3)
    sides = np.array([144, 96, 144, 96])
    assert row["picture"]["box_xyxy"] == pytest.approx(np.array(row["box_xyxy"]) / sides, abs=1e-4) and "region" not in row["picture"]


def test_a_label_alone_is_whichever_box_says_it_most_and_the_likeliest_answer_is_the_surest_box(done, picture, told, capsys):
    surest = told["boxes_xyxy"][told["labels"].index("square")]
    (row,) = asked(done, picture, "square", capsys)
    assert row["answer"] == "square" and row["box_xyxy"] == pytest.approx(surest, abs=0.01)
    (row,) = asked(done, picture, "predicted", capsys)
    assert row["answer"] == told["answers"][0] and row["prediction"] == asked(done, picture, "each", capsys)[0]["prediction"]


def test_a_region_is_explained_by_its_name_as_the_mean_over_its_cells_and_outlined(done, picture, told, capsys):
    (row,) = asked(done, picture, "disc@map", capsys)
    output = output_of(done, picture)
    height, width = done.task.map_size
    cells = (cells_of(output) == 1).reshape(height, width)
    assert row["answer"] == "disc@map" and "box_xyxy" not in row
    assert [list(map(int, line)) for line in row["picture"]["region"]] == cells.long().tolist()
    log_probs = output["map_logits"].log_softmax(1)[0, 1]
    assert row["score"] == pytest.approx(float(log_probs[cells].mean()), abs=1e-4)
    seen = unpack_map(told["map"]) == 1  # of the stretched picture the same cells, but for what enlarging does at edges
    small = np.asarray(Image.fromarray(seen.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)) == 1
    assert (small == cells.numpy()).mean() > 0.95


def test_each_is_every_box_that_is_shown_and_every_region(done, picture, told, capsys):
    rows = asked(done, picture, "each", capsys)
    present = [f"{name}@map" for name in told["pixels"]]
    assert [row["answer"] for row in rows] == rows[0]["prediction"] and set(present) == {a for a in rows[0]["prediction"] if "@map" in a}
    assert ["region" in row["picture"] for row in rows] == [row["answer"].endswith("@map") for row in rows]
    assert rows[0]["prediction"] == told["answers"] and len(present) == 3 < len(rows)


def test_page_and_picture_show_the_box_and_the_region(done, picture, told, tmp_path, capsys):
    page, drawn = tmp_path / "e.html", tmp_path / "e.png"
    asked(done, picture, "disc@map", capsys, "--html", str(page), "--png", str(drawn))
    text = page.read_text()
    assert text.count('class="spots box region"') == 2 and "LABEL@map" in text and "LABEL@NUMBER" not in text  # on the picture and the map
    assert re.search(r'<path class="line" d="(M[\d.]+ [\d.]+L[\d.]+ [\d.]+)+">', text)
    black = (np.asarray(Image.open(drawn).convert("RGB")) == photos.BOXED).all(-1)
    asked(done, picture, told["answers"][0], capsys, "--html", str(page), "--png", str(drawn))
    text = page.read_text()
    assert text.count('class="spots box"') == 2 and "box region" not in text and "LABEL@map" not in text
    boxed = (np.asarray(Image.open(drawn).convert("RGB")) == photos.BOXED).all(-1)
    assert black.sum() > 200 < boxed.sum() and (black.shape != boxed.shape or (black != boxed).any())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("disc@99999", "no box '99999'; there are 0 to"),
        ("disk", "no such label; did you mean 'disc'"),
        ("background@7", "no such label"),
        ("disc@mop", "no box 'mop'; did you mean 'map'"),
    ],
)
def test_what_is_not_there_is_one_line(done, picture, answer, message, capsys):
    assert cli.main(["explain", str(done.folder), "--input", picture, "--answer", answer]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error


def test_a_run_is_explained_at_the_finest_map_where_it_tells_no_boxes(tmp_path, picture, capsys):
    torch.manual_seed(3)
    settings = {f"task.{name}": json.dumps(value) for name, value in NARROW.items()}
    alone = made("triplenet:tiny", tmp_path / "run", **settings, **{"task.jobs": "segmentation"})
    (row,) = asked(alone, picture, "square", capsys, "--site", "decoded")
    assert row["answer"] == "square@map" and row["picture"]["grid"] == list(alone.task.map_size) and "region" in row["picture"]
