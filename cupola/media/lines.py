"""Scenes, talk and records as lines: who says what, a line each; what nobody says stands without a speaker.

    lines macbeth
    First Witch: When shall we three meet again?
    [Thunder.]

Read are dialogues with "Name: text" on every line, plays with a speaker's name on a line of its own in capitals, JSON records (their name
speaks their text), and plain paragraphs. A piece is a scene, or a stretch of one of at most `lines` lines; all of a file is one group, and
each record one of its own.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.gbnf import either, quoted, rest
from cupola.media.labels import Labels
from cupola.media.text import LONGEST, apart, canonical, check_characters, grams, line_spans, read_text, shorten, words, write_text

LONGEST_LINE = 600  # characters; a longer speech is parted at a sentence's end
LARGEST = 64 << 20  # bytes of a file
_SPEAKER = re.compile(r"([A-Z][\w'’.,/-]*(?: [\w'’.,&/()-]+){0,4}): *(\S.*)")
_NAME_LINE = re.compile(r"([A-Z][A-Z'’ .&-]{1,38}?)[.:]?")
_HEADING = re.compile(r"\s*(?:ACT|SCENE|Act|Scene|PROLOGUE|EPILOGUE)\b.{0,80}|\s*[IVXLC]+\.?\s*|#+ .*|={3,}.*|-{3,}")
_END = re.compile(r"(?<=[.!?;,])\s+")


class LinesOptions(Options):
    """[models.NAME.notation] of lines."""

    lines: int = Field(6, ge=2, le=400)  # of a piece at most
    fields: tuple[str, ...] = ()  # of JSON records, the ones whose text is read; (): all that hold a sentence
    where: dict[str, str] = Field(default_factory=dict)  # only records whose field (dotted: "book.name") has this value


class Lines(Plain):
    """Dialogue and records. read then write keeps every word; white space and line breaks within a speech become single spaces."""

    name = "lines"
    suffixes = (".txt", ".md", ".json", ".jsonl")
    unit = "line"
    pretokenizer = "qwen2"
    vocab_size = 1024
    scrub = True
    options = LinesOptions
    train: Mapping[str, float] = {"length": 384, "variants": 0.0}
    passing = 0.9

    def __init__(self) -> None:
        self.rules = LinesOptions()
        self.labels = Labels()

    def fit(self, files: Sequence[Path], options: LinesOptions, apart: Apart) -> Self:
        new = type(self)()
        new.rules = options
        owners: list[Path] = []
        first: DataError | None = None
        for path in files:
            try:
                owners += [path] * sum(1 for _ in new._pieces(path))
            except DataError as e:
                first = first or e
        if not owners:
            raise first or DataError("nothing said in it", "", "give text with lines such as Mira: Only the wind.")
        several = len(set(owners)) > 1
        new.labels = Labels.fit(owners) if several else Labels()
        return new

    def settings(self) -> dict[str, Any]:
        return {"labels": self.labels.plain(), "options": self.rules.model_dump(mode="json")}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            new.labels, new.rules = Labels.restore(settings["labels"]), LinesOptions(**settings["options"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of lines: {e}", "settings", "they are damaged; make the corpus again") from None
        return new

    def read(self, path: Path) -> Iterator[Document]:
        """The scenes or records of a file. Raises DataError for what is no text, no JSON, and records without the fields asked for."""
        label = self.labels.of(path)
        for number, (said, group, name) in enumerate(self._pieces(path), start=1):
            text = "\n".join([f"{self.name} {label}" if label else self.name, *said]) + "\n"
            if len(text.encode()) <= LONGEST:
                yield Document(text, group, path.name, label=label or None, name=name or f"{path.stem} {number}")

    def _pieces(self, path: Path) -> Iterator[tuple[list[str], str, str]]:
        """(lines, group, name) of each piece."""
        text = read_text(path, LARGEST)
        if path.suffix.lower() in (".json", ".jsonl"):
            yield from self._records(text, path)
            return
        some = False
        for scene in _scenes(canonical(text)):
            for at in range(0, len(scene), self.rules.lines):
                part = scene[at : at + self.rules.lines]
                if len(part) > 1:
                    some = True
                    yield part, path.name, ""
        if not some:
            raise DataError("fewer than two lines in it", str(path), "leave it out, or add to it")

    def _records(self, text: str, path: Path) -> Iterator[tuple[list[str], str, str]]:
        records = [r for r in _listed(text, path) if all(str(_at(r, key)) == value for key, value in self.rules.where.items())]
        if not records:
            raise DataError("no record in it has what `where` asks for", str(path), f"where = {json.dumps(self.rules.where)}")
        some = False
        for number, record in enumerate(records, start=1):
            name = next((str(record[key]) for key in ("name", "title", "speaker", "id") if isinstance(record.get(key), str | int)), "")
            said = [line for key, value in self._texts(record) for line in _parted(name if key else "", value)]
            if said:
                some = True
                yield said[: self.rules.lines], f"{path.name} {name or number}", name
        if not some:
            has = ", ".join(sorted(records[0])[:12])
            asked = ", ".join(self.rules.fields) or "a sentence of text"
            raise DataError(f"no record has {asked}; the first has {has}", str(path), "say which in [models.NAME.notation] fields")

    def _texts(self, record: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
        keys = self.rules.fields or tuple(record)
        for key in keys:
            value = _at(record, key)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and (self.rules.fields or (len(text) >= 24 and " " in text and "://" not in text)):
                    for paragraph in canonical(text).split("\n"):
                        if paragraph.strip():
                            yield True, paragraph

    # --- notation

    def syntax(self, text: str) -> list[Problem]:
        head, newline, body = text.partition("\n")
        if head != self.name and not (head.startswith(f"{self.name} ") and head[len(self.name) + 1 :] in self.labels.known):
            return [Problem(1, 1, f"not a first line: {head!r:.40}", f"{self.name}, and a label that the corpus has")]
        if not newline or not body.strip():
            return [Problem(2, 1, "no lines", "write something")]
        return check_characters(text)

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then lines that are too long, and speakers who say nothing."""
        if problems := self.syntax(text):
            return problems
        out = []
        for number, line in enumerate(text.removesuffix("\n").split("\n")[1:], start=2):
            if len(line) > LONGEST_LINE + 60:
                out.append(Problem(number, 1, f"a line of {len(line)} characters", "break it"))
            if re.fullmatch(r"[A-Z][\w'’. -]{0,40}:\s*", line):
                out.append(Problem(number, 1, f"{line.strip()!r} and nothing said", "say something"))
        return out

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)}\n"

    def grammar(self, pins: Pins) -> str:
        """Lines of any characters but controls; how many, where `pins` says so."""
        heads = [self.name, *(f"{self.name} {label}" for label in self.labels.known)]
        head, newline, body = pins.prompt.partition("\n")
        ways = rest([f"{h}\n" for h in heads], head) if not newline else [""] if head in heads else []
        if not ways:
            raise ConfigError(f"no lines begin with {pins.prompt!r:.60}", "prompt", f"begin with {heads[-1]!r} and a new line")
        done = body.count("\n")
        counted = pins.least is not None or pins.most is not None  # counting costs: only where it is asked for
        least, most = max(0, (pins.least or 1) - done), max(1, (pins.most or 2 * self.rules.lines) - done)
        start = f"{either(ways)} " if not newline else ""
        open_ = f'[^\\x00-\\x1f]{{0,{LONGEST_LINE}}} "\\n" ' if body and not body.endswith("\n") else ""
        if open_:
            least, most = max(0, least - 1), max(0, most - 1)
        lines = f"line{{{least},{most}}}" if counted else "line*" if body else "line+"
        return f"root ::= {start}{open_}{lines}\nline ::= [^\\x00-\\x1f]+ {quoted(chr(10))}"

    def filling(self, text: str, start: int, end: int) -> str:
        count = text[start:end].count("\n") + 1
        return "root ::= " + ' "\\n" '.join(["line"] * count) + "\nline ::= [^\\x00-\\x1f]+"

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Lines without the first, which is the header."""
        return line_spans(text)[1:]

    def title(self, text: str) -> str:
        lines = text.split("\n")
        who = dict.fromkeys(found[1] for line in lines[1:] if (found := _SPEAKER.fullmatch(line)))
        return shorten(", ".join(who) if who else next((line for line in lines[1:] if line.strip()), "no lines"))

    def variants(self, text: str) -> Iterator[str]:
        return iter(())

    def distance(self, a: str, b: str) -> float:
        """As of texts: the share of the shorter one's three-word runs that the other does not have."""
        return 0.0 if a == b else apart(*(grams(words(t.partition("\n")[2]), 3) for t in (a, b)))

    def shingles(self, text: str) -> set[str]:
        """Runs of four words, without case and punctuation."""
        return grams(words(text.partition("\n")[2]), 4) or {text}

    # --- files out

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.txt and `stem`.json, a list of {"speaker", "text"}."""
        body = text.partition("\n")[2]
        said = json.dumps([_said(line) for line in body.split("\n") if line], ensure_ascii=False, indent=1)
        return [write_text(stem.with_name(f"{stem.name}.txt"), body), write_text(stem.with_name(f"{stem.name}.json"), said + "\n")]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """`stem`.json, a list of such lists."""
        listed = [[_said(line) for line in text.partition("\n")[2].split("\n") if line] for text in texts]
        return [write_text(stem.with_name(f"{stem.name}.json"), json.dumps(listed, ensure_ascii=False, indent=1) + "\n")]

    def promise(self, path: Path) -> Promise:
        """pieces; identical (share whose words all come back from the .txt that `write` makes)."""
        texts = [d.text for d in self.read(path)]
        same = [[line for scene in _scenes(t.partition("\n")[2]) for line in scene] == t.split("\n")[1:-1] for t in texts]
        return Promise(path.name, {"pieces": float(len(texts)), "identical": sum(same) / max(1, len(texts))})


def _said(line: str) -> dict[str, str]:
    found = _SPEAKER.fullmatch(line)
    return {"speaker": found[1], "text": found[2]} if found else {"speaker": "", "text": line}


def _scenes(text: str) -> Iterator[list[str]]:
    """Scenes as lists of lines, in whichever of the three forms the text is."""
    lines = text.split("\n")
    named = sum(bool(_SPEAKER.fullmatch(line)) for line in lines)
    alone = sum(bool(_NAME_LINE.fullmatch(a)) and bool(b.strip()) for a, b in itertools.pairwise(lines))
    filled = sum(bool(line.strip()) for line in lines)
    if named < filled / 12 and alone > filled / 12:
        yield from _play(lines)
        return
    scene: list[str] = []
    together = named < filled / 12  # prose, whose lines are broken anywhere: a paragraph is a line
    for line in _paragraphs(lines) if together else lines:
        if _HEADING.fullmatch(line):
            if scene:
                yield scene
            scene = []
        elif line.strip():
            scene += [" ".join(line.split())] if len(line) <= LONGEST_LINE + 60 else _parted("", line)
        elif scene and not together and len(scene) > 1:
            yield scene
            scene = []
    if scene:
        yield scene


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    held: list[str] = []
    for line in [*lines, ""]:
        if line.strip() and not _HEADING.fullmatch(line):
            held.append(line.strip())
            continue
        if held:
            yield " ".join(held)
        held = []
        if line.strip():
            yield line


def _play(lines: Sequence[str]) -> Iterator[list[str]]:
    """A play: a name in capitals on a line of its own, then what that person says, up to an empty line; anything else is nobody's."""
    scene: list[str] = []
    speaker, held = "", []
    for line in [*lines, ""]:
        stripped = line.strip()
        name = _NAME_LINE.fullmatch(stripped)
        if stripped and not (name and not held) and not _HEADING.fullmatch(line):
            held.append(stripped)
            continue
        if held:
            scene += _parted(speaker, " ".join(held))
            held = []
        if not stripped:
            speaker = ""
        elif _HEADING.fullmatch(line):
            if len(scene) > 1:
                yield scene
            scene, speaker = [], ""
        elif name:
            speaker = " ".join(word.capitalize() for word in name[1].rstrip(". ").split())
    if len(scene) > 1:
        yield scene


