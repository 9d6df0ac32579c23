from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import evaluate
from cupola.errors import DataError
from cupola.evaluate import (
    Baselines,
    Originality,
    baselines,
    bits_per_byte,
    byte_entropy,
    copy_share,
    copy_threshold,
    interval,
    is_copy,
    validity,
    verdict,
    xz_bits,
    yardstick,
)
from cupola.media.base import Document, Plain, Problem

# --- bits per byte ---


def uniform(ids: np.ndarray) -> np.ndarray:
    """A model that gives each of 4 ids the same probability."""
    return np.full((len(ids), ids.shape[1] - 1), math.log(4))


def its_id(ids: np.ndarray) -> np.ndarray:
    """A model that charges each target as many nats as its id, so that sums tell which targets were counted."""
    return ids[:, 1:].astype(float)


def test_a_uniform_model_worked_by_hand():
    # 2 bits a target; [bos] x x x [eos] has 4 targets over 3 bytes, [bos] x [eos] has 2 over 1
    score = bits_per_byte(uniform, [[1, 3, 3, 3, 2], [1, 3, 2]], [3, 1], length=8)
    assert score.bits_per_byte == pytest.approx(2 * (4 + 2) / 4)
    assert score.per_document_bits == pytest.approx([8, 4])
    assert score.bits_per_document == pytest.approx(6)
    assert (score.bytes, score.documents) == (4, 2)
    assert score.low == pytest.approx(8 / 3)
    assert score.high == pytest.approx(4 / 1)
    assert str(score) == "3.00 bits/byte held out (95%: 2.67–4.00)"


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 150), min_size=1, max_size=12),
    length=st.integers(2, 70),
    batch_tokens=st.sampled_from([1, 40, 200, 8192]),
)
def test_every_target_is_counted_once_whatever_the_windows_and_batches(sizes, length, batch_tokens):
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 1000, n) for n in sizes]
    score = bits_per_byte(its_id, iter(documents), sizes, length, batch_tokens=batch_tokens)
    assert score.per_document_bits * math.log(2) == pytest.approx([d[1:].sum() for d in documents])


