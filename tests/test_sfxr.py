"""The synthesizer gives jsfxr's samples; its presets give what a corpus can be made of."""

import itertools
import json
import math
import shutil
import subprocess

import numpy as np
import pytest

from cupola.media import sfxr
from cupola.sources import Source, SourceError, fetch

LABELS = ["coin", "laser", "explosion", "power", "hurt", "jump", "blip", "synth", "tone", "click"]

JSFXR = """
const fs = require('fs'), { Params, SoundEffect } = require(process.argv[2] + '/sfxr.js');
const made = JSON.parse(fs.readFileSync(0)).map(p => {
  const q = Object.assign(new Params(), p, {sound_vol: 0.5, sample_rate: 44100, sample_size: 16});
  return new SoundEffect(q).getRawBuffer().normalized;
});
process.stdout.write(JSON.stringify(made));
"""


def theirs(effects, tmp_path):
    """jsfxr's own samples of these effects; skips where there is no node, or no network."""
    if not shutil.which("node"):
        pytest.skip("no node")
    try:
        local = fetch(Source(source="npm:jsfxr@1.4.1", licence="Unlicense"), tmp_path, tmp_path)
    except SourceError as e:
        pytest.skip(str(e))
    (tmp_path / "run.js").write_text(JSFXR)
    command = ["node", str(tmp_path / "run.js"), str(local.root)]
    done = subprocess.run(command, input=json.dumps(effects), capture_output=True, text=True, check=True)
    return [np.array([np.nan if v is None else v for v in made]) for made in json.loads(done.stdout)]


def spread(rng):
    """Numbers that no preset draws: half of them anything at all, of a sound of half a second."""
    p = sfxr.NEUTRAL | {n: rng.random() for n in sfxr.UNSIGNED if rng.random() < 0.5}
    p |= {n: rng.uniform(-1, 1) for n in sfxr.SIGNED if rng.random() < 0.5}
    p |= {"wave_type": int(rng.integers(3)), "p_env_attack": 0.1 * rng.random(), "p_env_sustain": 0.1 + 0.3 * rng.random()}
    return p | {"p_env_decay": 0.3 * rng.random(), "p_freq_limit": 0.3 * rng.random() * int(rng.integers(2))}


@pytest.mark.slow
def test_it_makes_jsfxrs_samples(tmp_path):
    rng = np.random.default_rng(1)
    effects = [sfxr.draw(preset, rng) for preset in sfxr.PRESETS for _ in range(4)] + [spread(rng) for _ in range(40)]
    worst = 0.0
    for params, made in zip(effects, theirs(effects, tmp_path), strict=True):
        ours = sfxr.synth(params)
        assert len(ours) == len(made)
        if params["wave_type"] != sfxr.NOISE and len(ours):
            worst = max(worst, float(np.nanmax(np.abs(ours - made))))
        elif len(ours) > 4000:
            assert np.std(ours) == pytest.approx(np.nanstd(made), rel=0.3)
    assert worst < 1e-6  # measured: 6e-8, a step of float32


# --- against what can be worked out by hand ---


def plainly(p):
    """A square through the same filters and flanger, one subsample after the other, as their first author wrote them down."""
    out, phase, speed, level, edge, echo = [], 0, 0.0, 0.0, 0.0, [0.0] * 1024
    cut, cut_ratio = p["p_lpf_freq"] ** 3 * 0.1, 1 + p["p_lpf_ramp"] * 0.0001
    damp = min(0.8, 5 / (1 + p["p_lpf_resonance"] ** 2 * 20) * (0.01 + cut))
    high, high_ratio = p["p_hpf_freq"] ** 2 * 0.1, 1 + p["p_hpf_ramp"] * 0.0003
    period, _, duty, volume, delay = (column.tolist() for column in sfxr._steps(p))
    for whole, width, loud, late in zip(period, duty, volume, delay, strict=True):
        high, total = min(0.1, max(1e-5, high * high_ratio)), 0.0
        for _ in range(8):
            phase = (phase + 1) % whole
            value = 0.5 if phase / whole < width else -0.5
            cut, before = min(0.1, cut * cut_ratio), level
            speed += (value - level) * cut
            speed -= speed * damp
            level = level + speed if p["p_lpf_freq"] != 1 else value
            edge += level - before
            edge -= edge * high
            echo.append(edge)
            total += edge + echo[-1 - late]
        out.append(total / 8 * loud * (math.exp(0.5) - 1))
    return np.array(out)


