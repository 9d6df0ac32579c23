"""Recorded sounds as words, a word for 25 ms: four letters, one for each codebook (codec.py), coarse to fine.

    sound door
    aKbz abbQ zzAa

The codebooks are fitted to the corpus, on sounds that are not kept apart for the proof, and travel with the model. 160 letters a second; at
this rate more codebooks of 52 vectors come nearer to sounds they were not fitted to than fewer larger ones, which need two letters a code
(LOG.md, 2026-11-25).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media import audio, codec
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.codec import Codebooks
from cupola.media.gbnf import either, quoted, rest
from cupola.media.labels import Labels, first_word
from cupola.media.text import word_spans

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHORTEST, LOUD = 4, -55.0  # frames of a sound; dB that its loudest band reaches at least
SLOWEST, FASTEST = 1_000, 200_000  # samples a second of a file
APART = 16.0  # dB between two sounds that have nothing in common
# Doom's names for what its sounds are, where they say it; the rest have no label.
_DOOM = {
    "door": "DOROPN DORCLS BDOPN BDCLS",
    "weapon": "PISTOL SHOTGN SGCOCK DSHTGN DBOPN DBCLS DBLOAD PLASMA BFG SAWUP SAWIDL SAWFUL SAWHIT RLAUNC RXPLOD FIRSHT FIRXPL PUNCH CLAW",
    "pain": "PLPAIN DMPAIN POPAIN VIPAIN MNPAIN PEPAIN KEENPN BOSPN",
    "death": "PLDETH PDIEHI SLOP PODTH BGDTH SGTDTH CACDTH SKLDTH BRSDTH CYBDTH SPIDTH BSPDTH VILDTH KNTDTH PEDTH SKEDTH MANDTH KEENDT",
    "roar": "POSIT BGSIT SGTSIT CACSIT BRSSIT CYBSIT SPISIT BSPSIT KNTSIT VILSIT MANSIT PESIT SKESIT BOSSIT",
    "step": "HOOF METAL BSPWLK SKESWG",
}
_KINDS = {f"DS{lump[:6]}": label for label, lumps in _DOOM.items() for lump in lumps.split()}
_KINDS |= {f"DSPODTH{i}": "death" for i in range(4)} | {f"DSPOSIT{i}": "roar" for i in range(4)} | {f"DSBGSIT{i}": "roar" for i in range(4)}


class SoundOptions(Options):
    """[models.NAME.notation] of sounds."""

    seconds: float = Field(2.0, gt=0.1, le=30)  # of a piece; longer recordings are cut into several
    stages: int = Field(4, ge=1, le=8)  # codebooks, and letters of a frame


class Sound(Plain):
    """Short recordings. read then write keeps the spectrum within the error that `promise` measures; phases are made up."""

    name = "sound"
    suffixes = (".wav", ".flac", ".ogg", ".wad")
    unit = "frame"
    pretokenizer = "gpt-2"
    vocab_size = 262
    scrub = False
    options = SoundOptions
    train: Mapping[str, float] = {"length": 448, "variants": 0.0}
    seconds_per_unit = codec.SECONDS
    passing = 0.9

    def __init__(self) -> None:
        self.rules = SoundOptions()
        self.labels = Labels()
        self.books = Codebooks(np.zeros((4, len(LETTERS), codec.STACK * codec.BANDS), np.float16) + np.float16(codec.FLOOR / 4))
        self._frames_of = functools.lru_cache(2048)(self._decoded)

    # --- what a corpus decides

    def fit(self, files: Sequence[Path], options: SoundOptions, apart: Apart) -> Self:
        """Raises DataError where nothing can be read, or everything is kept apart."""
        new = type(self)()
        new.rules = options
        own, owners, frames, wads, first = [], [], [], False, None
        for path in files:
            try:
                for samples, rate, group, label, _ in new._pieces(path):
                    own.append(label)
                    owners.append(path)
                    wads = wads or path.suffix.lower() == ".wad"
                    if not apart(group):
                        frames.append(codec.spectra(samples, rate))
            except DataError as e:
                first = first or e
        if not frames:
            raise first or DataError("no sound to fit codebooks on", "", "add recordings: a few dozen at least")
        every = np.concatenate(frames)
        new.books = Codebooks.fit(every, options.stages, len(LETTERS))
        new.labels = Labels.fit(owners, own if wads else ())  # beside a game's archive a file says by its name what it is
        return new

    def settings(self) -> dict[str, Any]:
        return {"labels": self.labels.plain(), "books": self.books.plain(), "options": self.rules.model_dump(mode="json")}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            new.labels, new.books = Labels.restore(settings["labels"]), Codebooks.restore(settings["books"])
            new.rules = SoundOptions(**settings["options"])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of sounds: {e}", "settings", "they are damaged; make the corpus again") from None
        if new.books.vectors.shape != (new.rules.stages, len(LETTERS), codec.STACK * codec.BANDS):
            raise DataError("codebooks of another shape", "settings", "they are damaged; make the corpus again")
        return new

    # --- files in

    def _pieces(self, path: Path) -> Iterator[tuple[np.ndarray, int, str, str, str]]:
        """(samples at one peak, rate, group, label, name) of each piece of a file."""
        if path.suffix.lower() == ".wad":
            from cupola.media.wad import Wad

            found = [(name, rate, samples) for name, rate, samples in Wad(path).sounds()]
            every = [(samples, rate, f"{path.name} {name}", _KINDS.get(name, ""), name.lower()) for name, rate, samples in found]
        else:
            samples, rate = audio.read_wave(path)
            if not SLOWEST <= rate <= FASTEST:
                what = f"{rate:,} samples a second; {SLOWEST:,} to {FASTEST:,} are read"
                raise DataError(what, str(path), "its header is damaged, or save it at 16,000")
            every = [(samples, rate, path.name, first_word(path), path.stem)]  # the label beside a WAD, whose sounds say their own
        loud = long = 0
        for samples, rate, group, label, name in every:
            peak = float(np.abs(samples).max()) if len(samples) else 0.0
            if peak < audio.QUIET:
                continue
            loud += 1
            size = int(self.rules.seconds * rate)
            for number, at in enumerate(range(0, len(samples), size), start=1):
                part = samples[at : at + size]
                long += len(part) >= SHORTEST * codec.SECONDS * rate
                if len(part) >= SHORTEST * codec.SECONDS * rate and np.abs(part).max() > audio.QUIET:
                    yield part * (0.5 / peak), rate, group, label, name if len(samples) <= size else f"{name} ({number})"
        if not loud:
            raise DataError("silence", str(path), "leave it out; if it is stereo, its channels cancel each other: save one of them")
        if not long:
            raise DataError(f"shorter than {SHORTEST * codec.SECONDS:.1f} s", str(path), "leave it out")

    def read(self, path: Path) -> Iterator[Document]:
        """The sounds of a file, cut into pieces of at most `seconds`. Raises DataError for what is no sound, cut off, or silent."""
        for samples, rate, group, own, name in self._pieces(path):
            label = self.labels.of(path, own)
            yield Document(self._print(codec.spectra(samples, rate), label), group, path.name, label=label or None, name=name)

    def _print(self, frames: np.ndarray, label: str) -> str:
        words = " ".join("".join(LETTERS[c] for c in codes) for codes in self.books.encode(frames).tolist())
        return f"{self.name} {label}\n{words}\n" if label else f"{self.name}\n{words}\n"

    # --- notation

    def _decoded(self, text: str) -> np.ndarray | Problem:
        """(frames, D) dB of a text, or the first thing wrong."""
        head, newline, body = text.partition("\n")
        if head != self.name and not (head.startswith(f"{self.name} ") and head[len(self.name) + 1 :] in self.labels.known):
            return Problem(1, 1, f"not a first line: {head!r:.40}", f"{self.name}, and a label that the corpus has")
        if not newline or not body.endswith("\n") or not body.strip():
            return Problem(2, 1, "no frames, or no new line at the end", "words of letters, a space between")
        column, codes = 1, []
        for word in body[:-1].split(" "):
            if len(word) != self.rules.stages or not re.fullmatch("[a-zA-Z]+", word):
                return Problem(2, column, f"no frame: {word!r:.20}", f"a frame is {self.rules.stages} letters")
            codes.append([LETTERS.index(c) for c in word])
            column += len(word) + 1
        return np.maximum(self.books.decode(np.array(codes)), codec.FLOOR)

    def syntax(self, text: str) -> list[Problem]:
        found = self._frames_of(text)
        return [found] if isinstance(found, Problem) else []

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then silence, and what is shorter than a tenth of a second."""
        found = self._frames_of(text)
        if isinstance(found, Problem):
            return [found]
        if len(found) < SHORTEST:
            return [Problem(2, 1, f"{len(found)} frames", f"a sound has {SHORTEST} or more")]
        if found.max() < LOUD:
            return [Problem(2, 1, "silent", "make it louder")]
        return []

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)}\n"

    def grammar(self, pins: Pins) -> str:
        heads = [f"{self.name}\n", *(f"{self.name} {label}\n" for label in self.labels.known)]
        head, newline, body = pins.prompt.partition("\n")
        least, most = pins.least or SHORTEST, pins.most or max(SHORTEST, round(self.rules.seconds / codec.SECONDS))
        words = body.split(" ") if body else []
        ways = [""] if newline and f"{head}\n" in heads else [] if newline else rest(heads, head)
        strange = not re.fullmatch("[a-zA-Z ]*", body)
        if not ways or strange or any(len(w) != self.rules.stages for w in words[:-1]) or (words and len(words[-1]) > self.rules.stages):
            raise ConfigError(f"no sound begins with {pins.prompt!r:.60}", "prompt", f"such as {heads[-1]!r}")
        if least > most or len(words) > most:
            raise ConfigError(f"{max(least, len(words))} to {most} frames", "least, most", "least is at most most, and the prompt shorter")
        start = either(ways) + " " if not newline else ""
        begun = f"c{{{self.rules.stages - len(words[-1])}}} " if words and len(words[-1]) < self.rules.stages else ""
        first = "" if words else "w "
        done = max(1, len(words))
        more = f'(" " w){{{max(0, least - done)},{most - done}}} ' if most > done else ""
        return f"root ::= {start}{begun}{first}{more}{quoted(chr(10))}\nw ::= c{{{self.rules.stages}}}\nc ::= [a-zA-Z]"

    def filling(self, text: str, start: int, end: int) -> str:
        count = text[start:end].count(" ") + 1
        more = f' (" " w){{{count - 1}}}' if count > 1 else ""
        return f"root ::= w{more}\nw ::= c{{{self.rules.stages}}}\nc ::= [a-zA-Z]"

    def spans(self, text: str) -> list[tuple[int, int]]:
        return word_spans(text)

    def title(self, text: str) -> str:
        if self.syntax(text):
            return "no sound"
        label = text.partition("\n")[0].removeprefix(self.name).strip()
        return f"{label or self.name}, {len(self.spans(text)) * codec.SECONDS:.2f} s"

    def variants(self, text: str) -> Iterator[str]:
        """None: what is later or louder is written the same, or cut elsewhere."""
        return iter(())

    def distance(self, a: str, b: str) -> float:
        """The mean difference of their spectra, 16 dB counting as nothing in common; the shorter one is stretched to the longer."""
        if a.partition("\n")[2] == b.partition("\n")[2]:
            return 0.0
        x, y = self._frames_of(a), self._frames_of(b)
        if isinstance(x, Problem) or isinstance(y, Problem):
            return 1.0
        count = max(len(x), len(y))
        x, y = (np.maximum(z[np.arange(count) * len(z) // count], -60.0) for z in (x, y))
        stretch = 1 - min(len(self.spans(a)), len(self.spans(b))) / count  # a sound of half the length is another sound
        return float(min(1.0, np.abs(x - y).mean() / APART + 0.5 * stretch))

    def shingles(self, text: str) -> set[str]:
        """The first two letters of each frame, and the first letters of neighbouring frames."""
        words = text.partition("\n")[2].strip().split(" ")
        if not words[0]:
            return {text}
        pairs = {f"{a[:1]}>{b[:1]}" for a, b in itertools.pairwise(words)}
        return {word[:2] for word in words} | pairs

    # --- files out

    def samples(self, text: str) -> np.ndarray:
        """(N,) float32 at codec.RATE, at -16 LUFS. Raises DataError for what is not valid."""
        found = self._frames_of(text)
        if isinstance(found, Problem):
            raise DataError(f"no sound: {found}", self.name, "check it first")
        return audio.normalise(codec.sound(found), codec.RATE)

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.wav and `stem`.ogg, mono, at -16 LUFS."""
        samples = self.samples(text)
        return [
            audio.write_wave(samples, codec.RATE, stem.with_name(f"{stem.name}.wav")),
            audio.write_ogg(samples, codec.RATE, stem.with_name(f"{stem.name}.ogg")),
        ]

    def promise(self, path: Path) -> Promise:
        """pieces, seconds; root mean square errors of the spectrum: mel_db, what the codebooks leave, and heard_db, of what is written."""
        found = list(self._pieces(path))
        before = [codec.spectra(samples, rate) for samples, rate, *_ in found]
        after = [codec.spectra(codec.sound(self.books.decode(self.books.encode(frames))), codec.RATE)[: len(frames)] for frames in before]
        figures = {
            "pieces": float(len(found)),
            "seconds": sum(len(samples) / rate for samples, rate, *_ in found),
            "mel_db": codec.error_of(before, self.books),
            "heard_db": codec.error(np.concatenate(before), np.concatenate(after)),
        }
        return Promise(path.name, figures)
