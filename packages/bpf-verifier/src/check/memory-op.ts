/** Loads, stores and atomics. Linux: check_load_mem(), check_store_reg(), check_atomic(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { ATOMIC, CLASS, LOAD_ACQUIRE, MODE, REG, STORE_RELEASE } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { checkMemory } from "../access/memory.ts";
import type { Analysis } from "../analysis.ts";
import { kindName } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

const BYTES = [4, 2, 1, 8] as const;
const bytesOf = (opcode: number): number => BYTES[(opcode >> 3) & 3]!;

export function checkMemoryInsn(analysis: Analysis, insn: Insn): Check {
  const mode = insn.opcode & 0xe0;
  switch (insn.opcode & 7) {
    case CLASS.LDX:
      return load(analysis, insn, { isSigned: mode === MODE.MEMSX });
    case CLASS.STX:
      if (mode === MODE.ATOMIC) return checkAtomic(analysis, insn);
      if (mode !== MODE.MEM || insn.imm !== 0) return reject(EINVAL, "BPF_STX uses reserved fields");
      return store(analysis, insn);
    default:
      if (mode !== MODE.MEM || insn.src !== 0) return reject(EINVAL, "BPF_ST uses reserved fields");
      return storeConstant(analysis, insn);
  }
}

function load(
  analysis: Analysis,
  { opcode, dst, src, off }: Insn,
  { isSigned = false, isStrict = false },
): Check {
  const bad = analysis.read(src) ?? analysis.writable(dst);
  if (bad !== undefined) return bad;
  const base = analysis.register(src);
  return (
    checkMemory(analysis, {
      number: src,
      off,
      size: bytesOf(opcode),
      kind: "read",
      into: dst,
      stored: undefined,
      isStrict,
      isSigned,
    }) ?? analysis.noteKind(base)
  );
}

function store(analysis: Analysis, { opcode, dst, src, off }: Insn, isStrict = false): Check {
  const bad = analysis.read(src) ?? analysis.read(dst);
  if (bad !== undefined) return bad;
  const base = analysis.register(dst);
  return (
    checkMemory(analysis, {
      number: dst,
      off,
      size: bytesOf(opcode),
      kind: "write",
      into: -1,
      stored: { number: src },
      isStrict,
      isSigned: false,
    }) ?? analysis.noteKind(base)
  );
}

function storeConstant(analysis: Analysis, { opcode, dst, off, imm }: Insn): Check {
  const bad = analysis.read(dst);
  if (bad !== undefined) return bad;
  const base = analysis.register(dst);
  return (
    checkMemory(analysis, {
      number: dst,
      off,
      size: bytesOf(opcode),
      kind: "write",
      into: -1,
      stored: { constant: imm },
      isStrict: false,
      isSigned: false,
    }) ?? analysis.noteKind(base)
  );
}

const RMW: readonly number[] = Object.values(ATOMIC).map(({ imm }) => imm);

function checkAtomic(analysis: Analysis, insn: Insn): Check {
  const { opcode, imm } = insn;
  const size = bytesOf(opcode);
  if (imm === LOAD_ACQUIRE) {
    const base = analysis.register(insn.src);
    return load(analysis, insn, { isStrict: true }) ?? checkAtomicTarget(base, "loads from", insn.src);
  }
  if (imm === STORE_RELEASE) {
    const base = analysis.register(insn.dst);
    return store(analysis, insn, true) ?? checkAtomicTarget(base, "stores into", insn.dst);
  }
  if (!RMW.includes(imm))
    return reject(
      EINVAL,
      `BPF_ATOMIC uses invalid atomic opcode ${(imm >>> 0).toString(16).padStart(2, "0")}`,
    );
  if (size !== 4 && size !== 8) return reject(EINVAL, "invalid atomic operand size");
  return checkExchange(analysis, insn, size);
}

/** Differs from Linux: a load into the register of the address itself is refused too, where 6.18 looks at what was loaded. */
function checkAtomicTarget(register: Register, access: string, number: number): Check {
  if (register.isMaybeNull) return undefined;
  switch (register.kind) {
    case "ctx":
    case "pkt":
    case "pkt_meta":
    case "flow_keys":
    case "sock":
    case "sock_common":
    case "tcp_sock":
    case "xdp_sock":
      return reject(EACCES, `BPF_ATOMIC ${access} R${number} ${kindName(register)} is not allowed`);
    default:
      return undefined;
  }
}

/** Read-modify-write: the memory is read, then written with a number that nobody knows. */
function checkExchange(analysis: Analysis, { dst, src, off, imm }: Insn, size: number): Check {
  const isCompare = imm === ATOMIC.cmpxchg.imm;
  const bad = analysis.read(src) ?? analysis.read(dst) ?? (isCompare ? analysis.read(REG.R0) : undefined);
  if (bad !== undefined) return bad;
  if (isCompare && analysis.isLeak(REG.R0)) return reject(EACCES, "R0 leaks addr into mem");
  if (analysis.isLeak(src)) return reject(EACCES, `R${src} leaks addr into mem`);
  const refused = checkAtomicTarget(analysis.register(dst), "stores into", dst);
  if (refused !== undefined) return refused;
  const into = (imm & 1) === 0 ? -1 : isCompare ? REG.R0 : src;
  if (into >= 0) {
    const unwritable = analysis.writable(into);
    if (unwritable !== undefined) return unwritable;
  }
  const base = analysis.register(dst);
  // What is loaded into is unknown before the access; a base that is loaded into points nowhere.
  if (into >= 0) analysis.setUnknown(into);
  const access = { number: dst, off, size, isStrict: true, isSigned: false, stored: undefined } as const;
  // Whether the memory may be read at all comes before what it gives; it matters to those only who may not read addresses.
  const isSecret = into >= 0 && !analysis.env.privileges.mayLeakPointers;
  const leaked = isSecret ? checkMemory(analysis, { ...access, kind: "read", into: -1 }) : undefined;
  if (leaked !== undefined) return leaked;
  const unreadable = checkMemory(analysis, { ...access, kind: "read", into });
  if (unreadable !== undefined) return unreadable;
  const unwritten = checkMemory(analysis, { ...access, kind: "write", into: -1 });
  return unwritten ?? analysis.noteKind(base);
}
