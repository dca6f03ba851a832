"""Words as vectors: what is read of a file, the mean of a text, what a run keeps, and what is refused."""

import numpy as np
import pytest
import torch

from latentscape.core.errors import ConfigError, DataError, StorageError, UsageError
from latentscape.data.corpus import Column
from latentscape.data.word_vectors import WordsConfig, WordVectors, read_vectors, vectors_of, words_of

GLOVE = "the 0 0 1\ndog 1 2 3\nbarking 3 2 1\nit's 0 1 0\ncafé 2 2 2\nrain 5 5 5\n"


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE, encoding="utf-8")
    return path


def columns(*texts, name="tags"):
    return {name: Column.of(list(texts)), "other": Column.of(["x"] * len(texts))}


def test_words_are_runs_of_letters_in_small_letters():
    assert words_of("It's a DOG;barking, 'café' no_w2!") == ["it's", "a", "dog", "barking", "café", "no", "w2"]


def test_a_clip_has_the_mean_of_its_words(glove):
    found = vectors_of(columns("dog;barking", None, "Dog zebra", "a zebra", "the dog"), WordsConfig(file=str(glove)))
    assert found.label == "tags"
    assert found.words == ("barking", "dog", "the")
    assert found.absent == ("zebra", "a")
    table = found.table(columns("dog;barking", None, "Dog zebra", "a zebra", "the dog")["tags"])
    expected = [[2, 2, 2], [np.nan] * 3, [1, 2, 3], [np.nan] * 3, [0.5, 1, 2]]
    assert torch.equal(table.nan_to_num(-9.0), torch.tensor(expected).float().nan_to_num(-9.0))
    assert found.lines() == [
        "words: 3 of the 5 in 'tags' have a vector of 3 numbers; not in glove.txt: zebra, a",
    ]


def test_a_run_keeps_its_words_and_asks_for_the_file_only_for_others(glove, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    vectors_of(columns("dog barking"), WordsConfig(file=str(glove))).save(run)
    kept = WordVectors.load(run)
    assert kept.told("Barking dog").tolist() == [2, 2, 2]
    assert kept.told("dog rain").tolist() == [3, 3.5, 4]
    assert kept.told("dog zebra").tolist() == [1, 2, 3]
    with pytest.raises(UsageError, match="no word of 'zebra' has a vector"):
        kept.told("zebra")
    glove.rename(tmp_path / "moved.txt")
    assert kept.told("dog").tolist() == [1, 2, 3]
    with pytest.raises(UsageError, match=r"'rain' is not among the words that the run keeps, and .* with --words"):
        kept.told("dog rain")
    assert kept.told("rain", tmp_path / "moved.txt").tolist() == [5, 5, 5]
    (run / "words.json").write_text('{"label": "tags", "file": "x", "words": ["dog"], "absent": []}')
    with pytest.raises(StorageError, match="damaged"):
        WordVectors.load(run)
    (run / "words.json").write_text('{"label": "tags", "file": "x", "words": 3, "absent": []}')
    with pytest.raises(StorageError, match="words: got 3, expected"):
        WordVectors.load(run)


def test_the_mark_that_some_editors_put_before_a_text_is_no_letter(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("dog 1 2\nrain 3 4\n", encoding="utf-8-sig")
    assert read_vectors(path, {"dog", "rain"}).keys() == {"dog", "rain"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dog 1 2\nrain 1\n", "line 2: 'rain' has 1 numbers, expected 2, all finite"),
        ("a 1 2\ndog 1 x\n", "line 2: 'dog' is not followed by numbers alone"),
        ("a 1 2\ndog nan 1\n", "all finite"),
        ("dog\n", "line 1: 0 numbers, expected a word and its vector"),
        ("{}", "line 1: 0 numbers"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, text, told):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_vectors(path, {"dog", "rain"})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_counts_on_the_first_line_and_bytes_that_are_no_text_are_passed_over(tmp_path):
    path = tmp_path / "w2v.txt"
    path.write_bytes(b"2 3\n\xff\xfe 1 2 3\r\ndog 1 2 3\r\n")
    assert read_vectors(path, {"dog"})["dog"].tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="can't be read"):
        read_vectors(tmp_path, {"dog"})


def test_a_corpus_without_words_is_refused(glove):
    config = WordsConfig(file=str(glove))
    with pytest.raises(ConfigError, match="none of the labels text, tags, tag, label"):
        vectors_of({"other": Column.of(["x"])}, config)
    with pytest.raises(ConfigError, match="no label 'tagz'; did you mean 'tags'"):
        vectors_of(columns("dog"), WordsConfig(file=str(glove), label="tagz"))
    with pytest.raises(DataError, match="none of the 1 words in 'text', such as zebra"):
        vectors_of(columns("zebra", name="text"), config)
