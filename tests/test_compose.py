from __future__ import annotations

import dataclasses
import itertools
import math
import random
import re
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from cupola import ledger
from cupola.compose import (
    Candidate,
    ComposeConfig,
    Kit,
    Usual,
    choose,
    columns,
    cross,
    extend,
    mask,
    read_piece,
    repaint,
    sample,
    units_between,
    vary,
)
from cupola.engine import Completion
from cupola.errors import ConfigError, DataError, MachineError
from cupola.hardware import Price
from cupola.media.base import Document, Pins, Plain, Problem
from cupola.meter import Meter
from cupola.tokens import BOS, CONTROL, EOS, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, train_tokenizer


class Bars(Plain):
    """A toy of a tune: "K:x", a newline, bars of four small letters with "|" behind each, "]" at the end."""

    name, unit, suffixes = "tune", "bar", (".bars",)

    def read(self, path):
        for i, text in enumerate(path.read_text("utf-8").split("\n\n")):
            if text.strip():
                yield Document(text.strip(), group=path.name, path=path.name, name=f"{path.stem} {i}")

    def syntax(self, text):
        return self.check(text)

    def check(self, text):
        head, _, body = text.partition("\n")
        if not re.fullmatch(r"K:[a-g]", head):
            return [Problem(1, 1, f"no key {head!r:.20}", "begin with K: and a letter")]
        if bad := next((m for m in re.finditer(r"[^|\]]*\|", body) if not re.fullmatch(r"[a-z]{4}\|", m[0])), None):
            return [Problem(2, bad.start() + 1, f"the bar {bad[0]!r} is not full")]
        return [] if re.fullmatch(r"([a-z]{4}\|)+\]", body) else [Problem(2, len(body), "it does not end")]

    def grammar(self, pins):
        return None

    def write(self, text, stem):
        stem.with_suffix(".bars").write_text(text, "utf-8")
        return [stem.with_suffix(".bars")]

    def distance(self, a, b):
        bars = [set(re.findall(r"[a-z]{4}", t.partition("\n")[2])) for t in (a, b)]
        return 1 - len(bars[0] & bars[1]) / max(1, min(map(len, bars)))

    def spans(self, text):
        start = text.find("\n") + 1
        return [(m.start() + start, m.end() + start) for m in re.finditer(r"[a-z]+(?=\||$)", text[start:])]

    def title(self, text):
        return f"{len(self.spans(text))} bars"


class Index:
    """The nearest of a few texts by the medium's distance."""

    def __init__(self, **documents: str):
        self.documents = documents

    def nearest(self, text):
        far = [(Bars().distance(text, t), name) for name, t in self.documents.items()] or [(1.0, "")]
        distance, name = min(far)
        return SimpleNamespace(name=name, path=f"{name}.bars", distance=distance)


CORPUS = "\n".join("abcdefghijklmnopqrstuvwxyz|]K: " for _ in range(20))
REAL = np.array([0.8])
TOKENIZER = train_tokenizer([CORPUS], "qwen2", 300)


class Engine:
    """Answers each request by `write(seen, request)` -> (text, stop[, nats a byte]); seen is what the prompt spells, control tokens too."""

    def __init__(self, write: Callable, n_ctx: int):
        self.write, self.n_ctx, self.asked = write, n_ctx, []

    def generate(self, requests, progress=None):
        self.asked += requests
        return [self._answer(r) for r in requests]

    def _answer(self, request):
        answer = self.write(spelled(request.prompt_ids), request)
        text, stop, nats = answer if len(answer) == 3 else (*answer, 0.5)
        ids = TOKENIZER.encode(text)[: request.max_new_tokens]
        stop = "length" if len(ids) == request.max_new_tokens else stop
        text = TOKENIZER.decode(ids)
        return Completion(text=text, ids=[*ids, EOS] if stop == "eos" else ids, stop=stop, logprob=-nats * len(text.encode()), seconds=0.0)


def spelled(ids: list[int]) -> str:
    names = {BOS: "<bos>", FIM_PREFIX: "<pre>", FIM_SUFFIX: "<suf>", FIM_MIDDLE: "<mid>"}
    return "".join(names[i] if i < len(CONTROL) else TOKENIZER.decode([i]) for i in ids)


def bars(rng: random.Random, n: int) -> str:
    return "".join("".join(rng.choices("abcdefghijklmnop", k=4)) + "|" for _ in range(n))


def by_seed(seen, request):
    """A whole tune, another for each seed, going on from whatever the prompt gave."""
    rng = random.Random(request.seed)
    return ("" if "K:" in seen else "K:c\n") + bars(rng, 4) + "]", "eos", rng.uniform(0.3, 0.9)


