"""The tokenizer gives text back and never reads a control token out of it; a stream is the same rows wherever it is made."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import tokens
from cupola.errors import ConfigError, DataError, MachineError
from cupola.tokens import BOS, CONTROL, EOS, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD, PRETOKENIZERS, Stream, Tokenizer, train_tokenizer

WORDS = [
    "the",
    "fox",
    "ran",
    "over",
    "1,024",
    "hills;",
    "(x",
    "=",
    "37)",
    "|",
    "abc",
    "def",
    "|:",
    "G2",
    "B>d",
    "e^fg",
    "|",
    "don't",
    "stop",
    "###",
    "..##..",
    "été",
    "東京",
    "🙂",
    "tab\tend",
]


def document(number: int, words: int = 60) -> str:
    rng = np.random.default_rng(number)
    return " ".join(WORDS[i] + "\n" * (k % 9 == 8) for k, i in enumerate(rng.integers(0, len(WORDS), words)))


class Split(list):
    """A list of texts, asked for as a corpus's split is."""

    @property
    def bytes(self) -> int:
        return sum(len(t.encode()) for t in self)

    def document(self, i: int) -> SimpleNamespace:
        return SimpleNamespace(text=self[i])


def corpus(texts: list[str], fingerprint: str = "0" * 64) -> SimpleNamespace:
    return SimpleNamespace(train=Split(texts), fingerprint=fingerprint)


TEXTS = [document(i) for i in range(60)]
MADE = {kind: train_tokenizer(TEXTS, kind, 400) for kind in PRETOKENIZERS}
ANY = "qwen2"


# --- the tokenizer


@pytest.mark.parametrize("kind", [k for k, v in PRETOKENIZERS.items() if v.byte_level])
@given(text=st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_unchanged_from_a_byte_level_tokenizer(kind, text):
    assert MADE[kind].decode(MADE[kind].encode(text)) == text
    assert MADE[kind].exact(text)


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_sarvam_moe_changes_only_a_literal_low_line_block(text):
    made = MADE["sarvam-moe"]
    assert made.decode(made.encode(text)) == text.replace("▁", " ")
    assert made.exact(text) == ("▁" not in text)


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_text_that_spells_a_control_token_is_text(kind):
    made = MADE[kind]
    for name in (*CONTROL, "<|endoftext|>", "</s>", "<0x41>", "<|cupola:eos|><|cupola:eos|>"):
        ids = made.encode(f"a{name}b")
        assert min(ids) > max(PAD, BOS, EOS, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)
        assert made.decode(ids) == f"a{name}b"


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_text_that_spells_a_reserved_token_is_text_however_often_the_corpus_has_it(kind):
    texts = [f"{name} {name}{name}\n" for name in (*CONTROL, "<0x41>", "</s>", "[PAD]", "<|im_end|>")] * 40  # merges would end in these
    made = train_tokenizer(texts, kind, 600)
    for text in texts[:10]:
        assert made.decode(made.encode(text)) == text
        assert min(made.encode(text)) >= len(CONTROL)
    learnt = [made.inner.id_to_token(i) for i in range(len(CONTROL), made.vocab_size)]
    assert not [t for t in learnt if tokens.MAGIC.fullmatch(t)]


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_control_tokens_have_the_same_ids_in_every_model_and_vanish_from_text(kind):
    made = MADE[kind]
    assert [made.inner.token_to_id(c) for c in CONTROL] == list(range(6))
    assert made.decode([BOS, *made.encode("G2 B>d"), EOS, PAD]) == "G2 B>d"


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_a_saved_tokenizer_loads_with_the_same_ids_and_fingerprint(kind, tmp_path):
    MADE[kind].save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.pretokenizer, loaded.vocab_size, loaded.fingerprint) == (kind, MADE[kind].vocab_size, MADE[kind].fingerprint)
    text = document(999) + CONTROL[EOS]
    assert loaded.encode(text) == MADE[kind].encode(text)


