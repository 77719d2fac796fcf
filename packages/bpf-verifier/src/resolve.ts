/**
 * Wide loads, and opcodes that do not exist. Linux: resolve_pseudo_ldimm64().
 *
 * A reference to a map or to the kernel's variables becomes the address that the register will hold, a map's with pseudo source
 * 0; addresses of the program's functions stay, the VM resolves them.
 */
import { E2BIG, EINVAL, ERANGE, ENOENT, EPROTO, isErr } from "@alien-ts/abi";
import type { KAddr } from "@alien-ts/abi";
import { CLASS, MODE, PSEUDO, isKnownOpcode } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { WIDE_LOAD } from "./cfg.ts";
import type { MapDescription } from "./env.ts";
import type { Verification } from "./state.ts";
import { Reject, reject } from "./verdict.ts";
import type { Check } from "./verdict.ts";

/** How many addresses 32 bits tell apart. */
const ADDRESSES = 2 ** 32;
/** MAX_USED_MAPS */
const MAX_USED_MAPS = 64;
/** BPF_MAX_VAR_OFF */
const MAX_VALUE_OFFSET = 1 << 29;
/** A call through a register: the instruction set has it, Linux does not. */
const CALLX = 0x8d;

/** Whether the program may use the map behind `fd`, which the instruction at `index` names. */
export type UseMap = (index: number, fd: number) => Check;

export function resolveWideLoads(verification: Verification, useMap: UseMap): Check {
  const { insns } = verification;
  for (let index = 0; index < insns.length; index++) {
    const insn = insns[index]!;
    if (isReservedLoad(insn)) return reject(EINVAL, "BPF_LDX uses reserved fields");
    if (insn.opcode !== WIDE_LOAD) {
      if (isKnownOpcode(insn.opcode) && insn.opcode !== CALLX) continue;
      return reject(EINVAL, `unknown opcode ${insn.opcode.toString(16).padStart(2, "0")}`);
    }
    const second = insns[index + 1];
    if (second === undefined || !isSecondSlot(second)) return reject(EINVAL, "invalid bpf_ld_imm64 insn");
    const refusal = resolveSource({ verification, useMap, index, insn, second });
    if (refusal !== undefined) return refusal;
    index += 1;
  }
  return undefined;
}

function isReservedLoad({ opcode, imm }: Insn): boolean {
  if ((opcode & 7) !== CLASS.LDX) return false;
  const mode = opcode & 0xe0;
  return (mode !== MODE.MEM && mode !== MODE.MEMSX) || imm !== 0;
}

const isSecondSlot = ({ opcode, dst, src, off }: Insn): boolean => (opcode | dst | src | off) === 0;

interface WideLoad {
  readonly verification: Verification;
  readonly useMap: UseMap;
  readonly index: number;
  readonly insn: Insn;
  readonly second: Insn;
}

function resolveSource(load: WideLoad): Check {
  const { insn, second } = load;
  switch (insn.src) {
    case PSEUDO.NONE:
    case PSEUDO.FUNC:
      return undefined;
    case PSEUDO.BTF_ID:
      return resolveVariable(load);
    case PSEUDO.MAP_FD:
    case PSEUDO.MAP_IDX:
      if (second.imm !== 0) return reject(EINVAL, "unrecognized bpf_ld_imm64 insn");
      return resolveMap(load, (map) => map.address);
    case PSEUDO.MAP_VALUE:
    case PSEUDO.MAP_IDX_VALUE:
      return resolveMap(load, (map) => valueAddress(map, second.imm >>> 0));
    default:
      return reject(EINVAL, "unrecognized bpf_ld_imm64 insn");
  }
}

/** A variable or function of the kernel. Linux: check_pseudo_btf_id() */
function resolveVariable({ verification, index, insn, second }: WideLoad): Check {
  const { env, insns } = verification;
  const { imm } = insn;
  const { kernelBtf: btf } = env;
  if (second.imm !== 0) return reject(EINVAL, "invalid module BTF object FD specified.");
  if (btf === undefined) {
    return reject(
      EINVAL,
      "kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.",
    );
  }
  const type = btf.type(imm);
  if (type === undefined) return reject(ENOENT, `ldimm64 insn specifies invalid btf_id ${imm}.`);
  if (type.kind !== "var" && type.kind !== "func")
    return reject(EINVAL, `pseudo btf_id ${imm} in ldimm64 isn't KIND_VAR or KIND_FUNC`);
  const address = env.symbol?.(type.name, type.kind);
  if (address === undefined)
    return reject(ENOENT, `ldimm64 failed to find the address for kernel symbol '${type.name}'.`);
  insns[index] = { ...insns[index]!, imm: address | 0 };
  insns[index + 1] = { ...second, imm: env.addressHigh | 0 };
  return undefined;
}

function resolveMap(load: WideLoad, addressOf: (map: MapDescription) => KAddr | Reject): Check {
  const { verification, useMap, index, insn, second } = load;
  const { env, insns, usedMapFds } = verification;
  const isIndexed = insn.src === PSEUDO.MAP_IDX || insn.src === PSEUDO.MAP_IDX_VALUE;
  if (isIndexed && env.fdArray === undefined) return reject(EPROTO, "fd_idx without fd_array is invalid");
  const fd = isIndexed ? env.fdArray!(insn.imm) : insn.imm;
  if (isErr(fd)) return reject(fd, "");
  const map = env.map(fd);
  if (isErr(map)) return reject(map, `fd ${fd} is not pointing to valid bpf_map`);
  if (!usedMapFds.includes(fd)) usedMapFds.push(fd);
  if (usedMapFds.length > MAX_USED_MAPS) {
    return reject(E2BIG, `The total number of maps per program has reached the limit of ${MAX_USED_MAPS}`);
  }
  const bad = useMap(index, fd);
  if (bad !== undefined) return bad;
  const address = addressOf(map);
  if (address instanceof Reject) return address;
  insns[index] = { ...insn, src: PSEUDO.NONE, imm: address | 0 };
  // An arena lies where its user has it; addresses of the kernel have 32 bits here.
  const high = address < ADDRESSES ? env.addressHigh : Math.floor(address / ADDRESSES);
  insns[index + 1] = { ...second, imm: high | 0 };
  return undefined;
}

function valueAddress(map: MapDescription, offset: number): KAddr | Reject {
  if (offset >= MAX_VALUE_OFFSET) return reject(EINVAL, `direct value offset of ${offset} is not allowed`);
  if (map.valuesAddress === undefined) {
    return reject(EINVAL, "no direct value access support for this map type");
  }
  const { addressableBytes } = map;
  // The end of an arena may be named.
  const end = addressableBytes === undefined ? map.valueSize : addressableBytes + 1;
  if (offset < end) return map.valuesAddress + offset;
  const message = `invalid access to map value pointer, value_size=${map.valueSize} off=${offset}`;
  return reject(addressableBytes === undefined ? EINVAL : ERANGE, message);
}
