"""The page in a real browser: it loads, is played by hand and by keyboard, and what sounds is what is rendered."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
from small_run import DIM, HOP, RATE, served

from latentscape.geometry.paths import Circle
from latentscape.play.load import Load
from latentscape.play.server import page_files

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    (path for name in ("chromium", "google-chrome", "chromium-browser") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
STATE = "latentscape.store.state"
TOOLS = ("play", "listen", "draw", "circle", "spiral", "line", "sphere", "geodesic")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"Chromium does not start: {error.message.splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(stage):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("worked", "starved"):  # a busy machine changes nothing here
            patch.setattr(Load, name, lambda *given: None)
        with served(stage) as port:
            yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def view(browser, address, request):
    """A fresh view of the page; nothing may go wrong in it, and nothing be asked for elsewhere."""
    options = {"viewport": {"width": 1440, "height": 900}} | getattr(request, "param", {})
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong, elsewhere = [], []
    page.on("console", lambda message: wrong.append(message.text) if said_wrong(message) else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    here = (address, "data:", "blob:" + address)
    page.on("request", lambda sent: None if sent.url.startswith(here) else elsewhere.append(sent.url))
    page.goto(address)
    until(page, "!document.querySelector('#start').disabled")
    yield page
    context.close()
    assert wrong == []
    assert elsewhere == []


def said_wrong(message):
    refused = "the server responded with a status of 4" in message.text  # the page says these itself
    return message.type in ("error", "warning") and not refused


def until(view, condition):
    """Wait for a condition (Playwright's own waiting needs `eval`, which the page's policy forbids)."""
    for _ in range(400):
        if view.evaluate(condition):
            return
        view.wait_for_timeout(25)
    raise AssertionError(f"never came true: {condition}")


def state(view):
    return json.loads(view.evaluate(f"JSON.stringify({STATE})"))


def begin(view):
    """Start the sound, and keep all that is played."""
    view.evaluate(
        """() => {
          window.kept = { waves: [], blocks: [] };
          window.stopKeeping = latentscape.audio.capture(({ wave, blocks }) => {
            window.kept.waves.push(...wave);
            window.kept.blocks.push(...blocks);
          });
        }"""
    )
    view.click("#start")
    until(view, "latentscape.audio.report.played > 800")


def kept(view):
    """Return what was played, each sample at its index (the last that was played there), and which ones were."""
    view.evaluate("window.stopKeeping()")
    found = view.evaluate("window.kept")
    waves = np.array(found["waves"], np.float32).reshape(-1, 128)
    size = int(max((first + count for first, count, _ in found["blocks"]), default=0))
    wave, known = np.zeros(size, np.float32), np.zeros(size, bool)
    starved = False
    for block, (first, count, _) in zip(waves, found["blocks"], strict=True):
        span = slice(int(first), int(first) + int(count))
        wave[span], known[span] = block[: int(count)], True
        if starved and count:  # the ring fades in after it ran empty
            known[span.start : span.start + 64] = False
        starved = count < 128
    return wave, known


def middle(view):
    box = view.locator("#stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(view, *points):
    view.mouse.move(*points[0])
    view.mouse.down()
    for point in points[1:]:
        view.mouse.move(*point)
        view.wait_for_timeout(16)
    view.mouse.up()


def test_dragging_over_the_map_plays_there(view):
    assert "small" in view.title()
    assert view.is_visible("#welcome")
    begin(view)
    x, y = middle(view)
    drag(view, (x - 100, y), *((x - 100 + 10 * k, y - 4 * k) for k in range(12)))
    goal = state(view)["goal"]
    assert goal["map"] == "principal"
    place = "latentscape.live.newest.places.principal"
    until(view, f"Math.hypot({place}[0] - {goal['at'][0]}, {place}[1] - {goal['at'][1]}) < 1e-3")
    wave, known = kept(view)
    assert known[:800].any()
    assert 1e-4 < np.sqrt(np.mean(wave**2)) < 1
    view.reload()  # later visits are not told again
    until(view, "!document.querySelector('#start').disabled")
    assert not view.is_visible("#welcome")


def test_what_is_played_is_what_is_rendered(view, instrument):
    count = 160
    path = Circle(centre=[0.0] * DIM, axes=[0, 1], radius=1.0)
    view.evaluate(
        """([path, seconds]) => latentscape.store.set({
          level: 0, loop: false, travelling: true, path: { name: "circle", path, seconds, preview: {}, stamp: -1 },
        })""",
        [path.to_json(), (count - 1) * HOP / RATE],
    )
    begin(view)
    until(view, f"latentscape.audio.report.played > {(count - 8) * HOP}")
    wave, known = kept(view)
    whole = instrument.render(path, count * HOP / RATE, quality="live")[0].numpy()
    size = (count - 10) * HOP
    fade = 64 + round(0.005 * RATE)
    compared = np.flatnonzero(known[fade:size]) + fade
    assert len(compared) > 0.7 * size
    assert np.sqrt(np.mean(whole[compared] ** 2)) > 1e-3
    np.testing.assert_allclose(wave[compared], whole[compared], atol=1e-4)


def test_the_map_is_played_by_keyboard(view):
    sounds = []
    view.on("request", lambda sent: sounds.append(sent.url) if sent.url.endswith("sound.wav") else None)
    begin(view)
    assert view.evaluate("document.activeElement.id") == "stage"
    before = view.evaluate("latentscape.tools.here()")
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowUp"):
        view.keyboard.press(key)
    goal = state(view)["goal"]["at"]
    assert goal[0] > before[0]
    assert goal[1] > before[1]
    until(view, "document.querySelector('#said').textContent.startsWith('Near folder/note')")
    view.keyboard.press("Enter")
    until(view, "latentscape.audio.preview !== null")
    assert len(sounds) == 1
    view.keyboard.press(" ")
    until(view, "!latentscape.performer.running")
    assert view.get_attribute("#play", "aria-pressed") == "false"


def test_points_are_stored_recalled_and_undone(view):
    begin(view)
    view.keyboard.press("Shift+Digit3")
    until(view, f"{STATE}.stored[2] !== null")
    x, y = middle(view)
    drag(view, (x, y), (x + 90, y + 40))
    until(view, "latentscape.live.newest.seq === latentscape.link.seq")
    view.keyboard.press("Digit3")
    stored = state(view)["stored"][2]["code"]
    until(view, "latentscape.live.newest.seq === latentscape.link.seq")
    until(view, f"latentscape.live.newest.code.every((v, i) => Math.abs(v - {json.dumps(stored)}[i]) < 1e-4)")
    assert view.get_attribute(".slot >> nth=2", "aria-label") == "Recall point 3"
    for _ in range(3):
        view.keyboard.press("Control+z")
    assert state(view)["stored"][2] is None
    view.keyboard.press("Control+Shift+Z")
    assert state(view)["stored"][2]["code"] == stored


def test_tools_make_paths_that_sound(view):
    begin(view)
    x, y = middle(view)
    for tool in ("draw", "circle", "spiral", "line", "sphere"):
        view.click(f"[data-tool={tool}]")
        if tool in ("line", "sphere"):
            view.mouse.click(x - 80, y - 40)
            view.mouse.click(x + 80, y + 60)
        else:
            drag(view, (x, y), (x + 30, y + 20), (x + 70, y - 10), (x + 90, y - 60))
        until(view, f"{STATE}.travelling && {STATE}.path.recipe.tool === '{tool}'")
        assert len(state(view)["path"]["preview"]["principal"]) > 10
        until(view, "latentscape.live.newest.seq === latentscape.link.seq && latentscape.live.newest.share > 0")
    assert not view.is_visible("#trouble")
    view.click("#travelling")
    assert not state(view)["travelling"]


def test_a_session_is_saved_and_loaded(view, tmp_path):
    begin(view)
    view.keyboard.press("Shift+Digit1")
    until(view, f"{STATE}.stored[0] !== null")
    view.evaluate("latentscape.store.set({ level: -12, hold: true, axes: { [latentscape.info.axes[0].name]: 1.5 } })")
    with view.expect_download() as download:
        view.click("#save")
    before = state(view)
    path = tmp_path / "session.json"
    download.value.save_as(path)
    view.reload()
    until(view, "!document.querySelector('#start').disabled")
    view.set_input_files("#load-file", path)
    until(view, f"{STATE}.hold")
    after = state(view)
    for name in ("level", "axes", "stored", "labels", "gate", "speed"):
        assert after[name] == before[name]
    view.click("#undo")
    assert not state(view)["hold"]
    broken = {"path": {"no": "kind"}, "preview": {"principal": 5}, "seconds": "long"}
    nonsense = {"latentscape": "session", "dim": DIM, "state": {"path": broken, "travelling": True, "axes": {"x": 1}}}
    for text, said in (
        ("[1", "holds no JSON"),
        ("{}", "not a session"),
        (json.dumps({"latentscape": "session", "dim": 9, "state": {}}), "9 latent dimensions"),
        (json.dumps(nonsense), "path"),  # the page loads what it can; the server says what it can't play
    ):
        path.write_text(text)
        view.set_input_files("#load-file", path)
        until(view, f"document.querySelector('#trouble').textContent.includes({json.dumps(said)})")


def test_keys_set_the_pitch_and_open_the_sound(view):
    begin(view)
    view.click("#keys .segmented button >> nth=1")
    until(view, f"{STATE}.gate === 'keys'")
    until(view, "latentscape.live.newest.seq === latentscape.link.seq")
    until(view, "latentscape.audio.report.peak === 0")
    view.keyboard.down("d")
    until(view, "latentscape.audio.report.peak > 1e-4")
    assert state(view)["labels"]["midi"] == "60"  # E4 is 64: the model knows 60
    assert view.evaluate("document.querySelectorAll('.key.down').length") == 1
    view.keyboard.up("d")
    until(view, "latentscape.audio.report.peak === 0")
    view.keyboard.press("x")
    assert view.get_attribute(".key >> nth=0", "aria-label") == "C5"


def test_a_lost_connection_comes_back_with_its_sound(view):
    begin(view)
    drag(view, middle(view), (middle(view)[0] + 60, middle(view)[1]))
    view.evaluate("latentscape.link.drop()")
    until(view, "document.querySelector('#trouble').textContent.includes('connection is lost')")
    until(view, "document.querySelector('#said').textContent === 'Connected again.'")
    until(view, "latentscape.audio.report.peak > 1e-4 && latentscape.live.newest")
    at = state(view)["goal"]["at"]
    place = "latentscape.live.newest.places.principal"
    until(view, f"Math.hypot({place}[0] - {at[0]}, {place}[1] - {at[1]}) < 1e-3")
    assert not view.is_visible("#trouble")


def test_what_sounds_is_recorded(view, tmp_path):
    begin(view)
    for bits, subtype in (("24", "PCM_24"), ("16", "PCM_16")):
        view.select_option("#bits", bits)
        view.click("#record")
        until(view, "document.querySelector('#record-time').textContent !== 'Record'")
        with view.expect_download() as download:
            view.click("#record")
        path = tmp_path / f"{bits}.wav"
        download.value.save_as(path)
        about = soundfile.info(path)
        assert (about.samplerate, about.channels, about.subtype) == (RATE, 1, subtype)
        assert about.frames >= 4096
        assert np.abs(soundfile.read(path)[0]).max() > 1e-4


def test_a_sound_of_ones_own_is_placed(view, tmp_path):
    path = tmp_path / "mine.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE) * 0.3), RATE)
    begin(view)
    view.set_input_files("#sounds input", path)
    until(view, f"{STATE}.sounds.length === 1")
    assert state(view)["goal"]["code"] == state(view)["sounds"][0]["code"]
    view.click("#sounds >> text=Travel")
    until(view, f"{STATE}.travelling && {STATE}.path.seconds === 1")
    path.write_text("no sound")
    view.set_input_files("#sounds input", path)
    until(view, "document.querySelector('#trouble').textContent.includes('mine.wav')")


def test_a_gap_is_filled_by_keyboard_and_by_hand(view, tmp_path):
    path = tmp_path / "mine.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE) * 0.3), RATE, subtype="PCM_16")
    view.set_input_files("#sounds input", path)
    view.click("#sounds >> text=Fill")
    begin_at = view.locator("#fill input[type=range]").first
    begin_at.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        view.keyboard.press(key)
    assert begin_at.get_attribute("aria-valuetext") == "0.010 s"
    box = view.locator("#fill canvas").bounding_box()
    y = box["y"] + box["height"] / 2
    view.mouse.move(box["x"] + 0.5 * box["width"], y)
    view.mouse.down()
    view.mouse.move(box["x"] + 0.7 * box["width"], y, steps=3)
    view.mouse.up()
    first, last = (float(one.split()[0]) for one in view.locator("#fill output").all_inner_texts())
    assert (first, last) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.7, abs=0.02))
    view.select_option("#fill select >> nth=0", "2")
    view.click("#fill button:text-is('Fill')")
    until(view, "document.querySelectorAll('#fill input[type=radio]').length === 3")
    until(view, "document.querySelector('#said').textContent === '2 answers, by latent.'")
    view.focus("#fill input[type=radio]:checked")
    view.keyboard.press("ArrowDown")  # the drawn one, which is heard at once
    until(view, "latentscape.audio.preview !== null")
    with view.expect_download() as saved:
        view.click("#fill >> text=Save WAV")
    assert saved.value.suggested_filename == "mine filled 2.wav"
    saved.value.save_as(tmp_path / "filled.wav")
    before, after = (soundfile.read(one, dtype="int16")[0] for one in (path, tmp_path / "filled.wav"))
    changed = np.flatnonzero(before != after) / RATE
    assert first - 0.001 <= changed.min() < changed.max() <= last + 0.001
    view.set_viewport_size({"width": 320, "height": 640})
    assert view.evaluate("document.documentElement.scrollWidth") <= 320
    assert [html for html, name in view.evaluate(NAMES) if not name] == []


NAMES = """() => [...document.querySelectorAll(
  'button, input, select, canvas[tabindex], canvas[role], [role=radio], [role=slider]')].map((element) => {
  const labels = [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ');
  const name = element.getAttribute('aria-label') || labels || element.textContent.trim();
  const inside = element.tagName === 'CANVAS' && !element.hasAttribute('aria-label') ? '' : name;
  return [element.outerHTML.slice(0, 90), inside];
})"""


def test_every_control_has_a_name_and_is_reached_by_keyboard(view):
    unnamed = [html for html, name in view.evaluate(NAMES) if not name]
    assert unnamed == []
    begin(view)
    reached = view.evaluate(
        """() => [...document.querySelectorAll('*')].filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility())
          .map((e) => e.id || e.className)"""
    )
    wanted = {"stage", "play", "loop", "hold", "record", "save", "load", "colour", "slot", "pad", "key"}
    assert wanted <= set(reached)
    focused = []
    for _ in range(4):
        view.keyboard.press("Tab")
        focused.append(view.evaluate("document.activeElement.outerHTML"))
    assert len(set(focused)) == 4
    view.focus("[data-tool=play]")
    for tool in (*TOOLS[1:], TOOLS[0]):
        view.keyboard.press("ArrowRight")
        assert view.get_attribute(f"[data-tool={tool}]", "aria-checked") == "true"
    for part in ("main", "header", "footer", "h1", "[aria-live]", "[role=alert]"):
        assert view.evaluate(f"document.querySelectorAll('{part}').length") >= 1


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}


def test_a_slow_machine_says_so_before_it_plays(view):
    assert view.is_hidden("#notice")
    words = "This machine draws the sound 1.1 times as fast as it is heard: it may stutter, and answers late."
    view.route("**/api/instrument", lambda route: route.fulfill(json=route.fetch().json() | {"notice": words}))
    view.reload()
    until(view, "!document.querySelector('#start').disabled")
    assert view.is_visible("#notice")
    assert view.inner_text("#notice") == words
    begin(view)
    assert view.is_hidden("#notice")
    until(view, f"document.querySelector('#said').textContent.includes({words!r})")  # and it is read out


@pytest.mark.parametrize("view", [PHONE, PHONE | {"viewport": {"width": 320, "height": 640}}], indirect=True)
def test_a_phone_scrolls_only_downwards(view):
    for _ in range(2):
        assert view.evaluate("document.documentElement.scrollWidth") <= view.viewport_size["width"]
        box = view.locator("#stage").bounding_box()
        assert box["width"] > 0.9 * view.viewport_size["width"]
        for part in ("[data-tool]", "footer button:not([hidden])", "#legend"):
            boxes = [one.bounding_box() for one in view.locator(part).all() if one.is_visible()]
            assert all(box["x"] >= 0 and box["x"] + box["width"] <= view.viewport_size["width"] for box in boxes), part
        if not view.is_visible("#curtain"):
            break
        view.tap("#start")
    view.touchscreen.tap(*middle(view))
    until(view, f"{STATE}.goal.map === 'principal'")


def colours(dark):
    text = page_files()["style.css"].read_text()
    blocks = re.findall(r":root \{(.*?)\}", text, re.S)
    found = {}
    for block in blocks[: 2 if dark else 1]:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    return found


def contrast(a, b):
    def luminance(colour):
        channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_words_are_told_from_their_ground(dark):
    found = colours(dark)
    words = [(ink, ground) for ink in ("ink", "faint") for ground in ("card", "bg", "soft")]
    words += [("on-accent", "accent"), ("accent", "card"), ("hero-ink", "hero"), ("hero-faint", "hero")]
    for ink, ground in words:
        assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    for edge in ("edge", "accent", "good", "bad"):  # borders of controls, the meter
        assert contrast(found[edge], found["card"]) >= 3, edge


def test_the_page_asks_for_nothing_from_elsewhere():
    for name, path in page_files().items():
        text = path.read_text()
        assert not re.search(r"(?:src|href|url|import|from)\W{1,3}https?:", text), name
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text), name


RING = """async () => {
  Object.assign(globalThis, {
    AudioWorkletProcessor: class { constructor() { this.port = { postMessage() {} }; } },
    registerProcessor: (name, kind) => { window.Ring = kind; },
    sampleRate: 8000, currentTime: 0,
  });
  await import(location.href);
  window.frame = (first, values) => {
    const buffer = new ArrayBuffer(16 + 4 * values.length);
    const head = new DataView(buffer);
    head.setUint32(0, 0x4c53434e, true);
    head.setUint32(4, values.length, true);
    head.setFloat64(8, first, true);
    new Float32Array(buffer, 16).set(values);
    return buffer;
  };
  window.steady = (value, count = 256) => new Array(count).fill(value);
  window.started = () => {
    const ring = new Ring({ processorOptions: { channels: 1 } });
    ring.obey({ running: true, ahead: 0.1 });
    return ring;
  };
  window.played = (ring) => {
    const out = [new Float32Array(128)];
    ring.process([], [out]);
    return Array.from(out[0]);
  };
}"""


@pytest.fixture(scope="module")
def bench(browser, address):
    """The ring by itself: a view of its file alone, in which it can be fed and played by hand."""
    page = browser.new_page()
    page.goto(address + "static/worklet.js")
    page.evaluate(RING)
    yield page
    page.close()


def test_the_ring_replaces_what_was_taken_back(bench):
    heard = bench.evaluate(
        """() => {
          const ring = started();
          for (let k = 0; k < 4; k++) ring.take(frame(256 * k, steady(0.5)));
          const first = [...played(ring), ...played(ring)];
          ring.take(frame(512, steady(-0.5))); // in time: from there on, at once
          const kept = ring.write;
          const rest = [...played(ring), ...played(ring), ...played(ring), ...played(ring)];
          return { first, rest, kept, late: ring.late, underruns: ring.underruns, next: ring.next };
        }"""
    )
    assert heard["first"][64:] == [0.5] * 192  # after its first fade
    assert heard["rest"] == [0.5] * 256 + [-0.5] * 256
    # until the frames that follow have come, what they will replace can still be played
    assert (heard["kept"], heard["next"], heard["late"], heard["underruns"]) == (1024, 768, 0, 0)


def test_the_ring_joins_what_came_too_late_by_a_fade(bench):
    heard = bench.evaluate(
        """() => {
          const ring = started();
          for (let k = 0; k < 4; k++) ring.take(frame(256 * k, steady(0.5)));
          for (let k = 0; k < 3; k++) played(ring); // up to 384
          ring.take(frame(0, steady(-0.5))); // all of it has been heard
          const late = ring.late;
          ring.take(frame(256, steady(-0.5))); // half of it
          ring.take(frame(512, steady(-0.5)));
          return { wave: [...played(ring), ...played(ring)], late, again: ring.late };
        }"""
    )
    wave = np.array(heard["wave"])
    np.testing.assert_allclose(wave[:64], 0.5 - np.arange(64) / 64, atol=1e-6)
    assert (wave[64:] == -0.5).all()
    assert (heard["late"], heard["again"]) == (1, 1)


def test_the_ring_ends_where_a_stop_was_told(bench):
    wave = bench.evaluate(
        """() => {
          const ring = started();
          for (let k = 0; k < 4; k++) ring.take(frame(256 * k, steady(0.5)));
          played(ring);
          ring.obey({ running: false });
          ring.take(frame(256, [...steady(0.25, 128), ...steady(0, 128)]));
          return [...played(ring), ...played(ring), ...played(ring), ...played(ring)];
        }"""
    )
    assert wave[:128] == [0.5] * 128
    assert wave[128:256] == [0.25] * 128
    assert wave[256:] == [0.0] * 256


def test_what_was_taken_back_is_not_where_the_sound_is(view):
    samples = view.evaluate(
        """() => {
          const { live, link } = latentscape;
          const tell = (sample) => link.dispatchEvent(new CustomEvent("at", { detail: { sample, seq: null, places: {} } }));
          for (const sample of [100, 200, 300, 400, 250, 300]) tell(sample);
          return live.reports.map(({ sample }) => sample);
        }"""
    )
    assert samples == [100, 200, 250, 300]


def test_the_ring_goes_on_after_a_gap(bench):
    found = bench.evaluate(
        """() => {
          const ring = started();
          ring.take(frame(0, steady(0.5)));
          ring.take(frame(512, steady(0.25, 1024)));
          return { read: ring.read, wave: played(ring) };
        }"""
    )
    assert found["read"] == 512
    assert found["wave"][64:] == [0.25] * 64
