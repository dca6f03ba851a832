"""A page is one file that holds everything, escapes everything, and stays inside its budget."""

import json
import re
import shlex
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from latentscape.core.errors import DataError, StorageError
from latentscape.report import Commands, Compare, Map, Page, Picture, Relief, Section, Sound, Table, Text, write_page
from latentscape.report.media import flac, ridges, strip
from latentscape.report.plane import MOST_DOTS, Plane, farthest_first

RATE = 8_000
RNG = np.random.default_rng(0)
NASTY = "a \"quoted\" 'name' <script>alert(1)</script> & 🎻 ☃ \x00\udc80 $title"
VOID = {"meta", "link", "img", "source", "input", "br", "path"}


class Tree(HTMLParser):
    """Checks that tags nest, and gathers elements with their attributes, and all text."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)

    def all(self, tag, name=""):
        return [a for t, a in self.elements if t == tag and (not name or name in (a.get("class") or "").split())]


def sound(title="tone", seconds=0.5, gain=0.5, channels=1, file=""):
    t = np.arange(round(seconds * RATE)) / RATE
    return Sound(title, np.tile(gain * np.sin(2500 * t), (channels, 1)).astype(np.float32), RATE, "caption", file)


def noise(title="noise", seconds=1.0, file=""):
    return Sound(title, (0.1 * RNG.normal(size=(1, round(seconds * RATE)))).astype(np.float32), RATE, "", file)


def plane(n=6, labels=None, **parts):
    labels = labels if labels is not None else tuple("ab"[k % 2] for k in range(n))
    parts = {"label": "family", "sounds": tuple(sound(f"s{k}", 0.1) for k in range(n))} | parts
    return Map("map", RNG.normal(size=(n, 2)), tuple(f"dot {k}" for k in range(n)), labels, **parts)


def image(size=8) -> bytes:
    out = BytesIO()
    Image.fromarray(RNG.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def write(tmp_path, *items, **options):
    path = tmp_path / "index.html"
    written = write_page(Page("title", sections=(Section("one", items),)), path, **options)
    tree = Tree()
    text = path.read_text(encoding="utf-8")
    tree.feed(text)
    tree.close()
    assert tree.open == []
    assert written.size == path.stat().st_size
    return tree, written, text


def everything(word: str) -> Page:
    items = (
        Text(word, "good"),
        Text(word + "\n\nsecond"),
        Sound(word, sound().wave, RATE, word, f"sounds/{word}.wav".replace("\udc80", "").replace("\x00", "")),
        Compare(word, (sound(word), sound(word)), word),
        Picture(word, image(), word, image()),
        Picture(word, image()),
        Table(word, (word, "n"), ((word, 1.5), (word, 2)), word),
        Commands(word, (word, word), word),
        Map(word, np.eye(2), (word, word), (word, word), word, (True, False), (sound(word), None), word),
        Map(word, np.eye(2), (word, word), (1.0, 2.5), word),
    )
    return Page(word, word, ((word, word),), tuple(Section(word, items, word) for _ in range(3)), word)


def test_every_word_is_escaped(tmp_path):
    write_page(everything("plain"), tmp_path / "plain.html")
    write_page(everything(NASTY), tmp_path / "nasty.html")
    plain, nasty = Tree(), Tree()
    plain.feed((tmp_path / "plain.html").read_text(encoding="utf-8"))
    nasty.feed((tmp_path / "nasty.html").read_text(encoding="utf-8"))
    assert nasty.open == []
    assert [tag for tag, _ in nasty.elements] == [tag for tag, _ in plain.elements]
    assert [set(a) for _, a in nasty.elements] == [set(a) for _, a in plain.elements]
    shown = NASTY.replace("\x00", "\ufffd").replace("\udc80", "\ufffd")
    assert shown in "".join(nasty.text)
    assert any(a.get("data-name") == shown for a in nasty.all("path", "dot"))
    assert any(shown in a.get("alt", "") for a in nasty.all("img"))


def test_commands_are_quoted_for_the_shell():
    typed = ["latentscape", "train", "My Samples/it's 1", "--run", "runs/mine"]
    commands = Commands.of("this run", typed, ["latentscape", "play", "runs/mine"])
    assert shlex.split(commands.lines[0]) == typed
    assert commands.lines[1] == "latentscape play runs/mine"


def test_nothing_comes_from_outside(tmp_path):
    write_page(everything("plain"), tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    tree = Tree()
    tree.feed(text)
    for tag, attributes in tree.elements:
        for name in ("src", "href", "srcset"):
            address = attributes.get(name)
            outside = address and not address.startswith(("data:", "#"))
            assert not outside or (tag == "a" and address.startswith("sounds/")), (tag, address)
    policy = next(a["content"] for a in tree.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|@import|url\(", re.sub(r"data:[^\"']*", "", text))


def test_sounds_are_the_sounds(tmp_path):
    given = sound(channels=2)
    tree, written, _ = write(tmp_path, given, Sound("loud", 3 * given.wave, RATE))
    assert written.sounds == 2
    assert written.left_out == ()
    for index, audio in enumerate(tree.all("audio")):
        data, rate = soundfile.read(BytesIO(b64decode(audio["src"].split(",")[1])), dtype="float32")
        assert rate == RATE
        expected = given.wave if index == 0 else given.wave / np.abs(given.wave).max()
        assert np.abs(data.T - expected).max() <= 2**-15
    assert soundfile.info(BytesIO(flac(given))).subtype == "PCM_16"


def test_sounds_beside_each_other_keep_their_levels(tmp_path):
    tree, _, _ = write(tmp_path, Compare("pair", (sound("soft", gain=0.6), sound("loud", gain=1.8))), sound(gain=1.8))
    soft, loud, alone = (
        soundfile.read(BytesIO(b64decode(one["src"].split(",")[1])))[0].max() for one in tree.all("audio")
    )
    assert loud == pytest.approx(1, abs=1e-3)
    assert soft == pytest.approx(loud / 3, abs=1e-3)
    assert alone == pytest.approx(1, abs=1e-3)


def test_links_to_files_survive_strange_names(tmp_path):
    tree, *_ = write(tmp_path, sound(file='sounds/a "b" #1?.wav'))
    assert tree.all("a", "file")[0]["href"] == "sounds/a%20%22b%22%20%231%3F.wav"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Sound("x", np.zeros((1, 0), np.float32), RATE), r"'x' has shape \(1, 0\)"),
        (Sound("x", np.full((1, 9), np.nan, np.float32), RATE), "NaN or infinity"),
        (Sound("x", np.zeros((20, 9), np.float32), RATE), r"20 channels at 8000 Hz.*FLAC"),
        (Table("t", ("a", "b"), ((1,),)), "2 columns, but a row of 1"),
        (Map("m", np.zeros((3, 2)), ("a", "b"), ("a", "b", "c")), "3 points, but 2 names"),
        (Map("m", np.zeros((1, 2)), ("a",), ("a",), test=(True, False)), "1 points, but 2 test"),
        (Map("m", np.full((1, 2), np.inf), ("a",), ("a",)), "NaN or infinite"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_written(tmp_path, item, message):
    with pytest.raises(DataError, match=message):
        write_page(Page("t", sections=(Section("s", (item,)),)), tmp_path / "index.html")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_page(Page("t"), tmp_path / "file" / "index.html")


@pytest.mark.parametrize("budget", [60_000, 100_000, 150_000, 400_000])
def test_budget_is_kept_and_what_is_left_out_is_named(tmp_path, budget):
    players = [noise(f"noise {k}", file=f"sounds/{k}.wav") for k in range(12)]
    picture = Picture("a big picture", image(120))
    tree, written, text = write(tmp_path, plane(40), plane(9), *players, picture, sound(seconds=0.01), budget=budget)
    assert written.size <= budget
    embedded = {a["aria-label"].removeprefix("Play ") for a in tree.all("button", "play")}
    for player in players:
        assert (player.title in embedded) != (player.title in written.left_out)
        assert f'href="{player.file}"' in text
    assert ("a big picture" in written.left_out) == ("Left out: the page is full." in text)
    if budget > 60_000:
        assert embedded
        assert written.size > 0.5 * budget


def test_the_ground_of_a_map_is_in_the_budget(tmp_path):
    rough = Relief("rough", RNG.normal(size=(60, 60)), (-3.0, -3.0), (3.0, 3.0))
    item = plane(20, reliefs=(rough,), sounds=())
    tree, whole, _ = write(tmp_path, item)
    assert tree.all("g", "terrain")
    assert whole.left_out == ()
    tree, written, _ = write(tmp_path, item, budget=whole.size - 1)
    assert written.size < whole.size
    assert not tree.all("g", "terrain")
    assert not tree.all("select")
    assert written.left_out == ("map: what can be chosen of it",)
    assert write(tmp_path, plane(20, sounds=()), budget=0)[1].left_out == ()  # a map without choices lacks none


def test_dots_that_are_not_drawn_take_no_room(tmp_path):
    _, written, _ = write(tmp_path, noise(), plane(2 * MOST_DOTS, sounds=()), budget=2_000_000)
    assert (written.sounds, written.left_out) == (1, ())
    assert written.size <= 2_000_000


def test_map_sounds_are_bounded_and_spread(tmp_path):
    tree, written, text = write(tmp_path, plane(50), map_sounds=10)
    sounds = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])
    assert len(sounds) == 10 == written.sounds
    assert written.left_out == ("map: 40 of 50 sounds",)
    assert len(tree.all("path", "dot")) >= 50
    assert "the brighter ones" in text
    data, _ = soundfile.read(BytesIO(b64decode(next(iter(sounds.values())).split(",")[1])))
    assert len(data) == 0.1 * RATE
    _, whole, text = write(tmp_path, plane(5, sounds=()))
    assert whole.sounds == 0
    assert "Click a dot" not in text


def test_map_places_colours_and_shapes(tmp_path):
    item = Map("m", np.array([[0, 0], [1, 0], [0, 2]]), ("a", "b", "c"), ("x", "y", "x"), "kind", (False, True, False))
    tree, _, text = write(tmp_path, item)
    dots = [a for a in tree.all("path", "dot") if "data-i" in a]
    places = [tuple(map(float, p)) for p in re.findall(r'<g transform="translate\((\S+) (\S+)\)">', text)]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx((y0 - y2) / 2, abs=0.2)
    assert (y1, x2) == (y0, x0)
    assert dots[0]["style"] == dots[2]["style"] != dots[1]["style"]
    assert dots[0]["d"] == dots[2]["d"] != dots[1]["d"]
    assert "hollow" in dots[1]["class"]
    assert dots[1]["data-words"] == "kind y, held out"


@pytest.mark.parametrize("labels", [(1, 2, 3), (0.5, float("nan"), 0.7), (4.0, 4.0, 4.0), (float("nan"),) * 3])
def test_map_of_numbers_has_a_ramp(tmp_path, labels):
    tree, *_ = write(tmp_path, Map("m", np.eye(3)[:, :2], ("a", "b", "c"), labels, "Hz"))
    assert len(tree.all("span", "ramp")) == 1


def test_empty_and_huge_maps(tmp_path):
    tree, *_ = write(tmp_path, Map("m", np.zeros((0, 2)), (), ()))
    assert len(tree.all("path", "dot")) == 0
    _, _, text = write(tmp_path, Map("m", RNG.normal(size=(3100, 2)), ("a",) * 3100, ("b",) * 3100))
    assert "3000 of 3100 dots shown" in text


def test_farthest_first_spreads():
    places = np.concatenate([RNG.normal(size=(100, 2)), [[50, 0], [-50, 0], [0, 50]]])
    assert {100, 101, 102} <= set(farthest_first(places, 4))
    assert sorted(farthest_first(np.zeros((5, 2)), 5)) == list(range(5))


def test_strip_is_where_the_sound_is():
    wave = np.zeros((1, 2 * RATE), np.float32)
    wave[0, RATE:] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    picture = np.asarray(Image.open(BytesIO(strip(wave, RATE))).convert("L")).astype(float)
    lit = picture[50:].max(axis=0)
    assert lit[: int(0.47 * len(lit))].max() < 20
    assert lit[int(0.53 * len(lit)) :].min() > 100
    row = picture[44:, int(0.8 * picture.shape[1])].argmax() / (len(picture) - 45)
    assert row == pytest.approx(np.log(4000 / 1000) / np.log(4000 / 50), abs=0.03)
    quiet = np.asarray(Image.open(BytesIO(strip(wave * 0.1, RATE, 0.5))).convert("L")).astype(float)
    assert (quiet[:44] > 60).sum() < 0.4 * (picture[:44] > 60).sum()


@pytest.mark.parametrize("n", [1, 2, 100])
def test_shortest_sounds(tmp_path, n):
    wave = np.full((1, n), 0.1, np.float32)
    _, written, _ = write(tmp_path, Sound("short", wave, RATE), Sound("silent", 0 * wave, 192_000))
    assert written.sounds == 2
    assert len(ridges(wave, RATE)) == 15


def test_structure(tmp_path):
    write_page(everything("word"), tmp_path / "index.html")
    tree = Tree()
    tree.feed((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert len(tree.all("h1")) == 1
    assert len(tree.all("h2")) == 3
    assert len(tree.all("nav")) == 1
    ids = [a["id"] for _, a in tree.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for attributes in tree.all("a"):
        if attributes["href"].startswith("#"):
            assert attributes["href"][1:] in ids
    assert all(a.get("alt") for a in tree.all("img"))
    assert len(tree.all("td", "number")) == 6


def test_page_without_anything(tmp_path):
    tree, written, _ = write(tmp_path)
    assert tree.all("svg", "landscape") == []
    assert written.size < 60_000


def chosen(tmp_path, **parts):
    item = Map("m", np.array([[0, 0], [1, 0], [0, 2.0]]), ("a", "b", "c"), ("x", "y", "x"), "kind", **parts)
    tree, _, text = write(tmp_path, item)
    views = re.search(r'<script type="application/json" class="views">(.*?)</script>', text)
    return tree, text, json.loads(views[1]) if views else None


def test_a_map_without_choices_has_no_controls(tmp_path):
    tree, _, views = chosen(tmp_path)
    assert views is None
    assert not tree.all("select")


def test_what_can_be_chosen_of_a_map_lies_beside_it(tmp_path):
    values = np.add.outer(np.zeros(5), np.linspace(0, 10, 6))
    values[0, 0] = np.nan
    tree, text, views = chosen(
        tmp_path,
        colourings={"</script> level": [1.0, 2.0, float("nan")]},
        reliefs=(
            Relief(NASTY, values, (0.0, 0.0), (1.0, 2.0)),
            Relief("nothing", np.full((3, 3), np.nan), (0.0, 0.0), (1.0, 2.0)),
        ),
        layouts={"principal": np.array([[5, 5], [6, 5], [5, 7.0]])},
        layout="neighbours",
    )
    assert [one["name"] for one in views["colours"]] == ["kind", "</script> level"]
    assert [dot[2] for dot in views["colours"][1]["dots"]] == ["1", "2", "unknown"]
    assert len({dot[0] for dot in views["colours"][1]["dots"]}) == 3
    assert [dot[2] for dot in views["colours"][0]["dots"]] == ["x", "y", "x"]
    assert [one["name"] for one in views["layouts"]] == ["neighbours", "principal"]
    assert views["layouts"][0]["places"] == views["layouts"][1]["places"], "the same shape, elsewhere"
    assert len(tree.all("select")) == 3
    terrain = re.findall(r'<g class="terrain".*?</g>', text, re.S)
    assert len(terrain) == 2
    assert terrain[0].count("<path") >= 3
    assert terrain[1].count("<path") == 0
    assert views["reliefs"][1]["legend"] == ""


def test_the_ground_lies_where_its_values_are(tmp_path):
    values = np.add.outer(np.zeros(5), np.linspace(0, 10, 11))  # rises to the right
    _, text, _ = chosen(tmp_path, reliefs=(Relief("x", values, (0.0, 0.0), (1.0, 2.0)),))
    paths = re.findall(r'<path d="(M[^"]*)"', re.search(r'<g class="terrain".*?</g>', text, re.S)[0])
    plane = Plane.of(Map("m", np.array([[0, 0], [1, 0], [0, 2.0]]), ("a", "b", "c"), ("x", "y", "x")))
    left = [min(float(pair.split()[0]) for pair in re.findall(r"-?\d+ -?\d+", path)) for path in paths]
    expected = [plane.pixels(np.array([[level / 10, 0]]))[0, 0] for level in np.arange(0.5, 10, 0.5)]
    assert all(min(abs(x - y) for y in expected) < 1 for x in left)
    assert left == sorted(left)


def test_choices_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 points, but 2 of 'level'"):
        chosen(tmp_path, colourings={"level": [1.0, 2.0]})
    with pytest.raises(DataError, match="NaN or infinite"):
        chosen(tmp_path, layouts={"other": np.full((3, 2), np.nan)})
