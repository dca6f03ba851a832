// The worker that holds the WebSocket: sound goes from here straight to the audio thread, words to the page.

const WAITS = [0.25, 0.5, 1, 2, 4]; // s before each further try to connect
let address = "";
let block = 256;
let ring = null; // port of the ring buffer
let socket = null;
let tries = 0;

const open = () => {
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify({ type: "hello", block }));
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) return ring?.postMessage(data, [data]);
    const message = JSON.parse(data);
    if (message.type === "ready") {
      tries = 0;
      ring?.postMessage("reset"); // indices begin again
    }
    postMessage({ message });
  };
  socket.onclose = ({ code, reason }) => {
    const wait = WAITS[Math.min(tries, WAITS.length - 1)];
    tries += 1;
    postMessage({ closed: { code, reason, wait, tries } });
    setTimeout(open, 1000 * wait);
  };
};

onmessage = ({ data }) => {
  if (data.open) {
    ({ address, block } = data.open);
    open();
  } else if (data.ring) {
    ring = data.ring;
    ring.onmessage = ({ data: played }) => send({ type: "played", ...played });
  } else if (data.send) send(data.send);
  else if (data.drop) socket?.close(); // for tests: a lost connection
};

const send = (message) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
};