@pytest.mark.parametrize(
    "changed",
    [
        {"p_lpf_freq": 0.4, "p_lpf_ramp": 0.7, "p_lpf_resonance": 0.9},
        {"p_lpf_freq": 0.6, "p_lpf_ramp": -0.8, "p_hpf_freq": 0.3, "p_hpf_ramp": 0.5},
        {"p_lpf_freq": 0.3, "p_lpf_resonance": 0.5, "p_hpf_freq": 0.2},
        {"p_hpf_freq": 0.9, "p_hpf_ramp": -1.0, "p_pha_offset": 0.3, "p_pha_ramp": -0.1},
    ],
)
def test_filters_for_whole_blocks_give_what_a_loop_gives(changed):
    p = sfxr.NEUTRAL | {"p_env_sustain": 0.1, "p_env_decay": 0.1, "p_duty": 0.3} | changed
    assert np.abs(sfxr.synth(p) - plainly(p)).max() < 1e-6


def loop_of_periods(p, n):
    """Pitch as the original steps it, one sample after the other."""
    limit = 100 / (p["p_freq_limit"] ** 2 + 0.001)
    again = int((1 - p["p_repeat_speed"]) ** 2 * 20_000 + 32) if p["p_repeat_speed"] else 0
    jump = 1 - p["p_arp_mod"] ** 2 * 0.9 if p["p_arp_mod"] >= 0 else 1 + p["p_arp_mod"] ** 2 * 10
    start = 100 / (p["p_base_freq"] ** 2 + 0.001), 1 - p["p_freq_ramp"] ** 3 * 0.01, int((1 - p["p_arp_speed"]) ** 2 * 20_000 + 32)
    (period, factor, pending), since, out = start, 0, []
    for t in range(n):
        since += 1
        if again and since >= again:
            (period, factor, pending), since = start, 0
        if pending and t >= pending:
            period, pending = period * jump, 0
        factor -= p["p_freq_dramp"] ** 3 * 1e-6
        period *= factor
        if period > limit:
            if p["p_freq_limit"] > 0:
                break
            period = limit
        out.append(period)
    return np.array(out)


