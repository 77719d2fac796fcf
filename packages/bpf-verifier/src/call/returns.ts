/** What r0 holds after a helper. Linux: the second half of check_helper_call(), do_refine_retval_range(). */
import { EINVAL } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import { kptrTarget } from "../access/kptr.ts";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import { SCALAR_UNKNOWN, ScalarDraft } from "../scalar/scalar.ts";
import { hasLock } from "../state/fields.ts";
import { FLAG, NOT_INIT, UNKNOWN, pointer, scalarRegister } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import type { CallFacts } from "./arguments.ts";
import { HELPER } from "./callback-kinds.ts";

const MAX_ERRNO = 4095n;
/** sk_lookup_tcp, sk_lookup_udp, skc_lookup_tcp, ringbuf_reserve, kptr_xchg */
const ACQUIRES: readonly number[] = [84, 85, 99, 131, 194];
/** Casts keep the reference: sk_fullsock, tcp_sock, get_listener_sock does not, skc_to_*. */
const CASTS: readonly number[] = [95, 96, 136, 137, 138, 139, 140, 196];
const SOCKMAP = 15;
const SOCKHASH = 18;
const ARRAYS: readonly number[] = [2, 6];

export function giveResult(analysis: Analysis, facts: CallFacts): Check {
  const made = resultOf(analysis, facts);
  if (!("kind" in made)) return made;
  let result = made;
  const acquires =
    ACQUIRES.includes(facts.id) ||
    (facts.id === HELPER.map_lookup_elem && (facts.map?.type === SOCKMAP || facts.map?.type === SOCKHASH));
  if (result.isMaybeNull) result = result.with({ id: analysis.newId() });
  if (CASTS.includes(facts.id)) result = result.with({ refId: facts.refId });
  else if (acquires) {
    const id = analysis.newId();
    analysis.state.hold({ kind: "object", id, insn: analysis.index, object: undefined });
    result = result.with({ id, refId: id });
  }
  analysis.set(REG.R0, refineResult(analysis, facts, result));
  return undefined;
}

function resultOf(analysis: Analysis, facts: CallFacts): Register | NonNullable<Check> {
  const { ret, name } = facts.prototype;
  const flags = ret.isNullable ? FLAG.MAYBE_NULL : 0;
  switch (ret.role) {
    case "integer":
      return UNKNOWN;
    case "void":
      return NOT_INIT;
    case "map value":
      return mapValue(analysis, facts, flags);
    case "sock":
      return pointer("sock", { flags });
    case "sock common":
      return pointer("sock_common", { flags });
    case "tcp sock":
      return pointer("tcp_sock", { flags });
    case "ringbuf memory":
      return pointer("mem", { flags: flags | FLAG.RINGBUF, memSize: facts.memSize });
    case "dynptr memory":
      return pointer("mem", { flags, memSize: facts.memSize, dynptrId: facts.dynptrId, refId: facts.refId });
    case "btf":
    case "kptr": {
      const isKptr = ret.role === "kptr";
      const { kernelBtf } = analysis.env;
      const found = isKptr
        ? kptrTarget(analysis, facts.field!)
        : { btf: kernelBtf, id: kernelBtf?.find(ret.type ?? "", "struct") ?? 0 };
      if (found.btf === undefined || found.id === 0)
        return reject(EINVAL, `invalid return type ${RET_PTR_TO_BTF_ID} of func ${name}#${facts.id}`);
      const own = isKptr && found.btf !== kernelBtf ? ownFlags(facts) : 0;
      const trust = ret.isTrusted ? FLAG.TRUSTED : 0;
      return pointer("ptr_", { flags: flags | trust | own, btf: found.btf, btfId: found.id });
    }
    case "btf or memory":
      return variable(facts, flags);
  }
}

/** As Linux numbers what helpers return. */
const RET_PTR_TO_BTF_ID = 8;

const ownFlags = ({ field }: CallFacts): number =>
  FLAG.ALLOC | (field?.pointer?.tag === "percpu" ? FLAG.PERCPU : 0);

function mapValue(analysis: Analysis, facts: CallFacts, flags: number): Register | NonNullable<Check> {
  const { map, constantKey } = facts;
  assert(map !== undefined, "helpers that give a map's value take the map");
  const isFound =
    facts.id === HELPER.map_lookup_elem &&
    ARRAYS.includes(map.type) &&
    constantKey !== undefined &&
    constantKey < BigInt(map.maxEntries);
  const value = pointer("map_value", {
    map,
    mapUid: facts.mapUid,
    flags: isFound ? flags & ~FLAG.MAYBE_NULL : flags,
  });
  return !value.isMaybeNull && hasLock(value) ? value.with({ id: analysis.newId() }) : value;
}

/** A variable of each CPU: a structure or plain memory. */
function variable({ btfRegister }: CallFacts, flags: number): Register {
  const btf = btfRegister?.btf;
  assert(btfRegister !== undefined && btf !== undefined, "variables of each processor have types");
  const btfId = btf.resolve(btfRegister.btfId);
  if (btf.type(btfId)?.kind === "struct") return pointer("ptr_", { flags, btf, btfId });
  return pointer("mem", { flags: flags | FLAG.RDONLY, memSize: btf.sizeOf(btfId) ?? 0 });
}

const BOUNDED: readonly number[] = [
  HELPER.get_stack,
  HELPER.get_task_stack,
  HELPER.probe_read_str,
  HELPER.probe_read_kernel_str,
  HELPER.probe_read_user_str,
];

function refineResult(analysis: Analysis, facts: CallFacts, result: Register): Register {
  const { cpus } = analysis.env;
  if (facts.id === HELPER.get_smp_processor_id && cpus !== undefined) {
    const draft = new ScalarDraft(SCALAR_UNKNOWN);
    draft.setUnsigned(0n, BigInt(cpus - 1));
    draft.setSigned(0n, BigInt(cpus - 1));
    draft.umax32 = draft.s32max = cpus - 1;
    draft.s32min = 0;
    return scalarRegister(draft.sync().freeze());
  }
  if (!result.isScalar || !BOUNDED.includes(facts.id)) return result;
  const draft = new ScalarDraft(SCALAR_UNKNOWN);
  draft.setSigned(-MAX_ERRNO, facts.mostBytes);
  draft.s32max = Number(BigInt.asIntN(32, facts.mostBytes));
  draft.s32min = -Number(MAX_ERRNO);
  return scalarRegister(draft.sync().freeze());
}