@pytest.fixture
def kit(tmp_path):
    """Builds a Kit: the ledger is real, the meter's clock ticks one second a look, a watt costs what it costs."""
    clock = iter(range(10**6))
    machine = SimpleNamespace(cores=2, design_watts=50.0, accelerator=None)
    meter = Meter(machine, Price("own", "own", 0.36, None, "a test", "2026-01-01"), watts=10.0, clock=lambda: float(next(clock)))
    with ledger.open(tmp_path) as book:
        run = book.start_run("sample", "toy")

        def build(write=by_seed, *, window=256, documents=None, usual=None, **config) -> Kit:
            engine, index = Engine(write, window), Index(**(documents or {}))
            usual = usual or Usual(REAL)
            return Kit(Bars(), TOKENIZER, engine, index, usual, meter, book, run, "toy", ComposeConfig(**config))

        yield build


PIECE = "K:c\n" + "".join(f"{c * 4}|" for c in "abcdefgh") + "]"  # eight bars: aaaa, bbbb, ...


# --- sample -------------------------------------------------------------------------------------------------------------------------


def test_as_many_pieces_come_as_were_asked_for_likeliest_first_and_all_candidates_are_on_record(kit):
    k = kit()
    made = sample(k, 3)
    assert len(made.kept) == 3
    assert made.drawn == 12
    likely = [a.logprob_per_byte for a in made.kept]
    assert likely == sorted(likely, reverse=True)
    assert max(a.logprob_per_byte for a in made.rejected) <= likely[-1]
    assert {a.id for a in k.book.artefacts()} == {a.id for a in (*made.kept, *made.rejected)}
    assert [a.id for a in k.book.artefacts(kept=True)] == [a.id for a in made.kept]
    assert {a.why for a in made.rejected} == {"less likely: the 3 kept come before it"}
    assert made.notes == []


def test_the_same_seed_gives_the_same_pieces_and_another_seed_shares_none(kit):
    one, again, other = sample(kit(), 3, seed=1), sample(kit(), 3, seed=1), sample(kit(), 3, seed=2)
    assert [a.text for a in one.kept] == [a.text for a in again.kept]
    assert not {a.seed for a in (*one.kept, *one.rejected)} & {a.seed for a in (*other.kept, *other.rejected)}


def test_a_copy_is_never_delivered_and_names_what_it_copies(kit):
    copied = "K:c\nabcd|efgh|ijkl|mnop|]"
    near = "K:c\nabcd|efgh|ijkl|zzzz|]"

    def write(seen, request):
        return {0: (copied, "eos", 0.01), 1: (near, "eos", 0.01)}.get(request.seed, by_seed(seen, request))

    made = sample(kit(write, documents={"The Foggy Dew": copied}), 3)
    assert len(made.kept) == 3
    assert not {copied, near} & {a.text for a in made.kept}
    whys = {a.text: a.why for a in made.rejected}
    assert whys[copied] == "a copy: 0.00 from 'The Foggy Dew'"
    assert whys[near] == "a copy: 0.25 from 'The Foggy Dew'"
    assert made.copy_share == pytest.approx(2 / 12)
    assert all(a.distance >= 0.4 for a in made.kept)


def test_an_invalid_candidate_is_dropped_with_its_fault(kit):
    made = sample(kit(lambda seen, r: ("K:c\nabc|]", "eos") if r.seed % 4 == 0 else by_seed(seen, r)), 2)
    bad = [a for a in made.rejected if not a.valid]
    assert len(bad) == 2
    assert bad[0].why == "not valid: line 2, column 1: the bar 'abc|' is not full"
    assert made.valid_share == pytest.approx(6 / 8)


def test_the_dull_comes_last_although_it_is_the_likeliest(kit):
    dull = "K:c\naaaa|aaaa|aaaa|aaaa|]"

    def write(seen, request):
        return (dull, "eos", 0.01) if request.seed == 0 else by_seed(seen, request)

    made = sample(kit(write, usual=Usual(REAL, logprob_per_byte=(-1.0, -0.2))), 3)
    assert dull not in {a.text for a in made.kept}
    assert dull in {a.text for a in sample(kit(write), 3).kept}  # without the yardstick it would have been first


