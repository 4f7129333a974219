"""COGS's fragment of English: its words, its sentences as structures, and the logical form of each.

Source: Kim and Linzen 2020, COGS. The rules are read off its rows and hold for all of them.
"""

import difflib
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pellucid.errors import BadData

PREPOSITIONS = ("on", "in", "beside")
_ARTICLES = ("a", "the")
_END = (".", "")


# ---- words --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verb:
    """A verb by its lemma, which is also its infinitive.

    Args:
        uses: how often COGS's training rows show it in each frame; 0 where only its other rows do.
        past: empty where COGS has none, as is `participle`.
    """

    lemma: str
    uses: Mapping[str, int]
    past: str = ""
    participle: str = ""


@dataclass(frozen=True)
class Lexicon:
    """The words of COGS, with how often its training rows use each.

    Args:
        sentences: frame of the innermost clause -> how often.
        nouns: where a noun stands (animate, inanimate, on, in, beside) -> noun -> how often.
        lemmas: noun -> what logical forms call it.
        primitives: the words that training shows alone.
    """

    sentences: Mapping[str, int]
    names: Mapping[str, int]
    nouns: Mapping[str, Mapping[str, int]]
    lemmas: Mapping[str, str]
    verbs: Mapping[str, Verb]
    primitives: Sequence[str]
    past: Mapping[str, Verb]
    participles: Mapping[str, Verb]


@functools.cache
def lexicon() -> Lexicon:
    """The words that the package carries; counted from COGS's train.tsv, which is under the MIT licence."""
    told = json.loads(pathlib.Path(__file__).with_name("cogs_lexicon.json").read_text(encoding="utf-8"))
    verbs = {lemma: Verb(lemma, v["frames"], v.get("past", ""), v.get("participle", "")) for lemma, v in told["verbs"].items()}
    nouns = {place: told[place] for place in ("animate", "inanimate", *PREPOSITIONS)}
    every = {noun for of in nouns.values() for noun in of} | set(told["rare"])
    return Lexicon(
        sentences=told["sentences"],
        names=told["names"],
        nouns=nouns,
        lemmas={noun: told["lemmas"].get(noun, noun) for noun in sorted(every)},
        verbs=verbs,
        primitives=told["primitives"],
        past={verb.past: verb for verb in verbs.values() if verb.past},
        participles={verb.participle: verb for verb in verbs.values() if verb.participle},
    )


# ---- structures ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NounPhrase:
    """A name, or nouns with their articles, each the place of the one before it.

    Args:
        nouns: (article, noun); a name has an empty article.
        prepositions: one less than the nouns.
    """

    nouns: tuple[tuple[str, str], ...]
    prepositions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sentence:
    """Any number of `SUBJECT VERB that`, and a clause without another clause in it.

    Args:
        outer: subject and lemma of each verb with a clause, outermost first.
        frame: roles in the order of the sentence, subject first; a passive starts with "was". `agent xcomp` is a verb with an infinitive.
        phrases: one per role, without that of xcomp.
        infinitive: lemma of the infinitive; empty where there is none.
    """

    outer: tuple[tuple[NounPhrase, str], ...]
    frame: str
    verb: str
    phrases: tuple[NounPhrase, ...]
    infinitive: str = ""


def roles_of(frame: str) -> list[str]:
    """What each phrase of a frame is to the verb."""
    return [role for role in frame.split() if role not in ("was", "xcomp")]


def logical_form(text: str) -> str:
    """The logical form of a sentence that ends in a full stop, or of a single word.

    Raises:
        BadData: it is not of COGS's grammar; the message names the word and its place.
    """
    words = text.split()
    return primitive(words[0]) if len(words) == 1 and words != ["."] else written(parsed(text))[1]


def primitive(word: str) -> str:
    """The logical form of a word alone: a constant, or a function of what it lacks.

    A verb that can move its object to the subject takes one argument, its theme; other verbs that take objects take two.

    Raises:
        BadData: the word is neither a name, nor a noun, nor the infinitive of a verb with one object or none.
    """
    known = lexicon()
    if word in known.names:
        return word
    if word in known.lemmas:
        return f"LAMBDA a . {known.lemmas[word]} ( a )"
    uses = known.verbs[word].uses if word in known.verbs else {}
    if "theme" not in uses and "agent theme" in uses:
        return f"LAMBDA a . LAMBDA b . LAMBDA e . {word} . agent ( e , b ) AND {word} . theme ( e , a )"
    for role in ("theme", "agent"):
        if role in uses:
            return f"LAMBDA a . LAMBDA e . {word} . {role} ( e , a )"
    raise BadData(f"{word!r}: no name, noun or verb that COGS shows alone{_near(word, [*known.names, *known.lemmas, *known.verbs])}")


