"""Use of a code: worth nothing where nobody listens, as much as the other item differs where one does."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from latentscape.core.errors import DataError
from latentscape.measure.portraits import explained, learn, portrait, studied
from latentscape.measure.use import condition_use, costs, derangement, latent_use
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.model import LatentModel, Layer, Model, Terms


class Line(LatentModel):
    """x = gain z + noise, q the exact posterior of N(0, 1) codes; ``config.latent_dropout`` says it can do without."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.event_shape, self.latent_shapes = (2,), ((2,),)
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.config = AutoencoderConfig()

    def infer(self, x, context={}, *, samples=1, mean=False):
        precision = 1 + self.gain**2
        q = Independent(Normal(self.gain * x / precision, precision**-0.5 * torch.ones_like(x)), 1)
        return (Layer(q.mean[None] if mean else q.rsample((samples,)), q, Independent(Normal(torch.zeros(2), 1.0), 1)),)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        return (torch.randn(n, 2),)

    def decode(self, z, context={}):
        return Independent(Normal(self.gain * z[0].nan_to_num(0.0), 1.0), 1)


def data(model, n=4000):
    torch.manual_seed(0)
    x = model.gain.item() * torch.randn(n, 2) + torch.randn(n, 2)
    return [(x[:1500], {}), (x[1500:], {})]


@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_the_numbers_are_those_of_a_line_of_known_gain(gain):
    """Closed forms: D = (1 + ln 2 pi + g^2 / (1 + g^2) - 1)/2 ..., shuffled by g^2 (1 + ...) more, in bits."""
    model = Line(gain)
    found = {name: number.value for name, number in latent_use(model, data(model)).items()}
    variance = 1 + gain**2
    posterior = gain**2 / variance  # of g z about its mean, given x
    residual = (1 / variance**2) * variance  # of x - g E z
    own = 0.5 * (math.log(2 * math.pi) + residual + posterior)
    rate = 0.5 * math.log(variance)
    other = 0.5 * (math.log(2 * math.pi) + variance + gain**2)
    bits = math.log(2)
    assert found["distortion_bits"] == pytest.approx(own / bits, abs=0.04)
    assert found["rate_bits"] == pytest.approx(rate / bits, abs=0.04)
    assert found["nll_bits"] == pytest.approx((0.5 * math.log(2 * math.pi * variance) + 0.5) / bits, abs=0.04)
    assert found["shuffle_cost"] == pytest.approx((other - own) / bits, abs=6 * found["shuffle_cost_error"] + 1e-6)
    assert found["active_latents"] == (2 if gain else 0)
    assert "gain" not in found


def test_without_a_code_is_a_twin_or_the_same_decoder():
    model, twin = Line(2.0), Line(0.0)
    batches = data(model)
    found = latent_use(model, batches, without=costs(twin, batches))
    assert found["no_code_bits"].value == pytest.approx(costs(twin, batches).bits(costs(twin, batches).total))
    assert found["gain"].value > found["net_gain"].value > 0  # a unit normal is the wrong law for x
    model.config = type("config", (), {"latent_dropout": 0.1})()
    own = latent_use(model, batches)
    assert own["no_code_bits"].value == pytest.approx(found["no_code_bits"].value, rel=1e-5)


def test_padding_is_not_counted():
    """Values in the context's ``present`` are what a value is counted by."""
    model = Line(1.0)
    x = torch.randn(6, 2)
    half = {"present": torch.tensor([[1.0, 0.0]]).expand(6, -1)}
    whole, part = costs(model, [(x, {})]), costs(model, [(x, half)])
    assert part.bits(part.total) == pytest.approx(2 * whole.bits(whole.total))
    assert part.error(part.total) > 0


def test_nothing_stays_in_its_place():
    for n in (2, 3, 10):
        found = derangement(n, 3)
        assert sorted(found.tolist()) == list(range(n))
        assert not bool((found == torch.arange(n)).any())


def test_an_infinite_rate_leaves_its_numbers_out_and_one_item_is_refused():
    config = AutoencoderConfig.model_validate(
        {"latent": 2, "posterior": "deterministic", "encoder": {"kind": "mlp", "widths": [4]}}
    )
    found = latent_use(Autoencoder(config, (3,)), [(torch.randn(8, 3), {})])
    assert "rate_bits" not in found
    assert "shuffle_cost" in found
    with pytest.raises(DataError, match="at least two"):
        latent_use(Line(1.0), [(torch.randn(1, 2), {})])
    with pytest.raises(DataError, match="at least one item"):
        costs(Line(1.0), [])
    model = Line(1.0)
    with pytest.raises(DataError, match="saw 3 other items"):
        latent_use(model, [(torch.randn(4, 2), {})], without=costs(model, [(torch.randn(3, 2), {})]))


