/** How much a program may have, and how long it may be looked at. */
import { testPairs } from "../test/judge.ts";
import type { MapShape } from "../test/program-text.ts";

const names = Array.from({ length: 65 }, (_, i) => `m${i}`);
const MAPS = Object.fromEntries(names.map((name): [string, MapShape] => [name, { type: 2 }]));
const uses = (count: number): string =>
  names
    .slice(0, count)
    .map((name) => `r1 = map ${name}`)
    .join("\n");
/** Two instructions each turn. */
const turns = (count: number): string => `r1 = 0\nagain: r1 += 1\nif r1 != ${count} goto again`;

testPairs({ section: "socket" }, [
  {
    rule: "a program has 64 maps",
    maps: MAPS,
    accepted: uses(64),
    rejected: uses(65),
    errno: "E2BIG",
    message: "The total number of maps per program has reached the limit of 64",
  },
  {
    rule: "a million instructions are looked at",
    accepted: turns(499_990),
    rejected: turns(500_000),
    errno: "E2BIG",
    message: "BPF program is too large. Processed 1000001 insn",
  },
  {
    rule: "lines begin with instructions, not with their second halves",
    types: "struct word { u64 data; };",
    code: "r1 = map array\nr2 = 1",
    accepted: { lines: [0, 2] },
    rejected: { lines: [0, 1] },
    errno: "EINVAL",
    message: "Invalid insn code at line_info[1].insn_off",
  },
]);
