"""Orhan 2021, "Compositional generalization in semantic parsing with pretrained transformers", arXiv 2109.15101.

The same encoder-decoders from pretrained and from fresh weights, on SCAN and COGS, by exact match on what training did not compose. SCAN
is generated; COGS is read from the folder named by the environment variable PELLUCID_DATA, as its authors publish it (cogs/train.tsv
...). The paper's recipes take all training rows and keep the last weights, as there; on other splits of SCAN:
`pellucid train parsing:t5_base_scan --data scan:length/train --test length=scan:length/test`.
"""

from collections.abc import Mapping
from dataclasses import replace

from pellucid.data.cogs_kinds import KINDS
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule, get
from pellucid.tasks.parsing.settings import ParsingSettings

COGS = "cogs:${PELLUCID_DATA}/cogs"
ENGLISH = "translate English to English: "
ACTIONS = {f"I_{word.upper().replace(' ', '_')}": word for word in ("walk", "look", "run", "jump")}
ACTIONS |= {"I_TURN_LEFT": "left", "I_TURN_RIGHT": "right"}
LINEAR = Schedule("linear", warmup=0.0)
FLAN = Optim("adamw", lr=1e-3, weight_decay=0.0)
LOOP = Loop(epochs=1, eval_batch_size=64, precision="bf16-mixed", keep="last", save_every=10_000)


# ---- small -------------------------------------------------------------------------------------------------------------


def recurrent_scan() -> Recipe:
    """LSTMs with attention on SCAN's simple split; then on commands longer than any of it.

    `pellucid train parsing:recurrent_scan`, two and a half minutes on one core.
    """
    return _recurrent("simple", {"simple": Data("scan:simple/test"), "longer": Data("scan:longer/test")})


def recurrent_scan_jump() -> Recipe:
    """LSTMs with attention, shown `jump` only by itself.

    `pellucid train parsing:recurrent_scan_jump`
    """
    return _recurrent("addprim_jump", _away("addprim_jump"))


def recurrent_scan_turn_left() -> Recipe:
    """LSTMs with attention, shown `turn left` only by itself.

    `pellucid train parsing:recurrent_scan_turn_left`
    """
    return _recurrent("addprim_turn_left", _away("addprim_turn_left"))


def recurrent_scan_length() -> Recipe:
    """LSTMs with attention, shown up to 22 actions, asked for 24 to 48.

    `pellucid train parsing:recurrent_scan_length`
    """
    return _recurrent("length", _away("length"))


def recurrent_scan_template() -> Recipe:
    """LSTMs with attention, never shown `around right`.

    `pellucid train parsing:recurrent_scan_template`
    """
    return _recurrent("template_around_right", _away("template_around_right"))


def recurrent_cogs() -> Recipe:
    """LSTMs with attention on all of COGS.

    `PELLUCID_DATA=... pellucid train parsing:recurrent_cogs`, eight minutes on one core.
    """
    kinds = {kind: Data(f"{COGS}/gen.tsv?kinds={kind}", limit=1000) for kind in ("lexical", "structural")}
    return Recipe(
        task=ParsingSettings("recurrent", width=128, max_target=512),
        train=Data(f"{COGS}/train.tsv"),
        tests={"home": Data(f"{COGS}/test.tsv"), **kinds},
        optim=Optim("adam", lr=3e-3, weight_decay=0.0, clip_norm=5.0),
        schedule=Schedule("linear", warmup=0.05),
        loop=Loop(epochs=10, batch_size=64, eval_batch_size=256, keep="last", save_every=2000),
    )


def _away(split: str) -> dict[str, Data]:
    return {"home": Data(f"scan:{split}/train", part="test", limit=1000), split: Data(f"scan:{split}/test", limit=2000)}


def _recurrent(split: str, tests: Mapping[str, Data]) -> Recipe:
    train = Data(f"scan:{split}/train", part="" if split == "simple" else "train")
    return Recipe(
        task=ParsingSettings("recurrent", width=100, max_target=64),
        train=train,
        tests=tests,
        optim=Optim("adam", lr=3e-3, weight_decay=0.0, clip_norm=5.0),
        schedule=LINEAR,
        loop=Loop(epochs=20, batch_size=64, eval_batch_size=256, keep="last", save_every=2000),
    )


