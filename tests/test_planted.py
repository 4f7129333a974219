"""The planted word: where one word decides, the bottleneck must find it. Fine-tunes MiniLM, a minute or two."""

import pytest
import torch

from pellucid import run
from pellucid.data import packages
from pellucid.explain.attribution import baseline
from pellucid.explain.degrade import degradations, on_scale
from pellucid.explain.methods import METHODS
from pellucid.explain.probe import ask
from pellucid.explain.words import to_words


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    if not (packages.cache_folder() / "packages" / packages.MINILM.file).is_file():
        pytest.skip("MiniLM's package is not in the cache; training a recipe on minilm puts it there")
    return run.train("iba:planted", tmp_path_factory.mktemp("runs") / "planted")


@pytest.mark.slow
@pytest.mark.parametrize("site", ["layer.1", "layer.3", "layer.4"])
def test_the_bottleneck_finds_the_planted_word_and_deleting_it_first_costs_most(trained, site):
    rows = trained.prepared(trained.recipe.tests["planted"])[:96]
    statistics = trained.statistics(site)
    hits, most, least, chance = 0, [], [], []
    for first in range(0, len(rows), 16):
        some = rows[first : first + 16]
        probe = ask(trained.task, trained.task.collate(some), site)
        relevance = METHODS["iba"](probe, statistics, 0).relevance
        hits += sum(values.index(max(values)) == e["planted"] for e, (_, values) in zip(some, to_words(relevance, probe), strict=True))
        curves = degradations(on_scale(probe, "log-probability"), {"iba": relevance}, baseline(probe, "mean", statistics))["iba"]
        most.append(curves.most_first)
        least.append(curves.least_first)
        chance.append(curves.random)
    assert hits / len(rows) >= 0.9
    most, least, chance = (torch.cat(rows).mean(0)[1:-1] for rows in (most, least, chance))  # at the ends all orders are one
    assert (most <= chance).all() and (least >= chance).all() and (least - most).max() > 0.05
