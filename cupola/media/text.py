"""Plain text: notes, stories, documentation; also how every medium reads a text file without guessing its encoding.

Worked example: a file of 3 MB holds paragraphs parted by blank lines. A piece may be 3 MB / 128 = 24 KiB long, so each document ends at
the last blank line within 24 KiB of its start, and all of them carry the file as their group.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from cupola.errors import DataError, MachineError
from cupola.media.base import Document, Pins, Plain, Problem

LONGEST = 64 * 1024  # bytes of UTF-8 a document may have; far past any context we train
SHORTEST_CUT = 8 * 1024  # a file is never cut into pieces smaller than this
PIECES = 128  # a long file becomes about so many documents, until LONGEST binds: enough for one lone file to be split

_BLOCK = 64 * 1024
_KEPT_CONTROLS = b"\t\n\r\x0c\x1b"  # form feeds and terminal colours are found in honest text
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # Chinese and Japanese: a sign is a word
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_LINE_END = re.compile(r"\n")


class Text(Plain):
    """Prose and notes as they are.

    read then write keeps every character except: newlines become "\\n", spaces and tabs at line ends go, control characters other than
    tab go, and a document ends in one newline. A file of over 8 KiB is cut into several documents (see the module).
    """

    name = "text"
    suffixes = (".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex")
    unit = "line"
    pretokenizer = "qwen2"
    vocab_size = 1024
    scrub = True

    def read(self, path: Path) -> Iterator[Document]:
        """Pieces of the file, in order; its name is their group. Raises DataError as `read_text` does."""
        limit = min(LONGEST, max(SHORTEST_CUT, size_of(path) // PIECES))
        yield from documents(path, cut(read_blocks(path), limit, (_BLANK_LINE, _LINE_END)))

    def check(self, text: str) -> list[Problem]:
        return check_characters(text)

    def syntax(self, text: str) -> list[Problem]:
        return check_characters(text)

    def grammar(self, pins: Pins) -> str | None:
        return None

    def write(self, text: str, stem: Path) -> list[Path]:
        """`stem`.txt. Raises MachineError if it cannot be written."""
        return [write_text(stem.with_name(f"{stem.name}.txt"), text)]

    def variants(self, text: str) -> Iterator[str]:
        return iter(())

    def distance(self, a: str, b: str) -> float:
        """The share of the shorter text's three-word runs that the other does not have; 1 if a run in common is nowhere."""
        return 0.0 if a == b else apart(grams(words(a), 3), grams(words(b), 3))

    def shingles(self, text: str) -> set[str]:
        """Runs of five words, without case and punctuation."""
        return grams(words(text), 5)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Lines without their newlines, empty ones too, so that the count is an editor's."""
        return line_spans(text)

    def title(self, text: str) -> str:
        return shorten(next((line for line in text.split("\n") if line.strip("#=-*~ \t")), "").strip("#=* \t"))


# --- what text and code share ---