@pytest.mark.parametrize("repeat", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("ramp", [-0.6, 0.0, 0.3])
@pytest.mark.parametrize("dramp", [-0.9, 0.9])
@pytest.mark.parametrize("limit", [0.0, 0.1])
def test_pitch_slides_jumps_and_begins_anew_to_the_last_bit(repeat, ramp, dramp, limit):
    for jump, base in itertools.product((-1.0, 0.5), (0.0, 0.4)):
        moving = {"p_repeat_speed": repeat, "p_freq_ramp": ramp, "p_freq_dramp": dramp, "p_freq_limit": limit, "p_base_freq": base}
        p = sfxr.NEUTRAL | moving | {"p_arp_mod": jump, "p_arp_speed": 0.8}
        found, wanted = sfxr._periods(p, 4000), loop_of_periods(p, 4000)
        assert len(found) == len(wanted)
        assert (found == wanted).all()


def test_the_envelope_rises_holds_and_falls():
    p = sfxr.NEUTRAL | {n: math.sqrt(k / 100_000) + 1e-9 for n, k in (("p_env_attack", 4), ("p_env_sustain", 2), ("p_env_decay", 2))}
    assert sfxr._envelope(p | {"p_env_punch": 0.5}).tolist() == [0.25, 0.5, 0.75, 1.0, 2.0, 1.5, 1.0, 1.0, 0.5, 0.0]
    assert sfxr._envelope(p | {"p_env_attack": 0.0, "p_env_sustain": 0.0, "p_env_decay": 0.0}).tolist() == [1.0, 1.0]


def test_the_duty_slides_and_begins_anew_with_the_pitch():
    p = sfxr.NEUTRAL | {"p_duty": 0.2, "p_duty_ramp": 0.8, "p_repeat_speed": 0.9, "p_env_sustain": 0.1}
    duty, again = sfxr._steps(p)[2], sfxr._again(p)
    assert duty[: again - 1] == pytest.approx(0.4 - 4e-5 * np.arange(1, again))
    assert duty[again - 1 : 2 * again - 1] == pytest.approx(0.4 - 4e-5 * np.arange(1, again + 1))
    assert sfxr._steps(p | {"p_duty_ramp": 1.0, "p_repeat_speed": 0.0, "p_env_decay": 0.5})[2][-1] == 0.0


def test_a_sine_has_the_pitch_it_says():
    params = sfxr.NEUTRAL | {"wave_type": sfxr.SINE, "p_base_freq": 0.35173364, "p_env_sustain": 0.6641, "p_env_decay": 0.0}
    found = sfxr.synth(params)
    assert len(found) / sfxr.RATE == pytest.approx(1.0, abs=0.01)
    spectrum = np.abs(np.fft.rfft(found[: sfxr.RATE]))
    assert np.argmax(spectrum) * sfxr.RATE / len(found[: sfxr.RATE]) == pytest.approx(440, abs=3)


def test_the_same_numbers_give_the_same_samples_noise_too():
    params = sfxr.draw("explosion", np.random.default_rng(0))
    assert (sfxr.synth(params) == sfxr.synth(params)).all()
    assert (sfxr.synth(params) != sfxr.synth(params, seed=1)).any()
    assert len(sfxr.synth(sfxr.NEUTRAL | {"p_env_sustain": 0.0, "p_env_decay": 0.0})) < 4


def test_what_would_never_end_ends_after_five_seconds():
    assert len(sfxr.synth(sfxr.NEUTRAL | {"p_env_attack": 1.0, "p_env_sustain": 1.0, "p_env_decay": 1.0})) == 5 * sfxr.RATE
    assert len(sfxr.synth(sfxr.NEUTRAL | {"p_base_freq": 0.2, "p_freq_limit": 0.5})) == 0


def test_seconds_foretells_how_long_it_sounds():
    rng = np.random.default_rng(3)
    for preset in ("coin", "laser", "jump", "blip"):
        for _ in range(6):
            params = sfxr.draw(preset, rng)
            assert len(sfxr.synth(params)) / sfxr.RATE == pytest.approx(sfxr.seconds(params), abs=0.01)


# --- presets ---


@pytest.mark.parametrize("preset", LABELS)
def test_presets_draw_numbers_within_their_sliders(preset):
    rng = np.random.default_rng(7)
    for params in (sfxr.draw(preset, rng) for _ in range(200)):
        assert set(params) == set(sfxr.NEUTRAL)
        assert params["wave_type"] in range(4)
        assert all(0 <= params[n] <= 1 for n in sfxr.UNSIGNED)
        assert all(-1 <= params[n] <= 1 for n in sfxr.SIGNED)


def test_a_corpus_is_the_same_for_the_same_seed_and_has_as_many_as_asked_for(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        sfxr.corpus(tmp_path / name, 97, seed)
    a, b, c = ([path.read_text() for path in sorted((tmp_path / name).iterdir())] for name in "abc")
    assert a == b != c
    assert sorted(path.stem for path in (tmp_path / "a").iterdir()) == sorted(LABELS)
    assert sum(len(json.loads(text)) for text in a) == 97
