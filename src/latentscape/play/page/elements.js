// Small builders of page elements.

/** h("button.plain", {type: "button", onclick}, "Save", child) */
export const h = (kind, attributes = {}, ...children) => {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
};

export const icon = (...outlines) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const outline of outlines) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", outline);
    svg.append(path);
  }
  return svg;
};

export const signed = (value, digits = 1) => {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? "\u2212" : "+"}${text}`;
};

/**
 * A named slider: {element, show(value)}. `oninput(value)` follows the hand, `onchange(value)` ends the gesture; a double
 * click, or Delete, goes back to `home`.
 */
export const slider = ({ name, low, high, step, home, format, oninput, onchange, note }) => {
  const input = h("input", { type: "range", min: String(low), max: String(high), step: String(step), "aria-label": name });
  const output = h("output");
  const show = (value) => {
    input.value = value;
    const share = (v) => (v - low) / (high - low);
    const [from, to] = [share(home), share(value)].sort((a, b) => a - b);
    const bipolar = home > low && home < high;
    input.style.setProperty("--from", bipolar ? from : 0);
    input.style.setProperty("--to", bipolar ? to : share(value));
    output.textContent = format(value);
    input.setAttribute("aria-valuetext", format(value));
  };
  const zero = () => {
    show(home);
    oninput(home);
    onchange(home);
  };
  input.addEventListener("input", () => {
    show(Number(input.value));
    oninput(Number(input.value));
  });
  input.addEventListener("change", () => onchange(Number(input.value)));
  input.addEventListener("dblclick", zero);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") zero();
  });
  const element = h("div.slider", {}, h("div.names", {}, h("span.name", { "aria-hidden": "true" }, name), note ?? null, output), input);
  show(home);
  return { element, input, show };
};

/** Buttons of which one is pressed: {element, show(value)}. */
export const choice = (name, options, pick) => {
  const buttons = Object.entries(options).map(([value, words]) => h("button", { type: "button", onclick: () => pick(value), "aria-pressed": "false" }, words));
  const show = (value) => Object.keys(options).forEach((key, index) => buttons[index].setAttribute("aria-pressed", String(key === value)));
  return { element: h("div.segmented", { role: "group", "aria-label": name }, ...buttons), show };
};

export const options = (select, entries) => {
  select.replaceChildren(...entries.map(([value, words]) => h("option", { value }, words)));
};

/** Give a file to the player. */
export const download = (blob, name) => {
  const address = URL.createObjectURL(blob);
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
};

/** A file name's worth of now. */
export const dated = () => {
  const now = new Date();
  const two = (value) => String(value).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
};
