import { expect, test } from "vitest";
import { interpreterEngine, jitEngine, steppedEngine } from "./case-engine.ts";
import { engineSuite } from "./engine-suite.ts";
import { testHost } from "./test-host.ts";

test.each(engineSuite(interpreterEngine()))(
  "the interpreter agrees with the reference: $name",
  ({ check }) => {
    expect(check()).toEqual([]);
  },
);

test.each(engineSuite(jitEngine(testHost())))("the JIT agrees with the reference: $name", ({ check }) => {
  expect(check()).toEqual([]);
});

test.each(engineSuite(jitEngine(testHost(), { isTrusting: true }), 10))(
  "the JIT of verified programs agrees with the reference: $name",
  ({ check }) => {
    expect(check()).toEqual([]);
  },
);

test.each(engineSuite(steppedEngine(), 20))("stepping changes nothing: $name", ({ check }) => {
  expect(check()).toEqual([]);
});
