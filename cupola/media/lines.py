"""Scenes, talk and records as lines: who says what, a line each; what nobody says stands without a speaker.

    lines macbeth
    First Witch: When shall we three meet again?
    [Thunder.]

Read are dialogues with "Name: text" on every line, plays (a name on a line of its own, or in capitals before the speech), the JSON that
`write` makes, JSON records (their name speaks their text), and plain paragraphs. A piece is a scene, or one of the equal parts of one that
has over `lines` lines; all of a file is one group, and each record one of its own. Of a record only the first `lines` lines are read: what
it is stands there.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.gbnf import either, letters, quoted, rest
from cupola.media.labels import Labels
from cupola.media.text import LONGEST, apart, canonical, check_characters, grams, line_spans, read_text, shorten, words, write_text

LONGEST_LINE = 600  # characters of a speech; a longer one is parted at a sentence's end
LARGEST = 64 << 20  # bytes of a file
_ENOUGH = 80  # characters of a piece of one line: a sonnet is one, "only this" is not
_NAMED_BY = ("name", "title", "speaker", "id")  # of a record: the first of these that it has
_CONTROLS = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffd-\uffff"  # what `check_characters` refuses, as GBNF has it
_SPACES = r" \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # a line of these alone is none
_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_FEW = 200  # other characters of a corpus that a grammar lists, so that half a character is never drawn; of more, all are admitted
_FIRST, _ANY = f"[^{_CONTROLS}{_SPACES}]", f"[^{_CONTROLS}]"
# Who speaks in "Name: text": up to five words, those after the second in capitals, so that "Look where they come: two" is no name.
_SPEAKER = re.compile(
    r"((?:(?:The|An?|My|Our) )?[A-Z0-9][\w'’.,/-]{0,40}(?: [\w'’./()-]{1,40})?"
    r"(?: (?:of|the|and|or|de|von|van|&|[A-Z0-9(][\w'’.,/()-]{0,40})){0,4}): *(\S.*)"
)
_SCENE = re.compile(r"\s*(?:(?:ACT|SCENE)\b.{0,80}|(?:Act|Scene) (?:[IVXLC]+|\d+|One|Two|Three|Four|Five)\b.{0,80}|#+ .*|={3,}.*|-{3,})")
_NUMBER = re.compile(r"[IVXLC]+\.?|PROLOGUE\.?|EPILOGUE\.?")  # headings where they stand alone
_DIRECTION = re.compile(r"\[.*\]\.?|\(.*\)\.?|(?:Enter|Re-enter|Exit|Exeunt|Flourish|Alarums?|Sennet|Thunder)\b.{0,300}|[^a-z]*")
_ROMAN = re.compile(r"[IVXLC]+\.?")
_INLINE = re.compile(r"([A-Z][A-Z'’ &-]{0,36}[A-Z])[.:]\s+(\S.*)")
_NAME_LINE = re.compile(r"[\w'’ .&-]{1,40}")
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
        self.letters = ""  # what a line is made of; "": anything

    def fit(self, files: Sequence[Path], options: LinesOptions, apart: Apart) -> Self:
        """With the files' names as labels, where there are several, and the characters that they have."""
        new = type(self)()
        new.rules = options
        owners: list[Path] = []
        signs = set(_ASCII)
        first: DataError | None = None
        for path in files:
            try:
                pieces = list(new._pieces(path))
            except DataError as e:
                first = first or e
                continue
            owners += [path] * len(pieces)
            signs.update(*(line for lines, _, _ in pieces for line in lines))
        if not owners:
            raise first or DataError("nothing said in it", "", "give text with lines such as Mira: Only the wind.")
        several = len(set(owners)) > 1
        new.labels = Labels.fit(owners) if several else Labels()
        new.letters = "".join(sorted(signs - {"\ufffd"})) if len(signs) <= len(_ASCII) + _FEW else ""
        return new

    def settings(self) -> dict[str, Any]:
        return {"labels": self.labels.plain(), "options": self.rules.model_dump(mode="json"), "letters": self.letters}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            new.labels, new.rules = Labels.restore(settings["labels"]), LinesOptions(**settings["options"])
            new.letters = str(settings.get("letters", ""))
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of lines: {e}", "settings", "they are damaged; make the corpus again") from None
        return new

    def read(self, path: Path) -> Iterator[Document]:
        """The scenes or records of a file. Raises DataError for what is no text, no JSON, and records without the fields asked for."""
        label = self.labels.of(path)
        head = f"{self.name} {label}" if label else self.name
        for number, (lines, group, name) in enumerate(self._pieces(path), start=1):
            yield Document("\n".join([head, *lines]) + "\n", group, path.name, label=label or None, name=name or f"{path.stem} {number}")

    def _pieces(self, path: Path) -> Iterator[tuple[list[str], str, str]]:
        """(lines, group, name) of each piece."""
        scenes, facts = self._opened(path)
        if facts is not None:
            yield from self._records(facts, path)
            return
        some = False
        for scene in scenes:
            for part in _shared(scene, self.rules.lines):
                if len(part) > 1 or len(part[0]) >= _ENOUGH:
                    some = True
                    yield part, path.name, ""
        if not some:
            raise DataError("fewer than two lines in it", str(path), "leave it out, or add to it")

    def _opened(self, path: Path) -> tuple[list[list[str]], Any]:
        """The scenes of a text or a conversation in JSON, and None; or nothing, and what a JSON file of records says."""
        text = read_text(path, LARGEST)
        if path.suffix.lower() not in (".json", ".jsonl"):
            return list(_scenes(canonical(text))), None
        facts = _of_json(text, path)
        scenes = [] if self.rules.fields or self.rules.where else _conversations(facts)
        return scenes, None if scenes else facts

    def _records(self, facts: Any, path: Path) -> Iterator[tuple[list[str], str, str]]:
        records = self._asked(facts, path)
        some = False
        for number, record in enumerate(records, start=1):
            name = _name(record)
            lines = [line for text in self._texts(record) for line in _parted(name, text)]
            if lines:
                some = True
                yield lines[: self.rules.lines], f"{path.name} {name or number}", name
        if not some:
            has = ", ".join(sorted(records[0])[:12])
            asked = ", ".join(self.rules.fields) or "a sentence of text"
            raise DataError(f"no record has {asked}; the first has {has}", str(path), "say which in [models.NAME.notation] fields")

    def _asked(self, facts: Any, path: Path) -> list[dict[str, Any]]:
        """The records that `where` picks."""
        where = self.rules.where.items()
        records = [r for r in _listed(facts, path) if all(value in _spellings(_at(r, key)) for key, value in where)]
        if not records:
            raise DataError("no record in it has what `where` asks for", str(path), f"where = {json.dumps(self.rules.where)}")
        return records

    def _texts(self, record: Mapping[str, Any]) -> Iterator[str]:
        """The paragraphs of a record's fields that are asked for; where none are, of all that hold a sentence."""
        asked = self.rules.fields
        for key in asked or (key for key in record if key not in _NAMED_BY):
            value = _at(record, key) if asked else record[key]
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and (asked or (len(text) >= 24 and " " in text and "://" not in text)):
                    yield from filter(None, map(_one_line, canonical(text).split("\n")))

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
        if body.strip() and (problems := check_characters(body)):
            raise ConfigError(f"no lines begin with this: {problems[0].what}", "prompt", "leave it out")
        opened = bool(body) and not body.endswith("\n")  # a line is begun, and goes on
        done = body.count("\n") + opened
        needed = max(done, pins.least or 1)
        if pins.most is not None and pins.most < needed:
            raise ConfigError(f"at most {pins.most} lines, and {needed} are there or asked for", "--most", "ask for more")
        lines = "line*" if done else "line+"
        if pins.least is not None or pins.most is not None:  # counting costs: only where it is asked for
            most = pins.most if pins.most is not None else max(2 * self.rules.lines, needed)
            lines = f"line{{{max(0 if done else 1, (pins.least or 1) - done)},{most - done}}}" if most > done else '""'
        parts = [*([either(ways)] if not newline else []), *([self._rest_of_line(body)] if opened else []), lines]
        return f"root ::= {' '.join(parts)}\nline ::= {self._line()} {quoted(chr(10))}"

    def _line(self) -> str:
        """GBNF for a line: not empty, and of the corpus's characters."""
        if not self.letters:
            return f"{_FIRST} {_ANY}*"
        return f"{letters(''.join(c for c in self.letters if not c.isspace()))} {letters(self.letters)}*"

    def _rest_of_line(self, body: str) -> str:
        """GBNF for how the line that `body` ends in goes on."""
        some = f"{letters(self.letters) if self.letters else _ANY}*"
        return f"{some} {quoted(chr(10))}" if body.rpartition("\n")[2].strip() else "line"

    def filling(self, text: str, start: int, end: int) -> str:
        count = text[start:end].count("\n") + 1
        return "root ::= " + ' "\\n" '.join(["line"] * count) + f"\nline ::= {self._line()}"

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Lines without the first, which is the header."""
        return line_spans(text)[1:]

    def title(self, text: str) -> str:
        lines = text.split("\n")
        who = dict.fromkeys(found[1] for line in lines[1:] if (found := _SPEAKER.fullmatch(line)))
        return shorten(", ".join(who) if who else next((line for line in lines[1:] if line.strip()), "no lines"))

    def canonical(self, text: str) -> str:
        """Single spaces, no empty lines, long speeches parted: as the .txt that `write` makes is read."""
        if self.syntax(text):
            return text
        head, _, body = text.partition("\n")
        lines = [line for scene in _scenes(_as_file(body)) for line in scene]
        return "\n".join([head, *lines]) + "\n" if lines else text

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
        """`stem`.txt and `stem`.json, a list of {"speaker", "text"}; read as lines again, both are this text."""
        body = text.partition("\n")[2]
        listed = json.dumps(_listing(text), ensure_ascii=False, indent=1)
        txt = write_text(stem.with_name(f"{stem.name}.txt"), _as_file(body))
        return [txt, write_text(stem.with_name(f"{stem.name}.json"), listed + "\n")]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """`stem`.json, a list of such lists."""
        listed = json.dumps([_listing(text) for text in texts], ensure_ascii=False, indent=1)
        return [write_text(stem.with_name(f"{stem.name}.json"), listed + "\n")]

    def promise(self, path: Path) -> Promise:
        """pieces; identical (the share that the .txt which `write` makes gives again); kept (the share of the file's words in them)."""
        texts = [d.text for d in self.read(path)]
        same = sum(self.canonical(text) == text for text in texts)
        given, kept = self._words(path), collections.Counter(word for t in texts for word in words(t.partition("\n")[2]))
        share = (given & kept).total() / max(1, given.total())
        return Promise(path.name, {"pieces": float(len(texts)), "identical": same / max(1, len(texts)), "kept": share})

    def _words(self, path: Path) -> collections.Counter[str]:
        """Every word of a text; of JSON those of the conversation, or of the fields and records asked for."""
        scenes, facts = self._opened(path)
        if facts is not None:
            text = "\n".join(t for record in self._asked(facts, path) for t in (_name(record), *self._texts(record)))
        elif path.suffix.lower() in (".json", ".jsonl"):
            text = "\n".join(line for scene in scenes for line in scene)
        else:
            text = read_text(path, LARGEST)
        return collections.Counter(words(canonical(text)))


# --- text -------------------------------------------------------------------------------------------------------------------------------


def _said(line: str) -> dict[str, str]:
    found = _SPEAKER.fullmatch(line)
    return {"speaker": found[1], "text": found[2]} if found else {"speaker": "", "text": line}


def _listing(text: str) -> list[dict[str, str]]:
    return [_said(line) for line in text.partition("\n")[2].split("\n") if line]


def _as_file(body: str) -> str:
    """The lines as a text that is read as these lines: as paragraphs, where they would be taken for the broken lines of one."""
    lines = [line for line in body.split("\n") if line.strip()]
    plain = "\n".join(lines)
    return (plain if [line for scene in _scenes(plain) for line in scene] == lines else "\n\n".join(lines)) + "\n"


def _one_line(text: str) -> str:
    """Single spaces, no control characters, no halves of characters (JSON may have some)."""
    return " ".join(canonical(re.sub(r"[\ud800-\udfff]", "", text)).split())


def _shared(scene: list[str], most: int) -> Iterator[list[str]]:
    """A scene in parts of at most `most` lines, and of no more bytes than a document may have, all about as long."""
    longest = max((len(line.encode()) + 1 for line in scene), default=1)
    count = -(-len(scene) // max(1, min(most, (LONGEST - 100) // longest)))
    for i in range(count):
        yield scene[len(scene) * i // count : len(scene) * (i + 1) // count]


def _scenes(text: str) -> Iterator[list[str]]:
    """Scenes as lists of lines, in whichever of the three forms the text is."""
    lines = text.split("\n")
    named = sum(bool(_SPEAKER.fullmatch(line)) for line in lines)
    filled = sum(bool(line.strip()) for line in lines)
    paragraphs = list(_paragraphs(lines))
    if named >= filled / 12:
        yield from _talk(lines)
    elif (cast := Cast.of(paragraphs)).speaks(paragraphs):
        yield from _play(paragraphs, cast)
    else:
        yield from _prose(paragraphs)


def _talk(lines: Sequence[str]) -> Iterator[list[str]]:
    """A line an utterance; an empty line or a heading ends a scene."""
    scene: list[str] = []
    for line in [*lines, ""]:
        heading = bool(_SCENE.fullmatch(line))
        if (heading and scene) or (not line.strip() and len(scene) > 1):
            yield scene
            scene = []
        elif line.strip() and not heading:
            who = _said(" ".join(line.split()))
            scene += _parted(who["speaker"], who["text"])
    if scene:
        yield scene


def _prose(paragraphs: Sequence[list[str]]) -> Iterator[list[str]]:
    """A paragraph is a line, for its own lines are broken anywhere."""
    scene: list[str] = []
    for paragraph in paragraphs:
        if not _heads(paragraph):
            who = _said(" ".join(" ".join(paragraph).split()))
            scene += _parted(who["speaker"], who["text"])
        elif scene:
            yield scene
            scene = []
    if scene:
        yield scene


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    """What stands between empty lines; a scene's heading is one of its own."""
    held: list[str] = []
    for line in [*lines, ""]:
        heading = bool(_SCENE.fullmatch(line))
        if line.strip() and not heading:
            held.append(line.strip())
            continue
        if held:
            yield held
        held = []
        if heading:
            yield [line.strip()]


def _heads(paragraph: list[str]) -> bool:
    return len(paragraph) == 1 and bool(_SCENE.fullmatch(paragraph[0]) or _NUMBER.fullmatch(paragraph[0]))


class Cast:
    """How a play writes who speaks: in capitals ("FIRST WITCH.", "OLIVIA. Now, sir") or as "Hor." on its own line."""

    def __init__(self, capitals: bool, known: set[str]):
        self.capitals, self.known = capitals, known

    @classmethod
    def of(cls, paragraphs: Sequence[list[str]]) -> Self:
        firsts = [p[0] for p in paragraphs if len(p) > 1 or _INLINE.fullmatch(p[0])]
        capitals = sum(line.isupper() or bool(_INLINE.fullmatch(line)) for line in firsts)
        mixed = sum(bool(_mixed(line)) for line in firsts if not line.isupper())
        often = collections.Counter(line for p in paragraphs for line in p[:-1] if line.isupper())
        return cls(capitals >= mixed, {line for line, n in often.items() if n >= 3})

    def speaks(self, paragraphs: Sequence[list[str]]) -> bool:
        """Whether this is a play at all: over a quarter of what stands together begins with a name."""
        turns = [name for p in paragraphs for name, _ in self.turns(p)]
        return sum(map(bool, turns)) > max(1, len(turns) / 4)

    def turns(self, paragraph: list[str]) -> Iterator[tuple[str, str]]:
        """(who, what) of each speech in a paragraph; who is "" where no name stands before."""
        name, held = "", []
        for i, line in enumerate(paragraph):
            found = self._name(line, i) if i + 1 < len(paragraph) else ""
            inline = _INLINE.fullmatch(line) if i == 0 and self.capitals and not found else None
            if found and held:
                yield name, " ".join(held)
                held = []
            name = _capitalised(inline[1]) if inline else found or name
            held += [inline[2]] if inline else [] if found else [line]
        if held:
            yield name, " ".join(held)

    def _name(self, line: str, place: int) -> str:
        if _ROMAN.fullmatch(line) or not _NAME_LINE.fullmatch(line.rstrip(".:")):
            return ""
        if line.isupper():
            return _capitalised(line.rstrip(".:- ")) if place == 0 or line in self.known else ""
        return _mixed(line) if place == 0 and not self.capitals else ""


def _mixed(line: str) -> str:
    """ "Hor." and "First Clown:" as names; "" for what is none."""
    some = line[:-1].split()
    found = line[-1:] in (".", ":") and len(some) <= 4 and all(word[0].isupper() or word in ("of", "the", "and") for word in some)
    return " ".join(some) if found else ""


def _capitalised(name: str) -> str:
    """ "ANTIPHOLUS OF SYRACUSE" as Antipholus of Syracuse."""
    some = [word.lower() if word in ("OF", "THE", "AND") else word.capitalize() for word in name.split()]
    return " ".join([some[0].capitalize(), *some[1:]])


def _play(paragraphs: Sequence[list[str]], cast: Cast) -> Iterator[list[str]]:
    """A speech goes on behind a stage direction, which is nobody's, until another name stands there."""
    scene: list[str] = []
    speaker = ""
    for paragraph in paragraphs:
        if _heads(paragraph):
            if scene:
                yield scene
            scene, speaker = [], ""
            continue
        for name, text in cast.turns(paragraph):
            speaker = name or speaker
            scene += _parted("" if not name and _DIRECTION.fullmatch(text) else speaker, text)
    if scene:
        yield scene


def _parted(speaker: str, text: str) -> list[str]:
    """A speech as lines of at most LONGEST_LINE characters, parted at the ends of sentences, the speaker before each."""
    lead = f"{speaker}: " if speaker else ""
    out, line = [], ""
    for sentence in _END.split(" ".join(text.split())):
        if line and len(line) + len(sentence) >= LONGEST_LINE:
            out.append(line)
            line = ""
        line = f"{line} {sentence}".strip()
        if len(line) > LONGEST_LINE:  # a sentence without end
            *whole, line = _chopped(line)
            out += whole
    return [lead + each for each in ([*out, line] if line else out)]


def _chopped(text: str) -> list[str]:
    """Parts of at most LONGEST_LINE characters, at spaces where there are some."""
    out, start = [], 0
    while len(text) - start > LONGEST_LINE:
        end = text.rfind(" ", start + 1, start + LONGEST_LINE)
        end = end if end > 0 else start + LONGEST_LINE
        out.append(text[start:end].strip())
        start = end
    return [*out, text[start:].strip()]


# --- records ------------------------------------------------------------------------------------------------------------------------------


def _of_json(text: str, path: Path) -> Any:
    """What a JSON file says; of .jsonl the list of what its lines say."""
    rows = text.split("\n") if path.suffix.lower() == ".jsonl" else [text]
    facts = []
    for number, row in enumerate(rows, start=1):
        try:
            facts += [json.loads(row)] if row.strip() or len(rows) == 1 else []
        except (ValueError, RecursionError) as e:
            place = f"line {number}: " if len(rows) > 1 else ""
            raise DataError(f"not JSON: {place}{e}", str(path), "give a list of records, each with some text") from None
    return facts if path.suffix.lower() == ".jsonl" else facts[0]


def _conversations(facts: Any) -> list[list[str]]:
    """The scenes of a list of {"speaker", "text"}, or of a list of such lists; [] where it is anything else."""
    scenes = facts if isinstance(facts, list) and facts and all(isinstance(each, list) for each in facts) else [facts]
    out = []
    for scene in scenes:
        if not isinstance(scene, list) or not all(isinstance(u, dict) and set(u) == {"speaker", "text"} for u in scene):
            return []
        if not all(isinstance(value, str) for u in scene for value in u.values()):
            return []
        out.append([line for u in scene for line in _parted(_one_line(u["speaker"]).rstrip(": "), _one_line(u["text"]))])
    return [scene for scene in out if scene]


def _name(record: Mapping[str, Any]) -> str:
    """What a record is called, on one line."""
    name = next((str(record[key]) for key in _NAMED_BY if isinstance(record.get(key), str | int)), "")
    return _one_line(name).rstrip(": ")[:LONGEST_LINE]


def _spellings(value: Any) -> set[str]:
    """How `where` may write a value: true as true or True."""
    return {str(value), json.dumps(value)} if isinstance(value, bool | int | float) or value is None else {str(value)}


def _listed(facts: Any, path: Path) -> list[dict[str, Any]]:
    """The records of a JSON file: a list of objects, the longest such list in an object, an object of objects, or one a line."""
    found = _of_dicts(facts)
    if isinstance(facts, dict) and not found:
        found = max((_of_dicts(value) for value in facts.values()), key=len, default=[])
    if not found:
        raise DataError("no list of records in it", str(path), "give a list of records, each with some text")
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
