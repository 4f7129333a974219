"""New sentences in the manner of COGS: its grammar, its words as often as it uses them, and its 21 kinds of generalisation.

Each kind holds a word out of a place or a structure out of training, as COGS does and with COGS's words; training shows each of these
words once, in another place (the exposure examples), or alone (the primitives). Source: Kim and Linzen 2020, COGS.
"""

import bisect
import functools
import itertools
import logging
import random
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.coerce import nearest
from pellucid.data import cogs_kinds, sources
from pellucid.data.cogs_grammar import PREPOSITIONS, NounPhrase, Sentence, lexicon, logical_form, roles_of, written
from pellucid.errors import BadUsage

Rows = list[dict[str, Any]]

SIZES = {"train": 4000, "dev": 500, "test": 500, "gen": 2100, **dict.fromkeys(cogs_kinds.KINDS, 100)}
OPTIONS: sources.Choices = {"num": (), "depth": (), "seed": ()}
DEPTHS = (3, 12)  # of the recursion in COGS's own test; training reaches 2
MOST_DEPTH = 200
_TRIES = 2000  # for one sentence that is new

# shares counted in COGS's train.tsv and gen.tsv; tests hold what is drawn against the files
_OUTER = (21726, 2114, 160)  # clauses around the innermost, none to two
_PLACES = (2085, 1962, 189)  # prepositional phrases in an object, none to two
_SUBJECT_PLACES = (0, 942, 58)
_PLACES_BESIDE_IT = (310, 138)  # in an object where the subject has them too
_OBJECT = {"agent theme": 627, "agent recipient theme": 187, "agent theme recipient": 186}
_SUBJECT = {"agent theme": 470, "agent recipient theme": 185, "agent theme recipient": 160, "agent xcomp": 108, "agent": 77}
_UNDER_MANY = {  # frames of the innermost of many clauses, and below of a sentence whose subject has a place
    **{"theme": 311, "agent": 60, "agent theme": 80, "agent theme recipient": 27, "agent recipient theme": 20, "agent xcomp": 20},
    **{"was theme": 137, "was theme agent": 86, "was theme recipient": 36, "was theme recipient agent": 21},
    **{"was recipient theme": 127, "was recipient theme agent": 75},
}
_SUBJECT_PLACED = {
    **{"theme": 84, "agent": 154, "agent theme": 193, "agent theme recipient": 52, "agent recipient theme": 47, "agent xcomp": 78},
    **{"was theme": 104, "was theme agent": 80, "was theme recipient": 30, "was theme recipient agent": 22},
    **{"was recipient theme": 122, "was recipient theme agent": 34},
}
_THEMES = {"agent theme": (830, 1631, 2605), "theme": (222, 289, 526)}  # names, animate and inanimate nouns; elsewhere inanimate only

log = logging.getLogger("pellucid")


@dataclass(frozen=True)
class Use:
    """A word in a place.

    Args:
        role: subject, theme (an object), verb or infinitive.
        frames: of the sentence, as in `cogs_grammar`, with their weights.
        verbs: among which the verb is drawn: those of the frame, or of these only such as can (omitting) or cannot (bare) have an object.
    """

    word: str
    role: str
    frames: Mapping[str, int]
    verbs: str = ""


