import json
from pathlib import Path

import numpy as np
import pytest
from soundfiles import RATE, noise, put

from latentscape.core.errors import DataError, UsageError
from latentscape.data import embedded
from latentscape.data.cache import cache_root
from latentscape.data.examine import examine
from latentscape.data.sources import NAMED, data_root, open_source, sources, verify
from latentscape.data.split import split_corpus
from latentscape.data.tones import Note
from latentscape.laws.split import check_split


def test_sources_are_listed_with_where_to_get_them():
    states = {state.name: state for state in sources()}
    assert {"tones", "sines", "phrases", "digits", *NAMED} == set(states)
    assert states["tones"].present
    assert not states["notes"].present
    (data_root() / "notes").mkdir(parents=True)
    assert next(state for state in sources() if state.name == "notes").folder == data_root() / "notes"
    assert all(state.about and state.where for state in states.values())


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"fashion-mnist"}))
def test_an_absent_source_says_where_to_get_it(name):
    with pytest.raises(DataError) as error:
        open_source(name)
    assert str(error.value).startswith(
        f"{name} is not here: looked for '{NAMED[name].folders[0]}' in {data_root()}; get "
    )


def test_without_a_root_data_lies_in_the_cache(monkeypatch):
    monkeypatch.delenv("LATENTSCAPE_DATA")
    assert data_root() == cache_root() / "data"


def test_a_path_wins_over_a_name_when_it_is_written_as_one(monkeypatch, tmp_path):
    put(tmp_path / "notes" / "x.wav", noise("x"))
    monkeypatch.chdir(tmp_path)
    assert len(open_source("./notes").clips) == 1
    with pytest.raises(DataError, match=r"notes is not here.*; the folder here is \./notes$"):
        open_source("notes")
    with pytest.raises(DataError) as error:
        open_source("speech")  # no such folder
    assert "./speech" not in str(error.value)


def test_a_data_set_that_hides_a_folder_says_so(monkeypatch, tmp_path):
    put(tmp_path / "digits" / "x.wav", noise("x"))
    assert examine("digits").notes == ()
    monkeypatch.chdir(tmp_path)
    assert examine("digits").notes == ("digits is the data set of that name; what lies here is ./digits",)
    assert examine("./digits").notes == ()


def test_a_folder_with_a_table_is_found_by_name():
    root = data_root() / "speech"
    rows = ["path,speaker,sex,utterance,split"]
    for number in range(24):
        put(root / f"{number}.wav", noise(number))
        rows.append(f"{number}.wav,s{number % 6},F,{number},train")
    (root / "metadata.csv").write_text("\n".join(rows))
    corpus = open_source("speech")
    assert corpus.name == "speech"
    for split in (split_corpus(corpus), split_corpus(corpus, conditions=("speaker",))):
        check_split(split, corpus)
    assert split.group == "utterance"
    assert verify("speech")[2] == f"24 clips, 0.1 min at {RATE} Hz"


SOL = [
    "Path,Fold,Family,Instrument (abbr.),Instrument (in full),Technique (abbr.),Technique (in full),Pitch,Pitch ID,"
    "Dynamics,Dynamics ID,Instance ID,String ID (if applicable),Needed digital retuning",
    "Path,Fold,Family (abbr.),Family (in full),Instrument (abbr.),Instrument (in full),Technique (abbr.),"
    "Technique (in full),Pitch Name,Pitch ID (if applicable),Dynamics,"
    "Dynamics ID (if applicable),Instance ID (if applicable)",
]


@pytest.mark.parametrize(
    ("name", "table", "header"), [("tinysol", "TinySOL", SOL[0]), ("orchideasol", "OrchideaSOL", SOL[1])]
)
def test_sol(name, table, header):
    columns = header.split(",")
    root = data_root() / table
    rows = [header]
    for number in range(12):
        path = f"Brass/Bass_Tuba/ordinario/BTb-ord-{number}.wav"
        put(root / path, noise(number))
        known = {
            "Path": path,
            "Fold": "1",
            "Family": "Brass",
            "Family (in full)": "Brass",
            "Instrument (in full)": "Bass Tuba",
            "Technique (in full)": "ordinario",
            "Pitch": f"N{number // 2}",
            "Pitch Name": f"N{number // 2}",
            "Pitch ID": str(40 + number // 2),
            "Pitch ID (if applicable)": str(40 + number // 2),
            "Dynamics": "pp",
        }
        rows.append(",".join(known.get(column, "0") for column in columns))
    (root / f"{table}_metadata.csv").write_text("\n".join(rows))
    corpus = open_source(name)
    assert corpus.notes == ()
    labels = corpus.clips[2].labels
    expected = {"family": "Brass", "instrument": "Bass Tuba", "technique": "ordinario", "dynamics": "pp", "fold": 1.0}
    assert {key: labels[key] for key in expected} == expected
    assert labels["note"] == f"N{(int(labels['midi']) - 40)}"
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert split.group == "instrument+midi"


def nsynth(parts=("train", "valid", "test")):
    root = data_root() / "nsynth"
    for part in parts:
        notes = {}
        for number in range(4):
            note = f"bass_synthetic_00{number}-0{number}0-{part}"
            put(root / f"nsynth-{part}" / "audio" / f"{note}.wav", noise(part, number))
            notes[note] = {
                "pitch": 30 + number,
                "velocity": 100,
                "instrument_str": f"bass_synthetic_00{number}",
                "instrument_family_str": "bass",
                "instrument_source_str": "synthetic",
                "qualities": [0, 1],
            }
        notes["lost"] = {"pitch": 1, "velocity": 1}
        (root / f"nsynth-{part}" / "examples.json").write_text(json.dumps(notes))
    return root


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected an object, got list; the labels of nsynth-valid are not used"),
        ('{"bell-0": 3, "bell-1": {"pitch": 60}, "bell-2": null}', "says not all of"),
    ],
)
def test_nsynth_of_another_shape_costs_a_line_and_no_sound(text, message):
    nsynth()
    path = data_root() / "nsynth" / "nsynth-valid" / "examples.json"
    notes = list(json.loads(path.read_text()))
    for number, name in enumerate(notes[:3]):
        text = text.replace(f"bell-{number}", name)
    path.write_text(text)
    corpus = open_source("nsynth")
    assert any(message in note for note in corpus.notes), corpus.notes
    assert len(corpus.clips) == 12