def tiny() -> Recipe:
    """LSTMs with attention on SCAN's commands of up to five actions: seconds, no network.

    `pellucid train parsing:tiny`
    """
    rows = "scan:all?most=5"
    return Recipe(
        ParsingSettings("recurrent", width=64, max_target=24),
        train=Data(rows, part="train"),
        dev=Data(rows, part="dev"),
        tests={"home": Data(rows, part="test"), "longer": Data("scan:all?least=6&most=8", limit=250)},
        optim=Optim("adam", lr=5e-3, weight_decay=0.0, clip_norm=5.0),
        schedule=LINEAR,
        loop=Loop(epochs=16, batch_size=32, eval_batch_size=256),
    )


def flan_t5_small_scan() -> Recipe:
    """flan-t5-small, which a registry package carries (int8-dequantised, title-tuned), on SCAN, shown `jump` only by itself.

    `pellucid train parsing:flan_t5_small_scan`, ten minutes on one core; needs the extra `onnx`. Each action is written as one piece.
    """
    return _flan_scan(ParsingSettings("flan-t5-small", trim=True, rewrite=ACTIONS, max_target=64, dropout=0.0))


def flan_t5_small_scan_scratch() -> Recipe:
    """The same architecture, vocabulary and budget from fresh weights.

    `pellucid train parsing:flan_t5_small_scan_scratch`
    """
    one = flan_t5_small_scan()
    return replace(one, task=replace(one.task, from_random=True))


def flan_t5_small_cogs() -> Recipe:
    """flan-t5-small, which a registry package carries (int8-dequantised, title-tuned), on COGS.

    `PELLUCID_DATA=... pellucid train parsing:flan_t5_small_cogs`, ten minutes on one core; needs the extra `onnx`.
    """
    return _flan_cogs(ParsingSettings("flan-t5-small", trim=True, max_target=768, dropout=0.0))


def flan_t5_small_cogs_scratch() -> Recipe:
    """The same architecture, vocabulary and budget from fresh weights.

    `PELLUCID_DATA=... pellucid train parsing:flan_t5_small_cogs_scratch`
    """
    one = flan_t5_small_cogs()
    return replace(one, task=replace(one.task, from_random=True))


def _flan_scan(task: ParsingSettings) -> Recipe:
    split = "addprim_jump"
    train = Data(f"scan:{split}/train", part="train", limit=9600)
    tests = {"home": Data(f"scan:{split}/train", part="test", limit=500), split: Data(f"scan:{split}/test", limit=500)}
    return Recipe(task, train, tests=tests, optim=FLAN, schedule=LINEAR, loop=replace(LOOP, batch_size=32))


def _flan_cogs(task: ParsingSettings) -> Recipe:
    train = Data(f"{COGS}/train.tsv?common=1765")  # and the 155 that show a word once
    gen = {kinds: Data(f"{COGS}/gen.tsv?kinds={kinds}", limit=limit) for kinds, limit in (("lexical", 180), ("structural", 60))}
    tests = {"home": Data(f"{COGS}/test.tsv", limit=200), **gen}
    loop = replace(LOOP, epochs=2, batch_size=16, eval_batch_size=128, eval_precision="bf16-mixed")
    return Recipe(task, train, tests=tests, optim=FLAN, schedule=LINEAR, loop=loop)


# ---- the paper's ------------------------------------------------------------------------------------------------------


def t5_base_scan() -> Recipe:
    """T5-base on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:t5_base_scan`; claimed 93.6 on jump.
    """
    return _paper_scan(ParsingSettings("t5-base", prefix=ENGLISH), 60, 1e-4, 128, jump=93.6)


def t5_base_scan_scratch() -> Recipe:
    """T5-base, from fresh weights on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:t5_base_scan_scratch`; claimed 0.0 on jump.
    """
    return _paper_scan(ParsingSettings("t5-base", from_random=True, prefix=ENGLISH), 250, 1e-4, 128, jump=0.0)


