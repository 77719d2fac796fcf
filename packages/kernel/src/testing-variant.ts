/**
 * The kernels of the suites in another layout and with another number of CPUs, when the whole run asks for it
 * (scripts/test-variant.setup.ts): what a test states itself wins.
 */
import { Layout } from "@alien-ts/abi";
import type { BootOptions } from "./boot.ts";

interface TestVariant {
  /** 0: natural. */
  readonly layoutSeed: number;
  readonly cpus: number;
}

export function testVariant(): BootOptions {
  const variant = (globalThis as { alienTestVariant?: TestVariant }).alienTestVariant;
  if (variant === undefined) return {};
  const layout = variant.layoutSeed === 0 ? Layout.natural() : Layout.shuffled(variant.layoutSeed);
  return { layout, cpus: variant.cpus };
}
