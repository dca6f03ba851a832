"""Every number that a cell of a benchmark may hold: what it is called, its unit, and which way is better.

A cell holds those that apply to its family and its data; a name that is absent does not apply. Formulas are in
docs/measures.md.
"""

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "none"]
Group = Literal["reconstruction", "match", "samples", "sound", "paths", "cost"]
Suite = Literal["images", "notes"]
Within = Literal["", "data", "law"]

BOTH: tuple[Suite, ...] = ("images", "notes")
IMAGES: tuple[Suite, ...] = ("images",)
NOTES: tuple[Suite, ...] = ("notes",)


@dataclass(frozen=True)
class Entry:
    """A number of the tables.

    Attributes:
        title: short, for a column.
        unit: ``""`` for a pure number.
        better: which way is better; ``"none"`` where neither is.
        group: of the tables.
        doc: one line, what it says.
        suites: where it is measured.
        ceiling: the value of real held-out data is stored beside it, in ``ceilings.json``.
        within: what two values must share to be compared: what x is (``data``), or that and the likelihood (``law``).
    """

    title: str
    unit: str
    better: Better
    group: Group
    doc: str
    suites: tuple[Suite, ...] = BOTH
    ceiling: bool = False
    within: Within = ""


CATALOGUE: dict[str, Entry] = {
    # ------------------------------------------------------------------------------------------------- reconstruction
    "mse": Entry(
        "MSE",
        "",
        "lower",
        "reconstruction",
        "mean squared error a value, reconstruction from the posterior mean against the x that the model was given "
        "(binary pixels where the data are binarised), in squared units of x",
        IMAGES,
        within="data",
    ),
    "mse_grey": Entry(
        "MSE to grey",
        "",
        "lower",
        "reconstruction",
        "as MSE, against the grey image, whatever the model was given: compares models across binarisations",
        IMAGES,
    ),
    "nll_mean": Entry(
        "NLL at the mean code",
        "nats",
        "lower",
        "reconstruction",
        "-log p(x | z) an item, z the posterior mean; comparable between models of one likelihood and one data only",
        within="law",
    ),
    "distortion": Entry(
        "NLL of x given z",
        "nats",
        "lower",
        "reconstruction",
        "-log p(x | z) an item, z drawn from q(z | x); comparable between models of one likelihood and one data only",
        within="law",
    ),
    "elbo": Entry(
        "ELBO",
        "nats",
        "higher",
        "reconstruction",
        "evidence lower bound an item, unweighted (beta 1, no free bits)",
        within="law",
    ),
    "nll_iw": Entry(
        "IW-NLL",
        "nats",
        "lower",
        "reconstruction",
        "minus the importance-weighted bound on log p(x) an item, with as many samples K on as many items as the grid "
        "says (measuring.importance_samples, measuring.likelihood_items)",
        within="law",
    ),
    # ---------------------------------------------------------------------------------------------------------- match
    "kl": Entry("KL", "nats", "none", "match", "rate KL(q(z | x) || p(z)) an item, averaged over items"),
    "kl_max": Entry("KL of the busiest latent", "nats", "none", "match", "largest mean rate of a latent dimension"),
    "active_latents": Entry(
        "active latents", "", "higher", "match", "latent dimensions with a mean rate above 0.05 nat"
    ),
    "mutual_information": Entry(
        "mutual information",
        "nats",
        "higher",
        "match",
        "I(x; z) under q: the mean rate less KL(q(z) || p(z)), by minibatch sampling; biased where it nears log n",
    ),
    "mutual_information_gaussian": Entry(
        "mutual information, Gaussian bound",
        "nats",
        "higher",
        "match",
        "the same with q(z) replaced by the normal law of its covariance: an upper bound that does not saturate",
    ),
    "marginal_kl": Entry(
        "KL of q(z) to the prior",
        "nats",
        "lower",
        "match",
        "KL(q(z) || p(z)), the part of the rate that is no information on x, by minibatch sampling",
    ),
    "total_correlation": Entry(
        "total correlation",
        "nats",
        "lower",
        "match",
        "KL(q(z) || prod_j q(z_j)), by minibatch sampling: what the latents share",
    ),
    "total_correlation_gaussian": Entry(
        "total correlation, Gaussian",
        "nats",
        "lower",
        "match",
        "total correlation of the normal law that has the covariance of the codes; any encoder has it",
    ),
    "distortion_shuffled": Entry(
        "NLL with z shuffled",
        "nats",
        "none",
        "match",
        "-log p(x | z of another item): no greater than the NLL of x given z where the decoder ignores z",
    ),
    "mmd": Entry(
        "MMD^2 to the prior",
        "",
        "lower",
        "match",
        "unbiased squared maximum mean discrepancy between the codes of held-out data and draws of the prior; may be "
        "negative",
    ),
    "mmd_null": Entry(
        "MMD^2, null quantile",
        "",
        "none",
        "match",
        "95 % quantile of the same statistic with codes and draws of the prior pooled and dealt anew",
    ),
    "mmd_p": Entry(
        "MMD p-value", "", "higher", "match", "share of the null draws that are at least as large as the statistic"
    ),
    "dimension_codes": Entry(
        "dimension of codes", "", "none", "match", "intrinsic dimension (TwoNN) of the codes of held-out data"
    ),
    "dimension_data": Entry(
        "dimension of data", "", "none", "match", "intrinsic dimension (TwoNN) of the held-out data themselves"
    ),
    # -------------------------------------------------------------------------------------------------------- samples
    "frechet": Entry(
        "Frechet distance",
        "",
        "lower",
        "samples",
        "between draws of the prior, decoded, and real held-out items, in the features of our own judge; not "
        "comparable with an FID",
        ceiling=True,
    ),
    "frechet_mixture": Entry(
        "Frechet, mixture stage",
        "",
        "lower",
        "samples",
        "the same, with z drawn from a Gaussian mixture fitted on the codes of the training data",
        ceiling=True,
    ),
    "frechet_flow": Entry(
        "Frechet, flow stage",
        "",
        "lower",
        "samples",
        "the same, with z drawn from a RealNVP flow fitted on the codes of the training data",
        ceiling=True,
    ),
    "kernel_distance": Entry(
        "kernel distance",
        "",
        "lower",
        "samples",
        "unbiased polynomial-kernel MMD^2 between draws and real held-out items in the judge's features; sound where "
        "samples are few; may be negative",
        ceiling=True,
    ),
    "classifier_score": Entry(
        "classifier score",
        "",
        "higher",
        "samples",
        "exp of the mean KL from the judge's class probabilities of a draw to their mean; at most the classes' number",
        IMAGES,
        True,
    ),
    "classifier_score_instrument": Entry(
        "classifier score, instrument",
        "",
        "higher",
        "samples",
        "the classifier score with the instrument head of the judge of notes",
        NOTES,
        True,
    ),
    "data_mmd": Entry(
        "MMD^2 of data",
        "",
        "lower",
        "samples",
        "unbiased squared MMD between draws and real held-out items in the data domain; may be negative",
        IMAGES,
        True,
    ),
    "nearest_ratio": Entry(
        "nearest-neighbour ratio",
        "",
        "none",
        "samples",
        "mean distance of a draw to the nearest training item, over that of a held-out item: far below 1 is memorised",
        ceiling=True,
    ),
    # ---------------------------------------------------------------------------------------------------------- sound
    "lsd_sound": Entry(
        "LSD of sound",
        "dB",
        "lower",
        "sound",
        "log-spectral distance between a test sound and the re-synthesised sound of its reconstruction",
        NOTES,
        True,
    ),
    "lsd_features": Entry(
        "LSD of features",
        "dB",
        "lower",
        "sound",
        "log-spectral distance before re-synthesis; only where x is a log-magnitude spectrum",
        NOTES,
        True,
    ),
    "mss": Entry(
        "multi-scale spectral distance",
        "",
        "lower",
        "sound",
        "multi-scale spectral distance between a test sound and its re-synthesised reconstruction",
        NOTES,
        True,
    ),
    "mel_distance": Entry(
        "mel distance",
        "dB",
        "lower",
        "sound",
        "mean absolute difference of log-mel spectra of a test sound and its re-synthesised reconstruction",
        NOTES,
        True,
    ),
    "convergence": Entry(
        "spectral convergence",
        "dB",
        "lower",
        "sound",
        "spectral convergence between a test sound and its re-synthesised reconstruction",
        NOTES,
        True,
    ),
    "w1_centroid": Entry(
        "W1 of centroid",
        "Hz",
        "lower",
        "sound",
        "Wasserstein-1 distance between the distributions of spectral centroid in draws and in real held-out sounds",
        NOTES,
        True,
    ),
    "w1_bandwidth": Entry("W1 of bandwidth", "Hz", "lower", "sound", "the same, of spectral bandwidth", NOTES, True),
    "w1_contrast": Entry("W1 of contrast", "dB", "lower", "sound", "the same, of spectral contrast", NOTES, True),
    "w1_flatness": Entry("W1 of flatness", "", "lower", "sound", "the same, of spectral flatness", NOTES, True),
    "w1_rolloff": Entry("W1 of rolloff", "Hz", "lower", "sound", "the same, of the 85 % rolloff", NOTES, True),
    "w1_pitch": Entry("W1 of pitch", "semitones", "lower", "sound", "the same, of pitch", NOTES, True),
    "w1_loudness": Entry("W1 of loudness", "dBFS", "lower", "sound", "the same, of A-weighted level", NOTES, True),
    # ---------------------------------------------------------------------------------------------------------- paths
    "path_range": Entry(
        "range",
        "",
        "none",
        "paths",
        "share of the corpus's range (5 to 95 %) of loudness, centroid, bandwidth, flatness and pitch that a straight "
        "line between two held-out sounds passes through in 2 s, a mean over pairs of sounds",
        NOTES,
        True,
    ),
    "path_variation": Entry(
        "variation",
        "deviations/s",
        "none",
        "paths",
        "smoothness of the same lines: total variation of loudness, centroid, bandwidth and flatness in deviations of "
        "the corpus; lower is smoother, and a model that hardly changes its sound is the smoothest",
        NOTES,
        True,
    ),
    "path_monotonicity": Entry(
        "monotonicity",
        "",
        "higher",
        "paths",
        "Spearman's correlation of descriptors with time along the same lines, where their ends differ by half a "
        "deviation: 1 never turns back",
        NOTES,
    ),
    "path_pitch_jumps": Entry(
        "pitch jumps",
        "1/s",
        "lower",
        "paths",
        "jumps of the pitch by more than a semitone along the same lines",
        NOTES,
        True,
    ),
    "path_distance": Entry(
        "distance from data",
        "",
        "lower",
        "paths",
        "distance of decoded points of the same lines to the nearest training item, over that of held-out items",
        NOTES,
    ),
    # ----------------------------------------------------------------------------------------------------------- cost
    "seconds_step": Entry("time a step", "s", "lower", "cost", "median time of a training step"),
    "seconds_train": Entry("training time", "s", "lower", "cost", "wall time of training, validation included"),
    "parameters": Entry("parameters", "", "none", "cost", "numbers that training changes"),
}
"""Every number's entry, in the order of the tables."""
