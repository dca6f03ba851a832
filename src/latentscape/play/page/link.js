// The page's side of the connection: numbered messages out, events in.

const ROOM = 8; // ms between two messages of one kind, which is more than a screen shows
export class Link extends EventTarget {
  constructor(token) {
    super();
    this.seq = 0;
    this.ready = false;
    this.late = new Map(); // kind -> the newest message that waits, so that a fast mouse never fills the wire
    this.sent = new Map(); // kind -> when its last one went
    this.worker = new Worker(new URL("socket.js", import.meta.url));
    this.worker.onmessage = ({ data }) => this.#take(data);
    const address = new URL("../play", import.meta.url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    if (token) address.searchParams.set("token", token);
    this.address = address.href;
  }

  open(block) {
    this.worker.postMessage({ open: { address: this.address, block } });
  }

  /** Give the worker its port to the ring buffer. */
  feed(port) {
    this.worker.postMessage({ ring: port }, [port]);
  }

  drop() {
    this.worker.postMessage({ drop: true });
  }

  /** Send what is not an order to the sound, and so has no number. */
  tell(message) {
    if (this.ready) this.worker.postMessage({ send: message });
  }

  /** Send at once; return the message's number. */
  send(message) {
    if (!this.ready) return 0;
    this.seq += 1;
    this.worker.postMessage({ send: { ...message, seq: this.seq } });
    this.dispatchEvent(new CustomEvent("sent", { detail: { ...message, seq: this.seq } }));
    return this.seq;
  }

  /** Send at once, or as soon as there is room for another of this kind; only the newest counts. */
  stream(kind, message) {
    const wait = (this.sent.get(kind) ?? -Infinity) + ROOM - performance.now();
    if (wait <= 0) {
      this.sent.set(kind, performance.now());
      return this.send(message);
    }
    const waiting = this.late.has(kind);
    this.late.set(kind, message);
    if (!waiting)
      setTimeout(() => {
        const newest = this.late.get(kind);
        this.late.delete(kind);
        this.sent.set(kind, performance.now());
        this.send(newest);
      }, wait);
    return 0;
  }

  #take({ message, closed }) {
    if (closed) {
      this.ready = false;
      this.dispatchEvent(new CustomEvent("closed", { detail: closed }));
      return;
    }
    if (message.type === "ready") this.ready = true;
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }
}
