// The land under the dots: how densely the corpus lies, as height lines and a tint of the dots' own colours.

import { rgb } from "./colours.js";

const CELLS = 88; // along the longer side
const LEVELS = [0.06, 0.16, 0.3, 0.48, 0.7];
const MOST = 1500; // dots that are looked at

/** Return {lines: Path2D in map units, tint: canvas, box} of places [[x, y]] and their colours. */
export const terrain = (places, colours, box) => {
  const [width, height] = [box.right - box.left, box.top - box.bottom];
  const cell = Math.max(width, height) / CELLS;
  const [columns, rows] = [Math.ceil(width / cell) + 1, Math.ceil(height / cell) + 1];
  const reach = 0.055 * Math.max(width, height); // standard deviation of one dot's hill
  const span = Math.ceil((3 * reach) / cell);
  const density = new Float32Array(columns * rows);
  const mixed = [0, 1, 2].map(() => new Float32Array(columns * rows));
  const stride = Math.max(1, Math.floor(places.length / MOST));
  for (let d = 0; d < places.length; d += stride) {
    const [x, y] = [(places[d][0] - box.left) / cell, (box.top - places[d][1]) / cell];
    const colour = rgb(colours[d]);
    for (let row = Math.max(0, Math.floor(y) - span); row < Math.min(rows, y + span); row++)
      for (let column = Math.max(0, Math.floor(x) - span); column < Math.min(columns, x + span); column++) {
        const weight = Math.exp((-0.5 * cell * cell * ((column - x) ** 2 + (row - y) ** 2)) / reach ** 2);
        const at = row * columns + column;
        density[at] += weight;
        for (let c = 0; c < 3; c++) mixed[c][at] += weight * colour[c];
      }
  }
  const sorted = [...density].sort((a, b) => a - b);
  const top = sorted[Math.floor(0.995 * (sorted.length - 1))] || 1;
  const tint = new OffscreenCanvas(columns, rows);
  const image = new ImageData(columns, rows);
  for (let at = 0; at < density.length; at++) {
    const weight = density[at] || 1;
    for (let c = 0; c < 3; c++) image.data[4 * at + c] = mixed[c][at] / weight;
    image.data[4 * at + 3] = 255 * Math.min(1, Math.sqrt(density[at] / top));
  }
  tint.getContext("2d").putImageData(image, 0, 0);
  const lines = LEVELS.map((level) => contour(density, columns, rows, level * top, cell, box));
  return { lines, tint, box, cell, columns, rows };
};

// Marching squares: the segments of one level, each cell's corners read clockwise from the upper left.
const contour = (field, columns, rows, level, cell, box) => {
  const path = new Path2D();
  const x = (column) => box.left + column * cell;
  const y = (row) => box.top - row * cell;
  for (let row = 0; row + 1 < rows; row++)
    for (let column = 0; column + 1 < columns; column++) {
      const at = row * columns + column;
      const [a, b, c, d] = [field[at], field[at + 1], field[at + columns + 1], field[at + columns]];
      const kind = (a > level) | ((b > level) << 1) | ((c > level) << 2) | ((d > level) << 3);
      if (kind === 0 || kind === 15) continue;
      const share = (from, to) => (level - from) / (to - from);
      const sides = [
        () => [x(column + share(a, b)), y(row)],
        () => [x(column + 1), y(row + share(b, c))],
        () => [x(column + share(d, c)), y(row + 1)],
        () => [x(column), y(row + share(a, d))],
      ];
      for (const [from, to] of SEGMENTS[kind]) {
        path.moveTo(...sides[from]());
        path.lineTo(...sides[to]());
      }
    }
  return path;
};

const SEGMENTS = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[0, 2]], [[0, 1], [2, 3]], [[1, 2]], [[1, 3]], [[0, 1]], [[3, 0]], [],
];
