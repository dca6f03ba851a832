"""Conclusions from made-up cells whose right conclusions are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up import AXES, FAMILIES, TRUTH, cell, numbers, write
from matplotlib.axes import Axes
from scipy.stats import kendalltau, ttest_ind
from scipy.stats import t as student

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.charts import measures_chart
from latentscape.benchmark.findings import (
    Difference,
    Scatter,
    Summary,
    agreement,
    agreements,
    between,
    difference,
    effects,
    improves,
    interaction,
    judge,
    ranking,
    ranks_of,
    recommend,
    scatter,
    summary,
    tau_b,
    within,
)
from latentscape.benchmark.results import Result, load_results
from latentscape.benchmark.tables import axis_table, family_table, head, overview_table, ranking_table, scale_of, shown
from latentscape.benchmark.wording import answer, attribution, change, claims, finding, listed, number
from latentscape.core.errors import DataError, StorageError, UsageError


def results_of(values, *, replicates=(), measure="mse"):
    """Results of one measure, as cells of seeds."""
    entry = {"unit": "", "replicates": list(replicates)}
    return [
        Result.from_json(cell("x", "VAE", seed=s, found={measure: {"value": v, **entry}})) for s, v in enumerate(values)
    ]


def test_reads_what_is_there(tmp_path):
    found = write(tmp_path, failed=("mnist.AE.s1",), missing=("mnist.AE.s2",), ceilings={"frechet": 1.0})
    assert [len(part) for part in (found.planned, found.cells, found.done, found.failed, found.missing)] == [
        14,
        13,
        12,
        1,
        1,
    ]
    assert found.failed[0].error == "the loss was not finite"
    assert found.families() == FAMILIES
    assert [one.seed for one in found.of("AE")] == [0]
    assert found.measures("samples") == ("frechet", "frechet_mixture", "classifier_score")
    assert found.ceilings["mnist"]["frechet"].value == 1.0


def test_a_damaged_record_is_a_failed_cell(tmp_path):
    write(tmp_path)
    (tmp_path / "cells/mnist.VAE.s0/cell.json").write_text("{")
    (tmp_path / "cells/mnist.VAE.s1/cell.json").write_text('{"name": 1}')
    found = load_results(tmp_path)
    assert [one.name for one in found.failed] == ["mnist.VAE.s0", "mnist.VAE.s1"]
    assert "damaged" in found.failed[0].error
    with pytest.raises(DataError, match="damaged"):
        Result.from_json({"name": "x"})


def test_no_benchmark_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no benchmark"):
        load_results(tmp_path)
    (tmp_path / "grid.json").write_text('{"title": "t", "suite": "images", "sources": [], "families": {}, "cells": []}')
    with pytest.raises(StorageError, match="damaged"):
        load_results(tmp_path)


def test_mean_and_deviation_over_seeds():
    found = summary(results_of([1.0, 2.0, 6.0]), "mse", Scatter(7.0, 2, True))
    assert found is not None
    assert found.mean == 3.0
    assert found.sd == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert found.error == pytest.approx(math.sqrt(7 / 3))
    assert summary(results_of([4.0]), "mse") == Summary(4.0, None, 1)
    assert summary([], "mse") is None
    assert summary(results_of([0.1, 0.1, 0.1]), "mse") == Summary(pytest.approx(0.1), 0.0, 3)


def test_bars_of_three_seeds_hold_95_percent(tmp_path, monkeypatch):
    found = write(tmp_path)
    cells = found.of("VAE")
    noise = scatter(found, "mnist", "VAE", "mse")
    draws = np.random.default_rng(0).standard_normal((4000, 3))
    half = [summary(results_of(row), "mse", Scatter(row.var(ddof=1), 2, True)).half for row in draws]
    assert np.mean(np.abs(draws.mean(1)) <= half) == pytest.approx(0.95, abs=0.01)  # 1.96 errors hold 81 %
    bars = []
    monkeypatch.setattr(Axes, "errorbar", lambda axes, x, y, xerr, **style: bars.append((x, xerr)))
    measures_chart(found, "mnist", ["mse"])
    mine = summary(cells, "mse", noise)
    assert (mine.mean, mine.half) in bars
    assert mine.half > 2.5 * mine.error


def test_without_replicates_it_is_welchs_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 4), rng.normal(1, 3, 6)
    noise = (Scatter(float(a.var(ddof=1)), 3, True), Scatter(float(b.var(ddof=1)), 5, True))
    found = difference(results_of(a), results_of(b), "mse", noise)
    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert found.half is not None
    assert (found.value - found.half, found.value + found.half) == (pytest.approx(low), pytest.approx(high))


def test_replicates_are_paired():
    noise = np.random.default_rng(0).standard_normal(200)
    one = results_of([1.0], replicates=1 + noise)
    two = results_of([0.9], replicates=0.9 + noise)
    found = difference(one, two, "mse", (None, None))
    assert found is not None
    assert found.half == pytest.approx(0, abs=1e-12)  # what the items do to both cancels
    assert not found.seeds
    other = results_of([0.9], replicates=0.9 + np.random.default_rng(1).standard_normal(200))
    apart = difference(one, other, "mse", (None, None))
    assert apart is not None
    assert apart.half == pytest.approx(1.97 * math.sqrt(2), rel=0.1)


def test_a_level_shares_its_familys_scatter():
    one = Scatter(0.04, 2, True)
    found = difference(results_of([1.0]), results_of([1.0, 1.2, 0.8]), "mse", (one, one))
    assert found is not None
    assert found.half == pytest.approx(4.3027 * math.sqrt(0.04 * (1 + 1 / 3)), rel=1e-3)


def test_nothing_is_known_without_seeds_and_replicates(tmp_path):
    found = difference(results_of([1.0]), results_of([2.0]), "mse", (None, None))
    assert found == Difference(-1.0, None, 1.0, 2.0, False)
    assert found.sign == 0
    assert judge("lower", found) == "not known"
    assert difference(results_of([1.0]), results_of([2.0]), "frechet", (None, None)) is None


def test_scatter_is_borrowed(tmp_path):
    found = write(tmp_path, sources=("mnist", "fashion-mnist"), failed=("mnist.AE.s1", "mnist.AE.s2"))
    own = scatter(found, "mnist", "VAE", "frechet")
    assert own is not None
    assert own.own
    assert own.freedom == 2
    elsewhere = scatter(found, "fashion-mnist", "VAE", "frechet")
    assert elsewhere is not None
    assert (elsewhere.variance, elsewhere.own) == (own.variance, False)
    pooled = scatter(found, "mnist", "AE", "frechet")
    each = [scatter(found, "mnist", family, "frechet") for family in ("VAE", "WAE-MMD", "beta-VAE")]
    assert pooled == Scatter(pytest.approx(np.mean([one.variance for one in each if one])), 6, False)
    alone = write(tmp_path / "alone", seeds=1)
    assert scatter(alone, "mnist", "AE", "frechet") is None


def test_two_families_that_borrow_one_scatter_have_its_degrees_once(tmp_path):
    alone = tuple(f"mnist.{family}.s{seed}" for family in ("AE", "beta-VAE") for seed in (1, 2))
    found = write(tmp_path, failed=alone)
    cells = found.of("AE"), found.of("beta-VAE")
    assert [len(one) for one in cells] == [1, 1]
    pooled = scatter(found, "mnist", "AE", "frechet")
    assert pooled == scatter(found, "mnist", "beta-VAE", "frechet")
    both = between(found, "mnist", "AE", "beta-VAE", "frechet")
    assert both == difference(*cells, "frechet", (pooled, pooled))
    items = np.var(np.subtract(*(np.array(one[0].numbers["frechet"].replicates) for one in cells)), ddof=1)
    seeds, count = 2 * pooled.variance, len(cells[0][0].numbers["frechet"].replicates)
    degrees = (items + seeds) ** 2 / (items**2 / (count - 1) + seeds**2 / pooled.freedom)
    assert both.half == pytest.approx(student.ppf(0.975, degrees) * np.sqrt(items + seeds))


@pytest.mark.parametrize(
    ("expect", "shift", "verdict"),
    [
        ("lower", -8.0, "as expected"),
        ("lower", 8.0, "not as expected"),
        ("lower", 0.05, "no effect beyond the noise"),
        ("higher", 8.0, "as expected"),
        ("higher", -8.0, "not as expected"),
        ("same", 0.05, "as expected"),
        ("same", 8.0, "not as expected"),
    ],
)
def test_verdicts(tmp_path, expect, shift, verdict):
    axes = {"warm-up": AXES["warm-up"] | {"expect": expect}}
    shifts = {("warm-up", "1000 steps", "VAE"): {"frechet": shift, "seconds_train": 50.0}}
    found = effects(write(tmp_path, axes=axes, shifts=shifts))
    assert [(one.family, one.value) for one in found] == [("VAE", "1000 steps"), ("WAE-MMD", "1000 steps")]
    assert found[0].verdict == verdict
    assert found[0].difference.value == pytest.approx(shift, abs=0.7)
    assert found[0].cost == pytest.approx(1.5)
    assert found[1].difference.sign == 0


def test_a_level_on_the_other_side_of_the_reference_is_expected_otherwise(tmp_path):
    axes = {"warm-up": AXES["warm-up"] | {"expect": "lower", "otherwise": {"1000 steps": "higher"}}}
    shifts = {("warm-up", "1000 steps", "VAE"): {"frechet": 8.0}}
    results = write(tmp_path, axes=axes, shifts=shifts)
    found = effects(results)
    assert found[0].verdict == "as expected"
    assert overview_table(results, found).rows[0][3] == "Frechet distance higher"
    table = axis_table(results, "warm-up", found)
    assert table.rows[0][table.columns.index("expected")] == "higher"
    assert table.rows[0][table.columns.index("verdict")] == "as expected"


@pytest.mark.parametrize(
    ("changes", "judged"),
    [
        ({"objective": {"beta": 2}}, ("mse", "nll_iw", "mmd")),
        ({"model": {"likelihood": {"kind": "laplace"}}}, ("mse", "mmd")),
        ({"data": {"binarise": "none"}}, ("mmd",)),
        ({"representation": {"kind": "log_mel"}}, ("mmd",)),
    ],
)
def test_what_can_not_be_compared_is_neither_better_nor_worse(tmp_path, changes, judged):
    """A density of grey pixels beside a mass of bits: lower means nothing."""
    axes = {"warm-up": AXES["warm-up"] | {"values": {"1000 steps": changes}}}
    shifts = {("warm-up", "1000 steps", "VAE"): {"mse": -0.009, "nll_iw": -600.0, "mmd": 5.0, "frechet": 1.0}}
    results = write(tmp_path, axes=axes, shifts=shifts)
    table = axis_table(results, "warm-up", effects(results))
    words = dict(zip(table.columns[7:], table.rows[0][7:], strict=True))
    for name in ("mse", "nll_iw", "mmd"):
        word = words[head(CATALOGUE[name], 0)]
        assert word.endswith(("better", "worse")) == (name in judged), (name, word)
    apart = [CATALOGUE[name].title for name in ("mse", "nll_iw") if name not in judged]
    assert table.caption == (
        f"Values of {' and '.join(apart)} can't be compared between data or likelihoods." * bool(apart)
    )


def test_an_effect_needs_both_sides(tmp_path):
    names = [f"mnist.VAE.s{seed}" for seed in range(3)]
    found = effects(write(tmp_path, failed=names))
    assert [one.family for one in found] == ["WAE-MMD"]
    assert effects(write(tmp_path / "two", missing=["mnist.VAE.warm-up-1000-steps.s0"]))[0].family == "WAE-MMD"


@pytest.mark.parametrize(
    ("vae", "wae", "said"),
    [
        (-8.0, 0.0, "The effect is VAE's alone."),
        (0.0, -8.0, "The effect is WAE-MMD's alone."),
        (-8.0, -8.0, "The effect is common to both: VAE and WAE-MMD."),
        (0.0, 0.0, "Neither shows an effect beyond the noise."),
        (8.0, -8.0, "The effect is opposite: lower for WAE-MMD, higher for VAE."),
    ],
)
def test_whose_the_effect_is(tmp_path, vae, wae, said):
    shifts = {("warm-up", "1000 steps", f): {"frechet": s} for f, s in (("VAE", vae), ("WAE-MMD", wae))}
    results = write(tmp_path, shifts=shifts)
    found = effects(results)
    assert attribution(results, found) == said
    assert said in finding(results, "warm-up", found)


def test_one_shown_and_one_not_need_not_differ(tmp_path):
    """The difference between an effect and none is not itself an effect (Gelman and Stern 2006)."""
    results = write(tmp_path, shifts={("warm-up", "1000 steps", f): {"frechet": -0.9} for f in ("VAE", "WAE-MMD")})
    found = effects(results)
    assert [one.difference.sign for one in found] == [-1, 0]
    apart = interaction(results, "warm-up", "1000 steps", "VAE", "WAE-MMD", "frechet")
    assert apart is not None
    assert apart.sign == 0
    assert (
        attribution(results, found) == "The effect shows in VAE only, but whether WAE-MMD differs in it can't be told."
    )


def test_ranks_and_what_is_alike(tmp_path):
    results = write(tmp_path)
    found = ranking(results, "mnist", ("samples",), draws=200)
    assert found is not None
    assert found.best == "WAE-MMD"
    assert found.measures == ("frechet", "frechet_mixture", "classifier_score")
    assert found.ranks["WAE-MMD"] == 1.0
    assert found.alike == ("WAE-MMD",)
    noisy = ranking(write(tmp_path / "noisy", scatter=0.5), "mnist", ("samples",), draws=200)
    assert noisy is not None
    assert len(noisy.alike) > 1
    assert ranking(results, "nowhere") is None


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, {"mse", "nll_iw"}),
        ({"model": {"likelihood": {"kind": "gaussian"}}}, {"mse"}),
        ({"data": {"binarise": "none"}}, set()),
    ],
)
def test_families_of_other_laws_are_not_ranked_by_their_likelihoods(tmp_path, change, left):
    truth = TRUTH | {"nll_iw": {"VAE": 88.0, "beta-VAE": 95.0, "AE": 99.0}}
    found = write(tmp_path, truth=truth, families=("VAE", "beta-VAE", "AE"), axes={})
    found = replace(found, grid=found.grid.model_copy(update={"families": {"VAE": {}, "beta-VAE": change, "AE": {}}}))
    ranks = ranking(found, "mnist", ("reconstruction",))
    assert set(ranks.measures if ranks else ()) == left
    table = family_table(found, "mnist", "reconstruction")
    names = dict(enumerate(found.measures("reconstruction"), 1))
    assert {names[column] for _, column in table.best} == left
    assert len(table.columns) == 3
    assert bool(ranking(found, "mnist"))  # the rest is compared as ever
    sides = (found, "mnist"), (found, "mnist")
    for name in ("mse", "nll_iw"):
        assert (agreement(*sides, "itself", ((name,), (name,)), 20) is not None) == (name in left)


def test_measures_that_a_family_lacks_do_not_rank(tmp_path):
    found = ranking(write(tmp_path), "mnist", ("reconstruction",))
    assert found is not None
    assert found.measures == ("mse",)  # nll_iw is the VAEs'
    assert set(found.alike) >= {"AE", "WAE-MMD"}
    assert "VAE" not in found.alike


def test_the_quicker_of_two_alike_is_recommended(tmp_path):
    truth = {
        "frechet": {"VAE": 10.0, "AE": 8.5, "beta-VAE": 90.0},
        "seconds_train": {"VAE": 300.0, "AE": 100.0, "beta-VAE": 1.0},
    }
    families = ("VAE", "AE", "beta-VAE")
    results = write(tmp_path, truth=truth, families=families, axes={}, scatter=0.15, seeds=3)
    found = ranking(results, "mnist")
    assert found is not None
    assert (found.best, set(found.alike)) == ("VAE", {"VAE", "AE"})
    assert recommend(results, "mnist", found) == "AE"


def test_tau_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 20, 7)).astype(float)
    assert tau_b(a, b) == pytest.approx([kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)])
    assert math.isnan(tau_b(np.ones((1, 4)), np.arange(4.0)[None])[0])


def test_tau_of_equal_and_reversed_rankings(tmp_path):
    quality = dict(zip(FAMILIES, (10.0, 20.0, 30.0, 40.0), strict=True))
    one = write(tmp_path / "a", truth={"frechet": quality}, axes={})
    same = write(
        tmp_path / "b", truth={"frechet": {f: 3 * v for f, v in quality.items()}}, axes={}, sources=("fashion",)
    )
    turned = write(tmp_path / "c", truth={"frechet": {f: 50 - v for f, v in quality.items()}}, axes={})
    names = (("frechet",), ("frechet",))
    alike = agreement((one, "mnist"), (same, "fashion"), "samples", names, 200)
    assert alike is not None
    assert (alike.tau, alike.low, alike.high, alike.word) == (1.0, 1.0, 1.0, "alike")
    other = agreement((one, "mnist"), (turned, "mnist"), "samples", names, 200)
    assert other is not None
    assert (other.tau, other.word) == (-1.0, "oppositely")
    flat = write(tmp_path / "d", truth={"frechet": dict.fromkeys(FAMILIES, 1.0)}, axes={}, scatter=0.0, items=0.0)
    nothing = agreement((one, "mnist"), (flat, "mnist"), "samples", names, 200)
    assert nothing is not None
    assert math.isnan(nothing.tau)
    assert nothing.word == "not defined"
    two = write(tmp_path / "e", truth={"frechet": quality}, axes={}, families=FAMILIES[:2])
    assert agreement((one, "mnist"), (two, "mnist"), "samples", names) is None
    assert agreement((one, "mnist"), (one, "mnist"), "samples", ((), ("frechet",))) is None


def test_noise_widens_taus_interval(tmp_path):
    quality = dict(zip(FAMILIES, (10.0, 10.5, 11.0, 11.5), strict=True))
    one = write(tmp_path / "a", truth={"frechet": quality}, axes={}, scatter=0.1)
    found = agreement((one, "mnist"), (one, "mnist"), "samples", (("frechet",), ("frechet",)), 300)
    assert found is not None
    assert found.low < 0.9


def test_sound_is_held_against_reconstruction(tmp_path):
    from made_up import SOUND

    images = write(tmp_path / "i")
    truth = {name: TRUTH[name] for name in ("mmd", "frechet")} | SOUND
    notes = write(tmp_path / "n", truth=truth, suite="notes", sources=("notes",), axes={})
    here = {one.what for one in agreements((notes, "notes"), (images, "mnist"), 50)}
    assert here == {"match", "samples", "sound here, reconstruction there"}
    there = {one.what for one in agreements((images, "mnist"), (notes, "notes"), 50)}
    assert there == {"match", "samples", "reconstruction here, sound there"}


def test_second_stages_are_paired_within_cells(tmp_path):
    gain = within(write(tmp_path), "mnist", "AE", "frechet_mixture", "frechet")
    assert gain is not None
    assert improves(gain, "frechet")
    assert gain.value == pytest.approx(-79, abs=5)
    plain = write(tmp_path / "plain", replicates=0)
    gain = within(plain, "mnist", "AE", "frechet_mixture", "frechet")
    gains = [c.numbers["frechet_mixture"].value - c.numbers["frechet"].value for c in plain.of("AE")]
    assert gain is not None
    assert gain.half == pytest.approx(4.3027 * np.std(gains, ddof=1) / math.sqrt(3), rel=1e-3)
    assert (
        within(write(tmp_path / "b", truth={"mse": TRUTH["mse"]}), "mnist", "AE", "frechet_mixture", "frechet") is None
    )


def test_claims(tmp_path):
    results = write(tmp_path)
    outcomes = {claim.what: claim.outcome for claim in claims(results, "mnist")}
    assert outcomes == {
        "reconstruction": "holds",
        "match to the prior": "the opposite holds",
        "samples": "holds",
        "samples with a mixture": "holds",
    }
    none = write(tmp_path / "one", seeds=1, replicates=0)
    assert {claim.outcome for claim in claims(none, "mnist")} == {"not known"}
    assert claims(write(tmp_path / "ae", families=("AE", "WAE-MMD", "beta-VAE"), axes={}), "mnist") == ()


def test_bootstrap_rows_start_with_the_means(tmp_path):
    results = write(tmp_path)
    rows = ranks_of(results, "mnist", FAMILIES, ("frechet",), draws=20)
    assert rows.shape == (21, 4)
    assert rows[0].tolist() == [2, 1, 4, 3]
    assert np.isnan(ranks_of(results, "mnist", FAMILIES, ())).all()


def test_answer_in_words(tmp_path):
    shifts = {("warm-up", "1000 steps", "VAE"): {"frechet": -8.0}}
    lines = answer(write(tmp_path, shifts=shifts))
    text = "\n".join(lines)
    assert len(lines) == 5
    assert "WAE-MMD is best" in text
    assert "better in reconstruction, samples and samples with a mixture; worse in match to the prior" in text
    assert "1 as expected and 1 no effect beyond the noise" in text
    assert "Worth their cost: warm-up of the rate: 1000 steps for VAE" in text
    assert "a mixture on the codes lowers the Frechet distance by" in text
    few = answer(write(tmp_path / "few", families=("VAE",), axes={}))
    assert few == ["Nothing can be ranked yet: 1 family on mnist with measures that all share."]


def test_tables(tmp_path):
    results = write(tmp_path, failed=("mnist.AE.s1",), ceilings={"frechet": 1.25})
    table = family_table(results, "mnist", "samples")
    assert table is not None
    assert [row[0] for row in table.rows] == ["VAE", "WAE-MMD", "AE (2 seeds)", "beta-VAE", "real held-out data"]
    assert table.columns[1] == "Frechet distance ↓"
    assert (1, 1) in table.best
    assert table.rows[-1][1] == "1.25"
    assert "±" in str(table.rows[0][1])
    assert family_table(results, "mnist", "sound") is None
    one = family_table(write(tmp_path / "one", seeds=1), "mnist", "match")
    assert one is not None
    assert not any("±" in str(entry) for row in one.rows for entry in row)
    assert one.caption.startswith("One seed")
    ranked = ranking_table(results, "mnist")
    assert ranked is not None
    assert ranked.rows[0][0] == "WAE-MMD"
    assert ranking_table(results, "nowhere") is None
    found = effects(results)
    assert axis_table(results, "warm-up", found).rows[0][:2] == ("1000 steps", "VAE")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0123456, 0.00012, "0.01235"),
        (-3.14159, 0.5, "−3.14"),
        (1234.5678, 30.0, "1235"),
        (-0.0001, 0.5, "0.00"),
        (1_200_000.0, None, "1,200,000"),
        (0.000123456, None, "0.0001235"),
        (0.0, None, "0"),
    ],
)
def test_numbers(value, error, text):
    assert number(value, error) == text


def test_parts_of_tables():
    assert scale_of([0.0102, 0.0088]) == -3
    assert scale_of([0.2, 0.0001]) == 0
    assert scale_of([0.0, 0.0]) == 0
    assert head(CATALOGUE["mmd"], -3) == "MMD² to the prior (×10⁻³) ↓"
    assert shown(Summary(0.0102, 0.0001, 3), -3) == "10.20 ± 0.10"
    assert shown(Summary(5.0, 0.0, 3)) == "5"
    assert shown(Summary(7.600902460, 3e-16, 3)) == "7.60090 ± 0.00000"  # the deviation is mere rounding
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert change(Difference(-0.5, 0.1, 1, 1.5), "nll_iw") == "−0.50 [−0.60, −0.40] nats"
    assert change(Difference(0.5, None, 2, 1.5)) == "+0.5"
    assert numbers(TRUTH, "AE", 0)["parameters"]["replicates"] == []


def test_between_is_symmetric(tmp_path):
    results = write(tmp_path)
    one, two = between(results, "mnist", "VAE", "AE", "mse"), between(results, "mnist", "AE", "VAE", "mse")
    assert one is not None
    assert two is not None
    assert (one.value, one.half) == (-two.value, pytest.approx(two.half))
