// The server's plain requests. Every failure becomes an Error with one line to say.

export const token = new URLSearchParams(location.search).get("token");

const ask = async (path, options = {}) => {
  const headers = { ...options.headers, ...(token ? { "X-Token": token } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || `The server said ${answer.status} ${answer.statusText}`);
};

const post = async (path, body) =>
  (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();

export const instrument = async () => (await ask("api/instrument")).json();
export const dotSound = async (index) => (await ask(`api/dots/${index}/sound.wav`)).arrayBuffer();
export const addSound = async (file) =>
  (await ask(`api/sounds?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file })).json();
export const path = (kind, points, options, speed, map) => post("api/path", { kind, points, options, speed, map });
export const lift = async (map, places) => (await post("api/lift", { map, places })).codes;
/** One answer to a gap: {file, method, draws}. */
export const fill = async (file, asked, signal) => {
  const answer = await ask(`api/fill?${new URLSearchParams(asked)}`, { method: "POST", body: file, signal });
  return { file: await answer.blob(), method: answer.headers.get("X-Method"), draws: answer.headers.get("X-Draws") === "true" };
};
