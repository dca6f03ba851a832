// Notes: keys on the page, the computer's keyboard, MIDI; and what else the model is told.

import { choice, h, options } from "./elements.js";
import { loudest } from "./state.js";

const ROW = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ", "KeyK", "KeyO", "KeyL", "KeyP", "Semicolon"];
const NAMES = ["C", "C\u266f", "D", "D\u266f", "E", "F", "F\u266f", "G", "G\u266f", "A", "A\u266f", "B"];
const LETTERS = "AWSEDFTGYHUJKOLP;";
const BLACK = [1, 3, 6, 8, 10];
const TYPED = 0.8; // velocity of the computer's keyboard

export const noteName = (midi) => `${NAMES[midi % 12]}${Math.floor(midi / 12) - 1}`;

export const keysPanel = (box, { store, info, performer, say, morph }) => {
  const held = new Map(); // what holds a note -> midi
  const pitched = Boolean(info.pitch_label);
  const base = () => 12 * (store.state.octave + 1);

  const press = (source, midi, velocity) => {
    if (held.has(source)) release(source);
    held.set(source, midi);
    performer.note(true, midi, Math.max(0.01, Math.min(1, velocity)));
    light();
  };
  const release = (source) => {
    if (!held.has(source)) return;
    const midi = held.get(source);
    held.delete(source);
    if (![...held.values()].includes(midi)) performer.note(false, midi, 0, [...held.values()].at(-1));
    light();
  };
  const silence = () => [...held.keys()].forEach(release);

  // the keys of the page
  const keys = (pitched ? ROW : ROW.slice(0, 1)).map((code, index) => {
    const key = h("button.key", { type: "button" }, h("span", { "aria-hidden": "true" }, pitched ? LETTERS[index] : "Hold to sound"));
    const black = BLACK.includes(index % 12);
    key.classList.toggle("black", black);
    const whites = ROW.slice(0, index).filter((_, i) => !BLACK.includes(i % 12)).length;
    if (!pitched) key.style.gridColumn = "1 / -1";
    else key.style.gridColumn = black ? `${2 * whites} / span 2` : `${2 * whites + 1} / span 2`;
    key.tabIndex = index ? -1 : 0;
    const source = (event) => `pointer ${event.pointerId}`;
    const strike = (event) => {
      const { top, height } = key.getBoundingClientRect();
      press(source(event), base() + index, 0.3 + 0.7 * Math.min(1, (event.clientY - top) / height));
    };
    key.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      key.releasePointerCapture(event.pointerId); // so that a finger may slide over the keys
      key.focus({ preventScroll: true });
      strike(event);
    });
    key.addEventListener("pointerenter", (event) => event.buttons && held.has(source(event)) && strike(event));
    key.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        if (!event.repeat) press(`key ${index}`, base() + index, TYPED);
      }
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!step || !keys[index + step]) return;
      event.preventDefault();
      key.tabIndex = -1;
      keys[index + step].tabIndex = 0;
      keys[index + step].focus();
    });
    key.addEventListener("keyup", (event) => (event.key === "Enter" || event.key === " ") && release(`key ${index}`));
    key.addEventListener("blur", () => release(`key ${index}`));
    return key;
  });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, (event) => release(`pointer ${event.pointerId}`));
  addEventListener("blur", silence);
  const light = () => {
    const sounding = new Set(held.values());
    keys.forEach((key, index) => key.classList.toggle("down", pitched ? sounding.has(base() + index) : sounding.size > 0));
  };

  // the computer's keyboard
  const typing = (event) => !event.ctrlKey && !event.metaKey && !event.altKey && store.state.typing && !event.target.closest?.("select, input:not([type=range], [type=checkbox])");
  addEventListener("keydown", (event) => {
    if (!typing(event) || event.repeat) return;
    const index = ROW.indexOf(event.code);
    if (index >= 0) press(event.code, base() + index, TYPED);
    else if (event.code === "KeyZ" || event.code === "KeyX") shift(event.code === "KeyZ" ? -1 : 1);
  });
  addEventListener("keyup", (event) => release(event.code));
  const shift = (by) => {
    silence();
    store.set({ octave: Math.max(0, Math.min(8, store.state.octave + by)) });
    say(`Octave ${store.state.octave}`);
  };

  // MIDI
  const listen = ({ data: [status, first, second] }) => {
    const kind = status & 0xf0;
    if (kind === 0x90 && second > 0) press(`midi ${first}`, first, second / 127);
    else if (kind === 0x80 || kind === 0x90) release(`midi ${first}`);
    else if (kind === 0xb0 && first === 7) store.change({ level: Math.round(-60 + ((60 + loudest(info)) * second) / 127) });
    else if (kind === 0xb0 && (first === 120 || first === 123)) silence();
  };
  const midi = h("button.plain", {
    type: "button",
    hidden: !navigator.requestMIDIAccess,
    onclick: async () => {
      try {
        const access = await navigator.requestMIDIAccess();
        const connect = () => {
          for (const input of access.inputs.values()) input.onmidimessage = listen;
          const names = [...access.inputs.values()].map((input) => input.name);
          midi.textContent = names.length ? `MIDI: ${names.length}` : "MIDI: none";
          say(names.length ? `MIDI from ${names.join(", ")}.` : "No MIDI instrument is plugged in; plug one in and it plays.");
        };
        access.onstatechange = connect;
        connect();
      } catch {
        say("The browser did not allow MIDI.");
      }
    },
  }, "MIDI");

  const gate = choice("Sound", { drone: "Drone", keys: "Keys" }, (mode) => store.set({ gate: mode }));
  const octave = h("output", { "aria-live": "off" });
  const typed = h("input", { type: "checkbox", onchange: () => store.set({ typing: typed.checked }) });
  box.append(
    h("div.row", {}, gate.element, midi),
    h("div.piano", { role: "group", "aria-label": "Keys" }, ...keys),
    h("p.hint", { hidden: pitched }, "This model is told no pitch: keys open and close the sound."),
    h("div.row.octave", { hidden: !pitched },
      h("button.icon.small", { type: "button", "aria-label": "Octave down", onclick: () => shift(-1) }, "\u2212"),
      octave,
      h("button.icon.small", { type: "button", "aria-label": "Octave up", onclick: () => shift(1) }, "+"),
      h("label.check", {}, typed, "Typing plays"),
    ),
  );

  // what the model is told
  const selects = Object.entries(info.labels).map(([name, values]) => {
    const select = h("select", { onchange: () => store.set({ labels: { ...store.state.labels, [name]: select.value || null } }) });
    const words = (value) => (name === info.pitch_label && Number.isInteger(Number(value)) ? `${noteName(Number(value))} (${value})` : value);
    options(select, [["", "any"], ...values.map((value) => [value, words(value)])]);
    return { name, select };
  });
  if (selects.length) box.append(h("div.fields.told", {}, ...selects.map(({ name, select }) => h("label", {}, name, select))));

  store.on((state) => {
    gate.show(state.gate);
    octave.textContent = `${noteName(base())} to ${noteName(base() + ROW.length - 1)}`;
    keys.forEach((key, index) => key.setAttribute("aria-label", pitched ? noteName(base() + index) : "Hold to sound"));
    typed.checked = state.typing;
    for (const { name, select } of selects) select.value = state.labels[name] ?? "";
  }, ["gate", "octave", "typing", "labels"]);
};
