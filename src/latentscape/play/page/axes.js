// Sliders of the named axes, and the pad over any two of them.

import { h, options, signed, slider } from "./elements.js";
import { Pad } from "./pad.js";

const REACH = 3; // deviations to either side
const SHOWN = 6; // axes before the rest is asked for

const arrow = (value) => (value > 0 ? "\u2191" : "\u2193");

/** What an axis moves, strongest first; that an axis called brightness moves the brightness goes without saying. */
const moves = (axis) => {
  const own = axis.name.replace(/-\d+$/, "");
  const strong = (axis.moves ?? []).filter((move) => Math.abs(move.correlation ?? 0) >= 0.3 && !(move.descriptor === own && move.correlation > 0));
  const words = strong.slice(0, 2).map((move) => `${move.descriptor} ${arrow(move.correlation)}`);
  const spans = (axis.moves ?? []).filter((move) => move.span).map((move) => `${move.descriptor} ${signed(move.span, 1)} ${move.unit}`.trim());
  return h("span.moves", { title: spans.join(", ") }, words.join("  ") || axis.about || "");
};

export const axesPanel = (box, store, info) => {
  const value = (state, name) => state.axes[name] ?? 0;
  const put = (name, deviations) => store.change({ axes: { ...store.state.axes, [name]: deviations } });
  const sliders = info.axes.map((axis) =>
    slider({
      name: axis.name,
      low: -REACH,
      high: REACH,
      step: 0.01,
      home: 0,
      format: (v) => signed(v),
      oninput: (v) => put(axis.name, v),
      onchange: () => store.mark(),
      note: moves(axis),
    }),
  );
  const list = h("div.sliders", {}, ...sliders.map(({ element }) => element));
  box.append(list);
  if (sliders.length > SHOWN) {
    const rest = sliders.slice(SHOWN);
    const more = h("button.plain.small", { type: "button", "aria-expanded": "false" }, `All ${sliders.length} axes`);
    const fold = (folded) => {
      rest.forEach(({ element }) => (element.hidden = folded));
      more.setAttribute("aria-expanded", String(!folded));
      more.textContent = folded ? `All ${sliders.length} axes` : "Fewer axes";
    };
    more.addEventListener("click", () => fold(more.getAttribute("aria-expanded") === "true"));
    fold(true);
    box.append(more);
  }
  store.on((state) => info.axes.forEach((axis, index) => sliders[index].show(value(state, axis.name))), ["axes"]);
  return { zero: () => store.set({ axes: {} }) };
};

export const padPanel = (box, store, info) => {
  if (!info.axes.length) return;
  const [x, y] = ["Across", "Up"].map((words, index) => {
    const select = h("select", { "aria-label": `XY pad, ${words.toLowerCase()}` });
    options(select, info.axes.map((axis) => [axis.name, axis.name]));
    select.addEventListener("change", () => store.set({ pad: store.state.pad.map((name, i) => (i === index ? select.value : name)) }));
    return select;
  });
  const names = () => store.state.pad;
  const pad = new Pad({
    name: () => `XY pad: ${names().join(" across, ")} up`,
    say: (value) => names().map((name, i) => `${name} ${signed(REACH * value[i])}`).join(", "),
    move: (value) => store.change({ axes: { ...store.state.axes, ...Object.fromEntries(names().map((name, i) => [name, REACH * value[i]])) } }),
    done: () => store.mark(),
  });
  box.append(pad.element, h("div.fields", {}, h("label", {}, "\u2194", x), h("label", {}, "\u2195", y)));
  store.on((state) => {
    [x.value, y.value] = state.pad;
    pad.show(state.pad.map((name) => Math.max(-1, Math.min(1, (state.axes[name] ?? 0) / REACH))));
  }, ["axes", "pad"]);
};
