/** Types of programs that a loader may load, by its capabilities: what Linux 6.18 answers where everyone may call bpf(2). */
import { describe, expect, test } from "vitest";
import type { Capabilities } from "../privileges.ts";
import { mayLoadType } from "./program-types.ts";

const TYPES = Array.from({ length: 33 }, (_, type) => type);
const list = (text: string): readonly number[] => text.split(" ").map(Number);

const EVERYONE = list("1 8");
const BPF = list("0 20 21 30 31");
const TRACING = list("2 5 7 17 24 26 27 29");
const NETWORK = list("3 4 6 9 10 11 12 13 14 15 16 18 19 22 23 25 32");

const capabilities = (text: string): Capabilities => ({
  hasCapBpf: text.includes("BPF"),
  hasCapPerfmon: text.includes("PERFMON"),
  hasCapNetAdmin: text.includes("NET_ADMIN"),
});

describe("programs of these types load", () => {
  test.each([
    ["without capabilities", "", EVERYONE],
    ["with CAP_PERFMON alone", "PERFMON", EVERYONE],
    ["with CAP_NET_ADMIN alone", "NET_ADMIN", EVERYONE],
    ["with CAP_PERFMON and CAP_NET_ADMIN", "PERFMON NET_ADMIN", EVERYONE],
    ["with CAP_BPF alone", "BPF", [...EVERYONE, ...BPF]],
    ["with CAP_BPF and CAP_PERFMON", "BPF PERFMON", [...EVERYONE, ...BPF, ...TRACING]],
    ["with CAP_BPF and CAP_NET_ADMIN", "BPF NET_ADMIN", [...EVERYONE, ...BPF, ...NETWORK]],
    ["with all three", "BPF PERFMON NET_ADMIN", TYPES],
  ])("%s", (_, names, expected) => {
    const loadable = TYPES.filter((type) => mayLoadType(type, capabilities(names)));
    expect(loadable).toEqual([...expected].toSorted((a, b) => a - b));
  });
});
