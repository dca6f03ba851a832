import json
import math
from dataclasses import dataclass, replace
from functools import cached_property

import pytest
import torch
from identity_model import Identity

from latentscape.core.errors import ConfigError, UsageError
from latentscape.dist.sphere import SpherePrior, on_sphere
from latentscape.geometry.pace import retimed, timed_like
from latentscape.geometry.paths import Circle, Line, Lissajous, Retimed, Sequence, Sphere, Spline
from latentscape.instrument import morphs, walks
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.instrument.perceived import PERCEIVED, decoder, perceived, spectral
from latentscape.instrument.walks import ABOUT, CLOSING, KINDS, THROUGH, carried, paced, recorded
from latentscape.laws.path import check_path, check_record
from latentscape.registry import Window
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig
from latentscape.workshop import travel as travelling
from latentscape.workshop.making import Making

RATE = 8000
LOG = LogStft(LogStftConfig(sample_rate=RATE, window=512, hop=128))


@dataclass(frozen=True)
class Named:
    name: str
    direction: tuple[float, ...]
    deviation: float


class Player(Instrument):
    """An instrument whose axes are told, and whose geodesics are arcs that anyone can check."""

    @cached_property
    def axes(self):
        return (Named("brightness", (0.6, 0.8, 0.0, 0.0, 0.0), 1.5), Named("axis-2", (0.0, 0.0, 1.0, 0.0, 0.0), 2.0))


@pytest.fixture
def codes():
    stream = torch.Generator().manual_seed(4)
    return torch.randn(500, 5, generator=stream) @ torch.randn(5, 5, generator=stream) + torch.arange(5.0)


def player(codes):
    return Player(Identity((codes.shape[1],)), chart=latent_map(codes))


@pytest.fixture
def arcs(monkeypatch):
    """Spheres in place of geodesics."""
    leg = walks.leg
    monkeypatch.setattr(
        walks,
        "leg",
        lambda instrument, kind, a, b, options={}: leg(
            instrument, "sphere" if kind == "geodesic" or kind == "triangle" else kind, a, b, options
        ),
    )


@pytest.mark.parametrize("kind", [*ABOUT, *THROUGH])
def test_default_walks_obey_the_laws_and_stay_near_the_corpus(codes, kind, arcs):
    here = player(codes)
    path = here.walk(kind)
    check_path(path)
    check_record(path)
    y = here.chart.project(path.evaluate(torch.linspace(0, 1, 200)), 5) / here.chart.spread
    assert y.abs().max() < 6 if kind == "spline" else 4.5
    assert kind == "triangle" or kind == "geodesic" or json.loads(json.dumps(path.to_json()))["kind"] == kind


def test_the_circle_is_two_deviations_wide(codes):
    here = player(codes)
    path = here.walk("circle", turns=3)
    assert isinstance(path, Circle)
    assert path.turns == 3
    y = here.chart.project(path.evaluate(torch.linspace(0, 1, 1000)), 5) / here.chart.spread
    torch.testing.assert_close(y[:, :2].norm(dim=1), torch.full((1000,), 2.0))
    assert y[:, 2:].abs().max() < 1e-4


def test_axes_and_options(codes):
    here = player(codes)
    chart = here.chart
    path = here.walk("traversal", axes=[3], reach=1.0)
    offset = torch.zeros(5)
    offset[3] = chart.deviation[3]
    torch.testing.assert_close(
        torch.stack((path.start, path.end)), torch.stack((chart.mean - offset, chart.mean + offset))
    )
    line = here.walk("line", seed=3)
    assert line.start.tolist() in chart.clips.tolist()
    assert line != here.walk("line", seed=4)
    assert player(codes[:1]).walk("line").start.shape == (5,)
    three = here.walk("lissajous", frequencies=(1, 2, 3))
    assert isinstance(three, Lissajous)
    assert len(three.axes) == 3
    told = here.walk("lissajous", axes=[0, "brightness", 3])  # each axis has a frequency of its own, also untold
    assert isinstance(told, Lissajous)
    assert told.frequencies == (4.0, 3.0, 2.0)
    assert here.walk("lissajous").frequencies == (3.0, 2.0)
    with pytest.raises(UsageError, match=r"a lissajous got axes \[0, 1\], expected 3"):
        here.walk("lissajous", axes=[0, 1], frequencies=(1, 2, 3))