def _parted(speaker: str, text: str) -> list[str]:
    """A speech as lines of at most LONGEST_LINE characters, parted at the ends of sentences, the speaker before each."""
    lead = f"{speaker}: " if speaker else ""
    out, line = [], ""
    for sentence in _END.split(" ".join(text.split())):
        if line and len(line) + len(sentence) > LONGEST_LINE:
            out.append(lead + line)
            line = ""
        line = f"{line} {sentence}".strip()
        while len(line) > LONGEST_LINE:  # a sentence without end
            out.append(lead + line[:LONGEST_LINE].rstrip())
            line = line[LONGEST_LINE:].lstrip()
    return [*out, lead + line] if line else out


# --- records ------------------------------------------------------------------------------------------------------------------------------


def _listed(text: str, path: Path) -> list[dict[str, Any]]:
    """The records of a JSON file: a list of objects, the longest such list in an object, an object of objects, or one a line."""
    fix = "give a list of records, each with some text"
    try:
        if path.suffix.lower() == ".jsonl":
            facts: Any = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            facts = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON: {e}", str(path), fix) from None
    found = _of_dicts(facts)
    if isinstance(facts, dict) and not found:
        found = max((_of_dicts(value) for value in facts.values()), key=len, default=[])
    if not found:
        raise DataError("no list of records in it", str(path), fix)
    return found


def _of_dicts(facts: Any) -> list[dict[str, Any]]:
    if isinstance(facts, list):
        return [each for each in facts if isinstance(each, dict)]
    if isinstance(facts, dict) and len(facts) > 1 and all(isinstance(v, dict) for v in facts.values()):
        return [{"name": key, **value} for key, value in facts.items()]
    return []


def _at(record: Mapping[str, Any], dotted: str) -> Any:
    value: Any = record
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
