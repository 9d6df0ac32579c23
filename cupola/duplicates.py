"""Which documents are the same, or nearly: MinHash over shingles, compared by sorting, with memory that does not grow with their texts.

Near duplicates, an example: a tune in two books differs in one bar of sixteen. Its shingles (bars in a row) are shared to 80%, and about as
large a share of 128 minima over hashes of shingles is equal (MinHash). Bands of five minima are compared by sorting: two documents with
80% in common miss each other in all 25 bands once in 30,000 times. Pairs so found are then measured on all 128.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

PERMUTATIONS = 128  # minima a signature; a similarity s is seen as s +- sqrt(s (1 - s) / 128), 0.04 at 0.7
Progress = Callable[[str, float | None], None]


def same(digests: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """(first, other, 1.0) for rows of (N, 2) digests that are equal, ordered by the other."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: of equal rows the first stays first
    equal = (digests[order][1:] == digests[order][:-1]).all(axis=1)
    runs = np.maximum.accumulate(np.where(np.r_[True, ~equal], np.arange(len(order)), 0))
    pairs = sorted((int(order[i + 1]), int(order[runs[i + 1]])) for i in np.flatnonzero(equal))
    return ((first, other, 1.0) for other, first in pairs)


class Signer:
    """Shingles -> (128,) uint32 minima over as many hash functions, with datasketch.

    crc32 in place of datasketch's SHA-1: the scheme mixes its input first, and a quarter of the time is hashing otherwise.
    """

    def __init__(self):
        from datasketch import MinHash  # brings scipy: half a second that `cupola --help` should not pay

        self._minhash = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=lambda s: zlib.crc32(s.encode()), scheme="affine32")

    def __call__(self, shingles: set[str]) -> np.ndarray:
        self._minhash.clear()
        rest = iter(shingles)
        while some := list(itertools.islice(rest, 4096)):  # 4096 x 128 x 4 bytes at a time
            self._minhash.update_batch(some)
        return self._minhash.hashvalues


def rows_a_band(near: float) -> int:
    """The most rows that let a pair of similarity `near` slip through all bands at most twice in a hundred times."""
    return max(r for r in range(1, 17) if (1 - near**r) ** (PERMUTATIONS // r) <= 0.02)


def alike(path: Path, rows: np.ndarray, near: float, say: Progress) -> Iterator[tuple[int, int, float]]:
    """(earlier, later, estimated Jaccard) for pairs among `rows` of the signature file that reach `near`, ordered by the later.

    In a band's bucket each document is compared with the first sixteen only: of thousands of copies all are dropped for the first.
    """
    if len(rows) < 2:
        return
    count = path.stat().st_size // (PERMUTATIONS * 4)
    width = rows_a_band(near)
    pairs, similarities = np.empty(0, np.uint64), np.empty(0, np.float32)  # later * count + earlier
    bands = PERMUTATIONS // width
    for band in range(bands):
        say("looking for near duplicates", band / bands)
        hashes = _band(path, slice(band * width, (band + 1) * width))[rows]
        order = np.argsort(hashes, kind="stable")
        for first, later in _buckets(hashes[order]):
            i, j, similarity = _measure(path, count, rows[order[first]], rows[order[later]], near)
            pairs, at = np.unique(np.concatenate([pairs, (j * count + i).astype(np.uint64)]), return_index=True)
            similarities = np.concatenate([similarities, similarity])[at]
    for pair, similarity in zip(pairs, similarities, strict=True):
        j, i = divmod(int(pair), count)
        yield i, j, float(similarity)


def _band(path: Path, columns: slice) -> np.ndarray:
    """(N,) uint64: one hash of a band's columns for every signature, read in pieces of 8 MiB."""
    parts = []
    with path.open("rb") as file:
        while len(piece := np.fromfile(file, np.uint32, 16_384 * PERMUTATIONS)):
            mixed = np.zeros(len(piece) // PERMUTATIONS, np.uint64)
            for column in piece.reshape(-1, PERMUTATIONS)[:, columns].T:
                mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)  # wraps, as meant
            parts.append(mixed)
    return np.concatenate(parts)


def _buckets(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions (first, later) to compare, for runs of equal values in sorted `hashes`: each with the first sixteen of its run."""
    start = np.maximum.accumulate(np.where(np.r_[True, hashes[1:] != hashes[:-1]], np.arange(len(hashes)), 0))
    place = np.arange(len(hashes)) - start
    for k in range(min(16, int(place.max(initial=0)))):
        later = np.flatnonzero(place > k)
        yield start[later] + k, later


def _measure(path: Path, count: int, first: np.ndarray, later: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, later, similarity) of those pairs that reach `near`."""
    signatures = np.memmap(path, np.uint32, "r", shape=(count, PERMUTATIONS))
    similarity = np.empty(len(first), np.float32)
    for at in range(0, len(first), 8192):  # 8 MiB of signatures at a time
        piece = slice(at, at + 8192)
        similarity[piece] = (signatures[first[piece]] == signatures[later[piece]]).mean(axis=1)
    near_enough = similarity >= np.float32(near)
    return first[near_enough], later[near_enough], similarity[near_enough]
