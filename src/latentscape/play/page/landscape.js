// The sound as a landscape: its spectra as ridges that walk away, the mark of the house; or its waveform.

const ROWS = 16;
const POINTS = 150;
const LOWEST = 40; // Hz
const RANGE = 62; // dB from the ground to the top
const TOP = [-72, -24]; // dB at the top, which follows the sound
const SINK = 0.12; // dB a frame
const PACE = 60; // ms from ridge to ridge
const NARROW = 500; // px, below which no frequencies are written
const TICKS = [100, 1000, 10000];

export class Landscape {
  constructor(canvas, analyser) {
    this.canvas = canvas;
    this.analyser = analyser;
    this.view = "spectrum";
    this.rows = Array.from({ length: ROWS }, () => new Float32Array(POINTS));
    this.bins = new Float32Array(analyser.frequencyBinCount);
    this.wave = new Float32Array(analyser.fftSize);
    this.pushed = 0;
    this.top = TOP[0];
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
  }

  #resize() {
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = this.canvas.getBoundingClientRect();
    this.size = [Math.max(1, width), Math.max(1, height)];
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    const style = getComputedStyle(document.documentElement);
    [this.ground, this.ridge, this.text] = ["--hero", "--ridge", "--hero-faint"].map((name) => style.getPropertyValue(name).trim());
    this.draw(performance.now(), true);
  }

  show(view) {
    this.view = view;
    this.canvas.setAttribute("aria-label", view === "wave" ? "Waveform of the sound" : "Spectrum of the sound");
  }

  /** One frame; `still` draws what is there without reading the sound. */
  draw(now, still = false) {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, ...this.size);
    context.lineJoin = "round";
    if (this.view === "wave") return this.#waveform(context);
    if (!still) this.#listen(now);
    this.#ridges(context, now);
  }

  #frequency(share) {
    const top = this.analyser.context.sampleRate / 2;
    return LOWEST * (top / LOWEST) ** share;
  }

  // Each point is the loudest bin of its own band, between bins the line from one to the other.
  #listen(now) {
    if (now - this.pushed > PACE && !this.calm.matches) {
      this.rows.unshift(this.rows.pop());
      this.pushed = now;
    }
    this.analyser.getFloatFrequencyData(this.bins);
    const width = this.analyser.context.sampleRate / this.analyser.fftSize;
    const front = this.rows[0];
    const loudest = this.bins.reduce((most, level) => Math.max(most, level), -Infinity);
    this.top = Math.min(TOP[1], Math.max(TOP[0], loudest, this.top - SINK));
    for (let i = 0; i < POINTS; i++) {
      const [low, high] = [this.#frequency(i / POINTS) / width, this.#frequency((i + 1) / POINTS) / width];
      let level = -Infinity;
      for (let bin = Math.ceil(low); bin < high && bin < this.bins.length; bin++) level = Math.max(level, this.bins[bin]);
      if (level === -Infinity) {
        const bin = Math.min(Math.floor((low + high) / 2), this.bins.length - 2);
        const share = (low + high) / 2 - bin;
        level = this.bins[bin] * (1 - share) + this.bins[bin + 1] * share;
      }
      const height = Math.max(0, Math.min(1, (level - this.top + RANGE) / RANGE));
      front[i] = Number.isFinite(height) ? height : 0;
    }
  }

  #ridges(context, now) {
    const [width, height] = this.size;
    const count = this.calm.matches ? 1 : ROWS;
    const base = height - 17;
    const step = (base - 0.42 * height) / ROWS;
    const slide = this.calm.matches ? 0 : Math.min(1, (now - this.pushed) / PACE);
    for (let row = count - 1; row >= 0; row--) {
      const depth = (row + slide) / ROWS;
      const y = base - (row + slide - (row === 0 ? slide : 0)) * step;
      const inset = 0.06 * width * depth;
      const scale = (0.78 - 0.3 * depth) * height;
      const values = this.rows[row];
      context.beginPath();
      for (let i = 0; i < POINTS; i++) {
        // the ends come down to the ground, as the mountains of the page do
        const edge = Math.min(1, i / 10, (POINTS - 1 - i) / 10);
        context.lineTo(inset + ((width - 2 * inset) * i) / (POINTS - 1), y - values[i] ** 1.35 * scale * edge);
      }
      context.globalAlpha = 1;
      context.fillStyle = this.ground;
      context.fill();
      context.globalAlpha = row === 0 ? 1 : 0.72 * (1 - depth) ** 1.4 + 0.06;
      context.strokeStyle = row === 0 ? "#d5caff" : this.ridge;
      context.lineWidth = row === 0 ? 1.8 : 1.1;
      context.stroke();
    }
    context.globalAlpha = 1;
    if (width < NARROW) return;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = this.text;
    context.textAlign = "center";
    const top = this.analyser.context.sampleRate / 2;
    for (const hertz of TICKS.filter((tick) => tick < 0.9 * top)) {
      const x = (width * Math.log(hertz / LOWEST)) / Math.log(top / LOWEST);
      context.fillText(hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`, x, height - 4);
    }
  }

  // From a rising zero crossing, so that the wave stands still.
  #waveform(context) {
    const [width, height] = this.size;
    this.analyser.getFloatTimeDomainData(this.wave);
    const shown = Math.floor(this.wave.length / 2);
    let start = 0;
    while (start < shown && !(this.wave[start] <= 0 && this.wave[start + 1] > 0)) start++;
    if (start === shown) start = 0;
    let peak = 0.05;
    for (const value of this.wave) peak = Math.max(peak, Math.abs(value));
    context.beginPath();
    for (let i = 0; i < shown; i++) {
      const edge = Math.min(1, i / 60, (shown - i) / 60);
      context.lineTo((width * i) / (shown - 1), height / 2 - (this.wave[start + i] / peak) * 0.42 * height * edge);
    }
    context.lineWidth = 5;
    context.strokeStyle = this.ridge;
    context.globalAlpha = 0.25;
    context.stroke();
    context.lineWidth = 1.8;
    context.strokeStyle = "#d5caff";
    context.globalAlpha = 1;
    context.stroke();
  }
}