@pytest.mark.parametrize("axes", [None, [0, 3], ["brightness", 2]])
def test_a_diagonal_ends_as_far_from_the_middle_as_other_walks_go(codes, axes):
    """All coordinates at two deviations at once would lie where no sound of the corpus is."""
    here = player(codes)
    path, chart = here.walk("diagonal", axes=axes, reach=1.5), here.chart
    for sign, end in ((-1, path.start), (1, path.end)):
        offset = sign * (end - chart.mean)
        assert float((chart.axes @ offset / chart.spread).norm()) == pytest.approx(1.5, rel=1e-4)
        if axes is None:
            y = chart.axes @ offset / chart.spread
            torch.testing.assert_close(y, y[:1].expand(5))
            assert 0 < y[0] < 1.5


def test_a_diagonal_is_not_held_back_by_what_hardly_varies(codes):
    """Codes of five numbers that lie in a plane but for a thousandth: along the axes of the plane it goes all the way."""
    plane = torch.linalg.qr(torch.randn(5, 5))[0]
    y = torch.randn(500, 5) * torch.tensor([2.0, 1.0, 1e-3, 1e-3, 1e-3])
    path, chart = player(y @ plane).walk("diagonal"), player(y @ plane).chart
    reached = chart.axes @ (path.end - chart.mean) / chart.spread
    torch.testing.assert_close(reached[:2].abs(), torch.full((2,), 2**0.5), rtol=1e-3, atol=0)
    assert float(reached[2:].abs().max()) < 1e-3


def test_a_diagonal_of_a_corpus_in_one_place(codes):
    flat = torch.cat((codes[:, :2], codes.new_zeros(500, 3)), 1)
    path, chart = player(flat).walk("diagonal"), player(flat).chart
    assert float((chart.axes[:2] @ (path.end - chart.mean) / chart.spread[:2]).norm()) == pytest.approx(2, rel=1e-4)
    still = player(codes[:1].repeat(10, 1)).walk("diagonal")
    torch.testing.assert_close(still.start, still.end)


def test_named_axes(codes):
    here = player(codes)
    path = here.walk("traversal", axes=["brightness"], reach=1.0)
    expected = here.centre + 1.5 * torch.tensor([0.6, 0.8, 0, 0, 0])
    torch.testing.assert_close(path.end, expected)
    assert here.walk("circle", axes=["brightness", 4]).dim == 5
    with pytest.raises(UsageError, match="'brightnes' is not known; did you mean 'brightness'"):
        here.walk("traversal", axes=["brightnes"])


def test_through_given_points(codes, arcs):
    here = player(codes)
    points = codes[:4]
    spline = here.walk("spline", through=points, closed=True)
    assert isinstance(spline, Spline)
    torch.testing.assert_close(spline.evaluate(spline.times[:4]).float(), points)
    line = here.walk("line", through=points)
    assert isinstance(line, Sequence)
    torch.testing.assert_close(line.evaluate(torch.tensor((0.0, *line.breaks, 1.0))), points, atol=1e-4, rtol=0)
    assert isinstance(here.walk("sphere", through=points[:2]), Sphere)
    triangle = here.walk("triangle", through=points[:3])
    torch.testing.assert_close(triangle.start, points[0])
    torch.testing.assert_close(triangle.end, points[0])
    assert len(triangle.breaks) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "cirkle"}, UsageError, "did you mean 'circle'"),
        ({"kind": "circle", "axes": [0]}, UsageError, "expected 2"),
        ({"kind": "circle", "axes": [0, 5]}, UsageError, "axis 5 does not exist, expected 0 to 4"),
        ({"kind": "line", "axes": [0]}, UsageError, "through points"),
        ({"kind": "spiral", "turn": 3}, ConfigError, "did you mean 'turns'"),
        ({"kind": "circle", "through": torch.zeros(2, 5)}, UsageError, "through no given points; line, sphere"),
        ({"kind": "spline", "through": torch.zeros(1, 5)}, UsageError, "got 1 points, expected 2 or more"),
        ({"kind": "triangle", "through": torch.zeros(4, 5)}, UsageError, "got 4 points, expected 3"),
        (
            {"kind": "line", "through": torch.zeros(1002, 5)},
            ConfigError,
            r"^a line through 1,002 points: .* expected at most 1000",
        ),
    ],
)
def test_what_is_no_walk(codes, arguments, error, message):
    with pytest.raises(error, match=message):
        player(codes).walk(**arguments)


def test_a_plane_needs_two_dimensions():
    with pytest.raises(UsageError, match="needs 2 axes"):
        player(torch.randn(9, 1)).walk("grid")


