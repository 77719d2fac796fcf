/**
 * What other checks, tables and the kernel's own types make sure of. Where it does not hold, the verifier has a mistake: the program
 * is refused with EFAULT and "verifier bug", as Linux's verifier_bug() does, and the host goes on.
 */
export class VerifierBug extends Error {
  constructor(message: string) {
    super(message);
    this.name = "VerifierBug";
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new VerifierBug(message);
}
