// WAV files, piece by piece: what has been recorded is kept as blobs, which the browser may put on disk.

const encode = (wave, bits) => {
  const bytes = bits / 8;
  const full = 2 ** (bits - 1) - 1;
  const out = new Uint8Array(wave.length * bytes);
  for (let i = 0; i < wave.length; i++) {
    const noise = bits === 16 ? Math.random() - Math.random() : 0; // triangular dither, one step either way
    const value = Math.max(-full, Math.min(full, Math.round(wave[i] * full + noise)));
    for (let b = 0; b < bytes; b++) out[i * bytes + b] = (value >> (8 * b)) & 255;
  }
  return out;
};

const header = (bytes, rate, channels, bits) => {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, (rate * channels * bits) / 8, true);
  view.setUint16(32, (channels * bits) / 8, true);
  view.setUint16(34, bits, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return view.buffer;
};

export class WavFile {
  constructor(rate, channels, bits) {
    Object.assign(this, { rate, channels, bits, bytes: 0, parts: [] });
  }

  get seconds() {
    return (8 * this.bytes) / (this.rate * this.channels * this.bits);
  }

  add(wave) {
    const data = encode(wave, this.bits);
    this.bytes += data.length;
    this.parts.push(new Blob([data]));
  }

  blob() {
    return new Blob([header(this.bytes, this.rate, this.channels, this.bits), ...this.parts], { type: "audio/wav" });
  }
}
