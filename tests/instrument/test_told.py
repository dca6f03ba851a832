import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.instrument.labels import code_of, context_of

MIDI = ("48", "50.0", "60", "61.5")


@pytest.mark.parametrize("value", [60, 60.0, "60", "60.0", " 60"])
def test_a_number_may_be_written_as_it_likes(value):
    assert code_of("midi", value, MIDI) == 2


def test_numbers_in_the_vocabulary_may_be_written_as_they_like():
    assert code_of("midi", 50, MIDI) == 1
    assert code_of("midi", "61.5", MIDI) == 3


def test_text_that_is_there_as_it_stands_comes_first():
    assert code_of("take", "1.0", ("1", "1.0")) == 1


def test_unknown_values_name_the_nearest():
    with pytest.raises(UsageError, match=r"label midi: 59 is not known; nearest: 60, 61\.5, 50"):
        code_of("midi", 59, MIDI)
    with pytest.raises(UsageError, match=r"label midi: 'sixty' is not known; known: 48"):
        code_of("midi", "sixty", MIDI)
    with pytest.raises(UsageError, match="did you mean 'reed'"):
        code_of("family", "reeds", ("bell", "reed"))
    with pytest.raises(UsageError, match="'7' is not known"):
        code_of("family", 7, ("bell", "reed"))
    with pytest.raises(UsageError, match="'7' is not known"):
        code_of("family", 7, ())


def test_labels_not_given_are_unknown():
    context = context_of({"midi": 50}, {"midi": MIDI, "family": ("bell",)}, 3, torch.device("cpu"))
    assert context["midi"].tolist() == [1, 1, 1]
    assert context["family"].tolist() == [-1, -1, -1]
    assert context_of(None, {"midi": MIDI}, 2, torch.device("cpu"))["midi"].tolist() == [-1, -1]
    with pytest.raises(UsageError, match="did you mean 'midi'"):
        context_of({"mid": 50}, {"midi": MIDI}, 1, torch.device("cpu"))
