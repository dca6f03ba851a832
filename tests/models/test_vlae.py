"""The lossy auto-encoder: the laws of a latent model, its decoders' densities, what it hears, and how it streams."""

import itertools
import math

import pytest
import torch

from latentscape.core.errors import ConfigError, LikelihoodError, UsageError
from latentscape.core.random import seeded
from latentscape.laws.conditional import check_gradients, check_storage
from latentscape.laws.model import check_codes, check_generation, check_shapes, check_terms
from latentscape.models.pixels import PixelConditional, PixelLawConfig
from latentscape.models.vlae import Vlae, VlaeConfig
from latentscape.nets.ear import Ear, EarConfig

NET = {"residual": 8, "skip": 8, "dilations": (1, 2)}
WAVE = {"kind": "wavenet", "net": NET, "likelihood": {"kind": "categorical", "levels": 16}}
EAR = {"kind": "ear", "frame": 16, "hop": 4, "channels": (8,), "dense": 8}
PIXELS = {"kind": "pixelcnn", "net": {"channels": 6, "first": 3, "blocks": 1}, "heard": 3}
CONV = {"kind": "conv", "channels": (4,), "kernel": 3}
PRIOR = {"kind": "flow", "layers": 2, "width": 8}
KINDS = {
    "wave": {"encoder": EAR, "decoder": WAVE},
    "slow": {"encoder": EAR, "decoder": WAVE, "slow": {"width": 2, "hop": 8, "hidden": 8}},
    "slow-normal": {"encoder": EAR, "decoder": WAVE, "slow": {"width": 2, "hop": 8, "prior": "normal"}},
    "values": {
        "encoder": {**CONV, "dims": 1},
        "decoder": {**WAVE, "reads": "values", "likelihood": {"kind": "gaussian", "scale": "element"}},
    },
    "bits": {"encoder": CONV, "decoder": PIXELS, "writer": CONV},
    "colours": {
        "encoder": CONV, "decoder": {**PIXELS, "likelihood": {"kind": "gaussian", "scale": "element"}}, "writer": CONV,
    },
}  # fmt: skip


def made(kind: str, **settings) -> Vlae:
    shape = {"bits": (1, 4, 5), "colours": (2, 4, 5)}.get(kind, (1, 24))
    config = VlaeConfig.model_validate(
        {"latent": 3, "prior": PRIOR, "condition": ("voice",), **KINDS[kind], **settings}
    )
    return Vlae(config, shape, {"voice": 3})


def data(kind: str, rows: int) -> torch.Tensor:
    if kind == "bits":
        return torch.randint(2, (rows, 1, 4, 5)).float()
    if kind == "colours":
        return torch.randn(rows, 2, 4, 5)
    return torch.randn(rows, 1, 24) if kind == "values" else torch.randint(16, (rows, 1, 24))


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_laws_of_a_latent_model(kind):
    def build():
        return made(kind)

    model, x, context = build().eval(), data(kind, 4), {"voice": torch.tensor([0, 2, -1, 1])}
    model.check(x, context)
    check_shapes(model, x, context)
    check_terms(model, x, context)
    check_codes(model, x, context)
    check_generation(model)
    terms = model.terms(x, context)
    check_gradients(model, sum(terms.rate, start=terms.distortion))
    check_storage(model, build())


def test_the_mass_of_all_images_is_one_and_draws_come_as_often_as_they_say():
    torch.manual_seed(1)
    decoder = PixelConditional(PixelLawConfig.model_validate(PIXELS), (1, 2, 3), (0.0, 1.0)).eval()
    with torch.no_grad():
        decoder.net.head[-1].weight.mul_(15)
        p = decoder(torch.randn(1, 3, 2, 3).expand(64, -1, -1, -1))
        x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).reshape(64, 1, 2, 3)
        mass = p.log_prob(x).exp()
        with seeded("pixels"):
            drawn = p.sample((100,)).reshape(-1, 6)
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
    counts = torch.bincount((drawn @ 2.0 ** torch.arange(5, -1, -1)).long(), minlength=64)
    expected = 6400 * mass
    chi = ((counts - expected).square() / expected)[expected > 5].sum()
    assert chi < 1.6 * (expected > 5).sum()
    assert expected.max() > 500  # far from even


