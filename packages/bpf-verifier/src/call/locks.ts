/** Spin locks of map values and objects, by helpers and by kernel functions. Linux: process_spin_lock(). */
import { EINVAL } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { fieldsOf } from "../state/fields.ts";
import { FLAG } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import type { Reference, State } from "../state/state.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export type LockKind = "lock" | "res_lock" | "res_lock_irq";

const LOCKS: readonly Reference["kind"][] = ["lock", "res_lock", "res_lock_irq"];
const RESILIENT: readonly Reference["kind"][] = ["res_lock", "res_lock_irq"];

/** What tells the memory that the lock protects from other memory, with the register's id. */
export const allocationOf = (register: Register): unknown =>
  register.kind === "map_value" ? register.map : register.btf;

export const findLock = (
  { references }: State,
  kinds: readonly Reference["kind"][],
  id: number,
  object: unknown,
): Reference | undefined =>
  references.find((held) => kinds.includes(held.kind) && held.id === id && held.object === object);

/** The lock that protects what the register points to is held. */
export const isLocked = (state: State, register: Register): boolean =>
  findLock(state, LOCKS, register.id, allocationOf(register)) !== undefined;

export function checkLock(analysis: Analysis, number: number, kind: LockKind, isLock: boolean): Check {
  const register = analysis.register(number);
  const word = kind === "lock" ? "bpf_spin" : "bpf_res_spin";
  return (
    checkPlace(register, number, kind, word) ??
    (isLock ? acquire(analysis, register, kind) : release(analysis, register, kind, word))
  );
}

function checkPlace(register: Register, number: number, kind: LockKind, word: string): Check {
  const map = register.kind === "map_value" ? register.map : undefined;
  if (!register.scalar.isConst)
    return reject(
      EINVAL,
      `R${number} doesn't have constant offset. ${word}_lock has to be at the constant offset`,
    );
  if (map !== undefined && map.btf === undefined)
    return reject(EINVAL, `map '${map.name}' has to have BTF in order to use ${word}_lock`);
  const wanted = kind === "lock" ? "spin_lock" : "res_spin_lock";
  const field = fieldsOf(register).find((candidate) => candidate.kind === wanted);
  if (field === undefined) {
    const what = map === undefined ? "local 'kptr'" : `map '${map.name}'`;
    return reject(EINVAL, `${what} has no valid ${word}_lock`);
  }
  const at = register.off + Number(register.scalar.constant);
  return field.offset === at
    ? undefined
    : reject(EINVAL, `off ${at} doesn't point to 'struct ${word}_lock' that is at ${field.offset}`);
}

function acquire({ state, index }: Analysis, register: Register, kind: LockKind): Check {
  const { id } = register;
  const object = allocationOf(register);
  if (kind !== "lock" && findLock(state, RESILIENT, id, object) !== undefined)
    return reject(EINVAL, "Acquiring the same lock again, AA deadlock detected");
  state.hold({ kind, id, insn: index, object });
  state.activeLocks += 1;
  state.activeLockId = id;
  state.activeLockObject = object;
  return undefined;
}

function release(analysis: Analysis, register: Register, kind: LockKind, word: string): Check {
  const { state } = analysis;
  const object = allocationOf(register);
  if (state.activeLocks === 0) return reject(EINVAL, `${word}_unlock without taking a lock`);
  const held = findLock(state, [kind], register.id, object);
  if (held === undefined) return reject(EINVAL, `${word}_unlock of different lock`);
  if (register.id !== state.activeLockId || object !== state.activeLockObject)
    return reject(EINVAL, `${word}_unlock cannot be out of order`);
  const earlier = state.references.slice(0, state.references.indexOf(held));
  const outer = earlier.findLast((reference) => LOCKS.includes(reference.kind));
  state.references = state.references.filter((reference) => reference !== held);
  state.activeLocks -= 1;
  state.activeLockId = outer?.id ?? 0;
  state.activeLockObject = outer?.object;
  forgetUnowned(analysis);
  return undefined;
}

/** Without the lock, nodes that others own may be gone. Linux: invalidate_non_owning_refs() */
function forgetUnowned({ state, gone }: Analysis): void {
  state.replaceAll((register) => (register.has(FLAG.NON_OWN_REF) ? gone : register));
}
