// The map: a still canvas of dots on their land, and a moving one of paths, points and the sound's own light.
//
// Places are map units (x to the right, y up); pixels are CSS pixels of the canvas.

import { SHAPES, category, dark, painted, theme } from "./colours.js";
import { terrain } from "./terrain.js";

const MARGIN = 34; // px about the dots
const DOT = 0.86; // size of a dot's shape
const ROOM = 26; // px from dot to dot where they have their full size
const TRAIL = 1400; // ms
const NEAR = 15; // px from a dot that still mean it

/** The range of nearly all values: what lies farther out must not make all else small. */
const bulk = (values) => {
  if (!values.length) return [-1, 1];
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const [low, high] = [at(0.01), at(0.99)];
  const room = 0.06 * (high - low);
  return [Math.max(sorted[0], low - room), Math.min(sorted.at(-1), high + room)];
};

export class MapView {
  constructor(field) {
    this.field = field;
    this.still = field.querySelector("#dots");
    this.stage = field.querySelector("#stage");
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.dots = [];
    this.places = [];
    this.view = { x: 0, y: 0, zoom: 1 };
    this.focus = null; // a value of the legend: all others are dimmed
    this.hovered = -1;
    this.trail = []; // [{x, y, time}]
    this.scene = { path: null, ghost: null, stored: [], sounds: [], goal: null, light: null, picked: null, level: 0 };
    this.glow = new Map();
    this.theme = theme();
    new ResizeObserver(() => this.resize()).observe(field);
    dark.addEventListener("change", () => {
      this.theme = theme();
      this.glow.clear();
      this.show(this.dots, this.places, this.column);
    });
    this.resize();
  }

  show(dots, places, column) {
    this.dots = dots;
    this.places = places;
    this.column = column;
    this.paint = painted(dots, column);
    const [left, right] = bulk(places.map(([x]) => x));
    const [bottom, top] = bulk(places.map(([, y]) => y));
    const box = { left, right, bottom, top };
    const wide = Math.max(box.right - box.left, box.top - box.bottom, 1e-6);
    this.box = box;
    const room = wide / 5;
    const far = (side, way, axis) => places.reduce((most, place) => way(most, place[axis]), side); // the farthest dot
    this.land = terrain(places, this.paint.colours, {
      left: far(left, Math.min, 0) - room,
      right: far(right, Math.max, 0) + room,
      bottom: far(bottom, Math.min, 1) - room,
      top: far(top, Math.max, 1) + room,
    });
    this.draw();
    return this.paint.legend;
  }

  resize() {
    const { width, height } = this.field.getBoundingClientRect();
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    this.size = [Math.max(1, width), Math.max(1, height)];
    for (const canvas of [this.still, this.stage]) {
      canvas.width = Math.round(this.size[0] * this.ratio);
      canvas.height = Math.round(this.size[1] * this.ratio);
    }
    this.draw();
  }

  // geometry

