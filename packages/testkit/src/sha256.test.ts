import { expect, test } from "vitest";
import { Prng } from "./prng.ts";
import { Sha256 } from "./sha256.ts";

/** FIPS 180-4 examples, and lengths around the padding's limits. */
test.each([
  ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  [
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  ],
  ["a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
])("the digest of %.20s is the standard's", (text, digest) => {
  expect(new Sha256().update(Buffer.from(text)).hex()).toBe(digest);
});

test("parts of any length give the digest of the whole", () => {
  const prng = new Prng(7);
  for (let length = 0; length < 200; length++) {
    const bytes = prng.bytes(length);
    const cut = prng.below(length + 1);
    const parts = new Sha256().update(bytes.subarray(0, cut));
    parts.hex();
    expect(parts.update(bytes.subarray(cut)).hex(), `seed ${prng.seed}, length ${length}`).toBe(
      new Sha256().update(bytes).hex(),
    );
  }
});

test("numbers that differ give digests that differ", () => {
  const digests = [0, 1, -1, 2 ** 40, 2 ** 53 - 1, 0.5].map((value) => new Sha256().numbers(value).hex());
  expect(new Set(digests).size).toBe(digests.length);
});
