"""Text -> ids -> rows on disk, and a batch that is a pure function of (seed, step).

The tokenizer is byte-pair merging on one of a few ways to split text, those that llama.cpp reproduces exactly. A Stream goes over the
training documents again and again, each pass in a new order, half the documents turned so that the model also learns to fill a gap:

    ordinary  [BOS] text [EOS]
    PSM       [BOS] [FIM_PREFIX] prefix [FIM_SUFFIX] suffix [FIM_MIDDLE] middle [EOS]
    SPM       [BOS] [FIM_PREFIX] [FIM_SUFFIX] suffix [FIM_MIDDLE] prefix middle [EOS]

Cuts are at character level and each part is tokenised alone, as it is when it comes in a prompt.
Source: Bavarian et al. 2022 (arXiv:2207.14255).
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil

# Said outright, so that a fork brings no warning; and a forked child has none of the Rust threads, so there it is "false".
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: os.environ.__setitem__("TOKENIZERS_PARALLELISM", "false"))

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from cupola.errors import ConfigError, DataError, MachineError

CONTROL = (
    "<|cupola:pad|>",
    "<|cupola:bos|>",
    "<|cupola:eos|>",
    "<|cupola:fim_prefix|>",
    "<|cupola:fim_suffix|>",
    "<|cupola:fim_middle|>",
)  # names of our own: llama.cpp ends generation by itself at <|endoftext|>, </s>, [EOS], <|fim_pad|> and more, declared or not
# A learnt token with one of these for its whole text would end generation or turn invisible: llama.cpp goes by the text alone.
MAGIC = re.compile(
    r"[_▁]?(<[|｜].*>|<turn\|>|<(/s|eos|EOT|PAD|PRE|SUF|MID|REPO|reponame|end_of_turn|end_of_utterance|fim[-_]\w+)>|\[(EOS|EOT|PAD|MASK)\]|\[e~\[)"
)
PAD, BOS, EOS, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE = range(6)

Progress = Callable[[str, float | None], None]


# --- how text is split --------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pretokenizer:
    """Where merges may not reach across: each pattern in turn isolates what it matches (Oniguruma syntax)."""

    splits: tuple[str, ...]
    byte_level: bool  # True: the 256 bytes are the alphabet, every text round-trips; False: characters, spaces as ▁, rare ones as bytes
    good_for: str


_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Keys are values of llama.cpp's `tokenizer.ggml.pre`; tests/test_engine.py holds every row to identical ids there.
# Append, never change: models carry them.
PRETOKENIZERS: dict[str, Pretokenizer] = {
    "gpt-2": Pretokenizer((_GPT2,), True, "prose"),
    "smollm": Pretokenizer((r"\p{N}", _GPT2), True, "prose with numbers, a digit at a time"),
    "llama-bpe": Pretokenizer((_LLAMA3,), True, "prose and code"),
    "qwen2": Pretokenizer(
        (_LLAMA3.replace("{1,3}", ""),), True, "prose and code, a digit at a time; rows of punctuation with their newline"
    ),
    "bloom": Pretokenizer((r" ?[^(\s|.,!?…。，、।۔،)]+",), True, "codes where letters, digits and # belong together"),
    "superbpe": Pretokenizer(
        (r"\p{N}+", r"(?=(\d{3})+(?!\d))"), True, "grids and rows: nothing splits but runs of digits, merges cross lines"
    ),
    "sarvam-moe": Pretokenizer((r"[^\n]+|[\n]+",), False, "notations whose whole lines should merge; a literal ▁ reads back as a space"),
}


def _parts(kind: Pretokenizer) -> dict[str, Any]:
    """normalizer, pre_tokenizer and decoder of a kind, as the tokenizers library has them."""
    splits: list[Any] = [pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in kind.splits]
    if kind.byte_level:
        return {
            "normalizer": None,
            "pre_tokenizer": pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
            "decoder": decoders.ByteLevel(),
        }
    return {
        "normalizer": normalizers.Replace(" ", "▁"),
        "pre_tokenizer": pre_tokenizers.Sequence(splits),
        "decoder": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
    }


def _assemble(model: models.BPE, name: str) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(model)
    for part, value in _parts(PRETOKENIZERS[name]).items():
        if value is not None:
            setattr(inner, part, value)
    inner.add_special_tokens([tokenizers.AddedToken(c, special=True, normalized=False) for c in CONTROL])
    return inner


# --- the tokenizer ------------------------------------------------------------------------------------------------------------------

# A vocabulary is learnt from so much at most: 1,024 merges are settled long before, and unsplit kinds hold it all in memory.
SAMPLE_CHARACTERS = 4_000_000
SMALLEST_VOCABULARY = 6 + 256  # control tokens and bytes: a token a letter


def train_tokenizer(texts: Iterable[str], pretokenizer: str, vocab_size: int) -> Tokenizer:
    """A tokenizer of at most `vocab_size` ids (fewer when the texts have no more to merge), from the first 4 million characters of `texts`.

    The same texts in the same order give the same tokenizer. Pass documents in an order that is fair to all of them.
    Raises ConfigError for an unknown pre-tokenizer or a size under 262, DataError when there is no text.
    """
    if pretokenizer not in PRETOKENIZERS:
        raise ConfigError(f"no pre-tokenizer {pretokenizer!r}", "tokens", f"use one of {', '.join(PRETOKENIZERS)}")
    if not SMALLEST_VOCABULARY <= vocab_size <= 1 << 20:
        raise ConfigError(
            f"vocabulary of {vocab_size}",
            "tokens",
            f"use {SMALLEST_VOCABULARY} (control tokens and the 256 bytes) or more; 512 to 4,096 suit small models",
        )
    sample = list(_first(texts, SAMPLE_CHARACTERS))
    if not any(sample):
        raise DataError("no text to learn a vocabulary from", "tokens", "the corpus is empty, or every document in it is")
    byte_level = PRETOKENIZERS[pretokenizer].byte_level
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else _characters(sample, vocab_size)
    reserved = list(CONTROL) if byte_level else [*CONTROL, *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[tokenizers.AddedToken(t, special=True, normalized=False) for t in reserved],
        initial_alphabet=sorted(alphabet),
        limit_alphabet=len(alphabet),  # the library breaks ties between rare characters by chance: choose them ourselves
        show_progress=False,
    )
    rough = _assemble(models.BPE(), pretokenizer)
    rough.train_from_iterator(sample, trainer)
    model = json.loads(rough.to_str())["model"]
    vocab, merges = _without_magic(model["vocab"], [(a, b) for a, b in model["merges"]], reserved)
    # Made anew, so that the byte tokens are plain ones: as added tokens a literal <0x41> in a text would be taken for one.
    return Tokenizer(_assemble(models.BPE(vocab=vocab, merges=merges, byte_fallback=not byte_level), pretokenizer))


def _without_magic(
    vocab: dict[str, int], merges: list[tuple[str, str]], reserved: list[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges without learnt tokens that llama.cpp would act on or that spell a reserved one, nor what is made from them."""
    made = {a + b for a, b in merges}
    bad = {t for t in made if MAGIC.fullmatch(t)} | made.intersection(reserved)
    while bad:
        merges = [(a, b) for a, b in merges if not {a, b, a + b} & bad]
        made -= bad
        vocab = {t: i for t, i in vocab.items() if t not in bad or t in reserved}
        bad = made - {a + b for a, b in merges}  # what can no longer come about
    return {t: i for i, t in enumerate(sorted(vocab, key=vocab.__getitem__))}, merges


