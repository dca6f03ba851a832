import json
import resource
from dataclasses import replace

import pytest
import torch

from latentscape.core.errors import StorageError, UsageError
from latentscape.core.storage import load_tensors, save_json, save_tensors
from latentscape.instrument.loading import load, pick_device
from latentscape.instrument.map import latent_map
from latentscape.instrument.naming import name_axes
from latentscape.registry import SpaceConfig, build_model, build_representation

SOUND = {
    "representation": {"kind": "log_stft", "sample_rate": 8000, "window": 64, "hop": 16},
    "model": {"kind": "autoencoder", "latent": 3, "condition": ["family"]},
    "train": {"max_steps": 5},
}
VOCABULARY = {"family": ["bell", "reed"]}


def make(run, config=SOUND, vocabulary=VOCABULARY, **about):
    """A run folder as training leaves it, untrained."""
    space = SpaceConfig(**{key: value for key, value in config.items() if key != "train"})
    if space.representation is None:
        shape = tuple(about["event_shape"])
    else:
        shape = space.window.event_shape(build_representation(space.representation).frame_size)
    model = build_model(space.model, shape, {name: len(values) for name, values in vocabulary.items()})
    save_json(run / "run.json", {"format": 1, **about})
    save_json(run / "config.json", config)
    save_json(run / "labels.json", vocabulary)
    save_tensors(run / "weights.safetensors", model.state_dict())
    return model.eval()


@pytest.fixture
def run(tmp_path):
    make(tmp_path)
    return tmp_path


def test_a_run_is_loaded_as_it_was(tmp_path):
    model = make(tmp_path)
    latent_map(torch.randn(50, 3)).save(tmp_path)
    player = load(tmp_path)
    assert (player.dim, player.name, player.model.training) == (3, tmp_path.name, False)
    assert player.vocabulary == {"family": ("bell", "reed")}
    assert player.config["train"] == {"max_steps": 5}
    for name, tensor in model.state_dict().items():
        assert torch.equal(player.model.state_dict()[name].cpu(), tensor)
    wave = torch.randn(1, 800)
    x = player.windows(wave)
    z = model.encode(x, {"family": torch.ones(len(x), dtype=torch.int64)})[0]
    torch.testing.assert_close(player.encode(wave, {"family": "reed"}), z.detach())
    made = player.render(player.walk("circle"), 0.1)
    assert made.shape == (1, 800)
    assert torch.isfinite(made).all()
    assert player.sample(1, 0.1, labels={"family": "bell"}).shape == (1, 1, 800)


def test_without_map_or_labels(tmp_path):
    make(tmp_path, {"model": {"kind": "ppca", "latent": 2}}, {}, event_shape=[1, 3, 3])
    (tmp_path / "labels.json").unlink()
    player = load(str(tmp_path), "cpu")
    assert player.representation is None
    assert player.sample(2).shape == (2, 1, 3, 3)
    assert player.centre.shape == (2,)


def test_named_axes_are_frozen_into_the_run(run):
    latent_map(torch.randn(50, 3)).save(run)
    before = load(run).axes
    assert not (run / "axes.json").exists(), "asking writes nothing"
    name_axes(load(run), torch.randn(400, 3)).save(run)
    first, second = load(run), load(run)
    assert first.axes == second.axes
    # another map, such as of a corpus that has grown, changes nothing
    latent_map(3 * torch.randn(50, 3)).save(run)
    assert load(run).naming == first.naming
    (run / "axes.json").unlink()
    assert load(run).axes != before


def test_axes_of_another_run_are_refused(run):
    latent_map(torch.randn(50, 3)).save(run)
    naming = load(run).naming
    short = replace(naming, mean=(0.0, 0.0), axes=(replace(naming.axes[0], direction=(1.0, 0.0)),))
    short.save(run)
    with pytest.raises(StorageError, match="has 2 dimensions"):
        load(run)


def edit(name, **changes):
    def apply(run):
        path = run / name
        save_json(path, json.loads(path.read_text()) | changes)

    return apply


def wide(**changes):
    return {"kind": "autoencoder", "latent": 3, "condition": ["family"]} | changes


