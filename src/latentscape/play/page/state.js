// What a session is: plain data, so that it can be undone, saved and sent again after a lost connection.

export const SLOTS = 8;
export const TRAVELS = { latent: "even in latent space", perceived: "even to the ear", time: "as it was drawn" };
const MOST_STEPS = 200; // that can be undone
const FORMAT = 1;

let stamp = 0;
/** Mark a goal or a path as a new one, so that it is sent even where it equals the last. */
export const fresh = (value) => ({ ...value, stamp: ++stamp });

/** The loudest level in dB: somewhat above that with which the instrument begins. */
export const loudest = (info) => info.gain_db + 12;

export const initial = (info) => ({
  goal: fresh({ code: info.centre }), // {code} or {map, at}
  path: null, // {name, path, seconds, back, preview, recipe, stamp}
  travelling: false,
  speed: 1,
  pace: "latent",
  loop: true,
  hold: false,
  axes: {}, // name -> deviations; 0 is left out
  pad: [info.axes[0]?.name ?? null, (info.axes[1] ?? info.axes[0])?.name ?? null],
  stored: Array(SLOTS).fill(null), // {code, places}
  sounds: [], // {name, seconds, code, path, places}
  labels: Object.fromEntries(Object.keys(info.labels).map((name) => [name, null])),
  gate: "drone",
  octave: 4,
  level: info.gain_db, // dB
  map: Object.keys(info.maps)[0],
  colour: null,
  hover: true,
  typing: true,
  bits: 24,
});

export class Store {
  constructor(state) {
    this.state = state;
    this.settled = JSON.stringify(state);
    this.dirty = false;
    this.past = []; // JSON of the states before
    this.future = [];
    this.listeners = [];
  }

  /** Call `listener(state)` after each change of one of the keys; without keys, after anything. */
  on(listener, keys = null) {
    this.listeners.push([listener, keys]);
  }

  change(values) {
    Object.assign(this.state, values);
    this.dirty = true;
    this.#tell(Object.keys(values));
  }

  #tell(changed) {
    for (const [listener, keys] of this.listeners) if (!keys || keys.some((key) => changed.includes(key))) listener(this.state);
  }

  /** Begin: show everything; what is there now can't be undone. */
  begin() {
    this.settled = JSON.stringify(this.state);
    this.dirty = false;
    this.#tell(Object.keys(this.state));
  }

  get undoes() {
    return this.dirty || this.past.length > 0;
  }

  /** End a gesture: from here one undo goes back to before it. */
  mark() {
    const now = JSON.stringify(this.state);
    this.dirty = false;
    if (now !== this.settled) {
      this.past.push(this.settled);
      if (this.past.length > MOST_STEPS) this.past.shift();
      this.future = [];
      this.settled = now;
    }
    this.#tell([]);
  }

  /** A change that is a gesture of its own. */
  set(values) {
    this.change(values);
    this.mark();
  }

  undo() {
    this.mark();
    return this.#step(this.past, this.future);
  }

  redo() {
    return this.#step(this.future, this.past);
  }

  #step(from, to) {
    if (!from.length) return false;
    to.push(this.settled);
    this.settled = from.pop();
    this.change(JSON.parse(this.settled));
    this.dirty = false;
    this.#tell([]);
    return true;
  }
}

export const toFile = (state, info) =>
  JSON.stringify({ latentscape: "session", format: FORMAT, instrument: info.name, dim: info.dim, state }, null, 1);

/** Return the state of a session file; what does not fit this instrument is left as it is. Throws one clear line. */
export const fromFile = (text, info, now) => {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("This file is not a session: it holds no JSON.");
  }
  if (file?.latentscape !== "session" || typeof file.state !== "object") throw new Error("This file is not a session.");
  if (file.format > FORMAT) throw new Error("This session was saved by a newer latentscape.");
  if (file.dim !== info.dim)
    throw new Error(`This session is of an instrument with ${file.dim} latent dimensions (${file.instrument}); this one has ${info.dim}.`);
  const given = file.state;
  const number = (value, low, high, other) => (Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : other);
  const code = (value) => Array.isArray(value) && value.length === info.dim && value.every(Number.isFinite);
  const names = new Set(info.axes.map((axis) => axis.name));
  const point = (value) => (code(value?.code) ? { code: value.code, places: places(value.places) } : null);
  const places = (value) =>
    Object.fromEntries(Object.entries(value ?? {}).filter(([name, at]) => name in info.maps && at?.every?.(Number.isFinite)));
  const spot = given.goal?.map in info.maps && given.goal.at?.every?.(Number.isFinite);
  const goal = code(given.goal?.code) ? point(given.goal) : spot ? { map: given.goal.map, at: given.goal.at } : now.goal;
  const path = typeof given.path?.path === "object" && given.path.path ? fresh({
    name: String(given.path.name),
    path: given.path.path,
    seconds: number(given.path.seconds, 0.1, 3600, 8),
    back: given.path.back === true,
    preview: Object.fromEntries(Object.entries(given.path.preview ?? {}).filter(([, line]) => Array.isArray(line) && line.every((at) => at?.every?.(Number.isFinite)))),
    recipe: typeof given.path.recipe === "object" ? given.path.recipe : null,
  }) : null;
  return {
    ...now,
    goal: fresh(goal),
    path,
    travelling: Boolean(path && given.travelling),
    speed: number(given.speed, 0.05, 16, 1),
    pace: given.pace in TRAVELS ? given.pace : now.pace,
    loop: given.loop !== false,
    hold: given.hold === true,
    axes: Object.fromEntries(Object.entries(given.axes ?? {}).filter(([name, value]) => names.has(name) && Number.isFinite(value))),
    pad: [0, 1].map((i) => (names.has(given.pad?.[i]) ? given.pad[i] : now.pad[i])),
    stored: now.stored.map((_, index) => point(given.stored?.[index])),
    sounds: (given.sounds ?? []).filter((sound) => code(sound?.code)).map((sound) => ({
      name: String(sound.name),
      seconds: number(sound.seconds, 0.01, 3600, 1),
      code: sound.code,
      path: (sound.path ?? []).filter(code),
      places: places(sound.places),
    })),
    labels: Object.fromEntries(
      Object.entries(now.labels).map(([name]) => [name, info.labels[name].includes(given.labels?.[name]) ? given.labels[name] : null]),
    ),
    gate: given.gate === "keys" ? "keys" : "drone",
    octave: number(given.octave, 0, 8, 4),
    level: number(given.level, -60, loudest(info), now.level),
    map: given.map in info.maps ? given.map : now.map,
    colour: typeof given.colour === "string" ? given.colour : now.colour,
    hover: given.hover !== false,
    typing: given.typing !== false,
    bits: given.bits === 16 ? 16 : 24,
  };
};
