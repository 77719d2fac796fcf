/** What a helper's prototype asks of the registers. Linux: check_func_arg(), check_reg_type(), check_func_arg_reg_off(). */
import { EACCES, EINVAL } from "@alien-ts/abi";
import { checkStored } from "../access/kptr.ts";
import { checkAlignment } from "../access/memory.ts";
import type { RawMemory } from "../access/stack.ts";
import { structsMatch } from "../access/struct-walk.ts";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import type { HelperPrototype, MapInfo } from "../env.ts";
import { markPrecise, markSlotPrecise } from "../prune/precision.ts";
import { DYNPTR_FLAGS, FLAG, kindName } from "../state/register.ts";
import type { DynptrKind, Register } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { HELPER } from "./callback-kinds.ts";
import { checkDynptrArgument } from "./dynptr.ts";
import type { AcceptedType, ArgumentKind, ArgumentRole } from "./kinds.ts";
import { isInLess } from "./kfunc/facts.ts";
import { checkLock } from "./locks.ts";
import { checkArgumentOffset } from "./offset.ts";
import { accessHelperMemory, checkSize } from "./memory-arguments.ts";
import { checkConstantString, checkKptrArgument, checkMapField } from "./value-fields.ts";

/** What the arguments of one call say together (struct bpf_call_arg_meta). */
export interface CallFacts extends RawMemory {
  readonly id: number;
  readonly prototype: HelperPrototype;
  map: MapInfo | undefined;
  mapUid: number;
  refId: number;
  releases: number;
  memSize: number;
  mostBytes: bigint;
  subprogram: number;
  constantKey: bigint | undefined;
  btfRegister: Register | undefined;
  dynptrId: number;
  dynptr: DynptrKind | undefined;
  field: MapInfo["fields"][number] | undefined;
}

export const newFacts = (id: number, prototype: HelperPrototype): CallFacts => ({
  id,
  prototype,
  map: undefined,
  mapUid: 0,
  raw: undefined,
  refId: 0,
  releases: 0,
  memSize: 0,
  mostBytes: 0n,
  subprogram: -1,
  constantKey: undefined,
  btfRegister: undefined,
  dynptrId: 0,
  dynptr: undefined,
  field: undefined,
});

export function checkArgument(analysis: Analysis, facts: CallFacts, index: number): Check {
  const number = index + 1;
  const argument = facts.prototype.args[index]!;
  const bad = analysis.read(number);
  if (bad !== undefined) return bad;
  const register = analysis.register(number);
  if (argument.role === "any")
    return analysis.isLeak(number) ? reject(EACCES, `R${number} leaks addr into helper function`) : undefined;
  if (register.isPacket && !mayReadPacket(analysis, facts))
    return reject(EACCES, "helper access to the packet is not allowed");
  if (isSocketMap(facts) && argument.role === "value" && (argument.isUninitialised || argument.isNullable))
    return reject(EINVAL, "invalid arg_type for sockmap/sockhash");
  if (!(register.isNull && argument.isNullable)) {
    const wrong =
      checkType(analysis, number, argument, facts) ??
      checkArgumentOffset(register, number, {
        releases: argument.releases,
        isDynptr: argument.role === "dynptr",
      });
    if (wrong !== undefined) return wrong;
  }
  return noteReferences(analysis, facts, number, argument) ?? checkRole(analysis, facts, number, argument);
}

/** Helpers that may be given pointers into packets (`pkt_access`). */
const TAKES_PACKETS = new Set([1, 2, 3, 28, 84, 85, 87, 99, 100, 110, 195, 204, 205, 206, 207]);

/** Linux: may_access_direct_pkt_data() */
const mayReadPacket = (analysis: Analysis, facts: CallFacts): boolean =>
  analysis.env.programType.packet !== "none" && TAKES_PACKETS.has(facts.id);

