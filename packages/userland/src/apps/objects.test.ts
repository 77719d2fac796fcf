import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fromBase64, OBJECTS } from "./objects.ts";

test.each(OBJECTS.map((o) => [o.path, o] as const))(
  "%s holds the bytes of the committed object",
  (path, { bytes }) => {
    const name = path.split("/").at(-1)!;
    expect(Buffer.from(bytes).equals(readFileSync(new URL(`./bpf/${name}`, import.meta.url)))).toBe(true);
  },
);

test("base64 is decoded as RFC 4648 has it", () => {
  const texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
  for (const text of texts)
    expect(Buffer.from(fromBase64(Buffer.from(text).toString("base64"))).toString()).toBe(text);
});
