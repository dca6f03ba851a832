// What the hand does on the map: play, listen, draw, circle, spiral, and what goes between two dots.

import * as api from "./api.js";
import { fresh } from "./state.js";

const DWELL = 90; // ms on a dot before it sounds
const ROUND = 8; // s of a path that has no time of its own
const POINTS = 96; // of a drawn path
const TURNS = 3; // of a spiral, out; and as many back
const SNAP = 24; // px within which a click means a dot
const BETWEEN = ["line", "sphere", "geodesic"];
const NAMES = { draw: "Drawing", circle: "Circle", spiral: "Spiral", line: "Line", sphere: "Sphere", geodesic: "Geodesic" };
export const HINTS = {
  play: "Drag over the map to play.",
  listen: "Go over the dots to hear the corpus itself.",
  draw: "Draw a path; it loops at the pace of your hand.",
  circle: "Drag from the centre of a circle outwards.",
  spiral: "Drag from the centre of a spiral outwards.",
  line: "Choose two dots: a straight line goes there and back.",
  sphere: "Choose two dots: a great circle goes there and back, as far from the middle as they are.",
  geodesic: "Choose two dots: the way on which the sound changes least goes there and back.",
};

export class Tools {
  constructor({ view, store, info, audio, live, say, busy }) {
    Object.assign(this, { view, store, info, audio, live, say, busy });
    this.tool = "play";
    this.stroke = null; // {places, times} of the drag in progress
    this.first = null; // the first of two ends
    this.cursor = null; // of the keyboard
    this.corners = []; // drawn by keyboard
    this.fingers = new Map();
    const { stage } = view;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    // comes as soon as the hand moves, where pointermove waits for the next frame
    stage.addEventListener("pointerrawupdate", (event) => this.#soon(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.#up(event));
    stage.addEventListener("pointerleave", () => this.#hover(-1));
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("focus", () => this.#point(stage.matches(":focus-visible") ? this.here() : null));
    stage.addEventListener("blur", () => this.#point(null));
  }

  pick(tool) {
    this.tool = tool;
    this.cancel();
    this.view.stage.dataset.tool = tool;
    this.say(HINTS[tool]);
  }

  cancel() {
    this.stroke = this.first = null;
    this.corners = [];
    Object.assign(this.view.scene, { ghost: null, picked: null });
    this.view.refresh();
  }

  get map() {
    return this.store.state.map;
  }

  /** Where the sound is, or was told to go. */
  here() {
    const { goal } = this.store.state;
    return this.live.place(this.map) ?? (goal.map === this.map ? goal.at : goal.places?.[this.map]) ?? [0, 0];
  }

  go(goal) {
    this.store.change({ goal: fresh(goal), travelling: false });
  }

  goDot(index) {
    const places = Object.fromEntries(Object.entries(this.info.maps).map(([name, map]) => [name, map.places[index]]));
    this.go({ code: this.info.dots[index].code, places });
  }

  // paths

  /** Make a path and travel it. A recipe is kept with it, so that another pace can be had later. */
  async travel(recipe) {
    const { name, kind, points, options = {}, seconds = ROUND, back = false, map = this.map } = recipe;
    const { pace } = this.store.state;
    const kept = { tool: this.tool, ...recipe, map };
    await this.busy(`${name}: making the path`, async () => {
      const { path, preview } = await api.path(kind, points, options, pace, map);
      // on the map where it was drawn it is shown as it was drawn: a neighbour map gives places back only nearly
      if (recipe.drawn) preview[map] = recipe.drawn;
      this.store.set({ path: fresh({ name, path, seconds, preview, back, recipe: kept }), travelling: true });
      this.say(`${name}: ${seconds.toFixed(1)} s ${back ? "each way" : "a round"}`);
    });
  }

  /** The same path at another pace. */
  remake() {
    const recipe = this.store.state.path?.recipe;
    if (recipe) this.travel(recipe);
  }

  async #through(name, places, seconds) {
    const closed = this.store.state.loop;
    await this.busy(`${name}: making the path`, async () => {
      const points = await api.lift(this.map, places);
      const drawn = closed ? [...places, places[0]] : places;
      await this.travel({ name, kind: "spline", points, options: { closed }, seconds, drawn });
    });
  }

  async #between(place) {
    const index = this.view.nearest(place, SNAP);
    const at = index >= 0 ? this.view.places[index] : place;
    const name = index >= 0 ? this.info.dots[index].name.split("/").at(-1) : "a spot of the map";
    if (!this.first) {
      this.first = { at, name, index };
      Object.assign(this.view.scene, { picked: at, ghost: null });
      this.view.refresh();
      this.say(`From ${name}. Choose where to.`);
      return;
    }
    const ends = [this.first, { at, name, index }];
    this.cancel();
    const { tool } = this;
    await this.busy(`${NAMES[tool]}: making the path`, async () => {
      const codes = await Promise.all(
        ends.map(async (end) => (end.index >= 0 ? this.info.dots[end.index].code : (await api.lift(this.map, [end.at]))[0])),
      );
      await this.travel({ name: `${NAMES[tool]}: ${ends[0].name} to ${name}`, kind: tool, points: codes, seconds: ROUND / 2, back: true });
    });
  }

  // pointer

  #down(event) {
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    this.view.stage.setPointerCapture(event.pointerId);
    this.#point(null);
    this.#hover(-1);
    if (this.fingers.size > 1) return this.#pinchStart();
    if (event.button !== 0) return; // the middle and right buttons move the map
    const place = this.view.under(event);
    if (BETWEEN.includes(this.tool)) return;
    if (this.tool === "listen") return this.#listen(place);
    this.stroke = { places: [place], times: [event.timeStamp] };
    if (this.tool === "play" || this.tool === "draw") this.go({ map: this.map, at: place });
  }

  #soon(event) {
    if (this.tool !== "play" || !this.stroke || !this.fingers.has(event.pointerId) || this.fingers.size > 1) return;
    this.stroke.soon = true;
    this.go({ map: this.map, at: this.view.under(event) });
  }