/** Linux: check_reg_type() */
function checkType(analysis: Analysis, number: number, argument: ArgumentKind, facts: CallFacts): Check {
  const register = analysis.register(number);
  let { flags } = register;
  if (argument.role === "memory" && !argument.isWritten) flags &= ~FLAG.RDONLY;
  if (argument.isNullable) flags &= ~FLAG.MAYBE_NULL;
  if (argument.role === "memory" || argument.role === "fixed memory") flags &= ~DYNPTR_FLAGS;
  if (argument.role === "kptr value" && (flags & FLAG.ALLOC) !== 0) flags &= ~(FLAG.ALLOC | FLAG.PERCPU);
  const accepts = acceptedTypes(argument, facts);
  const isAccepted = accepts.some((type) => type.kind === register.kind && type.flags === flags);
  if (!isAccepted) {
    const expected = accepts.map((type) => kindName(type)).join(", ");
    return reject(EACCES, `R${number} type=${kindName(register)} expected=${expected}`);
  }
  return register.kind === "ptr_" ? checkStructure(analysis, number, argument, facts) : undefined;
}

const MEMORY_ROLES: readonly ArgumentRole[] = ["memory", "fixed memory", "key", "value"];

/** What a BTF pointer must point to. */
function checkStructure(analysis: Analysis, number: number, argument: ArgumentKind, facts: CallFacts): Check {
  const register = analysis.register(number);
  const isSocketValue = acceptedTypes(argument, facts) !== argument.accepts;
  if (MEMORY_ROLES.includes(argument.role) && !isSocketValue) {
    if (argument.role === "memory" && !argument.isWritten) return undefined;
    return reject(
      EACCES,
      `${facts.prototype.name}() may write into memory pointed by R${number} type=${kindName(register)}`,
    );
  }
  if (argument.role === "kptr value") {
    if (register.isMaybeNull && !register.has(FLAG.ALLOC))
      return reject(EACCES, `Possibly NULL pointer passed to helper arg${number}`);
    return checkStored(analysis, facts.field!, number);
  }
  const wanted = isSocketValue ? "sock_common" : argument.type;
  if (wanted === undefined || register.has(FLAG.ALLOC)) return undefined;
  const { kernelBtf } = analysis.env;
  const target = { btf: kernelBtf, id: kernelBtf?.find(wanted, "struct") ?? 0 };
  const isStrict = argument.releases && facts.id !== HELPER.sk_release;
  if (structsMatch({ btf: register.btf, id: register.btfId }, register.off, target, isStrict, analysis.log))
    return undefined;
  const name = register.btf?.type(register.btfId)?.name ?? "";
  return reject(EACCES, `R${number} is of type ${name} but ${wanted} is expected`);
}

const ARRAY = 2;
const PERCPU_ARRAY = 6;
const SOCKMAP = 15;
const SOCKHASH = 18;

const isSocketMap = ({ map }: CallFacts): boolean => map?.type === SOCKMAP || map?.type === SOCKHASH;

/** The value of a map of sockets is a socket. */
function acceptedTypes(argument: ArgumentKind, facts: CallFacts): readonly AcceptedType[] {
  if (argument.role !== "value" || !isSocketMap(facts)) return argument.accepts;
  return [
    { kind: "sock_common", flags: 0 },
    { kind: "sock", flags: 0 },
    { kind: "tcp_sock", flags: 0 },
    { kind: "xdp_sock", flags: 0 },
    { kind: "ptr_", flags: 0 },
    { kind: "ptr_", flags: FLAG.TRUSTED },
  ];
}

function noteReferences(analysis: Analysis, facts: CallFacts, number: number, argument: ArgumentKind): Check {
  const register = analysis.register(number);
  if (argument.releases && argument.role !== "dynptr") {
    if (register.refId === 0 && !register.isNull)
      return reject(EINVAL, `R${number} must be referenced when passed to release function`);
    facts.releases = number;
  } else if (argument.releases) facts.releases = number;
  if (register.refId !== 0 && argument.role !== "kptr") {
    if (facts.refId !== 0)
      return new Reject(
        EACCES,
        `more than one arg with ref_obj_id R${number} ${register.refId} ${facts.refId}`,
        false,
      );
    facts.refId = register.refId;
  }
  return undefined;
}