@pytest.mark.parametrize("length", [2, 3, 7, 8, 64])
def test_past_the_first_window_every_target_sees_at_least_half_a_context(length):
    def too_little(ids: np.ndarray) -> np.ndarray:  # ids are places in the document: 1 where a target sees less than that
        before = ids[:, 1:] - ids[:, :1]
        return ((before < length - length // 2) & (ids[:, :1] > 0)).astype(float)

    def too_much(ids: np.ndarray) -> np.ndarray:  # and none sees more than the context
        return (ids[:, 1:] - ids[:, :1] > length).astype(float)

    documents = [list(range(n)) for n in (2, 9, 64, 65, 66, 100, 257)]
    for fault in (too_little, too_much):
        assert bits_per_byte(fault, documents, [len(d) for d in documents], length).bits_per_byte == 0


class Tiny(torch.nn.Module):
    """One head of causal attention over 11 ids: its answer depends on all of a window before the target, and on nothing after."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.qkv, self.out = torch.nn.Embedding(11, 16), torch.nn.Linear(16, 48), torch.nn.Linear(16, 11)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        h = self.embed(input_ids) + torch.arange(input_ids.shape[1])[:, None] / 10
        q, k, v = self.qkv(3 * h).chunk(3, -1)
        return self.out(torch.nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0])

    @torch.no_grad()
    def nats(self, ids: np.ndarray) -> np.ndarray:
        ids = torch.from_numpy(ids)
        logits = self(ids[:, :-1])
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").numpy()


def one_by_one(model: Tiny, ids: list[int], length: int) -> float:
    """Nats of a document, one target a call, from the definition of the windows."""
    total, starts = 0.0, range(0, len(ids), length // 2)
    for target in range(1, len(ids)):
        start = next(s for s in starts if s + length >= target)  # the first window that reaches it
        start = min(start, max(0, len(ids) - 1 - length))
        total += float(model.nats(np.array([ids[start : target + 1]]))[0, -1])
    return total


def test_a_causal_model_scores_as_one_target_at_a_time_would():
    rng, model = random.Random(0), Tiny()
    documents = [[1, *(rng.randrange(3, 11) for _ in range(n)), 2] for n in (0, 1, 5, 14, 15, 16, 17, 40, 90)]
    score = bits_per_byte(model.nats, documents, [max(1, len(d) - 2) for d in documents], length=16, batch_tokens=100)
    slow = [one_by_one(model, d, 16) / math.log(2) for d in documents]
    assert score.per_document_bits == pytest.approx(slow, rel=1e-5)
    assert score.bits_per_byte == pytest.approx(sum(slow) / score.bytes, rel=1e-5)


def test_windows_come_in_few_shapes_and_no_larger_than_asked():
    shapes = set()

    def watched(ids: np.ndarray) -> np.ndarray:
        shapes.add(ids.shape[1])
        assert ids.size <= 1000
        return its_id(ids)

    bits_per_byte(watched, [[1] * n for n in range(2, 400)], [1] * 398, length=100, batch_tokens=1000)
    assert shapes == {33, 65, 97, 101}


def test_a_quick_look_scores_evenly_spaced_documents():
    documents = [[0, i] for i in range(10)]
    score = bits_per_byte(its_id, documents, [1] * 10, 8, max_documents=4)
    assert score.per_document_bits * math.log(2) == pytest.approx([0, 3, 6, 9])
    assert bits_per_byte(its_id, documents, [1] * 10, 8, max_documents=99).documents == 10


def test_nothing_held_out_is_an_error_that_says_what_to_do():
    for documents in ([], [[1, 2]]):
        with pytest.raises(DataError, match="no held-out text to score\n  add files to the corpus, or hold out more"):
            bits_per_byte(uniform, documents, [0] * len(documents), 8)


def test_the_interval_is_that_of_a_ratio_of_sums_over_documents():
    rng = np.random.default_rng(1)
    sizes = rng.integers(50, 500, 400)
    bits = sizes * 1.6 + rng.normal(0, 40, 400)
    ratio = bits.sum() / sizes.sum()
    half = 1.96 * np.std(bits - ratio * sizes) / math.sqrt(400) / sizes.mean()  # the textbook's linearised error
    low, high = interval(bits, sizes)
    assert low == pytest.approx(ratio - half, abs=0.1 * half)
    assert high == pytest.approx(ratio + half, abs=0.1 * half)
    assert interval(bits, sizes) == (low, high)
    assert interval(bits, sizes, seed=1) != (low, high)


def test_documents_of_one_cost_leave_nothing_to_doubt_and_one_document_has_no_interval():
    assert interval(np.array([20.0, 40.0]), np.array([10, 20])) == (2.0, 2.0)
    alone = bits_per_byte(uniform, [[1, 3, 2]], [1], 8)
    assert (alone.low, alone.high) == (None, None)
    assert str(alone) == "4.00 bits/byte held out"


def test_scoring_tells_its_progress():
    told = []
    bits_per_byte(uniform, [[1] * 500] * 50, [500] * 50, 16, batch_tokens=16, progress=lambda what, share: told.append(share))
    assert told == sorted(told)
    assert 0 < told[-1] < 1


# --- baselines ---


def tunes(n: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(["ABcd", "efGA", "BAGE", "dcBA", "G2B2"]) for _ in range(20)).encode() for _ in range(n)]


def test_byte_entropy_worked_by_hand():
    # counts a 3, b 1, end 1, each of the 254 other values 0, all and half a one: 3.5 / 133.5, 1.5 / 133.5, 1.5 / 133.5, 0.5 / 133.5
    assert byte_entropy([b"aaba"], [b"ab", b"z"]) == pytest.approx(
        -math.log2(3.5 / 133.5) - math.log2(1.5 / 133.5) - 2 * math.log2(1.5 / 133.5) - math.log2(0.5 / 133.5)
    )


def test_xz_pays_little_for_what_the_training_text_holds():
    rng = random.Random(0)
    known, new = (bytes(rng.choices(range(97, 123), k=5000)) for _ in range(2))
    assert xz_bits([known], [known]) < 0.05 * xz_bits([known], [new])
    assert xz_bits([known], [new]) / len(new) == pytest.approx(math.log2(26), rel=0.1)
    far = [known, bytes(rng.choices(range(97, 123), k=200_000))]  # the window reaches back over all of it
    assert xz_bits(far, [known]) < 0.05 * xz_bits(far, [new])


def test_baselines_are_ordered_by_how_much_they_see():
    found = baselines(tunes(200), tunes(20, seed=1))
    assert found.ngram < found.entropy
    assert found.xz < found.entropy
    assert (found.train_bytes, found.held_out_bytes) == (found.train_bytes_in_all, found.held_out_bytes_in_all) == (200 * 99, 20 * 99)
    assert min(found.ngram_seconds, found.xz_seconds, found.entropy_seconds) >= 0


def test_baselines_of_a_large_corpus_say_how_much_of_it_they_read():
    told = []
    found = baselines(iter(tunes(400)), iter(tunes(100, seed=1)), max_bytes=5000, progress=lambda what, share: told.append(what))
    assert found.train_bytes <= 5000 < found.train_bytes_in_all == 400 * 99
    assert found.held_out_bytes <= 5000 < found.held_out_bytes_in_all == 100 * 99
    assert any("xz" in what for what in told)


def test_baselines_without_text_are_an_error_that_names_the_side():
    with pytest.raises(DataError, match="no training text to compare with"):
        baselines([], tunes(2))
    with pytest.raises(DataError, match="no held-out text to compare with"):
        baselines(tunes(2), [b""])


def scored(bits: float) -> evaluate.Score:
    return evaluate.Score(bits, None, None, np.array([bits]), np.array([1]))


def test_a_model_that_does_not_beat_the_baselines_is_called_out_loudly():
    bar = Baselines(2.10, 1.90, 4.5, 1, 1, 1, 1, 1, 1, 1)
    assert verdict(scored(1.61), bar) is None
    for bits in (2.10, 3.0):
        assert verdict(scored(bits), bar).startswith(f"FAULT: the model needs {bits:.2f} bits per byte and a plain table of counts")
    assert "n-gram of order 8) only 2.10" in verdict(scored(2.3), bar)
    assert verdict(scored(2.0), bar).startswith("WEAK: the model needs 2.00 bits per byte and xz, given the training text, only 1.90.")
    for bits in (math.nan, math.inf):
        assert verdict(scored(bits), bar).startswith("FAULT: the model's score is not a number.")


# --- validity and originality ---


class Words(Plain):
    """A medium of words: case is a variant, a digit is a problem."""

    name, unit = "words", "word"

    def __init__(self):
        self.tried: list[str] = []

    def check(self, text: str) -> list[Problem]:
        return [Problem(1, i + 1, "a digit") for i, c in enumerate(text) if c.isdigit()]

    def title(self, text: str) -> str:
        return " ".join(text.split()[:2])

    def distance(self, a: str, b: str) -> float:
        self.tried.append(b)
        a, b = a.lower().split(), b.lower().split()
        shared = sum((Counter(a) & Counter(b)).values())
        return 1 - shared / max(len(a), len(b), 1)

    def shingles(self, text: str) -> set[str]:
        words = text.lower().split()
        return {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}


class OnDisk:
    """Documents that are fetched one by one, as a corpus split gives them."""

    def __init__(self, documents: list[Document]):
        self._documents = documents

    def __len__(self):
        return len(self._documents)

    def __iter__(self):
        return iter(self._documents)

    def document(self, i: int) -> Document:
        return self._documents[i]


def shelf(n: int, seed: int = 0, vocabulary: int = 60) -> list[Document]:
    """Documents of 30 words out of a few, so that many share a shingle by chance."""
    rng = random.Random(seed)
    words = ["".join(random.Random(i).choices("abcdefghij", k=5)) for i in range(vocabulary)]
    return [Document(" ".join(rng.choices(words, k=30)), f"g{i}", f"file{i}", name=f"Tune {i}" if i % 2 else "") for i in range(n)]


def altered(text: str, places: tuple[int, ...]) -> str:
    words = text.split()
    for place in places:
        words[place] = "other"
    return " ".join(words)


def test_validity_is_the_share_without_problems():
    assert validity(Words(), ["fine", "als0 not", "fine too", "fine"]) == 0.75
    with pytest.raises(DataError, match="no texts to check"):
        validity(Words(), [])


def test_a_planted_near_copy_is_found_among_thousands():
    documents, medium = shelf(2000), Words()
    index = Originality(medium, OnDisk(documents))
    found = index.nearest(altered(documents[777].text, (4, 11, 19, 25)))
    assert (found.distance, found.name, found.path, found.place) == (pytest.approx(4 / 30), "Tune 777", "file777", 777)
    assert 0 < len(medium.tried) <= 32


def test_the_nearest_is_that_of_trying_every_document():
    documents, medium = shelf(300), Words()
    index = Originality(medium, documents)
    rng = random.Random(1)
    for _ in range(20):
        text = altered(rng.choice(documents).text, tuple(rng.sample(range(30), 6)))
        assert index.nearest(text).distance == min(medium.distance(text, d.text) for d in documents)


def test_a_variant_counts_as_the_same_and_a_document_without_name_goes_by_its_title():
    documents = shelf(50)
    found = Originality(Words(), documents).nearest(documents[8].text.upper())
    assert (found.distance, found.name) == (0.0, Words().title(documents[8].text))


def test_the_documents_tried_are_those_that_share_most_weighed_by_rarity():
    documents, medium = shelf(300, vocabulary=12), Words()
    text = shelf(1, seed=1, vocabulary=12)[0].text
    Originality(medium, documents).nearest(text)

    shingles = [medium.shingles(d.text) | {d.text} for d in documents]
    holders = Counter(s for some in shingles for s in some)

    def weigh(some: set[str]) -> float:
        return sum(math.log2(1 + 300 / max(1, holders[s])) for s in some)

    mine = medium.shingles(text) | {text}
    shared = [weigh(mine & theirs) for theirs in shingles]
    of_smaller = [w / min(weigh(mine), weigh(theirs)) for w, theirs in zip(shared, shingles, strict=True)]
    cosine = [w / math.sqrt(weigh(theirs)) for w, theirs in zip(shared, shingles, strict=True)]
    first, second = (sorted(range(300), key=lambda i: -by[i]) for by in (of_smaller, cosine))
    expected = list(dict.fromkeys([*first[:16], *second]))[:32]
    assert medium.tried == [documents[i].text for i in expected]


class Passages(Words):
    """A passage of a long text is a copy of it."""

    def distance(self, a: str, b: str) -> float:
        a, b = self.shingles(a), self.shingles(b)
        return 1 - len(a & b) / min(len(a), len(b))


@pytest.mark.parametrize("max_entries", [evaluate.MAX_ENTRIES, 2_200])
def test_a_passage_of_a_long_document_is_found_in_a_crowd_that_shares_less_of_it(max_entries):
    rng = random.Random(3)
    words = ["".join(rng.choices("klmnopq", k=6)) for _ in range(5000)]
    passage = words[2000:2200]
    crowd = [Document(" ".join([d.text, *passage[i : i + 15]]), "g", d.path) for i, d in enumerate(shelf(100))]
    index = Originality(Passages(), [*crowd, Document(" ".join(words), "g", "long")], max_entries=max_entries)
    assert (index.kept == 1) == (max_entries > 10_000)
    assert index.nearest(" ".join(passage)).path == "long"


def test_what_shares_nothing_is_wholly_new_and_has_no_neighbour():
    found = Originality(Words(), shelf(10)).nearest("nothing of this was ever there")
    assert (found.distance, found.name, found.path, found.place) == (1.0, "", "", None)


def test_a_text_too_short_for_shingles_still_finds_its_copy():
    documents = [*shelf(10), Document("two words", "g", "short")]
    found = Originality(Words(), documents).nearest("two words")
    assert (found.distance, found.path) == (0.0, "short")


def test_a_small_index_leaves_no_document_out_and_says_what_it_kept():
    documents = shelf(2000)
    whole, small = Originality(Words(), documents), Originality(Words(), documents, max_entries=36_000)
    assert whole.kept == 1.0
    assert 0.5 < small.kept < 0.7  # 16 of 29 hashes are sure, and some of the rest
    for i in range(0, 2000, 200):
        assert small.nearest(altered(documents[i].text, (3, 22))).path == f"file{i}"


def test_an_index_over_nothing_is_an_error():
    with pytest.raises(DataError, match="no training documents to compare with\n  add files"):
        Originality(Words(), [])


def test_the_yardstick_is_how_far_real_documents_lie_sorted_and_seeded():
    index, held_out = Originality(Words(), shelf(300)), shelf(80, seed=1)
    distances = yardstick(index, OnDisk(held_out), sample=30)
    assert len(distances) == 30
    assert (np.diff(distances) >= 0).all()
    assert 0 < distances[0] <= distances[-1] <= 1
    assert (distances == yardstick(index, held_out, sample=30)).all()
    assert (distances != yardstick(index, held_out, sample=30, seed=1)).any()
    every = yardstick(index, held_out, sample=500)
    assert list(every) == sorted(index.nearest(d.text).distance for d in held_out)
    with pytest.raises(DataError, match="no held-out documents to compare with\n  hold out more of the corpus"):
        yardstick(index, [])


def test_a_copy_is_nearer_than_a_share_of_what_real_documents_show():
    threshold = copy_threshold(np.array([0.1, 0.4, 0.9]))
    assert threshold == pytest.approx(0.2)
    assert copy_threshold(np.array([0.1, 0.4, 0.9]), share=0.25) == pytest.approx(0.1)
    assert is_copy(0.19, threshold)
    assert not is_copy(0.21, threshold)
    assert is_copy(0.0, 0.0)  # even where the corpus is full of copies
    assert not is_copy(0.01, 0.0)
    assert copy_share([0.0, 0.1, 0.5, 0.9], threshold) == 0.5
    with pytest.raises(DataError, match="no candidates to compare"):
        copy_share([], threshold)


def test_indexing_and_measuring_tell_their_progress():
    told = []
    index = Originality(Words(), shelf(600), progress=lambda what, share: told.append((what, share)))
    yardstick(index, shelf(5, seed=1), progress=lambda what, share: told.append((what, share)))
    assert ("indexing training documents", 256 / 600) in told
    assert told[-1] == ("comparing real documents", 0.8)


@pytest.mark.slow
def test_an_index_over_many_documents_stays_within_its_memory():
    import tracemalloc

    class Numbers(Words):
        def shingles(self, text: str) -> set[str]:
            start = int(text)
            return {str(i) for i in range(start, start + 400)}

    class Many:
        def __len__(self):
            return 2000

        def document(self, i: int) -> Document:
            return Document(str(300 * i), "g", f"file{i}")

        def __iter__(self):
            return map(self.document, range(2000))

    tracemalloc.start()
    index = Originality(Numbers(), Many(), max_entries=200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert index.kept < 0.25
    assert peak < 16e6
    assert index.nearest("299970").path == "file1000"  # 370 of its 400 shingles; file999 has 130