def test_no_two_kept_pieces_are_nearer_to_each_other_than_a_copy(kit):
    twins = {0: "K:c\nabcd|efgh|ijkl|mnop|]", 1: "K:c\nabcd|efgh|ijkl|zzzz|]"}
    write = lambda seen, r: (twins[r.seed], "eos", 0.1) if r.seed in twins else by_seed(seen, r)  # noqa: E731
    made = sample(kit(write), 3)
    assert made.kept[0].text == twins[0]
    assert next(a.why for a in made.rejected if a.text == twins[1]) == "like another: 0.25 from the kept piece 1"


def test_more_are_drawn_when_too_few_are_good_and_then_fewer_come_and_it_is_said(kit):
    mostly_bad = lambda seen, r: by_seed(seen, r) if r.seed % 8 == 0 else (f"K:c\n{'ab' * (r.seed % 8 + 3)}|]", "eos")  # noqa: E731
    made = sample(kit(mostly_bad), 3)
    assert len(made.kept) == 3
    assert made.drawn > 12
    none = sample(kit(lambda seen, r: (f"bad {r.seed}", "eos")), 3)
    assert none.kept == []
    assert none.drawn == 48
    assert none.notes == ["0 of the 3 asked for: 48 candidates gave no more, and 100% of them were not valid"]


class Flawed(Bars):
    """A medium in which a piece with an `a` in it can be used, but has a flaw."""

    def check(self, text):
        return super().check(text) or [Problem(1, i + 1, "an a", "another letter") for i, c in enumerate(text) if c == "a"][:1]

    def syntax(self, text):
        return super().check(text)


def test_a_flawed_piece_is_kept_only_where_no_more_may_be_drawn(kit):
    k = dataclasses.replace(kit(candidates=4, most_candidates=40), medium=Flawed())
    whole = sample(k, 3)
    assert all("a" not in a.text.removeprefix("K:c") for a in whole.kept)
    assert whole.valid_share == 1.0
    short = sample(dataclasses.replace(kit(candidates=1, most_candidates=1), medium=Flawed()), 3)
    assert len(short.kept) == 3
    flawed = [a for a in short.kept if "a" in a.text]
    assert flawed
    assert all(a.valid and a.problems and "though not without a flaw: line 1" in a.why for a in flawed)
    assert [len(a.problems) for a in short.kept] == sorted(len(a.problems) for a in short.kept)


def test_drawing_stops_when_told_to(kit):
    made = sample(kit(lambda seen, r: ("bad", "eos")), 3, stop=lambda: True)
    assert len(made.rejected) == 12


def test_every_candidate_begins_with_the_prompt(kit):
    made = sample(kit(), 2, prompt="K:d\nabcd|")
    assert all(a.text.startswith("K:d\nabcd|") and a.prompt == "K:d\nabcd|" for a in (*made.kept, *made.rejected))


def test_a_prompt_that_begins_no_valid_piece_is_refused_by_name(kit):
    with pytest.raises(DataError) as e:
        sample(kit(), 2, prompt="K:h\n")
    assert str(e.value) == (
        "--prompt: no valid tune begins with 'K:h\\n': line 1, column 1: no key 'K:h' (begin with K: and a letter)\n"
        "  give the first characters of a tune as `cupola data` shows it"
    )


def test_a_prompt_is_not_blamed_for_what_the_model_wrote(kit):
    made = sample(kit(lambda seen, r: (f"abc{r.seed}|]", "eos")), 2, prompt="K:c\n")
    assert made.kept == []


def test_pins_are_kept_to(kit):
    long = lambda seen, r: ("K:c\n" + bars(random.Random(r.seed), 3 + r.seed % 4) + "]", "eos")  # noqa: E731
    made = sample(kit(long), 2, pins=Pins(least=4, most=5))
    assert {a.text.count("|") for a in made.kept} <= {4, 5}
    assert {a.why for a in made.rejected if a.text.count("|") == 3} == {"too short: 3 bars of at least 4"}
    assert {a.why for a in made.rejected if a.text.count("|") == 6} == {"too long: 6 bars of at most 5"}
    assert made.kept[0].pins == {"least": 4, "most": 5}


def test_a_piece_longer_than_the_window_is_gone_on_with_from_its_head_and_end(kit):
    whole = "K:c\n" + bars(random.Random(7), 30) + "]"

    def write(seen, request):
        end = seen.removeprefix("<bos>")[-12:]
        return whole[whole.index(end) + len(end) :], "eos"

    k = kit(write, window=64, candidates=1)
    made = sample(k, 1)
    assert made.kept[0].text == whole
    assert len(k.engine.asked) > 1
    later = spelled(k.engine.asked[1].prompt_ids)
    assert later.startswith("<bos>K:c\n")
    assert all(len(r.prompt_ids) + r.max_new_tokens <= 64 for r in k.engine.asked)