def sounding(representation=LOG, window=Window(), chart=True):
    model = Identity(window.event_shape(representation.frame_size), scale=1.0, shift=0.0)
    here = Instrument(model, representation, window)
    if chart:
        wave = torch.cat([tone(f, 0.05) for f in (300, 500, 900)] + [0.1 * torch.randn(1, 800)], 1)
        here._chart = latent_map(here.encode(wave))
    return here


def tone(frequency=440.0, seconds=0.3, partials=5):
    time = torch.arange(round(seconds * RATE)) / RATE
    return sum(0.2 / k * torch.sin(2 * torch.pi * k * frequency * time) for k in range(1, partials + 1))[None]


def test_a_recorded_course_is_the_sound_and_can_be_carried():
    here = sounding()
    a, b = (recorded(here, tone(f), name=str(f)) for f in (440.0, 600.0))
    assert a.seconds == 0.3
    assert a.name == "440.0"
    torch.testing.assert_close(
        here.render(a, a.seconds, quality="fast"), here.reconstruct(tone(), quality="fast"), atol=1e-3, rtol=0
    )
    moved = carried(a, b)
    t = torch.linspace(0, 1, len(a.points), dtype=torch.float64)
    torch.testing.assert_close(moved.evaluate(t).mean(0), b.matrix.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moved.evaluate(t).diff(dim=0), a.matrix.diff(dim=0), atol=1e-4, rtol=0)
    check_record(timed_like(moved, b))