_PASSIVE = {"was theme agent": 79, "was theme": 21}
TESTED = {
    "subj_to_obj_common": Use("hedgehog", "theme", _OBJECT),
    "subj_to_obj_proper": Use("Lina", "theme", _OBJECT),
    "obj_to_subj_common": Use("cockroach", "subject", _SUBJECT),
    "obj_to_subj_proper": Use("Charlie", "subject", _SUBJECT),
    "prim_to_subj_common": Use("shark", "subject", _SUBJECT),
    "prim_to_subj_proper": Use("Paula", "subject", _SUBJECT),
    "prim_to_obj_common": Use("shark", "theme", _OBJECT),
    "prim_to_obj_proper": Use("Paula", "theme", _OBJECT),
    "prim_to_inf_arg": Use("crawl", "infinitive", {"agent xcomp": 1}),
    "active_to_passive": Use("bless", "verb", _PASSIVE),
    "passive_to_active": Use("squeeze", "verb", {"agent theme": 1}),
    "obj_omitted_transitive_to_transitive": Use("bake", "verb", {"agent theme": 1}),
    "unacc_to_transitive": Use("shatter", "verb", {"agent theme": 1}),
    "do_dative_to_pp_dative": Use("teleport", "verb", {"agent theme recipient": 1}),
    "pp_dative_to_do_dative": Use("ship", "verb", {"agent recipient theme": 1}),
    "only_seen_as_transitive_subj_as_unacc_subj": Use("cobra", "subject", {"theme": 1}),
    "only_seen_as_unacc_subj_as_obj_omitted_transitive_subj": Use("hippo", "subject", {"agent": 1}, "omitting"),
    "only_seen_as_unacc_subj_as_unerg_subj": Use("hippo", "subject", {"agent": 1}, "bare"),
}
EXPOSED = {
    "exposure_example_subj_common": Use("hedgehog", "subject", _SUBJECT),
    "exposure_example_subj_proper": Use("Lina", "subject", _SUBJECT),
    "exposure_example_obj_common": Use("cockroach", "theme", _OBJECT),
    "exposure_example_obj_proper": Use("Charlie", "theme", _OBJECT),
    "exposure_example_active": Use("bless", "verb", {"agent theme": 1}),
    "exposure_example_passive": Use("squeeze", "verb", _PASSIVE),
    "exposure_example_obj_omitted_transitive": Use("bake", "verb", {"agent": 1}),
    "exposure_example_unacc": Use("shatter", "verb", {"theme": 1}),
    "exposure_example_do_dative": Use("teleport", "verb", {"agent recipient theme": 1}),
    "exposure_example_pp_dative": Use("ship", "verb", {"agent theme recipient": 1}),
    "exposure_example_transitive_subj": Use("cobra", "subject", {"agent theme": 1}),
    "exposure_example_unacc_subj": Use("hippo", "subject", {"theme": 1}),
}
HELD_OUT = frozenset(use.word for use in TESTED.values())


def read(place: str, options: Mapping[str, str]) -> Rows:
    """Rows of `train`, `dev`, `test`, one of the 21 kinds, or `gen`, which is the same number of each kind; as `cogs:` gives them.

    No sentence is in two of these parts, whatever their sizes and seeds: dev and test have a tenth each of all sentences of training's
    grammar to themselves. Some are in COGS's own train.tsv (of dev and test one in seven, of the kinds none). From 2,000 rows on,
    training has every word, and every verb in every frame, that any part has, but for what a kind tests.

    Args:
        options: `num` rows (4000, 500, 500, 100 and 2100), `seed`, and `depth`, which a kind of recursion has: `depth=20`, or
            `depth=3-40` for as many rows of each, 3-12 where it is not given.
    Raises:
        BadUsage: another part or option, or more rows than there are sentences.
    """
    if place not in SIZES:
        raise BadUsage(f"cogs-like:{place}: no such part{nearest(place, list(SIZES))}")
    chosen = sources.checked("cogs-like", options, OPTIONS)
    num, seed = _whole(place, "num", chosen.get("num", str(SIZES[place])), 1), _whole(place, "seed", chosen.get("seed", "0"), 0)
    depths = _depths(place, chosen.get("depth"))
    if place == "train":
        rows = list(_training(num, seed))
    elif place == "gen":
        each, over = divmod(num, len(cogs_kinds.KINDS))
        if over:
            raise BadUsage(f"cogs-like:gen: num={num}: expected a multiple of its {len(cogs_kinds.KINDS)} kinds, like {num + 21 - over}")
        rows = [row for kind in cogs_kinds.KINDS for row in _of_kind(kind, each, seed, depths)]
    elif place in cogs_kinds.KINDS:
        rows = list(_of_kind(place, num, seed, depths))
    else:
        rows = list(_in_distribution(place, num, _Draw(seed, place)))
    return [{"id": f"cogs-like:{place}:{number}", **row} for number, row in enumerate(rows, 1)]