def test_what_does_not_end_is_cut_to_whole_units(kit):
    endless = lambda seen, r: (bars(random.Random(len(seen)), 100) if "K:" in seen else "K:c\n" + bars(random.Random(1), 99), "length")  # noqa: E731
    made = sample(kit(endless, window=64, candidates=1, most_candidates=1, most_tokens=100), 1)
    assert made.rejected[0].text.endswith("|")


def test_candidates_share_the_cost_by_their_tokens_and_it_adds_up_to_what_was_spent(kit):
    k = kit(lambda seen, r: ("K:c\n" + bars(random.Random(r.seed), 1 + r.seed) + "]", "eos"))
    made = sample(k, 2)
    every = [*made.kept, *made.rejected]
    assert sum(a.usd for a in every) == pytest.approx(made.spent.usd)
    assert k.book.totals().by_kind["candidates"].usd == pytest.approx(made.spent.usd, abs=2e-9)
    by_length = sorted(every, key=lambda a: len(a.text))
    assert by_length[0].usd < by_length[-1].usd
    assert all(a.joules == pytest.approx(10 * a.seconds) for a in every)


def test_the_files_of_kept_pieces_are_written_and_named_in_the_ledger(kit, tmp_path):
    k = kit()
    made = sample(k, 2, out=tmp_path / "out 🎵")
    assert [a.files for a in made.kept] == [["tune-01.bars"], ["tune-02.bars"]]
    assert (tmp_path / "out 🎵" / "tune-01.bars").read_text() == made.kept[0].text
    assert k.book.artefacts(kept=True)[0].files == ["tune-01.bars"]
    assert "page" in k.book.totals().by_kind


def test_a_folder_that_cannot_be_written_loses_no_candidate(kit, tmp_path):
    (tmp_path / "out").write_text("a file")
    k = kit()
    with pytest.raises(MachineError, match=r"out: cannot be written: File exists\n  give a folder that you may write to"):
        sample(k, 2, out=tmp_path / "out")
    assert len(k.book.artefacts()) == 8


def test_a_second_round_of_pieces_writes_over_none_of_the_first_unless_told_to(kit, tmp_path):
    k = kit()
    first, second = sample(k, 2, out=tmp_path / "out"), sample(k, 2, seed=1, out=tmp_path / "out")
    assert [a.files for a in second.kept] == [["tune-03.bars"], ["tune-04.bars"]]
    assert (tmp_path / "out" / "tune-01.bars").read_text() == first.kept[0].text
    assert [a.files for a in sample(k, 2, seed=2, out=tmp_path / "out", replace=True).kept] == [["tune-01.bars"], ["tune-02.bars"]]


def test_what_was_kept_before_stays_kept_when_another_run_draws_it_and_passes_it_over(kit):
    k = kit()
    before = sample(k, 3)
    again = ComposeConfig(candidates=12)
    later = sample(dataclasses.replace(k, run=k.book.start_run("sample", "again"), config=again), 1)
    assert {a.id for a in before.kept} <= {a.id for a in (*later.kept, *later.rejected)}
    assert {a.id for a in k.book.artefacts(kept=True)} == {a.id for a in before.kept}


def test_a_piece_that_was_kept_is_not_thrown_away_by_a_repainting_that_changes_nothing(kit):
    k = kit(lambda seen, r: ("cccc|dddd", "eos") if "<mid>" in seen else (PIECE, "eos"))
    assert sample(k, 1).kept[0].text == PIECE
    repaint(k, PIECE, 3, 4)
    assert [a.text for a in k.book.artefacts(kept=True)] == [PIECE]


def test_a_piece_of_unknown_likelihood_stands_in_the_middle(kit):
    nats = {0: 0.1, 1: math.nan, 2: 0.9}
    k = kit()
    candidates = [Candidate(f"K:c\n{c * 4}|]", i, drawn="x", logprob=-nats[i], ended=True) for i, c in enumerate("abc")]
    candidates[1].logprob = None
    assert [c.seed for c in choose(k, candidates, 3, apart=0.0)] == [0, 1, 2]


def test_no_pieces_is_not_a_number_of_pieces(kit):
    with pytest.raises(ConfigError, match=r"-n: 0 pieces\n  ask for one or more"):
        sample(kit(), 0)


