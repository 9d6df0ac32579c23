"""Names of people and places: a document is a dozen names of one kind, a name a line.

    names elf
    Aelith
    Corrovane
    (ten more)

A single name is too short to be learnt as a document of its own, and a list in the order of the alphabet teaches the order: so the names of
a file are shuffled, always the same way, and dealt out in dozens; fewer than a dozen that are left over are not read. A list of just a
dozen stays as it is. What is new is asked of the dozen, not of the name: one is a copy if it shares its names with a dozen of the corpus.
That a name of it stands somewhere in the corpus is neither forbidden nor counted.
"""

from __future__ import annotations

import collections
import csv
import io
import json
import random
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media import gbnf
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.labels import Labels, words
from cupola.media.text import line_spans, read_text, write_text

SHORTEST, LONGEST = 2, 24  # letters
_JOINTS = "'- "  # between the letters of a name: O'Brien, Anne-Marie, Minas Tirith
_NAME = re.compile(r"[^\W\d_]+(?:['’ -][^\W\d_]+)*")
_LIST_LINE = re.compile(r"([^\s\d,;]++(?: [^\s\d,;]++)*+)(?:[\s,;].*)?")  # a name; columns may follow, such as a census's figures
_TITLES = ("name", "names", "first", "last", "firstname", "lastname", "surname", "given name", "first name", "last name")  # of a CSV column
_WORDS = 3  # of a name at most: more is a sentence


class NamesOptions(Options):
    """[models.NAME.notation] of names."""

    together: int = Field(12, ge=4, le=100)  # names of a document
    most: int = Field(20_000, ge=100)  # names of a file that are read: the first, which in lists by frequency are the commonest


