// The page of the instrument: builds the parts and joins them.

import * as api from "./api.js";
import { Audio } from "./audio.js";
import { axesPanel, padPanel } from "./axes.js";
import { columns, viridis } from "./colours.js";
import { choice, dated, download, h, options, slider } from "./elements.js";
import { fillPanel } from "./fill.js";
import { keysPanel } from "./keys.js";
import { Landscape } from "./landscape.js";
import { Link } from "./link.js";
import { Live } from "./live.js";
import { MapView } from "./map.js";
import { Performer } from "./performer.js";
import { pointsPanel } from "./points.js";
import { soundsPanel } from "./sounds.js";
import { Store, TRAVELS, fromFile, initial, loudest, toFile } from "./state.js";
import { HINTS, Tools } from "./tools.js";
import { WavFile } from "./wav.js";

const BLOCK = 256; // samples the server renders at a time
const QUIETEST = -48; // dB, where the level's slider ends
const BUFFERS = [0.05, 0.1, 0.15, 0.2, 0.3, 0.5]; // s
const SHOWN = 12_000; // ms that an error stays
const VISITED = "latentscape visited";
const $ = (id) => document.getElementById(id);

const say = (words) => {
  if ($("said").textContent !== words) $("said").textContent = words;
};
let told = 0;
const fail = (error) => {
  $("trouble").hidden = false;
  $("trouble").firstElementChild.textContent = error.message ?? String(error);
  clearTimeout(told);
  told = setTimeout(settle, SHOWN);
};
const settle = () => {
  $("trouble").hidden = true;
};
/** Say what is being done, do it, and say where it fails. */
const busy = async (words, work) => {
  settle();
  say(words);
  document.body.classList.add("busy");
  try {
    await work();
  } catch (error) {
    say("");
    fail(error);
  } finally {
    document.body.classList.remove("busy");
  }
};

