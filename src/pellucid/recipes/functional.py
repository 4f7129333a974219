"""Afchar, Hennequin, Guigue 2021, "Towards rigorous interpretations: a formalisation of feature attribution", arXiv 2104.12437.

Small tables whose right explanations are computed, met as columns, tokens or picture patches, by the exact mixture or by a trained
network. `pellucid check-method` scores attribution methods on them.
"""

from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.synthetic.settings import SyntheticSettings

PLACE = "functional:4_20"  # four columns, three planted shapes


def exact() -> Recipe:
    """The mixture itself, whose labels are the truth; only its width is tuned.

    `pellucid train functional:exact`, seconds.
    """
    return _recipe(SyntheticSettings("exact"), "points", Loop(epochs=1), Optim(lr=1e-3))


def mlp() -> Recipe:
    """An MLP trained on 2,000 draws; it should find the class of every point.

    `pellucid train functional:mlp`, twenty seconds on two cores.
    """
    return _recipe(SyntheticSettings("network"), "train", Loop(epochs=10, batch_size=64), Optim(lr=3e-3))


def tokens() -> Recipe:
    """A transformer layer over tokens, one token per value of a column.

    `pellucid train functional:tokens`, twenty seconds on two cores.
    """
    return _recipe(SyntheticSettings("network", "tokens"), "repeats", Loop(epochs=10, batch_size=64), Optim(lr=1e-3))


def patches() -> Recipe:
    """A small network over picture patches, the strength of whose texture is the column's value.

    `pellucid train functional:patches`, twenty seconds on two cores.
    """
    return _recipe(SyntheticSettings("network", "patches", width=32), "train", Loop(epochs=10, batch_size=64), Optim(lr=3e-3))


def tiny() -> Recipe:
    """A transformer layer over the tokens of a small table: seconds, no network.

    `pellucid train functional:tiny`
    """
    return _recipe(SyntheticSettings("network", "tokens", width=32), "repeats", Loop(epochs=3, batch_size=32), Optim(lr=2e-3))


def _recipe(task: SyntheticSettings, part: str, loop: Loop, optim: Optim) -> Recipe:
    """Measured on the points themselves, which are what is explained."""
    tests = {"points": Data(f"{PLACE}/points"), "draws": Data(f"{PLACE}/test")}
    return Recipe(
        task=task,
        train=Data(f"{PLACE}/{part}"),
        dev=Data(f"{PLACE}/dev"),
        tests=tests,
        optim=optim,
        loop=loop,
        schedule=Schedule(warmup=0.1),
    )
