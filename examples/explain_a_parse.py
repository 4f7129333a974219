"""Do explanations of a parser point at the word that the grammar names? Each action of SCAN rests on one word, which is known.

python examples/explain_a_parse.py runs/scan --num 40

That word is found by asking the grammar: it is the verb or direction that, changed for another, changes the action. Told is how often the
word of largest relevance is that one: of the trained parser, of the same parser with random weights, and by chance.
"""

import argparse
import random
from collections.abc import Sequence
from typing import Any

import torch

import pellucid
from pellucid.data.scan import actions
from pellucid.explain.explain import Known, Question, explain, statistics_at
from pellucid.explained import Explained

METHODS = ("iba", "integrated_gradients", "gradient_x_input", "occlusion", "lime", "random")
SWAPS = {"walk": "look", "look": "run", "run": "jump", "jump": "walk", "left": "right", "right": "left"}


def truth(command: str) -> list[int]:
    """For each action of a command the place of the word that it rests on."""
    words, done = command.split(), actions(command)
    rests = [-1] * len(done)
    for place, word in enumerate(words):
        if word in SWAPS:
            others = actions(" ".join([*words[:place], SWAPS[word], *words[place + 1 :]]))
            rests = [place if a != b else old for a, b, old in zip(done, others, rests, strict=True)]
    return rests


def rates(task: Any, examples: Sequence[dict[str, Any]], site: str, train: Sequence[dict[str, Any]]) -> dict[str, float]:
    """By method how often the most relevant word is the true one, over all actions, each explained as the right output is written."""
    right = task.force(examples, [task.prediction(e["label"]) for e in examples])
    asked = [{**e, "each": f"{a}@{i + 1}"} for e in right for i, a in enumerate(e["label"].split())]
    known = Known(lambda place: statistics_at(task, train, place), gold=task.gold)
    found = Explained(explain(task, asked, Question(METHODS, site, "each", (), batch_size=64), known))
    hits: dict[str, list[bool]] = {method: [] for method in METHODS}
    for method in METHODS:
        for place, example in enumerate(examples):
            relevance = found.matrix(method, place)[2]
            hits[method] += [int(row.argmax()) == word for row, word in zip(relevance, truth(example["text"]), strict=True)]
    return {method: sum(some) / len(some) for method, some in hits.items()}


def chance(examples: Sequence[dict[str, Any]]) -> float:
    """How often a word drawn at random is the true one."""
    each = [1 / len(e["text"].split()) for e in examples for _ in e["label"].split()]
    return sum(each) / len(each)


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """A table of rates: methods by sites, trained and with random weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="of `pellucid train parsing:recurrent_scan` or another parser of SCAN")
    parser.add_argument("--num", type=int, default=40, help="commands, drawn from the run's first test set (default %(default)s)")
    parser.add_argument("--sites", default="input,memory")
    given = parser.parse_args(argv)
    run = pellucid.load(given.run)
    examples = run.prepared(next(iter(run.recipe.tests.values())))
    examples = random.Random(0).sample(examples, min(given.num, len(examples)))
    train = run.prepared(run.recipe.train)[:200]
    train = run.task.force(train, [run.task.prediction(e["label"]) for e in train])
    told = {f"trained, {site}": rates(run.task, examples, site, train) for site in given.sites.split(",")}
    torch.manual_seed(0)
    untrained = run.recipe.task.read(run.folder / "preprocessing")
    told |= {f"random weights, {site}": rates(untrained, examples, site, train) for site in given.sites.split(",")}
    return told | {"chance": dict.fromkeys(METHODS, chance(examples))}


if __name__ == "__main__":
    for name, row in main().items():
        print(f"{name:>24}  " + "  ".join(f"{method} {rate:.2f}" for method, rate in row.items()))