function checkRole(analysis: Analysis, facts: CallFacts, number: number, argument: ArgumentKind): Check {
  const register = analysis.register(number);
  const kind = argument.isWritten ? "write" : "read";
  switch (argument.role) {
    case "map":
      return noteMap(facts, number, register);
    case "key":
      assert(facts.map !== undefined, "maps stand before their keys");
      return (
        accessHelperMemory(analysis, {
          number,
          size: facts.map.keySize,
          kind: "read",
          isZeroAllowed: false,
          raw: undefined,
        }) ?? noteKey(analysis, facts, number)
      );
    case "value":
      if (argument.isNullable && register.isNull) return undefined;
      assert(facts.map !== undefined, "maps stand before their values");
      if (
        register.kind === "sock" ||
        register.kind === "sock_common" ||
        register.kind === "tcp_sock" ||
        register.kind === "ptr_"
      )
        return undefined;
      return accessHelperMemory(analysis, {
        number,
        size: facts.map.valueSize,
        kind,
        isZeroAllowed: false,
        raw: argument.isUninitialised ? facts : undefined,
      });
    case "fixed memory": {
      const bad = accessHelperMemory(analysis, {
        number,
        size: argument.bytes,
        kind,
        isZeroAllowed: false,
        raw: argument.isUninitialised ? facts : undefined,
      });
      if (bad !== undefined || !argument.mustBeAligned) return bad;
      return checkAlignment(analysis, register, 0, argument.bytes, true);
    }
    case "size": {
      const memory = facts.prototype.args[number - 2]!;
      facts.mostBytes = register.scalar.umax;
      return checkSize(analysis, number, {
        kind: memory.isWritten ? "write" : "read",
        isZeroAllowed: argument.isZeroAllowed,
        raw: memory.isUninitialised ? facts : undefined,
      });
    }
    case "alloc size":
      if (!register.scalar.isConst) return reject(EACCES, `R${number} is not a known constant'`);
      facts.memSize = Number(BigInt.asUintN(32, register.scalar.tnum.value));
      return markPrecise(analysis, number);
    case "function":
      facts.subprogram = register.subprogram;
      return undefined;
    default:
      return checkField(analysis, facts, number, argument);
  }
}

/** Pointers to special fields of values and to objects on the stack. */
function checkField(analysis: Analysis, facts: CallFacts, number: number, argument: ArgumentKind): Check {
  switch (argument.role) {
    case "spin lock":
      if (isInLess(analysis)) return reject(EACCES, "can't spin_{lock,unlock} in rbtree cb");
      return checkLock(analysis, number, "lock", facts.id === HELPER.spin_lock);
    case "percpu":
      facts.btfRegister = analysis.register(number);
      return undefined;
    case "timer":
      return checkMapField(analysis.register(number), number, "timer", facts);
    case "string":
      return checkConstantString(analysis, number);
    case "dynptr":
      return checkDynptrArgument(analysis, number, argument, ({ id, kind, refId }) => {
        facts.dynptrId = id;
        facts.dynptr = kind;
        if (refId !== 0) facts.refId = refId;
      });
    case "kptr":
      return checkKptrArgument(analysis, facts, number);
    default:
      return undefined;
  }
}

function noteMap(facts: CallFacts, number: number, register: Register): Check {
  const { map, mapUid } = facts;
  if (map !== undefined && (map.address !== register.map?.address || mapUid !== register.mapUid)) {
    return reject(
      EINVAL,
      `timer pointer in R1 map_uid=${mapUid} doesn't match map pointer in R${number} map_uid=${register.mapUid}`,
    );
  }
  facts.map = register.map;
  facts.mapUid = register.mapUid;
  return undefined;
}

/** A key that is a constant on the stack; lookups of arrays with one that is in bounds never fail. Linux: get_constant_map_key() */
function noteKey(analysis: Analysis, facts: CallFacts, number: number): Check {
  const register = analysis.register(number);
  const size = facts.map!.keySize;
  if (!analysis.env.privileges.isCapable || register.kind !== "fp" || !register.scalar.isConst)
    return undefined;
  if (facts.map!.type !== ARRAY && facts.map!.type !== PERCPU_ARRAY) return undefined;
  const at = register.off + Number(register.scalar.constant);
  const frame = analysis.state.frames[register.frame]!;
  const slot = frame.stack[(-at - 1) >> 3];
  if (slot === undefined) return undefined;
  const first = (-at - 1) & 7;
  const letters = slot.types.slice(first - size + 1, first + 1);
  if (letters === "0".repeat(size)) facts.constantKey = 0n;
  else if (
    letters === "r".repeat(size) &&
    slot.spilled.isScalar &&
    slot.spilled.scalar.isConst &&
    // The upper half of a number in bounds is 0, which is in bounds too.
    slot.types[first - size] !== "r"
  ) {
    facts.constantKey = slot.spilled.scalar.tnum.value;
    markSlotPrecise(analysis, register.frame, (-at - 1) >> 3);
  }
  return undefined;
}