def cut(blocks: Iterable[str], limit: int, breaks: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    """A text that comes in blocks, cut into pieces of at most `limit` bytes of UTF-8 and at least a quarter of that (the last may be less).

    Each cut is behind the last place in reach that the first of `breaks` finds, else the second, and so on; else anywhere.
    """
    held = ""
    for block in blocks:
        held += block
        while len(held) > limit:  # in characters: never more than bytes
            at = _cut_at(held, limit, breaks)
            yield held[:at]
            held = held[at:]
    while len(held.encode()) > limit:
        at = _cut_at(held, limit, breaks)
        yield held[:at]
        held = held[at:]
    if held:
        yield held


def _cut_at(held: str, limit: int, breaks: tuple[re.Pattern[str], ...]) -> int:
    window = held[:limit].encode()[:limit].decode(errors="ignore")
    for pattern in breaks:
        ends = [found.end() for found in pattern.finditer(window, len(window) // 4)]
        if ends:
            return ends[-1]
    return len(window)


def documents(path: Path, pieces: Iterable[str]) -> Iterator[Document]:
    """Pieces of one file as canonical documents, empty ones left out; the file is the group of all."""
    number = 0
    for piece in pieces:
        if text := canonical(piece):
            number += 1
            yield Document(text, group=path.name, path=path.name, name=path.stem if number == 1 else f"{path.stem} ({number})")


def canonical(text: str) -> str:
    """No control characters but tab and newline, no spaces at line ends, no blank lines around, one newline at the end; "" stays ""."""
    lines = (line.rstrip(" \t") for line in _CONTROLS.sub("", text).split("\n"))  # not a regex: one for it is quadratic in a run of spaces
    text = "\n".join(lines).strip("\n")
    return text + "\n" if text else ""


def check_characters(text: str) -> list[Problem]:
    """What keeps a text from being a plain UTF-8 text file: nothing in it, control characters, characters that stand for lost bytes."""
    if not text.strip():
        return [Problem(1, 1, "nothing but white space", "write something")]
    problems = []
    for found in re.finditer(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffd-\uffff]", text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        lost = found[0] == "\ufffd"
        what = "bytes that were no character (U+FFFD)" if lost else f"control character U+{ord(found[0]):04X}"
        problems.append(Problem(line, column, what, "leave it out"))
        if len(problems) == 20:  # one is enough to reject it; more than a screenful helps nobody
            break
    return problems


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return _WORD.findall(text.casefold())


def grams(tokens: list[str], n: int) -> set[str]:
    """Runs of `n` tokens as strings; a shorter text is one run, an empty one none."""
    if len(tokens) < n:
        return {" ".join(tokens)} if tokens else set()
    return set(map(" ".join, zip(*(tokens[i:] for i in range(n)), strict=False)))


def apart(a: set[str], b: set[str]) -> float:
    """1 - shared / smaller: 0 when one set lies in the other, so that a page copied out of a long document counts as a copy."""
    if not a or not b:
        return 0.0 if a == b else 1.0
    return 1.0 - len(a & b) / min(len(a), len(b))


def line_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of every line, its newline left out; a newline at the very end opens no further line."""
    spans, start = [], 0
    for line in text.removesuffix("\n").split("\n") if text else []:
        spans.append((start, start + len(line)))
        start += len(line) + 1
    return spans


def row_spans(start: int, body: str) -> list[tuple[int, int]]:
    """(start, end) of each word of a body that begins at `start` of its text; words are parted by single spaces."""
    spans = []
    for word in body.split(" "):
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return spans


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word behind the first line; none where there is nothing."""
    head, newline, body = text.partition("\n")
    return row_spans(len(head) + 1, body.removesuffix("\n")) if newline and body.strip() else []


def shorten(line: str, length: int = 60) -> str:
    """One line of at most `length` characters, cut at a word where one ends in reach."""
    line = " ".join(line.split())
    if len(line) <= length:
        return line
    at = line.rfind(" ", length // 2, length)
    return line[: at if at > 0 else length - 1].rstrip(" ,;:-") + "…"


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 with "\n" newlines on every system. Raises MachineError if it cannot be written."""
    try:
        path.write_text(text, "utf-8", newline="\n")
    except OSError as e:
        raise MachineError(f"cannot be written: {e.strerror or e}", str(path), "free space, or give a folder you may write to") from None
    return path


# --- reading text files: every medium whose files are text comes through here ---


def read_text(path: Path, max_bytes: int | None = None) -> str:
    """A text file whole, newlines as "\\n", without its byte order mark; nothing else is changed.

    Takes UTF-8 with or without a byte order mark and UTF-16 with one. Raises DataError naming file, byte and line for any other
    encoding, for a binary file, for one over `max_bytes` bytes, and for one that cannot be opened.
    """
    if max_bytes is not None and (size := size_of(path)) > max_bytes:
        raise DataError(f"{size:,} bytes, more than the {max_bytes:,} that are read at once", str(path), "cut it into smaller files")
    return "".join(read_blocks(path))


def read_blocks(path: Path) -> Iterator[str]:
    """The text of `read_text` in pieces of at most 64 KiB, cut anywhere, so that a file of any size takes little memory.

    Raises what `read_text` raises, when the piece with the fault is reached.
    """
    try:
        with path.open("rb") as file:
            held = ""  # a "\r" at the end of a piece: its "\n" may open the next
            for text in _decode(file, path):
                text = held + text
                held = "\r" if text.endswith("\r") else ""
                text = text[: len(text) - len(held)]
                if text := text.replace("\r\n", "\n").replace("\r", "\n"):
                    yield text
            if held:
                yield "\n"
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None


def size_of(path: Path) -> int:
    """Bytes in a file. Raises DataError if it is not there."""
    try:
        return path.stat().st_size
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", str(path), "check that it exists and that you may read it") from None


def _decode(file: BinaryIO, path: Path) -> Iterator[str]:
    """Decoded blocks of an open binary file; raises DataError at the first byte that does not fit."""
    block = file.read(_BLOCK)
    name, skip, decode = _encoding(block)
    start, line = skip, 1  # of the first byte in `waiting`
    waiting = block[skip:]
    while True:
        final = not (block := file.read(_BLOCK))
        try:
            text, used = decode(waiting, "strict", final)
        except UnicodeDecodeError as e:
            raise _fault(path, name, waiting, e.start, start, line + waiting[: e.start].decode(name).count("\n")) from None
        if (nul := text.find("\0")) >= 0:
            at = start + len(text[:nul].encode(name))
            raise _binary(path, f"byte {at:,} is 0x00", waiting) from None
        if text:
            yield text
        if final:
            return
        line += text.count("\n")
        start += used
        waiting = waiting[used:] + block


def _encoding(head: bytes) -> tuple[str, int, Callable[[bytes, str, bool], tuple[str, int]]]:
    """(name, bytes of the mark, decoder) by the byte order mark, UTF-8 without one."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8", 3, codecs.utf_8_decode
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", 2, codecs.utf_16_le_decode
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be", 2, codecs.utf_16_be_decode
    return "utf-8", 0, codecs.utf_8_decode


def _fault(path: Path, name: str, block: bytes, at: int, start: int, line: int) -> DataError:
    """What to say about the byte `block[at]`, which is byte `start + at` of the file."""
    byte = block[at]
    if name == "utf-8" and (b"\0" in block or _looks_binary(block)):
        return _binary(path, f"byte {start + at:,} is {byte:#04x}", block)
    what = f"byte {start + at:,} (line {line:,}) is {byte:#04x}, which is not {name.upper().replace('-LE', '').replace('-BE', '')}"
    fix = "save it as UTF-8, or leave it out"
    if name == "utf-8" and (guess := _windows(byte)):
        fix = (
            f"if that byte should read {guess!r}, the file is Windows-1252: "
            "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW mends it; otherwise leave it out"
        )
    return DataError(what, str(path), fix)


def _windows(byte: int) -> str:
    """What the byte would be in Windows-1252: said to the person as a hint, never acted on."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return ""


def _looks_binary(block: bytes) -> bool:
    controls = sum(block.count(bytes([c])) for c in range(32) if c not in _KEPT_CONTROLS)
    return controls > len(block) / 20  # random bytes: 11%; text in any 8-bit encoding: none


def _binary(path: Path, why: str, block: bytes) -> DataError:
    wide = max(block[0:4096:2].count(0), block[1:4096:2].count(0)) > len(block[:4096]) / 4
    fix = "save it as UTF-8: it may be UTF-16 or UTF-32 without a byte order mark" if wide else "leave it out, or give it its right suffix"
    return DataError(f"looks binary: {why}", str(path), fix)