  #move(event) {
    if (!this.fingers.has(event.pointerId)) return this.#over(event);
    const before = this.fingers.get(event.pointerId);
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.fingers.size > 1) return this.#pinch();
    if (event.buttons & ~1) {
      const { unit } = this.view;
      return this.view.pan((before[0] - event.clientX) * unit, (event.clientY - before[1]) * unit);
    }
    const place = this.view.under(event);
    if (this.tool === "listen") return this.#listen(place);
    if (!this.stroke) return;
    if (this.tool === "play") return this.stroke.soon ? undefined : this.go({ map: this.map, at: place });
    if (this.tool === "draw") {
      for (const one of event.getCoalescedEvents?.() ?? [event]) {
        this.stroke.places.push(this.view.under(one));
        this.stroke.times.push(one.timeStamp);
      }
      this.view.scene.ghost = this.stroke.places;
      return this.go({ map: this.map, at: place });
    }
    const [centre] = this.stroke.places;
    this.stroke.radius = Math.hypot(place[0] - centre[0], place[1] - centre[1]);
    this.stroke.angle = Math.atan2(place[1] - centre[1], place[0] - centre[0]);
    this.view.scene.ghost = this.#round(centre, this.stroke.radius, this.stroke.angle);
    this.view.refresh();
  }

  #up(event) {
    const held = this.fingers.delete(event.pointerId);
    const { stroke } = this;
    if (!held || event.type === "pointercancel") return this.cancel();
    if (this.tool === "listen") return;
    if (BETWEEN.includes(this.tool) && event.button === 0) {
      this.#between(this.view.under(event));
      return;
    }
    if (!stroke) return;
    this.stroke = null;
    if (this.tool === "play") return this.store.mark();
    this.#finish(stroke);
  }

  async #finish(stroke) {
    const { places, times, radius, angle } = stroke;
    if (this.tool === "draw") {
      const length = places.slice(1).reduce((sum, [x, y], i) => sum + Math.hypot(x - places[i][0], y - places[i][1]), 0);
      if (length < 12 * this.view.unit) return this.cancel();
      const seconds = Math.max(0.5, (times.at(-1) - times[0]) / 1000);
      // as it was drawn: points evenly in time; else evenly along the line
      const along = this.store.state.pace === "time" ? times : lengths(places);
      await this.#through(NAMES.draw, resample(places, along, POINTS), seconds);
    } else if (radius > 4 * this.view.unit) {
      await this.#through(NAMES[this.tool], this.#round(places[0], radius, angle), this.tool === "spiral" ? 2 * ROUND : ROUND);
    }
    this.cancel();
  }

  // a circle, or a spiral out and back between its own arms
  #round([x, y], radius, angle) {
    const spiral = this.tool === "spiral";
    const count = spiral ? 2 * POINTS : POINTS;
    return Array.from({ length: count }, (_, i) => {
      const share = i / count;
      const out = spiral ? 1 - Math.abs(2 * share - 1) : 1;
      const turned = angle + 2 * Math.PI * share * (spiral ? 2 * TURNS : 1);
      return [x + radius * out * Math.cos(turned), y + radius * out * Math.sin(turned)];
    });
  }

  #over(event) {
    const place = this.view.under(event);
    const index = this.view.nearest(place);
    if (BETWEEN.includes(this.tool) && this.first) this.view.scene.ghost = [this.first.at, place];
    this.#hover(index);
    this.view.refresh();
  }

  #hover(index) {
    if (index === this.view.hovered) return;
    this.view.hovered = index;
    this.view.refresh();
    clearTimeout(this.dwell);
    this.audio.hush();
    if (index < 0) return;
    this.say(this.about(index));
    if (this.store.state.hover || this.tool === "listen") this.dwell = setTimeout(() => this.sound(index), DWELL);
  }

  #listen(place) {
    const index = this.view.nearest(place, SNAP);
    if (index >= 0 && index !== this.view.hovered) {
      this.view.hovered = index;
      this.say(this.about(index));
      this.sound(index);
      this.view.refresh();
    }
  }

  async sound(index) {
    try {
      await this.audio.playDot(index);
    } catch {
      this.say(`${this.about(index)} (its sound is not here)`);
    }
  }

  about(index) {
    const dot = this.info.dots[index];
    const { column } = this.view;
    const value = column?.of(dot);
    const words = typeof value === "number" ? (Number.isFinite(value) ? value.toPrecision(4).replace(/\.?0+$/, "") : "unknown") : value;
    return `${dot.name}${column ? `, ${column.name} ${words}${column.unit ? ` ${column.unit}` : ""}` : ""}${dot.part === "test" ? ", held out" : ""}${dot.sound ? "" : " (as the model hears it: the corpus is not here)"}`;
  }

  #wheel(event) {
    event.preventDefault();
    const { left, top } = this.view.stage.getBoundingClientRect();
    this.view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), [event.clientX - left, event.clientY - top]);
  }

  #spread() {
    const [a, b] = [...this.fingers.values()];
    const { left, top } = this.view.stage.getBoundingClientRect();
    return { wide: Math.hypot(a[0] - b[0], a[1] - b[1]), middle: [(a[0] + b[0]) / 2 - left, (a[1] + b[1]) / 2 - top] };
  }

  #pinchStart() {
    this.cancel();
    this.pinched = this.#spread();
  }

  #pinch() {
    const now = this.#spread();
    const { unit } = this.view;
    this.view.pan((this.pinched.middle[0] - now.middle[0]) * unit, (now.middle[1] - this.pinched.middle[1]) * unit);
    this.view.zoom(now.wide / Math.max(1, this.pinched.wide), now.middle);
    this.pinched = now;
  }

  // keyboard

  #point(place) {
    this.cursor = place;
    this.view.scene.cursor = place;
    this.view.refresh();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    const at = this.cursor ?? this.here();
    if (dx || dy) {
      const step = (event.shiftKey ? 60 : 12) * this.view.unit;
      this.#point([at[0] + dx * step, at[1] + dy * step]);
      if (this.tool === "play") this.go({ map: this.map, at: this.cursor });
      clearTimeout(this.telling);
      this.telling = setTimeout(() => {
        this.store.mark();
        const index = this.view.nearest(this.cursor ?? at, Infinity);
        if (index >= 0) this.say(`Near ${this.about(index)}`);
      }, 300);
    } else if (event.key === "Enter") this.#enter(at, event.shiftKey);
    else if (event.key === "Escape") this.cancel();
    else if (event.key === "+" || event.key === "=") this.view.zoom(1.4);
    else if (event.key === "-") this.view.zoom(1 / 1.4);
    else return;
    event.preventDefault();
  }

  #enter(at, shifted) {
    if (BETWEEN.includes(this.tool)) return this.#between(at);
    if (this.tool === "circle" || this.tool === "spiral") {
      this.#finish({ places: [at], radius: 80 * this.view.unit, angle: 0 });
      return;
    }
    if (this.tool === "draw") {
      if (!shifted || this.corners.length < 2) {
        this.corners = [...this.corners, at];
        this.view.scene.ghost = this.corners;
        this.say(`Corner ${this.corners.length}. Shift and Enter ends the path.`);
        this.view.refresh();
        return;
      }
      this.#through(NAMES.draw, this.corners, ROUND).finally(() => this.cancel());
      return;
    }
    const index = this.view.nearest(at, Infinity);
    if (index < 0) return;
    this.view.hovered = index;
    this.view.refresh();
    this.say(this.about(index));
    this.sound(index);
  }
}

const lengths = (places) => {
  const sums = [0];
  places.slice(1).forEach(([x, y], i) => sums.push(sums[i] + Math.hypot(x - places[i][0], y - places[i][1])));
  return sums;
};

/** `count` points at even steps of `along`, which ascends. */
const resample = (places, along, count) => {
  const [first, last] = [along[0], along.at(-1)];
  let at = 1;
  return Array.from({ length: count }, (_, i) => {
    const wanted = first + ((last - first) * i) / (count - 1);
    while (at < along.length - 1 && along[at] < wanted) at++;
    const share = (wanted - along[at - 1]) / (along[at] - along[at - 1] || 1);
    return places[at].map((value, k) => places[at - 1][k] + Math.min(1, Math.max(0, share)) * (value - places[at - 1][k]));
  });
};
