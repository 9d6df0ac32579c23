"""A table of counts to beat: interpolated modified Kneser-Ney over bytes, order 8, in numpy.

Documents are laid end to end with one boundary symbol around each; an n-gram may begin or end with the boundary and never crosses it.
One sort of all 8-symbol windows puts the n-grams of every order in one place: n-grams of order k are the runs of windows that share
k leading symbols, so each order costs a pass over the sorted windows and no second sort.

Worked by hand, order 2, one document "aab" (bigrams |a aa ab b|, where | is the boundary): "a" follows two symbols (| and a), "b" one (a),
the end one (b), so with the fallback discounts 1/2, 1, 3/2 over 4 distinct bigrams and 244 possible symbols
p1(a) = (2 - 1) / 4 + (1 + 1/2 + 1/2) / 4 / 244, and p(b after a) = (1 - 1/2) / 2 + (1/2 + 1/2) / 2 * p1(b).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from cupola.errors import DataError

ORDER = 8  # at most: a window is packed into one 64-bit integer, a byte a symbol
MAX_BYTES = 16_000_000  # of training text; more costs memory (about 45 bytes a byte) and moves the score little

BOUNDARY = 0  # before and after every document; the end of a document is predicted like a byte
_UTF8 = np.r_[0x00:0xC0, 0xC2:0xF5]  # the 243 byte values that UTF-8 text can hold; with the boundary they fit in a byte
_CODE = np.zeros(256, np.uint8)  # byte value -> symbol; 0 for what cannot occur
_CODE[_UTF8] = np.arange(1, len(_UTF8) + 1)
SYMBOLS = len(_UTF8) + 1
END = 256  # index of the document's end in `probabilities`


@dataclasses.dataclass(frozen=True)
class Sample:
    """Documents taken evenly from a longer row of them."""

    documents: list[bytes]
    bytes: int  # of these
    seen_bytes: int  # of all that went by


def sample(documents: Iterable[bytes], max_bytes: int = MAX_BYTES) -> Sample:
    """All documents if they hold at most `max_bytes`, else every second, fourth, eighth ... one, the first power that fits.

    One pass, at most `max_bytes` and a document in memory. A document counts with at most its first max_bytes / 2 bytes.
    """
    kept: list[bytes] = []  # the documents whose place is a multiple of `stride`
    stride, held, seen = 1, 0, 0
    for place, document in enumerate(documents):
        seen += len(document)
        if place % stride:
            continue
        kept.append(document[: max_bytes // 2])
        held += len(kept[-1])
        while held > max_bytes:
            kept, stride = kept[::2], stride * 2
            held = sum(map(len, kept))
    return Sample(kept, held, seen)


@dataclasses.dataclass(frozen=True)
class _Level:
    """The n-grams of one order, sorted. A context is the place of an n-gram one order down."""

    keys: np.ndarray  # (G,) int64: context * 256 + last symbol
    share: np.ndarray  # (G,) float32: (count - discount) / count of the context
    backoff: np.ndarray  # (G one order down,) float32: what the discounts left for the order below


class KneserNey:
    """Probabilities of the next byte, or of the document's end, from counts with three discounts an order.

    Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling", section 4.1.6 and equation 26;
    n-grams that begin a document keep their plain counts (nothing can stand to their left), and order 1 is interpolated with 1 / 244.
    """

    def __init__(self, levels: list[_Level], train: Sample):
        self._levels = levels
        self.train_bytes, self.seen_bytes = train.bytes, train.seen_bytes  # counted, and there were

    @classmethod
    def fit(
        cls,
        train: Iterable[bytes],
        order: int = ORDER,
        *,
        max_bytes: int = MAX_BYTES,
        progress: Callable[[str, float | None], None] | None = None,
    ) -> KneserNey:
        """Count `train`, UTF-8 documents; past `max_bytes` an even sample of them (`train_bytes` of `seen_bytes`).

        order: 1 to 8; less where no document is that long. Raises DataError when there is no document, or one that is not UTF-8.
        """
        assert 1 <= order <= ORDER, order
        taken = sample(train, max_bytes)
        if not taken.documents:
            raise DataError("no training documents to count", "n-gram", "add files to the corpus, or hold out less of it")
        return cls(list(_levels(_codes(taken.documents), order, progress)), taken)

    @property
    def order(self) -> int:
        return len(self._levels)

    def bits(self, documents: Iterable[bytes], *, progress: Callable[[str, float | None], None] | None = None) -> np.ndarray:
        """(documents,) float64: what each costs in bits, its end included. Raises DataError on a document that is not UTF-8."""
        costs, some, held = [np.zeros(0)], [], 0
        for document in documents:
            some.append(document)
            held += len(document)
            if held > 1_000_000:  # a megabyte at a time: about 100 bytes of arrays a byte
                costs.append(self._bits(some))
                some, held = [], 0
                if progress:
                    progress("n-gram: held-out documents", None)
        return np.concatenate([*costs, self._bits(some)]) if some else np.concatenate(costs)

    def probabilities(self, context: bytes) -> np.ndarray:
        """(257,) float64 that sum to 1: each byte value, then the end (index END), after `context` from the document's start."""
        codes = _codes([context])[:-1]
        symbols = np.r_[BOUNDARY, 1:SYMBOLS]
        rows = np.column_stack([np.tile(codes, (SYMBOLS, 1)), symbols]).astype(np.uint8)
        p = np.zeros(257)
        p[np.r_[END, _UTF8]] = [2.0 ** -self._cost(row)[-1] for row in rows]
        return p

    def _bits(self, documents: list[bytes]) -> np.ndarray:
        sizes = np.array([len(d) + 1 for d in documents])  # the end is a symbol too
        return np.add.reduceat(self._cost(_codes(documents)), np.r_[0, np.cumsum(sizes)[:-1]])

    def _cost(self, codes: np.ndarray) -> np.ndarray:
        """(N,) symbols that begin with a boundary -> (N - 1,) bits of each symbol after the first."""
        symbols = codes[1:].astype(np.int64)
        p = np.full(len(symbols), 1.0 / SYMBOLS)
        context = np.zeros(len(symbols), np.int64)  # place of the n-gram before each symbol one order down; -1: never seen
        for k, level in enumerate(self._levels, start=1):
            known = context >= 0
            key = context * 256 + symbols
            at = np.minimum(np.searchsorted(level.keys, key), len(level.keys) - 1)
            found = known & (level.keys[at] == key)
            p = np.where(known, np.where(found, level.share[at], 0.0) + level.backoff[np.maximum(context, 0)] * p, p)
            place = np.where(found, at, -1)
            if k > 1:  # what ends in a boundary is over; only the boundary alone begins something
                place[symbols == BOUNDARY] = -1
            context = np.r_[0 if k == 1 else -1, place[:-1]]  # before the first symbol stands a boundary, symbol 0 of order 1
        return -np.log2(p)


