"""A model's own attention over the units of a site, and records that hold small pictures of what units were made of."""

import base64
import dataclasses
import io
from dataclasses import dataclass

import pytest
import torch
from einops import einsum, rearrange
from PIL import Image
from torch import nn

from pellucid.errors import BadUsage
from pellucid.explain.explain import Known, Question, explained
from pellucid.explain.methods import METHODS, configured
from pellucid.explain.pooling import attention
from pellucid.explain.probe import ask
from pellucid.explaining import SHOWN, explain_all
from pellucid.task import Site
from toys import Pictures, linear_probe, pictures


@dataclass(frozen=True)
class Strip:
    """A film of grey frames, frame t of the grey 6 t, that counts how often it is decoded."""

    names: tuple[str, ...]
    asked: list[int]

    def pictures(self, side=112):
        self.asked.append(side)
        return [torch.full((3, side // 2, side), 6 * t, dtype=torch.uint8) for t in range(len(self.names))]


class Pooling(nn.Module):
    """Three attention units over numbers in a row, and a line upon each sum."""

    def __init__(self):
        super().__init__()
        self.local, self.score, self.head = nn.Identity(), nn.Linear(4, 3), nn.Linear(12, 5)

    def forward(self, batch):
        local = self.local(batch["local"])
        masked = self.score(local).masked_fill(~batch["present"][..., None], -torch.inf)
        weights = rearrange(masked.softmax(1), "b n u -> b u n")
        sums = einsum(weights, local, "b u n, b n d -> b u d")
        logits = self.head(rearrange(sums, "b u d -> b (u d)"))
        return {"logits": logits, **({"pooling.local": weights} if "with_attention" in batch else {})}


class Clips(Pictures):
    """A film to a label."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(Pooling())
        self.sites = {
            "input": Site("local", "b n d", present="present", names="time", film="film"),
            "head": Site("head", "b (n d)", axes={"n": 1}),
        }

    def collate(self, examples):
        local = nn.utils.rnn.pad_sequence([e["local"] for e in examples], True)
        present = torch.arange(local.shape[1]) < torch.tensor([len(e["local"]) for e in examples])[:, None]
        named = [[f"{0.4 * t:.2f} s" for t in range(len(e["local"]))] for e in examples]
        return {"local": local, "present": present, "time": named, "film": [e.get("film") for e in examples]}


def clips(count=2, filmed=(True, False)):
    torch.manual_seed(1)
    rows = [{"id": str(i), "local": torch.randn(3 + i % 2, 4)} for i in range(count)]
    asked = []
    for i, row in enumerate(rows):
        if filmed[i % len(filmed)]:
            row["film"] = Strip(tuple(f"{0.4 * t:.2f} s" for t in range(len(row["local"]))), asked)
    return rows, asked


def pooling(weights, present=None):
    """A probe of a model that pools three units by these weights."""
    return dataclasses.replace(linear_probe(torch.ones(3, 1), torch.ones(1, 3, 1), present), pooled=lambda: weights)


TWO = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.9, 0.0]]])


def test_attention_is_the_mean_over_units_the_largest_as_shares_or_that_of_one():
    assert attention(pooling(TWO)).relevance.tolist() == [pytest.approx([0.3, 0.575, 0.125])]
    most = [0.5 / 1.65, 0.9 / 1.65, 0.25 / 1.65]
    assert attention(pooling(TWO), by="max").relevance.tolist() == [pytest.approx(most)]
    assert configured("attention", {"unit": "1"})(pooling(TWO), None, 0).relevance.tolist() == [pytest.approx([0.1, 0.9, 0.0])]


def test_a_unit_that_is_not_there_and_another_number_of_units_are_refused():
    with pytest.raises(BadUsage, match=r"attention.unit=2: the model has 2 attention units here, from 0 to 1"):
        attention(pooling(TWO), 2)
    with pytest.raises(BadUsage, match="pools 2 units and this site has 3"):
        attention(pooling(TWO[..., :2]))
    with pytest.raises(BadUsage, match="needs a model that pools the units"):
        attention(linear_probe(torch.ones(1, 1), torch.ones(1, 1, 1)))
    with pytest.raises(BadUsage, match=r"attention\.by=sum"):
        configured("attention", {"by": "sum"})


@pytest.mark.parametrize("by", ["mean", "max"])
def test_attention_of_a_model_is_shares_of_real_units_the_same_alone_and_in_a_batch(by):
    task, (rows, _) = Clips(), clips()
    both, alone = (attention(ask(task, task.collate(some)), by=by).relevance for some in (rows, rows[:1]))
    torch.testing.assert_close(both.sum(1), torch.ones(2))
    torch.testing.assert_close(both[0, :3], alone[0])
    assert both[0, 3] == 0 and (both[1] > 0).all()


def test_attention_is_the_same_for_every_answer():
    task, (rows, _) = Clips(), clips()
    batch = task.collate(rows)
    found = [attention(ask(task, batch, answer=torch.tensor(answer))).relevance for answer in ([0, 0], [3, 4])]
    assert torch.equal(*found)


def test_a_model_that_does_not_pool_a_site_is_refused_by_name():
    task, (rows, _) = Clips(), clips()
    with pytest.raises(BadUsage, match="Pooling does not pool the units at 'head' by attention"):
        METHODS["attention"](ask(task, task.collate(rows), "head"), None, 0)
    other = Pictures()
    with pytest.raises(BadUsage, match="PictureNet does not pool the units at 'body'"):
        METHODS["attention"](ask(other, other.collate(pictures()), "body"), None, 0)


def told(rows, **more):
    """The records of films, in order."""
    task = Clips()
    question = Question(("attention", "occlusion"), checks=(), **more)
    return explain_all(task, rows, question, Known(lambda site: None), None)["examples"]


def test_a_record_has_a_small_picture_and_a_time_for_every_word():
    rows, asked = clips()
    with_film, without = told(rows)
    assert [frame["name"] for frame in with_film["film"]] == with_film["words"] == ["0.00 s", "0.40 s", "0.80 s"]
    assert "film" not in without and len(without["words"]) == 4 and asked == [112]
    for t, frame in enumerate(with_film["film"]):
        image = Image.open(io.BytesIO(base64.b64decode(frame["src"].partition(",")[2])))
        assert image.size == (112, 56) and abs(image.getpixel((9, 9))[0] - 6 * t) < 3


def test_films_of_many_frames_have_smaller_pictures():
    long, asked = {"id": "long", "local": torch.randn(40, 4)}, []
    found = told([{**long, "film": Strip(tuple(map(str, range(40))), asked)}])
    assert len(found[0]["film"]) == 40 and asked == [72]


def test_of_more_examples_than_a_page_shows_the_films_are_not_even_decoded():
    rows, asked = clips(2 * SHOWN, filmed=(True,))
    found = told(rows, batch_size=64)
    shown = [i for i, row in enumerate(found) if "film" in row]
    assert shown == list(range(0, 2 * SHOWN, 2)) and len(asked) == SHOWN


def test_a_generator_told_of_nothing_unseen_shows_everything():
    rows, _ = clips(filmed=(True,))
    batches = list(explained(Clips(), rows, Question(("attention",), checks=()), Known(lambda site: None)))
    assert all("film" in row for found, _ in batches for row in found.values())
