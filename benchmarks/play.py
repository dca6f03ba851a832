"""Figure 4: the instrument in a real browser: underruns in a minute of play, and how late the sound follows the hand.

    python benchmarks/play.py RUN [--seconds 60] [--turns 3] [--chromium /usr/bin/chromium]

Each turn starts a server and a browser anew, presses the button, and drags over the map for the whole time, a pointer
event every 30 to 70 ms (drawn from a seed). A delay is the time from an event's own time stamp to the call of the
worklet that plays the first sample that depends on it: the server's ``at`` messages name that sample, and the worklet
notes when it plays each block of 128 (to a millisecond). What the sound card adds after the worklet
(``outputLatency``) is printed beside it. "render" is how many seconds of sound one thread renders in a second.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--disable-quic")
LISTEN = """() => {
  const kept = { events: [], sent: [], at: [], blocks: [], skipped: [], waves: 0, ahead: [] };
  const { link, audio, performer } = latentscape;
  let newest = 0;
  const stage = document.querySelector("#stage");
  for (const kind of ["pointerdown", "pointermove", "pointerrawupdate"])
    stage.addEventListener(kind, (event) => { newest = performance.timeOrigin + event.timeStamp; }, { capture: true });
  link.addEventListener("sent", ({ detail }) => {
    if (detail.type === "place" && newest) kept.sent.push([detail.seq, newest]);
    newest = 0;
  });
  link.addEventListener("at", ({ detail }) => kept.at.push([detail.seq, detail.sample]));
  audio.capture(({ blocks, skipped }) => {
    kept.blocks.push(...blocks);
    kept.skipped.push(...skipped);
  });
  setInterval(() => kept.ahead.push(performer.ahead), 500);
  window.kept = kept;
}"""


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def serve(run: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "latentscape", "play", str(run), "--port", str(port), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if "playing at" in line:
            return server
    raise SystemExit("the server did not start")


def drag(page: Page, seconds: float, seed: int) -> None:
    """Move over the map as a hand does: towards a spot, then another, never faster than 25 px an event."""
    box = page.locator("#stage").bounding_box()
    assert box is not None
    rng = np.random.default_rng(seed)
    size = np.array([box["width"], box["height"]])
    place = goal = size / 2
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    page.mouse.down()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if np.linalg.norm(goal - place) < 30:
            goal = size * rng.uniform(0.25, 0.75, 2)
        place = place + (goal - place) * min(1.0, 25 / np.linalg.norm(goal - place))
        page.mouse.move(box["x"] + place[0], box["y"] + place[1])
        time.sleep(rng.uniform(0.03, 0.07))
    page.mouse.up()


def turn(run: Path, seconds: float, chromium: str, seed: int) -> dict[str, Any]:
    port = free_port()
    server = serve(run, port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"http://127.0.0.1:{port}/")
            while not page.evaluate("Boolean(window.latentscape)"):  # the server answers before it has loaded
                page.wait_for_timeout(200)
            page.wait_for_timeout(1000)
            page.evaluate(LISTEN)
            page.click("#start")
            drag(page, seconds, seed)
            kept = page.evaluate("window.kept")
            report = page.evaluate("latentscape.audio.report")
            load = page.evaluate("document.querySelector('#health-text').textContent")
            output = page.evaluate("latentscape.audio.context.outputLatency")
            rate = page.evaluate("latentscape.info.sample_rate")
            browser.close()
    finally:
        server.terminate()
        server.wait(10)
    delays = delays_of(kept)
    counts = [(when, count) for first, count, when in kept["blocks"] if first]
    empty = [round((when - counts[0][0]) / 1000, 1) for (_, full), (when, count) in pairwise(counts) if count < full]
    return {
        "underruns_at_s": empty,
        "underruns": report["underruns"],
        "late": len(kept["skipped"]),
        "played_s": round(report["played"] / rate, 1),
        "events": len(kept["sent"]),
        "measured": len(delays),
        "median_ms": round(float(np.median(delays)), 1),
        "p95_ms": round(float(np.percentile(delays, 95)), 1),
        "ahead_ms": [round(1000 * value) for value in (min(kept["ahead"]), max(kept["ahead"]))],
        "output_ms": round(1000 * output, 1),
        "last": load,
    }


def delays_of(kept: dict[str, list]) -> np.ndarray:
    """Return the delay of each event whose order a report names, ms."""
    firsts = np.array([first for first, count, _ in kept["blocks"] if count])
    times = np.array([when for _, count, when in kept["blocks"] if count])
    asked = dict(kept["sent"])
    delays = []
    for seq, sample in kept["at"]:
        if seq in asked:
            # where a replacement came too late, the first sample that could be replaced is what is heard of it
            sample = next((begin for first, begin in kept["skipped"] if first <= sample < begin), sample)
            block = np.searchsorted(firsts, sample, side="right") - 1
            if sample < firsts[-1]:
                delays.append(times[block] - asked.pop(seq))
    return np.array(delays)


def rendering(run: Path) -> float:
    """Return the seconds of sound that the engine renders in a second, on one thread."""
    import torch

    from latentscape.instrument.loading import load
    from latentscape.play.engine import Player
    from latentscape.play.sounding import Sounding

    torch.set_num_threads(1)
    player = Player(load(run, "cpu"), 256)
    player.load.worked = lambda work, sound: None  # type: ignore[method-assign]
    player.submit(Sounding.play)
    for _ in range(50):
        player.render()
    blocks = round(10 * player.rate / 256)
    begun = time.process_time()
    for _ in range(blocks):
        player.render()
    return blocks * 256 / player.rate / (time.process_time() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    given = parser.parse_args()
    print(json.dumps({"render_times_real_time": round(rendering(given.run), 1)}), flush=True)
    turns = []
    for seed in range(given.turns):
        load = os.getloadavg()[0]
        turns.append(turn(given.run, given.seconds, given.chromium, seed))
        print(json.dumps(turns[-1] | {"loadavg_before": load, "loadavg_after": os.getloadavg()[0]}), flush=True)
    medians, worst = [t["median_ms"] for t in turns], [t["p95_ms"] for t in turns]
    print(json.dumps({"median_ms": sorted(medians), "p95_ms": sorted(worst), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
