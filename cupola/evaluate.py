"""How good a model is: bits per byte on held-out documents, beside what costs nothing to reach; how much is valid; how much is new.

Worked example of a score: two held-out documents of 10 and 30 bytes that cost 20 and 30 bits, their ends included, score
(20 + 30) / (10 + 30) = 1.25 bits per byte. Resampled, (a, a) gives 2.0, (b, b) 1.0 and the mixed draws 1.25: an interval from 1.0 to 2.0.
"""

from __future__ import annotations

import dataclasses
import lzma
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cupola.errors import DataError
from cupola.ngram import MAX_BYTES, KneserNey, sample

if TYPE_CHECKING:
    from cupola.corpus import Split
    from cupola.media.base import Document, Medium

Progress = Callable[[str, float | None], None]
Nats = Callable[[np.ndarray], np.ndarray]  # (B, T) int64 ids -> (B, T - 1) nats of the ids after the first

RESAMPLES = 2_000  # bootstrap draws: the ends of the interval move by about 2% of its width from seed to seed
TRIED = 32  # training documents that a candidate's distance is taken to
MAX_ENTRIES = 12_000_000  # of the originality index: 100 MB (about 600 while it is built), so about 70 MB of text before it thins
SURE = 16  # entries of every document that thinning never takes


# --- bits per byte ---


@dataclasses.dataclass(frozen=True)
class Score:
    """Bits per byte over whole documents, with a 95% interval for the draw of documents (not of training runs)."""

    bits_per_byte: float
    low: float | None  # None with fewer than two documents: nothing to resample
    high: float | None
    per_document_bits: np.ndarray  # (documents,) float64
    per_document_bytes: np.ndarray  # (documents,) int64

    @property
    def bytes(self) -> int:
        return int(self.per_document_bytes.sum())

    @property
    def documents(self) -> int:
        return len(self.per_document_bits)

    @property
    def bits_per_document(self) -> float:
        return float(self.per_document_bits.mean())

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" (95%: {self.low:.2f}–{self.high:.2f})"
        return f"{self.bits_per_byte:.2f} bits/byte held out{interval}"


def bits_per_byte(
    nats: Nats,
    documents_ids: Iterable[Sequence[int]],
    n_bytes: Sequence[int],
    length: int,
    *,
    max_documents: int | None = None,
    batch_tokens: int = 8_192,
    seed: int = 0,
    progress: Progress | None = None,
) -> Score:
    """Score whole documents: every id after a document's first is a target once, the end of document among them.

    nats: takes windows of at most length + 1 ids, padded on the right with id 0; what it says about padding is not read.
    documents_ids: each [bos] text [eos]; n_bytes: (documents,) UTF-8 bytes of each text.
    length: the model's context in tokens. Windows move by length // 2 and the last is moved back to the document's end, so that
    past a document's first window every target has at least length - length // 2 tokens before it.
    max_documents: score so many, evenly spaced, as a quick look in training. batch_tokens: ids in one call of `nats`, at least one row.
    seed: of the bootstrap. Raises DataError when the documents hold no byte.
    """
    assert length >= 2, length
    sizes = np.asarray(n_bytes, np.int64)
    chosen = _spread(len(sizes), max_documents)
    if not sizes[chosen].sum():
        raise DataError("no held-out text to score", "evaluate", "add files to the corpus, or hold out more of it")
    bits = np.zeros(len(sizes))
    waiting: list[_Window] = []
    tokens = given = 0
    for document, ids in enumerate(documents_ids):
        given += 1
        if not chosen[document]:
            continue
        for window in _windows(document, np.asarray(ids, np.int64), length):
            waiting.append(window)
            tokens += len(window.ids)
        if tokens >= 32 * batch_tokens:  # enough to find windows of equal length; all of a large corpus would not fit in memory
            _add(bits, nats, waiting, length, batch_tokens)
            waiting, tokens = [], 0
            if progress:
                progress("scoring held-out documents", document / len(sizes))
    assert given == len(sizes), f"{given} documents, {len(sizes)} sizes"
    _add(bits, nats, waiting, length, batch_tokens)
    return _score(bits[chosen] / math.log(2), sizes[chosen], seed)