def conjuncts(label: str) -> frozenset[str]:
    """The statements that a logical form makes, whatever their order: equal sets mean the same.

    Reads any text, so that what a model made can be compared too. The arguments that a single word lacks are a statement of their own.
    """
    found: set[str] = set()
    current: list[str] = []
    words = label.split()
    head = 0
    while words[head : head + 1] == ["LAMBDA"] and words[head + 2 : head + 3] == ["."]:
        head += 3
    for word in [*words[head:], ";"]:
        if word in (";", "AND"):
            found.add(" ".join(current))
            current = []
        else:
            current.append(word)
    return frozenset(found | {" ".join(words[:head])}) - {""}


# ---- from a structure to a sentence and its logical form ----------------------------------------------------------


def written(sentence: Sentence) -> tuple[str, str]:
    """The sentence in words, and its logical form."""
    text = _Text()
    held: tuple[str, str] | None = None  # a verb that waits for the place of its clause's verb, and its own place
    for subject, lemma in sentence.outer:
        agent = text.phrase(subject)
        here = text.verb([lexicon().verbs[lemma].past])
        text.clause(held, here)
        text.say(here, f"{lemma} . agent", agent)
        held = lemma, here
        text.words.append("that")
    _clause(text, sentence, held)
    return text.sentence(), text.form()


def _clause(text: "_Text", sentence: Sentence, held: tuple[str, str] | None) -> None:
    verb, passive = lexicon().verbs[sentence.verb], sentence.frame.startswith("was ")
    arguments = [text.phrase(sentence.phrases[0])]
    here = text.verb(["was", verb.participle] if passive else [verb.past])
    roles = roles_of(sentence.frame)
    for role, before, phrase in zip(roles[1:], roles[:-1], sentence.phrases[1:], strict=True):
        if role == "agent":
            text.words.append("by")
        elif role == "recipient" and before == "theme":
            text.words.append("to")
        arguments.append(text.phrase(phrase))
    text.clause(held, here)
    for role, argument in zip(roles, arguments, strict=True):
        text.say(here, f"{verb.lemma} . {role}", argument)
    if sentence.infinitive:
        there = text.verb(["to", sentence.infinitive])
        text.say(here, f"{verb.lemma} . xcomp", there)
        text.say(there, f"{sentence.infinitive} . agent", arguments[0])


