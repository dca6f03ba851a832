// The sound: ring buffer -> analyser -> out, and the corpus's own sounds beside it.

const DUCKED = 0.2; // of the instrument, while a dot's own sound is heard
const RAMP = 0.02; // s
const KEPT = 64; // decoded sounds of dots

export class Audio {
  constructor(rate, channels, fetchSound) {
    this.rate = rate;
    this.channels = channels;
    this.fetchSound = fetchSound;
    this.context = new AudioContext({ sampleRate: rate, latencyHint: 0.005 });
    this.analyser = new AnalyserNode(this.context, { fftSize: 2048, smoothingTimeConstant: 0.55 });
    this.own = new GainNode(this.context);
    this.analyser.connect(this.own).connect(this.context.destination);
    this.sounds = new Map(); // dot -> promise of its buffer
    this.preview = null;
    this.wanted = null;
    this.takers = new Set(); // of what is played: tests and the recorder
    this.report = { played: 0, underruns: 0, buffered: 0, peak: 0, time: 0 };
    this.onreport = () => {};
  }

  /** Make the ring buffer; return the port that takes PCM. */
  async build() {
    await this.context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    this.ring = new AudioWorkletNode(this.context, "ring", {
      numberOfInputs: 0,
      outputChannelCount: [this.channels],
      processorOptions: { channels: this.channels },
    });
    this.ring.connect(this.analyser);
    this.ring.port.onmessage = ({ data }) => this.#take(data);
    const { port1, port2 } = new MessageChannel();
    this.ring.port.postMessage({ source: port1 }, [port1]);
    return port2;
  }

  tell(values) {
    this.ring.port.postMessage(values);
  }

  /** The number, since `ready`, of the sample that leaves the speaker now. */
  heard() {
    const { played, time, buffered } = this.report;
    const since = Math.max(0, this.context.currentTime - time);
    return played + Math.min(since * this.rate, buffered) - (this.context.outputLatency || 0) * this.rate;
  }

  #take(data) {
    if ("captured" in data) {
      if (data.captured) for (const taker of this.takers) taker(data.captured);
      return;
    }
    this.report = data;
    this.onreport(data);
  }

  /** Give every block that is played to `taker({wave, blocks})` until the returned function is called. */
  capture(taker) {
    this.takers.add(taker);
    if (this.takers.size === 1) this.tell({ captures: true });
    return async () => {
      if (this.takers.size === 1) {
        this.tell({ captures: false });
        await new Promise((resolve) => setTimeout(resolve, 60)); // the last piece is on its way
      }
      this.takers.delete(taker);
    };
  }

  #duck(down) {
    this.own.gain.setTargetAtTime(down ? DUCKED : 1, this.context.currentTime, RAMP);
  }

  #load(index) {
    let sound = this.sounds.get(index);
    if (!sound) {
      sound = this.fetchSound(index).then((bytes) => this.context.decodeAudioData(bytes));
      sound.catch(() => this.sounds.delete(index));
    }
    this.sounds.delete(index);
    this.sounds.set(index, sound); // the newest is last
    if (this.sounds.size > KEPT) this.sounds.delete(this.sounds.keys().next().value);
    return sound;
  }

  /** Play a dot's own sound; any other stops. */
  async playDot(index) {
    this.hush();
    this.wanted = index;
    const buffer = await this.#load(index);
    if (this.wanted === index) this.#begin(buffer, 0, buffer.duration);
  }

  /** Play a stretch of a sound, in s; any other stops. */
  async play(buffer, from, to) {
    this.hush();
    await this.context.resume();
    this.#begin(buffer, from, to - from);
  }

  #begin(buffer, from, seconds) {
    const gain = new GainNode(this.context, { gain: 0 });
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(gain).connect(this.context.destination);
    gain.gain.setTargetAtTime(1, this.context.currentTime, RAMP / 4);
    source.start(0, from, seconds);
    this.#duck(true);
    this.preview = { source, gain };
    source.onended = () => {
      if (this.preview?.source === source) this.hush();
    };
  }

  hush() {
    this.wanted = null;
    if (!this.preview) return;
    const { source, gain } = this.preview;
    this.preview = null;
    gain.gain.setTargetAtTime(0, this.context.currentTime, RAMP);
    source.stop(this.context.currentTime + 6 * RAMP);
    this.#duck(false);
  }
}
