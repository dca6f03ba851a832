// Where the sound is and how late it follows: the server tells which sample first depends on which point, the ring
// buffer tells which sample it plays.

const KEPT = 128;
const DELAYS = 15;

export class Live {
  constructor(link, audio) {
    Object.assign(this, { audio, reports: [], asked: new Map(), due: [], delays: [] });
    link.addEventListener("at", ({ detail }) => this.#take(detail));
    link.addEventListener("sent", ({ detail }) => {
      this.asked.set(detail.seq, performance.now());
      if (this.asked.size > KEPT) this.asked.delete(this.asked.keys().next().value);
    });
    link.addEventListener("ready", () => {
      this.reports = [];
      this.due = [];
      this.asked.clear();
    });
  }

  #take(at) {
    // what was to come from there on has been taken back
    while (this.reports.length && this.reports.at(-1).sample >= at.sample) this.reports.pop();
    this.reports.push(at);
    if (this.reports.length > KEPT) this.reports.shift();
    const asked = this.asked.get(at.seq);
    if (asked === undefined) return;
    this.asked.delete(at.seq);
    this.due.push({ sample: at.sample, asked });
  }

  /** Note what has been played by now, and so how late it was. */
  hear({ played }) {
    const now = performance.now();
    while (this.due.length && this.due[0].sample <= played) {
      const { sample, asked } = this.due.shift();
      this.delays.push(now - asked - (1000 * (played - sample)) / this.audio.rate);
      if (this.delays.length > DELAYS) this.delays.shift();
    }
  }

  /** The median time in ms from an order to the first sample that obeys it, of the last few. */
  get delay() {
    const sorted = [...this.delays].sort((a, b) => a - b);
    return sorted.length ? Math.max(0, sorted[sorted.length >> 1]) : null;
  }

  get newest() {
    return this.reports.at(-1) ?? null;
  }

  /** The place of the sound that leaves the speaker now, between two reports. */
  place(map) {
    const heard = this.audio.heard();
    let later = this.reports.length - 1;
    while (later > 0 && this.reports[later - 1].sample > heard) later -= 1;
    const [from, to] = [this.reports[Math.max(0, later - 1)], this.reports[later]];
    if (!to?.places[map]) return null;
    const span = to.sample - from.sample;
    const share = span > 0 ? Math.max(0, Math.min(1, (heard - from.sample) / span)) : 1;
    return to.places[map].map((value, i) => from.places[map][i] + share * (value - from.places[map][i]));
  }
}
