// A square to play two values at once, -1 to 1 each; pointer and arrow keys.

import { theme } from "./colours.js";

const STEP = 0.04;

export class Pad {
  constructor({ name, move, done, paint = () => {}, say }) {
    Object.assign(this, { name, move, done, paint, say });
    this.value = [0, 0];
    this.element = document.createElement("canvas");
    this.element.className = "pad";
    this.element.tabIndex = 0;
    for (const [attribute, value] of [["role", "slider"], ["aria-roledescription", "XY pad"], ["aria-valuemin", "-1"], ["aria-valuemax", "1"]])
      this.element.setAttribute(attribute, value);
    this.element.addEventListener("pointerdown", (event) => {
      this.element.setPointerCapture(event.pointerId);
      this.#take(event);
    });
    this.element.addEventListener("pointermove", (event) => this.element.hasPointerCapture(event.pointerId) && this.#take(event));
    this.element.addEventListener("pointerup", () => this.done());
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("dblclick", () => {
      this.#set([0, 0]);
      this.done();
    });
    new ResizeObserver(() => this.draw()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.show([0, 0]);
  }

  show(value) {
    this.value = value;
    this.element.setAttribute("aria-label", this.name());
    this.element.setAttribute("aria-valuenow", value[0].toFixed(2));
    this.element.setAttribute("aria-valuetext", this.say(value));
    this.draw();
  }

  #set(value) {
    this.show(value.map((v) => Math.max(-1, Math.min(1, v))));
    this.move(this.value);
  }

  #take(event) {
    const { left, top, width, height } = this.element.getBoundingClientRect();
    this.#set([(2 * (event.clientX - left)) / width - 1, 1 - (2 * (event.clientY - top)) / height]);
  }

  #key(event) {
    const step = event.shiftKey ? 4 * STEP : STEP;
    const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (event.key === "Home" || event.key === "Delete") this.#set([0, 0]);
    else if (dx || dy) this.#set([this.value[0] + dx * step, this.value[1] + dy * step]);
    else return;
    event.preventDefault();
    this.done();
  }

  draw() {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width) return;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    this.element.width = Math.round(width * ratio);
    this.element.height = Math.round(height * ratio);
    const context = this.element.getContext("2d");
    const colours = theme();
    context.scale(ratio, ratio);
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    for (const share of [0.25, 0.5, 0.75]) {
      context.moveTo(share * width, 0);
      context.lineTo(share * width, height);
      context.moveTo(0, share * height);
      context.lineTo(width, share * height);
    }
    context.stroke();
    const [x, y] = [((this.value[0] + 1) / 2) * width, ((1 - this.value[1]) / 2) * height];
    this.paint(context, width, height, colours);
    const light = context.createRadialGradient(x, y, 0, x, y, 34);
    light.addColorStop(0, `${colours.accent}70`);
    light.addColorStop(1, `${colours.accent}00`);
    context.fillStyle = light;
    context.fillRect(x - 34, y - 34, 68, 68);
    context.beginPath();
    context.arc(x, y, 7, 0, 7);
    context.fillStyle = "#fff";
    context.strokeStyle = colours.accent;
    context.lineWidth = 3;
    context.fill();
    context.stroke();
  }
}
