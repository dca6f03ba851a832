// Filling in: a stretch of a sound is chosen by hand or by keyboard, answers come one by one, one is kept as a file.

import * as api from "./api.js";
import { download, h, options, slider } from "./elements.js";

const AROUND = 0.7; // s heard before and after the gap
const LEAST = 0.01; // s of a gap
const GRIP = 9; // pixels around a border that take hold of it
const STEP = 0.005; // s
const COUNTS = [1, 2, 4, 8];
const WAYS = { auto: "as suits", linear: "linear prediction", copy: "copy", latent: "latent path", hierarchy: "hierarchy" };

export const fillPanel = (box, { info, audio, nearestDot, say, fail }) => {
  const most = info.limits.gap_seconds;
  let sound = null; // {name, file, buffer}
  let peak = 0; // of the sound: the picture is as high
  let gap = [0, 0];
  let answers = []; // {file, buffer, method}
  let chosen = -1; // of the answers; -1 is the sound as it was
  let work = null; // the AbortController of what is on its way

  const canvas = h("canvas.wave", { role: "img", "aria-label": "Waveform" });
  const ends = h("div");
  const count = h("select", { "aria-label": "Answers" });
  options(count, COUNTS.filter((n) => n <= info.limits.answers).map((n) => [String(n), n === 1 ? "1 answer" : `${n} answers`]));
  count.value = "4";
  const way = h("select", { "aria-label": "Method" });
  options(way, ["auto", ...Object.keys(info.fills)].map((name) => [name, WAYS[name] ?? name]));
  const fill = h("button.plain", { type: "button", onclick: () => ask() }, "Fill");
  const cancel = h("button.plain", { type: "button", hidden: true, onclick: () => work?.abort() }, "Cancel");
  const list = h("fieldset.answers", { hidden: true });
  const listen = h("button.plain", { type: "button", onclick: () => hear() }, "Listen");
  const keep = h("button.plain", { type: "button", onclick: () => save() }, "Save WAV");
  const name = h("p.name");
  const part = h("div.filling", { hidden: true }, name, canvas, ends,
    h("div.row", {}, count, way), h("div.row", {}, fill, cancel, listen, keep), list);
  const take = async () => {
    const index = nearestDot();
    if (index < 0) return say("There is no dot on the map.");
    try {
      await open(info.dots[index].name, new Blob([await api.dotSound(index)], { type: "audio/wav" }));
    } catch (error) {
      fail(error);
    }
  };
  const hint = h("p.hint", {}, "Choose Fill at one of your sounds, or take ", h("button.link", { type: "button", onclick: take }, "the nearest dot"), ".");
  box.append(part, hint);

  const seconds = () => sound.buffer.duration;
  const sliders = {};
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  /** Set the gap; the end that was not moved gives way where it would be too short or too long. */
  const set = (begin, end, held) => {
    const last = seconds();
    if (held === 0) {
      begin = clamp(begin, 0, last - LEAST);
      end = clamp(end, begin + LEAST, begin + most);
    } else {
      end = clamp(end, LEAST, last);
      begin = clamp(begin, Math.max(0, end - most), end - LEAST);
    }
    gap = [begin, Math.min(end, last)];
    sliders.begin.show(gap[0]);
    sliders.end.show(gap[1]);
    if (answers.length || work) forget();
    draw();
  };
  const forget = () => {
    work?.abort();
    answers = [];
    chosen = -1;
    show();
  };

  const open = async (title, file) => {
    const buffer = await audio.context.decodeAudioData(await file.arrayBuffer());
    const longest = info.limits.upload_seconds;
    if (buffer.duration > longest) throw new Error(`${title} has ${buffer.duration.toFixed(0)} s; at most ${longest} s are filled here.`);
    if (buffer.duration < 4 * LEAST) throw new Error(`${title} is too short to fill in.`);
    sound = { name: title, file, buffer };
    name.textContent = title;
    part.hidden = false;
    peak = 0;
    for (let channel = 0; channel < buffer.numberOfChannels; channel++)
      for (const value of buffer.getChannelData(channel)) peak = Math.max(peak, Math.abs(value));
    const last = buffer.duration;
    const make = (words, held) =>
      slider({ name: words, low: 0, high: last, step: STEP, home: 0, format: (v) => `${v.toFixed(3)} s`,
        oninput: (v) => (held ? set(gap[0], v, 1) : set(v, gap[1], 0)), onchange: () => {} });
    Object.assign(sliders, { begin: make("Gap from", 0), end: make("Gap to", 1) });
    ends.replaceChildren(sliders.begin.element, sliders.end.element);
    set(last * 0.4, Math.min(last * 0.4 + Math.min(0.25, last / 4), last), 0);
    forget();
    part.scrollIntoView({ block: "nearest" });
    say(`Choose the stretch of ${title} to fill in.`);
  };

  const draw = () => {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth || 260, canvas.clientHeight || 84];
    if (canvas.width !== Math.round(width * ratio)) Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const place = (time) => (time / seconds()) * width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.fillStyle = style.borderColor;
    context.fillRect(place(gap[0]), 0, Math.max(2, place(gap[1]) - place(gap[0])), height);
    const shown = chosen < 0 ? sound.buffer : answers[chosen].buffer;
    const samples = shown.getChannelData(0);
    const each = samples.length / width;
    const scale = 0.94 / Math.max(peak, 1e-4);
    for (let x = 0; x < width; x++) {
      let [low, high] = [0, 0];
      const stop = Math.min(samples.length, Math.ceil((x + 1) * each));
      const skip = Math.max(1, Math.floor(each / 60));
      for (let i = Math.floor(x * each); i < stop; i += skip) [low, high] = [Math.min(low, samples[i]), Math.max(high, samples[i])];
      const time = (x / width) * seconds();
      context.fillStyle = time >= gap[0] && time <= gap[1] ? style.outlineColor : style.color;
      context.fillRect(x, (height / 2) * (1 - Math.min(1, high * scale)), 1, Math.max(1, (height / 2) * (Math.min(1, high * scale) - Math.max(-1, low * scale))));
    }
    canvas.setAttribute("aria-label", `Waveform of ${sound.name}; the gap goes from ${gap[0].toFixed(3)} to ${gap[1].toFixed(3)} s`);
  };
  new ResizeObserver(() => sound && draw()).observe(canvas);

  let drag = null; // {from} of a new gap, or {held} of a border
  const time = (event) => {
    const { left, width } = canvas.getBoundingClientRect();
    return clamp((event.clientX - left) / width, 0, 1) * seconds();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const at = time(event);
    const grip = (GRIP / canvas.clientWidth) * seconds();
    const held = [0, 1].find((end) => Math.abs(gap[end] - at) < grip);
    drag = held === undefined ? { from: at } : { held };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = time(event);
    if ("held" in drag) set(drag.held ? gap[0] : at, drag.held ? at : gap[1], drag.held);
    else if (at >= drag.from) set(Math.max(drag.from, at - most), at, 1);
    else set(at, Math.min(drag.from, at + most), 0);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));

  const ask = async () => {
    forget();
    work = new AbortController();
    const mine = work;
    const [begin, end] = gap;
    const wanted = Number(count.value);
    fill.hidden = true;
    cancel.hidden = false;
    try {
      for (let number = 0; number < wanted; number++) {
        say(`Filling in ${sound.name}: answer ${number + 1} of ${wanted}`);
        const made = await api.fill(sound.file, { start: begin, end, number, method: way.value }, mine.signal);
        const buffer = await audio.context.decodeAudioData(await made.file.arrayBuffer());
        if (mine.signal.aborted) break;
        answers.push({ ...made, buffer });
        if (number === 0) chosen = 0;
        show();
        if (!made.draws) break;
      }
      if (!mine.signal.aborted) say(answers.length === 1 ? `Filled in by ${answers[0].method}.` : `${answers.length} answers, by ${answers[0].method}.`);
    } catch (error) {
      if (!mine.signal.aborted) fail(error);
    } finally {
      if (mine.signal.aborted) say("Filling in was cancelled.");
      if (work === mine) {
        work = null;
        fill.hidden = false;
        cancel.hidden = true;
      }
    }
  };

  const show = () => {
    const row = (index, words) =>
      h("label.check", {}, h("input", { type: "radio", name: "answer", checked: chosen === index, onchange: () => {
        chosen = index;
        draw();
        hear();
      } }), words);
    const focused = list.contains(document.activeElement);
    list.hidden = !answers.length;
    list.replaceChildren(h("legend", {}, "Answers"), row(-1, "As it was"), ...answers.map((_, index) => row(index, index ? `Drawn ${index}` : "Likeliest")));
    if (focused) list.querySelector("input:checked")?.focus();
    keep.disabled = chosen < 0 && !answers.length;
    if (sound) draw();
  };
  const hear = () => {
    const buffer = chosen < 0 ? sound.buffer : answers[chosen].buffer;
    audio.play(buffer, Math.max(0, gap[0] - AROUND), Math.min(buffer.duration, gap[1] + AROUND));
  };
  const save = () => {
    if (chosen < 0) return say("Choose an answer to save.");
    download(answers[chosen].file, `${sound.name.replace(/^.*[\\/]/, "").replace(/\.[a-z0-9]{2,4}$/i, "")} filled ${chosen + 1}.wav`);
    say("Saved.");
  };
  return { open };
};
