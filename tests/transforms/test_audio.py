"""A sound to features, each step against another implementation of its formula."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import scipy.fft
import scipy.io.wavfile
import scipy.signal

from agent.contract.errors import DocumentInvalid, RequestInvalid
from agent.contract.errors.sounds import SoundRateOther, SoundUnreadable
from agent.contract.manifest import Step, TensorSpec
from agent.transforms.audio import read_wav
from agent.transforms.inputs import prepared
from agent.transforms.pipeline import apply, check_steps
from tests.transforms.sounds import RATE, tone, wav

NOISE = np.random.default_rng(0).uniform(-1, 1, RATE)
FRAMES = Step("spectrogram", {"window": 480, "hop": 320, "fft": 512, "power": 1})
MEL = Step("mel", {"rate": RATE, "bins": 40, "low": 20, "high": 4000})
KEYWORDS = (
    Step("waveform", {"rate": RATE, "length": RATE}),
    FRAMES,
    MEL,
    Step("log", {"offset": 1e-6}),
    Step("dct", {"coefficients": 10, "norm": "none"}),
    Step("scale", {"factor": 1 / math.sqrt(2 * 40), "offset": 0.0}),
    Step("expand", {"axis": -1}),
    Step("expand", {"axis": 0}),
)
"""MFCC as keyword spotting of MLPerf Tiny takes them."""


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_numbers_of_every_width_are_those_that_scipy_reads(width: int, channels: int) -> None:
    file = wav(NOISE[:8000].reshape(-1, channels), width=width)

    found = read_wav(file, rate=RATE, length=RATE)

    stored = scipy.io.wavfile.read(io.BytesIO(file))[1].astype(np.float64)
    silence, full = (128, 128) if width == 1 else (0, 2 ** (8 * {2: 2, 3: 4, 4: 4}[width] - 1))
    expected = (stored.reshape(len(stored), channels) - silence).mean(axis=1) / full
    assert len(found) == 8000 // channels
    assert np.allclose(found, expected, atol=1e-6)


def test_a_short_sound_ends_in_silence_and_a_long_one_is_cut() -> None:
    step = Step("waveform", {"rate": RATE, "length": 100})

    short = apply([step], np.ones(40, np.float32))
    assert short.tolist() == [1.0] * 40 + [0.0] * 60
    assert apply([step], np.arange(200, dtype=np.float32)).tolist() == list(range(100))


@pytest.mark.parametrize("power", [1, 2])
def test_the_spectrogram_is_the_one_of_scipy(power: int) -> None:
    found = apply([Step("spectrogram", {**FRAMES.parameters, "power": power})], NOISE.astype(np.float32))

    frames = [NOISE[k : k + 480].astype(np.float32) for k in range(0, RATE - 480 + 1, 320)]
    window = scipy.signal.get_window("hann", 480)
    expected = np.abs([scipy.fft.rfft(frame * window, 512) for frame in frames]) ** power
    assert found.shape == (49, 257)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_tone_is_loudest_at_its_own_frequency() -> None:
    found = apply([FRAMES], tone(1000).astype(np.float32))

    assert set(found.argmax(axis=1).tolist()) == {round(1000 / RATE * 512)}


def test_mel_bands_are_triangles_by_the_formula() -> None:
    found = apply([MEL], np.eye(257, dtype=np.float32))

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    step = (mel(4000) - mel(20)) / 41
    for place in (0, 1, 30, 64, 128, 256):
        for band in (0, 1, 20, 39):
            top = mel(20) + (band + 1) * step
            expected = max(0.0, 1 - abs(mel(place * RATE / 512) - top) / step)
            assert found[place, band] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("norm", ["none", "ortho"])
def test_the_cosine_transform_is_the_one_of_scipy(norm: str) -> None:
    values = NOISE[: 3 * 40].reshape(3, 40).astype(np.float32)

    found = apply([Step("dct", {"coefficients": 13, "norm": norm})], values)

    expected = scipy.fft.dct(values, type=2, norm=None if norm == "none" else norm, axis=1)[:, :13]
    assert np.allclose(found, expected, atol=1e-4)


def test_a_file_becomes_the_input_of_a_keyword_spotter() -> None:
    spec = TensorSpec(name="features", dtype="float32", shape=(1, 49, 10, 1))

    sample = prepared(wav(tone(440, seconds=0.7)), KEYWORDS, spec)

    assert sample.array.shape == (1, 49, 10, 1)
    assert sample.frame is None
    assert np.isfinite(sample.array).all()


@pytest.mark.bed
@pytest.mark.timeout(600)  # TensorFlow starts
def test_features_are_those_of_tensorflow() -> None:
    import tensorflow as tf

    heard = read_wav(wav(NOISE), rate=RATE, length=RATE)
    found = apply(KEYWORDS[:-2], heard)

    spectrum = tf.abs(tf.signal.stft(heard, 480, 320, 512))
    bands = tf.signal.linear_to_mel_weight_matrix(40, 257, RATE, 20.0, 4000.0)
    logs = tf.math.log(tf.matmul(spectrum, bands) + 1e-6)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(logs)[..., :10].numpy()
    assert np.allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"\xff\xd8\xff", wav(NOISE)[:40], wav(NOISE)[:44]],
    ids=["nothing", "a beginning", "no chunks", "a picture", "half a head", "a head"],
)
def test_what_is_no_whole_wav_file_is_refused(data: bytes) -> None:
    with pytest.raises(SoundUnreadable):
        read_wav(data, rate=RATE, length=RATE)


def test_floating_point_and_another_rate_are_refused() -> None:
    written = io.BytesIO()
    scipy.io.wavfile.write(written, RATE, NOISE.astype(np.float32))

    with pytest.raises(SoundUnreadable, match="unknown format"):
        read_wav(written.getvalue(), rate=RATE, length=RATE)
    with pytest.raises(SoundRateOther, match="44100 samples a second, the model takes 16000"):
        read_wav(wav(NOISE, rate=44_100), rate=RATE, length=RATE)


def test_no_more_is_decoded_than_the_model_hears() -> None:
    assert len(read_wav(wav(NOISE), rate=RATE, length=10)) == 10


@pytest.mark.parametrize(
    "step",
    [
        Step("waveform", {"rate": RATE}),
        Step("waveform", {"rate": 0, "length": 1}),
        Step("waveform", {"rate": RATE, "length": 1 << 30}),
        Step("spectrogram", {"window": 480, "hop": 0, "fft": 512, "power": 1}),
        Step("spectrogram", {"window": 480, "hop": 320, "fft": 256, "power": 1}),
        Step("spectrogram", {"window": 480, "hop": 320, "fft": 512, "power": 3}),
        Step("mel", {"rate": RATE, "bins": 40, "low": 20, "high": 9000}),
        Step("mel", {"rate": RATE, "bins": 40, "low": 400, "high": 300}),
        Step("dct", {"coefficients": 10, "norm": "slaney"}),
    ],
)
def test_steps_that_no_sound_can_take_are_refused(step: Step) -> None:
    with pytest.raises(DocumentInvalid):
        check_steps([step])


def test_shapes_that_a_step_can_t_take_are_refused() -> None:
    with pytest.raises(RequestInvalid, match="window of 480 samples"):
        apply([FRAMES], np.zeros(479, np.float32))
    with pytest.raises(RequestInvalid, match="takes 1 axes"):
        apply([FRAMES], np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(RequestInvalid, match="13 coefficients of 10"):
        apply([Step("dct", {"coefficients": 13, "norm": "none"})], np.zeros((4, 10), np.float32))
