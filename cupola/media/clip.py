"""Animations as frames of letters, a letter a pixel; `Z` is the pixel as it was in the frame before.

The first line says what it is and how long its frames are shown: one letter for all, or one for each. Then a line a frame, every row of it
with all its letters, as in sprite.py. A worked example, two frames of 4 x 2:

    clip monster b
    abba baab
    ZZZZ ZbbZ

The letter is one of the corpus's frame times, the shortest first, of which there are at most 25. GIF keeps steps of 10 ms: a time between
two of them comes back as the corpus has it, as `read` takes the nearest of the corpus's times. Frames that look the same are one frame.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media import frames, picture, rows
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.frames import Clip as Found
from cupola.media.gbnf import either, letters, rest
from cupola.media.labels import Labels
from cupola.media.picture import Palette
from cupola.media.text import write_text

PACES = "abcdefghijklmnopqrstuvwxy"
LEAST_KEPT = 0.2  # of the inked pixels, from a frame to the next: less is another picture
LEAST_INK = 0.02


class ClipOptions(Options):
    """[models.NAME.notation] of clips."""

    size: int = Field(16, ge=4, le=64)  # pixels of the longer side; larger clips are made smaller by a whole factor
    most: int = Field(4, ge=2, le=64)  # frames; longer clips are cut into several
    colours: int = Field(23, ge=2, le=picture.MOST_COLOURS)
    tile: tuple[int, int] | None = None  # of a sheet without a JSON, a clip a row
    margin: int = Field(0, ge=0)
    spacing: int = Field(0, ge=0)
    rate: int = Field(8, ge=1, le=100)  # frames a second where the files do not say

    def held(self) -> int:
        """ms of a frame where the files do not say, in GIF's steps of ten: 8 a second are 120."""
        return max(frames.SHORTEST, round(100 / self.rate) * 10)


