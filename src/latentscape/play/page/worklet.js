// The ring buffer between the network and the sound card. It lives in the audio thread.
//
// Frames of PCM come over a port straight from the socket's worker (never through the page's own thread, so that
// drawing can't make the sound stutter). What is taken is told back as credit every 20 ms. Where the ring runs empty,
// the last sample dies away instead of clicking, one underrun is counted, and sound goes on once enough is there again.
//
// The server may take back what was not heard yet: a frame that begins before the last one's end replaces what is here,
// and those after it follow. Until they have come, what they will replace is still there to be played. One that comes
// too late is joined by a short fade, and counted.

const MAGIC = 0x4c53434e;
const HEADER = 16; // bytes: magic, samples, index of the first sample
const SECONDS = 2;
const CREDIT = 0.02; // s between two reports
const DECAY = 0.99; // of the last sample, each sample, where the ring is empty
const FADE = 64; // samples of fade-in after that
const CHUNK = 32; // blocks of 128 in a piece of a capture

class Ring extends AudioWorkletProcessor {
  constructor({ processorOptions: { channels } }) {
    super();
    this.channels = channels;
    this.capacity = 2 ** Math.ceil(Math.log2(SECONDS * sampleRate));
    this.ring = Array.from({ length: channels }, () => new Float32Array(this.capacity));
    this.last = new Float32Array(channels);
    this.every = Math.max(1, Math.ceil((CREDIT * sampleRate) / 128));
    this.running = false;
    this.ahead = 0.15;
    this.underruns = 0;
    this.late = 0;
    this.blocks = 0;
    this.peak = 0;
    this.low = Infinity; // fewest samples that lay ready since the last report
    this.captures = false;
    this.chunk = null;
    this.skipped = []; // [first sample of a frame that came too late, first that could be replaced], while captured
    this.reset();
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  reset() {
    this.read = 0; // index of the next sample to play, counted since the server's `ready`
    this.write = 0; // end of what lies here
    this.next = 0; // end of what is not to be replaced
    this.torn = false; // what was played last is not what the next frame goes on from
    this.blend = FADE; // samples since it was joined
    this.primed = false;
    this.fade = FADE;
  }

  obey(data) {
    if (data.source) {
      this.source = data.source;
      this.source.onmessage = ({ data: given }) => (given instanceof ArrayBuffer ? this.take(given) : this.reset());
    }
    if ("running" in data) this.running = data.running;
    if ("ahead" in data) this.ahead = data.ahead;
    if ("captures" in data) {
      this.flush();
      this.captures = data.captures;
      if (!data.captures) this.port.postMessage({ captured: null });
    }
  }

  take(buffer) {
    const view = new DataView(buffer);
    if (buffer.byteLength < HEADER || view.getUint32(0, true) !== MAGIC) return;
    const samples = view.getUint32(4, true);
    const first = view.getFloat64(8, true);
    if (buffer.byteLength !== HEADER + 4 * samples * this.channels) return;
    if (first > this.write || first < this.read - this.capacity) {
      // a gap: what is missing can't be played any more
      this.read = this.write = first;
      this.primed = false;
    }
    const end = Math.min(first + samples, this.read + this.capacity);
    this.next = Math.max(end, this.read);
    const from = Math.max(first, this.read);
    if (from > first && !this.torn) {
      this.torn = true;
      this.late += 1;
      if (this.captures) this.skipped.push([first, from]);
    }
    if (from >= end) return;
    if (this.torn) this.blend = 0;
    this.torn = false;
    const pcm = new Float32Array(buffer, HEADER);
    const mixed = Math.max(0, Math.min(FADE - this.blend, this.write - from, end - from)); // with what it replaces
    for (let c = 0; c < this.channels; c++) {
      const ring = this.ring[c];
      for (let i = 0; i < end - from; i++) {
        const place = (from + i) % this.capacity;
        const value = pcm[(from - first + i) * this.channels + c];
        ring[place] = i < mixed ? ring[place] + ((value - ring[place]) * (this.blend + i)) / FADE : value;
      }
    }
    this.blend = mixed ? this.blend + mixed : FADE;
    this.write = Math.max(this.write, end);
  }

  process(_inputs, [output]) {
    const size = output[0].length;
    // a stopped stream ends where it was told last: what lies beyond was taken back
    let ready = (this.running ? this.write : Math.max(this.next, this.read)) - this.read;
    if (!this.primed && ready >= Math.max(size, this.ahead * sampleRate)) this.primed = true;
    // a stopped stream plays what is left of it, however little
    if (!this.running && ready > 0) this.primed = true;
    if (!this.primed) ready = 0;
    const count = Math.min(size, ready);
    const first = this.read;
    for (let c = 0; c < output.length; c++) {
      const ring = this.ring[Math.min(c, this.channels - 1)];
      const out = output[c];
      let last = this.last[c] ?? 0;
      for (let i = 0; i < count; i++) {
        const value = ring[(this.read + i) % this.capacity];
        const fade = this.fade + i;
        last = out[i] = fade < FADE ? (value * fade) / FADE : value;
      }
      for (let i = count; i < size; i++) {
        last = Math.abs(last) < 1e-6 ? 0 : last * DECAY;
        out[i] = last;
      }
      this.last[c] = last;
    }
    this.read += count;
    if (this.running && this.primed) this.low = Math.min(this.low, ready - count);
    this.fade = Math.min(FADE, this.fade + count);
    if (this.primed && count < size) {
      if (this.running) this.underruns += 1;
      this.primed = false;
      this.fade = 0;
    }
    this.report(output, first, count);
    return true;
  }

  report(output, first, count) {
    for (const out of output) for (let i = 0; i < out.length; i++) this.peak = Math.max(this.peak, Math.abs(out[i]));
    if (this.captures) this.capture(output, first, count);
    this.blocks += 1;
    if (this.blocks % this.every) return;
    this.source?.postMessage({ samples: this.read, underruns: this.underruns, late: this.late });
    const buffered = this.write - this.read;
    const { read: played, underruns, low, peak } = this;
    this.port.postMessage({ played, underruns, buffered, low, peak, time: currentTime });
    this.peak = 0;
    this.low = Infinity;
  }

  // every block as it went to the sound card, the index of its first sample, how many came from the ring, and when
  capture(output, first, count) {
    const size = output[0].length;
    this.chunk ??= { wave: new Float32Array(CHUNK * size * this.channels), blocks: [], size };
    const { wave, blocks } = this.chunk;
    const from = blocks.length * size * this.channels;
    for (let c = 0; c < this.channels; c++)
      for (let i = 0; i < size; i++) wave[from + i * this.channels + c] = output[Math.min(c, output.length - 1)][i];
    blocks.push([first, count, Date.now()]);
    if (blocks.length === CHUNK) this.flush();
  }

  flush() {
    if (!this.chunk) return;
    const { wave, blocks, size } = this.chunk;
    this.chunk = null;
    const used = wave.slice(0, blocks.length * size * this.channels);
    this.port.postMessage({ captured: { wave: used, blocks, skipped: this.skipped } }, [used.buffer]);
    this.skipped = [];
  }
}

registerProcessor("ring", Ring);
