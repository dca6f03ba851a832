"""The page in a real browser: nothing from outside, no errors, sounds that play, dots that play, no sideways scroll."""

import shutil

import numpy as np
import pytest

from latentscape.report import Commands, Compare, Map, Page, Picture, Relief, Section, Sound, Table, Text, write_page
from latentscape.report.pictures import rates
from latentscape.report.style import DARK

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
RATE = 22_050
GROUND = 500 + 100 * np.add.outer(np.arange(8.0), np.arange(10.0))
LONG = "averyverylongnamewithoutanyspaceinit_" * 6


def sound(title: str, frequency: float, seconds: float = 2.0) -> Sound:
    t = np.arange(round(seconds * RATE)) / RATE
    wave = (0.3 * np.sin(2 * np.pi * frequency * t) * np.exp(-2 * t)).astype(np.float32)
    return Sound(title, wave[None], RATE, "a caption", f"sounds/{LONG}.wav")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    values = np.linspace(0, 3, 12)
    places = np.array([[x, y] for x in range(4) for y in range(3)], dtype=float)
    names = tuple(f"dot {k}" for k in range(12))
    dots = tuple(sound(f"dot {k}", 200 + 50 * k, 1.5) if k != 5 else None for k in range(12))
    write_page(
        Page(
            f"A page with a {LONG}",
            f'Its lead has <script>console.error("run")</script> and a {LONG}',
            tuple((f"{k} {LONG[:30]}", "what it is") for k in range(5)),
            (
                Section("Verdict", (Text("All is well.", "good"), Text(LONG, "warning"))),
                Section("Walks", (sound("Circle", 440, 6.0), sound("Line", 330), sound(LONG, 220))),
                Section("Beside", (Compare("pair", (sound("Original", 300, 5.0), sound("Model", 310, 5.0))),)),
                Section(
                    "Map",
                    (
                        Map(
                            "map",
                            places,
                            names,
                            ("x", "y", "z") * 4,
                            "kind",
                            (),
                            dots,
                            colourings={"level (dB)": [float(k) for k in range(12)]},
                            reliefs=(Relief("brightness (Hz)", GROUND, (-0.5, -0.5), (3.5, 2.5)),),
                            layouts={"other": places[::-1] * [1, 2]},
                        ),
                    ),
                ),
                Section("Rates", (Picture("rates", rates(values), LONG, rates(values, theme=DARK)),)),
                Section(
                    "Table", (Table("t", tuple(LONG[:20] for _ in range(9)), ((1.0,) * 9,)), Commands("c", (LONG,)))
                ),
            ),
            LONG,
        ),
        path,
    )
    return path.as_uri()


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


@pytest.fixture
def view(browser, address, request):
    """A fresh view of the page; at the end of every test nothing may have gone wrong and nothing been fetched."""
    options = {"viewport": {"width": 1280, "height": 900}} | getattr(request, "param", {})
    context = browser.new_context(**options)
    page = context.new_page()
    wrong, fetched = [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: fetched.append(sent.url) if not sent.url.startswith(("data:", address)) else None)
    page.goto(address)
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert wrong == []
    assert fetched == []


def until(view, condition: str) -> None:
    """Wait for a condition (Playwright's own waiting needs `eval`, which the page's policy forbids)."""
    for _ in range(200):
        if view.evaluate(condition):
            return
        view.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def playing(view) -> list[bool]:
    return view.eval_on_selector_all("audio", "all => all.map((audio) => !audio.paused)")


def test_sounds_load(view):
    until(view, "[...document.querySelectorAll('audio')].every((audio) => audio.readyState > 0)")
    durations = view.eval_on_selector_all("audio", "all => all.map((audio) => audio.duration)")
    assert durations == pytest.approx([6, 2, 2, 5, 5], abs=0.01)
    assert view.evaluate("document.querySelector('img').naturalWidth") == 840


def test_play_moves_the_playhead_and_one_sounds_at_a_time(view):
    buttons = view.locator(".play")
    buttons.nth(0).click()
    until(view, "parseFloat(document.querySelector('.head').style.left) > 1")
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    buttons.nth(1).click()
    until(view, "!document.querySelectorAll('audio')[1].paused")
    assert playing(view) == [False, True, False, False, False]
    buttons.nth(1).click()
    assert playing(view) == [False] * 5


def test_compare_goes_on_from_the_same_place(view):
    pair = view.locator(".compare .play")
    pair.nth(0).click()
    until(view, "document.querySelectorAll('audio')[3].currentTime > 0.7")
    pair.nth(1).click()
    until(view, "!document.querySelectorAll('audio')[4].paused")
    assert view.evaluate("document.querySelectorAll('audio')[4].currentTime") > 0.6
    assert playing(view) == [False, False, False, False, True]


def test_keyboard_plays_and_seeks(view):
    view.locator(".play").nth(0).focus()
    view.keyboard.press("Space")
    until(view, "!document.querySelector('audio').paused")
    view.keyboard.press("Enter")
    until(view, "document.querySelector('audio').paused")
    view.keyboard.press("Shift+Tab")
    assert view.evaluate("document.activeElement.className") == "seek"
    before = view.evaluate("document.querySelector('audio').currentTime")
    for _ in range(3):
        view.keyboard.press("ArrowRight")
    assert view.evaluate("document.querySelector('audio').currentTime") == pytest.approx(before + 3 * 6 / 50, abs=0.02)
    view.keyboard.press("Space")
    until(view, "!document.querySelector('audio').paused")


