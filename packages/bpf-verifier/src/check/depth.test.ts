/** Chains of calls: how many frames there are, and how much of the stack they take together. */
import { testPairs } from "../../test/judge.ts";

/** Functions of which each calls the next one, for any caller: nobody walks the chain as a whole. */
function chain(count: number): { readonly code: string; readonly types: string } {
  const names = Array.from({ length: count }, (_, i) => (i === 0 ? "main" : `f${i}`));
  return {
    code: names
      .map((name, i) => `${i === 0 ? "" : `${name}:`} ${i + 1 < count ? `call f${i + 1}\n` : ""}r0 = 0\nexit`)
      .join("\n"),
    types: names.map((name) => `global int ${name}(void);`).join(" "),
  };
}

const TAIL = `
r6 = r1
r7 = 0
…
call next
r0 = 0
exit
next: r2 = map programs
r3 = 0
call bpf_tail_call#12
r0 = 0
exit`;

/** Functions of which each is inside the one before. */
const nested = (depth: number): string => `${"call pc+1\nexit\n".repeat(depth - 1)}r0 = 0\nexit`;

testPairs({ section: "tc" }, [
  {
    rule: "at most 8 functions are in one another",
    accepted: nested(8),
    rejected: nested(9),
    message: "the call stack of 9 frames is too deep",
    errno: "E2BIG",
  },
]);

testPairs({ section: "tc", types: "int main(void *ctx);" }, [
  {
    rule: "at most 8 functions call each other",
    accepted: chain(8),
    rejected: chain(9),
    message: "the call stack of 8 frames is too deep !",
    errno: "E2BIG",
  },
  {
    rule: "functions that may end in another program leave it half of the stack",
    code: TAIL,
    types: "int main(void *ctx); int next(void *ctx);",
    accepted: "*(u64 *)(r10 -240) = r7",
    rejected: "*(u64 *)(r10 -256) = r7",
    message: "tail_calls are not allowed when call stack of previous frames is 256 bytes. Too large",
    errno: "EACCES",
  },
]);
