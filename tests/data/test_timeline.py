"""Words with times: CSV, and TextGrids in long and short form; what is wrong is said in one line, never a traceback."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.errors import DataError
from latentscape.data.timeline import Interval, beside, codes_of, read_timeline

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "AH"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "7 <x>"
    item [3]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = "said ""ha"" 3 times"
        intervals [2]:
            xmin = 0.25
            xmax = 1 ! a remark
            text = ""
        intervals [3]:
            xmin = 1
            xmax = 1.5e0
            text = "! two
lines"
"""
SHORT = """File type = "ooTextFile"
"TextGrid"

0
1.5
<exists>
3
"IntervalTier"
"phones"
0
1.5
1
0
1.5
"AH"
"TextTier"
"clicks"
0
1.5
1
0.7
"7 <x>"
"IntervalTier"
"words"
0
1.5
3
0
0.25
"said ""ha"" 3 times"
0.25
1
""
1
1.5
"! two
lines"
"""
WORDS = (Interval(0.0, 0.25, 'said "ha" 3 times'), Interval(1.0, 1.5, "! two\nlines"))


def written(folder, text, name="a.TextGrid", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
def test_both_forms_say_the_same(tmp_path, text, encoding):
    path = written(tmp_path, text, encoding=encoding)
    assert read_timeline(path) == WORDS
    assert read_timeline(path, "phones") == (Interval(0.0, 1.5, "AH"),)
    with pytest.raises(DataError, match="no tier 'clicks' of intervals, only 'phones', 'words'"):
        read_timeline(path, "clicks")


def test_rows_of_nothing_are_skipped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("start;end;label\n0;1;a\n;;\n1;2;b\n;;\n;;\n")
    assert read_timeline(path) == (Interval(0.0, 1.0, "a"), Interval(1.0, 2.0, "b"))


def test_a_table_may_have_other_columns_in_any_order(tmp_path):
    text = 'label,Speaker,End,start\n"a, b",x,0.5,0\n,x,0.9,0.5\nc,x,1.5,0.9\n'
    assert read_timeline(written(tmp_path, text, "a.csv")) == (Interval(0.0, 0.5, "a, b"), Interval(0.9, 1.5, "c"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "columns none; expected start, end, label"),
        ("begin,end,label\n", "columns 'begin', 'end', 'label'; expected"),
        ("start,end,label\n0,1,a\nx,2,b\n", "row 3: got 'x' and '2', expected start and end in s"),
        ("start,end,label\n2,1,a\n", "row 2: an interval from 2 to 1 s"),
        ("start,end,label\n0,nan,a\n", "from 0 to nan"),
        ("start,end,label\n-1,1,a\n", "from -1 to 1"),
        ("start,end,label\n0\n", "row 2: got '0' and ''"),
        (LONG[:200], "ends where"),
        (LONG.replace("size = 3\nitem", "size = 4\nitem"), "ends where"),
        (LONG.replace("size = 3\nitem", "size = 1e99\nitem"), "expected the number of tiers"),
        (LONG.replace("xmax = 0.25", 'xmax = "x"'), "expected the end of an interval"),
        (LONG.replace('"IntervalTier"', '"Pitch"'), "a tier of class 'Pitch'"),
        (LONG.replace("<exists>", "<absent>"), "has no tiers"),
        (LONG.replace('"TextGrid"', '"Sound"'), "another object of Praat"),
        (LONG.replace('text = "AH"', "text = 3"), "expected the text of an interval"),
        (LONG.replace("tiers? <exists>", "tiers? 5"), "expected <exists>"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, told):
    with pytest.raises(DataError) as caught:
        read_timeline(written(tmp_path, text, "a.csv"))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\x80\x81\xff")
    with pytest.raises(DataError, match="no text in UTF-8 or UTF-16"):
        read_timeline(path)
    with pytest.raises(DataError, match="can't be read"):
        read_timeline(tmp_path)
    with pytest.raises(DataError, match="can't be read"):
        read_timeline(tmp_path / "none.csv")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cut_and_changed_files_are_read_or_refused(tmp_path_factory, data):
    """Whatever is done to a file, it is read or refused by one error of ours."""
    text = data.draw(st.sampled_from([LONG, SHORT, "start,end,label\n0,1,a\n"]))
    place, size = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 20))
    changed = text[:place] + data.draw(st.text(max_size=8)) + text[place + size :]
    path = tmp_path_factory.mktemp("changed") / "a.csv"
    path.write_bytes(changed.encode("utf-8", "surrogatepass"))
    found = ()
    with contextlib.suppress(DataError):
        found = read_timeline(path)
    assert all(one.label and 0 <= one.start <= one.end for one in found)


def test_the_file_beside_a_sound_has_its_stem(tmp_path):
    assert beside(tmp_path / "a.wav") is None
    written(tmp_path, SHORT, "b.csv")
    assert beside(tmp_path / "a.wav") is None
    written(tmp_path, SHORT, "a.csv")
    assert beside(tmp_path / "a.wav") == tmp_path / "a.csv"
    written(tmp_path, SHORT, "a.TextGrid")
    assert beside(tmp_path / "a.wav").suffix.lower() == ".textgrid"


def test_codes_hold_from_begin_to_end_and_the_later_line_counts():
    timeline = (Interval(0.0, 1.0, "a"), Interval(0.5, 0.75, "b"), Interval(2.0, 3.0, "c"))
    times = np.array([0, 0.49, 0.5, 0.74, 0.75, 0.99, 1, 1.5, 2, 2.999, 3])
    assert codes_of(timeline, times, ("a", "b")).tolist() == [0, 0, 1, 1, 0, 0, -2, -2, -1, -1, -2]