const start = async () => {
  const info = await api.instrument();
  document.title = `${info.name}: latentscape`;
  $("name").textContent = info.name;
  const khz = `${(info.sample_rate / 1000).toPrecision(4).replace(/\.?0+$/, "")} kHz`;
  $("facts").textContent = `${info.dots.length} sounds \u00b7 ${info.dim} dimensions \u00b7 ${khz}`;

  const store = new Store(initial(info));
  const link = new Link(api.token);
  let audio;
  try {
    audio = new Audio(info.sample_rate, info.channels, api.dotSound);
    link.feed(await audio.build());
  } catch (error) {
    throw new Error(`This browser can't play the sound: ${error.message}`);
  }
  const live = new Live(link, audio);
  const performer = new Performer(store, link, audio, info);
  const view = new MapView($("field"));
  const tools = new Tools({ view, store, info, audio, live, say, busy });
  const landscape = new Landscape($("landscape"), audio.analyser);

  // the point that is heard, as it is stored: without the axes' offsets where the server tells it, else with them
  const current = async () => {
    const at = live.newest;
    if (at && performer.running) return { code: at.base ?? at.code, places: at.places };
    const { goal } = store.state;
    return goal.code ? { code: goal.code, places: goal.places ?? {} } : { code: (await api.lift(goal.map, [goal.at]))[0], places: { [goal.map]: goal.at } };
  };

  // panels
  const axes = axesPanel($("axes"), store, info);
  $("axes-zero").addEventListener("click", () => axes.zero());
  padPanel($("pad"), store, info);
  const points = pointsPanel($("slots"), $("morph"), { store, tools, current, say, fail });
  keysPanel($("keys"), { store, info, performer, say });
  const filling = fillPanel($("fill"), { info, audio, nearestDot: () => view.nearest(tools.here(), Infinity), say, fail });
  soundsPanel($("sounds"), $("field"), $("dropping"), { store, info, tools, filling, say, fail, busy });
  transport({ store, info, performer, link, audio, live, tools });
  mapControls({ store, view, info, tools });
  session({ store, info, performer });
  recorder({ store, info, audio });

  // the tools are one group: arrows go from one to the next
  const buttons = [...document.querySelectorAll("[data-tool]")];
  const pick = (button) => {
    for (const other of buttons) {
      other.setAttribute("aria-checked", String(other === button));
      other.tabIndex = other === button ? 0 : -1;
    }
    tools.pick(button.dataset.tool);
  };
  buttons.forEach((button, index) => {
    button.title = HINTS[button.dataset.tool];
    button.addEventListener("click", () => pick(button));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = buttons[(index + step + buttons.length) % buttons.length];
      pick(next);
      next.focus();
    });
  });
  pick(buttons[0]);

  // keys of the whole page
  addEventListener("keydown", (event) => {
    const editing = event.target.closest?.("select, input:not([type=range], [type=checkbox])");
    if ((event.ctrlKey || event.metaKey) && event.code === "KeyZ" && !editing) {
      event.preventDefault();
      (event.shiftKey ? $("redo") : $("undo")).click();
    } else if ((event.ctrlKey || event.metaKey) && event.code === "KeyY") {
      event.preventDefault();
      $("redo").click();
    } else if (event.ctrlKey || event.metaKey || event.altKey || editing || event.repeat) return;
    else if (/^Digit[1-8]$/.test(event.code)) (event.shiftKey ? points.put : points.recall)(Number(event.code.at(-1)) - 1);
    else if (event.key === "Escape") tools.cancel();
    else if (event.key === " " && (event.target === view.stage || event.target === document.body)) {
      event.preventDefault();
      $("play").click();
    }
  });

  // pictures: drawn while there is something to see
  let quiet = 0;
  let peak = 0;
  const frame = (now) => {
    const place = live.place(store.state.map);
    view.scene.level = peak;
    view.light(performer.running || quiet < 1500 ? place : null, now);
    if (quiet < 2500) landscape.draw(now);
    meter($("meter"), peak);
  };
  // Without a graphics card, drawing takes a core away from the sound: where frames come late, fewer are drawn.
  let before = performance.now();
  let [drawn, interval, pace] = [0, 16, navigator.hardwareConcurrency > 2 ? 30 : 60];
  const loop = (now) => {
    interval += 0.03 * (Math.min(100, now - before) - interval);
    if (interval > 24) pace = 80;
    quiet = peak > 1e-4 || performer.running ? 0 : quiet + now - before;
    peak *= Math.exp(-(now - before) / 180);
    before = now;
    if (quiet < 3500 && now - drawn >= pace) {
      drawn = now;
      frame(now);
    }
    requestAnimationFrame(loop);
  };
  requestAnimationFrame(loop);
  audio.onreport = (report) => {
    live.hear(report);
    peak = Math.max(peak, report.peak);
    performer.listen(report.underruns, report.low / info.sample_rate);
  };
  for (const button of document.querySelectorAll("[data-view]"))
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll("[data-view]")) other.setAttribute("aria-pressed", String(other === button));
      landscape.show(button.dataset.view);
      landscape.draw(performance.now());
    });

  // the scene follows the session
  store.on((state) => {
    const { scene } = view;
    scene.path = state.path?.preview?.[state.map] ?? null;
    scene.stored = state.stored.map((point, index) => ({ place: point?.places?.[state.map], index })).filter(({ place }) => place);
    scene.sounds = state.sounds.map((sound) => ({ name: sound.name, place: sound.places[state.map] })).filter(({ place }) => place);
    scene.goal = state.travelling ? null : state.goal.map === state.map ? state.goal.at : state.goal.places?.[state.map] ?? null;
    view.refresh();
  }, ["path", "travelling", "goal", "stored", "sounds", "map"]);

  // the connection
  let lost = false;
  const lamp = (kind, words) => {
    $("health").className = kind;
    $("health-text").textContent = words;
  };
  link.addEventListener("ready", () => {
    lamp("good", "connected");
    $("start").disabled = false;
    if (lost) {
      settle();
      say("Connected again.");
    }
    lost = false;
  });
  link.addEventListener("closed", ({ detail: { code, reason, wait, tries } }) => {
    if (!lost || tries === 4) {
      const why = code === 1013 ? "Too many play at once" : code === 1008 ? `The server closed the connection (${reason || "refused"})` : "The connection is lost";
      fail(new Error(`${why}; trying again.`));
    }
    lost = true;
    lamp("bad", `no connection, next try in ${wait} s`);
  });
  link.addEventListener("error", ({ detail }) => fail(new Error(detail.message)));
  const qualities = ["", " \u00b7 simpler sound", " \u00b7 simplest sound"];
  link.addEventListener("quality", ({ detail }) => {
    const { delay } = live;
    const late = delay == null ? "" : ` \u00b7 ${Math.round(delay)} ms`;
    lamp(detail.level ? "slow" : "good", `load ${Math.round(100 * detail.load)} %${late}${qualities[detail.level] ?? ""}`);
  });
  link.open(BLOCK);

  store.begin();
  // begin at the dot nearest to the middle: the mean of all sounds is none of them
  const middle = info.dots.length ? view.nearest([view.box.left / 2 + view.box.right / 2, view.box.top / 2 + view.box.bottom / 2], Infinity) : -1;
  if (middle >= 0) tools.goDot(middle);
  const first = !remembered();
  $("welcome").hidden = !first;
  $("notice").hidden = !info.notice;
  $("notice").textContent = info.notice;
  $("start").addEventListener("click", async () => {
    remember();
    $("curtain").hidden = true;
    view.stage.focus({ preventScroll: true });
    await audio.context.resume();
    performer.play(true);
    $("play").setAttribute("aria-pressed", "true");
    $("play").setAttribute("aria-label", "Stop");
    say([first ? $("welcome").textContent : "", info.notice].join(" ").trim());
  });
  store.begin();
  window.latentscape = { info, store, link, audio, live, performer, tools, view }; // for tests and the curious
};