def _codes(documents: list[bytes]) -> np.ndarray:
    """(N,) uint8 symbols: boundary, document, boundary, document, ..., boundary."""
    ends = np.cumsum([len(d) + 1 for d in documents])
    text = np.frombuffer(b"\0" + b"\0".join(documents) + b"\0", np.uint8)
    codes = _CODE[text]
    codes[0] = codes[ends] = BOUNDARY
    foreign = np.flatnonzero(codes == BOUNDARY)
    if len(foreign) > len(documents) + 1:
        odd = text[np.setdiff1d(foreign, np.r_[0, ends])[0]]
        raise DataError(f"byte {odd:#04x} does not occur in UTF-8 text", "n-gram", "give documents as text encoded in UTF-8")
    return codes


def _levels(codes: np.ndarray, order: int, progress: Callable[[str, float | None], None] | None) -> Iterable[_Level]:
    """The levels of `codes`, order 1 first."""
    report = progress or (lambda what, share: None)
    report("n-gram: sorting", 0.0)
    position, common = _sorted_windows(codes)
    rank = np.empty(len(codes), np.int32)  # where each position stands in the sorting
    rank[position] = np.arange(len(codes), dtype=np.int32)
    whole = _reach(codes)[position]
    order = min(order, int(whole.max()))  # no document is longer
    keys, count, group = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(len(codes), np.int32)  # order 0: one empty n-gram
    contexts = 1
    for k in range(1, order + 1):
        report("n-gram: counting", k / (order + 1))
        valid = whole >= k
        first = np.flatnonzero((common < k) & valid)  # where each n-gram of order k begins, in the sorting
        parent, last = group[first], codes[position[first] + k - 1]
        if k > 1:
            yield _level(keys, _left_counts(count, group[rank[position[first] + 1]]), contexts)
            contexts = len(keys)
        keys = parent.astype(np.int64) * 256 + last
        group = np.cumsum((common < k) & valid, dtype=np.int32) - 1
        count = np.bincount(group[valid], minlength=len(first))
    if order == 1:
        count[BOUNDARY] -= 1  # the first boundary is nobody's end
    yield _level(keys, count, contexts)


