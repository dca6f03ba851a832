// Keeps the server at what the session says: each change sends what differs; a new connection sends all of it.

const MOST_AHEAD = 0.5; // s
const LEAST_AHEAD = 0.1; // what is ready costs no latency: the server replaces it where an order comes
const FIRST_AHEAD = 0.15; // while everything is warming up
const NEAR = 0.006; // s left in the ring: nearly an underrun
const PATIENCE = 4000; // ms without an underrun, or nearly one, before less is held
const MOST_PATIENCE = 60_000;

export class Performer {
  constructor(store, link, audio, info) {
    Object.assign(this, { store, link, audio, info });
    this.running = false;
    this.ahead = FIRST_AHEAD;
    this.fixed = null; // s that the player asks for, instead of growing as needed
    this.underruns = 0;
    this.patience = PATIENCE;
    this.steady = this.eased = 0; // when it last ran empty, when less was last tried
    this.sent = {};
    store.on(() => this.sync());
    link.addEventListener("ready", () => {
      this.sent = {};
      this.underruns = this.audio.report.underruns;
      this.sync();
    });
    link.addEventListener("closed", () => {
      this.sent = {};
    });
  }

  play(on) {
    this.running = on;
    this.audio.tell({ running: on });
    this.sync();
  }

  /**
   * Hold more sound ready after the ring ran empty or nearly so, which costs work; less again when it has not for a
   * while. `low` is the least that lay ready since the last report, in s.
   */
  listen(underruns, low) {
    const now = performance.now();
    const ran = underruns > this.underruns;
    this.underruns = underruns;
    if (this.fixed != null || !this.running) return;
    if (ran || (low < NEAR && now - this.steady > 200)) {
      // less was tried too early: wait longer before the next try
      this.patience = Math.min(MOST_PATIENCE, now - this.eased < this.patience ? 2 * this.patience : this.patience);
      this.steady = now;
      this.hold(Math.min(MOST_AHEAD, this.ahead * (ran ? 1.35 : 1.15)));
    } else if (this.ahead > LEAST_AHEAD && now - this.steady > this.patience) {
      this.steady = this.eased = now;
      this.hold(Math.max(LEAST_AHEAD, this.ahead / 1.2));
    }
  }

  hold(seconds, fixed = this.fixed) {
    this.fixed = fixed;
    this.ahead = seconds;
    this.audio.tell({ ahead: seconds });
    this.sync();
  }

  sync() {
    const { link, sent, store: { state } } = this;
    if (!link.ready) return;
    const plain = (name, value, message) => {
      if (sent[name] === value) return;
      sent[name] = value;
      link.send(message);
    };
    if (sent.ahead !== this.ahead) {
      sent.ahead = this.ahead;
      link.tell({ type: "ahead", seconds: this.ahead });
    }
    plain("gate", state.gate, { type: "gate", mode: state.gate });
    plain("hold", state.hold, { type: "hold", on: state.hold });
    plain("speed", state.speed, { type: "speed", value: state.speed });
    this.#labels();
    if (sent.level !== state.level) {
      sent.level = state.level;
      link.stream("level", { type: "level", db: state.level });
    }
    sent.axes ??= {};
    for (const { name } of this.info.axes) {
      const value = state.axes[name] ?? 0;
      if (value === (sent.axes[name] ?? 0)) continue;
      sent.axes[name] = value;
      link.stream(`axis ${name}`, { type: "axis", name, value });
    }
    this.#source();
    plain("running", this.running, { type: this.running ? "play" : "stop" });
  }

  #labels() {
    const { sent, store: { state } } = this;
    sent.labels ??= Object.fromEntries(Object.keys(state.labels).map((name) => [name, null]));
    const values = Object.fromEntries(Object.entries(state.labels).filter(([name, value]) => value !== sent.labels[name]));
    if (!Object.keys(values).length) return;
    Object.assign(sent.labels, values);
    this.link.send({ type: "labels", values });
  }

  // a path or a goal, whichever sounds
  #source() {
    const { link, sent, store: { state } } = this;
    const { path, goal } = state;
    if (path && state.travelling) {
      const key = `path ${path.stamp} ${state.loop}`;
      if (sent.source === key) return;
      sent.source = key;
      link.late.delete("goal"); // what still waits would stop the path again
      const loop = state.loop && path.back ? "bounce" : state.loop; // there and back again, without a jump
      link.send({ type: "path", path: path.path, seconds: path.seconds, loop });
      return;
    }
    const key = `goal ${goal.stamp}`;
    if (sent.source === key) return;
    sent.source = key;
    const glide = goal.glide ? { glide: goal.glide } : {};
    link.stream("goal", goal.code ? { type: "point", code: goal.code, ...glide } : { type: "place", map: goal.map, at: goal.at, ...glide });
  }

  /** A key went down or up. The server sets the pitch label itself; the session only notes it. */
  note(on, midi, velocity, under) {
    this.link.send(on ? { type: "note", on, midi, velocity } : { type: "note", on, midi });
    const label = this.info.pitch_label;
    const sounding = on ? midi : under; // a key let go gives way to the one that is still held
    if (!label || sounding === undefined) return;
    const known = this.info.labels[label];
    const nearest = known.reduce((best, value) => (Math.abs(value - sounding) < Math.abs(best - sounding) ? value : best));
    if (this.sent.labels) this.sent.labels[label] = nearest;
    this.store.change({ labels: { ...this.store.state.labels, [label]: nearest } });
  }
}