def test_the_slow_prior_is_told_what_came_before():
    """The law of a sequence is the product of its steps' laws, and draws are likely under it."""
    model = made("slow").eval()
    with torch.no_grad():
        model.slow_prior.tell.weight.mul_(20)
        g = torch.randn(1, 3)
        s = torch.randn(1, 2, 3)
        later = s.clone()
        later[:, :, 2] += 3
        a, b = (model.slow_prior(one, g) for one in (s, later))
        assert torch.equal(a.loc, b.loc)
        earlier = s.clone()
        earlier[:, :, 0] += 3
        moved = model.slow_prior(earlier, g).loc - a.loc
        assert float(moved[:, :, 0].abs().max()) == 0 < float(moved[:, :, 1:].abs().min())
        with seeded("slow"):
            own = model.slow(g.expand(500, -1), 3)
        other = torch.roll(own, 1, 0)
        gain = model.slow_prior(own, g.expand(500, -1)).log_prob(own) - torch.distributions.Normal(
            own.mean(0), own.std(0)
        ).log_prob(own).sum((1, 2))
        assert float(gain.mean()) > 0.02  # better than independent steps of the right means and deviations
        assert other.shape == own.shape
        assert torch.equal(model.slow(g, 5, 0.0), model.slow(g, 5, 0.0))


def test_the_rate_of_a_sequence_is_unbiased():
    """Step by step in closed form, or as log q - log p of the draws: the same on average."""
    model = made("slow", prior={"kind": "normal"}).eval()
    with torch.no_grad():
        model.slow_prior.tell.weight.mul_(10)
        x = data("slow", 2)
        with seeded("rate"):
            closed = model.terms(x, samples=2000).rate
            drawn = model.terms(x, samples=2000, exact=False).rate
    for one, other in zip(closed, drawn, strict=True):
        error = (one.var(0) + other.var(0)).sqrt() / 2000**0.5
        assert bool(((one.mean(0) - other.mean(0)).abs() < 4 * error + 1e-3).all())


def test_padding_enters_neither_code_nor_loss():
    model = made("slow").eval()
    x = data("slow", 2)
    padded = x.clone()
    padded[:, :, 12:] = 3
    present = torch.ones(2, 24)
    present[:, 12:] = 0
    with torch.no_grad():
        z = model.encode(x, {"present": present})
        law = model.decode(z, {"present": present})
        assert torch.allclose(law.log_prob(x), law.log_prob(padded))
    ear = Ear(EarConfig.model_validate({**EAR, "frame": 4, "hop": 4, "channels": (8,), "kernel": 1}), 0, 3)
    with torch.no_grad():
        both = [ear((one[:, 0] - 7.5) / 7.5, None, present)[0] for one in (x, padded)]
        assert torch.allclose(*both, atol=1e-6)
        assert not torch.allclose(ear((x[:, 0] - 7.5) / 7.5)[0], both[0])


def test_a_lead_in_enters_the_code_and_not_the_loss():
    """Training must read what an instrument reads when it encodes a whole window."""
    model = made("slow").eval()
    x = data("slow", 2)
    present = torch.ones(2, 24)
    present[:, :8] = 0
    with torch.no_grad():
        for asked, whole in zip(model.encode(x, {"present": present}), model.encode(x), strict=True):
            assert torch.equal(asked, whole)
        z = model.encode(x)
        less = model.decode(z, {"present": present}).log_prob(x) - model.decode(z).log_prob(x)
    assert bool((less > 0).all())


def test_what_is_withheld_is_the_decoder_without_a_code():
    model = made("slow", latent_dropout=0.5, condition=()).train()
    x = data("slow", 1).expand(300, -1, -1)
    model.encoder.whole[-1].weight.data.zero_()
    with torch.no_grad():
        distortion = model.terms(x).distortion[0]
        bare = -model.eval().decode(model.without(1)).log_prob(x[:1])
    withheld = torch.isclose(distortion, bare, rtol=1e-5)
    assert 100 < int(withheld.sum()) < 200
    images = made("bits").eval()
    with torch.no_grad():
        assert images.decode(images.without(2)).log_prob(data("bits", 2)).isfinite().all()