class Names(Plain):
    """Lists of names. read then write keeps every name of letters with single hyphens, apostrophes and spaces between them.

    Names all in capitals or all in small letters are written as names ("SMITH" is Smith); what has digits or other signs is left out.
    """

    name = "names"
    suffixes = (".txt", ".csv", ".first", ".last", ".json")
    unit = "name"
    pretokenizer = "gpt-2"
    vocab_size = 262
    scrub = False
    options = NamesOptions
    train: Mapping[str, float] = {"length": 160, "variants": 0.5}
    passing = 0.9

    def __init__(self) -> None:
        self.rules = NamesOptions()
        self.labels = Labels()
        self.letters = "abcdefghijklmnopqrstuvwxyz"
        self.firsts = self.letters.upper()

    def fit(self, files: Sequence[Path], options: NamesOptions, apart: Apart) -> Self:
        new = type(self)()
        new.rules = options
        lists: list[tuple[str, list[str]]] = []
        first: DataError | None = None
        for path in files:
            try:
                lists += new._lists(path)
            except DataError as e:
                first = first or e
        if not lists:
            raise first or DataError("no names in it", "", "give a list, a name a line")
        every = [name for _, names in lists for name in names]  # of files kept apart too: a name of theirs must be one
        new.firsts = "".join(sorted({name[0] for name in every}))
        new.letters = "".join(sorted({letter for name in every for letter in name[1:]}))
        own = [kind for kind, names in lists for _ in range(len(names) // options.together)]
        new.labels = Labels.fit([], own) if len(set(own)) > 1 else Labels()
        return new

    def settings(self) -> dict[str, Any]:
        return {
            "labels": self.labels.plain(),
            "options": self.rules.model_dump(mode="json"),
            "letters": self.letters,
            "firsts": self.firsts,
        }

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            new.labels, new.rules = Labels.restore(settings["labels"]), NamesOptions(**settings["options"])
            new.letters, new.firsts = str(settings["letters"]), str(settings["firsts"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of names: {e}", "settings", "they are damaged; make the corpus again") from None
        return new

    def read(self, path: Path) -> Iterator[Document]:
        """Dozens of a file's names. Raises DataError for what is no list of names, or a shorter one than a dozen."""
        size, lists = self.rules.together, self._lists(path)
        if all(len(names) < size for _, names in lists):
            longest = max(len(names) for _, names in lists)
            raise DataError(f"{longest} names", str(path), f"a document has {size}: add some, or set together in [models.NAME.notation]")
        for kind, names in lists:
            label, several = self.labels.of(path, kind), len(lists) > 1
            if len(names) > size:
                random.Random(f"{path.name} {kind}" if several else path.name).shuffle(names)
            for number, at in enumerate(range(0, len(names) - size + 1, size), start=1):
                text = "\n".join([f"{self.name} {label}" if label else self.name, *names[at : at + size]]) + "\n"
                group = f"{path.name} {kind} {number}" if several else f"{path.name} {number}"
                yield Document(text, group, path.name, label=label or None, name=f"{names[at]}, {names[at + 1]} ...")

    def _lists(self, path: Path) -> list[tuple[str, list[str]]]:
        """(kind, names) of each list of a file; a file has one, but JSON with several."""
        lists = [(kind, _good(given)[: self.rules.most]) for kind, given in _given(path)]
        if not any(names for _, names in lists):
            raise DataError("no names in it", str(path), f"a name is {SHORTEST} to {LONGEST} letters, without digits, one a line")
        return [(kind, names) for kind, names in lists if names]

    # --- notation

    def syntax(self, text: str) -> list[Problem]:
        lines = text.removesuffix("\n").split("\n")
        head = lines[0]
        if head != self.name and not (head.startswith(f"{self.name} ") and head[len(self.name) + 1 :] in self.labels.known):
            return [Problem(1, 1, f"not a first line: {head!r:.40}", f"{self.name}, and a label that the corpus has")]
        if len(lines) < 2 or not text.endswith("\n"):
            return [Problem(len(lines), 1, "no names, or no new line at the end", "a name a line")]
        for number, name in enumerate(lines[1:], start=2):
            allowed = name[:1] in self.firsts and not set(name[1:]) - set(self.letters) and _NAME.fullmatch(name)
            if len(name) < SHORTEST or not allowed:
                return [Problem(number, 1, f"no name: {name!r:.40}", "two or more of the corpus's letters, as its names begin")]
        return []

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then a name that stands twice, and letters that no name has three of in a row."""
        if problems := self.syntax(text):
            return problems
        names, seen = text.removesuffix("\n").split("\n")[1:], collections.Counter[str]()
        for number, name in enumerate(names, start=2):
            if len(name) > LONGEST:
                return [Problem(number, 1, f"{len(name)} letters", f"a name has at most {LONGEST}")]
            if _good([name]) != [name]:
                return [Problem(number, 1, f"{name} is not written as names are", f"a capital first, at most {_WORDS} words")]
            seen[name.lower()] += 1
            if seen[name.lower()] > 1:
                return [Problem(number, 1, f"{name} stands twice", "another name")]
            if not _sayable(name):
                return [Problem(number, 1, f"{name} cannot be said", "another name")]
        return []

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)}\n"

    def grammar(self, pins: Pins) -> str:
        heads = [self.name, *(f"{self.name} {label}" for label in self.labels.known)]
        head, newline, body = pins.prompt.partition("\n")
        ways = rest_of(heads, head) if not newline else [""] if head in heads else []
        if not ways:
            raise ConfigError(f"no names begin with {pins.prompt!r:.60}", "prompt", f"begin with {heads[-1]!r} and a new line")
        whole, _, begun = body.rpartition("\n")
        if problems := self.syntax(f"{head}\n{whole}\n") if whole else []:
            raise ConfigError(f"no names begin with this: {problems[0].what}", "prompt", problems[0].fix)
        ended = begun[:-1] if begun[-1:] and begun[-1] in _JOINTS else begun
        if begun and not (begun[0] in self.firsts and _NAME.fullmatch(ended) and not set(begun[1:]) - set(self.letters)):
            raise ConfigError(f"no name begins with {begun!r:.40}", "prompt", "leave it out, or end in whole names")
        root = [gbnf.either(ways)] if not newline else []
        if begun:
            letters = f"{self._letter()}{'+' if len(begun) < SHORTEST else '*'}"
            root.append(f'{f"l {self._letter()}*" if begun[-1] in _JOINTS else letters} "\\n"')
        root.append(self._names_left(pins, len(whole.split("\n")) * bool(whole) + bool(begun)))
        return f"root ::= {' '.join(root)}\n" + self._rules(' "\\n"')

    def _names_left(self, pins: Pins, done: int) -> str:
        """GBNF for the names that are still to come behind `done`: a dozen in all, where `pins` does not say."""
        most = pins.most if pins.most is not None else max(self.rules.together, pins.least or 0, done)
        least = min(pins.least if pins.least is not None else self.rules.together, most)
        if most < done or (pins.least or 0) > most:
            raise ConfigError(f"at most {most} names, and {max(done, pins.least or 0)} are there or asked for", "--most", "ask for more")
        low, high = max(0, least - done), most - done
        return f"name{{{low},{high}}}" if low < high else f"name{{{high}}}" if high else '""'

    def _letter(self) -> str:
        """GBNF for the next letter of a name, with what stands before it where the corpus has such names."""
        return "(l | j l)" if set(self.letters) & set(_JOINTS) else "l"

    def _rules(self, end: str = "") -> str:
        joints = [letter for letter in _JOINTS if letter in self.letters]
        plain = "".join(letter for letter in self.letters if letter not in _JOINTS)
        rules = [f"name ::= {_class(self.firsts)} {self._letter()}+{end}", f"l ::= {_class(plain)}"]
        return "\n".join([*rules, f"j ::= {gbnf.either(joints)}"] if joints else rules)

    def filling(self, text: str, start: int, end: int) -> str:
        names = ' "\\n" '.join(["name"] * (text[start:end].count("\n") + 1))
        return f"root ::= {names}\n{self._rules()}"

    def spans(self, text: str) -> list[tuple[int, int]]:
        return line_spans(text)[1:]

    def title(self, text: str) -> str:
        names = text.removesuffix("\n").split("\n")[1:]
        return f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 3 else ", ".join(names) or "no names"

    def variants(self, text: str) -> Iterator[str]:
        """The same names in other orders: three of them."""
        head, *names = text.removesuffix("\n").split("\n")
        for seed in range(3):
            other = names[:]
            random.Random(seed).shuffle(other)
            if other != names:
                yield "\n".join([head, *other]) + "\n"

    def distance(self, a: str, b: str) -> float:
        """The share of the smaller list's names that the other does not have."""
        x, y = (set(t.removesuffix("\n").split("\n")[1:]) for t in (a, b))
        return 0.0 if a == b else 1.0 if not x or not y else 1 - len(x & y) / min(len(x), len(y))

    def shingles(self, text: str) -> set[str]:
        """The names."""
        return set(text.removesuffix("\n").split("\n")[1:]) or {text}

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.txt, a name a line, and `stem`.json, a list of strings."""
        names = text.removesuffix("\n").split("\n")[1:]
        return [
            write_text(stem.with_name(f"{stem.name}.txt"), "\n".join(names) + "\n"),
            write_text(stem.with_name(f"{stem.name}.json"), json.dumps(names, ensure_ascii=False) + "\n"),
        ]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """All names by label, none twice, as `stem`.json."""
        listed: dict[str, list[str]] = collections.defaultdict(list)
        for text in texts:
            head, *names = text.removesuffix("\n").split("\n")
            kind = head.removeprefix(self.name).strip() or self.name
            listed[kind] += [name for name in names if name not in listed[kind]]
        return [write_text(stem.with_name(f"{stem.name}.json"), json.dumps(listed, ensure_ascii=False, indent=1) + "\n")]

    def promise(self, path: Path) -> Promise:
        """names that are read; kept (share of the file's entries that are names), dealt (share of the names that come in documents)."""
        lists, given = self._lists(path), _given(path)
        entries, good = sum(len(set(some)) for _, some in given), sum(len(_good(some)) for _, some in given)
        read, size = sum(len(names) for _, names in lists), self.rules.together
        dealt = sum(len(names) // size * size for _, names in lists)
        return Promise(path.name, {"names": float(read), "kept": good / entries, "dealt": dealt / good})


def rest_of(heads: Sequence[str], given: str) -> list[str]:
    """What may follow a begun header, its new line included."""
    return gbnf.rest([f"{head}\n" for head in heads], given)


def _class(letters: str) -> str:
    """A character class of any letters, those beyond ASCII too."""
    return "[" + "".join("\\" + c if c in "-]^\\" else c for c in letters) + "]"


def _kind(path: Path) -> str:
    """What a list is a list of: its name without what all such names have ("dist.female.first" is "female first")."""
    parts = re.split(r"[._ -]+", path.name)
    return words(" ".join(p for p in parts if p not in ("dist", "all", "txt", "csv", "json", "names", "name", "list")))


def _written(name: str) -> str:
    """SMITH and smith as Smith; McKay stays."""
    name = unicodedata.normalize("NFC", name).replace("’", "'")
    if name.isupper() or name.islower():
        return re.sub(r"[^' -]+", lambda found: found[0].capitalize(), name)
    return name[0].upper() + name[1:]


def _good(given: Sequence[str]) -> list[str]:
    """Those entries that are names, as names are written, none twice."""
    found = (unicodedata.normalize("NFC", name) for name in given)
    good = (name for name in found if SHORTEST <= len(name) <= LONGEST and name.count(" ") < _WORDS and _NAME.fullmatch(name))
    return list(dict.fromkeys(map(_written, good)))


def _sayable(name: str) -> bool:
    """Not three times the same letter; and a vowel, where all letters are Latin ones."""
    plain = [c for c in unicodedata.normalize("NFD", name.lower()) if c.isalpha()]
    latin = all("a" <= c <= "z" for c in plain)
    return not re.search(r"(.)\1\1", name.lower()) and (not latin or any(c in "aeiouy" for c in plain))


def _given(path: Path) -> list[tuple[str, list[str]]]:
    """(kind, entries) of each list in a file, as they stand there."""
    text, kind = read_text(path, 64 << 20), _kind(path)
    if path.suffix.lower() == ".json":
        return _of_json(text, path, kind)
    if path.suffix.lower() == ".csv":
        return [(kind, _of_table(text, path))]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return [(kind, [found[1] if (found := _LIST_LINE.fullmatch(line)) else line for line in lines])]


def _of_table(text: str, path: Path) -> list[str]:
    """The first column of a CSV, without its title."""
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as e:  # a field of over 128 KiB
        raise DataError(f"no CSV: {e}", str(path), "give a name a line") from None
    column = [row[0].strip() for row in rows if row and row[0].strip()]
    return column[1:] if column and column[0].lower().replace("_", " ") in _TITLES else column


def _of_json(text: str, path: Path, kind: str) -> list[tuple[str, list[str]]]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON: {e}", str(path), "give a list of strings") from None
    lists = [(words(key) or kind, value) for key, value in facts.items()] if isinstance(facts, dict) else [(kind, facts)]
    if not lists or not all(isinstance(some, list) and all(isinstance(name, str) for name in some) for _, some in lists):
        raise DataError("no list of strings", str(path), 'give ["Aelith", "Corrovane"], or lists by kind')
    return [(kind, [name.strip() for name in some]) for kind, some in lists]