def t5_base_cogs() -> Recipe:
    """T5-base on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:t5_base_cogs`; claimed 83.3 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("t5-base", prefix=ENGLISH), 40, 1.5e-5, 128)


def t5_base_cogs_scratch() -> Recipe:
    """T5-base, from fresh weights on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:t5_base_cogs_scratch`; claimed 32.3 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("t5-base", from_random=True, prefix=ENGLISH), 100, 1.5e-5, 128)


def t5_3b_scan() -> Recipe:
    """T5-3B on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:t5_3b_scan`; claimed 96.1 on jump.
    """
    return _paper_scan(ParsingSettings("t5-3b", prefix=ENGLISH), 12, 1e-4, 32, jump=96.1)


def t5_3b_scan_scratch() -> Recipe:
    """T5-3B, from fresh weights on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:t5_3b_scan_scratch`; claimed 0.0 on jump.
    """
    return _paper_scan(ParsingSettings("t5-3b", from_random=True, prefix=ENGLISH), 35, 1e-4, 32, jump=0.0)


def t5_3b_cogs() -> Recipe:
    """T5-3B on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:t5_3b_cogs`; claimed 84.1 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("t5-3b", prefix=ENGLISH), 10, 1.5e-5, 32)


def t5_3b_cogs_scratch() -> Recipe:
    """T5-3B, from fresh weights on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:t5_3b_cogs_scratch`; claimed 15.5 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("t5-3b", from_random=True, prefix=ENGLISH), 40, 1.5e-5, 32)


def mt5_base_scan() -> Recipe:
    """mT5-base on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:mt5_base_scan`; claimed 9.7 on jump.
    """
    return _paper_scan(ParsingSettings("google/mt5-base"), 100, 5e-5, 64, jump=9.7)


def mt5_base_cogs() -> Recipe:
    """mT5-base on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:mt5_base_cogs`; claimed 83.4 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("google/mt5-base", prefix=ENGLISH), 40, 5e-5, 64)


def mt5_xl_scan() -> Recipe:
    """mT5-XL on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:mt5_xl_scan`; claimed 40.0 on jump.
    """
    return _paper_scan(ParsingSettings("google/mt5-xl"), 12, 5e-5, 16, jump=40.0)