def test_what_a_strength_leads_away_from_is_met_in_training():
    """Nothing is told at all, neither labels nor a code, in half of the rows without a code; also the code alone."""
    model = made("wave", latent_dropout=0.2, condition_dropout=0.1).train()
    told = []
    own = model.decoder.forward

    def spying(given, context):
        told.append((given.isnan().all(1), context["voice"] == -1))
        return own(given, context)

    model.decoder.forward = spying
    x = data("wave", 1).expand(4000, -1, -1)
    with torch.no_grad():
        model.terms(x, {"voice": torch.ones(4000, dtype=torch.int64)})
    ((codeless, nameless),) = told
    for found, share in (
        (codeless, 0.2), (codeless & nameless, 0.11), (codeless & ~nameless, 0.09), (nameless & ~codeless, 0.08),
    ):  # fmt: skip
        assert float(found.float().mean()) == pytest.approx(share, abs=0.02)


def test_past_samples_are_hidden_in_training_alone():
    model = made("wave", decoder={**WAVE, "past_dropout": 0.5}, condition=())
    x, z = data("wave", 4), (torch.zeros(4, 3),)
    with torch.no_grad():
        model.decoder.net.head[1].weight.mul_(20)
        first, second = (model.train().decode(z).log_prob(x) for _ in range(2))
        assert not torch.allclose(first, second)
        first, second = (model.eval().decode(z).log_prob(x) for _ in range(2))
        assert torch.equal(first, second)


def test_a_stream_is_one_wave_whose_code_glides():
    model = made("slow").eval()
    with torch.no_grad():
        model.decoder.net.head[1].weight.mul_(20)
        model.decoder.net.tell.weight.mul_(10)
        z = model.generate(3)
        told = {"voice": torch.tensor([0, 0, 0])}
        wave = torch.cat(list(model.stream(z, 72, told, seed=1)), 1)
        assert wave.shape == (1, 72)
        assert torch.equal(wave, torch.cat(list(model.stream(z, 72, told, seed=1)), 1))
        same = tuple(one[:1].expand(3, *one.shape[1:]) for one in z)
        held = torch.cat(list(model.stream((z[0][:1].expand(3, -1), z[1]), 72, told, seed=1)), 1)
        heard = model.decoder.heard(
            z[0][:1], {"voice": told["voice"][:1], "series": z[1].movedim(0, 1).flatten(1)[None]}, 1
        )
        assert torch.equal(held, model.decoder.draw(72, 1, heard, seed=1)[:, 0])  # a code that stays is one draw
        assert not torch.equal(held, torch.cat(list(model.stream(same, 72, told, seed=1)), 1))
        longer = torch.cat(list(model.stream(z, 300, told, seed=1)), 1)
        assert longer.shape == (1, 300)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"expected \(1, samples\)"):
        Vlae(VlaeConfig.model_validate({"encoder": EAR, "decoder": WAVE}), (513,))
    with pytest.raises(ConfigError, match="makes images"):
        Vlae(VlaeConfig.model_validate({"encoder": CONV, "decoder": PIXELS}), (1, 24))
    with pytest.raises(ConfigError, match="do not divide a window of 24"):
        made("slow", slow={"width": 1, "hop": 16})
    with pytest.raises(ConfigError, match="one value at a time"):
        made("colours", decoder={**PIXELS, "likelihood": {"kind": "gaussian"}})
    for wrong, words in (
        ({"prior": {"kind": "vamp"}}, "a prior on all reals"),
        ({"slow": {"hop": 10}, "encoder": EAR}, "a multiple of encoder.hop"),
        ({"slow": {"hop": 8}, "encoder": {"kind": "mlp"}}, "beside a slow sequence"),
        ({"decoder": PIXELS}, "'conv' or 'mlp' for images"),
        ({"encoder": {**EAR, "hop": 32}}, "a hop within the frame"),
    ):
        with pytest.raises(ValueError, match=words):
            VlaeConfig.model_validate(wrong)
    model = made("slow")
    with pytest.raises(UsageError, match="got 3 layers"):
        model.generate(1, temperature=(1.0, 1.0, 1.0))
    with pytest.raises(LikelihoodError, match="int64 codes"):
        model.check(torch.rand(2, 1, 24))
    with pytest.raises(LikelihoodError, match="label 'voice'"):
        model.check(data("slow", 1), {"voice": torch.tensor([3])})
    assert math.isnan(float(model.without(1)[0][0, 0]))
