"""A run folder as a training would leave it, with made-up but plausible numbers; `python report_run.py DIR` writes one to look at."""

import json
import math
import pathlib
import random
import sys
from typing import Any

RECIPE = """recipe: robustness:minilm
task:
  model: minilm
  max_length: 128
train: {source: 'sentiment:movies/train', columns: {}, limit: null, seed: 0}
dev: {source: 'sentiment:movies/dev'}
tests:
  movies: {source: 'sentiment:movies/test'}
  amazon: {source: 'sentiment:amazon'}
  tweets: {source: 'sentiment:tweets'}
  editorials: {source: 'sentiment:editorials'}
optim: {name: adamw, lr: 5.0e-05, betas: [0.9, 0.999]}
claims: {}
"""
ENVIRONMENT: dict[str, Any] = {
    "task": "text_classification",
    "pellucid": "0.1.0",
    "torch": "2.11.0",
    "python": "3.11.9",
    "commit": "2dcbf35aa19be0f21a7c",
    "seed": 0,
    "processes": 1,
    "num_parameters": 22713986,
    "train_time_s": 254.3,
    "truncated": {"movies": 0.002, "amazon": 0.031, "tweets": 0.0, "editorials": 0.014},
    "command": "pellucid train robustness:minilm --set optim.lr=5e-05 --set loop.epochs=2 --out runs/minilm",
}
SETS = {"movies": (1008, 0.849), "amazon": (2985, 0.808), "tweets": (3432, 0.750), "editorials": (2970, 0.846)}
COLUMNS = list(SETS)
MODELS = {
    "MiniLM, fine-tuned": (0.849, 0.808, 0.750, 0.846),
    "LSTM": (0.791, 0.668, 0.629, 0.671),
    "ConvNet": (0.780, 0.655, 0.640, 0.668),
    "bag of words": (0.783, 0.605, 0.616, 0.627),
}
SENTENCES = [
    (
        "a quietly moving film , never sentimental , and almost always funny .",
        "positive",
        "positive",
        {"moving": 1.0, "funny": 0.7, "never": -0.25, "quietly": 0.2},
    ),
    (
        "the plot is thin and the jokes are older than the hills , but the two leads have a charm that nearly saves it .",
        "negative",
        "positive",
        {"thin": 0.9, "older": 0.5, "charm": -0.8, "saves": -0.35, "nearly": 0.3, "but": -0.2},
    ),
]


def write_run(folder: pathlib.Path) -> pathlib.Path:
    """A complete run in `folder`."""
    results = folder / "results"
    results.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in logged()))
    for name, value in {
        "environment": ENVIRONMENT,
        "evaluate": evaluate(),
        "shift": shift(),
        "detection": detection(),
        "leaks": leaks(),
        "explanations": explanations(),
        "comparison": comparison(),
    }.items():
        (results / f"{name}.json").write_text(json.dumps(value))
    return folder