def _first(texts: Iterable[str], characters: int) -> Iterator[str]:
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def _characters(sample: list[str], vocab_size: int) -> list[str]:
    """The characters that get an id of their own: the commonest, at most half of what the vocabulary has left over the bytes."""
    counts: collections.Counter[str] = collections.Counter()
    for text in sample:
        counts.update(text)
    counts["▁"] += counts.pop(" ", 0)
    room = max(1, (vocab_size - 6 - 256) // 2)
    return sorted(counts, key=lambda c: (-counts[c], c))[:room]


class Tokenizer:
    """Text <-> ids. Control tokens are never read out of text and never appear in it."""

    def __init__(self, inner: tokenizers.Tokenizer):
        """Raises DataError when `inner` is not of a kind that llama.cpp reproduces, or lacks our control tokens."""
        layout = json.loads(inner.to_str())
        self.pretokenizer = _kind_of(layout)
        if [inner.id_to_token(i) for i in range(len(CONTROL))] != list(CONTROL):
            raise DataError(
                f"ids 0 to {len(CONTROL) - 1} are not cupola's control tokens", "tokenizer.json", "use a tokenizer that cupola made"
            )
        inner.encode_special_tokens = True  # text that spells a control token is text; not kept in tokenizer.json, so set here
        self.inner = inner
        self.vocab_size: int = inner.get_vocab_size(with_added_tokens=True)
        self.byte_level = PRETOKENIZERS[self.pretokenizer].byte_level
        self.json: str = json.dumps(layout, ensure_ascii=False, indent=1)
        self.fingerprint: str = hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without any control token."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, on all cores; the same as `encode` of each."""
        return [e.ids for e in self.inner.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; control tokens are dropped, a character cut in half reads as U+FFFD."""
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=True)

    def exact(self, text: str) -> bool:
        """Does this text come back unchanged? Always with byte-level kinds; `sarvam-moe` turns a literal ▁ into a space."""
        return self.byte_level or self.decode(self.encode(text)) == text

    def prompt(self, text: str) -> list[int]:
        """What the model is given to go on from `text`; with "" it begins a document."""
        return [BOS, *self.encode(text)]

    def gap(self, prefix: str, suffix: str) -> list[int]:
        """What the model is given to fill the gap between two texts (PSM); it ends the filling with EOS."""
        return [BOS, FIM_PREFIX, *self.encode(prefix), FIM_SUFFIX, *self.encode(suffix), FIM_MIDDLE]

    def document(self, text: str) -> list[int]:
        """The ids of a whole document as it is trained on and scored: BOS, text, EOS."""
        return [BOS, *self.encode(text), EOS]

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and the two small files by which Transformers opens it with the same ids."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.json, "utf-8")
        named = {"bos_token": CONTROL[BOS], "eos_token": CONTROL[EOS], "pad_token": CONTROL[PAD]}
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **named,
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,  # text that spells a control token stays text in Transformers too
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
        (folder / "special_tokens_map.json").write_text(json.dumps(named, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer of a model folder. Raises DataError when there is none or it is not one of ours."""
        path = folder / "tokenizer.json"
        try:
            return cls(tokenizers.Tokenizer.from_str(path.read_text("utf-8")))
        except FileNotFoundError:
            raise DataError("no tokenizer.json", str(folder), "give a model folder that cupola wrote") from None
        except DataError as e:
            raise DataError(e.what, str(path), e.fix) from None
        except Exception as e:  # the library raises bare Exception
            raise DataError(f"not a tokenizer: {e}", str(path), "the file is damaged; make the model again or copy it anew") from None


@functools.cache
def _layout(name: str) -> dict[str, Any]:
    return json.loads(_assemble(models.BPE(byte_fallback=not PRETOKENIZERS[name].byte_level), name).to_str())


def _kind_of(layout: dict[str, Any]) -> str:
    """Which of PRETOKENIZERS a tokenizer.json is, by what it does rather than by what it says."""
    for name in PRETOKENIZERS:
        ours = _layout(name)
        same = all(ours[part] == layout.get(part) for part in ("normalizer", "pre_tokenizer", "decoder"))
        if same and all(layout["model"].get(key) == value for key, value in ours["model"].items() if key not in ("vocab", "merges")):
            return name
    raise DataError(
        "it splits text in a way that llama.cpp does not reproduce", "tokenizer.json", f"kinds that work: {', '.join(PRETOKENIZERS)}"
    )


# --- fill in the middle -------------------------------------------------------------------------------------------------------------


def cuts(length: int, a: float, b: float) -> tuple[int, int]:
    """Two cut points in a text of `length` characters from two draws in [0, 1), in order; either may be an end of the text."""
    first, second = int(a * (length + 1)), int(b * (length + 1))
    return (first, second) if first <= second else (second, first)


def fim_pieces(text: str, rng: np.random.Generator) -> tuple[str, str, str, bool]:
    """A text cut for filling in: prefix, middle, suffix, and whether the order is PSM (else SPM)."""
    a, b, order = rng.random(3)
    first, second = cuts(len(text), a, b)
    return text[:first], text[first:second], text[second:], bool(order < 0.5)


def arrange(prefix: list[int], middle: list[int], suffix: list[int], psm: bool) -> list[int]:
    """The ids of a document in fill-in-the-middle order, as the head of this file draws them."""
    if psm:
        return [BOS, FIM_PREFIX, *prefix, FIM_SUFFIX, *suffix, FIM_MIDDLE, *middle, EOS]
    return [BOS, FIM_PREFIX, FIM_SUFFIX, *suffix, FIM_MIDDLE, *prefix, *middle, EOS]


def fim(tokenizer: Tokenizer, text: str, rng: np.random.Generator) -> list[int]:
    """The ids of one document in PSM or SPM order, cut at character level by draws of `rng`."""
    prefix, middle, suffix, psm = fim_pieces(text, rng)
    return arrange(*tokenizer.encode_many([prefix, middle, suffix]), psm)


# --- rows on disk -------------------------------------------------------------------------------------------------------------------

LAYOUT = 1  # of the shards; a change makes new folders
SHARD_TOKENS = 1 << 20  # about this many to a file
LEAST_TOKENS = 1 << 16  # a corpus smaller than this has several passes to a file
CHUNK_CHARACTERS = 1 << 20  # tokenised at a time: bounds memory (the library needs about 100 bytes a character)
LONGEST_CHARACTERS = 1 << 17  # a longer document is trained on as several


class Texts(Protocol):
    """What a Stream asks of a split."""

    bytes: int

    def __len__(self) -> int: ...
    def document(self, index: int, /) -> Any: ...


class _Part:
    """A share of the documents, at least one, drawn from the seed; read like the whole."""

    def __init__(self, whole: Texts, share: float, seed: int):
        self.whole = whole
        self.chosen = np.sort(np.random.default_rng([seed, 3]).permutation(len(whole))[: max(1, round(share * len(whole)))])
        self.bytes = round(whole.bytes * len(self.chosen) / len(whole))

    def __len__(self) -> int:
        return len(self.chosen)

    def document(self, index: int, /) -> Any:
        return self.whole.document(int(self.chosen[index]))


class Stream:
    """The training documents as an endless sequence of rows, the same for the same (seed, corpus, tokenizer, settings).

    A shard is a file of ids: some documents of a pass, in that pass's order, about a million tokens. Within a shard rows are taken in a
    shuffled order, so that a batch is not one stretch of one long document; under one row of tokens a shard is left over.
    Passes draw their order, cuts and variants from (seed, pass) alone, so any shard can be made at any time, by any process.
    """

    def __init__(
        self,
        corpus: Any,
        tokenizer: Tokenizer,
        folder: Path,
        *,
        seed: int,
        fim: float = 0.5,
        variants: float = 0.0,
        medium: Any = None,
        share: float = 1.0,
        shard_tokens: int = SHARD_TOKENS,
    ):
        """corpus: has .fingerprint and .train (len, .bytes, .document(i).text). folder: holds the shards, in a subfolder of these settings.

        fim: share of documents in fill-in-the-middle order. variants: share replaced by one of `medium.variants(text)` drawn at random.
        share: of the documents that are read at all, drawn from `seed`: what a smaller corpus would have been.
        Raises ConfigError for a share outside 0 to 1, DataError for an empty corpus, MachineError when the folder cannot be written.
        """
        for name, given in (("fim", fim), ("variants", variants), ("share", share)):
            if not 0 <= given <= 1:
                raise ConfigError(f"{name} is {given}", "tokens", "it is a share of the documents, from 0 to 1")
        if variants and medium is None:
            raise ConfigError("variants need a medium", "tokens", "pass the corpus's medium, or variants=0")
        if not len(corpus.train):
            raise DataError("no documents to train on", "tokens", "the corpus is empty")
        self.train: Texts = corpus.train if share == 1 else _Part(corpus.train, share, seed)
        self.tokenizer, self.medium = tokenizer, medium
        self.seed, self.fim, self.variants = seed, fim, variants
        self.dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
        self.pass_tokens = self._remembered(folder, [corpus.fingerprint, tokenizer.fingerprint, fim, share, seed if share < 1 else None])
        self.shards_per_pass = min(len(self.train), max(1, round(self.pass_tokens / shard_tokens)))
        self.passes_per_shard = max(1, round(min(LEAST_TOKENS, shard_tokens) / self.pass_tokens)) if self.shards_per_pass == 1 else 1
        settings = {
            "layout": LAYOUT,
            "seed": seed,
            "corpus": corpus.fingerprint,
            "tokenizer": tokenizer.fingerprint,
            "fim": fim,
            "variants": variants,
            "medium": getattr(medium, "name", None) if variants else None,
            "shards_per_pass": self.shards_per_pass,
            "passes_per_shard": self.passes_per_shard,
            **({"share": share} if share < 1 else {}),
        }
        self.fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self.folder = folder / self.fingerprint[:16]
        self._shards: list[np.memmap] = []
        self._starts: dict[int, list[int]] = {}  # by length: the first row of each shard, and one past the last
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self._draws: tuple[int, np.ndarray, np.ndarray] | None = None
        self._lock = threading.RLock()
        self._begin(settings)

    # What a run asks for

    def batch(self, step: int, rows: int, length: int) -> np.ndarray:
        """(rows, length + 1) int64, a pure function of (seed, step): inputs are [:, :-1], labels [:, 1:].

        Each token of a row but the first is a label once a pass. Writes the shard first if it is not there (prepare() does so beforehand).
        """
        out = np.empty((rows, length + 1), np.int64)
        first, filled = step * rows, 0
        span = np.arange(length + 1)
        while filled < rows:
            shard, row = self._locate(first + filled, length)
            order = self._order(shard, length)
            take = order[row : row + rows - filled]
            out[filled : filled + len(take)] = self._shards[shard][take[:, None] + span]
            filled += len(take)
        return out

    def passes(self, tokens: int) -> float:
        """How often `tokens` tokens go over the corpus; from a pass's measured size, or an estimate (2%) before one is on disk."""
        return tokens / self._measured_pass()

    def prepare(self, tokens: int, length: int = 256, progress: Progress | None = None) -> None:
        """Write every shard that a run of so many tokens in rows of `length` will read."""
        rows = -(-tokens // length)
        while (have := self._rows(length)[-1]) < rows:
            if progress:
                progress("tokenise", have / rows)
            self._extend(length)
        if progress:
            progress("tokenise", 1.0)

    # Rows within shards

    def _rows(self, length: int) -> list[int]:
        """First row number of each open shard, then the number of rows in all."""
        with self._lock:
            starts = self._starts.setdefault(length, [0])
            for shard in self._shards[len(starts) - 1 :]:
                starts.append(starts[-1] + (len(shard) - 1) // length)
        return starts

    def _locate(self, row: int, length: int) -> tuple[int, int]:
        """The shard that has this row, opened, and the row's place in it."""
        starts = self._rows(length)
        while row >= starts[-1]:
            self._extend(length)
            starts = self._rows(length)
        shard = int(np.searchsorted(starts, row, side="right")) - 1
        return shard, row - starts[shard]

    def _order(self, shard: int, length: int) -> np.ndarray:
        """Where each row of a shard begins, shuffled."""
        order = self._orders.get((shard, length))
        if order is None:
            starts = self._rows(length)
            order = np.random.default_rng([self.seed, 1, shard]).permutation(starts[shard + 1] - starts[shard]) * length
            if len(self._orders) > 16:
                self._orders.clear()
            self._orders[shard, length] = order
        return order

    # Shards on disk

    def _begin(self, settings: dict[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._put(self.folder / "stream.json", [json.dumps(settings, indent=2).encode()])
        except OSError as e:
            raise MachineError(f"cannot write: {e.strerror}", str(self.folder), "choose a folder you may write to") from None

    def _sweep(self) -> None:
        """Remove what killed writers left behind; another live process's files stay."""
        for path in self.folder.glob("*.tmp"):
            pid = path.name.split(".")[-3]
            if not (pid.isdigit() and psutil.pid_exists(int(pid))):
                path.unlink(missing_ok=True)

    def _put(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write a file whole or not at all: a temporary sibling, synced, renamed, its folder synced."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            with temporary.open("wb") as f:
                for chunk in chunks:
                    f.write(chunk)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
        except OSError as e:
            raise MachineError(
                f"cannot write: {e.strerror}", str(path), "free some disk space, or move the project to a larger disk"
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
        if os.name == "posix":
            fd = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _extend(self, length: int) -> None:
        """Open one more shard, written first if it is not there. Raises DataError if a whole pass gave no row of `length`."""
        with self._lock:
            shard = len(self._shards)
            if shard > self.shards_per_pass and not self._rows(length)[-1]:
                raise DataError(
                    f"the corpus is shorter than one row of {length}", str(self.folder), "use a shorter context, or more documents"
                )
            path = self.folder / f"shard-{shard:05d}.bin"
            if not path.exists():
                self._put(path, (np.asarray(ids, self.dtype).tobytes() for ids in self._documents(shard)))
            self._shards.append(np.memmap(path, self.dtype, mode="r"))

    def _measured_pass(self) -> float:
        """Tokens of a pass: of the first one if it is on disk, else estimated."""
        if len(self._shards) < self.shards_per_pass:
            return self.pass_tokens
        return sum(len(s) for s in self._shards[: self.shards_per_pass]) / self.passes_per_shard

    # Documents of a shard

    def _documents(self, shard: int) -> Iterator[list[int]]:
        """The ids of a shard, a chunk of documents at a time."""
        chunk: list[tuple[list[str], bool | None]] = []
        characters = 0
        for text, draws in self._texts(shard):
            cut, psm = self._cut(text, draws)
            chunk.append((cut, psm))
            characters += len(text)
            if characters >= CHUNK_CHARACTERS:
                yield self._encode(chunk)
                chunk, characters = [], 0
        yield self._encode(chunk)

    def _texts(self, shard: int) -> Iterator[tuple[str, np.ndarray]]:
        """Texts of a shard in order, each with five draws of its own: fim, order, cut, cut, (variant) already used."""
        n = len(self.train)
        part, of = shard % self.shards_per_pass, self.shards_per_pass
        first = shard // of * self.passes_per_shard
        for number in range(first, first + self.passes_per_shard):
            order, draws = self._pass(number)
            for i in order[part * n // of : (part + 1) * n // of]:
                text = self._variant(self.train.document(int(i)).text, draws[i])
                yield text[:LONGEST_CHARACTERS], draws[i]
                for at in range(LONGEST_CHARACTERS, len(text), LONGEST_CHARACTERS):
                    own = np.random.default_rng([self.seed, 2, number, int(i), at]).random(6, np.float32)
                    yield text[at : at + LONGEST_CHARACTERS], own

    def _pass(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(N,) order of the documents and (N, 6) uniform draws, by document, from (seed, pass)."""
        if self._draws is None or self._draws[0] != number:
            rng = np.random.default_rng([self.seed, 0, number])
            n = len(self.train)
            self._draws = number, rng.permutation(n), rng.random((n, 6), np.float32)
        return self._draws[1:]

    def _variant(self, text: str, draws: np.ndarray) -> str:
        if draws[4] >= self.variants:
            return text
        others = list(self.medium.variants(text))
        return others[int(draws[5] * len(others))] if others else text

    def _cut(self, text: str, draws: np.ndarray) -> tuple[list[str], bool | None]:
        """The parts to tokenise and whether they are PSM; None for a document in ordinary order."""
        if draws[0] >= self.fim:
            return [text], None
        first, second = cuts(len(text), float(draws[2]), float(draws[3]))
        return [text[:first], text[first:second], text[second:]], bool(draws[1] < 0.5)

    def _encode(self, chunk: list[tuple[list[str], bool | None]]) -> list[int]:
        encoded = iter(self.tokenizer.encode_many([part for parts, _ in chunk for part in parts]))
        out: list[int] = []
        for _, psm in chunk:
            if psm is None:
                out += [BOS, *next(encoded), EOS]
            else:
                out += arrange(next(encoded), next(encoded), next(encoded), psm)
        return out

    def _remembered(self, folder: Path, key: list[Any]) -> float:
        """The estimate, from where an earlier stream left it: it takes a third of a second, and a ladder opens twenty streams."""
        path = folder / f"pass-{hashlib.sha256(json.dumps([LAYOUT, *key]).encode()).hexdigest()[:16]}.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            return float(json.loads(path.read_text("utf-8"))["tokens"])
        tokens = self._estimate()
        with contextlib.suppress(OSError):  # where nothing can be written the shards will say so
            folder.mkdir(parents=True, exist_ok=True)
            self._put(path, [json.dumps({"tokens": tokens}).encode()])
        return tokens

    def _estimate(self) -> float:
        """Tokens in a pass, from up to 256 documents spread over the corpus; the same on every machine."""
        n = len(self.train)
        texts = [self.train.document(int(i)).text[:4096] for i in np.unique(np.linspace(0, n - 1, min(n, 256)).astype(int))]
        ids = sum(len(e) for e in self.tokenizer.encode_many(texts))
        return max(1.0, self.train.bytes * ids / max(1, sum(len(t.encode()) for t in texts)) + n * (2 + 3 * self.fim))
