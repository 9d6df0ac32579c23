"""Small parts of grammars that several media share; GBNF is llama.cpp's own way to write one down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LABEL_RULE = "label"


def quoted(text: str) -> str:
    """A text as a GBNF literal; "" for the empty one, which GBNF takes."""
    out = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{out}"'


def either(texts: Iterable[str]) -> str:
    """One of some literal texts, in brackets."""
    return "(" + " | ".join(map(quoted, texts)) + ")"


def rest(texts: Sequence[str], given: str) -> list[str]:
    """What may follow `given` so that one of `texts` comes of it: rest(["cat", "cow", "dog"], "c") is ["at", "ow"]."""
    return [text[len(given) :] for text in texts if text.startswith(given)]


def letters(alphabet: str) -> str:
    """A character class of these ASCII characters, as ranges where they run on: letters("abcdZ") is "[Za-d]"."""
    runs: list[list[int]] = []
    for code in sorted(map(ord, set(alphabet))):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "[" + "".join(_letter(a) if a == b else f"{_letter(a)}-{_letter(b)}" for a, b in runs) + "]"


def _letter(code: int) -> str:
    return ("\\" if chr(code) in "\\]^-[" else "") + chr(code)
