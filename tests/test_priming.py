"""A VampPrior's pseudo-inputs begin as training items, the same in every process and every life of a run."""

import pytest
import torch

from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.experiment.config import resolve
from latentscape.experiment.joined import gather, join


@pytest.mark.parametrize(("batch", "count"), [(32, 8), (8, 32)])
def test_pseudo_inputs_are_the_first_items_of_the_first_batch(batch, count):
    config = resolve("images", [f"model.prior={{kind: vamp, components: {count}}}", f"train.batch_size={batch}"])
    corpus = open_source("digits")
    split = split_corpus(corpus, seed=0)
    first = join(gather(config, corpus, split))
    torch.manual_seed(99)
    again = join(gather(config, corpus, split))
    x, _ = first.examples.batch(0, max(batch, count))
    inputs = first.model.prior.pseudo_inputs
    assert torch.equal(inputs, again.model.prior.pseudo_inputs)
    assert torch.allclose(inputs, x[:count], atol=0.05)