@pytest.mark.parametrize("kind", PRETOKENIZERS)
def test_the_same_texts_give_the_same_tokenizer(kind):
    assert train_tokenizer(iter(TEXTS), kind, 400).fingerprint == MADE[kind].fingerprint


def test_many_at_once_are_as_one_by_one():
    assert MADE[ANY].encode_many(TEXTS[:20]) == [MADE[ANY].encode(t) for t in TEXTS[:20]]


def test_unsplit_kinds_merge_across_lines_and_whole_rows():
    rows = ["#####\n#...#\n#####\n"] * 50
    assert len(train_tokenizer(rows, "superbpe", 300).encode(rows[0])) == 1
    assert len(train_tokenizer(rows, "sarvam-moe", 400).encode(rows[0])) == 6  # three rows, three line ends


def test_texts_with_nothing_to_merge_give_a_smaller_vocabulary():
    made = train_tokenizer(["ab"], ANY, 1024)
    assert made.vocab_size < 300
    assert made.decode(made.encode("any other text at all, é")) == "any other text at all, é"


def test_prompts_begin_with_bos_and_gaps_are_in_prefix_suffix_order():
    made = MADE[ANY]
    assert made.prompt("") == [BOS]
    assert made.prompt("ab") == [BOS, *made.encode("ab")]
    assert made.gap("ab", "cd") == [BOS, FIM_PREFIX, *made.encode("ab"), FIM_SUFFIX, *made.encode("cd"), FIM_MIDDLE]
    assert made.document("ab") == [BOS, *made.encode("ab"), EOS]


def test_an_unknown_pretokenizer_is_an_error_that_lists_the_known():
    with pytest.raises(ConfigError, match=r"no pre-tokenizer 'qwen3'(.|\n)*use one of gpt-2, smollm"):
        train_tokenizer(TEXTS, "qwen3", 400)


@pytest.mark.parametrize("size", [0, 100, 261])
def test_a_vocabulary_too_small_for_the_bytes_is_an_error(size):
    with pytest.raises(ConfigError, match=rf"vocabulary of {size}(.|\n)*use 262"):
        train_tokenizer(TEXTS, ANY, size)


def test_a_corpus_without_text_is_an_error():
    with pytest.raises(DataError, match="no text to learn a vocabulary from"):
        train_tokenizer(["", ""], ANY, 400)


