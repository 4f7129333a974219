"""Why a network sees what it sees in photographs, without training anything: writes a page and a picture of maps.

python examples/explain_a_picture.py cat.jpg cup.jpg --out why.html
"""

import argparse
from collections.abc import Sequence

from timm.data import ImageNetInfo

from pellucid.data.views import TestView
from pellucid.explain.explain import Known, Question, explain, statistics_at
from pellucid.explained import Explained
from pellucid.nn.pictures import picture_network
from pellucid.tasks.image_classification.settings import ImageSettings
from pellucid.tasks.image_classification.task import ImageClassification

METHODS = ("iba", "gradcam", "integrated_gradients", "occlusion")


def imagenet(model: str = "efficientnet-lite0", pretrained: str = "auto", size: int = 224) -> ImageClassification:
    """A network with the ImageNet weights it comes with, as a task: 1,000 labels, a site for pixels and one for each block."""
    told = ImageNetInfo()
    labels = [told.index_to_description(i).partition(",")[0] for i in range(1000)]
    settings = ImageSettings(model, view=TestView(size))
    return ImageClassification(picture_network(settings, len(labels), pretrained), labels, settings)


def explained(task: ImageClassification, photos: Sequence[str], site: str) -> Explained:
    """Four maps of each photograph with their checks; the noise of `iba` is measured on the photographs themselves."""
    examples = task.prepare([{"id": photo, "image": photo} for photo in photos], "photographs")
    known = Known(lambda place: statistics_at(task, examples, place), gold=task.gold)
    return Explained(explain(task, examples, Question(METHODS, site), known))


def main(argv: Sequence[str] | None = None) -> None:
    """Reads photographs, writes their explanations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--model", default="efficientnet-lite0", help="a name of `pellucid list models`")
    parser.add_argument("--site", default="blocks.4", help="where relevance is read: input, or a block of the network")
    parser.add_argument("--out", default="explained.html", help="a page (.html), a picture (.png) or data (.json)")
    given = parser.parse_args(argv)
    found = explained(imagenet(given.model), given.photos, given.site)
    for example in found.examples:
        print(example["id"], example["prediction"])
    print(found.save(given.out))


if __name__ == "__main__":
    main()