def test_clicking_the_strip_seeks(view):
    view.locator(".strip").nth(0).click(position={"x": 800, "y": 60})
    time = view.evaluate("document.querySelector('audio').currentTime")
    width = view.locator(".strip").nth(0).bounding_box()["width"]
    assert time == pytest.approx(6 * 800 / width, abs=0.15)


def test_clicking_a_dot_plays_it(view):
    view.locator(".map").scroll_into_view_if_needed()
    view.locator(".dot[data-i='7']").click()
    until(view, "document.querySelector('.map').dataset.playing === '7'")
    assert "dot 7, kind y" in view.locator(".said").inner_text()
    view.locator(".play").nth(1).click()
    until(view, "document.querySelector('.map').dataset.playing === undefined")
    view.locator(".dot[data-i='5']").click()
    assert "dot 5, kind z (no sound here)" in view.locator(".said").inner_text()
    assert view.locator(".map").get_attribute("data-playing") is None


def test_a_map_can_be_coloured_grounded_and_laid_out_anew(view):
    dot = view.locator(".dot[data-i='7']")
    terrain = view.locator(".terrain")
    assert view.eval_on_selector(".terrain", "one => one.querySelectorAll('path').length") >= 4
    assert terrain.is_visible()
    assert "ground: brightness (Hz)" in view.locator(".map").inner_text()
    view.locator("select.relief").select_option("0")
    assert not terrain.is_visible()
    assert "ground" not in view.locator(".map .legend").all_inner_texts()[1]
    view.locator("select.relief").select_option("1")
    before = dot.evaluate("one => getComputedStyle(one).getPropertyValue('--c')")
    view.locator("select.colour").select_option("1")
    assert dot.evaluate("one => getComputedStyle(one).getPropertyValue('--c')") != before
    assert view.locator(".map .legend").first.inner_text().startswith("level (dB)")
    dot.click()
    assert "dot 7, level (dB) 7" in view.locator(".said").inner_text()
    where = "one => one.parentNode.getAttribute('transform').match(/[\\d.]+/g).map(Number)"
    place = dot.evaluate(where)
    view.locator("select.layout").select_option("1")
    assert dot.evaluate(where) != place
    assert not terrain.is_visible()
    assert view.locator("select.relief").is_disabled()
    dot.click()
    until(view, "document.querySelector('.map').dataset.playing === '7'")
    view.locator("select.layout").select_option("0")
    view.locator("select.colour").select_option("0")
    assert dot.evaluate(where) == place
    assert terrain.is_visible()
    assert dot.evaluate("one => getComputedStyle(one).getPropertyValue('--c')") == before


def test_map_by_keyboard(view):
    view.locator(".plane").focus()
    view.keyboard.press("ArrowRight")
    view.keyboard.press("ArrowUp")
    view.keyboard.press("Enter")
    until(view, "document.querySelector('.map').dataset.playing === '4'")
    assert "dot 4" in view.locator(".said").inner_text()


@pytest.mark.parametrize(
    "view", [{"viewport": {"width": 390, "height": 844}}, {"viewport": {"width": 320, "height": 640}}], indirect=True
)
def test_a_phone_never_scrolls_sideways(view):
    assert view.evaluate("document.documentElement.scrollWidth") <= view.evaluate("innerWidth")
    small = view.eval_on_selector_all(
        "button, nav a", "all => all.filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"
    )
    assert small == []
    inside = (
        "all => all.every((e) => { const b = e.getBoundingClientRect(), p = e.closest('svg').getBoundingClientRect();"
    )
    inside += (
        "return b.left >= p.left - 1 && b.right <= p.right + 1 && b.top >= p.top - 1 && b.bottom <= p.bottom + 1; })"
    )
    assert view.eval_on_selector_all(".plane .dot", inside)


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, k) => { const v = c[k] / 255;
    return sum + w * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const wrong = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.closest('script') || !e.getClientRects().length) continue;
    let under = e; while (under && rgb(getComputedStyle(under).backgroundColor)[3] < 255) under = under.parentElement;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(rgb(getComputedStyle(under).backgroundColor))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.push([ratio, e.className, walker.currentNode.data.slice(0, 30)]);
  }
  return wrong;
}"""


@pytest.mark.parametrize("view", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True)
def test_contrast_is_aa_in_light_and_dark(view):
    assert view.evaluate(CONTRAST) == []


def test_dark_pictures_and_paper(browser, address):
    papers = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        papers[scheme] = (paper, page.evaluate("document.querySelector('.picture img').currentSrc.length"))
        context.close()
    assert papers["light"][0] != papers["dark"][0]
    assert papers["light"][1] != papers["dark"][1]


@pytest.mark.parametrize("view", [{"java_script_enabled": False}], indirect=True)
def test_without_a_script_the_browser_plays(view):
    assert view.locator("audio").first.is_visible()
    assert view.locator(".play").first.is_hidden()