def _sorted_windows(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the order of the 8 symbols that begin there (int32), and how many symbols each shares with the one before (uint8)."""
    padded = np.r_[codes, np.full(ORDER, 255, np.uint8)]  # no symbol: the last boundary opens nothing
    window = np.zeros(len(codes), np.uint64)
    for i in range(ORDER):
        window <<= np.uint64(8)
        window |= padded[i : i + len(codes)]
    position = np.argsort(window).astype(np.int32)
    window = window[position]
    window[1:] ^= window[:-1].copy()
    common = np.zeros(len(codes), np.uint8)
    for k in range(1, ORDER + 1):
        common += window < np.uint64(1 << 64 - 8 * k)
    common[0] = 0
    return position, common


def _reach(codes: np.ndarray) -> np.ndarray:
    """(N,) uint8: how long an n-gram that begins at each position may be, up to 8; it may end with a boundary and not go past it."""
    ends = np.flatnonzero(codes == BOUNDARY)
    reach = np.full(len(codes), ORDER, np.uint8)
    for back in range(ORDER - 1, 0, -1):  # nearer boundaries overwrite farther ones
        reach[ends[ends >= back] - back] = back + 1
    reach[-1] = 1
    return reach


def _left_counts(count: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Counts below the top order: of how many longer n-grams each is the tail. tails: the place of the tail of every longer one."""
    distinct = np.bincount(tails, minlength=len(count))
    return np.where(distinct > 0, distinct, count)  # 0: begins a document, nothing stands to its left


def _level(keys: np.ndarray, count: np.ndarray, contexts: int) -> _Level:
    discount = discounts(np.bincount(np.minimum(count, 5), minlength=6)[1:5])[np.minimum(count, 3)]
    parent = keys >> 8
    total = np.maximum(np.bincount(parent, count, contexts), 1)  # 0 only where nothing follows: n-grams that end in a boundary
    share = ((count - discount) / total[parent]).astype(np.float32)
    return _Level(keys, share, (np.bincount(parent, discount, contexts) / total).astype(np.float32))


def discounts(counts_of_counts: np.ndarray) -> np.ndarray:
    """(4,) float64: what is taken from a count of 0, 1, 2, 3 or more, from how many n-grams were counted 1, 2, 3, 4 times.

    A discount that the closed form puts outside (0, count), or that divides by 0, as with few n-grams, becomes half the count.
    """
    n1, n2, n3, n4 = (int(n) for n in counts_of_counts)
    result = np.array([0.0, 0.5, 1.0, 1.5])
    if not n1 or not n2:
        return result
    y = n1 / (n1 + 2 * n2)
    closed = [y, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3 if n3 else 0.0]
    for i, d in enumerate(closed, start=1):
        if 0 < d < i:
            result[i] = d
    return result