def logged() -> list[dict[str, Any]]:
    rng, rows = random.Random(0), []
    for step in range(5, 505, 5):
        loss = 0.28 + 0.42 * math.exp(-step / 110) + rng.gauss(0, 0.05)
        rows.append(
            {"step": step, "epoch": step // 252, "time_s": step * 0.5, "train/loss": loss, "lr": 5e-5 * min(step / 30, (505 - step) / 475)}
        )
        if step in (250, 500):
            good = step // 250
            rows.append({"step": step, "epoch": good, "dev/accuracy": 0.819 + 0.014 * good, "dev/macro_f1": 0.817 + 0.0145 * good})
    return rows


def evaluate() -> dict[str, Any]:
    sets = {name: {"n": n, "metrics": {"accuracy": {"value": value, "higher_is_better": True}}} for name, (n, value) in SETS.items()}
    return {"score_unit": "log-probability", "sets": sets}


def shift() -> dict[str, Any]:
    return {"home": "movies", "score_unit": "log-probability", "sets": {name: _shifted(n, value) for name, (n, value) in SETS.items()}}


def _shifted(n: int, value: float) -> dict[str, Any]:
    drop, half, wide = value - 0.849, 1.96 * math.sqrt(value * (1 - value) / n), 0.026
    return {
        "n": n,
        "metrics": {
            "accuracy": _interval(value, half)
            | {"drop": drop, "drop_low": drop - wide, "drop_high": drop + wide, "higher_is_better": True},
            "macro_f1": _interval(value - 0.004, half)
            | {"drop": drop, "drop_low": drop - wide, "drop_high": drop + wide, "higher_is_better": True},
        },
        "calibration": calibration(n, 0.35 + 2.2 * abs(drop)),
    }


def _interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def calibration(n: int, bend: float) -> dict[str, Any]:
    bins = []
    for i in range(15):
        low, high = i / 15, (i + 1) / 15
        mid, inside = (low + high) / 2, round(n * 0.6 ** (14 - i)) if i >= 7 else 0
        accuracy = 0.5 + (mid - 0.5) * (1 - bend * 0.6) if inside else None
        bins.append({"low": low, "high": high, "confidence": mid if inside else None, "accuracy": accuracy, "n": inside})
    return {"ece": 0.03 + bend * 0.1, "temperature": 1.46, "ece_after": 0.012 + bend * 0.03, "bins": bins}


def detection() -> dict[str, Any]:
    strength = {"scan": (500, 1.3), "cogs": (500, 1.0), "editorials": (2970, 0.8), "tweets": (3432, 0.1)}
    methods = {"max_probability": 0.9, "max_logit": 0.95, "energy": 1.0, "entropy": 0.9, "mahalanobis": 1.5, "nearest_neighbours": 1.35}
    return {
        "home": "movies",
        "positive": "ood",
        "sets": {
            name: {"n": n, "methods": {m: detector(n / (n + 1008), gain * k) for m, k in methods.items()}}
            for name, (n, gain) in strength.items()
        },
    }


def detector(base_rate: float, gain: float) -> dict[str, Any]:
    power = 1 / (1 + gain)
    roc = [[i / 30, (i / 30) ** power] for i in range(31)]
    auroc = 1 / (1 + power)
    return {
        "auroc": auroc,
        "aupr": base_rate + (1 - base_rate) * (2 * auroc - 1) ** 1.4,
        "base_rate": base_rate,
        "far95": 0.95 ** (1 / power),
        "roc": roc,
    }


def leaks() -> dict[str, Any]:
    sets: dict[str, Any] = {name: {"n": n, "exact": 0, "near": 0, "examples": []} for name, (n, _) in SETS.items()}
    sets["movies"] |= {
        "exact": 2,
        "near": 5,
        "examples": [
            {"test_id": "movies/test:17", "train_id": "movies/train:4021", "kind": "exact"},
            {"test_id": "movies/test:812", "train_id": "movies/train:77", "kind": "near"},
        ],
    }
    return {"train": 8057, "sets": sets}


def explanations() -> dict[str, Any]:
    examples = []
    for k, (text, prediction, label, weights) in enumerate(SENTENCES):
        words = text.split()
        rng = random.Random(k)
        methods = {}
        for name, noise in (("iba", 0.0), ("integrated_gradients", 0.08), ("occlusion", 0.05), ("lime", 0.15)):
            relevance = [0.4 * weights.get(w, 0.02) + rng.gauss(0, noise / 4) for w in words]
            relevance = [abs(r) for r in relevance] if name == "iba" else relevance
            note = "baseline: the mean unit" if name == "integrated_gradients" else None
            methods[name] = {
                "relevance": relevance,
                "gap": 0.0021 if name == "integrated_gradients" else None,
                "note": note,
                "degradation": degradation(noise),
                "checks": {"deletion": 0.41 - noise, "sufficiency": 0.02 + noise, "agreement": 0.8 - 2 * noise},
            }
        examples.append(
            {
                "set": ("movies", "amazon")[k],
                "id": f"movies/test:{17 + k}",
                "prediction": prediction,
                "label": label,
                "answer": prediction,
                "score": -0.031 - k / 2,
            }
            | {"words": words, "methods": methods, "flow": flow(words, weights)}
        )
    return {"site": "embedding", "score_unit": "log-probability", "num": 1000, "passes": "", "summary": summary(), "examples": examples}


def flow(words: list[str], weights: dict[str, float]) -> dict[str, Any]:
    """The strongest word at the middle layer is the strongest of all."""
    sites = ["embedding", *(f"layer.{k}" for k in range(6))]
    rows = [[12 * abs(weights.get(w, 0.05)) * (1 - abs(k - 3) / 8) for w in words] for k in range(len(sites))]
    return {"method": "iba", "unit": "nats", "sites": sites, "relevance": rows}


def summary() -> dict[str, Any]:
    means = {"iba": (0.41, 0.02), "integrated_gradients": (0.33, 0.1), "occlusion": (0.36, 0.07), "lime": (0.26, 0.17)}
    checks = {
        method: {
            "deletion": {"mean": deletion, "low": deletion - 0.02, "high": deletion + 0.02, "n": 1000},
            "sufficiency": {"mean": sufficiency, "low": sufficiency - 0.01, "high": sufficiency + 0.01, "n": 998},
        }
        for method, (deletion, sufficiency) in means.items()
    }
    spearman = [[1.0 if i == k else 0.7 - 0.1 * (i + k) for k in range(4)] for i in range(4)]
    agreement = {"methods": list(means), "spearman": spearman}
    return {"n": 1000, "checks": checks, "agreement": agreement, "ms_per_example": dict(zip(means, (52.0, 31.0, 12.5, 44.0), strict=True))}


def degradation(noise: float) -> dict[str, Any]:
    fractions = [i / 10 for i in range(11)]
    most = [0.52 + 0.45 * math.exp(-f * (9 - 30 * noise)) for f in fractions]
    least = [0.52 + 0.45 * (1 - f**6) for f in fractions]
    middle = [0.52 + 0.45 * (1 - f**1.4) for f in fractions]
    most[-1] = least[-1] = middle[-1] = 0.52
    area = sum(a - b for a, b in zip(least, most, strict=True)) / 10
    return {"fractions": fractions, "most_first": most, "least_first": least, "random": middle, "area": area, "random_area": 0.004}


def comparison() -> dict[str, Any]:
    rows = [
        {"name": name, "values": dict(zip(COLUMNS, values, strict=True)), "mean_drop": sum(values[1:]) / 3 - values[0]}
        for name, values in MODELS.items()
    ]
    return {"columns": COLUMNS, "home": "movies", "rows": rows, "metric": "accuracy"}


if __name__ == "__main__":
    write_run(pathlib.Path(sys.argv[1]))
