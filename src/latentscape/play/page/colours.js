// Colours and shapes: those of the run's page (report/style.py, report/plane.py).

export const CATEGORIES = ["#3f6fb5", "#d9622b", "#1f9e77", "#b5478f", "#b58900", "#2f93b5", "#7a6a5a", "#8466c9"];
export const UNKNOWN = "#99949f";
const OUTLINES = [
  "M0-5.2A5.2 5.2 0 1 1 0 5.2A5.2 5.2 0 1 1 0-5.2Z",
  "M-4.6-4.6H4.6V4.6H-4.6Z",
  "M0-6L5.6 4.4H-5.6Z",
  "M0-6.4L6 0L0 6.4L-6 0Z",
  "M0 6L5.6-4.4H-5.6Z",
  "M-2-5.6H2V-2H5.6V2H2V5.6H-2V2H-5.6V-2H-2Z",
  "M0-6L5.7-1.9L3.5 4.9H-3.5L-5.7-1.9Z",
  "M-5.6-2.4L-2.4-5.6H2.4L5.6-2.4V2.4L2.4 5.6H-2.4L-5.6 2.4Z",
];
export const SHAPES = OUTLINES.map((outline) => new Path2D(outline));
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const MOST_WORDS = 24; // values of a label that can still be told apart

export const category = (index) => CATEGORIES[index % CATEGORIES.length];
/** The shape of a category; every round of the colours shifts the shapes by one. */
export const shape = (index) => (index + Math.floor(index / CATEGORIES.length)) % SHAPES.length;

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

export const dark = matchMedia("(prefers-color-scheme: dark)");

/** The colour of a share from 0 to 1; the end that would sink into the paper is left out. */
export const viridis = (share) => {
  const [from, to] = dark.matches ? [0.2, 1] : [0, 0.9];
  const place = (from + (to - from) * Math.min(Math.max(share, 0), 1)) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const [a, b] = [rgb(VIRIDIS[low]), rgb(VIRIDIS[low + 1])];
  return `#${a.map((v, i) => Math.round(v + (b[i] - v) * (place - low)).toString(16).padStart(2, "0")).join("")}`;
};

const number = (text) => (text === "" || text == null ? NaN : Number(text));

/** What dots can be coloured by: [{id, name, kind: "words"|"numbers", of(dot)}], the telling ones first. */
export const columns = (dots, units = {}) => {
  const found = [];
  for (const name of Object.keys(dots[0]?.labels ?? {})) {
    const values = new Set(dots.map((dot) => dot.labels[name]));
    const numbers = [...values].every((value) => !Number.isNaN(number(value)));
    if (values.size < 2 || (!numbers && values.size > MOST_WORDS)) continue;
    const kind = numbers && values.size > 8 ? "numbers" : "words";
    const of = kind === "numbers" ? (dot) => number(dot.labels[name]) : (dot) => dot.labels[name];
    found.push({ id: `label ${name}`, name, kind, of, size: values.size });
  }
  for (const name of Object.keys(dots[0]?.descriptors ?? {}))
    found.push({ id: `descriptor ${name}`, name, kind: "numbers", unit: units[name] ?? "", of: (dot) => dot.descriptors[name] ?? NaN });
  const first = ["instrument", "family", "class", "kind", "midi", "pitch"];
  const rank = (column) => (first.indexOf(column.name) + 1 || first.length + 1) + (column.kind === "words" ? 0 : 0.5);
  return found.sort((a, b) => rank(a) - rank(b));
};

/** Paint dots by a column: {colours, shapes, legend: [{value, colour, shape}] | {low, high}}. */
export const painted = (dots, column) => {
  if (!column) return { colours: dots.map(() => CATEGORIES[0]), shapes: dots.map(() => 0), legend: [] };
  const values = dots.map(column.of);
  if (column.kind === "numbers") {
    const known = values.filter(Number.isFinite).sort((a, b) => a - b);
    const low = known[Math.floor(0.01 * known.length)] ?? 0;
    const high = known[Math.ceil(0.99 * (known.length - 1))] ?? 1;
    // frequencies are heard by their ratios
    const ratio = low > 0 && high / low > 20;
    const scale = (value) => {
      const [v, l, h] = ratio ? [value, low, high].map(Math.log) : [value, low, high];
      return h > l ? (v - l) / (h - l) : 0.5;
    };
    const shares = values.map((value) => (Number.isFinite(value) ? scale(value) : NaN));
    const colours = shares.map((share) => (Number.isNaN(share) ? UNKNOWN : viridis(share)));
    return { colours, shapes: dots.map(() => 0), shares, legend: { low, high } };
  }
  const order = [...new Set(values)].sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
  const place = new Map(order.map((value, index) => [value, index]));
  const legend = order.map((value, index) => ({ value, colour: category(index), shape: shape(index), outline: OUTLINES[shape(index)] }));
  return {
    colours: values.map((value) => category(place.get(value))),
    shapes: values.map((value) => shape(place.get(value))),
    values,
    legend,
  };
};

/** The theme's own colours, from the style sheet. */
export const theme = () => {
  const style = getComputedStyle(document.documentElement);
  const names = ["bg", "card", "ink", "faint", "line", "accent", "soft", "hero", "ridge", "good", "warning"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
};