@pytest.mark.parametrize(
    ("representation", "window"),
    [
        (LOG, Window()),
        (LOG, Window(length=4, hop=2)),
        (LogStft(LogStftConfig(sample_rate=RATE, window=512, hop=128, channels=2)), Window()),
        (Stft(StftConfig(sample_rate=RATE, window=512, hop=128)), Window()),
        (LogMel(LogMelConfig(sample_rate=RATE, window=512, hop=128, bands=40)), Window()),
        (LogNsgt(LogNsgtConfig(sample_rate=RATE)), Window(length=20, hop=10)),
        (Waveform(WaveformConfig(sample_rate=RATE)), Window(length=512, hop=256)),
    ],
    ids=lambda value: f"{type(value).__name__}{getattr(value, 'channels', '')}{getattr(value, 'length', '')}",
)
def test_what_is_perceived_has_the_right_sign(representation, window):
    def of(wave):
        wave = wave.expand(representation.channels, -1)
        features = representation.analyse(wave[None])
        middle = features[..., features.shape[2] // 3 : 2 * features.shape[2] // 3]
        if window.length > 1:
            middle = middle[..., : window.length]
        return dict(zip(PERCEIVED, spectral(representation, middle)[0].tolist(), strict=True))

    low, high, louder, noise = (
        of(tone(400, partials=3)),
        of(tone(800, partials=3)),
        of(1.99526 * tone(400, partials=3)),
        of(0.2 * torch.randn(1, 2400)),
    )
    assert high["brightness"] - low["brightness"] == pytest.approx(1.0, abs=0.15)
    assert louder["loudness"] - low["loudness"] == pytest.approx(6.0, abs=0.1)
    assert noise["noisiness"] > low["noisiness"] + 8
    assert noise["bandwidth"] > low["bandwidth"]
    if not isinstance(representation, LogMel | LogNsgt):  # whose bands are wider than a pitch
        assert 2 ** low["pitch"] == pytest.approx(400, rel=0.03)
        assert 2 ** high["pitch"] == pytest.approx(800, rel=0.03)


def test_levels_are_those_of_the_measures():
    from latentscape.measure.descriptors import describe

    for wave in (tone(440), tone(2000), 0.1 * torch.randn(1, 2400)):
        expected = float(describe(wave, RATE, window=512, hop=128, pitch="none")["loudness"].median)
        frames = LOG.analyse(wave[None])[0, :, 4:-4].T[..., None]
        assert float(spectral(LOG, frames)[:, 0].median()) == pytest.approx(expected, abs=0.7)


def test_gradients_flow_and_silence_is_defined():
    here = sounding()
    see = perceived(here)
    z = torch.cat((here.chart.clips[:3], torch.full((1, here.dim), -80.0)))
    slope = torch.func.vmap(torch.func.jacfwd(lambda row: see(row[None])[0]))(z)
    assert slope.shape == (4, len(PERCEIVED), here.dim)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(see(z)).all()
    step = 1e-2 * torch.randn(3, here.dim, generator=torch.Generator().manual_seed(1))
    moved = (see(z[:3] + step) - see(z[:3] - step)) / 2
    torch.testing.assert_close(
        moved, (slope[:3] @ step[:, :, None])[:, :, 0], atol=0.02 * float(moved.abs().max()), rtol=0.05
    )
    here.model.train()
    decoder(here)(z)
    assert here.model.training


def test_columns_are_in_deviations_of_the_corpus():
    here = sounding()
    torch.testing.assert_close(
        perceived(here)(here.chart.clips).std(0, correction=0), torch.ones(len(PERCEIVED)), rtol=1e-3, atol=0
    )


def test_what_has_no_spectrum_is_not_perceived(codes):
    for here in (
        player(codes),
        sounding(MuLaw(MuLawConfig(sample_rate=RATE)), Window(length=100, hop=100), chart=False),
        sounding(Waveform(WaveformConfig(sample_rate=RATE)), Window(length=10, hop=10), chart=False),
    ):
        with pytest.raises(UsageError, match="no perceived distance"):
            perceived(here)


@pytest.mark.parametrize("speed", ["latent", "feature", "perceived"])
def test_a_pace_needs_no_model_once_it_is_set(speed):
    here = sounding()
    path = here.walk("line", seed=1)
    steady = paced(here, path, speed)
    check_record(steady)
    assert isinstance(steady, Retimed)
    see = {"latent": lambda z: z, "feature": lambda z: decoder(here)(z).flatten(1), "perceived": perceived(here)}[speed]
    steps = see(steady.evaluate(torch.linspace(0, 1, 201))).diff(dim=0).norm(dim=1)
    before = see(path.evaluate(torch.linspace(0, 1, 201))).diff(dim=0).norm(dim=1)
    assert steps.std() / steps.mean() < (0.15 if speed == "perceived" else 0.01)
    assert speed != "perceived" or steps.std() / steps.mean() < 0.3 * before.std() / before.mean()


def test_speeds_that_there_are():
    here = sounding()
    path = here.walk("line")
    assert paced(here, path, "time") is path
    with pytest.raises(UsageError, match="'percieved' is not known; did you mean 'perceived'"):
        paced(here, path, "percieved")


def test_great_circles_go_about_the_middle_of_the_corpus():
    here = sounding()
    here._chart = replace(here.chart, mean=here.chart.mean + 3)  # far from the origin
    a, b = here.centre + torch.randn(2, here.dim)
    path = here.walk("sphere", through=torch.stack([a, b]))
    assert path == Sphere(a=a, b=b, centre=here.centre)
    t = torch.linspace(0, 1, 9)
    torch.testing.assert_close(morphs.morphed(here, a.expand(9, -1), b.expand(9, -1), "sphere"), path.evaluate(t))
    given = here.walk("sphere", through=torch.stack([a, b]), centre=(0.0,) * here.dim)
    assert given == Sphere(a=a, b=b, centre=torch.zeros(here.dim))


def test_great_circles_stay_on_a_hypersphere():
    """Codes of a corpus seldom have their mean in the middle of the sphere that they lie on."""
    here = sounding()
    here.model.prior = SpherePrior(here.dim)
    here._chart = replace(here.chart, mean=torch.full((here.dim,), 0.5))
    a, b = on_sphere(0.5 + torch.randn(2, 9, here.dim))
    radius = torch.full((9,), math.sqrt(here.dim))
    torch.testing.assert_close(morphs.morphed(here, a, b, "sphere").norm(dim=1), radius)
    path = here.walk("sphere", through=torch.stack([a[0], b[0]]))
    torch.testing.assert_close(path.evaluate(torch.linspace(0, 1, 9)).norm(dim=1), radius)


def test_codes_that_no_path_may_hold_are_refused_in_one_line():
    here = sounding(Waveform(WaveformConfig(sample_rate=RATE)), Window(length=800, hop=800))
    soft = tone(seconds=0.1)
    loud = 1e9 * soft
    up, down = (recorded(here, sign * 9e5 * soft / soft.abs().max()) for sign in (1, -1))
    for make in (
        lambda: recorded(here, loud, name="loud"),
        lambda: morphs.morphed(here, here.encode(loud), here.encode(soft), "line"),
        lambda: carried(up, down),
    ):
        with pytest.raises(ConfigError, match=r"expected (less|greater) than or equal to -?1000000"):
            make()


def test_morphs(monkeypatch):
    here = sounding()
    a, b = (here.encode(tone(f)) for f in (440.0, 600.0))
    line = morphs.morphed(here, a, b, "line")
    t = torch.linspace(0, 1, len(a))[:, None]
    torch.testing.assert_close(line, torch.lerp(a, b, t))
    monkeypatch.setattr(morphs, "leg", lambda instrument, kind, a, b, options={}: walks.leg(instrument, "line", a, b))
    torch.testing.assert_close(morphs.morphed(here, a, b, "geodesic"), line, atol=1e-3, rtol=0)
    half = morphs.morphed(here, a, b, "geodesic", weight=0.5)
    torch.testing.assert_close(half, (a + b) / 2, atol=1e-3, rtol=0)
    for kind in morphs.MORPHS:
        turned = morphs.morphed(here, a, b, kind, speed="perceived")
        torch.testing.assert_close(turned[0], a[0], atol=1e-3, rtol=0)
        torch.testing.assert_close(turned[-1], b[-1], atol=1e-3, rtol=0)
    with pytest.raises(UsageError, match="did you mean 'sphere'"):
        morphs.morphed(here, a, b, "spere")
    torch.testing.assert_close(morphs.morphed(here, a, b, "line", layers=[1]), line)
    assert morphs.coordinates(((2,), (3, 2)), [2]).tolist() == [False] * 2 + [True] * 6
    for layers, message in (([2], "layer 2 does not exist, expected 1"), ([], "no layers")):
        with pytest.raises(UsageError, match=message):
            morphs.morphed(here, a, b, "line", layers=layers)
    wave = here.morph(tone(440.0), tone(600.0), 0.2, kind="sphere", speed="latent", quality="fast")
    assert wave.shape == (1, RATE // 5)


def test_a_geodesic_that_is_straight_is_the_line_at_every_speed(monkeypatch):
    here = sounding()
    a, b = (here.encode(tone(f)) for f in (440.0, 600.0))
    line, eased = (morphs.morphed(here, a, b, "line", speed=speed) for speed in ("time", "perceived"))
    assert (eased - line).abs().max() > 1
    leg = morphs.leg
    for own in (lambda path: path, retimed):
        monkeypatch.setattr(morphs, "leg", lambda space, kind, a, b, *_, own=own: own(leg(space, "line", a, b)))
        torch.testing.assert_close(morphs.morphed(here, a, b, "geodesic", speed="perceived"), eased, atol=0.05, rtol=0)
    course = retimed(leg(here, "line", a.mean(0), b.mean(0)), lambda z: (z[:, :40] / 9).exp())
    monkeypatch.setattr(morphs, "leg", lambda *_: course)
    held = morphs.morphed(here, a, b, "geodesic", speed="perceived", weight=0.3)
    first, second, rest = (codes - codes.mean(0) for codes in (a, b, held))
    w = ((rest - first) * (second - first)).sum() / (second - first).square().sum()
    assert 0.05 < w < 0.95
    torch.testing.assert_close(course.evaluate(w[None])[0], held.mean(0), atol=0.05, rtol=0)


def test_a_geodesic_is_short_for_the_model_that_is_told_the_labels(codes, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        "latentscape.instrument.geodesics.geodesic",
        lambda space, a, b, **options: told.append(options) or Line(a=a.tolist(), b=b.tolist()),
    )
    morphs.morphed(player(codes), codes[:4], codes[4:8], "geodesic", labels={"pitch": 60})
    making = Making(labels={"pitch": "60"})
    for kind in ("geodesic", "triangle", "line"):
        travelling._kind(tmp_path, kind, player(codes), LOG, travelling.Way(), making)
    assert told == [{"labels": {"pitch": 60}}] + 4 * [{"labels": {"pitch": "60"}}]


@pytest.mark.parametrize("kind", CLOSING)
def test_what_can_close_does(codes, kind, arcs):
    instrument = player(codes)
    path = instrument.walk(kind, closed=True)
    torch.testing.assert_close(path.end, path.start, atol=1e-5, rtol=1e-4)
    if kind in THROUGH:
        points = codes[:3]
        path = instrument.walk(kind, through=points, closed=True)
        torch.testing.assert_close(path.end, path.start, atol=1e-5, rtol=1e-4)
        passed = path.evaluate(torch.linspace(0, 1, 3001))
        assert max(float((passed - point).norm(dim=1).min()) for point in points) < 0.02


@pytest.mark.parametrize("kind", sorted({*KINDS} - {*CLOSING}))
def test_what_cannot_close_says_so(codes, kind):
    with pytest.raises(UsageError, match=f"a {kind} does not end where it begins; circle, "):
        player(codes).walk(kind, closed=True)


def test_half_a_circle_does_not_close(codes):
    with pytest.raises(UsageError, match=r"circle ends .* from where it begins"):
        player(codes).walk("circle", closed=True, turns=0.5)