def test_a_label_is_worth_to_an_auto_encoder_what_its_decoder_loses_without():
    """Its rate is infinite whatever it is told, and has no part in a difference."""
    config = AutoencoderConfig.model_validate(
        {"latent": 2, "posterior": "deterministic", "condition": ["tone"], "encoder": {"kind": "mlp", "widths": [4]}}
    )
    model, x, tone = Autoencoder(config, (3,), {"tone": 3}), torch.randn(30, 3), torch.arange(30) % 3
    found = condition_use(model, [(x, {"tone": tone})], ["tone"])
    told, untold = (costs(model, [(x, {"tone": label})]) for label in (tone, torch.full_like(tone, -1)))
    worth = untold.distortion - told.distortion
    assert found["told_tone"].value == pytest.approx(told.bits(worth), rel=1e-6)
    assert found["told_tone_error"].value == pytest.approx(told.error(worth), rel=1e-6)
    assert math.isfinite(found["swap_tone"].value)
    assert math.isfinite(found["swap_tone_error"].value)


class Deaf(Model):
    """What a sound costs is another draw for every telling, the same in all its windows."""

    event_shape = (1,)

    def terms(self, x, context={}, *, samples=1, exact=True):
        chance = torch.randn(1000, generator=torch.Generator().manual_seed(int(context["tone"][0] * 7 + 3)))
        return Terms(chance[None, : len(x)] + x[None, :, 0], (), (), Normal(x, 1.0))


def test_windows_of_one_sound_are_one_observation():
    """Sixteen windows of each of 40 sounds, all of one cost, say no more than one window of each would."""
    x, tone = torch.randn(40, 1), torch.arange(40) % 4
    windows = [(x, {"tone": tone, "place": torch.full((40,), at)}) for at in range(16)]
    found, once = (condition_use(Deaf(), held, ["tone"]) for held in (windows, windows[:1]))
    for name in ("swap_tone", "told_tone", "swap_tone_error", "told_tone_error"):
        assert found[name].value == pytest.approx(once[name].value, rel=1e-5), name


def test_portraits_tell_apart():
    time = torch.arange(4000) / 8000
    rng = np.random.default_rng(0)

    def note(pitch, loudness, silence):
        wave = loudness * torch.sin(2 * math.pi * pitch * time)[None] + 1e-5 * torch.from_numpy(
            rng.normal(size=(1, 4000))
        )
        return torch.nn.functional.pad(wave.float(), (silence, 0))

    low, loud, late = (portrait(note(*how), 8000) for how in ((200, 0.1, 0), (200, 0.5, 0), (200, 0.1, 2000)))
    high = portrait(note(900, 0.1, 0), 8000)
    near, far = max(np.abs(low - other).mean() for other in (loud, late)), np.abs(low - high).mean()
    assert far > 3 * near
    names = [str(rng.choice(["low", "high"])) for _ in range(24)]
    items = np.stack([portrait(note(200 if name == "low" else 900, 0.1, 0), 8000) for name in names])
    for hidden in (0, 8):
        judge = learn(items[:16], names[:16], hidden=hidden)
        assert judge.classes == ("high", "low")
        assert judge.accuracy(items[16:], names[16:]) == 1.0
    with pytest.raises(DataError, match="1 classes"):
        learn(items, ["one"] * 24)


def test_a_judge_that_has_studied_goes_by_the_voice_and_not_by_the_noise_of_the_room():
    """Two voices, one of which was always recorded in a louder room; then the other is heard there."""
    time, generator = torch.arange(4000) / 8000, torch.Generator().manual_seed(0)

    def recording(name, room):
        pitch = (180 if name == "low" else 220) * (1 + 0.1 * float(torch.rand((), generator=generator)))
        voice = sum(torch.sin(2 * math.pi * k * pitch * time) / k for k in range(1, 6))
        return (0.1 * voice + 10 ** (room / 20) * torch.randn(4000, generator=generator))[None]

    names = ["low", "high"] * 20
    train = [recording(name, -75 if name == "low" else -45) for name in names]
    moved = [recording("low", -45) for _ in range(20)]
    quick = learn(np.stack([portrait(wave, 8000) for wave in train]), names)
    items, whose = studied(train, 8000)
    assert items.shape == (120, 320)
    assert np.array_equal(items, studied(train, 8000)[0])
    other = learn(items, [names[at] for at in whose])
    faces = np.stack([portrait(wave, 8000) for wave in moved])
    assert quick.accuracy(faces, ["low"] * 20) < 0.3
    assert other.accuracy(faces, ["low"] * 20) > 0.8


def test_a_number_is_explained_as_far_as_noise_lets_it_and_not_at_all_by_chance():
    rng = np.random.default_rng(0)
    codes, others = rng.normal(size=(2000, 5)) * [1, 2, 3, 4, 100], rng.normal(size=(2000, 5)) * [1, 2, 3, 4, 100]
    noise = rng.normal(size=(2, 2000))
    values, truth = 60 + 3 * codes[:, 0] + 3 * noise[0], 60 + 3 * others[:, 0] + 3 * noise[1]
    assert explained(codes, values, others, truth) == pytest.approx(0.5, abs=0.04)
    assert explained(codes, values, others, rng.permutation(truth)) < 0
    assert math.isnan(explained(codes, values, others, np.full(2000, 60.0)))
