/** BPF_PROG_LOAD and BPF_BTF_LOAD with attributes, programs and types that were damaged: an errno or an fd, never a throw or a leak. */
import { BPF_ATTR_SIZE, BPF_CMD, isErr, type Result } from "@alien-ts/abi";
import { asm, encode, program } from "@alien-ts/bpf-isa";
import { writeBtf } from "@alien-ts/btf";
import { Prng } from "@alien-ts/testkit";
import { expect, test } from "vitest";
import { bpf } from "./commands/bpf.ts";
import type { CommandName } from "./commands/table.ts";
import { FakeKernel, USER_BASE } from "./fake-kernel.ts";
import { ENGINES, le, ok, TestUser } from "./test-user.ts";

const ODD = [0, 1, 2, 7, 8, 255, 4096, 0x7fff_ffff, 0xffff_ffff];

const TYPES = writeBtf([
  { kind: "int", name: "int", size: 4, bits: 32, offset: 0, isSigned: true, isChar: false, isBool: false },
  {
    kind: "struct",
    name: "pair",
    size: 8,
    members: [0, 32].map((bitOffset) => ({ name: "m", type: 1, bitOffset, bitSize: 0 })),
  },
  { kind: "ptr", name: "", type: 2 },
  { kind: "func_proto", name: "", type: 1, params: [{ name: "p", type: 3 }] },
  { kind: "func", name: "f", type: 4, linkage: "static" },
]);

const CODE = encode(
  program(
    asm.movReg(6, 1),
    asm.storeImm(8, 10, -8, 0),
    asm.call(14),
    asm.jumpImm("jgt", 0, 7, 3),
    asm.movReg(1, 10),
    asm.aluReg("add", 1, 0),
    asm.storeReg(1, 1, -8, 0),
    asm.callLocal(2),
    asm.movImm(0, 0),
    asm.exit(),
    asm.wide(0, 5),
    asm.exit(),
  ),
);

/** Some bytes are others; now and then the end is missing. */
function damaged(random: Prng, bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (random.oneIn(2)) return copy;
  for (let times = random.below(5); times > 0; times--) copy[random.below(copy.length)] = random.below(256);
  return random.oneIn(6) ? copy.subarray(0, random.below(copy.length)) : copy;
}

function attempt(user: TestUser, random: Prng): Result<number> {
  const types = damaged(random, TYPES);
  const code = damaged(random, CODE);
  const prog_btf_fd = ok(user.bpf("BTF_LOAD", { btf: user.place(TYPES), btf_size: TYPES.length }));
  const command: CommandName = random.oneIn(2) ? "PROG_LOAD" : "BTF_LOAD";
  const hasLog = random.oneIn(3);
  const log = hasLog
    ? {
        log_level: random.below(4),
        log_size: random.pick([16, 4096]),
        log_buf: user.place(new Uint8Array(4096)),
      }
    : { log_level: 0, log_size: 0, log_buf: 0 };
  const records = [...le(0), ...le(5), ...le(10), ...le(5)];
  const attr =
    command === "BTF_LOAD"
      ? user.attr(command, {
          btf: user.place(types),
          btf_size: types.length,
          btf_log_level: log.log_level,
          btf_log_size: log.log_size,
          btf_log_buf: log.log_buf,
        })
      : user.attr(command, {
          prog_type: random.oneIn(3) ? random.below(40) : 2,
          insn_cnt: Math.floor(code.length / 8),
          insns: user.place(code),
          license: user.text("GPL"),
          prog_btf_fd,
          func_info: user.place(damaged(random, Uint8Array.from(records))),
          func_info_cnt: 2,
          func_info_rec_size: 8,
          ...log,
        });
  const view = new DataView(attr.buffer);
  for (let times = random.oneIn(2) ? 0 : random.below(4); times > 0; times--) {
    const value = random.oneIn(3) ? USER_BASE + random.below(0x10_0000) : random.pick(ODD);
    view.setUint32(4 * random.below(BPF_ATTR_SIZE / 4), value, true);
  }
  const result = bpf(
    user.engine,
    BPF_CMD[command],
    user.place(attr),
    random.oneIn(4) ? random.below(200) : BPF_ATTR_SIZE,
  );
  if (!isErr(result)) user.kernel.close(result);
  user.kernel.close(prog_btf_fd);
  return result;
}

test.each(ENGINES)("damaged loads are answered, on %s", (engine) => {
  const seed = 5150;
  const found = new Map<string, number>();
  let user = new TestUser(new FakeKernel(), engine);
  for (let round = 0; round < 600; round++) {
    // User memory is not given back.
    if (round % 100 === 0) user = new TestUser(new FakeKernel(), engine);
    const result = attempt(user, new Prng(seed + round));
    const name = isErr(result) ? result.name : "accepted";
    found.set(name, (found.get(name) ?? 0) + 1);
    if (user.allocations !== user.baseline) throw new Error(`seed ${seed + round}: a leak`);
  }
  expect(found.get("accepted")).toBeGreaterThan(60);
  expect(found.get("EINVAL")).toBeGreaterThan(60);
});