def test_a_missing_or_damaged_or_foreign_tokenizer_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer"):
        Tokenizer.load(tmp_path)
    MADE[ANY].save(tmp_path)
    saved = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(saved.replace("cupola:eos", "other:eos"))
    with pytest.raises(DataError, match="not cupola's control tokens"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(saved.replace('"add_prefix_space": false', '"add_prefix_space": true'))
    with pytest.raises(DataError, match="splits text in a way that llama"):
        Tokenizer.load(tmp_path)


def test_a_forked_child_tokenises_without_a_warning_or_a_hang():
    script = """
        import os
        from cupola.tokens import train_tokenizer
        texts = ["a b c d"] * 50
        made = train_tokenizer(texts, "qwen2", 300)
        made.encode_many(texts)
        child = os.fork()
        if child == 0:
            made.encode_many(texts)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# --- fill in the middle


def put_together(made: Tokenizer, ids: list[int]) -> str:
    """A document's text from its training ids, whatever their order."""
    assert ids[0] == BOS
    assert ids[-1] == EOS
    if ids[1] != FIM_PREFIX:
        return made.decode(ids)
    suffix, middle = ids.index(FIM_SUFFIX), ids.index(FIM_MIDDLE)
    if suffix == 2:  # SPM
        return made.decode(ids[middle:]) + made.decode(ids[suffix:middle])
    return made.decode(ids[:suffix]) + made.decode(ids[middle:]) + made.decode(ids[suffix:middle])


# Each part is decoded alone, and a byte-level token never spans two parts: text comes back whatever the cut.
@given(text=st.text(max_size=80), seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_document_cut_for_filling_in_loses_nothing(text, seed):
    ids = tokens.fim(MADE[ANY], text, np.random.default_rng(seed))
    assert put_together(MADE[ANY], ids) == text
    assert sorted(i for i in ids if i < 6) == [BOS, EOS, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE]


def test_both_orders_come_about_equally_often_and_cuts_fall_anywhere():
    rng = np.random.default_rng(0)
    drawn = [tokens.fim_pieces("0123456789", rng) for _ in range(2000)]
    assert 900 < sum(psm for *_, psm in drawn) < 1100
    assert {len(p) for p, *_ in drawn} == {len(s) for _, _, s, _ in drawn} == set(range(11))
    assert all(p + m + s == "0123456789" for p, m, s, _ in drawn)


# --- the stream


def documents_of(stream: Stream, shard: int = 0) -> list[list[int]]:
    stream.prepare(1)
    ids = np.fromfile(sorted(stream.folder.glob("shard-*.bin"))[shard], stream.dtype).tolist()
    ends = [i + 1 for i, t in enumerate(ids) if t == EOS]
    return [ids[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def test_every_pass_holds_every_document_once_in_an_order_of_its_own(tmp_path):
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=3)
    texts = [put_together(MADE[ANY], d) for d in documents_of(stream)]
    assert len(texts) == len(TEXTS) * stream.passes_per_shard
    passes = [texts[i : i + len(TEXTS)] for i in range(0, len(texts), len(TEXTS))]
    assert all(sorted(p) == sorted(TEXTS) for p in passes)
    assert passes[0] != passes[1]
    assert passes[0] != TEXTS


def test_half_the_documents_are_for_filling_in_and_half_of_those_in_each_order(tmp_path):
    ids = documents_of(Stream(corpus([document(i, 8) for i in range(3000)]), MADE[ANY], tmp_path, seed=0))
    assert 0.46 < np.mean([d[1] == FIM_PREFIX for d in ids]) < 0.54
    assert 0.22 < np.mean([d[1:3] == [FIM_PREFIX, FIM_SUFFIX] for d in ids]) < 0.28


def test_a_share_of_none_or_all_is_kept_to(tmp_path):
    assert all(d[1] != FIM_PREFIX for d in documents_of(Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0, fim=0)))
    assert all(d[1] == FIM_PREFIX for d in documents_of(Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0, fim=1)))


def test_variants_replace_their_share_and_a_text_without_any_stays(tmp_path):
    medium = SimpleNamespace(name="m", variants=lambda t: iter([t.upper(), t[::-1]] if len(t) % 2 else []))
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0, variants=1.0, medium=medium)
    texts = [put_together(MADE[ANY], d) for d in documents_of(stream)]
    odd = [t for t in TEXTS if len(t) % 2]
    assert set(texts) == {t for t in TEXTS if not len(t) % 2} | {t.upper() for t in odd} | {t[::-1] for t in odd}


def test_a_batch_depends_on_seed_and_step_alone(tmp_path):
    one = Stream(corpus(TEXTS), MADE[ANY], tmp_path / "a", seed=5, shard_tokens=8_000)
    two = Stream(corpus(TEXTS), MADE[ANY], tmp_path / "b", seed=5, shard_tokens=8_000)
    forward = [one.batch(k, 4, 64) for k in range(60)]
    assert len(one._shards) > 1  # rows of several shards are in it
    for k in (59, 0, 31, 7):
        assert np.array_equal(two.batch(k, 4, 64), forward[k])
    assert forward[0].shape == (4, 65)
    assert forward[0].dtype == np.int64
    other = Stream(corpus(TEXTS), MADE[ANY], tmp_path / "c", seed=6, shard_tokens=8_000)
    assert not np.array_equal(other.batch(0, 4, 64), forward[0])


def test_rows_overlap_by_one_so_that_every_token_of_a_shard_is_a_label_once(tmp_path):
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=5)
    stream.prepare(1)
    shard = np.fromfile(next(stream.folder.glob("shard-*.bin")), stream.dtype)
    rows = (len(shard) - 1) // 64
    labels = np.concatenate([stream.batch(k, 1, 64)[:, 1:] for k in range(rows)]).ravel()
    assert sorted(labels.tolist()) == sorted(shard[1 : rows * 64 + 1].tolist())
    assert len(shard) - 1 - rows * 64 < 64  # what is left over


