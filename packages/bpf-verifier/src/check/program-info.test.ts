/** Records of functions and lines; and the statistics of the log. */
import { expect, test } from "vitest";
import { testPairs, verdictOn } from "../../test/judge.ts";

// Three functions: at 0, 4 and 6.
const PROGRAM = {
  section: "socket",
  types: "struct word { u64 data; }; int main(void); int f(void); int g(void);",
  code: "call f\ncall g\nr0 = 0\nexit\nf: r0 = 1\nexit\ng: r0 = 2\nexit",
} as const;

const records = (...list: readonly (readonly [number, string])[]): object => ({ records: list });

testPairs(PROGRAM, [
  {
    rule: "the first function is at the beginning",
    accepted: {},
    rejected: records([1, "main"]),
    errno: "EINVAL",
    message: "nonzero insn_off 1 for the first func info record",
    isUnended: true,
  },
  {
    rule: "functions are in order",
    accepted: {},
    rejected: records([0, "main"], [4, "f"], [4, "g"]),
    errno: "EINVAL",
    message: "same or smaller insn offset (4) than previous func info record (4)",
    isUnended: true,
  },
  {
    rule: "functions are of types of functions",
    accepted: {},
    rejected: records([0, "main"], [4, "word"]),
    errno: "EINVAL",
    message: "invalid type id 1 in func info",
    isUnended: true,
  },
  {
    rule: "every function is told of",
    accepted: {},
    rejected: records([0, "main"], [4, "f"]),
    errno: "EINVAL",
    message: "number of funcs in func_info doesn't match number of subprogs",
  },
  {
    rule: "functions are where they are called",
    accepted: {},
    rejected: records([0, "main"], [3, "f"], [6, "g"]),
    errno: "EINVAL",
    message: "func_info BTF section doesn't match subprog layout in BPF program",
  },
  {
    rule: "lines are in order",
    accepted: { lines: [0, 2, 4, 6] },
    rejected: { lines: [0, 4, 4, 6] },
    errno: "EINVAL",
    message: "Invalid line_info[2].insn_off:4 (prev_offset:4 prog->len:8)",
  },
  {
    rule: "lines are inside the program",
    accepted: { lines: [0, 4, 6, 7] },
    rejected: { lines: [0, 4, 6, 8] },
    errno: "EINVAL",
    message: "Invalid line_info[3].insn_off:8 (prev_offset:6 prog->len:8)",
  },
  {
    rule: "every function begins with a line",
    accepted: { lines: [0, 4, 6] },
    rejected: { lines: [0, 5, 6] },
    errno: "EINVAL",
    message: "missing bpf_line_info for func#1",
  },
  {
    rule: "also the last one",
    accepted: { lines: [0, 4, 6] },
    rejected: { lines: [0, 4] },
    errno: "EINVAL",
    message: "missing bpf_line_info for 1 funcs starting from func#2",
  },
]);

test("level 4 has the stack of each function, and no instructions", () => {
  const { ok, log } = verdictOn({ ...PROGRAM, env: { log: { level: 4 } } });
  expect(ok).toBe(true);
  expect(log).toMatch(/^verification time 0 usec\nstack depth 0\+0\+0\nprocessed .*\n$/);
});
