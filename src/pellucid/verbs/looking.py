"""Verbs that say what there is."""

import math

from pellucid import recipe as recipes
from pellucid.verbs.shared import Given, print_json, settings_of


def list_(given: Given) -> int:
    """Names and one line each."""
    rows = {
        "recipes": _recipes,
        "models": _models,
        "data": _data,
        "methods": _methods,
        "checks": _checks_told,
        "shifts": _shifts,
        "metrics": _metrics,
    }[given.what]()
    if given.json:
        print_json(rows)
    else:
        width = max(map(len, rows))
        print("\n".join(f"{name:<{width}}  {about}" for name, about in rows.items()))
    return 0


def _recipes() -> dict[str, str]:
    return {f"{place}:{name}": about for place in recipes.places() for name, about in recipes.functions(place).items()}


def _models() -> dict[str, str]:
    from pellucid.data.encoders import ENCODERS
    from pellucid.data.networks import NETWORKS, VITS
    from pellucid.data.seq2seq import SEQ2SEQ
    from pellucid.tasks.text_classification.settings import BASELINES

    return {
        **ENCODERS,
        **SEQ2SEQ,
        "NAME or FOLDER": "any Hugging Face encoder, or encoder-decoder, with safetensors weights",
        **BASELINES,
        **NETWORKS,
        **VITS,
        "resnet_tiny": "four small residual blocks, for pictures of digits",
        "NAME": "any network of timm",
    }


def _data() -> dict[str, str]:
    from pellucid.data.read import kinds

    return kinds()


def _methods() -> dict[str, str]:
    from pellucid.explain.catalog import FITTED, METHODS

    return {**METHODS, **FITTED}


def _checks_told() -> dict[str, str]:
    from pellucid.explain.checks import CHECKS

    return {name: check.about for name, check in CHECKS.items()}


def _shifts() -> dict[str, str]:
    from pellucid.data.corrupt import MODALITIES

    return {f"{name} ({of})": kind.about for of, kinds in MODALITIES.items() for name, kind in kinds.items()}


def _metrics() -> dict[str, str]:
    from pellucid.tasks.quality.classic import METRICS

    def about(name: str) -> str:
        one = METRICS[name]
        ends = f"{one.low:g} to {one.high:g}" if one.high < math.inf else f"from {one.low:g}"
        better = "higher" if one.higher_is_better else "lower"
        return f"{one.title}: {better} is better, {ends}, {one.best:g} of identical pictures ({one.source})"

    return {name: about(name) for name in METRICS}


def show(given: Given) -> int:
    """The recipe as YAML."""
    print(recipes.to_yaml(recipes.override(recipes.get(given.recipe), settings_of(given))), end="")
    return 0


def doctor(given: Given) -> int:
    """What is installed and works."""
    from pellucid.doctor import look

    found = look()
    if given.json:
        print_json(found)
    else:
        print("\n".join(f"{name:<18} {value}" for name, value in found.items()))
    return 0 if found["torchvision"].endswith("compiled operators work") else 1