  get #scale() {
    const box = this.box ?? { left: -1, right: 1, bottom: -1, top: 1 };
    const [width, height] = this.size;
    const fit = Math.min(
      (width - 2 * MARGIN) / Math.max(box.right - box.left, 1e-6),
      (height - 2 * MARGIN) / Math.max(box.top - box.bottom, 1e-6),
    );
    return {
      scale: Math.max(fit, 1) * this.view.zoom,
      x: (box.left + box.right) / 2 + this.view.x,
      y: (box.bottom + box.top) / 2 + this.view.y,
    };
  }

  pixel([x, y]) {
    const { scale, x: cx, y: cy } = this.#scale;
    return [this.size[0] / 2 + (x - cx) * scale, this.size[1] / 2 - (y - cy) * scale];
  }

  place([px, py]) {
    const { scale, x: cx, y: cy } = this.#scale;
    return [cx + (px - this.size[0] / 2) / scale, cy - (py - this.size[1] / 2) / scale];
  }

  /** The place under a pointer event. */
  under(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return this.place([event.clientX - left, event.clientY - top]);
  }

  get unit() {
    return 1 / this.#scale.scale; // map units in a pixel
  }

  /** The dot nearest to a place, within `reach` pixels; -1 where there is none. */
  nearest(place, reach = NEAR) {
    let best = -1;
    let least = (reach * this.unit) ** 2;
    this.places.forEach(([x, y], index) => {
      const distance = (x - place[0]) ** 2 + (y - place[1]) ** 2;
      if (distance < least && !this.#dim(index)) [best, least] = [index, distance];
    });
    return best;
  }

  zoom(factor, about = [this.size[0] / 2, this.size[1] / 2]) {
    const before = this.place(about);
    this.view.zoom = Math.min(24, Math.max(0.5, this.view.zoom * factor));
    const after = this.place(about);
    this.pan(before[0] - after[0], before[1] - after[1]);
  }

  pan(dx, dy) {
    const limit = (value, span) => Math.max(-span, Math.min(span, value));
    const { left, right, bottom, top } = this.box;
    this.view.x = limit(this.view.x + dx, right - left);
    this.view.y = limit(this.view.y + dy, top - bottom);
    this.draw();
  }

  whole() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.draw();
  }

  #dim(index) {
    return this.focus != null && this.paint.values && String(this.paint.values[index]) !== this.focus;
  }

  // the still picture

  draw() {
    if (!this.paint) return;
    const context = this.still.getContext("2d");
    const { scale, x, y } = this.#scale;
    const [width, height] = this.size;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const { land } = this;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.globalAlpha = dark.matches ? 0.5 : 0.34;
    const [left, top] = this.pixel([land.box.left - land.cell / 2, land.box.top + land.cell / 2]);
    context.drawImage(land.tint, left, top, land.columns * land.cell * scale, land.rows * land.cell * scale);
    context.save();
    context.translate(width / 2 - x * scale, height / 2 + y * scale);
    context.scale(scale, -scale);
    context.lineWidth = 1 / scale;
    context.strokeStyle = this.theme.ink;
    land.lines.forEach((line, index) => {
      context.globalAlpha = (dark.matches ? 0.12 : 0.1) + 0.035 * index;
      context.stroke(line);
    });
    context.restore();
    const size = DOT * Math.min(1.7, this.view.zoom ** 0.35) * Math.max(0.62, Math.min(1, Math.sqrt((width * height) / this.places.length) / ROOM));
    this.places.forEach((place, index) => {
      const [px, py] = this.pixel(place);
      if (px < -10 || py < -10 || px > width + 10 || py > height + 10) return;
      context.globalAlpha = this.#dim(index) ? 0.12 : 1;
      this.#mark(context, px, py, size, SHAPES[this.paint.shapes[index]], this.paint.colours[index], this.dots[index].part === "test");
    });
    context.globalAlpha = 1;
    this.refresh();
  }

  #mark(context, x, y, size, outline, colour, hollow) {
    context.save();
    context.translate(x, y);
    context.scale(size, size);
    context.fillStyle = hollow ? this.theme.card : colour;
    context.strokeStyle = hollow ? colour : this.theme.card;
    context.lineWidth = hollow ? 2.2 : 0.9;
    context.fill(outline);
    context.stroke(outline);
    context.restore();
  }

  // the moving picture

  /** Draw the moving canvas at the next frame. */
  refresh() {
    this.pending ??= requestAnimationFrame((now) => {
      this.pending = null;
      this.#move(now);
    });
  }

  /** Where the sound is; the trail grows. */
  light(place, now) {
    this.scene.light = place;
    if (place && !this.calm.matches) {
      const last = this.trail.at(-1);
      if (!last || Math.hypot(place[0] - last.x, place[1] - last.y) > 0.5 * this.unit)
        this.trail.push({ x: place[0], y: place[1], time: now });
    }
    while (this.trail.length && now - this.trail[0].time > TRAIL) this.trail.shift();
    this.refresh();
  }

  #move(now) {
    const context = this.stage.getContext("2d");
    const { scene } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, ...this.size);
    context.lineCap = context.lineJoin = "round";
    if (scene.path) this.#line(context, scene.path, this.theme.accent, 2.2, 0.75);
    if (scene.ghost) this.#line(context, scene.ghost, this.theme.accent, 2.2, 1, [7, 6]);
    if (this.hovered >= 0) this.#hover(context);
    if (scene.picked) this.#ring(context, this.pixel(scene.picked), 9, this.theme.accent, 3);
    scene.sounds.forEach(({ place, name }) => this.#sound(context, place, name));
    scene.stored.forEach(({ place, index }) => this.#flag(context, place, index));
    if (scene.goal) this.#ring(context, this.pixel(scene.goal), 11, this.theme.ink, 1.5);
    this.#tail(context, now);
    if (scene.light) this.#glowing(context, this.pixel(scene.light));
    if (scene.cursor) this.#cross(context, this.pixel(scene.cursor));
  }

  #line(context, places, colour, width, alpha, dash = []) {
    if (places.length < 2) return;
    context.save();
    context.beginPath();
    places.forEach((place) => context.lineTo(...this.pixel(place)));
    context.setLineDash(dash);
    context.globalAlpha = 1;
    context.strokeStyle = this.theme.card;
    context.lineWidth = width + 2.6;
    context.stroke();
    context.globalAlpha = alpha;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
    context.restore();
  }

  #ring(context, [x, y], radius, colour, width) {
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }

  #cross(context, [x, y]) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 7 * dx, y + 7 * dy);
      context.lineTo(x + 17 * dx, y + 17 * dy);
    }
    context.strokeStyle = this.theme.ink;
    context.lineWidth = 2;
    context.stroke();
  }

  #hover(context) {
    const index = this.hovered;
    const at = this.pixel(this.places[index]);
    this.#mark(context, ...at, 1.5, SHAPES[this.paint.shapes[index]], this.paint.colours[index], this.dots[index].part === "test");
    this.#ring(context, at, 13, this.theme.ink, 1.6);
    this.#text(context, this.dots[index].name.split("/").at(-1), at[0], at[1] - 21);
  }

  #text(context, words, x, y) {
    context.font = `600 12.5px ${getComputedStyle(document.body).fontFamily}`;
    const width = context.measureText(words).width;
    const left = Math.min(Math.max(x - width / 2, 8), this.size[0] - width - 8);
    const top = y < 14 ? y + 46 : y;
    context.textBaseline = "middle";
    context.fillStyle = this.theme.ink;
    context.globalAlpha = 0.92;
    context.beginPath();
    context.roundRect(left - 7, top - 11, width + 14, 22, 7);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = this.theme.card;
    context.fillText(words, left, top + 0.5);
  }

  #flag(context, place, index) {
    const [x, y] = this.pixel(place);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x - 7, y - 11);
    context.arc(x, y - 17, 9.5, Math.PI * 0.78, Math.PI * 0.22);
    context.closePath();
    context.fillStyle = category(index);
    context.strokeStyle = this.theme.card;
    context.lineWidth = 2;
    context.stroke();
    context.fill();
    context.fillStyle = "#fff";
    context.font = "700 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(String(index + 1), x, y - 16.5);
    context.textAlign = "start";
  }

  #sound(context, place, name) {
    const [x, y] = this.pixel(place);
    context.beginPath();
    for (let i = 0; i < 10; i++) {
      const [radius, angle] = [i % 2 ? 4.6 : 10, (Math.PI * i) / 5 - Math.PI / 2];
      context.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    context.closePath();
    context.fillStyle = this.theme.accent;
    context.strokeStyle = this.theme.card;
    context.lineWidth = 2.5;
    context.stroke();
    context.fill();
    this.#text(context, name, x, y + 23);
  }

  #tail(context, now) {
    const points = this.trail;
    for (let i = 1; i < points.length; i++) {
      const age = (now - points[i].time) / TRAIL;
      if (age >= 1) continue;
      context.globalAlpha = 0.85 * (1 - age) ** 1.6;
      context.lineWidth = 1 + 5.5 * (1 - age);
      context.strokeStyle = this.theme.accent;
      context.beginPath();
      context.moveTo(...this.pixel([points[i - 1].x, points[i - 1].y]));
      context.lineTo(...this.pixel([points[i].x, points[i].y]));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  #glowing(context, [px, py]) {
    // beyond the border it stays in sight there: far offsets of the axes lead off the map
    const [x, y] = [px, py].map((value, i) => Math.max(9, Math.min(this.size[i] - 9, value)));
    const colour = this.theme.accent;
    let sprite = this.glow.get(colour);
    if (!sprite) {
      sprite = new OffscreenCanvas(192, 192);
      const brush = sprite.getContext("2d");
      const light = brush.createRadialGradient(96, 96, 0, 96, 96, 96);
      light.addColorStop(0, `${colour}e0`);
      light.addColorStop(0.18, `${colour}80`);
      light.addColorStop(0.5, `${colour}28`);
      light.addColorStop(1, `${colour}00`);
      brush.fillStyle = light;
      brush.fillRect(0, 0, 192, 192);
      this.glow.set(colour, sprite);
    }
    const reach = this.calm.matches ? 34 : 26 + 34 * Math.min(1, this.scene.level * 2.5); // it breathes with the sound
    context.drawImage(sprite, x - reach, y - reach, 2 * reach, 2 * reach);
    context.beginPath();
    context.arc(x, y, 6, 0, 7);
    context.fillStyle = "#fff";
    context.strokeStyle = colour;
    context.lineWidth = 2.5;
    context.fill();
    context.stroke();
  }
}
