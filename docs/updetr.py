"""Draws docs/updetr.png from the runs of `pellucid table updetr --run`: AP on 50 pictures after every epoch, a line a seed."""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS = {"pre-trained on patches": "#2a6fb0", "no pre-training": "#b4652a"}


def curve(run: pathlib.Path) -> tuple[list[float], list[float]]:
    """Epochs and AP x 100."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = [(row["epoch"], 100 * row["dev/AP"]) for row in rows if row.get("dev/AP") is not None]
    return [x for x, _ in told], [y for _, y in told]


def main(runs: pathlib.Path) -> None:
    """Draws all runs that are there."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), dpi=130)
    for name, colour in COLOURS.items():
        for i, run in enumerate(sorted(runs.glob(f"shapes-{name.replace(' ', '_')}-*"))):
            axes.plot(*curve(run), color=colour, linewidth=1.4, label=f"{name}, 3 seeds" if not i else None)
    axes.set(xlabel="epoch of fine-tuning", ylabel="AP", xlim=(0, None), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(pathlib.Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tables/updetr"))