const remembered = () => {
  try {
    return localStorage.getItem(VISITED) !== null;
  } catch {
    return false; // storage is refused: every visit is the first
  }
};
const remember = () => {
  try {
    localStorage.setItem(VISITED, "1");
  } catch {
    // as above
  }
};

const transport = ({ store, info, performer, audio, tools }) => {
  $("play").addEventListener("click", async () => {
    const on = !performer.running;
    if (!$("curtain").hidden) return $("start").click();
    if (on) await audio.context.resume();
    performer.play(on);
    $("play").setAttribute("aria-pressed", String(on));
    $("play").setAttribute("aria-label", on ? "Stop" : "Play");
  });
  for (const name of ["loop", "hold", "travelling"]) $(name).addEventListener("click", () => store.set({ [name]: !store.state[name] }));
  const speed = slider({
    name: "Speed",
    low: -4,
    high: 4,
    step: 0.01,
    home: 0,
    format: (v) => `\u00d7${(2 ** v).toPrecision(2)}`,
    oninput: (v) => store.change({ speed: 2 ** v }),
    onchange: () => store.mark(),
  });
  $("speed").append(speed.element);
  const level = slider({
    name: "Level",
    low: QUIETEST,
    high: loudest(info),
    step: 0.5,
    home: info.gain_db,
    format: (v) => `${v < 0 ? "\u2212" : "+"}${Math.abs(v).toFixed(1)} dB`,
    oninput: (v) => store.change({ level: v }),
    onchange: () => store.mark(),
  });
  $("level").append(level.element);
  options($("pace"), Object.entries(TRAVELS));
  $("pace").addEventListener("change", () => {
    store.set({ pace: $("pace").value });
    tools.remake();
  });
  $("undo").addEventListener("click", () => store.undo());
  $("redo").addEventListener("click", () => store.redo());
  store.on((state) => {
    for (const name of ["loop", "hold", "travelling"]) $(name).setAttribute("aria-pressed", String(state[name]));
    $("travelling").disabled = !state.path;
    const seconds = state.path ? state.path.seconds / state.speed : 0;
    $("path-name").replaceChildren(h("span", {}, state.path?.name ?? "No path"), ...(state.path ? [h("small", {}, `${seconds.toFixed(seconds < 10 ? 1 : 0)} s ${state.path.back ? "each way" : "a round"}`)] : []));
    speed.show(Math.log2(state.speed));
    level.show(Math.max(QUIETEST, state.level));
    $("pace").value = state.pace;
  }, ["path", "travelling", "loop", "hold", "speed", "level", "pace"]);
  store.on(() => {
    $("undo").disabled = !store.undoes;
    $("redo").disabled = !store.future.length;
  });
};

const meter = (canvas, peak) => {
  const [width, height] = [160, 6];
  if (canvas.width !== width) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const share = Math.max(0, Math.min(1, 1 + (20 * Math.log10(Math.max(peak, 1e-6))) / 60));
  context.clearRect(0, 0, width, height);
  context.fillStyle = style.borderColor;
  context.fillRect(0, 0, width, height);
  context.fillStyle = peak > 0.99 ? style.outlineColor : style.color;
  context.fillRect(0, 0, share * width, height);
};

