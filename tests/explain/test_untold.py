"""Patches taken here and there from pictures of any shape: a cell in which none was taken is told as unknown, never as 0."""

import io
import json
import re

import pytest
import torch
from einops import rearrange, reduce
from rich.console import Console
from torch import nn

from pellucid import grids
from pellucid.data.padded import padded
from pellucid.explain import mosaic
from pellucid.explain.explain import Known, Question, explain
from pellucid.explain.patches import grounds
from pellucid.explain.probe import ask
from pellucid.explained import Explained
from pellucid.task import Site

CANVAS, CELLS = 64, 4
PLACES = {"wide": [(0.2, 0.1), (0.2, 0.9), (0.9, 0.9), (0.9, 0.6)], "tall": [(0.1, 0.1), (0.1, 0.9), (0.9, 0.2), (0.9, 0.9)]}
SHAPES = {"wide": (30, 64), "tall": (64, 40)}


class Darkness(nn.Module):
    def __init__(self):
        super().__init__()
        self.change, self.weight = nn.Identity(), nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return {"quality": 1 - self.weight * reduce(self.change(batch["change"]), "b r n d -> b", "sum")}


class Judge:
    """Quality is 1 less the changes of all patches, two samplings of which lie in one another's places."""

    score_unit = "value"
    sites = {"input": Site("change", "b r n d", groups="cell_of_patch", picture="picture", grid=(CELLS, CELLS))}

    def __init__(self):
        self.model = Darkness()

    def collate(self, examples):
        picture, present = padded([torch.full((3, *SHAPES[e["id"]]), 90, dtype=torch.uint8) for e in examples], CANVAS)
        cells = []
        for example in examples:
            height, width = SHAPES[example["id"]]
            at = [(y * height / CANVAS, x * width / CANVAS) for y, x in PLACES[example["id"]]]
            cells.append([int(y * CELLS) * CELLS + int(x * CELLS) for y, x in at] * 2)
        change = torch.tensor([e["change"] for e in examples])
        return {
            "change": rearrange(torch.stack([change, change], 1), "b r n -> b r n 1"),
            "picture": picture,
            "pixel_present": present,
            "cell_of_patch": torch.tensor(cells),
        }

    def loss(self, output, batch):
        return {"error": (1 - output["quality"]).mean()}

    def metrics(self):
        return {}

    def predict(self, output, batch):
        return [{"quality": q, "spread": 0.0} for q in output["quality"].tolist()]

    def answer(self, output):
        return torch.zeros_like(output["quality"], dtype=torch.long)

    def score(self, output, answer):
        return output["quality"]


EXAMPLES = [{"id": "wide", "change": [0.0, 0.0, 0.3, 0.0]}, {"id": "tall", "change": [0.0, 0.1, 0.0, 0.0]}]


@pytest.fixture(scope="module")
def found():
    question = Question(("occlusion", "kernel_shap"), options={"occlusion.baseline": "zero"}, flow=("input",))
    return explain(Judge(), EXAMPLES, question, Known(lambda site: None))


def test_a_map_reaches_over_its_picture_and_no_further(found):
    probe = ask(Judge(), Judge().collate(EXAMPLES))
    assert [g.grid for g in grounds(probe, Judge().collate(EXAMPLES)["pixel_present"])] == [(2, 4), (4, 3)]
    wide, tall = (record["picture"] for record in found["examples"])
    assert (wide["grid"], tall["grid"]) == ([2, 4], [4, 3])
    assert wide["span"] == [pytest.approx(32 / 30, abs=1e-5), 1] and tall["span"] == [1, pytest.approx(48 / 40)]
    assert found["examples"][1]["words"][-1] == "3,2" and len(found["examples"][1]["words"]) == 12
    assert found["examples"][1]["flow"]["grids"] == [[4, 3]] and len(found["examples"][1]["flow"]["relevance"][0]) == 12


def test_loss_of_quality_is_below_0_where_it_is_and_cells_without_a_patch_are_unknown(found):
    values = found["examples"][0]["methods"]["occlusion"]["relevance"]
    assert values == [0.0, None, None, 0.0, None, None, 0.0, pytest.approx(-0.6)]
    assert found["examples"][0]["flow"]["relevance"] == [values]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_cells_without_a_patch_take_no_part_in_the_agreement_of_methods(found):
    table = found["summary"]["agreement"]["spearman"]
    assert table[0][1] is not None and table[0][1] > 0.99


def test_numbers_and_several_numbers_are_no_answer_that_could_be_asked_about(found):
    assert [record["answer"] for record in found["examples"]] == [None, None]


def test_the_page_the_picture_and_the_terminal_take_the_records(found):
    page = Explained(found).html()
    assert "Of a picture's quality orange is where it is lost" in page and "lowers the score" in page and "blanked out" in page
    assert re.search(r"quality 0\.40*, spread 0", page) and "against the prediction" not in page
    assert len(Explained(found).png()) > 1000
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    grids.explanation(console, found["examples"][0], "value")
    told = console.file.getvalue()
    assert "quality 0.400, spread 0.000" in told and "lowers it" in told and "of blank ones nothing is told" in told


def test_the_terminal_shows_unknown_cells_as_dots_or_blank_and_lays_the_picture_by_its_span():
    one = mosaic.mosaic([0.0, None, -1.0, 1.0], {"grid": [2, 2], "span": [2.0, 1.0], "src": ""})
    lines = list(one._shades())
    assert lines[0].text == " " * 14 + "·" * 14
    pixels = mosaic._coloured(one.shares, mosaic._ground("", one.shares.shape))
    assert pixels[0, 1].tolist() == [mosaic.BLANK] * 3 and pixels[0, 0].tolist() != [mosaic.BLANK] * 3