class Clip(Plain):
    """Animated pixel art. read then write keeps frames and timing, and every pixel where size and colours fit.

    Timing is kept where a corpus has at most 25 different frame times; else a frame gets the nearest of the 25 commonest.
    """

    name = "clip"
    suffixes = (".gif", ".webp", ".apng", ".png", ".wad", ".base")
    unit = "frame"
    pretokenizer = "gpt-2"
    vocab_size = 262
    scrub = False
    options = ClipOptions
    train: Mapping[str, float] = {"length": 1120, "variants": 0.7}
    passing = 0.8

    def __init__(self) -> None:
        self.grid = ClipOptions()
        self.size = (16, 16)  # width, height of every frame
        self.palette = Palette(np.array([[0, 0, 0], [255, 255, 255], [200, 60, 50], [70, 150, 70], [60, 90, 190], [230, 190, 70]]))
        self.times: tuple[int, ...] = (120,)  # ms
        self.labels = Labels()
        self._parsed = functools.lru_cache(2048)(self._parse)
        self._posed = functools.lru_cache(256)(self._poses)

    # --- what a corpus decides

    def fit(self, files: Sequence[Path], options: ClipOptions, apart: Apart) -> Self:
        new = type(self)()
        new.grid = options
        found, owners, first = [], [], None
        for path in files:
            try:
                some = [clip for clip in new._clips(path) if clip is not None]
            except DataError as e:
                first = first or e
                continue
            found += some
            owners += [path] * len(some)
        if not found:
            raise first or DataError("no clip in it", "", "give GIF files, or numbered pictures")
        new.size = max(c.pictures[0].shape[1] for c in found), max(c.pictures[0].shape[0] for c in found)
        new.palette = Palette.fit((p for c in found for p in c.pictures), options.colours)
        times = collections.Counter(ms for c in found for ms in new._stacked(c)[1])
        new.times = tuple(sorted(t for t, _ in sorted(times.items(), key=lambda t: (-t[1], t[0]))[: len(PACES)]))
        own = [c.label for c in found]
        new.labels = Labels.fit(owners, own if any(own) else ())
        return new

    def settings(self) -> dict[str, Any]:
        plain = {"size": list(self.size), "palette": self.palette.plain(), "times": list(self.times), "labels": self.labels.plain()}
        return plain | {"options": self.grid.model_dump(mode="json")}

    def restore(self, settings: Mapping[str, Any]) -> Self:
        new = type(self)()
        try:
            w, h = settings["size"]
            new.size, new.times = (int(w), int(h)), tuple(int(t) for t in settings["times"])
            new.palette, new.labels = Palette.restore(settings["palette"]), Labels.restore(settings["labels"])
            new.grid = ClipOptions(**settings["options"])
            if not (new.times and list(new.times) == sorted(set(new.times)) and len(new.times) <= len(PACES) and min(new.size) >= 1):
                raise ValueError(f"frame times {new.times}, frames of {new.size}")
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of clips: {e}", "settings", "they are damaged; make the corpus again") from None
        return new

    # --- files in

    def _clips(self, path: Path) -> Iterator[Found | None]:
        """The file's clips in parts, as small as they should be; None for a blank one."""
        for clip in frames.clips(path, self._sheet(), self.grid.most):
            yield frames.fitted(clip, self.grid.size)

    def _sheet(self) -> frames.Grid:
        return frames.Grid(self.grid.tile, self.grid.margin, self.grid.spacing, self.grid.held())

    def read(self, path: Path) -> Iterator[Document]:
        """The clips of a file; blank ones, still ones and those larger than the corpus's frame are left out.

        Raises DataError for what cannot be read, and where no clip is left of some.
        """
        why, kept = "", 0
        for clip in self._clips(path):
            text = self._text(path, clip)
            if isinstance(text, Problem):
                why = why or text.what
                continue
            kept += 1
            assert clip is not None
            label = self.labels.of(path, clip.label)
            yield Document(text, clip.group, path.name, label=label or None, name=clip.name)
        if why and not kept:
            fix = "leave it out; a clip's frames share most of their pixels, and none is blank"
            raise DataError(f"no clip in it that can be learnt from: {why}", str(path), fix)

    def _text(self, path: Path, clip: Found | None) -> str | Problem:
        """The clip in notation, or why it is left out."""
        if clip is None:
            return Problem(2, 1, "nothing in it but blank")
        height, width = clip.pictures[0].shape[:2]
        if width > self.size[0] or height > self.size[1]:
            return Problem(2, 1, f"{width} x {height} pixels, larger than this corpus's {self.size[0]} x {self.size[1]}")
        index, times = self._stacked(clip)
        if len(index) < frames.LEAST:
            return Problem(3, 1, "nothing moves")
        text = self._print(index, [self._time(ms) for ms in times], self.labels.of(path, clip.label))
        return next(iter(self.check(text)), text)

    def _stacked(self, clip: Found) -> tuple[np.ndarray, list[int]]:
        """(F, H, W) int8 on the corpus's frame and ms a frame; frames that look the same here are one."""
        return _joined([self._placed(p) for p in clip.pictures], clip.durations)

    def _placed(self, rgba: np.ndarray) -> np.ndarray:
        """(H, W) int8 on the corpus's frame, at the bottom's middle."""
        index = self.palette.index(rgba)
        w, h = self.size
        out = np.full((h, w), -1, np.int8)
        x = (w - index.shape[1]) // 2
        out[h - index.shape[0] :, x : x + index.shape[1]] = index
        return out

    def _time(self, ms: int) -> int:
        """Which of the corpus's frame times is the nearest."""
        return min(range(len(self.times)), key=lambda i: (abs(self.times[i] - ms), i))

    # --- notation

    def _print(self, index: np.ndarray, paces: Sequence[int], label: str) -> str:
        """(F, H, W) int8 and a time for each frame, as text."""
        pace = PACES[paces[0]] if len(set(paces)) == 1 else "".join(PACES[p] for p in paces)
        lines = [" ".join([self.name, *([label] if label else []), pace]), rows.text_of(index[0])]
        for before, frame in itertools.pairwise(index):
            drawn, same = rows.text_of(frame), (before == frame).ravel()
            letters = iter(same.tolist())
            lines.append("".join(c if c == " " else rows.SAME if next(letters) else c for c in drawn))
        return "\n".join(lines) + "\n"

    def _parse(self, text: str) -> tuple[np.ndarray, list[int], str] | Problem:
        """((F, H, W) int8, a time for each, label), or the first thing wrong."""
        lines = text.split("\n")
        head = self._header(lines[0])
        if isinstance(head, Problem):
            return head
        if lines[-1] or len(lines) < 2 + frames.LEAST:
            return Problem(len(lines), 1, "no new line at the end, or too few frames", f"a line for each of {frames.LEAST} frames or more")
        if len(lines) - 2 > picture.MOST_FRAMES:
            return Problem(len(lines), 1, f"{len(lines) - 2} frames", f"at most {picture.MOST_FRAMES}")
        out: list[np.ndarray] = []
        for number, line in enumerate(lines[1:-1]):
            if problem := self._line_problem(line, number):
                return problem
            frame = rows.index_of(line, *self.size)
            if number:
                same = np.array([c == rows.SAME for c in line if c != " "]).reshape(self.size[1], self.size[0])
                frame = np.where(same, out[-1], frame).astype(np.int8)
            out.append(frame)
        paces, label = head
        return np.stack(out), (paces + paces[-1:] * len(out))[: len(out)], label

    def _header(self, line: str) -> tuple[list[int], str] | Problem:
        """(frame times by number, label) of a first line, or what is wrong with it. A last time is that of all further frames."""
        words, paces = line.split(" "), PACES[: len(self.times)]
        if words[0] != self.name or len(words) < 2 or not words[-1] or set(words[-1]) - set(paces):
            what = f"begin with {self.name!r}, a label if there is one, and a letter from a to {paces[-1]}"
            return Problem(1, 1, f"not a first line: {line!r:.40}", what)
        label = " ".join(words[1:-1])
        if len(words) > 2 and label not in self.labels.known:
            return Problem(1, len(self.name) + 2, f"no label {label!r:.40}", f"use one of: {', '.join(self.labels.known[:8]) or 'none'}")
        return [PACES.index(c) for c in words[-1]], label

    def _line_problem(self, line: str, number: int) -> Problem | None:
        w, h = self.size
        allowed = set(rows.BLANK + rows.COLOURS[: len(self.palette)]) | ({rows.SAME} if number else set())
        given = line.split(" ")
        if len(given) != h:
            return Problem(number + 2, 1, f"{len(given)} rows", f"a frame has {h}")
        for y, row in enumerate(given):
            if len(row) != w:
                return Problem(number + 2, y * (w + 1) + 1, f"row {y + 1} has {len(row)} pixels", f"it should have {w}")
            if bad := next((x for x, c in enumerate(row, start=1) if c not in allowed), None):
                fix = f"letters from a (blank) to {(rows.BLANK + rows.COLOURS)[len(self.palette)]}, and Z from the second frame on"
                return Problem(number + 2, y * (w + 1) + bad, f"no colour {row[bad - 1]!r}", fix)
        return None

    def syntax(self, text: str) -> list[Problem]:
        found = self._parsed(text)
        return [found] if isinstance(found, Problem) else []

    def check(self, text: str) -> list[Problem]:
        """What `syntax` finds; then an empty frame, a clip that stands still, and a frame that has nothing of the one before."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return [found]
        inked = found[0] >= 0
        for i, share in enumerate(inked.mean((1, 2))):
            if share < LEAST_INK:
                return [Problem(i + 2, 1, "nearly nothing in this frame", "draw more")]
        if not (found[0][1:] != found[0][:-1]).any():
            return [Problem(3, 1, "nothing moves", "change some pixels from frame to frame")]
        for i, (a, b) in enumerate(itertools.pairwise(inked)):
            if (a & b).sum() < LEAST_KEPT * (a | b).sum():
                return [Problem(i + 3, 1, "it has hardly a pixel in common with the frame before", "move less from frame to frame")]
        return []

    def canonical(self, text: str) -> str:
        """Frames that look the same are one, shown for as long as both, or the nearest time that the corpus has."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return text
        index, times = _joined(list(found[0]), [self.times[p] for p in found[1]])
        if len(index) < frames.LEAST:
            return text
        return self._print(index, [self._time(ms) for ms in times], found[2])

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)} "

    def grammar(self, pins: Pins) -> str:
        most, least = pins.most or self.grid.most, max(frames.LEAST, pins.least or 0)
        if least > most:
            raise ConfigError(
                f"{least} to {most} frames", "least, most", f"a clip has {frames.LEAST} frames or more, least is at most most"
            )
        head, newline, body = pins.prompt.partition("\n")
        if not newline:
            root = " | ".join(f'{way} "\\n" first next{{{least - 1},{most - 1}}}' for way in self._ways(head, most))
            return f"root ::= {root}\n{self._rules()}"
        if isinstance(self._header(head), Problem):
            raise self._no_prompt(pins.prompt)
        *done, begun = body.split("\n")
        if len(done) > most or (len(done) == most and begun):
            raise ConfigError(f"the prompt is longer than {most} frames", "prompt", "give less of it, or raise most")
        if any(self._line_problem(line, i) for i, line in enumerate(done)) or (begun and self._row_problem(begun, len(done))):
            raise self._no_prompt(pins.prompt)
        if len(done) == most:
            return 'root ::= ""'
        one = rows.rest_of_rows(begun, *self.size).replace("c{", "z{" if done else "c{")
        left = most - len(done) - 1
        more = f" next{{{max(0, least - len(done) - 1)},{left}}}" if left else ""
        root = f'{one} "\\n"{more}'.lstrip()
        return f"root ::= {f'({root})?' if not begun and len(done) >= least else root}\n{self._rules()}"

    def _rules(self) -> str:
        w, h = self.size
        rules = [f"c ::= {rows.class_of(len(self.palette))}", f"z ::= {rows.class_of(len(self.palette), rows.SAME)}"]
        rules += [f'{name} ::= {c}{{{w}}} (" " {c}{{{w}}}){{{h - 1}}} "\\n"' for name, c in (("first", "c"), ("next", "z"))]
        return "\n".join([*rules, f"p ::= {letters(PACES[: len(self.times)])}"])

    def _ways(self, given: str, most: int) -> list[str]:
        """What may follow a first line that has begun so: the rest of a label, and one frame time for all or one for each frame."""
        times = f"p{{1,{most}}}" if len(self.times) > 1 else "p"
        heads = [f"{self.name} ", *(f"{self.name} {label} " for label in self.labels.known)]
        ways = [f"{either(left)} {times}"] if (left := rest(heads, given)) else []
        for head in heads:
            paces = given.removeprefix(head)
            if given.startswith(head) and paces and not set(paces) - set(PACES[: len(self.times)]):
                room = most - len(paces) if len(self.times) > 1 else 0
                ways.append(f"p{{0,{room}}}" if room > 0 else '""')
        if not ways:
            raise self._no_prompt(given)
        return ways

    def _no_prompt(self, prompt: str) -> ConfigError:
        label = self.labels.known[0] + " " if self.labels.known else ""
        return ConfigError(f"no clip begins with {prompt!r:.60}", "prompt", f"such as '{self.name} {label}'")

    def _row_problem(self, begun: str, number: int) -> bool:
        """Whether no frame begins so: full rows, the last one perhaps not."""
        w, h = self.size
        given = begun.split(" ")
        allowed = set(rows.BLANK + rows.COLOURS[: len(self.palette)]) | ({rows.SAME} if number else set())
        uneven = any(len(row) != w for row in given[:-1]) or len(given[-1]) > w or len(given) > h
        return uneven or bool(set("".join(given)) - allowed)

    def filling(self, text: str, start: int, end: int) -> str:
        """Whole frames, or the cells of one row; Z only where a frame stands before."""
        spans = self.spans(text)
        first = bool(spans) and start < spans[0][1]
        inside = [(a, b) for a, b in spans if start <= a and b <= end]
        if not inside:
            return rows.same_shape(text[start:end], rows.class_of(len(self.palette), "" if first else rows.SAME))
        w, h = self.size
        lines = [f'{c}{{{w}}} (" " {c}{{{w}}}){{{h - 1}}}' for c in ["c" if first else "z", *"z" * (len(inside) - 1)]]
        rules = [f"c ::= {rows.class_of(len(self.palette))}", f"z ::= {rows.class_of(len(self.palette), rows.SAME)}"]
        return "\n".join(["root ::= " + ' "\\n" '.join(lines), *rules])

    def region(self, text: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[str, list[tuple[int, int]]]:
        """The cells of these columns in every row of these frames."""
        spans = self.spans(text)
        for (first, last), most, what in ((rows, len(spans), "frame"), (columns, self.size[0], "column")):
            if not 1 <= first <= last <= most:
                fix = f"give numbers from 1 to {most}, the lower one first"
                raise DataError(f"no {what}s {first} to {last}: it has {most}", "--columns", fix)
        cells = []
        for start, end in spans[rows[0] - 1 : rows[1]]:
            for at in range(start, end, self.size[0] + 1):
                cells.append((at + columns[0] - 1, at + columns[1]))
        return text, cells

    def spans(self, text: str) -> list[tuple[int, int]]:
        spans, start = [], 0
        for number, line in enumerate(text.removesuffix("\n").split("\n")):
            if number:
                spans.append((start, start + len(line)))
            start += len(line) + 1
        return spans

    def title(self, text: str) -> str:
        found = self._parsed(text)
        if isinstance(found, Problem):
            return "no clip"
        index, paces, label = found
        return (
            f"{label or self.name}, {len(index)} frames, {self.size[0]} x {self.size[1]}, {sum(self.times[p] for p in paces) / 1000:.2f} s"
        )

    # --- what is alike

    def variants(self, text: str) -> Iterator[str]:
        """Mirrored, backwards, both; and these moved by a pixel to a side where nothing is lost."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return
        index, paces, label = found
        seen = {text, self._print(index, paces, label)}
        for f, p in ((index, paces), (index[::-1], paces[::-1])):
            for g in (f, f[:, :, ::-1]):
                edge = (g >= 0).any((0, 1))
                for step in (0, *([-1] if not edge[0] else []), *([1] if not edge[-1] else [])):
                    if (printed := self._print(np.roll(g, step, 2), p, label)) not in seen:
                        seen.add(printed)
                        yield printed

    def distance(self, a: str, b: str) -> float:
        """The share of pixels that differ, of those inked in either, over all frames, at the best of mirror image, shift and direction.

        The frames of the shorter clip are held longer.
        """
        if a == b:
            return 0.0
        x, y = self._parsed(a), self._parsed(b)
        if isinstance(x, Problem) or isinstance(y, Problem):
            return 1.0
        count = max(len(x[0]), len(y[0]))
        still, poses = self._posed(a, count)[:, 4], self._posed(b, count)  # (F, H + 2, W + 2), (F, 18, H + 2, W + 2)
        best = 1.0
        for way in (poses, poses[::-1]):
            differ = (way != still[:, None]).sum((0, 2, 3))
            inked = ((way >= 0) | (still[:, None] >= 0)).sum((0, 2, 3))
            best = min(best, float((differ / np.maximum(inked, 1)).min()))
        return best

    def _poses(self, text: str, count: int) -> np.ndarray:
        """(count, 18, H + 2, W + 2): its frames, held as long as that takes, in every pose; the fifth is as they are."""
        found = self._parsed(text)
        assert not isinstance(found, Problem)
        posed = np.stack([rows.shifted(frame) for frame in found[0]])
        return posed[np.arange(count) * len(posed) // count]

    def shingles(self, text: str) -> set[str]:
        """Patches of 3 x 3 pixels of all frames, each the same for its mirror image."""
        found = self._parsed(text)
        if isinstance(found, Problem):
            return {text}
        return {patch for frame in found[0] for patch in rows.patches(frame, wrap=False)}

    # --- files out

    def _pictures(self, text: str) -> tuple[list[np.ndarray], list[int]]:
        found = self._parsed(text)
        if isinstance(found, Problem):
            raise DataError(f"no clip: {found}", self.name, "check it first")
        return [self.palette.rgba(f) for f in found[0]], [self.times[p] for p in found[1]]

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.gif, .webp and .apng, and its frames on a sheet: -sheet.png with -sheet.json, as Aseprite exports them."""
        pictures, times = self._pictures(text)
        name, label = stem.name, " ".join(text.partition("\n")[0].split(" ")[1:-1])
        image, places = picture.sheet(pictures, len(pictures))
        listed = [dataclasses.replace(c, duration=t, name=f"{name} {i}") for i, (c, t) in enumerate(zip(places, times, strict=True))]
        sheet = stem.with_name(f"{name}-sheet.png")
        json_ = picture.aseprite(sheet.name, (image.shape[1], image.shape[0]), listed, [(label or name, 0, len(pictures) - 1)])
        return [
            picture.save_gif(pictures, times, stem.with_name(f"{name}.gif")),
            picture.save_webp(pictures, times, stem.with_name(f"{name}.webp")),
            picture.save_apng(pictures, times, stem.with_name(f"{name}.apng")),
            picture.save_png(image, sheet),
            write_text(stem.with_name(f"{name}-sheet.json"), json_),
        ]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """`stem`.png, a clip a row, and `stem`.json, a tag a clip."""
        made = [self._pictures(t) for t in texts]
        if not made:
            return []
        columns = max(len(pictures) for pictures, _ in made)
        blank = np.zeros_like(made[0][0][0])
        image, places = picture.sheet([p for ps, _ in made for p in [*ps, *[blank] * (columns - len(ps))]], columns)
        listed, tags = [], []
        for number, (pictures, times) in enumerate(made):
            first = len(listed)
            label = self.title(texts[number]).partition(",")[0]
            for i, ms in enumerate(times):
                listed.append(dataclasses.replace(places[number * columns + i], duration=ms, name=f"{label} {number + 1} {i}"))
            tags.append((f"{label} {number + 1}", first, first + len(pictures) - 1))
        paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".json")]
        picture.save_png(image, paths[0])
        write_text(paths[1], picture.aseprite(paths[0].name, (image.shape[1], image.shape[0]), listed, tags))
        return paths

    def promise(self, path: Path) -> Promise:
        """clips, and frames_kept of them (share: that are in a document); of these: timing (share whose time is kept), identical (share,
        every pixel), psnr and psnr_p5 (dB of the others). Against the clips as they are once they fit `size`."""
        frames_there = sum(len(clip.pictures) for clip in frames.whole(path, self._sheet()))
        timing, same, loss, clips, kept = [], [], [], 0, 0
        for clip in self._clips(path):
            if clip is None or isinstance(self._text(path, clip), Problem):
                continue
            clips, kept = clips + 1, kept + len(clip.pictures)
            timing += [self.times[self._time(ms)] == ms for ms in self._stacked(clip)[1]]
            for rgba in clip.pictures:
                made = self.palette.rgba(self.palette.index(rgba))
                same.append(bool(((made == rgba).all(2) | (made[..., 3] + rgba[..., 3] == 0)).all()))
                loss += [] if same[-1] else [min(99.0, self.palette.psnr(rgba))]  # only a half-transparent rim may differ
        share = kept / frames_there if frames_there else 1.0
        figures = {"clips": float(clips), "frames_kept": share, "timing": float(np.mean(timing or [1]))}
        figures["identical"] = float(np.mean(same or [1]))
        if loss:
            figures |= {"psnr": float(np.median(loss)), "psnr_p5": float(np.percentile(loss, 5))}
        return Promise(path.name, figures)


def _joined(index: Sequence[np.ndarray], times: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """((F, H, W), ms a frame) without frames that repeat the one before, which is shown for as long as both."""
    out, ms = [index[0]], [times[0]]
    for frame, time in zip(index[1:], times[1:], strict=True):
        if (frame == out[-1]).all():
            ms[-1] = min(ms[-1] + time, frames.LONGEST)
        else:
            out.append(frame)
            ms.append(time)
    return np.stack(out), ms
