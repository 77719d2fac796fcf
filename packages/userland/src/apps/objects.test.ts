import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OBJECTS } from "./objects.ts";

test.each(OBJECTS.map((o) => [o.path, o] as const))(
  "%s holds the bytes of the committed object",
  (path, { bytes }) => {
    const name = path.split("/").at(-1)!;
    expect(Buffer.from(bytes).equals(readFileSync(new URL(`./bpf/${name}`, import.meta.url)))).toBe(true);
  },
);
