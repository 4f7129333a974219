"""What can be asked about boxes and maps, and how surely it is said."""

import dataclasses
import math

import pytest
import torch

from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.explain.probe import ask
from pellucid.recipe import Data, get
from pellucid.tasks.detection_segmentation.answers import ANY, REGION, read_answer, written

LABELS = ("disc", "square", "triangle")
SHOWN = get("triplenet:shapes").task
SETTINGS = dataclasses.replace(SHOWN, width=16, extra_channels=32, residual=8, squeeze=4, inner_widths=(4, 8, 16), patch=16)
ROWS = read(Data("shapes:train?num=2&maps=yes"))


def made(**changes):
    torch.manual_seed(1)
    return dataclasses.replace(SETTINGS, **changes).build(ROWS)


def output_of():
    """Five boxes and a map of two cells by one, of two pictures."""
    output = {"class_logits": torch.zeros(2, 5, 4), "map_logits": torch.zeros(2, 4, 2, 1)}
    output["class_logits"][0, 3, 2] = 5.0  # surely a square
    output["map_logits"][0, 1, 0] = 1.0
    output["class_logits"][1, :, 0] = 9.0  # nothing
    output["map_logits"][1, 3] = torch.tensor([[2.0], [1.0]])
    return output


def test_the_answer_is_the_surest_box_or_where_none_is_sure_the_largest_region():
    task, output = made(), output_of()
    answer = task.answer(output)
    assert answer.tolist() == [[3, 2, 0, 0], [REGION, 3, 1, 1]]
    assert task.called(answer, {}) == ["square@3", "triangle@map"]
    parts = [(2 - math.log(math.exp(2) + 3)), (1 - math.log(math.e + 3))]
    assert task.score(output, answer).tolist() == pytest.approx([5 - math.log(math.exp(5) + 3), sum(parts) / 2], abs=1e-6)


def test_a_region_stays_where_it_was_however_the_map_changes():
    task, output = made(), output_of()
    answer = task.answer(output)[1:]
    half = {name: value[1:].clone() for name, value in output.items()}
    half["map_logits"][0, 3, 1], half["map_logits"][0, 0, 1] = -4.0, 6.0  # the lower cell is background by now
    wanted = [2 - math.log(math.exp(2) + 3), -4 - math.log(math.exp(-4) + math.exp(6) + 2)]
    assert task.score(half, answer).item() == pytest.approx(sum(wanted) / 2, abs=1e-5)


def test_any_box_is_the_one_that_says_it_most():
    task, output = made(), output_of()
    asked = torch.tensor([[ANY, 2, 0, 0], [ANY, 1, 0, 0]])
    none = -math.log(math.exp(9) + 3)
    assert task.score(output, asked).tolist() == pytest.approx([5 - math.log(math.exp(5) + 3), none], abs=1e-5)


@pytest.mark.parametrize("name", ["disc", "square@0", "triangle@11", "disc@map", "background@map"])
def test_a_name_that_is_read_is_written_again(name):
    assert written([*read_answer(name, LABELS, 12, 4)], LABELS) == name


@pytest.mark.parametrize(
    ("name", "boxes", "cells", "said"),
    [
        ("disk@3", 12, 4, "no such label.*disc"),
        ("disc@12", 12, 4, "no box '12'; there are 0 to 11"),
        ("disc@mapp", 12, 4, "no box 'mapp'.*map"),
        ("disc@map", 12, 0, "tells no map; ask about a box, as disc@17"),
        ("disc@3", 0, 4, "tells no boxes; ask about a region: disc@map"),
        ("background", 12, 4, "no such label"),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_can(name, boxes, cells, said):
    with pytest.raises(BadUsage, match=said):
        read_answer(name, LABELS, boxes, cells)


def test_without_boxes_a_label_alone_is_a_region():
    assert read_answer("square", LABELS, 0, 4) == (REGION, 2) == read_answer("square@map", LABELS, 0, 4)
    assert read_answer("background", LABELS, 0, 4) == (REGION, 0)


def test_what_is_asked_of_an_example_is_found_in_its_own_map():
    task = made()
    batch = task.collate(ROWS)
    with torch.no_grad():
        cells = task.model.eval()(batch)["map_logits"].argmax(1)
    label = int(cells[0].flatten().mode().values)
    name = f"{LABELS[label - 1] if label else 'background'}@map"
    answer = task.gold([{**ROWS[0], "label": name}, {**ROWS[1], "label": "disc@7"}])
    assert answer[0, 2:].tolist() == (cells[0].flatten() == label).long().tolist()
    assert answer[1, :2].tolist() == [7, 1] and not answer[1, 2:].any()
    assert task.gold(ROWS)[:, 0].tolist() == [ANY, ANY]
    absent = next((label for i, label in enumerate(LABELS, 1) if not (cells[0] == i).any()), None)
    if absent:
        with pytest.raises(BadUsage, match="has none of it; it has"):
            task.gold([{**ROWS[0], "label": f"{absent}@map"}])
    with pytest.raises(BadData, match="no object"):
        task.gold([{"image": "x", "objects": []}])


def test_a_box_is_placed_in_pixels_and_a_region_by_its_cells():
    task = made()
    batch = task.collate(ROWS)
    with torch.no_grad():
        output = task.model.eval()(batch)
    answer = torch.stack([task.gold([{**ROWS[0], "label": "disc@7"}])[0], task.answer(output)[1]])
    answer[1, 0] = REGION
    placed = task.places(output, answer, batch)
    assert placed[0]["answer"] == "disc@7" and placed[0]["size_hw"] == [96, 96]
    assert "box_xyxy" not in placed[1] and "region" not in placed[0]
    cells = [list(map(int, row)) for row in placed[1]["region"]]
    assert cells == answer[1, 2:].reshape(task.map_size).tolist()
    x0, y0, x1, y1 = placed[0]["box_xyxy"]
    assert 0 <= x0 <= x1 <= 96 and 0 <= y0 <= y1 <= 96


@pytest.mark.parametrize("site", ["input", "backbone", "decoded"])
def test_what_is_asked_at_a_site_of_a_region_is_its_score(site):
    task = made(jobs="segmentation")
    batch = task.collate(ROWS)
    task.model.eval()
    output = task.model(batch)
    answer = task.answer(output)
    probe = ask(task, batch, site, answer)
    torch.testing.assert_close(probe.score(probe.units), task.score(output, answer), rtol=1e-4, atol=1e-5)


def test_of_one_job_the_answers_are_of_its_own_kind():
    boxes, pixels = made(jobs="detection"), made(jobs="segmentation")
    batch = boxes.collate(ROWS)
    with torch.no_grad():
        assert boxes.answer(boxes.model.eval()(batch)).shape == (2, 2)
        answer = pixels.answer(pixels.model.eval()(batch))
    assert (answer[:, 0] == REGION).all() and (answer[:, 2:].sum(1) > 0).all()
    assert boxes.sites.keys() == {"input", "backbone"} < pixels.sites.keys()
