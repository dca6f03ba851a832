// Up to eight stored points: store, recall, morph between them along a slider or over a pad, travel through them all.

import { category } from "./colours.js";
import { choice, h, icon, slider } from "./elements.js";
import { Pad } from "./pad.js";
import { SLOTS, fresh } from "./state.js";

const NEAR = 0.02; // squared distance on the pad below which one point is all that sounds

export const pointsPanel = (slots, box, { store, tools, current, say, fail }) => {
  const filled = () => store.state.stored.map((point, index) => ({ point, index })).filter(({ point }) => point);

  const put = async (index) => {
    try {
      const point = await current();
      store.set({ stored: store.state.stored.map((other, i) => (i === index ? point : other)) });
      say(`Stored as point ${index + 1}.`);
    } catch (error) {
      fail(error);
    }
  };
  const recall = (index) => {
    const point = store.state.stored[index];
    if (!point) return say(`Point ${index + 1} is empty. Shift and ${index + 1} stores it.`);
    tools.go(point);
    store.mark();
    say(`Point ${index + 1}.`);
  };
  const clear = (index) => {
    store.set({ stored: store.state.stored.map((other, i) => (i === index ? null : other)) });
    say(`Point ${index + 1} is empty again.`);
  };

  const buttons = Array.from({ length: SLOTS }, (_, index) => {
    const main = h("button.slot", {
      type: "button",
      onclick: (event) => (event.shiftKey || !store.state.stored[index] ? put(index) : recall(index)),
      onkeydown: (event) => event.key === "Delete" && clear(index),
    });
    const wipe = h("button.wipe", { type: "button", "aria-label": `Empty point ${index + 1}`, onclick: () => { clear(index); main.focus(); } }, icon("M6 6l12 12M18 6L6 18"));
    main.style.setProperty("--c", category(index));
    slots.append(h("div", {}, main, wipe));
    return { main, wipe };
  });

  // morphing: a slider through the points in order, or a pad on which each has its place

  const morph = (weights) => {
    const points = filled();
    const mix = (pick) => points.reduce((sum, { point }, i) => pick(point).map((v, k) => (sum?.[k] ?? 0) + weights[i] * v), null);
    if (points.length) tools.go({ code: mix((point) => point.code) });
  };
  const line = slider({
    name: "Morph",
    low: 0,
    high: 1,
    step: 0.001,
    home: 0,
    format: (v) => {
      const points = filled();
      const at = v * (points.length - 1);
      const low = Math.min(Math.floor(at), points.length - 2);
      return points.length < 2 ? "" : `${points[low].index + 1} at ${Math.round(100 * (1 - at + low))} %, ${points[low + 1].index + 1} at ${Math.round(100 * (at - low))} %`;
    },
    oninput: (v) => {
      const at = v * (filled().length - 1);
      morph(filled().map((_, i) => Math.max(0, 1 - Math.abs(at - i))));
    },
    onchange: () => store.mark(),
  });
  const homes = () => filled().map((_, i, all) => {
    const angle = Math.PI / 2 - (2 * Math.PI * i) / all.length - (all.length === 4 ? Math.PI / 4 : 0);
    return [0.8 * Math.cos(angle), 0.8 * Math.sin(angle)];
  });
  const weights = ([x, y]) => {
    const distances = homes().map(([hx, hy]) => (x - hx) ** 2 + (y - hy) ** 2);
    const raw = distances.map((distance) => 1 / (Math.max(0, distance - NEAR) + 1e-6));
    const sum = raw.reduce((a, b) => a + b, 0);
    return raw.map((weight) => weight / sum);
  };
  const pad = new Pad({
    name: () => "Morph pad",
    say: (value) => filled().map(({ index }, i) => `point ${index + 1} ${Math.round(100 * (weights(value)[i] ?? 0))} %`).join(", "),
    move: (value) => morph(weights(value)),
    done: () => store.mark(),
    paint: (context, width, height) => {
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.font = "700 12px system-ui, sans-serif";
      homes().forEach(([x, y], i) => {
        const at = [((x + 1) / 2) * width, ((1 - y) / 2) * height];
        context.beginPath();
        context.arc(...at, 12, 0, 7);
        context.fillStyle = category(filled()[i].index);
        context.fill();
        context.fillStyle = "#fff";
        context.fillText(String(filled()[i].index + 1), at[0], at[1] + 0.5);
      });
    },
  });
  const ways = choice("Morph by", { line: "Slider", pad: "Pad" }, (way) => showWay(way));
  const through = h("button.plain", {
    type: "button",
    onclick: () => {
      const points = filled().map(({ point }) => point.code);
      tools.travel({ name: `Through ${points.length} points`, kind: "spline", points, options: { closed: store.state.loop }, seconds: 2 * points.length });
    },
  }, "Through all");
  const hint = h("p.hint", {}, "Press a number to keep the sound of now. Two make a morph.");
  const showWay = (way) => {
    ways.show(way);
    line.element.hidden = way !== "line";
    pad.element.hidden = way !== "pad";
  };
  const morphing = h("div.morphing", {}, h("div.row", {}, ways.element, through), line.element, pad.element);
  box.append(hint, morphing);
  showWay("line");

  store.on((state) => {
    state.stored.forEach((point, index) => {
      const { main, wipe } = buttons[index];
      main.classList.toggle("filled", Boolean(point));
      main.setAttribute("aria-label", point ? `Recall point ${index + 1}` : `Store as point ${index + 1}`);
      main.textContent = index + 1;
      wipe.hidden = !point;
    });
    const count = filled().length;
    hint.hidden = count > 1;
    morphing.hidden = count < 2;
    line.show(Number(line.input.value));
    pad.draw();
  }, ["stored"]);
  return { put, recall };
};