def test_what_is_usual_comes_from_held_out_documents_and_from_few_of_them_nothing_does():
    documents = [Document("K:c\n" + bars(random.Random(i), i) + "]", group=str(i), path=str(i)) for i in range(1, 22)]
    score = SimpleNamespace(per_document_bits=np.arange(1, 22) * 10.0, per_document_bytes=np.full(21, 10))
    usual = Usual.of(Bars(), documents, REAL, score)
    assert usual.units == (2, 20)
    assert usual.logprob_per_byte == pytest.approx((-20 * math.log(2), -2 * math.log(2)))
    few = Usual.of(Bars(), documents[:9], REAL)
    assert few.units is None
    assert few.logprob_per_byte is None


def test_real_pieces_length_is_a_yardstick_too(kit):
    write = lambda seen, r: ("K:c\nabcd|]", "eos", 0.01) if r.seed == 0 else by_seed(seen, r)  # noqa: E731
    made = sample(kit(write, usual=Usual(REAL, units=(3, 9))), 3)
    assert "K:c\nabcd|]" not in {a.text for a in made.kept}


# --- repaint ------------------------------------------------------------------------------------------------------------------------


def fill_by_seed(seen, request):
    """As many bars as were there, for the gap between <pre> and <suf>; the closing bar line is in the suffix."""
    rng = random.Random(request.seed)
    return bars(rng, 2)[:-1], "eos", rng.uniform(0.3, 0.9)


def test_repaint_changes_the_range_and_nothing_else(kit):
    k = kit(fill_by_seed)
    made = repaint(k, PIECE, 3, 4)
    (piece,) = made.kept
    assert re.fullmatch(r"K:c\naaaa\|bbbb\|[a-p]{4}\|[a-p]{4}\|eeee\|ffff\|gggg\|hhhh\|\]", piece.text)
    assert piece.text != PIECE
    assert spelled(k.engine.asked[0].prompt_ids) == "<bos><pre>K:c\naaaa|bbbb|<suf>|eeee|ffff|gggg|hhhh|]<mid>"
    assert piece.parent == ledger.artefact_id(PIECE)
    assert piece.pins == {"do": "repaint", "first": 3, "last": 4}
    assert len(made.rejected) == 7


def test_a_filling_with_as_many_bars_comes_before_a_likelier_one_with_more(kit):
    made = repaint(kit(lambda seen, r: ("qqqq|rrrr|ssss", "eos", 0.01) if r.seed == 0 else fill_by_seed(seen, r)), PIECE, 3, 4)
    assert made.kept[0].text.count("|") == PIECE.count("|")


def test_a_filling_that_does_not_fit_or_does_not_end_or_changes_nothing_is_never_kept(kit):
    answers = {0: ("abc", "eos"), 1: ("abcd|" * 40, "eos"), 2: ("cccc|dddd", "eos")}
    made = repaint(kit(lambda seen, r: answers.get(r.seed % 1_000_003 % 8, ("x1", "eos"))), PIECE, 3, 4)
    assert made.kept == []
    whys = " / ".join(sorted({a.why for a in made.rejected}))
    assert "unchanged: the same as before" in whys
    assert "unfinished: the filling did not end within" in whys or "not valid: " in whys
    assert made.notes[0].startswith("0 of the 1 asked for: 8 candidates gave no more")


class Grid(Bars):
    """Bars as rows of a picture: one cell of each is a region, and a gap is filled by letters alone."""

    def region(self, text, rows, columns):
        spans = self.spans(text)[rows[0] - 1 : rows[1]]
        return text, [(start + columns[0] - 1, start + columns[1]) for start, _ in spans]

    def filling(self, text, start, end):
        return f"root ::= [a-z]{{{end - start}}}"

    def head(self, label):
        return f"K:{label}\n"


def test_a_region_is_made_anew_row_by_row_and_the_cells_beside_it_stay(kit):
    k = dataclasses.replace(kit(lambda seen, r: ("xy", "eos") if r.seed % 2 else ("zw", "eos")), medium=Grid())
    (piece,) = repaint(k, PIECE, 3, 4, columns=(2, 3)).kept
    assert re.fullmatch(r"K:c\naaaa\|bbbb\|c(xy|zw)c\|d(xy|zw)d\|eeee\|ffff\|gggg\|hhhh\|\]", piece.text)
    assert {r.grammar for r in k.engine.asked} == {"root ::= [a-z]{2}"}
    assert piece.pins == {"do": "repaint", "first": 3, "last": 4, "columns": [2, 3]}


def test_a_medium_without_columns_refuses_a_region(kit):
    with pytest.raises(DataError, match="--columns: a tune has no columns"):
        repaint(kit(fill_by_seed), PIECE, 3, 4, columns=(1, 2))