class _Window(NamedTuple):
    document: int
    ids: np.ndarray  # (T,) int64, T - 1 targets
    first: int  # the first target that no earlier window scored


def _spread(documents: int, most: int | None) -> np.ndarray:
    """(documents,) bool: which are scored, at most `most`, evenly spaced."""
    chosen = np.zeros(documents, bool)
    chosen[np.linspace(0, documents - 1, min(documents, most or documents)).round().astype(int)] = True
    return chosen


def _windows(document: int, ids: np.ndarray, length: int) -> Iterator[_Window]:
    """Worked example, length 4, 7 targets: windows over targets 0-3, 2-5 and 3-6, which score 0-3, 4-5 and 6."""
    targets = len(ids) - 1
    assert targets >= 1, f"document {document} has no target: give [bos] text [eos]"
    scored, start = 0, 0
    while scored < targets:
        end = min(start + length, targets)
        begin = max(0, end - length)
        yield _Window(document, ids[begin : end + 1], scored - begin)
        scored = end
        start += length // 2


def _add(bits: np.ndarray, nats: Nats, waiting: list[_Window], length: int, batch_tokens: int) -> None:
    """Score the waiting windows and add the nats of each to bits[its document]."""
    shapes: dict[int, list[_Window]] = {}
    for window in waiting:  # few shapes, so that a compiled model isn't compiled anew for each document
        padded = min(length, -(-(len(window.ids) - 1) // 32) * 32) + 1
        shapes.setdefault(padded, []).append(window)
    for padded, windows in sorted(shapes.items()):
        rows = max(1, batch_tokens // padded)
        for i in range(0, len(windows), rows):
            some = windows[i : i + rows]
            batch = np.zeros((len(some), padded), np.int64)
            for row, window in zip(batch, some, strict=True):
                row[: len(window.ids)] = window.ids
            costs = np.asarray(nats(batch), np.float64)  # (B, T - 1)
            assert costs.shape == (len(some), padded - 1), costs.shape
            for row, window in zip(costs, some, strict=True):
                bits[window.document] += row[window.first : len(window.ids) - 1].sum()


def _score(bits: np.ndarray, sizes: np.ndarray, seed: int) -> Score:
    low, high = interval(bits, sizes, seed=seed) if len(bits) > 1 else (None, None)
    return Score(float(bits.sum() / sizes.sum()), low, high, bits, sizes)


def interval(bits: np.ndarray, n_bytes: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """95% percentile bootstrap of sum(bits) / sum(n_bytes): documents are drawn, not bytes, since bytes of one document hang together.

    bits, n_bytes: (documents,), at least two documents. The same seed gives the same interval. Under about ten documents it is too narrow.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    rng = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    for r in range(resamples):
        drawn = rng.integers(0, len(bits), len(bits))
        ratios[r] = bits[drawn].sum() / max(n_bytes[drawn].sum(), 1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


# --- what it has to beat ---


@dataclasses.dataclass(frozen=True)
class Baselines:
    """What the same held-out documents cost without a model, in bits per byte, and the seconds each figure took."""

    ngram: float  # modified Kneser-Ney of order 8, trained on the training documents
    xz: float  # xz -9e that has read the training documents
    entropy: float  # byte frequencies of the training documents
    ngram_seconds: float
    xz_seconds: float
    entropy_seconds: float
    train_bytes: int  # read by all three; an even sample where it is less than
    train_bytes_in_all: int
    held_out_bytes: int  # scored by all three; likewise
    held_out_bytes_in_all: int


def baselines(
    train: Iterable[bytes], held_out: Iterable[bytes], *, max_bytes: int = MAX_BYTES, progress: Progress | None = None
) -> Baselines:
    """The three baselines, each on at most `max_bytes` of training and of held-out documents, evenly sampled (the same for all three).

    train, held_out: documents as UTF-8. Raises DataError when either holds no byte.
    """
    report = progress or (lambda what, share: None)
    report("reading documents", None)
    known, new = sample(train, max_bytes), sample(held_out, max_bytes)
    for documents, side in ((known, "training"), (new, "held-out")):
        if not documents.bytes:
            raise DataError(f"no {side} text to compare with", "evaluate", "add files to the corpus, or change held_out")

    begun = time.monotonic()
    counts = KneserNey.fit(known.documents, max_bytes=max_bytes, progress=progress)
    ngram = float(counts.bits(new.documents, progress=progress).sum())
    del counts
    counted = time.monotonic()
    report("xz: packing the training text, then both", None)
    xz = xz_bits(known.documents, new.documents)
    packed = time.monotonic()
    entropy = byte_entropy(known.documents, new.documents)
    spent = (counted - begun, packed - counted, time.monotonic() - packed)
    ngram, xz, entropy = (bits / new.bytes for bits in (ngram, xz, entropy))
    return Baselines(ngram, xz, entropy, *spent, known.bytes, known.seen_bytes, new.bytes, new.seen_bytes)


def xz_bits(train: Iterable[bytes], documents: Iterable[bytes]) -> float:
    """Bits that `documents` add to `train` under xz -9e with a window over all of it; a NUL ends each document.

    Takes about 12 bytes of memory and a microsecond a byte, twice over `train`.
    """
    before = b"".join(d + b"\0" for d in train)
    both = before + b"".join(d + b"\0" for d in documents)
    window = min(max(len(both), 1 << 16), 1_536 << 20)  # bytes; xz takes no less and no more
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}]
    sizes = [len(lzma.compress(text, check=lzma.CHECK_NONE, filters=filters)) for text in (before, both)]
    return 8.0 * (sizes[1] - sizes[0])


def byte_entropy(train: Iterable[bytes], documents: Iterable[bytes]) -> float:
    """Bits of `documents`, ends included, when each byte costs what its frequency in `train` says; half a count for what is new."""
    counts, asked = _frequencies(train), _frequencies(documents)
    p = (counts + 0.5) / (counts + 0.5).sum()
    return float(-(asked * np.log2(p)).sum())


def _frequencies(documents: Iterable[bytes]) -> np.ndarray:
    """(257,) int64: how often each byte occurs, then the number of documents."""
    counts = np.zeros(257, np.int64)
    for document in documents:
        counts[:256] += np.bincount(np.frombuffer(document, np.uint8), minlength=256)
        counts[256] += 1
    return counts


def verdict(score: Score, baselines: Baselines) -> str | None:
    """None for a model that beats n-gram and xz, else a sentence that says so loudly.

    The n-gram is a fault's sign: it sees eight bytes. xz can win honestly where the corpus repeats long passages and the run was short.
    """
    bits = score.bits_per_byte
    if bits < min(baselines.ngram, baselines.xz):
        return None
    if not math.isfinite(bits):
        return "FAULT: the model's score is not a number. The run diverged; don't use this model, train it again with another seed."
    if bits >= baselines.ngram:
        return (
            f"FAULT: the model needs {bits:.2f} bits per byte and a plain table of counts (n-gram of order 8) only {baselines.ngram:.2f}. "
            "The corpus is too small, or something is wrong with this run (too few steps, a wrong tokenizer); don't use this model."
        )
    return (
        f"WEAK: the model needs {bits:.2f} bits per byte and xz, given the training text, only {baselines.xz:.2f}. "
        "The corpus repeats itself more than this run has learnt; give it more time, or remove near duplicates."
    )


# --- validity ---


def validity(medium: Medium, texts: Iterable[str]) -> float:
    """The share of texts in which the medium finds no problem. Raises DataError when there are none."""
    valid = [not medium.check(text) for text in texts]
    if not valid:
        raise DataError("no texts to check", "validity", "draw at least one candidate")
    return sum(valid) / len(valid)


# --- originality ---


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The training document nearest to a text, variants counted."""

    distance: float  # 0 the same, 1 nothing shared
    name: str  # what people call it, else its title; "" when nothing is shared
    path: str
    place: int | None = None  # in the training documents


class Originality:
    """Finds the training document nearest to a text by the medium's `distance`, which is too slow to take to all of them.

    An inverted index over the medium's shingles says which 32 to try. A shingle in df of D documents weighs log2(1 + D / df). Half the
    places go by the shared share of the smaller of the two (finds what was copied out of a long document, or into one), half by
    the cosine (finds what is alike as a whole). Measured on 4,205 tunes, 6,000 functions and 1,740 files of code against trying every
    document, with distances by the smaller set and by Jaccard: 0.003 too far at most on average, where the plain number of shared
    shingles was 0.066 too far.

    The index holds 32-bit hashes. Past `max_entries` it keeps only hashes under a limit, and of every document the 16 smallest: no document
    is left out, and `kept` says the share of hashes that are in.
    """

    def __init__(
        self,
        medium: Medium,
        documents: Split | Sequence[Document],
        *,
        max_entries: int = MAX_ENTRIES,
        progress: Progress | None = None,
    ):
        self._medium = medium
        self._document: Callable[[int], Document] = getattr(documents, "document", None) or documents.__getitem__
        hashes = (_hashes(medium, d.text) for d in _reported(documents, "indexing training documents", progress))
        self._entries, sizes = _entries(hashes, max_entries)
        if not len(sizes):
            raise DataError("no training documents to compare with", "originality", "add files to the corpus, or hold out less of it")
        owner = (self._entries & 0xFFFFFFFF).astype(np.int32)
        weights = np.bincount(owner, _entry_weights(self._entries, len(sizes)), len(sizes))
        self._in = np.bincount(owner, minlength=len(sizes)) / sizes  # (D,) share of each document's hashes that are kept
        self._weights = weights / self._in  # (D,) of all its shingles, estimated where some were dropped
        self.kept = float(len(self._entries) / sizes.sum())

    def nearest(self, text: str) -> Nearest:
        """The nearest of the 32 likeliest; distance 1.0 and no name when no training document shares a shingle with `text`."""
        best = Nearest(1.0, "", "")
        for place in self._likeliest(text):
            document = self._document(place)
            distance = self._medium.distance(text, document.text)
            if best.place is None or distance < best.distance:
                best = Nearest(distance, document.name or self._medium.title(document.text), document.path, place)
            if distance <= 0:
                break
        return best

    def _likeliest(self, text: str) -> list[int]:
        """Up to 32 places of training documents, likeliest nearest first; equal ones in the corpus's order."""
        hashes = _hashes(self._medium, text).astype(np.uint64)
        low = np.searchsorted(self._entries, hashes << np.uint64(32))
        high = np.searchsorted(self._entries, hashes << np.uint64(32) | np.uint64(0xFFFFFFFF))
        holders = high - low  # (hashes,) documents that hold each
        weight = np.log2(1 + len(self._weights) / np.maximum(holders, 1))
        at = np.repeat(low - np.cumsum(holders) + holders, holders) + np.arange(holders.sum())
        owner = (self._entries[at] & 0xFFFFFFFF).astype(np.int64)
        shared = np.bincount(owner, np.repeat(weight, holders), len(self._weights)) / self._in
        found = np.flatnonzero(shared)
        shared, theirs = shared[found], self._weights[found]
        of_smaller = found[np.argsort(-shared / np.minimum(theirs, weight.sum()), kind="stable")].tolist()
        cosine = found[np.argsort(-shared / np.sqrt(theirs), kind="stable")].tolist()
        return list(dict.fromkeys([*of_smaller[: TRIED // 2], *cosine[:TRIED]]))[:TRIED]


def _reported(documents: Split | Sequence[Document], what: str, progress: Progress | None) -> Iterator[Document]:
    for i, document in enumerate(documents):
        if progress and i % 256 == 0:
            progress(what, i / len(documents))
        yield document


def _hashes(medium: Medium, text: str) -> np.ndarray:
    """(n,) uint32, sorted and distinct: one a shingle, and one of the whole text, so that texts without shingles find their copies too."""
    pieces = [zlib.crc32(s.encode()) for s in medium.shingles(text)]  # not hash(), which differs from process to process
    return np.unique(np.array([zlib.crc32(b"\0" + text.encode()), *pieces], np.uint32))


def _entries(hashes: Iterable[np.ndarray], max_entries: int) -> tuple[np.ndarray, np.ndarray]:
    """((n,) uint64 hash << 32 | document, sorted, and (documents,) int64 hashes each document has, kept or not)."""
    sure, rest, sizes = [], [np.zeros(0, np.uint64)], []
    held, limit = 0, np.uint64(1 << 32)
    for document, found in enumerate(hashes):
        sizes.append(len(found))
        entries = found.astype(np.uint64) << np.uint64(32) | np.uint64(document)
        sure.append(entries[:SURE])
        rest.append(entries[SURE:][found[SURE:] < limit])
        held += len(sure[-1]) + len(rest[-1])
        while held > max_entries and limit > 1:
            limit //= np.uint64(2)
            rest = [some[some >> np.uint64(32) < limit] for some in (np.concatenate(rest),)]
            held = sum(map(len, sure)) + len(rest[0])
    entries = np.concatenate([*sure, *rest]) if sizes else np.zeros(0, np.uint64)
    entries.sort()
    return entries, np.array(sizes, np.int64)


def _entry_weights(entries: np.ndarray, documents: int) -> np.ndarray:
    """(n,) float32: the weight of each entry's shingle, log2(1 + documents / documents that hold it)."""
    first = np.flatnonzero(np.diff(entries >> np.uint64(32), prepend=np.uint64(1 << 32)))
    holders = np.diff(first, append=len(entries))
    return np.repeat(np.log2(1 + documents / holders).astype(np.float32), holders)


def yardstick(
    index: Originality, held_out: Split | Sequence[Document], sample: int = 100, seed: int = 0, progress: Progress | None = None
) -> np.ndarray:
    """(n,) float64, sorted: how far real documents that were held out lie from their nearest training document.

    sample: at most so many, drawn without replacement by `seed`. Raises DataError when nothing is held out.
    """
    if not len(held_out):
        raise DataError("no held-out documents to compare with", "originality", "hold out more of the corpus: held_out = 0.1")
    fetch: Callable[[int], Document] = getattr(held_out, "document", None) or held_out.__getitem__
    drawn = np.sort(np.random.default_rng(seed).permutation(len(held_out))[:sample]).tolist()
    distances = []
    for place in drawn:
        if progress:
            progress("comparing real documents", len(distances) / len(drawn))
        distances.append(index.nearest(fetch(place).text).distance)
    return np.sort(distances)


def copy_threshold(yardstick: np.ndarray, share: float = 0.5) -> float:
    """The distance under which a candidate counts as a copy: `share` (0 to 1) of the median of real held-out documents."""
    assert 0 <= share <= 1, share
    return share * float(np.median(yardstick))


def is_copy(distance: float, threshold: float) -> bool:
    """Whether a candidate at this distance is a copy; the same as a training document, or a variant of it, always is."""
    return distance <= 0 or distance < threshold


def copy_share(distances: Sequence[float] | np.ndarray, threshold: float) -> float:
    """The share of candidates that are copies. Raises DataError when there are none."""
    if not len(distances):
        raise DataError("no candidates to compare", "originality", "draw at least one candidate")
    return sum(is_copy(float(d), threshold) for d in distances) / len(distances)