const mapControls = ({ store, view, info, tools }) => {
  const kinds = Object.keys(info.maps);
  const names = { principal: "principal axes", neighbours: "neighbours" };
  options($("map-kind"), kinds.map((kind) => [kind, names[kind] ?? kind]));
  $("map-choice").hidden = kinds.length < 2;
  $("map-kind").addEventListener("change", () => store.set({ map: $("map-kind").value }));
  const units = Object.fromEntries(info.axes.flatMap((axis) => axis.moves).map(({ descriptor, unit }) => [descriptor, unit === "semitones" ? "" : unit]));
  const known = columns(info.dots, units);
  options($("colour"), known.map((column) => [column.id, column.name]));
  $("colour-choice").hidden = !known.length;
  $("colour").addEventListener("change", () => store.set({ colour: $("colour").value }));
  store.on((state) => {
    const column = known.find(({ id }) => id === state.colour) ?? known[0];
    view.focus = null;
    view.trail = [];
    const legend = view.show(info.dots, info.maps[state.map].places, column);
    $("map-kind").value = state.map;
    if (column) $("colour").value = column.id;
    $("legend").replaceChildren(...legendItems(legend, view, info.dots.some((dot) => dot.part === "test")));
  }, ["map", "colour"]);
  for (const button of document.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => (button.dataset.zoom === "all" ? view.whole() : view.zoom(button.dataset.zoom === "in" ? 1.5 : 1 / 1.5)));
};

const legendItems = (legend, view, tested) => {
  const hollow = tested ? [h("li.note", {}, "hollow: held out")] : [];
  if (!Array.isArray(legend)) {
    const ramp = h("canvas.ramp", { width: 140, height: 10, "aria-hidden": "true" });
    const context = ramp.getContext("2d");
    for (let x = 0; x < 140; x++) {
      context.fillStyle = viridis(x / 139);
      context.fillRect(x, 0, 1, 10);
    }
    const words = (value) => (Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3)));
    const unit = view.column.unit ? ` ${view.column.unit}` : "";
    return [h("li.note", {}, String(words(legend.low))), h("li", {}, ramp), h("li.note", {}, `${words(legend.high)}${unit}`), ...hollow];
  }
  const items = legend.map(({ value, colour, outline }) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "-8 -8 16 16");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", outline);
    path.setAttribute("fill", colour);
    svg.append(path);
    const button = h("button", {
      type: "button",
      "aria-pressed": "false",
      onclick: () => {
        view.focus = view.focus === String(value) ? null : String(value);
        for (const other of items) other.firstElementChild.setAttribute("aria-pressed", String(other === item && view.focus !== null));
        view.draw();
      },
    }, svg, String(value));
    const item = h("li", {}, button);
    return item;
  });
  return [...items, ...hollow];
};

const session = ({ store, info, performer }) => {
  $("save").addEventListener("click", () => {
    download(new Blob([toFile(store.state, info)], { type: "application/json" }), `${info.name} ${dated()}.json`);
    say("Session saved.");
  });
  $("load").addEventListener("click", () => $("load-file").click());
  $("load-file").addEventListener("change", async () => {
    const [file] = $("load-file").files;
    $("load-file").value = "";
    if (!file) return;
    try {
      store.set(fromFile(await file.text(), info, store.state));
      say(`${file.name} is loaded.`);
    } catch (error) {
      fail(error);
    }
  });
  options($("buffer"), [["auto", "as needed"], ...BUFFERS.map((seconds) => [String(seconds), `${1000 * seconds} ms`])]);
  $("buffer").addEventListener("change", () => {
    const fixed = $("buffer").value === "auto" ? null : Number($("buffer").value);
    performer.hold(fixed ?? BUFFERS[2], fixed);
  });
  $("bits").addEventListener("change", () => store.set({ bits: Number($("bits").value) }));
  $("hover").addEventListener("change", () => store.set({ hover: $("hover").checked }));
  store.on((state) => {
    $("bits").value = String(state.bits);
    $("hover").checked = state.hover;
  }, ["bits", "hover"]);
  $("trouble").lastElementChild.addEventListener("click", settle);
};

const recorder = ({ store, info, audio }) => {
  let file = null;
  let stop = null;
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  $("record").addEventListener("click", async () => {
    const on = !stop;
    $("record").setAttribute("aria-pressed", String(on));
    $("record").setAttribute("aria-label", on ? "Stop recording" : "Record");
    if (on) {
      file = new WavFile(info.sample_rate, info.channels, store.state.bits);
      stop = audio.capture(({ wave }) => {
        file.add(wave);
        $("record-time").textContent = clock(file.seconds);
      });
      return;
    }
    const finish = stop;
    stop = null;
    await finish();
    $("record-time").textContent = "Record";
    download(file.blob(), `${info.name} ${dated()}.wav`);
    say(`Recorded ${file.seconds.toFixed(1)} s.`);
  });
};

start().catch((error) => {
  $("facts").textContent = "The instrument did not load.";
  $("curtain").hidden = true;
  fail(error);
});