def test_a_label_is_the_prompt_that_the_medium_makes_of_it(kit):
    k = dataclasses.replace(kit(), medium=Grid())
    assert sample(k, 1, label="d").kept[0].text.startswith("K:d\n")
    with pytest.raises(ConfigError, match="a label and a prompt"):
        sample(k, 1, label="d", prompt="K:c\n")
    with pytest.raises(ConfigError, match="a tune has no labels"):
        sample(kit(), 1, label="d")


def test_cross_begins_as_one_piece_and_ends_as_the_other(kit):
    other = PIECE.translate(str.maketrans("abcdefgh", "ijklmnop")).replace("K:k", "K:e")
    k = kit(fill_by_seed)
    (piece,) = cross(k, PIECE, other, share=0.25).kept
    assert re.fullmatch(r"K:c\naaaa\|bbbb\|cccc\|[a-p]{4}\|[a-p]{4}\|nnnn\|oooo\|pppp\|\]", piece.text)
    assert piece.pins["other"] == ledger.artefact_id(other)
    with pytest.raises(DataError, match="2 bars in the shorter of the two"):
        cross(k, PIECE, "K:c\nabcd|abcd|]")
    with pytest.raises(ConfigError, match="a share of 1"):
        cross(k, PIECE, other, share=1)


def test_seconds_are_frames_of_a_sound_and_whole_numbers_everywhere_else():
    sound = SimpleNamespace(seconds_per_unit=0.1, unit="frame")
    assert units_between(sound, 0.2, 0.5) == (3, 5)
    assert units_between(sound, 0, 0.05) == (1, 1)
    assert units_between(Bars(), 3.0, 9.0) == (3, 9)
    with pytest.raises(ConfigError, match=r"bars 1\.5 to 3"):
        units_between(Bars(), 1.5, 3)


def test_columns_are_two_numbers_or_one():
    assert (columns(""), columns("3-9"), columns(" 4 ")) == (None, (3, 9), (4, 4))
    with pytest.raises(ConfigError, match="no columns: 'a-b'"):
        columns("a-b")


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (3, 12, "--from/--to: there is no bar 12: the piece has 8 bars\n  give numbers from 1 to 8"),
        (0, 4, "--from/--to: there is no bar 0: the piece has 8 bars\n  give numbers from 1 to 8"),
        (5, 3, "--from/--to: bars 5 to 3 run backwards: the piece has 8 bars\n  --from 3 --to 5"),
    ],
)
def test_a_range_outside_the_piece_is_told_how_many_bars_there_are(kit, first, last, text):
    with pytest.raises(DataError) as e:
        repaint(kit(), PIECE, first, last)
    assert str(e.value) == text


def test_a_range_too_long_for_the_model_is_refused_before_anything_is_drawn(kit):
    k = kit(window=32)
    with pytest.raises(DataError, match=r"tokens long, more than the 16 that this model can fill at once\n  repaint fewer bars at a time"):
        repaint(k, PIECE, 1, 8)
    assert k.engine.asked == []


def test_a_piece_longer_than_the_window_is_read_around_the_gap_with_its_head_and_it_is_said(kit):
    piece = "K:c\n" + bars(random.Random(5), 60) + "]"
    k = kit(fill_by_seed, window=96)
    made = repaint(k, piece, 30, 31)
    seen = spelled(k.engine.asked[0].prompt_ids)
    gap = Bars().spans(piece)[29][0], Bars().spans(piece)[30][1]
    assert seen.startswith("<bos><pre>K:c\n")
    assert piece[gap[0] - 20 : gap[0]] + "<suf>" + piece[gap[1] : gap[1] + 20] in seen
    assert len(k.engine.asked[0].prompt_ids) + k.engine.asked[0].max_new_tokens <= 96
    assert made.notes[0].startswith("the piece is longer than the model sees at once: it read ")
    assert made.kept[0].text[: gap[0]] == piece[: gap[0]]


def test_a_corpus_piece_may_be_repainted_but_never_back_into_the_corpus(kit):
    near = PIECE.replace("cccc|dddd", "qqqq|rrrr")

    def write(seen, request):
        return ("cccc|dddd", "eos", 0.01) if request.seed % 2 == 0 else fill_by_seed(seen, request)

    made = repaint(kit(write, documents={"Known": PIECE}), near, 3, 4)
    assert made.kept
    assert {a.why for a in made.rejected if a.text == PIECE} == {"a copy: 0.00 from 'Known'"}
    assert made.notes[0] == "the piece itself is near the corpus, 0.25 from 'Known': so is what comes of it"