# ---- parts --------------------------------------------------------------------------------------------------------


def _training(num: int, seed: int) -> Rows:
    """Primitives and exposure examples, one each as in COGS, and sentences of the grammar, shuffled."""
    draw = _Draw(seed, "train", every=True)
    rows = [_row(cogs_kinds.PRIMITIVE, word, logical_form(word)) for word in lexicon().primitives]
    rows += [_row(category, *written(draw.planted(use, draw.outer()))) for category, use in EXPOSED.items()]
    if num <= len(rows):
        raise BadUsage(f"cogs-like:train: num={num}: {len(rows)} rows are the primitives and exposure examples; expected more")
    rows += _in_distribution("train", num - len(rows), draw)
    lacking = sum(map(len, draw.fresh.values()))
    if lacking:
        log.warning("cogs-like:train?num=%d: too few rows for every word; %d uses of words that the tests have do not occur", num, lacking)
    draw.rng.shuffle(rows)
    return rows


def _in_distribution(part: str, num: int, draw: "_Draw") -> Iterator[dict[str, Any]]:
    """Sentences of training's grammar that fall to this part."""
    frames = lexicon().sentences
    seen: set[Sentence] = set()
    for _ in range(num):
        frame, outer = draw.weighed(frames), draw.index(_OUTER)
        for _ in range(_TRIES):
            draw.used.clear()
            sentence = draw.plain(frame, draw.outer(outer))
            if sentence not in seen and _part_of(sentence) == part:
                break
        else:
            raise BadUsage(f"cogs-like:{part}: num={num}: no new sentence after {len(seen)}; expected fewer")
        seen.add(sentence)
        draw.keep()
        yield _row(cogs_kinds.IN_DISTRIBUTION, *written(sentence))


def _of_kind(kind: str, num: int, seed: int, depths: range) -> Iterator[dict[str, Any]]:
    """Sentences of one kind of generalisation; recursions of each depth in turn."""
    draw = _Draw(seed, kind)
    seen: set[Sentence] = set()
    for _, depth in zip(range(num), itertools.cycle(depths), strict=False):
        for _ in range(_TRIES):
            sentence = draw.tested(kind, depth)
            if sentence not in seen:
                break
        else:
            raise BadUsage(f"cogs-like:{kind}: num={num}: no new sentence after {len(seen)}; expected fewer")
        seen.add(sentence)
        yield _row(kind, *written(sentence))


def _row(category: str, text: str, label: str) -> dict[str, Any]:
    depth = cogs_kinds.depth(category, label)
    return {"text": text, "label": label, "category": category, **({} if depth is None else {"depth": depth})}


def _part_of(sentence: Sentence) -> str:
    """The part that a sentence of training's grammar is in, whatever the seed: eight tenths are training's."""
    phrases = [*(phrase for phrase, _ in sentence.outer), *sentence.phrases]
    words = [word for phrase in phrases for pair in phrase.nouns for word in pair]
    words += [word for phrase in phrases for word in phrase.prepositions] + [lemma for _, lemma in sentence.outer]
    words += [sentence.frame, sentence.verb, sentence.infinitive]
    return {0: "dev", 1: "test"}.get(zlib.crc32(" ".join(words).encode()) % 10, "train")


# ---- options ------------------------------------------------------------------------------------------------------


def _whole(place: str, name: str, value: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,7}", value, re.ASCII) or int(value) < least:
        raise BadUsage(f"cogs-like:{place}: {name}={value}: expected a whole number from {least} to 9999999")
    return int(value)


