"""Jiang, Tang, Xin, Lin 2020, "Inserting information bottlenecks for attribution in transformers", arXiv 2012.13838.

Four real sets on which the paper compares attribution methods, and a planted word on which the truth is known. MiniLM stands for
BERT-base, whose weights no package carries. Sets are read from the folder named by the environment variable PELLUCID_DATA.
"""

from dataclasses import replace

from pellucid.paper import Contender, Study
from pellucid.recipe import Data, Loop, Optim, Recipe
from pellucid.tasks.text_classification.settings import TextSettings

ROOT = "${PELLUCID_DATA}"
SIGNS = {"0": "negative", "1": "positive"}
TOPICS = {"1": "world", "2": "sports", "3": "business", "4": "technology"}


def sst2() -> Recipe:
    """MiniLM on 4,000 phrases of SST-2.

    `PELLUCID_DATA=... pellucid train iba:sst2`, four minutes on two cores.
    """

    def rows(part: str, limit: int) -> Data:
        return Data(f"tsv:{ROOT}/sst2/{part}.tsv.gz?quoting=none", {"text": "sentence"}, labels=SIGNS, limit=limit)

    return _minilm(rows("train_full", 4000), rows("dev", 872), rows("test-labeled", 1821), "sst2", 64, epochs=2)


def imdb() -> Recipe:
    """MiniLM on 1,500 reviews of IMDb, 64 tokens of each.

    `PELLUCID_DATA=... pellucid train iba:imdb`, two minutes on two cores.
    """

    def rows(file: str, part: str, limit: int) -> Data:
        return Data(f"jsonl:{ROOT}/imdb/{file}.jsonl.gz?broken=drop", labels=SIGNS, part=part, limit=limit)  # type: ignore[arg-type]

    return _minilm(rows("train", "train", 1500), rows("train", "dev", 400), rows("test", "", 1000), "imdb", 64, epochs=2)


def ag_news() -> Recipe:
    """MiniLM on 2,000 items of AG News, titles with descriptions; the parts are cut from the published test file.

    `PELLUCID_DATA=... pellucid train iba:ag_news`, three minutes on two cores.
    """

    def rows(part: str, limit: int) -> Data:
        columns = {"text": "c2+c3", "label": "c1"}
        return Data(f"csv:{ROOT}/ag_news/test.csv.gz?header=no", columns, labels=TOPICS, part=part, limit=limit)  # type: ignore[arg-type]

    return _minilm(rows("train", 2000), rows("dev", 400), rows("test", 760), "ag_news", 64, epochs=2)


def rte() -> Recipe:
    """MiniLM on whether one text follows from another, all 2,490 pairs of RTE.

    `PELLUCID_DATA=... pellucid train iba:rte`, eight minutes on two cores.
    """
    columns = {"text": "sentence1", "text_pair": "sentence2"}
    train = Data(f"tsv:{ROOT}/rte/train.tsv.gz?quoting=none", columns)
    test = Data(f"tsv:{ROOT}/rte/dev.tsv.gz?quoting=none", columns)
    one = _minilm(replace(train, part="train"), replace(train, part="dev"), test, "rte", 96, epochs=4)
    return replace(one, task=replace(one.task, start_head=False))


def planted() -> Recipe:
    """MiniLM on generated sentences where one adjective alone decides, so that the right explanation is known.

    `pellucid train iba:planted`, one minute on two cores.
    """
    data = {part: Data(f"polarity:{part}") for part in ("train", "dev", "test")}
    return _minilm(data["train"], data["dev"], data["test"], "planted", 32, epochs=2)


def tiny() -> Recipe:
    """Mean of word vectors on generated sentences: seconds, no network.

    `pellucid train iba:tiny`
    """
    loop, optim = Loop(epochs=3, batch_size=32), Optim(lr=0.01, clip_norm=4.0)
    return replace(planted(), task=TextSettings("average", max_length=32), optim=optim, loop=loop)


def study() -> Study:
    """The paper's comparison of attribution methods by deletion, every method explaining the same answer; `pellucid table iba --run`."""
    kinds = ("mean", "cut")
    contenders = {
        "IBA": [Contender("iba", f"layer.{k}", {"beta": beta}) for k in (1, 3, 4) for beta in ("0.001", "0.01")],
        "integrated gradients": [Contender("integrated_gradients", options={"baseline": kind, "steps": "32"}) for kind in ("mean", "zero")],
        "LIME": [Contender("lime", options={"baseline": kind, "samples": "100"}) for kind in kinds],
        "occlusion": [Contender("occlusion", options={"baseline": kind}) for kind in kinds],
        "gradient x input": [Contender("gradient_x_input")],
        "random": [Contender("random")],
        "integrated gradients, always of the first label": [Contender("integrated_gradients", options={"steps": "10"}, target=0)],
        "LIME, always of the second label": [Contender("lime", options={"baseline": "cut", "samples": "100"}, target=1)],
    }
    sets = {"SST-2": "iba:sst2", "IMDb": "iba:imdb", "AG News": "iba:ag_news", "RTE": "iba:rte"}
    return Study("Inserting information bottlenecks for attribution in transformers", sets, contenders, "IBA", notes=NOTES)


NOTES = """Degradation score: area between the mean curves of the answer's probability as tokens are deleted least and most relevant
first, 1 for the untouched and 0 for the emptied texts (Schulz et al. 2020), by the paper's rule of deletion; larger is better. All
methods explain the answer the model gave, on the same examples; each method's setting (for IBA the layer and beta) was chosen on
other examples, of the dev set. The last two rows repeat what the paper's own baselines do: integrated gradients always explain the
first label, in ten steps, and LIME always the second. LIME takes 100 samples, as there, integrated gradients 32 steps; passes are in
bfloat16. MiniLM-L6 stands for BERT-base, and training sets are cut to
what two cores train in minutes."""


def _minilm(train: Data, dev: Data, test: Data, name: str, max_length: int, epochs: int) -> Recipe:
    """Every layer tuned, from a head that starts as a regression on frozen features; the best epoch at home is kept."""
    return Recipe(
        task=TextSettings("minilm", max_length=max_length, start_head=True, head_dropout=0.0),
        train=train,
        dev=dev,
        tests={name: test},
        optim=Optim(lr=5e-5),
        loop=Loop(epochs=epochs, batch_size=32, precision="bf16-mixed"),
    )