def test_several_repaintings_can_be_kept_and_their_files_are_numbered(kit, tmp_path):
    made = repaint(kit(fill_by_seed), PIECE, 3, 4, n=2, stem="my tune", out=tmp_path / "out")
    assert [a.files for a in made.kept] == [["my tune-repaint-01.bars"], ["my tune-repaint-02.bars"]]
    assert repaint(kit(fill_by_seed), PIECE, 3, 4, stem="my tune", out=tmp_path / "out").kept[0].files == ["my tune-repaint-03.bars"]


# --- vary and extend ----------------------------------------------------------------------------------------------------------------


def test_vary_fills_about_the_share_and_leaves_the_rest(kit):
    made = vary(kit(fill_by_seed), PIECE, 0.5, seed=3)
    (piece,) = made.kept
    same = sum(a == b for a, b in zip(piece.text.split("|"), PIECE.split("|"), strict=True))
    assert same == 9 - 4
    assert piece.pins["do"] == "vary"


def test_fillings_longer_than_what_was_there_do_not_shift_the_other_gaps(kit):
    (piece,) = vary(kit(lambda seen, r: (bars(random.Random(r.seed), 3)[:-1], "eos")), PIECE, 0.5, seed=3).kept
    assert piece.text.count("|") == 8 + 2
    masked = {i for first, last in piece.pins["masked"] for i in range(first, last + 1)}
    rest = [bar for i, bar in enumerate(PIECE[4:].split("|")[:-1], start=1) if i not in masked]
    assert [bar for bar in piece.text[4:].split("|") if len(set(bar)) == 1 and bar != "]"] == rest


