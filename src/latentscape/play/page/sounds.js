// Your own sounds: dropped on the map or chosen, placed by the model, to go to, to travel, to morph from.

import * as api from "./api.js";
import { h } from "./elements.js";

export const soundsPanel = (box, field, dropping, { store, info, tools, filling, say, fail, busy }) => {
  const kept = new Map(); // code's text -> file: a session remembers where a sound lies, not the sound
  const add = async (files) => {
    for (const file of files) {
      const limit = info.limits?.upload_bytes ?? Infinity;
      if (file.size > limit) {
        fail(new Error(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MiB; at most ${Math.floor(limit / 2 ** 20)} are taken.`));
        continue;
      }
      await busy(`Listening to ${file.name}`, async () => {
        const { name, seconds, code, path, places } = await api.addSound(file);
        kept.set(String(code), file);
        store.set({ sounds: [...store.state.sounds, { name, seconds, code, path, places }] });
        tools.go({ code, places });
        say(`${name} is on the map, as a star.`);
      });
    }
  };
  const input = h("input", { type: "file", multiple: true, accept: "audio/*,.wav,.flac,.ogg,.mp3,.aif,.aiff", hidden: true, "aria-label": "Sound files" });
  input.addEventListener("change", () => {
    add([...input.files]); // a copy: the list empties with the input
    input.value = "";
  });
  const list = h("ul.sounds");
  box.append(list, h("p.hint", {}, "Drop a file on the map, or ", h("button.link", { type: "button", onclick: () => input.click() }, "choose one"), "."), input);

  let depth = 0;
  const carried = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!carried(event)) return;
    depth += 1;
    dropping.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!carried(event)) return;
    depth -= 1;
    dropping.hidden = depth > 0 ? dropping.hidden : true;
  });
  addEventListener("dragover", (event) => carried(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carried(event)) return;
    event.preventDefault();
    depth = 0;
    dropping.hidden = true;
    add([...event.dataTransfer.files]);
  });

  const from = (sound) => {
    const free = store.state.stored.indexOf(null);
    if (free < 0) return say("All eight points are taken; empty one first.");
    store.set({ stored: store.state.stored.map((point, i) => (i === free ? { code: sound.code, places: sound.places } : point)) });
    say(`${sound.name} is point ${free + 1}: morph from it.`);
  };
  store.on((state) => {
    list.replaceChildren(
      ...state.sounds.map((sound, index) => {
        const act = (words, title, onclick) => h("button.plain.small", { type: "button", "aria-label": title, title, onclick }, words);
        return h("li", {},
          h("span.name", {}, sound.name),
          h("span.row", {},
            act("Go", `Go to ${sound.name}`, () => { tools.go(sound); store.mark(); }),
            sound.path.length > 1 ? act("Travel", `Travel the course of ${sound.name}`, () => tools.travel({ name: sound.name, kind: "polyline", points: sound.path, seconds: sound.seconds })) : null,
            kept.has(String(sound.code)) ? act("Fill", `Fill in a part of ${sound.name}`, () => filling.open(sound.name, kept.get(String(sound.code))).catch(fail)) : null,
            act("Keep", `Store ${sound.name} as a point, to morph from it`, () => from(sound)),
            act("\u2715", `Take ${sound.name} off the map`, () => store.set({ sounds: store.state.sounds.filter((_, i) => i !== index) })),
          ),
        );
      }),
    );
  }, ["sounds"]);
};
