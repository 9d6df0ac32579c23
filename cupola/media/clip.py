"""Animations as frames of letters, a letter a pixel; `Z` is the pixel as it was in the frame before.

The first line says what it is and how long its frames are shown: one letter for all, or one for each. Then a line a frame, every row of it
with all its letters, as in sprite.py. A worked example, two frames of 4 x 2:

    clip monster b
    abba baab
    ZZZZ ZbbZ
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from cupola.errors import ConfigError, DataError
from cupola.media import frames, picture, rows
from cupola.media.base import Apart, Document, Options, Pins, Plain, Problem, Promise
from cupola.media.frames import Clip as Found
from cupola.media.gbnf import either, quoted, rest
from cupola.media.labels import Labels
from cupola.media.picture import Palette

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


class Clip(Plain):
    """Animated pixel art. read then write keeps frames and timing, and every pixel where size and colours fit.

    Timing is kept where a corpus has at most 25 different frame times (else the nearest), in steps of 10 ms, which is what GIF has.
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
        times = collections.Counter(_tens(d) for c in found for d in c.durations)
        new.times = tuple(sorted(t for t, _ in times.most_common(len(PACES))))
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
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"no settings of clips: {e}", "settings", "they are damaged; make the corpus again") from None
        return new

    # --- files in

    def _clips(self, path: Path) -> Iterator[Found | None]:
        o = self.grid
        for clip in frames.clips(path, o.tile, o.margin, o.spacing, o.most):
            yield frames.fitted(clip, o.size)

    def read(self, path: Path) -> Iterator[Document]:
        """The clips of a file; blank ones, still ones and those larger than the corpus's frame are left out.

        Raises DataError for what cannot be read, and where no clip is left of some.
        """
        seen = kept = 0
        for clip in self._clips(path):
            seen += 1
            if clip is None or clip.pictures[0].shape[0] > self.size[1] or clip.pictures[0].shape[1] > self.size[0]:
                continue
            label = self.labels.of(path, clip.label)
            text = self._print(np.stack([self._placed(p) for p in clip.pictures]), [self._time(d) for d in clip.durations], label)
            if self.check(text):
                continue
            kept += 1
            yield Document(text, clip.group, path.name, label=label or None, name=clip.name)
        if seen and not kept:
            what = "no clip in it that moves and hangs together"
            raise DataError(what, str(path), "leave it out; a clip's frames share most of their pixels, and none is blank")

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
        words = lines[0].split(" ")
        if words[0] != self.name or len(words) < 2 or not words[-1] or set(words[-1]) - set(PACES[: len(self.times)]):
            what = f"begin with {self.name!r}, a label and a letter from a to {PACES[len(self.times) - 1]}"
            return Problem(1, 1, f"not a first line: {lines[0]!r:.40}", what)
        label = " ".join(words[1:-1])
        if label and label not in self.labels.known:
            return Problem(1, len(self.name) + 2, f"no label {label!r:.40}", f"use one of: {', '.join(self.labels.known[:8]) or 'none'}")
        if lines[-1] or len(lines) < 2 + frames.LEAST:
            return Problem(len(lines), 1, "no new line at the end, or too few frames", f"a line for each of {frames.LEAST} frames or more")
        if len(lines) - 2 > picture.MOST_FRAMES:
            return Problem(len(lines), 1, f"{len(lines) - 2} frames", f"at most {picture.MOST_FRAMES}")
        out = []
        for number, line in enumerate(lines[1:-1]):
            if problem := self._line_problem(line, number):
                return problem
            frame = rows.index_of(line, *self.size)
            if number:
                same = np.array([c == rows.SAME for c in line if c != " "]).reshape(self.size[1], self.size[0])
                frame = np.where(same, out[-1], frame).astype(np.int8)
            out.append(frame)
        paces = [PACES.index(c) for c in words[-1]]
        return np.stack(out), (paces + paces[-1:] * len(out))[: len(out)], label

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
                return Problem(number + 2, y * (w + 1) + bad, f"no colour {row[bad - 1]!r}", "Z only from the second frame on")
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
        if empty := next((i for i, share in enumerate(inked.mean((1, 2))) if share < LEAST_INK), None):
            return [Problem(empty + 2, 1, "nearly nothing in this frame", "draw more")]
        if inked[0].mean() < LEAST_INK:
            return [Problem(2, 1, "nearly nothing in the first frame", "draw more")]
        if not (found[0][1:] != found[0][:-1]).any():
            return [Problem(3, 1, "nothing moves", "change some pixels from frame to frame")]
        for i, (a, b) in enumerate(itertools.pairwise(found[0])):
            either_ = (a >= 0) | (b >= 0)
            if ((a >= 0) & (b >= 0)).sum() < LEAST_KEPT * either_.sum():
                return [Problem(i + 3, 1, "it has hardly a pixel in common with the frame before", "move less from frame to frame")]
        return []

    def canonical(self, text: str) -> str:
        found = self._parsed(text)
        return text if isinstance(found, Problem) else self._print(*found)

    def head(self, label: str) -> str:
        return f"{self.name} {self.labels.check(label, self.name)} "

    def grammar(self, pins: Pins) -> str:
        w, h = self.size
        most = pins.most or self.grid.most
        least = max(frames.LEAST, pins.least or 0)
        if least > most:
            raise ConfigError(f"{least} to {most} frames", "least, most", "least is at most most")
        pace = f"[a-{PACES[len(self.times) - 1]}]" if len(self.times) > 1 else "[a]"
        rules = f"c ::= {rows.class_of(len(self.palette))}\nz ::= {rows.class_of(len(self.palette), rows.SAME)}\n"
        rules += f'first ::= c{{{w}}} (" " c{{{w}}}){{{h - 1}}} "\\n"\nnext ::= z{{{w}}} (" " z{{{w}}}){{{h - 1}}} "\\n"\np ::= {pace}'
        lines = pins.prompt.split("\n")
        heads = [f"{self.name} ", *(f"{self.name} {label} " for label in self.labels.known)]
        if len(lines) == 1:
            ways = rest(heads, lines[0])
            given = next((head for head in sorted(heads, key=len, reverse=True) if lines[0].startswith(head)), "")
            tail = lines[0][len(given) :] if given else ""
            parts = []
            if given and not set(tail) - set(PACES[: len(self.times)]):
                parts.append(f"{'p' if not tail else ''} ".lstrip() + '"\\n" body')
            if lines[0] not in heads and (ways := [way for way in ways if way]):
                parts.append(f'{either(ways)} p "\\n" body')
            elif not lines[0]:
                parts = [f'{either(heads)} p "\\n" body']
            if not parts:
                raise ConfigError(f"no clip begins with {pins.prompt!r:.60}", "prompt", f"such as {heads[-1]!r}")
            return f"root ::= {' | '.join(parts)}\nbody ::= first next{{{least - 1},{most - 1}}}\n{rules}"
        if not any(lines[0].startswith(head) for head in heads):
            raise ConfigError(f"no clip begins with {pins.prompt!r:.60}", "prompt", f"such as {heads[-1]!r}")
        done, begun = len(lines) - 2, lines[-1]
        if done >= most or (begun and len(begun.split(" ")) > h) or any(len(r) > w for r in begun.split(" ")):
            raise ConfigError("the prompt is longer than a clip", "prompt", f"a clip has {most} frames of {w} x {h}")
        one = rows.rest_of_rows(begun, w, h).replace("c{", "z{" if done else "c{")
        more = f" next{{{max(0, least - done - 1)},{most - done - 1}}}" if done + 1 < most else ""
        return f"root ::= {one} {quoted(chr(10))}{more}\n{rules}"

    def filling(self, text: str, start: int, end: int) -> str:
        spans = self.spans(text)
        first = bool(spans) and start == spans[0][0]
        count = max(1, sum(start <= a and b <= end for a, b in spans))
        w, h = self.size
        if not any((start, end) == (a, end) for a, _ in spans):  # cells within a row
            return rows.same_shape(text[start:end], rows.class_of(len(self.palette), rows.SAME if not first else ""))
        line = f'%s{{{w}}} (" " %s{{{w}}}){{{h - 1}}}'
        lines = [line % (("c", "c") if first and i == 0 else ("z", "z")) for i in range(count)]
        rules = f"c ::= {rows.class_of(len(self.palette))}\nz ::= {rows.class_of(len(self.palette), rows.SAME)}"
        return "root ::= " + ' "\\n" '.join(lines) + "\n" + rules

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
        one, other = (f[0][np.arange(count) * len(f[0]) // count] for f in (x, y))
        still = np.stack([rows.shifted(f)[4] for f in one])  # (F, H + 2, W + 2)
        poses = np.stack([rows.shifted(f) for f in other])  # (F, 18, H + 2, W + 2)
        best = 1.0
        for way in (poses, poses[::-1]):
            differ = (way != still[:, None]).sum((0, 2, 3))
            inked = ((way >= 0) | (still[:, None] >= 0)).sum((0, 2, 3))
            best = min(best, float((differ / np.maximum(inked, 1)).min()))
        return best

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
        name = stem.name
        image, places = picture.sheet(pictures, len(pictures))
        listed = [dataclasses.replace(c, duration=t, name=f"{name} {i}") for i, (c, t) in enumerate(zip(places, times, strict=True))]
        sheet = stem.with_name(f"{name}-sheet.png")
        json_ = picture.aseprite(sheet.name, (image.shape[1], image.shape[0]), listed, [(name, 0, len(pictures) - 1)])
        return [
            picture.save_gif(pictures, times, stem.with_name(f"{name}.gif")),
            picture.save_webp(pictures, times, stem.with_name(f"{name}.webp")),
            picture.save_apng(pictures, times, stem.with_name(f"{name}.apng")),
            picture.save_png(image, sheet),
            picture.save_text(json_, stem.with_name(f"{name}-sheet.json")),
        ]

    def collect(self, texts: Sequence[str], stem: Path) -> list[Path]:
        """`stem`.png, a clip a row, and `stem`.json, a tag a clip."""
        made = [self._pictures(t) for t in texts]
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
        picture.save_text(picture.aseprite(paths[0].name, (image.shape[1], image.shape[0]), listed, tags), paths[1])
        return paths

    def promise(self, path: Path) -> Promise:
        """clips; timing (share of frames whose time is kept); identical (share of frames), psnr and psnr_p5 (dB of the others), both
        against the clip as it is once it fits `size`."""
        timing, same, loss, count = [], [], [], 0
        for clip in self._clips(path):
            if clip is None:
                continue
            count += 1
            timing += [self.times[self._time(d)] == d for d in clip.durations]
            for p in clip.pictures:
                value = self.palette.psnr(p)
                same.append(math.isinf(value))
                loss += [] if math.isinf(value) else [value]
        figures = {"clips": float(count), "timing": float(np.mean(timing or [1])), "identical": float(np.mean(same or [1]))}
        if loss:
            figures |= {"psnr": float(np.median(loss)), "psnr_p5": float(np.percentile(loss, 5))}
        return Promise(path.name, figures)


def _tens(ms: int) -> int:
    """In steps of 10 ms, which is what GIF keeps."""
    return max(10, round(ms / 10) * 10)