def test_larger_batches_are_the_same_rows(tmp_path):
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=5)
    assert np.array_equal(np.concatenate([stream.batch(0, 4, 64), stream.batch(1, 4, 64)]), stream.batch(0, 8, 64))


def test_prepare_writes_all_that_the_run_will_read(tmp_path):
    said = []
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=5, shard_tokens=8_000)
    stream.prepare(30_000, 64, progress=lambda what, share: said.append((what, share)))
    written = {p: p.stat().st_mtime_ns for p in stream.folder.iterdir()}
    for k in range(30_000 // (4 * 64)):
        stream.batch(k, 4, 64)
    assert {p: p.stat().st_mtime_ns for p in stream.folder.iterdir()} == written
    assert said[0] == ("tokenise", 0.0)
    assert said[-1] == ("tokenise", 1.0)


def test_passes_count_how_often_the_corpus_is_gone_over(tmp_path):
    stream = Stream(corpus(TEXTS, "b"), MADE[ANY], tmp_path, seed=5)
    guess = stream.passes(100_000)
    stream.prepare(1)
    size = next(stream.folder.glob("shard-*.bin")).stat().st_size / 2
    assert stream.passes(100_000) == pytest.approx(100_000 / (size / stream.passes_per_shard))
    assert guess == pytest.approx(stream.passes(100_000), rel=0.05)


def test_shards_of_another_corpus_tokenizer_seed_or_share_are_kept_apart(tmp_path):
    streams = [
        Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0),
        Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=1),
        Stream(corpus(TEXTS), MADE["gpt-2"], tmp_path, seed=0),
        Stream(corpus(TEXTS, "edited"), MADE[ANY], tmp_path, seed=0),
        Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0, fim=0.4),
    ]
    assert len({s.folder for s in streams}) == len({s.fingerprint for s in streams}) == 5


def test_a_long_document_is_trained_on_whole_as_several(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "LONGEST_CHARACTERS", 1000)
    text = document(1, 2000)
    stream = Stream(corpus([text]), MADE[ANY], tmp_path, seed=0)
    pieces = [put_together(MADE[ANY], d) for d in documents_of(stream)]
    n = -(-len(text) // 1000)
    assert len(pieces) == n * stream.passes_per_shard
    assert "".join(pieces[:n]) == text


def test_a_batch_is_cheap(tmp_path):
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=5)
    stream.prepare(60_000)
    begun = time.process_time()
    for k in range(200):
        stream.batch(k % 25, 8, 256)
    assert (time.process_time() - begun) / 200 < 1e-3  # 0.015 ms on a quiet core; only a loop over documents would take a millisecond


WRITER = """
    import sys, time
    sys.path.insert(0, "tests")
    from pathlib import Path
    import test_tokens as t
    class Slow(t.Split):
        def document(self, i):
            time.sleep(0.002)
            return super().document(i)
    made = t.corpus(t.TEXTS)
    made.train = Slow(t.TEXTS)
    t.tokens.CHUNK_CHARACTERS = 500
    stream = t.Stream(made, t.MADE[t.ANY], Path(sys.argv[1]), seed=9, shard_tokens=20_000)
    print("begun", flush=True)
    stream.prepare(50_000)
"""


