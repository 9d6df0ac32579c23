from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import ngram
from cupola.errors import DataError
from cupola.ngram import END, KneserNey, discounts

NO_CLOSED_FORM = np.array([0.0, 0.5, 1.0, 1.5])


class Slow:
    """The same model from its textbook definition: one dictionary an order, one recursion; "|" is the boundary."""

    def __init__(self, documents: list[str], order: int):
        counts = [Counter() for _ in range(order + 1)]
        for document in documents:
            line = f"|{document}|"
            for k in range(1, order + 1):
                counts[k].update(line[i : i + k] for i in range(len(line) - k + 1))
        counts[1]["|"] -= len(documents)
        self.order, self.after, self.discounts = order, [defaultdict(dict) for _ in range(order + 1)], {}
        for k in range(1, order + 1):
            table = counts[k] if k == order else self._left(counts[k], counts[k + 1], k)
            self.discounts[k] = self._discounts(table)
            for gram, count in table.items():
                self.after[k][gram[:-1]][gram[-1]] = count

    @staticmethod
    def _left(plain, longer, k):
        left = Counter(gram[1:] for gram in longer)
        return {gram: plain[gram] if k > 1 and gram[0] == "|" else left[gram] for gram in plain}

    @staticmethod
    def _discounts(table):
        n = Counter(table.values())
        if not n[1] or not n[2]:
            return [0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        d = [0, y, 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3] if n[3] else 0]
        return [0, *(d[i] if 0 < d[i] < i else i / 2 for i in (1, 2, 3))]

    def p(self, symbol: str, context: str, k: int | None = None) -> float:
        k = self.order if k is None else k
        if k == 0:
            return 1 / 244
        if len(context) < k - 1:
            return self.p(symbol, context, k - 1)
        history = context[len(context) - k + 1 :]
        seen = self.after[k].get(history)
        lower = self.p(symbol, context, k - 1)
        if not seen:
            return lower
        take = {s: self.discounts[k][min(c, 3)] for s, c in seen.items()}
        return (seen.get(symbol, 0) - take.get(symbol, 0)) / sum(seen.values()) + sum(take.values()) / sum(seen.values()) * lower

    def bits(self, document: str) -> float:
        line = f"|{document}|"
        return -sum(np.log2(self.p(line[i], line[:i])) for i in range(1, len(line)))


def tunes(n: int, seed: int = 0, slips: float = 0.0) -> list[str]:
    """Repetitive text with a little chance in it; each letter is another one with chance `slips`."""
    rng = random.Random(seed)
    bars = ["".join(rng.choice("ABCDEFGabc") for _ in range(6)) for _ in range(12)]
    texts = [" ".join(rng.choice(bars) for _ in range(rng.randint(2, 9))) for _ in range(n)]
    return ["".join(rng.choice("ABCDEFGabc") if rng.random() < slips else c for c in text) for text in texts]


def as_bytes(texts: list[str]) -> list[bytes]:
    return [t.encode() for t in texts]


def test_a_bigram_worked_by_hand():
    model = KneserNey.fit([b"aab"], order=2)
    p1_a = (2 - 1) / 4 + (1 + 0.5 + 0.5) / 4 / 244
    p1_b = (1 - 0.5) / 4 + (1 + 0.5 + 0.5) / 4 / 244
    assert model.probabilities(b"a")[ord("b")] == pytest.approx((1 - 0.5) / 2 + (0.5 + 0.5) / 2 * p1_b)
    assert model.probabilities(b"")[ord("a")] == pytest.approx((1 - 0.5) / 1 + 0.5 * p1_a)
    assert model.probabilities(b"zzz")[ord("a")] == pytest.approx(p1_a)  # an unknown context says nothing


def test_order_1_is_the_counts_less_a_discount():
    model = KneserNey.fit([b"abracadabra"], order=1)  # a 5, b 2, r 2, c 1, d 1, end 1
    p = model.probabilities(b"any context")
    y = 3 / (3 + 2 * 2)  # c, d, end once; b, r twice; nothing thrice, so only the first discount has a closed form
    left = 1.5 + 2 * 1.0 + 3 * y
    for symbol, count, discount in ((ord("a"), 5, 1.5), (ord("b"), 2, 1.0), (ord("d"), 1, y), (END, 1, y), (ord("z"), 0, 0)):
        assert p[symbol] == pytest.approx((count - discount) / 12 + left / 12 / 244)


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
def test_probabilities_of_the_next_byte_sum_to_1_after_any_context(order):
    model = KneserNey.fit(as_bytes(tunes(60)), order=order)
    for context in (b"", b"A", as_bytes(tunes(3))[2][:11], b"never seen", "é\n\0".encode()):
        assert model.probabilities(context).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("order", range(1, 9))