def _depths(place: str, value: str | None) -> range:
    """The depths of recursion that are asked for."""
    if value is not None and place not in (*cogs_kinds.RECURSIONS, "gen"):
        raise BadUsage(f"cogs-like:{place}: depth={value}: only {', '.join(cogs_kinds.RECURSIONS)} and gen have a depth")
    least, dash, most = (value or f"{DEPTHS[0]}-{DEPTHS[1]}").partition("-")
    ends = [_whole(place, "depth", end, 1) for end in ((least, most) if dash else (least,))]
    if ends[0] < DEPTHS[0] or ends[-1] > MOST_DEPTH or ends[0] > ends[-1]:
        raise BadUsage(f"cogs-like:{place}: depth={value}: expected {DEPTHS[0]} to {MOST_DEPTH} (training has less), or FROM-TO like 3-40")
    return range(ends[0], ends[-1] + 1)


# ---- drawing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stock:
    """Words to draw from, the n-th with the n-th step of `sums` as its weight."""

    words: tuple[str, ...]
    sums: tuple[int, ...]


@functools.cache
def _stocks() -> dict[str, _Stock]:
    """Names, nouns by their place, and verbs by their frame, without what is held out."""
    known = lexicon()
    counts: dict[str, Mapping[str, int]] = {"names": known.names, **known.nouns}
    for frame in [*known.sentences, "agent ccomp", "infinitive"]:
        counts[f"verb {frame}"] = {verb.lemma: verb.uses.get(frame, 0) for verb in known.verbs.values()}
    able = {lemma: "agent theme" in known.verbs[lemma].uses for lemma in known.verbs}
    counts["verb agent omitting"] = {lemma: n for lemma, n in counts["verb agent"].items() if able[lemma]}
    counts["verb agent bare"] = {lemma: n for lemma, n in counts["verb agent"].items() if not able[lemma]}
    kept = {name: {word: n for word, n in of.items() if n and word not in HELD_OUT} for name, of in counts.items()}
    return {name: _Stock(tuple(of), tuple(itertools.accumulate(of.values()))) for name, of in kept.items()}


