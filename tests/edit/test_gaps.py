"""Gaps as people write them, as files hold them, and as samples."""

import numpy as np
import pytest

from latentscape.core.errors import DataError, UsageError
from latentscape.edit.gaps import Gap, Span, known_of, merge, parse_gap, place, read_gaps, runs


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1.20:1.45", Span(1.2, 1.45)),
        (":0.2", Span(None, 0.2)),
        (" 3.1: ", Span(3.1, None)),
        ("0:1e-2", Span(0.0, 0.01)),
    ],
)
def test_what_is_written_is_read(text, span):
    assert parse_gap(text) == span


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected START:END"), (":", "expected START:END"), ("1.2", "expected START:END"),
        ("a:b", "expected START:END"), ("1:2:3", "expected START:END"), ("-1:2", "at least 0"),
        ("nan:2", "at least 0"), ("1:inf", "at least 0"), ("2:1", "ends before it begins"), ("1:1", "ends before"),
        (":0", "ends before"),
    ],
)  # fmt: skip
def test_what_is_no_gap_is_refused_in_one_line(text, said):
    with pytest.raises(UsageError, match=said) as error:
        parse_gap(text)
    assert "\n" not in str(error.value)
    assert f"'{text.strip()}'" in str(error.value)


def test_a_file_holds_one_gap_a_line(tmp_path):
    path = tmp_path / "drop outs.csv"
    path.write_text("\ufeffstart,end\n0.5,0.6\n\n1.0;1.1 # a scratch\n2 2.5\n3:\n", encoding="utf-8")
    assert read_gaps(path) == [Span(0.5, 0.6), Span(1.0, 1.1), Span(2.0, 2.5), Span(3.0, None)]


def test_a_wrong_line_is_named(tmp_path):
    path = tmp_path / "gaps.txt"
    path.write_text("1:2\n3,4,5\n")
    with pytest.raises(UsageError, match=r"gaps.txt line 2 got '3,4,5'"):
        read_gaps(path)
    path.write_text("start,end\nfrom,to\n")
    with pytest.raises(UsageError, match="line 2"):
        read_gaps(path)
    path.write_text("# none\n")
    with pytest.raises(DataError, match="holds no gaps"):
        read_gaps(path)
    path.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(DataError, match="not text"):
        read_gaps(path)
    with pytest.raises(DataError, match="could not read"):
        read_gaps(tmp_path / "none.txt")


def test_times_become_samples_and_what_overlaps_or_touches_is_one():
    spans = [Span(3.0, None), Span(None, 0.1), Span(1.0, 1.2), Span(1.1, 1.5), Span(1.5, 1.6)]
    assert place(spans, 1000, 3500) == [Gap(0, 100), Gap(1000, 1600), Gap(3000, 3500)]
    assert place([Span(3.4, 4.0)], 1000, 3500) == [Gap(3400, 4000)]
    assert place([Span(3.5, 4.0)], 1000, 3500) == [Gap(3500, 4000)]


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (Span(4.0, 5.0), "the sound ends at 3.500 s"), (Span(3.5, None), "the sound ends at 3.500 s"),
        (Span(1.0, 1.0001), "shorter than one sample"), (Span(3.0, 99.0), "beyond the end"),
    ],
)  # fmt: skip
def test_gaps_that_do_not_fit_the_sound_are_refused(span, said):
    with pytest.raises(UsageError, match=said):
        place([span], 1000, 3500)


def test_marks_and_gaps_are_the_same_thing():
    gaps = [Gap(0, 3), Gap(5, 6), Gap(8, 10)]
    assert runs(~known_of(gaps, 10)) == gaps
    assert runs(~known_of(gaps, 10), 2) == [gaps[0], gaps[2]]
    assert merge(gaps, 2) == [Gap(0, 10)]
    assert merge([Gap(0, 9), Gap(2, 4)]) == [Gap(0, 9)]
    assert runs(np.zeros(4, bool)) == []
