/** A call of a helper: may it be called, are its arguments right, what does it give. Linux: check_helper_call(). */
import { EACCES, EINVAL, ENOTSUPP } from "@alien-ts/abi";
import { REG } from "@alien-ts/bpf-isa";
import type { Insn } from "@alien-ts/bpf-isa";
import { isReadOnlyMap } from "../access/region.ts";
import { fillStack } from "../access/stack.ts";
import type { Analysis } from "../analysis.ts";
import { assert } from "../assert.ts";
import { checkLeaks } from "../check/leaks.ts";
import { isGplCompatible, mayCall } from "../env.ts";
import { checkMapHelper } from "../linux/map-compatibility.ts";
import { markPrecise } from "../prune/precision.ts";
import { kindName } from "../state/register.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { checkArgument, newFacts } from "./arguments.ts";
import type { CallFacts } from "./arguments.ts";
import { HELPER } from "./callback-kinds.ts";
import { runCallback } from "./callback.ts";
import { forgetPackets, releaseReference } from "./release.ts";
import { giveResult } from "./returns.ts";

export function checkHelperCall(analysis: Analysis, insn: Insn): Check {
  const { env } = analysis;
  const id = insn.imm;
  const prototype = env.helper(id);
  if (prototype === undefined) return reject(EINVAL, `invalid func unknown#${id}`);
  const called = `${prototype.name}#${id}`;
  if (!mayCall(env, id)) return reject(EINVAL, `program of this type cannot use helper ${called}`);
  const isFree = prototype.isFreeIn?.(env.programType) === true;
  if (prototype.gplOnly && !isFree && !isGplCompatible(env.license))
    return reject(EINVAL, "cannot call GPL-restricted function from non-GPL compatible program");
  if (prototype.allowedIn?.(env.programType, env.attach) === false)
    return reject(EINVAL, "helper call is not allowed in probe");
  const { state } = analysis;
  if (prototype.mightSleep && !state.isInSleepable)
    return reject(EINVAL, "helper call might sleep in a non-sleepable prog");
  if (prototype.mightSleep && state.activeRcuLocks > 0)
    return reject(EINVAL, `sleepable helper ${called} in rcu_read_lock region`);
  if (prototype.mightSleep && state.activePreemptLocks > 0)
    return reject(EINVAL, `sleepable helper ${called} in non-preemptible region`);
  if (prototype.mightSleep && state.activeIrqId !== 0)
    return reject(EINVAL, `sleepable helper ${called} in IRQ-disabled region`);
  const facts = newFacts(id, prototype);
  for (let index = 0; index < prototype.args.length; index++) {
    const bad = checkArgument(analysis, facts, index);
    if (bad !== undefined) return bad;
  }
  const bad =
    checkMapIsWritable(facts) ??
    checkTailCallIndex(analysis, facts) ??
    (facts.raw === undefined ? undefined : fillStack(analysis, facts.raw.number, facts.raw.size));
  if (bad !== undefined) return bad;
  release(analysis, facts);
  return checkSpecial(analysis, facts) ?? conclude(analysis, facts);
}

const CHANGES_MAP: readonly number[] = [
  HELPER.map_update_elem,
  HELPER.map_delete_elem,
  HELPER.map_push_elem,
  HELPER.map_pop_elem,
];

/** Linux: record_func_map() */
function checkMapIsWritable({ id, map }: CallFacts): Check {
  if (map === undefined || !CHANGES_MAP.includes(id) || !isReadOnlyMap(map)) return undefined;
  return reject(EACCES, "write into map forbidden");
}

const PROG_ARRAY = 3;

/** A known index becomes a direct jump: what it is known from must stay. Linux: record_func_key() */
function checkTailCallIndex(analysis: Analysis, { id, map }: CallFacts): Check {
  if (id !== HELPER.tail_call) return undefined;
  if (map?.type !== PROG_ARRAY) {
    // Linux ends this message without a line feed.
    return new Reject(EINVAL, "expected prog array map for tail call", false);
  }
  const { scalar } = analysis.register(REG.R3);
  return scalar.isConst && scalar.tnum.value < BigInt(map.maxEntries)
    ? markPrecise(analysis, REG.R3)
    : undefined;
}

/** Of a dynptr, it is given back where the dynptr is looked at. */
function release(analysis: Analysis, { prototype, refId, releases }: CallFacts): void {
  if (releases === 0 || prototype.args[releases - 1]!.role === "dynptr") return;
  if (refId === 0 && analysis.register(releases).isNull) return;
  const isHeld = releaseReference(analysis, refId);
  assert(isHeld, "what a register refers to is held as long as the register");
}

function checkSpecial(analysis: Analysis, facts: CallFacts): Check {
  switch (facts.id) {
    case HELPER.tail_call:
      return checkLeaks(analysis, "tail_call", true);
    case HELPER.get_local_storage:
      return analysis.register(REG.R2).isNull
        ? undefined
        : reject(EINVAL, "get_local_storage() doesn't support non-zero flags");
    case HELPER.for_each_map_elem:
    case HELPER.find_vma:
    case HELPER.loop:
    case HELPER.timer_set_callback:
    case HELPER.user_ringbuf_drain:
      return runCallback(analysis, facts);
    case HELPER.dynptr_from_mem:
      return analysis.register(REG.R1).kind === "map_value"
        ? undefined
        : reject(
            EACCES,
            `Unsupported reg type ${kindName(analysis.register(REG.R1))} for bpf_dynptr_from_mem data`,
          );
    default:
      return undefined;
  }
}

const KPROBE = 2;
const TRACING = 26;
/** fentry, fexit, fmod_ret */
const TRAMPOLINES: readonly number[] = [24, 25, 26];

/** The address of the function that a program is in, where it is in one. Linux: check_get_func_ip() */
function checkFunctionAddress({ env }: Analysis, { id, prototype }: CallFacts): Check {
  const { type, attachType } = env.programType;
  if (id !== HELPER.get_func_ip || type === KPROBE) return undefined;
  const called = `func ${prototype.name}#${id}`;
  if (type !== TRACING) return reject(ENOTSUPP, `${called} not supported for program type ${type}`);
  return TRAMPOLINES.includes(attachType)
    ? undefined
    : reject(ENOTSUPP, `${called} supported only for fentry/fexit/fmod_ret programs`);
}

function conclude(analysis: Analysis, facts: CallFacts): Check {
  analysis.clearCallerSaved();
  const bad =
    giveResult(analysis, facts) ??
    checkMapHelper(facts.map, facts.id, facts.prototype, analysis.env.programType) ??
    checkFunctionAddress(analysis, facts);
  if (bad !== undefined) return bad;
  noteMap(analysis, facts);
  if (facts.prototype.changesPacket || writesPacket(facts)) forgetPackets(analysis);
  return undefined;
}

/** A write through a dynptr over a packet may move it. */
const writesPacket = ({ id, dynptr }: CallFacts): boolean =>
  id === HELPER.dynptr_write && (dynptr === "skb" || dynptr === "skb_meta");

/** Linux: bpf_map_ptr_store() */
function noteMap(analysis: Analysis, { map }: CallFacts): void {
  const notes = analysis.notes[analysis.index]!;
  if (map === undefined) return;
  notes.isIndexMasked ||= !(map.bypassesSpecV1 ?? analysis.env.privileges.bypassesSpecV1);
  notes.map = notes.map === undefined || notes.map === map ? map : null;
}
