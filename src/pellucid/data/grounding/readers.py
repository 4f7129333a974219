"""The readers of groundings by the kind that a source names."""

from collections.abc import Callable, Mapping

from pellucid.data.grounding import builder, captions, clevr, flickr, genome, gqa, lvis, modulated, phrasecut, refcoco
from pellucid.data.sources import Rows

READERS: dict[str, Callable[[str, Mapping[str, str]], Rows]] = {
    "modulated": modulated.read,
    "phrases": builder.read,
    "coco-captions": captions.read,
    "refcoco": refcoco.read,
    "flickr": flickr.read,
    "genome": genome.read,
    "phrasecut": phrasecut.read,
    "lvis": lvis.read,
    "gqa": gqa.read,
    "clevr": clevr.questions,
    "clevr-ref": clevr.expressions,
}
