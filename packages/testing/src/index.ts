/** Boot a kernel inside a Vitest suite. */
export { bootTestKernel, type TestKernelOptions } from "./boot-test-kernel.ts";
export {
  type DisposableWatch,
  type RunOptions,
  type RunResult,
  SpawnedCommand,
  TestKernel,
} from "./test-kernel.ts";