def writer(folder) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_leaves_nothing_half_made_and_the_next_gives_the_same_bytes(tmp_path):
    killed = writer(tmp_path / "killed")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "begun\n"
    deadline = time.monotonic() + 20
    while not list((tmp_path / "killed").glob("*/shard-*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert list((tmp_path / "killed").glob("*/*.tmp"))
    streams = [Stream(corpus(TEXTS), MADE[ANY], tmp_path / name, seed=9, shard_tokens=20_000) for name in ("killed", "whole")]
    for stream in streams:
        stream.prepare(50_000)
    files = [{p.name: p.read_bytes() for p in s.folder.iterdir()} for s in streams]
    assert files[0] == files[1]
    assert not [name for name in files[0] if name.endswith(".tmp")]


def test_two_writers_at_once_agree(tmp_path):
    both = [writer(tmp_path), writer(tmp_path)]
    for process in both:
        assert process.communicate(timeout=60) is not None
        assert process.returncode == 0
    stream = Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=9, shard_tokens=20_000)
    again = Stream(corpus(TEXTS), MADE[ANY], tmp_path / "alone", seed=9, shard_tokens=20_000)
    again.prepare(50_000)
    assert {p.name: p.read_bytes() for p in stream.folder.iterdir()} == {p.name: p.read_bytes() for p in again.folder.iterdir()}


def test_a_folder_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"cannot write(.|\n)*choose a folder"):
        Stream(corpus(TEXTS), MADE[ANY], tmp_path / "file", seed=0)


def test_a_full_disk_is_an_error_and_leaves_no_half_shard(tmp_path):
    class Full(Split):
        def document(self, i: int) -> SimpleNamespace:
            if self.begun:
                raise OSError(28, "No space left on device")
            return super().document(i)

    full = corpus(TEXTS)
    full.train = Full(TEXTS)
    full.train.begun = False
    stream = Stream(full, MADE[ANY], tmp_path, seed=0)
    full.train.begun = True  # what the file system says is what matters, not who says it
    with pytest.raises(MachineError, match=r"No space left on device(.|\n)*free some disk space"):
        stream.prepare(1)
    assert [p.name for p in stream.folder.iterdir()] == ["stream.json"]


def test_bad_shares_an_empty_corpus_and_missing_media_are_errors(tmp_path):
    with pytest.raises(ConfigError, match=r"fim is 1\.5(.|\n)*from 0 to 1"):
        Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0, fim=1.5)
    with pytest.raises(ConfigError, match="variants need a medium"):
        Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=0, variants=0.5)
    with pytest.raises(DataError, match="no documents to train on"):
        Stream(corpus([]), MADE[ANY], tmp_path, seed=0)


def test_a_corpus_shorter_than_a_row_is_an_error(tmp_path):
    stream = Stream(corpus(["a"]), MADE[ANY], tmp_path, seed=0, shard_tokens=4)
    with pytest.raises(DataError, match=r"shorter than one row of 64(.|\n)*shorter context"):
        stream.batch(0, 1, 64)


@pytest.mark.slow
def test_a_large_corpus_is_tokenised_in_bounded_memory(tmp_path):
    script = """
        import resource, sys
        sys.path.insert(0, "tests")
        from pathlib import Path
        import test_tokens as t
        base = t.document(7, 20_000)
        class Large:
            bytes = 400 * len(base.encode())
            def __len__(self): return 400
            def document(self, i): return t.SimpleNamespace(text=base[i:] + base[:i])
        stream = t.Stream(t.SimpleNamespace(train=Large(), fingerprint="l"), t.MADE[t.ANY], Path(sys.argv[1]), seed=0)
        stream.prepare(1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stream.prepare(5_000_000)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 150  # MB over the first shard's peak, for four more shards of about 2 MB each


def test_a_share_of_the_documents_is_the_same_for_a_seed_and_nothing_else_is_read(tmp_path):
    made = [Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=seed, fim=0, share=0.25) for seed in (1, 1, 2)]
    chosen = [{made[k].train.document(i).text for i in range(len(made[k].train))} for k in range(3)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 15
    made[0].batch(0, 4, 64)
    ids = [int(i) for i in made[0]._shards[0]]
    ends = [i for i, token in enumerate(ids) if token == EOS]
    read = {MADE[ANY].decode(ids[a + 2 : b]) for a, b in itertools.pairwise([-1, *ends])}
    assert read == chosen[0]
    assert made[0].folder == made[1].folder != Stream(corpus(TEXTS), MADE[ANY], tmp_path, seed=1, fim=0).folder