def weights(change):
    def apply(run):
        path = run / "weights.safetensors"
        save_tensors(path, {name: change(tensor) for name, tensor in load_tensors(path).items()})

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "run.json").write_text("{"), "run.json is damaged"),
        (lambda run: (run / "run.json").write_text("[]"), "expected an object, got list"),
        (edit("run.json", format=2), "format 2, expected at most 1; a newer latentscape"),
        (edit("run.json", format="x"), "format 'x'"),
        (edit("config.json", model={"kind": "autoencodr"}), "autoencoder"),
        (edit("config.json", model={"kind": "autoencoder", "condition": ["colour"]}), "does not describe a model"),
        (edit("config.json", representation=None), "needs 'event_shape'"),
        (edit("config.json", representation={"kind": "log_stft"}), "sample_rate"),
        (
            edit("config.json", representation={"kind": "log_stft", "sample_rate": 10**12}),
            "less than or equal to 10000000",
        ),
        (
            edit("config.json", model=wide(encoder={"kind": "mlp", "widths": [10_000_000, 10_000_000]})),
            "a tensor of 410000000",
        ),
        (edit("config.json", model=wide(latent=2**60)), "does not fit the model"),
        (edit("config.json", model=wide(prior={"kind": "mixture", "components": 10**9})), "a tensor of 1000000000"),
        (
            edit("config.json", model=wide(encoder={"kind": "conv", "channels": [4], "blocks": 10**9})),
            "more than .* numbers in .* tensors",
        ),
        (edit("config.json", window={"length": 10**12}), "does not fit the model"),
        (
            edit("config.json", representation={"kind": "log_stft", "sample_rate": 8000, "window": 2**40}),
            "less than or equal to 1048576",
        ),
        (edit("labels.json", family="bell"), "expected labels with lists"),
        (lambda run: (run / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (
            lambda run: (run / "weights.safetensors").write_bytes(b"\x80\x02nonsense" * 9),
            "weights.safetensors is damaged",
        ),
        (
            lambda run: (run / "weights.safetensors").write_bytes((run / "weights.safetensors").read_bytes()[:-40]),
            "weights.safetensors is damaged",
        ),
        (
            edit("config.json", model={"kind": "autoencoder", "latent": 4, "condition": ["family"]}),
            r"is \(.*expected \(",
        ),
        (lambda run: latent_map(torch.zeros(3, 5)).save(run), "has 5 dimensions"),
        (weights(lambda tensor: tensor * torch.nan), "is damaged: '.*' holds NaN or infinity"),
        (weights(lambda tensor: tensor.to(torch.complex64)), "is torch.complex64, expected torch.float32"),
        (weights(lambda tensor: tensor.long()), "is torch.int64, expected torch.float32"),
    ],
)
def test_what_is_wrong_with_a_run_is_said_in_one_line(run, damage, message):
    damage(run)
    with pytest.raises(StorageError, match=message) as caught:
        load(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [[True, 4], [1, 0, 3], 5, "28", [1, 10**6, 10**6], None])
def test_a_shape_that_is_none_of_images_is_refused(tmp_path, shape):
    make(tmp_path, {"model": {"kind": "ppca", "latent": 2}}, {}, event_shape=[1, 3, 3])
    edit("run.json", event_shape=shape)(tmp_path)
    with pytest.raises(StorageError, match=r"'event_shape'|does not fit the model"):
        load(tmp_path)


def test_what_a_strangers_configuration_asks_for_is_not_allocated(run):
    """A million units more than the weights hold: neither written to, nor drawn."""
    edit("config.json", model=wide(decoder={"kind": "mlp", "widths": [30_000, 30_000]}))(run)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StorageError, match="does not fit"):
        load(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB; it asks for 3.6 GB"


def test_no_folder_and_no_device(run):
    with pytest.raises(StorageError, match="no such folder"):
        load(run / "nowhere")
    with pytest.raises(UsageError, match="device 'tpu' is not here"):
        load(run, "tpu")
    assert pick_device("auto").type in ("cuda", "mps", "cpu")
