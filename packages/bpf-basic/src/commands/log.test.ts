/** What Linux 6.18 puts into the buffer for a log, by level and size, and what it answers. */
import { EACCES, EINVAL, ENOSPC, isErr, utf8Decode } from "@alien-ts/abi";
import { AssembleError, assemble } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { TestUser } from "../test-user.ts";

const BRANCHES = [0, 1, 2, 3, 4, 5].map((i) => `if r6 == 0x${i + 3} goto pc+1\nr7 = ${i}`).join("\n");
const PROGRAMS = {
  short: "r0 = 1\nr0 = 0\nexit",
  refused: "r0 = 1\nr0 = r2\nexit",
  branches: `r6 = *(u32 *)(r1 +0)\n${BRANCHES}\nr0 = 0\nexit`,
  "refused branches": `r6 = *(u32 *)(r1 +0)\n${BRANCHES}\nr0 = r9\nexit`,
};

/** Program, level, size of the buffer, whether there is one; result, log_true_size, text. */
const ROWS = [
  ["short", 0, 0, false, 0, 0, ""],
  ["short", 0, 16, true, EINVAL, 0, ""],
  ["short", 1, 0, true, EINVAL, 0, ""],
  ["short", 1, 0, false, 0, 124, ""],
  ["short", 1, 16, false, EINVAL, 0, ""],
  ["short", 1, 1, true, ENOSPC, 124, ""],
  ["short", 1, 16, true, ENOSPC, 124, " 0 mark_read 0\n"],
  [
    "short",
    1,
    122,
    true,
    ENOSPC,
    124,
    "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  [
    "short",
    1,
    124,
    true,
    0,
    124,
    "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  [
    "short",
    1,
    125,
    true,
    0,
    124,
    "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  ["short", 9, 64, true, ENOSPC, 124, "processed 3 insns (limit 1000000) max_states_per_insn 0 total_s"],
  ["short", 2, 0, false, 0, 348, ""],
  [
    "short",
    2,
    127,
    true,
    ENOSPC,
    348,
    "         ; R0=0\n2: (95) exit\nprocessed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  [
    "short",
    8,
    4096,
    true,
    0,
    98,
    "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  ["short", 8, 16, true, ENOSPC, 98, "processed 3 ins"],
  ["short", 8, 0, false, 0, 98, ""],
  [
    "short",
    1,
    1073741823,
    true,
    0,
    124,
    "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  ["short", 1, 1073741824, true, EINVAL, 0, ""],
  ["short", 16, 4096, true, EINVAL, 0, ""],
  ["short", 16, 0, false, EINVAL, 0, ""],
  ["refused", 0, 0, false, EACCES, 0, ""],
  ["refused", 1, 0, false, EACCES, 191, ""],
  ["refused", 1, 64, true, ENOSPC, 191, "max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"],
  ["refused", 9, 64, true, ENOSPC, 191, "0: R1=ctx() R10=fp0\n0: (b7) r0 = 1                        ; R0="],
  [
    "refused",
    1,
    4096,
    true,
    EACCES,
    191,
    "0: R1=ctx() R10=fp0\n0: (b7) r0 = 1                        ; R0=1\n1: (bf) r0 = r2\nR2 !read_ok\nprocessed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
  ],
  ["refused", 8, 2, true, ENOSPC, 110, "R"],
  [
    "branches",
    1,
    300,
    true,
    ENOSPC,
    1094,
    "processed 34 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 0\n",
  ],
  [
    "branches",
    1,
    700,
    true,
    ENOSPC,
    1094,
    "processed 34 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 0\n",
  ],
  [
    "branches",
    9,
    300,
    true,
    ENOSPC,
    1094,
    "processed 34 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 0\n",
  ],
  [
    "branches",
    1,
    4096,
    true,
    0,
    1094,
    "processed 34 insns (limit 1000000) max_states_per_insn 1 total_states 3 peak_states 3 mark_read 0\n",
  ],
  [
    "refused branches",
    1,
    120,
    true,
    ENOSPC,
    1162,
    " r0 = r9\nR9 !read_ok\nprocessed 14 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0\n",
  ],
] as const;

/** `log_true_size` in the attributes. */
const TRUE_SIZE = 140;
const SOCKET_FILTER = 1;
const UNTOUCHED = 0xaa;

test.each(ROWS)(
  "%s, log_level %i, log_size %i, buffer %s",
  (name, log_level, log_size, hasBuffer, result, trueSize, text) => {
    const user = new TestUser();
    const insns = assemble(PROGRAMS[name]);
    if (insns instanceof AssembleError) throw insns;
    const bytes = Math.min(log_size, 4096) + 1;
    const buffer = user.place(new Uint8Array(bytes).fill(UNTOUCHED));
    const log_buf = hasBuffer ? buffer : 0;
    const answer = user.load(insns, { prog_type: SOCKET_FILTER, log_buf, log_size, log_level });
    expect(isErr(answer) ? answer : 0).toBe(result);
    expect(user.u32(user.lastAttr + TRUE_SIZE)).toBe(trueSize);
    const read = Uint8Array.from(user.read(buffer, bytes));
    const end = read.indexOf(0);
    expect(utf8Decode(read.subarray(0, Math.max(end, 0)))).toBe(text);
    expect(read[bytes - 1]).toBe(UNTOUCHED);
    if (end < 0) expect(read.every((byte) => byte === UNTOUCHED)).toBe(true);
  },
);
