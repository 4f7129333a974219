"""Pictures with several labels: each that is predicted gets a map of its own, kept and taken up again like any other."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pellucid import explaining
from pellucid.errors import BadUsage
from pellucid.explain.attribution import Statistics
from pellucid.explain.explain import Known, Question, explain, posed
from pellucid.task import Site
from toys import ManySquares, Squares, squares


class Seer(nn.Module):
    """Logits that count the pixels of each colour: red more than green and blue, and so on."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.stem.weight.data = (1.5 * torch.eye(3) - 0.5)[..., None, None]
        self.stem.bias.data = torch.full((3,), -0.5)
        self.body = nn.Identity()

    def forward(self, batch):
        return {"logits": 400 * F.relu(self.body(self.stem(batch["image"]))).mean((2, 3)) - 4}


QUESTION = Question(methods=("occlusion", "integrated_gradients"), answer="each", batch_size=3, checks=())


@pytest.fixture
def task():
    return ManySquares(Seer())


def known(task):
    return Known(lambda site: Statistics(torch.zeros(1), torch.ones(1)), gold=task.gold)


def test_each_predicted_label_gets_a_map_that_points_to_its_square(task):
    examples = squares(6, 1, most=3)
    found = explain(task, examples, QUESTION, known(task))["examples"]
    asked = [(row["id"], row["answer"]) for row in found]
    assert sorted(asked) == sorted((e["id"], name) for e in examples for name in e["labels"]) and len(asked) > 6
    assert [i for i, _ in asked] == sorted(i for i, _ in asked)  # what is asked of one picture stands together
    patches = {e["id"]: e["patches"] for e in examples}
    for row in found:
        assert sorted(row["prediction"]) == sorted(row["label"]) and isinstance(row["prediction"], list)
        assert row["picture"]["grid"] == [4, 4] and row["picture"]["src"].startswith("data:image/")
        for one in row["methods"].values():
            strongest = row["words"][one["relevance"].index(max(one["relevance"]))]
            assert strongest == ",".join(map(str, divmod(patches[row["id"]][row["answer"]], 4)))


def test_a_picture_without_a_predicted_label_is_asked_for_the_likeliest(task):
    grey = {**squares(1, most=3)[0], "image": torch.full((3, 32, 32), 128, dtype=torch.uint8), "id": "grey"}
    (other,) = squares(1, 4, most=2)
    rows = explain(task, [grey, other], Question(("occlusion",), answer="each", checks=()), known(task))["examples"]
    assert (rows[0]["id"], rows[0]["prediction"], rows[0]["answer"]) == ("grey", [], None)
    assert sorted(row["answer"] for row in rows[1:]) == sorted(other["labels"])


def test_the_predicted_answer_of_many_labels_is_the_likeliest(task):
    (row,) = explain(task, squares(2, 3, most=3)[1:], Question(("occlusion",), checks=()), known(task))["examples"]
    assert row["answer"] == row["prediction"][0]


def test_a_journal_with_many_labels_goes_on_where_it_was(task, tmp_path):
    examples = squares(6, 1, most=3)
    whole = explaining.explain_all(task, examples, QUESTION, known(task), tmp_path)
    (kept,) = tmp_path.glob("*.jsonl")
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:4]))
    seen = []
    again = explaining.explain_all(task, examples, QUESTION, known(task), tmp_path, lambda at, of: seen.append((at, of)))
    strip = lambda found: [  # noqa: E731
        {**row, "methods": {k: {**one, "ms": 0} for k, one in row["methods"].items()}} for row in found["examples"]
    ]
    assert strip(again) == strip(whole) and seen[0][0] == 3 and seen[-1][0] == len(whole["examples"])
    assert kept.read_text().splitlines()[:4] == [line.rstrip("\n") for line in lines[:4]]


def test_only_pictures_that_a_page_shows_are_kept_and_labels_of_one_stay_together(task, tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "SHOWN", 3)
    found = explaining.explain_all(task, squares(6, 1, most=3), QUESTION, known(task), tmp_path)
    explaining.write(found, tmp_path)
    shown = json.loads((tmp_path / "explanations.json").read_text())["examples"]
    assert list(dict.fromkeys(row["id"] for row in shown)) == ["0", "2", "4"]
    assert len(shown) == sum(row["id"] in "024" for row in found["examples"])
    assert all(("src" in row["picture"]) == (row["id"] in "024") for row in found["examples"])


def test_another_picture_under_the_same_name_is_another_question(task, tmp_path):
    for image in (b"one", b"two"):
        examples = [{**e, "bytes": image} for e in squares(1, most=3)]
        explaining.explain_all(task, examples, QUESTION, known(task), tmp_path)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_task_of_one_label_is_asked_for_it_and_a_task_of_numbers_is_refused():
    task = Squares(Seer())
    assert [e["each"] for e in posed(task, squares(2, 1), QUESTION)] == task.predict(task.model(task.collate(squares(2, 1))), {})
    task.predict = lambda output, batch: output["logits"].sum(-1).tolist()
    with pytest.raises(BadUsage, match="predicts float, not labels"):
        posed(task, squares(2, 1), QUESTION)


def test_maps_at_every_site_have_grids_of_their_own(task):
    task.sites = {"input": task.sites["input"], "body": Site("body", "b d h w", picture="seen")}
    asked = Question(("occlusion",), checks=(), flow=("input",), site="input")
    (row,) = explain(task, squares(1, most=3), asked, known(task))["examples"]
    assert row["flow"]["grids"] == [[4, 4]] and len(row["flow"]["relevance"][0]) == 16
