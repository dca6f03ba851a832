"""What a run's page shows of its map and axes, and which factors of its corpus are known."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent / "instrument"))
from test_axes import Knobs, codes

from latentscape.experiment.factors import factor_figures, known_factors
from latentscape.experiment.showcase import axes_section, further_colours, reliefs
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.instrument.neighbourhood import neighbourhood
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig

LOG = LogStft(LogStftConfig(sample_rate=8000, window=256, hop=64))


@pytest.fixture(scope="module")
def player():
    z = codes(60)
    chart = latent_map(z)
    chart = replace(chart, neighbours=neighbourhood(z, chart.project(z)))
    return Instrument(Knobs(), LOG, Window(), {}, chart)


def test_the_ground_is_what_spots_of_the_map_sound_like(player):
    ground = reliefs(player)
    names = [relief.name for relief in ground]
    assert names[0] == "brightness (Hz)"
    assert "loudness (dBFS)" in names
    places = player.chart.places
    for relief in ground:
        assert relief.low[0] < float(places[:, 0].min()) < float(places[:, 0].max()) < relief.high[0]
    # the level of the ground near each dot is that of the dot's own sound: 6 dB a unit of its first knob
    level = ground[names.index("loudness (dBFS)")]
    rows, columns = level.values.shape
    share = (places.numpy() - np.array(level.low)) / (np.array(level.high) - np.array(level.low))
    at = level.values[np.rint(share[:, 1] * (rows - 1)).astype(int), np.rint(share[:, 0] * (columns - 1)).astype(int)]
    from latentscape.instrument.decoded import described

    own = described(player, player.chart.clips)["loudness"]
    assert np.corrcoef(at, own)[0, 1] > 0.7


def test_few_dots_and_images_have_no_ground(player):
    assert reliefs(Instrument(Knobs(), LOG, Window(), {}, latent_map(codes(9)))) == ()
    assert reliefs(Instrument(Knobs(), None, Window(), {}, latent_map(codes(60)))) == ()


def test_colours_are_descriptors_then_labels_that_sort():
    count = 30
    labels = {
        "family": ("a", "b") * 15,
        "midi": tuple(str(40 + k) for k in range(count)),
        "path": tuple(f"file-{k}" for k in range(count)),
        "same": ("x",) * count,
        "taken": ("1", "") * 15,
    }
    unknown = (float("nan"),) * 20 + (60.0,) * 10
    chart = replace(latent_map(codes(count), labels), descriptors={"brightness": (1.0,) * count, "pitch": unknown})
    found = further_colours(chart, "family")
    assert list(found) == ["brightness (Hz)", "midi", "taken"]
    assert found["midi"][:2] == [40.0, 41.0]
    assert found["taken"][:2] == ["1", "?"]


def test_the_axes_are_a_table(player):
    section = axes_section(player)
    names = [row[0] for row in section.items[0].rows]
    assert names == [axis.name for axis in player.axes]
    assert "loudness +" in " ".join(row[2] for row in section.items[0].rows)
    assert len(section.items[1].rows) == len(player.naming.descriptors)


def labels(count=60):
    z = codes(count)
    return z, {
        "midi": tuple(f"{60 + value:.3f}" for value in z[:, 0].tolist()),
        "instrument": tuple("reed" if value > 0 else "bell" for value in z[:, 1].tolist()),
        "family": ("all",) * count,
        "attack": tuple(f"{10 ** (value - 3):.6f}" for value in z[:, 2].tolist()),
        "note": ("C",) * count,
    }


def test_known_factors_are_read_from_labels():
    z, table = labels()
    rows, factors = known_factors(table, 60)
    assert rows == list(range(60))
    assert list(factors) == ["midi", "attack", "instrument"]
    np.testing.assert_allclose(factors["attack"], z[:, 2].numpy() - 3, atol=1e-3)
    holes = {**table, "midi": ("",) * 3 + table["midi"][3:]}
    assert known_factors(holes, 60)[0] == list(range(3, 60))
    rare = {**table, "midi": ("?",) * 30 + table["midi"][30:]}
    assert "midi" not in known_factors(rare, 60)[1]
    assert known_factors({}, 60) == (list(range(60)), {})


def test_figures_of_factors():
    z, table = labels()
    found = factor_figures(latent_map(z, table))
    assert found["known_factors"].value == 3
    assert found["mig"].value > 0.5
    assert found["factor_vae"].value > 0.9
    turned = z @ torch.linalg.qr(torch.randn(3, 3)).Q
    assert factor_figures(latent_map(turned, table))["mig"].value < 0.7 * found["mig"].value
    assert factor_figures(latent_map(z, {"midi": table["midi"]})) == {}
    assert factor_figures(latent_map(z[:9], {name: values[:9] for name, values in table.items()})) == {}
    assert factor_figures(latent_map(torch.zeros(60, 3), table)) == {}
