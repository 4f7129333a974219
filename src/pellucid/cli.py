"""The command line: one verb each; parses, prints, exits. Heavy imports happen inside the verbs."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pellucid.errors import PellucidError

Verb = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit status is that of DESIGN: 0 done, 1 failure, 2 usage, 3 data, 4 unsafe, 5 gate, 130 interrupted."""
    given = parser().parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not given.debug:
        _quiet()
    try:
        return given.verb(given)
    except PellucidError as error:
        return _fail(given, error, error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail(given, Interruption(), 130)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return _fail(given, error, 1)


class Interruption(Exception):
    """Ctrl-C outside training."""

    def __str__(self) -> str:
        return "interrupted"


def _fail(given: argparse.Namespace, error: BaseException, status: int) -> int:
    if given.debug:
        raise error
    line = " ".join(str(error).split()) or type(error).__name__
    print(f"pellucid {given.name}: {line}" + (" (--debug shows where)" if status == 1 else ""), file=sys.stderr)
    return status


def _quiet() -> None:
    """Libraries' notes and bars would bury our one line."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("lightning_fabric", "lightning.fabric", "transformers", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)


# ---- the parser -------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """All verbs and their flags."""
    whole = argparse.ArgumentParser("pellucid", description="Fine-tune, measure at home and under shift, explain, check, report.")
    whole.add_argument("--version", action=Version, nargs=0, help="print the version")
    verbs = whole.add_subparsers(title="verbs", dest="name", required=True, metavar="VERB")

    def verb(name: str, run: Verb, about: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=about, description=about)
        one.add_argument("--debug", action="store_true", help="show the trace of an error")
        one.set_defaults(verb=run)
        return one

    _add_making(verb)
    _add_measuring(verb)
    _add_checking(verb)
    return whole


class Version(argparse.Action):
    """Prints the version and leaves."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Prints and exits."""
        import pellucid

        print(pellucid.__version__)
        parser.exit()


Add = Callable[[str, Verb, str], argparse.ArgumentParser]


def _add_making(verb: Add) -> None:
    one = verb("demo", lazily("demo"), "the main job on real text: fine-tune, shift, detect, explain, report; minutes on a laptop")
    one.add_argument("--out", default="runs/demo", help="folder of the runs (default %(default)s)")
    one.add_argument("--quick", action="store_true", help="a small generated set and a bag of words: seconds, no download")
    _add_quiet(one)

    one = verb("list", lazily("list_"), "what there is")
    one.add_argument("what", choices=["recipes", "models", "data", "methods", "checks", "shifts", "metrics"])
    one.add_argument("--json", action="store_true")

    one = verb("show", lazily("show"), "the recipe as YAML, with overrides")
    one.add_argument("recipe")
    _add_set(one)

    verb("doctor", lazily("doctor"), "versions, devices, optional packages, cache").add_argument("--json", action="store_true")

    one = verb("train", lazily("train"), "train a recipe into a folder; an existing run resumes")
    one.add_argument("recipe", help="file:function, ./mine.py:function or a recipe.yaml")
    one.add_argument("--out", required=True, help="folder of the run")
    one.add_argument("--init", default="", help="run folder or safetensors file to start from; every key must fit or be named")
    one.add_argument("--init-skip", action="append", default=[], metavar="PREFIX", help="also keep fresh weights under these names")
    one.add_argument("--init-drop", action="append", default=[], metavar="PREFIX", help="also leave these names of the file out")
    _add_set(one)
    _add_data(one)
    one.add_argument("--dev", help="source of the set that chooses the checkpoint (default: a tenth of --data)")
    one.add_argument(
        "--test", action="append", default=[], metavar="NAME=SOURCE", help="a test set; the first is home (default: a tenth of --data)"
    )
    one.add_argument("--gate", action="append", default=[], metavar="SET/METRIC=VALUE", help="exit 5 where the number is worse")
    _add_quiet(one)

    one = verb("features", lazily("features"), "local features of a source of videos, in a folder that features:FOLDER reads")
    one.add_argument("recipe", metavar="RECIPE_OR_RUN", help="whose backbones make them")
    one.add_argument("source", help="of videos, as in videos:clips; `pellucid list data` names the kinds")
    one.add_argument("--out", required=True, metavar="FOLDER", help="where they are kept; the same call goes on where it was interrupted")
    one.add_argument("--broken", choices=["refuse", "skip"], default="refuse", help="videos that cannot be read (default %(default)s)")
    one.add_argument("--json", action="store_true", help="print JSON")
    _add_set(one)
    _add_columns(one)


def _add_measuring(verb: Add) -> None:
    one = verb("evaluate", lazily("evaluate"), "measure a run on its test sets, or on --data")
    _add_run(one, metric=True)
    _add_workers(one)
    _add_data(one)
    one.add_argument(
        "--predictions", metavar="FILE", help="measure what another program predicted for --data: a line each, or a column prediction"
    )
    one.add_argument("--gate", action="append", default=[], metavar="SET/METRIC=VALUE", help="exit 5 where the number is worse")

    one = verb("shift", lazily("shift"), "home against elsewhere: drops with intervals, calibration, detection")
    _add_run(one)
    one.add_argument("--home", help="source of the home test set (default: the recipe's)")
    one.add_argument("--away", action="append", default=[], metavar="[NAME=]SOURCE", help="a set from elsewhere (default: the recipe's)")
    one.add_argument("--corrupt", default="", metavar="1-5", help="also corrupted copies of home, at these severities")
    one.add_argument("--kinds", default="", metavar="NAMES", help="only these corruptions, separated by commas; `pellucid list shifts`")
    one.add_argument(
        "--against", default="", metavar="RUN", help="another run measured so: its errors are what corruption errors divide by"
    )
    one.add_argument("--site", default="last", help="where feature distances are measured; none for no distances")
    _add_columns(one)

    one = verb("explain", lazily("explain"), "which words (pixels, columns) made the model say so, and is that to be believed")
    _add_run(one, metric=True)
    _add_explain(one)

    one = verb("predict", lazily("predict"), "predictions of a run")
    _add_run(one, metric=True)
    _add_reference(one)
    _add_workers(one)
    one.add_argument("inputs", nargs="+", help="texts; or pictures, videos, folders of them and patterns; or sources of a known data kind")
    one.add_argument("--probs", action="store_true", help="every label's probability as well")
    _add_words(one)
    one.add_argument("--threshold", type=float, help="of boxes those that score so much or more, 0 for all (default: the run's own)")
    one.add_argument("--draw", metavar="FOLDER", help="write each picture, and video, with its boxes and its map drawn there")
    one.add_argument("--maps", metavar="FOLDER", help="write the map of each picture's classes there, as VOC's: a PNG with a palette")
    one.add_argument("--every", type=int, default=1, metavar="N", help="of a video each Nth frame (default %(default)s)")
    one.add_argument("--csv", metavar="FILE", help="write a table there instead of printing lines of JSON")
    one.add_argument("--coco", metavar="FILE", help="write COCO's results of a coco: source there, all boxes, for any evaluator")
    one.add_argument(
        "--broken", choices=["refuse", "skip"], default="refuse", help="pictures and videos that cannot be read (default %(default)s)"
    )
    _add_columns(one)

    one = verb("report", lazily("report"), "write the run's page")
    _add_run(one)

    one = verb("export", lazily("export"), "the model as one file that runs without pellucid, checked against the run")
    _add_run(one)
    one.add_argument("--to", choices=["onnx", "torch-export"], default="onnx", help="what other programs read (default %(default)s)")
    one.add_argument("--out", metavar="FILE", help="ending in .onnx or .pt2 (default: export/model.onnx in the run)")
    one.add_argument("--size", type=int, help="side of the pictures in pixels, where it is not the one measured at")
    one.add_argument("--stages", action="store_true", help="of a text-conditioned detector: one file looks, one asks, once per caption")
    _add_data(one)

    _add_convert(verb("convert", lazily("convert"), "published weights as safetensors, or as a run, and back; only tensors are read"))


def _add_convert(one: argparse.ArgumentParser) -> None:
    one.add_argument("file", help="ending in .pth, .pt, .bin or .safetensors, or the folder of a run")
    one.add_argument("--out", metavar="FILE", help="ending in .safetensors (default: beside it; of a run, export/TO.safetensors in it)")
    one.add_argument(
        "--to",
        choices=["ours", "official", "hf", "detectron2"],
        default="ours",
        help="whose names a DETR's or MDETR's get (default %(default)s)",
    )
    one.add_argument(
        "--classes", "--labels", default="", metavar="WHICH", help="of a DETR: coco, coco-panoptic, or a file of names or categories"
    )
    one.add_argument("--to-run", default="", metavar="FOLDER", help="make a run of published weights, with --recipe")
    one.add_argument("--recipe", default="", help="of the network that the weights are of, as updetr:detr_r50")
    _add_set(one)
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_explain(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--input",
        action="append",
        default=[],
        help="a text or picture, or a file of a known data kind (default: examples of the test sets)",
    )
    one.add_argument("--text", action="append", default=[], help="a text; of a model that searches pictures, a caption for each --input")
    _add_reference(one)
    one.add_argument("--method", default="iba,integrated_gradients,occlusion,lime", help="names, separated by commas (default %(default)s)")
    one.add_argument("--compare", default="", metavar="NAMES", help="the same as --method, as in iba,ig,lime")
    one.add_argument(
        "--site", default="", metavar="NAMES", help="where units are read and replaced, as layer.4 (default: the task's inputs)"
    )
    one.add_argument("--all-layers", action="store_true", help="the first method's map at every site as well: how information flows")
    one.add_argument(
        "--answer", default="predicted", help="what is explained: predicted, gold, a label, or each predicted label (default %(default)s)"
    )
    one.add_argument("--check", default="cheap", help="cheap, all, none, or names from `pellucid list checks` (default %(default)s)")
    one.add_argument("--set", action="append", default=[], metavar="METHOD.OPTION=VALUE", help="a method's setting, as in iba.beta=0.1")
    one.add_argument("--num", type=int, default=3, help="examples per test set (default %(default)s)")
    one.add_argument("--all", action="store_true", help="every example of the test sets")
    one.add_argument("--out", metavar="FOLDER", help="keep explanations there, and go on there (default: the run's results)")
    one.add_argument("--batch-size", type=int, default=16, help="examples at a time; changes no result (default %(default)s)")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--html", metavar="FILE", help="write a page")
    one.add_argument("--png", metavar="FILE", help="write a picture")
    _add_columns(one)
    _add_quiet(one)


def _add_checking(verb: Add) -> None:
    one = verb("check-data", lazily("check_data"), "read a source, say what is in it and what is wrong with it")
    one.add_argument("source")
    one.add_argument("--against", action="append", default=[], metavar="SOURCE", help="also count rows that both have")
    one.add_argument("--spans", action="store_true", help="instead, of captions with boxes: each box, and the words of its span as text")
    one.add_argument("--json", action="store_true")
    _add_columns(one)

    one = verb("check", lazily("check"), "hold the task of a recipe to its promises")
    one.add_argument("recipe")
    _add_set(one)

    one = verb("check-method", lazily("check_method"), "hold an attribution method to known truth")
    _add_method(one)

    one = verb("table", lazily("table"), "claimed beside measured; with --run, train what is missing")
    one.add_argument("table", help="a recipe file, as in `pellucid table robustness`")
    one.add_argument("--run", action="store_true")
    one.add_argument("--out", default="runs/tables", help="where its runs lie (default %(default)s)")
    one.add_argument("--only", default="", metavar="TEXT", help="cells whose group, training set or model contains this")
    one.add_argument("--seeds", type=int, default=0, help="the first so many seeds (default: all)")
    one.add_argument("--json", action="store_true")
    one.add_argument("--write", default="", metavar="FOLDER", help="write NAME.json and NAME.md there")

    one = verb("bench", lazily("bench"), "run benchmarks/NAME.py of a checkout; the last line is JSON")
    one.add_argument("benchmark")


def _add_method(one: argparse.ArgumentParser) -> None:
    one.add_argument("method", help="a name, ./mine.py:function, several separated by commas, all, or trained")
    one.add_argument("--only", choices=["promises", "benchmark"], default="", help="one of the two parts")
    one.add_argument(
        "--tasks", choices=["generated", "published"], default="generated", help="published: in $PELLUCID_DATA/functional_tasks"
    )
    one.add_argument("--kind", default="plain", help="plain, duplicated, dummies, noise, classes or value")
    one.add_argument("--model", choices=["exact", "network"], default="exact", help="the truth itself, or a network fitted to draws of it")
    one.add_argument("--embedding", choices=["columns", "tokens", "patches"], default="columns", help="how the model meets a column")
    one.add_argument("--score", choices=["value", "log-probability"], default="value", help="what is explained of a class")
    one.add_argument("--std", type=float, help="width of the Gaussians (default 0.125)")
    one.add_argument("--certainty", type=float, help="truth: the smallest sets that make the answer so certain, 0 to 1")
    one.add_argument("--quick", action="store_true", help="a third of the generated problems")
    one.add_argument("--official", action="store_true", help="the authors' program, levels and protocol, for their methods")
    one.add_argument("--steps", type=int, default=5000, help="updates of a trained selector (default %(default)s, the authors' 50000)")
    one.add_argument("--seeds", type=int, default=2, help="runs of a method that draws, for its stability (default %(default)s)")
    one.add_argument("--write", default="", metavar="FOLDER", help="write functional.json, .md and .html there")
    one.add_argument("--json", action="store_true")


def lazily(name: str) -> Verb:
    """The verb's function in `pellucid.verbs`, imported when it is called."""

    def run(given: argparse.Namespace) -> int:
        import importlib

        return getattr(importlib.import_module("pellucid.verbs"), name)(given)

    return run


def _add_run(one: argparse.ArgumentParser, metric: bool = False) -> None:
    one.add_argument("run", help="folder of a run" + ", or metric:NAME for a classic metric of `pellucid list metrics`" * metric)
    one.add_argument("--json", action="store_true", help="print JSON")


def _add_set(one: argparse.ArgumentParser) -> None:
    one.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field, as in optim.lr=1e-4")


def _add_reference(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--reference", metavar="FILE", help="the picture that each is compared with, or a folder where it lies under the same name"
    )


def _add_words(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--text", action="append", default=[], metavar="CAPTION", help="what is looked for in each picture, which is seen once for several"
    )
    one.add_argument(
        "--labels",
        metavar="NAMES",
        help="look for these, as in cup,laptop, each as a caption of its own; a box that two claim gets the surer name",
    )


def _add_workers(one: argparse.ArgumentParser) -> None:
    one.add_argument("--workers", type=int, metavar="N", help="processes that load while the model runs (default: the run's own)")


def _add_quiet(one: argparse.ArgumentParser) -> None:
    one.add_argument("--quiet", action="store_true", help="plain lines instead of a progress bar")


def _add_data(one: argparse.ArgumentParser) -> None:
    one.add_argument("--data", help="source of examples, as in csv:reviews.csv; `pellucid list data` names the kinds")
    _add_columns(one)


def _add_columns(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="column of the file that the task reads as text, text_pair, label",
    )
    one.add_argument("--label", action="append", default=[], metavar="FOUND=WANTED", help="rename a label")
    one.add_argument("--limit", type=int, help="at most so many rows")


if __name__ == "__main__":
    sys.exit(main())