def test_vary_is_the_same_for_a_seed_and_another_for_another(kit):
    texts = [vary(kit(fill_by_seed), PIECE, 0.3, seed=s).kept[0].text for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_gap_that_cannot_be_filled_well_stays_as_it_was(kit):
    write = lambda seen, r: fill_by_seed(seen, r) if "<pre>K:c\n<suf>" in seen else ("x1", "eos")  # noqa: E731
    made = vary(kit(write), PIECE, 1.0)
    assert made.kept[0].text.split("|")[2:] == PIECE.split("|")[2:]
    assert made.kept[0].text != PIECE


@pytest.mark.parametrize("share", [0, -0.1, 1.5, math.nan])
def test_a_share_is_a_part_of_one(kit, share):
    with pytest.raises(ConfigError, match=r"--share: a share of .*\n  give a part of 1: 0.3 masks three units in ten"):
        vary(kit(), PIECE, share)


def test_masks_are_runs_inside_the_piece_and_at_least_one():
    assert mask(1, 0.01, 0) == [(1, 1)]
    for count in (3, 9, 31, 32):
        for seed in range(5):
            runs = mask(count, 0.3, seed)
            units = [u for first, last in runs for u in range(first, last + 1)]
            assert len(set(units)) == len(units)
            assert set(units) <= set(range(1, count + 1))
    assert sum(last - first + 1 for first, last in mask(32, 0.5, 0)) == 16
    assert mask(32, 0.5, 1) == mask(32, 0.5, 1)


def test_extend_takes_off_the_closing_bar_line_and_goes_on_until_the_model_ends_it(kit):
    k = kit(lambda seen, r: ("|" + bars(random.Random(r.seed), 3) + "]", "eos"))
    (piece,) = extend(k, PIECE, 8).kept
    assert spelled(k.engine.asked[0].prompt_ids) == "<bos>" + PIECE[:-2]
    assert piece.text.startswith(PIECE[:-1])
    assert piece.text.count("|") == 11


def test_extend_stops_after_so_many_units_and_closes_the_piece_again(kit):
    (piece,) = extend(kit(lambda seen, r: ("|" + bars(random.Random(r.seed), 6) + "]", "eos")), PIECE, 2).kept
    assert piece.text.count("|") == 10
    assert piece.text.endswith("|]")


def test_a_model_that_ends_at_once_extends_nothing_and_that_is_said(kit):
    made = extend(kit(lambda seen, r: ("|]", "eos")), PIECE, 2)
    assert made.kept == []
    assert {a.why for a in made.rejected} == {"nothing added: it ended at once"}


def test_extending_by_nothing_is_refused(kit):
    with pytest.raises(ConfigError, match=r"--more: 0 bars more\n  ask for one or more"):
        extend(kit(), PIECE, 0)


# --- files ----------------------------------------------------------------------------------------------------------------------------


def test_a_file_without_a_piece_in_it_is_named(tmp_path):
    (tmp_path / "empty 🎵.bars").write_text("\n")
    with pytest.raises(DataError, match=r"empty 🎵.bars: no tune in it\n  give a file with a tune in it \(.bars\)"):
        read_piece(Bars(), tmp_path / "empty 🎵.bars")


def test_the_first_piece_of_a_file_is_taken_and_the_others_are_mentioned(tmp_path):
    (tmp_path / "two.bars").write_text("K:c\nabcd|]\n\nK:d\nefgh|]\n")
    piece, notes = read_piece(Bars(), tmp_path / "two.bars")
    assert piece.text == "K:c\nabcd|]"
    assert notes == ["two.bars holds more than one tune: the first is taken"]


def test_choosing_is_stable_and_leaves_out_what_anything_speaks_against(kit):
    candidates = [Candidate(f"K:c\n{c * 4}|]", i, drawn="x", logprob=-1.0, ended=True) for i, c in enumerate("abcd")]
    candidates[1].why = "not valid: a test"
    assert [c.seed for c in choose(kit(), candidates, 2, apart=0.4)] == [0, 2]
    assert dataclasses.asdict(candidates[0])["units"] == 0


# --- with a real model ----------------------------------------------------------------------------------------------------------------

WORDS = ["abab", "cdcd", "efgh", "ijkl", "mnop", "aabb", "ccdd", "eeff", "gghh", "iijj"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, tokenizer, documents): a model of 50,000 parameters that learnt the toy's tunes, gaps too, in some seconds."""
    import torch

    from cupola import gguf, modeldir
    from cupola.model import build, dial
    from cupola.tokens import PAD, fim

    rng = random.Random(0)
    documents = [
        "K:" + rng.choice("abc") + "\n" + "".join(rng.choice(WORDS) + "|" for _ in range(rng.randint(4, 8))) + "]" for _ in range(400)
    ]
    tokenizer = train_tokenizer(documents, "qwen2", 300)
    config = dial(50_000, tokenizer.vocab_size, 96)
    model = build(config)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model gains nothing by a second, and loses much on a busy machine
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = np.random.default_rng(0)
    for _ in range(250):
        texts = [documents[i] for i in draw.integers(0, len(documents), 32)]
        rows = [fim(tokenizer, t, draw) if i % 2 else tokenizer.document(t) for i, t in enumerate(texts)]
        ids = torch.tensor([(row + [PAD] * 97)[:97] for row in rows])
        logits = model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    folder = tmp_path_factory.mktemp("model") / "toy"
    modeldir.save(folder, config, model.state_dict(), tokenizer)
    return gguf.export(folder), tokenizer, documents


@pytest.mark.slow
def test_a_real_model_samples_repaints_varies_and_extends_and_repeats_itself(kit, trained):
    from cupola.engine import Engine as Llamacpp
    from cupola.evaluate import Originality, yardstick

    path, tokenizer, documents = trained
    known = [Document(t, group=str(i), path=f"{i}.bars", name=f"tune {i}") for i, t in enumerate(documents)]
    index = Originality(Words(), known[:360])
    usual = Usual.of(Words(), known[360:], yardstick(index, known[360:]))
    with Llamacpp(path, tokenizer, slots=2) as engine:
        k = dataclasses.replace(kit(tries=16), medium=Words(), tokenizer=tokenizer, engine=engine, index=index, usual=usual)
        made = sample(k, 4, prompt="K:b\n", seed=5)
        assert made.valid_share > 0.7
        assert len(made.kept) == 4
        assert all(a.distance >= k.copy_below and a.text.startswith("K:b\n") and -3 < a.logprob_per_byte < 0 for a in made.kept)
        assert [a.text for a in sample(k, 4, prompt="K:b\n", seed=5).kept] == [a.text for a in made.kept]
        piece = "K:a\nabab|cdcd|efgh|ijkl|mnop|aabb|]"
        (painted,) = repaint(k, piece, 3, 4).kept
        assert painted.text.startswith("K:a\nabab|cdcd|")
        assert painted.text.endswith("|mnop|aabb|]")
        assert vary(k, piece, 0.5).kept[0].text != piece
        assert extend(k, piece, 2).kept[0].text.startswith(piece[:-1])


class Words(Bars):
    """The toy with what the index asks for."""

    def shingles(self, text):
        return {f"{a} {b}" for a, b in itertools.pairwise(re.findall(r"[a-z]{4}", text))}

    def distance(self, a, b):
        a, b = self.shingles(a), self.shingles(b)
        return 1 - len(a & b) / max(1, min(len(a), len(b)))
