import numpy as np
import pytest

from cupola.errors import ConfigError, DataError
from cupola.media import audio, codec
from cupola.media.base import Pins
from cupola.media.codec import Codebooks
from cupola.media.sound import Sound, SoundOptions

RATE = 16_000


def chirp(low: float, high: float, seconds: float = 0.5) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (low * t + (high - low) * t**2 / 2 / seconds)) * np.exp(-3 * t)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(24):
        audio.write_wave(chirp(200 + 60 * i, 1500 - 40 * i), RATE, folder / f"{'door' if i % 2 else 'step'}_{i}.wav")
    return sorted(folder.glob("*.wav"))


@pytest.fixture(scope="module")
def medium(corpus):
    return Sound().fit(corpus, SoundOptions(), lambda group: group.startswith("door_1."))


# --- the codec ---


def test_more_codebooks_come_nearer():
    frames = [codec.spectra(chirp(200 + 80 * i, 900), RATE) for i in range(12)]
    every = np.concatenate(frames)
    errors = [codec.error_of(frames, Codebooks.fit(every, stages, 16)) for stages in (1, 2, 4)]
    assert errors[0] > errors[1] > errors[2]
    books = Codebooks.fit(every, 2, 16)
    assert (Codebooks.fit(every, 2, 16).vectors == books.vectors).all()  # the same every time
    assert (Codebooks.restore(books.plain()).vectors == books.vectors).all()
    with pytest.raises(DataError, match="no codebooks"):
        Codebooks.restore({"shape": [1], "float16": "??"})


def test_what_the_codebooks_hold_is_kept_exactly():
    vectors = np.random.default_rng(0).normal(-40, 20, (40, codec.STACK * codec.BANDS)).astype(np.float16).astype(float)
    books = Codebooks(vectors.astype(np.float16)[None])
    assert (books.encode(vectors)[:, 0] == np.arange(40)).all()
    assert np.abs(books.decode(books.encode(vectors)) - vectors).max() < 1e-6


def test_sound_made_from_spectra_has_those_spectra_and_its_length():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32) * np.linspace(1, 0.05, RATE, dtype=np.float32)
    wanted = codec.spectra(noise, RATE)  # of a pure tone the phases made up leave beats
    heard = codec.sound(wanted)
    assert len(heard) == pytest.approx(RATE, rel=0.03)
    assert (codec.sound(wanted) == heard).all()
    again = codec.spectra(heard, RATE)
    n = min(len(again), len(wanted))
    assert codec.error(wanted[:n], again[:n]) < 7
    assert codec.error(wanted, np.full_like(wanted, -40.0)) > 9


# --- the medium ---


def test_a_sound_is_a_word_a_frame_and_comes_back_as_a_sound(medium, corpus, tmp_path):
    (document,) = medium.read(corpus[0])
    assert document.label == "door"
    assert len(medium.spans(document.text)) == pytest.approx(0.5 / codec.SECONDS, abs=1)
    assert medium.check(document.text) == []
    wav, ogg = medium.write(document.text, tmp_path / "out 🎵")
    samples, rate = audio.read_wave(wav)
    assert audio.loudness(samples, rate) == pytest.approx(-16, abs=1)
    assert ogg.read_bytes()[:4] == b"OggS"
    (again,) = medium.read(wav)
    assert medium.distance(document.text, again.text) < 0.35
    assert medium.title(document.text) == "door, 0.50 s"


def test_the_promise_is_measured_and_worse_for_what_was_kept_apart(medium, corpus):
    apart = [p for p in corpus if p.name.startswith("door_1.")]
    errors = [medium.promise(p).figures["mel_db"] for p in corpus if p not in apart]
    assert np.median(errors) < 6
    assert medium.promise(apart[0]).figures["mel_db"] < 12


def test_codebooks_travel_as_plain_settings(medium, corpus):
    again = Sound().restore(medium.settings())
    assert again.settings() == medium.settings()
    assert [d.text for d in again.read(corpus[3])] == [d.text for d in medium.read(corpus[3])]
    broken = medium.settings() | {"options": {"seconds": 2.0, "stages": 2}}
    with pytest.raises(DataError, match="codebooks of another shape"):
        Sound().restore(broken)


def test_long_recordings_are_cut_and_belong_together(medium, tmp_path):
    path = audio.write_wave(np.tile(chirp(300, 900), 10), RATE, tmp_path / "long.wav")
    found = list(medium.read(path))
    assert len(found) == 3
    assert {d.group for d in found} == {"long.wav"}


@pytest.mark.parametrize(
    ("samples", "what"),
    [(np.zeros(RATE), "silence"), (np.zeros(0), "no samples"), (np.full(RATE, np.nan), "not a number|silence|no samples")],
)
def test_silence_and_nothing_are_refused(medium, tmp_path, samples, what):
    import soundfile

    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=what):
        list(medium.read(tmp_path / "a.wav"))


def test_a_corpus_of_which_everything_is_kept_apart_cannot_be_fitted(corpus):
    with pytest.raises(DataError, match="no sound to fit codebooks on"):
        Sound().fit(corpus, SoundOptions(), lambda group: True)


def test_syntax_and_flaws_are_said(medium):
    assert "not a first line" in medium.syntax("tune\nabcd\n")[0].what
    assert "no frame: 'abc'" in medium.syntax("sound\nabc abcd\n")[0].what
    assert "1 frames" in medium.check("sound\nabcd\n")[0].what
    quiet = Sound()
    assert "silent" in quiet.check("sound\n" + " ".join(["aaaa"] * 8) + "\n")[0].what


def test_distance_is_symmetric_and_grows_with_what_is_different(medium, corpus):
    a, b, c = (next(iter(medium.read(corpus[i]))).text for i in (0, 1, 12))
    assert medium.distance(a, a) == 0
    assert medium.distance(a, b) == medium.distance(b, a)
    assert 0 < medium.distance(a, b) <= 1
    assert medium.distance(a, c) > 0.02
    assert medium.shingles(a)


def test_prompts_may_end_anywhere_and_impossible_ones_are_refused(medium):
    text = "sound door\nabcd efgh ijkl mnop\n"
    for at in range(len(text)):
        assert "root ::=" in medium.grammar(Pins(prompt=text[:at]))
    assert "{9,19}" in medium.grammar(Pins(least=10, most=20))
    for prompt in ("tune", "sound moon\n", "sound\nabcdefg"):
        with pytest.raises(ConfigError, match="no sound begins with"):
            medium.grammar(Pins(prompt=prompt))
    spans = medium.spans(text)
    assert medium.filling(text, spans[1][0], spans[2][1]).startswith('root ::= w (" " w){1}')
