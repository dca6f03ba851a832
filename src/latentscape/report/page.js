"use strict";
// Without this script the page still reads, and the browser's own controls play its sounds.
(() => {
  const clock = (s) => {
    const tenths = Math.round(10 * s);
    return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
  };
  let sounding = null; // the one audio element that plays
  const start = (audio) => {
    if (sounding && sounding !== audio) sounding.pause();
    sounding = audio;
    return audio.play().catch(() => {});
  };

  for (const player of document.querySelectorAll(".player:not(.missing)")) {
    const audio = player.querySelector("audio");
    const button = player.querySelector(".play");
    const seek = player.querySelector(".seek");
    const head = player.querySelector(".head");
    const time = player.querySelector(".time");
    const length = Number(player.dataset.seconds);
    const total = clock(length);
    audio.controls = false;
    button.hidden = seek.hidden = false;
    player.classList.add("ready");
    const show = () => {
      const now = Math.min(audio.currentTime, length);
      head.style.left = `${(100 * now) / length}%`;
      seek.value = now;
      seek.setAttribute("aria-valuetext", `${clock(now)} of ${total}`);
      time.textContent = `${clock(now)}\u2009/\u2009${total}`;
    };
    const follow = () => {
      show();
      if (!audio.paused) requestAnimationFrame(follow);
    };
    const toggle = () => {
      if (!audio.paused) return audio.pause();
      const group = player.closest(".compare");
      if (group && sounding && sounding !== audio && !sounding.paused && group.contains(sounding))
        audio.currentTime = Math.min(sounding.currentTime, length); // compare: go on from the same place
      start(audio);
    };
    button.addEventListener("click", toggle);
    audio.addEventListener("play", () => {
      player.classList.add("used");
      button.setAttribute("aria-pressed", "true");
      follow();
    });
    audio.addEventListener("pause", () => {
      button.setAttribute("aria-pressed", "false");
      show();
    });
    audio.addEventListener("seeked", show);
    seek.addEventListener("input", () => {
      player.classList.add("used");
      audio.currentTime = Number(seek.value);
    });
    seek.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
      if (event.key === " " || event.key === "Enter") toggle();
      else if (step) audio.currentTime = Math.max(0, Math.min(length, audio.currentTime + (step * length) / 50));
      else return;
      player.classList.add("used");
      event.preventDefault();
    });
  }

  // the selects of a map: colours, the ground behind the dots, places
  const choosable = (map, dots) => {
    const held = map.querySelector("script.views");
    if (!held) return;
    const views = JSON.parse(held.textContent);
    const controls = map.querySelector(".controls");
    const legend = map.querySelector(".legend");
    const ground = document.createElement("ul");
    ground.className = "legend ground";
    legend.after(ground);
    controls.hidden = false;
    const on = (kind, act) => controls.querySelector(`.${kind}`)?.addEventListener("change", (event) => act(Number(event.target.value)));
    on("colour", (place) => {
      const chosen = views.colours[place];
      legend.innerHTML = chosen.legend;
      dots.forEach(({ element }, i) => {
        const [colour, shape, said] = chosen.dots[i];
        element.style.setProperty("--c", colour);
        element.setAttribute("d", views.shapes[shape]);
        element.dataset.words = `${chosen.name} ${said}${element.classList.contains("hollow") ? ", held out" : ""}`;
      });
    });
    let shown = 0;
    let layout = 0;
    const relief = () => {
      const name = layout === 0 && shown > 0 ? views.reliefs[shown - 1].name : null;
      for (const one of map.querySelectorAll(".terrain")) one.toggleAttribute("hidden", one.dataset.name !== name);
      ground.innerHTML = name === null ? "" : views.reliefs[shown - 1].legend;
    };
    on("relief", (place) => { shown = place; relief(); });
    on("layout", (place) => {
      layout = place;
      dots.forEach((dot, i) => {
        [dot.x, dot.y] = views.layouts[place].places[i];
        dot.element.parentNode.setAttribute("transform", `translate(${dot.x} ${dot.y})`);
      });
      const select = controls.querySelector(".relief");
      if (select) select.disabled = place > 0; // the ground is that of the first places
      relief();
    });
    const first = controls.querySelector(".relief");
    if (first) { first.value = "1"; shown = 1; relief(); }
  };

  for (const map of document.querySelectorAll(".map")) {
    const plane = map.querySelector(".plane");
    const said = map.querySelector(".said");
    const sounds = JSON.parse(map.querySelector("script").textContent);
    const audio = new Audio();
    const dots = [...plane.querySelectorAll(".dot")].map((element) => {
      const [x, y] = element.parentNode.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
      if (sounds[element.dataset.i]) element.classList.add("sounding");
      return { element, x, y };
    });
    choosable(map, dots);
    let current = null;
    const mark = (dot, name) => {
      for (const other of plane.querySelectorAll(`.${name}`)) other.classList.remove(name);
      if (dot) dot.element.classList.add(name);
    };
    const tell = (dot) => {
      const silent = sounds[dot.element.dataset.i] ? "" : " (no sound here)";
      said.textContent = `${dot.element.dataset.name}, ${dot.element.dataset.words}${silent}`;
    };
    const nearest = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
      let best = null;
      let least = 26 ** 2;
      for (const dot of dots) {
        const distance = (dot.x - point.x) ** 2 + (dot.y - point.y) ** 2;
        if (distance < least) [best, least] = [dot, distance];
      }
      return best;
    };
    const choose = (dot) => {
      current = dot;
      mark(dot, "near");
      tell(dot);
    };
    const play = (dot) => {
      choose(dot);
      mark(dot, "now");
      const data = sounds[dot.element.dataset.i];
      if (!data) return;
      if (audio.src !== data) audio.src = data;
      audio.currentTime = 0;
      map.dataset.playing = dot.element.dataset.i;
      start(audio);
    };
    audio.addEventListener("ended", () => { delete map.dataset.playing; });
    audio.addEventListener("pause", () => { delete map.dataset.playing; });
    plane.addEventListener("pointermove", (event) => {
      const dot = nearest(event);
      if (dot && dot !== current) choose(dot);
    });
    plane.addEventListener("click", (event) => {
      const dot = nearest(event);
      if (dot) play(dot);
    });
    plane.addEventListener("focus", () => {
      if (!current && dots.length && plane.matches(":focus-visible")) choose(dots[0]);
    });
    plane.addEventListener("keydown", (event) => {
      if ((event.key === "Enter" || event.key === " ") && current) play(current);
      else if (event.key.startsWith("Arrow") && dots.length) {
        const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
        const from = current ?? dots[0];
        let best = null;
        let least = Infinity;
        for (const dot of dots) {
          const along = (dot.x - from.x) * dx + (dot.y - from.y) * dy;
          const aside = Math.abs((dot.x - from.x) * dy) + Math.abs((dot.y - from.y) * dx);
          if (dot !== from && along > aside / 2 && along + 2 * aside < least) [best, least] = [dot, along + 2 * aside];
        }
        if (best) choose(best);
      } else return;
      event.preventDefault();
    });
  }

  if (navigator.clipboard)
    for (const box of document.querySelectorAll(".commands")) {
      const button = box.querySelector(".copy");
      button.hidden = false;
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(box.querySelector("pre").textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(box.querySelector("pre")); // refused: select, so that it can be copied by hand
          button.textContent = "Selected";
        }
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
    }
})();
