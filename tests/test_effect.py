"""Effects: the synthesizer is jsfxr's, every number is within half a step, what a grammar admits can be heard."""

import json
import shutil
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola.errors import ConfigError, DataError
from cupola.media import audio, sfxr
from cupola.media.base import Options, Pins
from cupola.media.effect import GROUPS, LETTERS, NAMES, WAVES, Effect
from cupola.sources import Source, SourceError, fetch

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


# --- the synthesizer ---


JSFXR = """
const fs = require('fs'), vm = require('vm');
vm.runInThisContext(fs.readFileSync(process.argv[2] + '/riffwave.js', 'utf8') + fs.readFileSync(process.argv[2] + '/sfxr.js', 'utf8')
  + ';globalThis.Sound = SoundEffect; globalThis.Made = Params;');
const made = JSON.parse(fs.readFileSync(0)).map(p => {
  const q = Object.assign(new Made(), p, {sound_vol: 0.5, sample_rate: 44100, sample_size: 16});
  return new Sound(q).getRawBuffer().normalized;
});
process.stdout.write(JSON.stringify(made));
"""


@pytest.mark.slow
def test_it_makes_jsfxrs_samples(tmp_path):
    if not shutil.which("node"):
        pytest.skip("no node")
    try:
        local = fetch(Source(source="npm:jsfxr@1.4.1", licence="Unlicense"), tmp_path, tmp_path)
    except SourceError as e:
        pytest.skip(str(e))
    rng = np.random.default_rng(1)
    drawn = [sfxr.draw(preset, rng) for preset in sfxr.PRESETS for _ in range(4)]
    (tmp_path / "run.js").write_text(JSFXR)  # from -e it would take itself for a module
    done = subprocess.run(
        ["node", str(tmp_path / "run.js"), str(local.root)], input=json.dumps(drawn), capture_output=True, text=True, check=True
    )
    for params, theirs in zip(drawn, json.loads(done.stdout), strict=True):
        ours, theirs = sfxr.synth(params), np.array([np.nan if v is None else v for v in theirs])
        assert len(ours) == len(theirs)
        if params["wave_type"] != sfxr.NOISE and len(ours):
            assert np.nanmax(np.abs(ours - theirs)) < 1e-5
        elif len(ours) > 4000:
            assert np.std(ours) == pytest.approx(np.nanstd(theirs), rel=0.25)


def test_a_sine_has_the_pitch_it_says():
    params = sfxr.NEUTRAL | {"wave_type": sfxr.SINE, "p_base_freq": 0.35173364, "p_env_sustain": 0.6641, "p_env_decay": 0.0}
    found = sfxr.synth(params)
    assert len(found) / sfxr.RATE == pytest.approx(1.0, abs=0.01)
    spectrum = np.abs(np.fft.rfft(found[: sfxr.RATE]))
    assert np.argmax(spectrum) * sfxr.RATE / len(found[: sfxr.RATE]) == pytest.approx(440, abs=3)


def test_the_same_numbers_give_the_same_samples_noise_too():
    params = sfxr.draw("explosion", np.random.default_rng(0))
    assert (sfxr.synth(params) == sfxr.synth(params)).all()
    assert len(sfxr.synth(sfxr.NEUTRAL | {"p_env_sustain": 0.0, "p_env_decay": 0.0})) < 4


def test_seconds_foretells_how_long_it_sounds():
    rng = np.random.default_rng(3)
    for preset in ("coin", "laser", "jump", "blip"):
        for _ in range(6):
            params = sfxr.draw(preset, rng)
            assert len(sfxr.synth(params)) / sfxr.RATE == pytest.approx(sfxr.seconds(params), abs=0.01)


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
    assert float(document.name.split("within ")[1].split()[0]) < 8
    assert EFFECT.check(document.text) == []


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ("[1, 2]", "effect 1: no effect of sfxr: it has no wave_type"),
        ("{", "not JSON"),
        ('{"wave_type": 7}', "wave_type is 7\n  0 square"),
        ('{"wave_type": 1, "p_duty": "loud"}', "p_duty is 'loud', not a number"),
        ('{"wave_type": 1, "p_duty": NaN}', "p_duty is nan, not a number"),
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


def test_silence_and_long_recordings_are_refused(tmp_path):
    audio.write_wave(np.zeros(9000), 44_100, tmp_path / "a.wav")
    with pytest.raises(DataError, match="silence"):
        texts(tmp_path / "a.wav")
    audio.write_wave(np.ones(44_100 * 6) * 0.1, 44_100, tmp_path / "b.wav")
    with pytest.raises(DataError, match=r"6\.0 s long, and an effect has 5 at most"):
        texts(tmp_path / "b.wav")


# --- notation ---


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


def test_prompts_may_end_anywhere_and_impossible_ones_are_refused():
    text = "effect coin\n" + EFFECT._print(sfxr.NEUTRAL | COIN, "").partition("\n")[2]
    for at in range(len(text)):
        assert "root ::=" in EFFECT.grammar(Pins(prompt=text[:at]))
    for prompt in ("tune", "effect moon\n", "effect\nabcdefgh"):
        with pytest.raises(ConfigError, match="no effect begins with"):
            EFFECT.grammar(Pins(prompt=prompt))
    a, b = EFFECT.spans(text)[1]
    assert EFFECT.filling(text, a, b).startswith("root ::= c{4}\n")
    assert EFFECT.filling(text, *EFFECT.spans(text)[0]).startswith("root ::= envelope\n")