def test_equals_the_textbook_definition(order):
    train, held_out = tunes(40), [*tunes(8, seed=1), "", "AB unseen zq", tunes(1)[0]]
    slow = Slow(train, order)
    assert KneserNey.fit(as_bytes(train), order).bits(as_bytes(held_out)) == pytest.approx([slow.bits(d) for d in held_out], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab|", max_size=7).map(lambda t: t.replace("|", "c")), min_size=1, max_size=6), st.text("abcd", max_size=9))
def test_equals_the_textbook_definition_on_tiny_and_empty_documents(train, document):
    model = KneserNey.fit(as_bytes(train), 4)
    assert model.order == min(4, max(map(len, train)) + 2)  # an n-gram is no longer than a document between its boundaries
    assert model.bits([document.encode()])[0] == pytest.approx(Slow(train, model.order).bits(document), rel=1e-5)


def test_a_document_costs_the_same_alone_and_among_others():
    model = KneserNey.fit(as_bytes(tunes(60)))
    held_out = as_bytes([*tunes(5, seed=3), ""])
    assert model.bits(held_out) == pytest.approx(np.concatenate([model.bits([d]) for d in held_out]))
    assert model.bits(held_out * 5_000)[-6:] == pytest.approx(model.bits(held_out))  # over a megabyte: several pieces
    assert model.bits([]).shape == (0,)


def witten_bell(train: list[str], held_out: list[str], order: int) -> float:
    """Bits per byte of a Witten-Bell n-gram: what a simpler smoothing reaches."""
    after = defaultdict(Counter)
    for line in (f"|{d}|" for d in train):
        for i in range(1, len(line)):
            for k in range(order):
                if k <= i:
                    after[line[i - k : i]][line[i]] += 1
    bits = 0.0
    for line in (f"|{d}|" for d in held_out):
        for i in range(1, len(line)):
            p = 1 / 244
            for k in range(min(order, i + 1)):
                if seen := after.get(line[i - k : i]):
                    p = (seen[line[i]] + len(seen) * p) / (seen.total() + len(seen))
            bits -= np.log2(p)
    return bits / sum(map(len, held_out))


def test_beats_a_witten_bell_of_order_5_on_repetitive_text():
    texts = tunes(400, slips=0.05)  # with no slips nothing is ever new, and smoothing has nothing to do
    train, held_out = texts[:300], texts[300:]
    size = sum(map(len, held_out))
    wb = witten_bell(train, held_out, 5)
    cost = {order: KneserNey.fit(as_bytes(train), order).bits(as_bytes(held_out)).sum() / size for order in (1, 5, 8)}
    assert max(cost[5], cost[8]) < 0.95 * wb < cost[1]


def test_all_bytes_of_utf8_are_symbols_and_others_are_refused_by_name():
    text = "tab\t, nul \0, é, 𝄞, 漢"
    assert np.isfinite(KneserNey.fit([text.encode()] * 3).bits([text.encode()])).all()
    with pytest.raises(DataError, match="byte 0xff does not occur in UTF-8 text"):
        KneserNey.fit([b"fine", b"not \xff fine"])
    with pytest.raises(DataError, match="byte 0xc0 does not occur"):
        KneserNey.fit([b"fine"]).bits([b"\xc0"])


def test_no_documents_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match="no training documents to count\n  add files"):
        KneserNey.fit([])


def test_discounts_have_their_closed_form_and_half_the_count_where_it_fails():
    y = 40 / (40 + 2 * 20)
    assert discounts(np.array([40, 20, 10, 6])) == pytest.approx([0, y, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10])
    assert discounts(np.array([0, 20, 10, 6])) == pytest.approx(NO_CLOSED_FORM)
    assert discounts(np.array([40, 0, 0, 0])) == pytest.approx(NO_CLOSED_FORM)
    assert discounts(np.array([1, 1, 9, 1]))[2] == 1.0  # 2 - 3 * 9 / 3 is below 0


def test_a_small_corpus_is_counted_whole_and_a_large_one_by_an_even_sample_that_is_stated():
    documents = [f"{i:04d}".encode() for i in range(1000)]
    assert ngram.sample(documents, 4000).documents == documents
    some = ngram.sample(iter(documents), 1100)
    assert some.documents == documents[::4]
    assert (some.bytes, some.seen_bytes) == (1000, 4000)
    model = KneserNey.fit(documents, max_bytes=1100)
    assert (model.train_bytes, model.seen_bytes) == (1000, 4000)


def test_one_giant_document_leaves_room_for_others():
    some = ngram.sample([b"a" * 10_000, b"b" * 20, b"c" * 20], 100)
    assert [len(d) for d in some.documents] == [50, 20, 20]


def test_progress_is_told_with_a_share():
    told = []
    KneserNey.fit(as_bytes(tunes(20)), progress=lambda what, share: told.append(share))
    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[-1] < 1


@pytest.mark.slow
def test_a_megabyte_and_a_half_takes_seconds_and_little_memory():
    import tracemalloc

    rng = random.Random(0)
    words = ["".join(rng.choice("etaoinshrdlu") for _ in range(rng.randint(2, 9))) for _ in range(3000)]
    documents = [" ".join(rng.choice(words) for _ in range(70)).encode() for _ in range(3800)]
    assert sum(map(len, documents)) > 1_500_000
    tracemalloc.start()  # numpy reports its arrays
    model = KneserNey.fit(documents)
    cost = model.bits(documents[:400]).sum()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    assert cost < 8 * sum(map(len, documents[:400]))