def test_nsynth_has_its_own_split():
    nsynth()
    corpus = open_source("nsynth")
    assert corpus.clips[0].labels == {
        "family": "bass",
        "instrument": corpus.clips[0].labels["instrument"],
        "midi": 30.0,
        "source": "synthetic",
        "split": "test",
        "velocity": 100.0,
    }
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert split.group == "split column"
    assert all(clip.name.startswith("nsynth-valid/") for clip in split.clips(corpus, "valid"))
    assert [note.split()[0] for note in corpus.notes] == [
        f"nsynth-{part}/examples.json" for part in ("train", "valid", "test")
    ]


def test_nsynth_in_part_and_damaged():
    root = nsynth(("valid", "test"))
    (root / "nsynth-valid" / "examples.json").write_text("{")
    corpus = open_source("nsynth")
    assert "labels of nsynth-valid are not used" in corpus.notes[0]
    assert len(corpus.clips) == 8


def test_embedded_corpora_are_made_once(monkeypatch):
    made = []

    def few(seed=0):
        for number in range(6):
            made.append(number)
            wave = noise("tone", number, seconds=0.5, rate=22_050)
            yield Note(f"tone-{number}", wave, 22_050, {"family": "struck", "midi": 60 + number, "brightness": 0.25})

    monkeypatch.setattr(embedded, "tones", few)
    corpus = open_source("tones")
    assert [clip.name for clip in corpus.clips] == [f"tone-{number}" for number in range(6)]
    assert corpus.clips[3].labels == {"family": "struck", "midi": 63.0, "brightness": 0.25}
    np.testing.assert_array_equal(corpus.wave(corpus.clips[2]), noise("tone", 2, seconds=0.5, rate=22_050))
    assert split_corpus(corpus).group == "family+midi"
    assert len(made) == 6
    assert open_source("tones").digest == corpus.digest
    assert len(made) == 6
    for shard in corpus.store.shards:
        shard.unlink()
    assert open_source("tones").digest == corpus.digest
    assert len(made) == 12


def test_sines_are_the_toy_check(monkeypatch):
    real = embedded.sines
    monkeypatch.setattr(embedded, "sines", lambda: real(count=24))
    corpus = open_source("sines")
    assert (len(corpus.clips), corpus.sample_rate, corpus.clips[0].seconds) == (24, 16_000, 2.0)
    assert tuple(corpus.clips.columns["midi"].values) == tuple(str(57 + step) for step in range(12))


def test_phrases_play_another_source(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "MINUTES", 0.2)
    rows = ["path,midi"]
    for number in range(4):
        put(tmp_path / f"{number}.wav", noise(number, seconds=1.0))
        rows.append(f"{number}.wav,{60 + 2 * number}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    monkeypatch.setenv("LATENTSCAPE_DATA", str(tmp_path.parent))
    corpus = open_source(f"phrases:{tmp_path}")
    assert (len(corpus.clips), corpus.sample_rate) == (1, RATE)
    assert corpus.clips[0].frames == round(0.2 * 60 * RATE)
    with pytest.raises(DataError, match="digits holds images, and phrases play notes"):
        open_source("phrases:digits")


def test_phrases_are_as_long_as_is_told(tmp_path):
    for number in range(2):
        put(tmp_path / f"{number}.wav", noise(number, seconds=1.0))
    (tmp_path / "metadata.csv").write_text("path,midi\n0.wav,60\n1.wav,64")
    corpus = open_source(f"phrases:0.15:{tmp_path}")
    assert corpus.clips[0].frames == round(0.15 * 60 * RATE)
    with pytest.raises(DataError, match="digits holds images"):
        open_source("phrases:2:digits")
    for told in ("0", "-3", "inf", "nan", "1e9"):
        with pytest.raises(UsageError, match=f"got {told} minutes, expected more than 0 and at most 1440"):
            open_source(f"phrases:{told}:{tmp_path}")


def test_verify_knows_no_other_name():
    with pytest.raises(UsageError, match="no data set 'tonse'; did you mean 'tones'"):
        verify("tonse")


def test_the_real_notes(real_data, monkeypatch, tmp_path_factory):
    """The split every issue means by "test notes"; a part of the folder would do, but the split is of the whole."""
    monkeypatch.setenv("LATENTSCAPE_DATA", str(real_data))
    from latentscape.data.labels import read_table
    from latentscape.data.layouts import list_folder

    table = read_table(real_data / "notes" / "metadata.csv")
    listing = list_folder("notes", Path(real_data / "notes"), ())
    assert listing.notes == ()
    assert set(listing.files) == set(table.rows)
    assert len(listing.files) == 1347


def test_the_real_clips(real_data, monkeypatch):
    monkeypatch.setenv("LATENTSCAPE_DATA", str(real_data))
    found = examine("clips")
    assert (found.clips, found.left_out, found.sample_rate) == (29, (), 22_050)
    assert found.seconds / 60 == pytest.approx(3.1, abs=0.1)
