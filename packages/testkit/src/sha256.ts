/**
 * SHA-256 (FIPS 180-4), in parts: what tests compare long runs by. Not for secrets: it takes its time from the data.
 *
 *     new Sha256().update(bytes).numbers(42).hex();
 */

const FRACTION_BITS = 2 ** 32;
const BLOCK_BYTES = 64;
const LENGTH_BYTES = 8;

/** The first 32 bits of the fractional parts of `root` of the first `count` primes. */
function fractions(count: number, root: (prime: number) => number): Uint32Array {
  const words = new Uint32Array(count);
  let found = 0;
  for (let n = 2; found < count; n++) {
    let isPrime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) isPrime = false;
    if (!isPrime) continue;
    const value = root(n);
    words[found++] = Math.floor((value - Math.floor(value)) * FRACTION_BITS);
  }
  return words;
}

const ROUND = fractions(64, Math.cbrt);
const START = fractions(8, Math.sqrt);

const rotate = (x: number, n: number): number => (x >>> n) | (x << (32 - n));

export class Sha256 {
  readonly #state: Uint32Array = START.slice();
  readonly #block = new Uint8Array(BLOCK_BYTES);
  readonly #view = new DataView(this.#block.buffer);
  readonly #schedule = new Uint32Array(64);
  #fill = 0;
  #length = 0;

  update(bytes: Uint8Array): this {
    this.#length += bytes.length;
    for (const byte of bytes) this.#push(byte);
    return this;
  }

  /** Numbers, each as the eight bytes of a big-endian double: every number has its own. */
  numbers(...values: readonly number[]): this {
    const bytes = new DataView(new ArrayBuffer(8 * values.length));
    values.forEach((value, i) => bytes.setFloat64(8 * i, value));
    return this.update(new Uint8Array(bytes.buffer));
  }

  /** The digest of all that was put in; it can go on afterwards. */
  hex(): string {
    const copy = new Sha256();
    copy.#state.set(this.#state);
    copy.#block.set(this.#block);
    copy.#fill = this.#fill;
    copy.#push(0x80);
    while (copy.#fill !== BLOCK_BYTES - LENGTH_BYTES) copy.#push(0);
    const bits = this.#length * 8;
    copy.#view.setUint32(BLOCK_BYTES - 8, Math.floor(bits / FRACTION_BITS));
    copy.#view.setUint32(BLOCK_BYTES - 4, bits >>> 0);
    copy.#compress();
    return [...copy.#state].map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  #push(byte: number): void {
    this.#block[this.#fill++] = byte;
    if (this.#fill < BLOCK_BYTES) return;
    this.#compress();
    this.#fill = 0;
  }

  /** FIPS 180-4 §6.2.2. */
  #compress(): void {
    const w = this.#schedule;
    for (let t = 0; t < 16; t++) w[t] = this.#view.getUint32(4 * t);
    for (let t = 16; t < 64; t++) {
      const x = w[t - 15]!;
      const y = w[t - 2]!;
      const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
      const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
      w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0;
    }
    const state = this.#state;
    let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
    for (let t = 0; t < 64; t++) {
      const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + sum1 + ((e & f) ^ (~e & g)) + ROUND[t]! + w[t]!) | 0;
      const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = (state[i]! + word) | 0));
  }
}