class _Text:
    """Words so far, and what has been stated about them."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.definite: list[str] = []
        self.stated: list[tuple[int, str]] = []

    def phrase(self, phrase: NounPhrase) -> str:
        """Adds the words and gives the variable or constant they stand for."""
        arguments = []
        for k, (article, noun) in enumerate(phrase.nouns):
            lead = [phrase.prepositions[k - 1]] if k else []
            self.words += [*lead, *([article] if article else []), noun]
            arguments.append(self.variable() if article else noun)
        lemmas = lexicon().lemmas
        for k, (article, noun) in enumerate(phrase.nouns):
            if article == "the":
                self.definite.append(f"* {lemmas[noun]} ( {arguments[k]} ) ;")
            elif article:
                self.stated.append((_place(arguments[k]), f"{lemmas[noun]} ( {arguments[k]} )"))
            if k < len(phrase.prepositions):
                self.say(arguments[k], f"{lemmas[noun]} . nmod . {phrase.prepositions[k]}", arguments[k + 1])
        return arguments[0]

    def variable(self) -> str:
        """The variable of the last word."""
        return f"x _ {len(self.words) - 1}"

    def verb(self, words: list[str]) -> str:
        """Adds the words of a verb and gives its variable."""
        self.words += words
        return self.variable()

    def say(self, variable: str, relation: str, argument: str) -> None:
        self.stated.append((_place(variable), f"{relation} ( {variable} , {argument} )"))

    def clause(self, held: tuple[str, str] | None, here: str) -> None:
        """States that the verb that waits has its clause here."""
        if held:
            self.say(held[1], f"{held[0]} . ccomp", here)

    def sentence(self) -> str:
        first = self.words[0]
        return " ".join([first[0].upper() + first[1:], *self.words[1:], "."])

    def form(self) -> str:
        """Definites first; then what is stated, by the place of its first variable, otherwise as it came."""
        stated = [statement for _, statement in sorted(self.stated, key=lambda pair: pair[0])]
        return " ".join([*self.definite, " AND ".join(stated)])


def _place(variable: str) -> int:
    return int(variable.rpartition(" ")[2])


# ---- from a sentence to its structure -----------------------------------------------------------------------------


def parsed(text: str) -> Sentence:
    """The structure of a sentence.

    Raises:
        BadData: it is not of COGS's grammar; the message names the word and its place.
    """
    return _Reader(text).sentence()


class _Reader:
    """Reads a sentence from left to right; one word ahead decides everything."""

    def __init__(self, text: str) -> None:
        self.words = text.split()
        self.at = 0
        self.known = lexicon()

    def sentence(self) -> Sentence:
        outer: list[tuple[NounPhrase, str]] = []
        while True:
            subject = self.phrase()
            if self.takes("was"):
                found = self.passive(outer, subject)
                break
            verb = self.verb(self.known.past, "verb in the past tense")
            if not self.takes("that"):
                found = self.active(outer, subject, verb)
                break
            self.used(verb, "agent ccomp", self.at - 2)
            outer.append((subject, verb.lemma))
        if not self.takes("."):
            raise self.wrong("expected the end, a full stop")
        if self.at < len(self.words):
            raise self.wrong("expected nothing after the full stop")
        return found

    def active(self, outer: list[tuple[NounPhrase, str]], subject: NounPhrase, verb: Verb) -> Sentence:
        """What follows a verb in the past tense."""
        at, phrases, frame, infinitive = self.at - 1, [subject], "agent theme", ""
        if self.takes("to"):
            frame = "agent xcomp"
            infinitive = self.verb(self.known.verbs, "infinitive").lemma
            self.used(self.known.verbs[infinitive], "infinitive", self.at - 1)
        elif self.peek() in _END:
            frame = "theme" if "theme" in verb.uses else "agent"
        else:
            phrases.append(self.phrase())
            if self.takes("to"):
                frame = "agent theme recipient"
                phrases.append(self.phrase())
            elif self.peek() not in _END:
                frame = "agent recipient theme"
                phrases.append(self.phrase())
        self.used(verb, frame, at)
        return Sentence(tuple(outer), frame, verb.lemma, tuple(phrases), infinitive)

    def passive(self, outer: list[tuple[NounPhrase, str]], subject: NounPhrase) -> Sentence:
        """What follows `was`."""
        verb = self.verb(self.known.participles, "participle")
        at, phrases, frame = self.at - 1, [subject], "was theme"
        if self.takes("to"):
            frame += " recipient"
            phrases.append(self.phrase())
        elif self.peek() not in ("by", *_END):
            frame = "was recipient theme"
            phrases.append(self.phrase())
        if self.takes("by"):
            frame += " agent"
            phrases.append(self.phrase())
        self.used(verb, frame, at)
        return Sentence(tuple(outer), frame, verb.lemma, tuple(phrases))

    def phrase(self) -> NounPhrase:
        nouns, prepositions = [self.noun()], []
        while nouns[-1][0] and self.peek() in PREPOSITIONS:
            prepositions.append(self.word())
            nouns.append(self.noun())
        return NounPhrase(tuple(nouns), tuple(prepositions))

    def noun(self) -> tuple[str, str]:
        """Article and noun, or nothing and a name."""
        first, word = self.at == 0, self.peek()
        articles = [article.capitalize() if first else article for article in _ARTICLES]
        if word in articles:
            self.at += 1
            if self.peek() not in self.known.lemmas:
                raise self.wrong(f"expected a noun of COGS{_near(self.peek(), self.known.lemmas)}")
            return word.lower(), self.word()
        if word not in self.known.names:
            raise self.wrong(f"expected {', '.join(articles)} or a name of COGS{_near(word, self.known.names)}")
        return "", self.word()

    def verb(self, forms: Mapping[str, Verb], what: str) -> Verb:
        if self.peek() not in forms:
            raise self.wrong(f"expected a {what} of COGS{_near(self.peek(), forms)}")
        return forms[self.word()]

    def used(self, verb: Verb, frame: str, at: int) -> None:
        """Checks that COGS knows the verb, read at `at`, in this frame."""
        if frame not in verb.uses:
            self.at = at
            raise self.wrong(f"{verb.lemma!r} as in {frame!r} is none of its uses in COGS ({', '.join(verb.uses)})")

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def word(self) -> str:
        self.at += 1
        return self.words[self.at - 1]

    def takes(self, word: str) -> bool:
        """Goes on if this is the next word, and says whether it was."""
        found = self.peek() == word
        self.at += found
        return found

    def wrong(self, expected: str) -> BadData:
        here = f"word {self.at + 1}, {self.peek()!r}" if self.at < len(self.words) else "its end"
        text = " ".join(self.words)
        return BadData(f"not a sentence of COGS, {text[:80] + ' ...' * (len(text) > 80)!r}, at {here}: {expected}")


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.7)
    return f"; the nearest is {close[0]!r}" if close and close[0] != word else ""
