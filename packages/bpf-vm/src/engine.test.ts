import { expect, test } from "vitest";
import { interpreterEngine } from "./case-engine.ts";
import { engineSuite } from "./engine-suite.ts";

test.each(engineSuite(interpreterEngine()))(
  "the interpreter agrees with the reference: $name",
  ({ check }) => {
    expect(check()).toEqual([]);
  },
);