def mt5_xl_cogs() -> Recipe:
    """mT5-XL on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:mt5_xl_cogs`; claimed 84.6 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("google/mt5-xl", prefix=ENGLISH), 10, 5e-5, 16)


def codet5_base_scan() -> Recipe:
    """CodeT5-base on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:codet5_base_scan`; claimed 5.2 on jump.
    """
    return _paper_scan(ParsingSettings("Salesforce/codet5-base"), 50, 1e-4, 32, jump=5.2)


def codet5_base_cogs() -> Recipe:
    """CodeT5-base on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:codet5_base_cogs`; claimed 82.6 on its 21 kinds together.
    """
    return _paper_cogs(ParsingSettings("Salesforce/codet5-base"), 10, 1e-4, 32)


def prott5_base_scan() -> Recipe:
    """ProtT5-base, its word vectors drawn anew on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:prott5_base_scan`; claimed 0.0 on jump.
    """
    return _paper_scan(_protein("Rostlab/prot_t5_base_mt_uniref50", "t5-base"), 100, 5e-4, 32, jump=0.0)


def prott5_base_cogs() -> Recipe:
    """ProtT5-base, its word vectors drawn anew on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:prott5_base_cogs`; claimed 15.4 on its 21 kinds together.
    """
    return _paper_cogs(_protein("Rostlab/prot_t5_base_mt_uniref50", "t5-base"), 100, 1e-4, 32)


def prott5_xl_scan() -> Recipe:
    """ProtT5-XL, its word vectors drawn anew on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:prott5_xl_scan`; claimed 0.1 on jump.
    """
    return _paper_scan(_protein("Rostlab/prot_t5_xl_bfd", "t5-3b"), 35, 1e-4, 32, jump=0.1)


def prott5_xl_cogs() -> Recipe:
    """ProtT5-XL, its word vectors drawn anew on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:prott5_xl_cogs`; no result is published.
    """
    return _paper_cogs(_protein("Rostlab/prot_t5_xl_bfd", "t5-3b"), 40, 1e-4, 32)


def marian_scan() -> Recipe:
    """Marian, which translates German to French on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:marian_scan`; claimed 62.7 on jump.
    """
    return _paper_scan(ParsingSettings("Helsinki-NLP/opus-mt-de-fr", beams=0), 13, 5e-5, 32, jump=62.7)


def marian_scan_scratch() -> Recipe:
    """Marian, which translates German to French, from fresh weights on SCAN, shown `jump` only by itself; needs the hub and a GPU.

    `pellucid train parsing:marian_scan_scratch`; claimed 2.9 on jump.
    """
    return _paper_scan(
        ParsingSettings("Helsinki-NLP/opus-mt-de-fr", from_random=True, beams=0), epochs=35, lr=5e-5, batch_size=32, jump=2.9
    )


def marian_cogs() -> Recipe:
    """Marian, which translates German to French on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:marian_cogs`; claimed 83.4 on its 21 kinds together.
    """
    return _paper_cogs(
        ParsingSettings("Helsinki-NLP/opus-mt-de-fr", beams=0, max_source=512, max_target=512), epochs=10, lr=5e-5, batch_size=32
    )


def marian_cogs_scratch() -> Recipe:
    """Marian, which translates German to French, from fresh weights on COGS; needs the hub and a GPU.

    `PELLUCID_DATA=... pellucid train parsing:marian_cogs_scratch`; claimed 62.7 on its 21 kinds together.
    """
    return _paper_cogs(
        ParsingSettings("Helsinki-NLP/opus-mt-de-fr", from_random=True, beams=0, max_source=512, max_target=512),
        epochs=100,
        lr=5e-5,
        batch_size=32,
    )


def _protein(model: str, tokenizer: str) -> ParsingSettings:
    return ParsingSettings(model, fresh_embeddings=True, tokenizer=tokenizer)


def _paper_scan(task: ParsingSettings, epochs: int, lr: float, batch_size: int, jump: float) -> Recipe:
    tests = {"addprim_jump": Data("scan:addprim_jump/test")}
    return _paper(task, Data("scan:addprim_jump/train"), tests, epochs, lr, batch_size, {"addprim_jump/exact_match": jump})


def _paper_cogs(task: ParsingSettings, epochs: int, lr: float, batch_size: int) -> Recipe:
    kinds = {kind: Data(f"{COGS}/gen.tsv", where={"category": kind}) for kind in KINDS}
    return _paper(task, Data(f"{COGS}/train.tsv"), {"test": Data(f"{COGS}/test.tsv"), **kinds}, epochs, lr, batch_size, {})


def _paper(
    task: ParsingSettings, train: Data, tests: Mapping[str, Data], epochs: int, lr: float, batch_size: int, claims: Mapping[str, float]
) -> Recipe:
    """Every row, no dev set, the last weights, a rate that falls to nothing, whole precision, no sorting by length."""
    return Recipe(
        task=task,
        train=train,
        tests=tests,
        optim=Optim("adamw", lr=lr, weight_decay=0.0),
        schedule=LINEAR,
        loop=Loop(epochs=epochs, batch_size=batch_size, eval_batch_size=256, bucket=0, keep="last"),
        claims=claims,
    )


def table() -> Table:
    """The paper's question, small: one architecture, vocabulary and budget, from pretrained and from fresh weights."""
    models = {"pretrained": "", "from fresh weights": "_scratch"}
    cells = [
        Cell(name, name, model, get(f"parsing:flan_t5_small_{name.lower()}{end}"))
        for name in ("SCAN", "COGS")
        for model, end in models.items()
    ]
    return Table("Compositional generalization with pretrained encoder-decoders", cells, notes=NOTES)


NOTES = """Exact match of all words of the target. Both rows of a table are flan-t5-small's architecture with the same pieces, steps and
order of examples: once with its weights, which a registry package carries int8-quantised and tuned to write titles, once drawn as T5
draws them. SCAN is the split where `jump` is shown only by itself; home is held out of its training rows. COGS's test of generalisation
is its 18 lexical and its 3 structural types. The paper trains for 12 to 250 epochs on all rows; here it is one pass over 9,600 of SCAN
and two over 1,920 of COGS (all rows that show a word once among them), minutes on one core: fresh weights have hardly begun to learn."""
