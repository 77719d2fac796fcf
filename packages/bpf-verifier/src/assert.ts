/** What other checks, tables and the kernel's own types make sure of: where it does not hold, the verifier has a mistake. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`verifier: ${message}`);
}
