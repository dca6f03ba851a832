"""VCTK, Free Spoken Digits and AudioMNIST in their official layouts, as tiny trees, with their published splits."""

import json

from soundfiles import noise, put

from latentscape.data.sources import data_root, open_source
from latentscape.data.split import split_corpus
from latentscape.laws.split import check_split


def labels(corpus, name):
    row = next(row for row, known in enumerate(corpus.clips.names) if known == name)
    return {label: column.text(row) for label, column in corpus.clips.columns.items()}


def test_free_spoken_digits_are_read_from_their_names():
    root = data_root() / "free-spoken-digit-dataset" / "recordings"
    for digit in (0, 7):
        for speaker in ("jackson", "theo"):
            for index in (0, 4, 5, 9, 12):
                put(root / f"{digit}_{speaker}_{index}.wav", noise(f"{digit}{speaker}{index}"))
    corpus = open_source("spoken-digits")
    assert labels(corpus, "7_theo_12") == {"digit": "7", "speaker": "theo", "index": "12", "split": "train"}
    split = split_corpus(corpus, conditions=("speaker",))
    check_split(split, corpus)
    tested = {corpus.clips.names[row] for row in split.parts["test"].rows.tolist()}
    assert tested == {f"{digit}_{name}_{index}" for digit in (0, 7) for name in ("jackson", "theo") for index in (0, 4)}


def test_audio_mnist_is_divided_by_the_speakers_of_its_first_fold():
    root = data_root() / "AudioMNIST" / "data"
    for speaker in ("01", "12", "26", "60"):
        for index in (0, 1):
            put(root / speaker / f"3_{speaker}_{index}.wav", noise(f"{speaker}{index}"))
    about = {"01": {"gender": "male", "age": 30, "accent": "German"}, "26": {"gender": "female"}}
    (root / "audioMNIST_meta.txt").write_text(json.dumps(about))
    corpus = open_source("audiomnist")
    assert labels(corpus, "01/3_01_1") == {
        "digit": "3", "speaker": "01", "index": "1", "split": "train", "sex": "M", "age": "30", "accent": "German",
    }  # fmt: skip
    split = split_corpus(corpus)
    found = {
        part: {corpus.clips.names[row][:2] for row in split.parts[part].rows.tolist()}
        for part in ("train", "valid", "test")
    }
    assert found == {"train": {"01"}, "valid": {"12"}, "test": {"26", "60"}}
    (root / "audioMNIST_meta.txt").write_text("{")
    damaged = open_source("audiomnist")
    assert any("audioMNIST_meta.txt can't be read" in note for note in damaged.notes)
    assert labels(damaged, "26/3_26_0")["split"] == "test"


def test_vctk_knows_its_speakers_and_texts():
    root = data_root() / "VCTK-Corpus-0.92"
    for speaker in ("p225", "p226", "p300", "s5"):
        for utterance in ("001", "002"):
            put(
                root / "wav48_silence_trimmed" / speaker / f"{speaker}_{utterance}_mic1.flac",
                noise(speaker + utterance),
            )
    (root / "txt" / "p225").mkdir(parents=True)
    (root / "txt" / "p225" / "p225_001.txt").write_text("Please call Stella.\n")
    table = "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\n226  22  M  English  Surrey\ns5 24 F British\n"
    (root / "speaker-info.txt").write_text(table)
    corpus = open_source("vctk")
    first = labels(corpus, "wav48_silence_trimmed/p225/p225_001_mic1")
    assert first["text"] == "Please call Stella."
    assert (first["speaker"], first["sex"], first["age"], first["accent"], first["mic"]) == (
        "p225",
        "F",
        "23",
        "English",
        "1",
    )
    assert labels(corpus, "wav48_silence_trimmed/p226/p226_002_mic1")["sex"] == "M"
    assert labels(corpus, "wav48_silence_trimmed/p300/p300_002_mic1")["sex"] is None
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert split.group == "speaker"