class _Draw:
    """Draws of phrases and sentences, the same for the same seed and part.

    Args:
        every: words that `keep` has not yet been told of come first, uniformly.
    """

    def __init__(self, seed: int, part: str, every: bool = False) -> None:
        self.rng = random.Random(f"cogs-like {seed} {part}")
        self.used: list[tuple[str, str]] = []
        self.fresh: dict[str, list[str]] = {}
        if every:
            self.fresh = {name: list(stock.words) for name, stock in _stocks().items() if not name.endswith((" omitting", " bare"))}

    def word(self, stock: str) -> str:
        fresh = self.fresh.get(stock)
        if fresh:
            found = fresh[int(self.rng.random() * len(fresh))]
        else:
            words = _stocks()[stock]
            found = words.words[bisect.bisect(words.sums, self.rng.random() * words.sums[-1])]
        self.used.append((stock, found))
        return found

    def keep(self) -> None:
        """Takes the words drawn since `used` was cleared for shown."""
        for stock, word in self.used:
            if word in self.fresh.get(stock, ()):
                self.fresh[stock].remove(word)

    def index(self, weights: tuple[int, ...]) -> int:
        """A place in the weights."""
        sums = list(itertools.accumulate(weights))
        return bisect.bisect(sums, self.rng.random() * sums[-1])

    def weighed(self, weights: Mapping[str, int]) -> str:
        return list(weights)[self.index(tuple(weights.values()))]

    # phrases

    def noun(self, word: str) -> NounPhrase:
        """A name as it is, a noun with an article."""
        if word in lexicon().names:
            return NounPhrase((("", word),))
        return NounPhrase(((("a", "the")[self.rng.random() < 0.5], word),))

    def person(self) -> NounPhrase:
        return self.noun(self.word("names" if self.rng.random() < 0.5 else "animate"))

    def placed(self, phrase: NounPhrase, depth: int) -> NounPhrase:
        """The noun with so many prepositional phrases, each in the one before; a name stays as it is."""
        if not phrase.nouns[0][0]:
            return phrase
        prepositions = tuple(PREPOSITIONS[int(self.rng.random() * len(PREPOSITIONS))] for _ in range(depth))
        inner = [self.noun(self.word(preposition)).nouns[0] for preposition in prepositions]
        return NounPhrase((phrase.nouns[0], *inner), prepositions)

    def filler(self, frame: str, role: str, nouns_only: bool = False) -> NounPhrase:
        """What COGS has in a role of a frame."""
        if role != "theme":
            return self.noun(self.word("animate")) if nouns_only else self.person()
        of_names, animate, inanimate = _THEMES.get(frame, (0, 0, 1))
        stock = ("names", "animate", "inanimate")[self.index((0 if nouns_only else of_names, animate, inanimate))]
        return self.noun(self.word(stock))

    def outer(self, depth: int | None = None) -> tuple[tuple[NounPhrase, str], ...]:
        """Clauses around the innermost; as many as COGS has where it is not said."""
        count = self.index(_OUTER) if depth is None else depth
        return tuple((self.person(), self.word("verb agent ccomp")) for _ in range(count))

    # sentences

    def plain(self, frame: str, outer: tuple[tuple[NounPhrase, str], ...], places: int | None = None) -> Sentence:
        """A sentence of training's grammar; with `places`, its theme is a noun with so many prepositional phrases."""
        return self._sentence(frame, outer, None, places)

    def planted(self, use: Use, outer: tuple[tuple[NounPhrase, str], ...]) -> Sentence:
        """A sentence with a word in a place."""
        return self._sentence(self.weighed(use.frames), outer, use, None)

    def tested(self, kind: str, depth: int) -> Sentence:
        """A sentence of a kind of generalisation."""
        if kind in TESTED:
            return self.planted(TESTED[kind], self.outer())
        if kind == "cp_recursion":
            return self.plain(self.weighed(_UNDER_MANY), self.outer(depth))
        if kind == "pp_recursion":
            return self.plain(self.weighed(_OBJECT), self.outer(), depth)
        return self._subject_placed()

    def _sentence(self, frame: str, outer: tuple[tuple[NounPhrase, str], ...], use: Use | None, places: int | None) -> Sentence:
        verb = use.word if use and use.role == "verb" else self.word(f"verb {frame} {use.verbs if use else ''}".rstrip())
        phrases = []
        for k, role in enumerate(roles_of(frame)):
            here, object_ = use is not None and use.role == (role if k else "subject"), k > 0 and role == "theme"
            phrase = self.noun(use.word) if use and here else self.filler(frame, role, object_ and places is not None)
            if object_:
                phrase = self.placed(phrase, self.index(_PLACES) if places is None else places)
            phrases.append(phrase)
        infinitive = ""
        if frame == "agent xcomp":
            infinitive = use.word if use and use.role == "infinitive" else self.word("verb infinitive")
        return Sentence(outer, frame, verb, tuple(phrases), infinitive)

    def _subject_placed(self) -> Sentence:
        """A noun with prepositional phrases as subject, and as agent of a passive: as in COGS, both."""
        plain = self.plain(self.weighed(_SUBJECT_PLACED), self.outer(), 0)
        phrases = list(plain.phrases)
        for k, role in enumerate(roles_of(plain.frame)):
            if k == 0 or role == "agent":
                noun = self.filler(plain.frame, role, nouns_only=True)
                phrases[k] = self.placed(noun, 1 if k else self.index(_SUBJECT_PLACES))
            elif role == "theme":
                phrases[k] = self.placed(self.filler(plain.frame, role), self.index(_PLACES_BESIDE_IT))
        return Sentence(plain.outer, plain.frame, plain.verb, tuple(phrases), plain.infinitive)
