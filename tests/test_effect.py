"""Effects: every number is within half a step, what the grammar admits can be written, what is heard decides how near two are."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import ConfigError, DataError
from cupola.media import audio, sfxr
from cupola.media.base import Options, Pins
from cupola.media.effect import GROUPS, LETTERS, NAMES, WAVES, Effect, nearest_effect

EFFECT = Effect()
COIN = {
    "wave_type": 1,
    "p_base_freq": 0.6,
    "p_env_sustain": 0.05,
    "p_env_punch": 0.4,
    "p_env_decay": 0.3,
    "p_arp_speed": 0.6,
    "p_arp_mod": 0.3,
}


def texts(path):
    return [d.text for d in EFFECT.read(path)]


def save(tmp_path, facts, name="a.json"):
    (tmp_path / name).write_text(json.dumps(facts), "utf-8")
    return tmp_path / name


@st.composite
def effects(draw):
    """Any notation that the grammar admits."""
    words = []
    for group in GROUPS:
        words.append("".join(draw(st.sampled_from(WAVES if name == "wave_type" else LETTERS)) for name in group))
    return "effect\n" + " ".join(words) + "\n"


# --- files ---


def test_an_effect_comes_back_from_its_json_within_half_a_step(tmp_path):
    path = save(tmp_path, [COIN | {"label": "coin", "name": "ding"}, COIN | {"label": "coin"}, COIN | {"label": "coin"}])
    medium = EFFECT.fit([path], Options(), lambda group: False)
    first, *_ = medium.read(path)
    assert (first.name, first.label, first.text.partition("\n")[0]) == ("ding", "coin", "effect coin")
    assert medium.promise(path).figures["half_step"] == 1.0
    wav, listing = medium.write(first.text, tmp_path / "out 🎵")
    assert [d.text.partition("\n")[2] for d in medium.read(listing)] == [first.text.partition("\n")[2]]
    samples, rate = audio.read_wave(wav)
    assert rate == sfxr.RATE
    assert audio.loudness(samples, rate) == pytest.approx(-16, abs=1)
    (both,) = medium.collect([first.text] * 2, tmp_path / "all")
    assert len(json.loads(both.read_text())) == 2


@given(effects())
@settings(deadline=None, max_examples=60)
def test_letters_and_numbers_say_the_same(text):
    assert EFFECT.syntax(text) == []
    assert EFFECT._print(EFFECT.params(text), "") == text
    zero = EFFECT._print(dict.fromkeys(NAMES, 0.0), "")
    assert set(EFFECT.params(zero).values()) == {0.0}


def test_a_file_of_the_first_sfxr_is_read(tmp_path):
    data = struct.pack("<iif", 102, 2, 0.5)
    data += struct.pack("<9f", 0.4, 0, 0.1, 0, 0.2, 0, 0, 0, 0) + struct.pack("<4f", 0, 0.3, 0.2, 0.1) + struct.pack("<?", True)
    data += struct.pack("<10f", 0, 1, 0, 0, 0, 0, 0, 0, 0.5, 0.3)
    (tmp_path / "a.sfs").write_bytes(data)
    (document,) = EFFECT.read(tmp_path / "a.sfs")
    params = EFFECT.params(document.text)
    assert (params["wave_type"], params["p_base_freq"], params["p_env_sustain"], params["p_env_decay"]) == (2, 0.4, 0.3, 0.2)
    (tmp_path / "a.sfs").write_bytes(data[:40])
    with pytest.raises(DataError, match="cut off: 40 bytes"):
        texts(tmp_path / "a.sfs")


@pytest.mark.slow
def test_a_recording_of_an_effect_is_recognised_and_how_nearly_is_said(tmp_path):
    text = EFFECT._print(sfxr.NEUTRAL | COIN, "")
    wav, _ = EFFECT.write(text, tmp_path / "a")
    (document,) = EFFECT.read(wav)
    assert "within" in document.name
    assert EFFECT.promise(wav).figures["distance"] < 2
    samples, rate = audio.read_wave(wav)
    quiet = np.pad(samples * 0.05, (rate // 4, rate // 2)) + 0.01  # recorded faintly, with silence around it and an offset
    audio.write_wave(quiet, rate, tmp_path / "b.wav")
    assert EFFECT.promise(tmp_path / "b.wav").figures["distance"] < 3


@pytest.mark.slow
def test_a_search_ends_for_sounds_that_no_effect_is(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 44_100 * 5 - 10)
    found, far = nearest_effect(audio.write_wave(noise, 44_100, tmp_path / "a.wav"))
    assert far > 4
    assert EFFECT.syntax(EFFECT._print(found, "")) == []


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ("[1, 2]", "effect 1: no effect of sfxr: it has no wave_type"),
        ("{", "not JSON"),
        ('{"wave_type": 7}', "wave_type is 7\n  0 square"),
        ('{"wave_type": 1, "p_duty": "loud"}', "p_duty is 'loud', not a number"),
        ('{"wave_type": 1, "p_duty": NaN}', "p_duty is nan, not a number"),
        ('{"wave_type": 1, "p_duty": 1' + "0" * 400 + "}", "p_duty is 'too large a number'"),
        ('{"wave_type": "1"}', "wave_type is '1', not a number"),
        ('{"wave_type": 1, "p_env_sustian": 0.3}', "sfxr has no number p_env_sustian\n  did you mean p_env_sustain?"),
        ("[]", "no effect in it"),
        ("[" * 100_000, "not JSON"),
        (json.dumps([{"wave_type": 1}] * 20_001), "20,001 effects, more than the 20,000 that are read"),
        ('{"wave_type": 1, "p_env_sustain": 0, "p_env_decay": 0}', "all of its 1 effects are shorter than 20 ms"),
    ],
)
def test_bad_files_say_what_and_where(tmp_path, facts, what):
    (tmp_path / "a 🎵.json").write_text(facts)
    with pytest.raises(DataError) as e:
        texts(tmp_path / "a 🎵.json")
    assert what in str(e.value)
    assert "a 🎵.json" in str(e.value)


def test_words_are_read_as_they_are_written_down(tmp_path):
    bodies = [EFFECT._print(COIN | dict.fromkeys(set(NAMES) - set(COIN), v), "").partition("\n")[2] for v in (0.0, 0.2)]
    (tmp_path / "a.sfx").write_text("effect coin\n" + bodies[0] + "\n" + bodies[1])
    assert texts(tmp_path / "a.sfx") == ["effect coin\n" + body for body in bodies]
    (tmp_path / "b.sfx").write_text("effect coin\n" + bodies[0] + "moon\n")
    with pytest.raises(DataError, match=r"b\.sfx: line 3 is no effect: 1 words"):
        texts(tmp_path / "b.sfx")
    (tmp_path / "c.sfx").write_text("")
    with pytest.raises(DataError, match="no effect in it"):
        texts(tmp_path / "c.sfx")


def test_names_from_a_file_are_one_line_of_plain_text(tmp_path):
    (tmp_path / "a.json").write_text('{"wave_type": 1, "name": "a\\nb \\ud800", "label": {"x": 1}}')
    (document,) = EFFECT.read(tmp_path / "a.json")
    assert (document.name, document.label) == ("a b ?", None)


def test_one_bad_file_does_not_keep_the_others_from_a_corpus(tmp_path):
    files = [save(tmp_path, [1]), save(tmp_path, [COIN | {"label": "Ding!"}] * 3, "b.json")]
    medium = EFFECT.fit(files, Options(), lambda group: False)
    assert medium.labels.known == ("ding",)
    assert Effect().restore(medium.settings()).settings() == medium.settings()
    with pytest.raises(DataError, match="has no wave_type"):
        EFFECT.fit(files[:1], Options(), lambda group: False)
    for damaged in ({}, {"labels": 3}, None):
        with pytest.raises(DataError, match="labels"):
            Effect().restore(damaged)


@pytest.mark.parametrize("level", [np.zeros(9000), np.full(9000, 0.5), np.eye(1, 9000, 4000)[0]])
def test_silence_a_constant_and_a_single_click_are_no_recordings(tmp_path, level):
    audio.write_wave(level, 44_100, tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"a\.wav: silence"):
        texts(tmp_path / "a.wav")


def test_long_and_torn_recordings_are_refused(tmp_path):
    audio.write_wave(np.ones(44_100 * 2) * 0.1, 44_100, tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:9000])
    with pytest.raises(DataError, match=r"a\.wav: cut off: 4,478 samples are there"):
        texts(tmp_path / "a.wav")
    audio.write_wave(np.ones(44_100 * 6) * 0.1, 44_100, tmp_path / "b.wav")
    with pytest.raises(DataError, match=r"6\.0 s long, and an effect has 5 at most"):
        texts(tmp_path / "b.wav")


# --- notation ---


@given(effects())
@settings(deadline=None, max_examples=40)
def test_whatever_the_grammar_admits_can_be_checked_and_written(tmp_path_factory, text):
    EFFECT.check(text)
    wav, _ = EFFECT.write(text, tmp_path_factory.mktemp("a") / "a")
    assert len(audio.read_wave(wav)[0]) >= 0.02 * sfxr.RATE


def test_the_letters_of_the_documented_coin_say_what_the_page_says():
    params = EFFECT.params("effect coin\nsactp Eazz aaHE azazz Yzaaz\n")
    told = {"wave_type": 1, "p_env_sustain": 0.04, "p_env_punch": 0.38, "p_env_decay": 0.3, "p_base_freq": 0.6}
    told |= {"p_arp_mod": 0.32, "p_arp_speed": 0.6, "p_lpf_freq": 1.0}
    assert params == pytest.approx(sfxr.NEUTRAL | told)


def test_numbers_that_nobody_hears_are_no_difference():
    plain = sfxr.NEUTRAL | COIN | {"p_arp_mod": 0.0, "p_arp_speed": 0.0}
    for wave, unheard in [
        (1, {"p_vib_speed": 0.8}),
        (1, {"p_arp_speed": 0.8}),
        (1, {"p_lpf_ramp": -0.4, "p_lpf_resonance": 0.6}),  # of a filter that is open
        (1, {"p_repeat_speed": 0.5}),  # of what does not change
        (1, {"p_arp_mod": 0.4, "p_arp_speed": 0.02}),  # a jump after the end
        (2, {"p_duty": 0.4, "p_duty_ramp": 0.2}),  # of a sine
    ]:
        a, b = plain | {"wave_type": wave}, plain | {"wave_type": wave} | unheard
        assert (sfxr.synth(a) == sfxr.synth(b)).all()
        assert EFFECT.distance(EFFECT._print(a, ""), EFFECT._print(b, "")) == 0.0
        assert EFFECT.shingles(EFFECT._print(a, "")) == EFFECT.shingles(EFFECT._print(b, ""))
    heard = EFFECT._print(plain | {"p_pha_ramp": 0.4}, "")  # a flanger that begins at nothing
    assert EFFECT.distance(EFFECT._print(plain, ""), heard) > 0


def test_variants_are_other_pitches_of_no_distance():
    text = EFFECT._print(sfxr.NEUTRAL | COIN, "")
    variants = list(EFFECT.variants(text))
    assert len(variants) == 4
    assert {EFFECT.distance(text, v) for v in variants} == {0.0}
    assert all(EFFECT.shingles(v) == EFFECT.shingles(text) for v in variants)


def test_two_of_a_kind_are_nearer_than_two_of_different_kinds():
    rng = np.random.default_rng(0)
    drawn = {p: [EFFECT._print(sfxr.draw(p, rng), "") for _ in range(8)] for p in ("coin", "explosion", "laser")}
    same = [EFFECT.distance(a, b) for some in drawn.values() for a in some for b in some if a != b]
    other = [EFFECT.distance(a, b) for a in drawn["coin"] for b in drawn["explosion"]]
    assert np.median(same) < 0.45 < np.median(other)
    assert max(abs(EFFECT.distance(a, b) - EFFECT.distance(b, a)) for a in drawn["coin"] for b in drawn["laser"]) < 1e-12


def test_flaws_are_silence_and_what_is_too_short_or_long():
    assert "ms long" in EFFECT.check(EFFECT._print(sfxr.NEUTRAL | {"p_env_sustain": 0.04, "p_env_decay": 0.04}, ""))[0].what
    assert (
        "s long" in EFFECT.check(EFFECT._print(sfxr.NEUTRAL | {"p_env_sustain": 1.0, "p_env_decay": 1.0, "p_env_attack": 1.0}, ""))[0].what
    )
    assert EFFECT.check(EFFECT._print(sfxr.NEUTRAL | COIN, "")) == []


def test_an_offset_that_stands_is_no_sound():
    click = sfxr.NEUTRAL | {"p_base_freq": 0.0, "p_env_sustain": 0.2, "p_env_decay": 0.0}
    assert EFFECT.check(EFFECT._print(click, ""))[0].what == "an offset rather than a sound"


def test_an_effect_has_five_parts_neither_fewer_nor_more():
    assert "envelope" in EFFECT.grammar(Pins(least=5, most=5))
    for pins in (Pins(least=6), Pins(most=4)):
        with pytest.raises(ConfigError, match="an effect has 5"):
            EFFECT.grammar(pins)
    with pytest.raises(DataError, match="no room for more"):
        EFFECT.room(EFFECT._print(sfxr.NEUTRAL, ""), 1)


def test_nearly_all_drawn_effects_pass_their_checks(tmp_path):
    medium, paths = Effect(), sfxr.corpus(tmp_path, 200, seed=5)
    found = [d.text for path in paths for d in medium.read(path)]
    assert len(found) == 200
    assert sum(bool(medium.check(text)) for text in found) <= 2
    assert not any(medium.syntax(text) for text in found)


def test_prompts_may_end_anywhere_and_impossible_ones_are_refused():
    text = "effect coin\n" + EFFECT._print(sfxr.NEUTRAL | COIN, "").partition("\n")[2]
    for at in range(len(text)):
        assert "root ::=" in EFFECT.grammar(Pins(prompt=text[:at]))
    for prompt in ("tune", "effect moon\n", "effect\nabcdefgh", "effect coin\nz", "effect coin\nq!", "effect coin\nqa Z"):
        with pytest.raises(ConfigError, match="no effect begins with"):
            EFFECT.grammar(Pins(prompt=prompt))
    a, b = EFFECT.spans(text)[1]
    assert EFFECT.filling(text, a, b).startswith("root ::= c{4}\n")
    assert EFFECT.filling(text, *EFFECT.spans(text)[0]).startswith("root ::= envelope\n")
