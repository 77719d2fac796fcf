/** Spin locks of map values and objects. Linux: process_spin_lock(). */
import { EINVAL } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export function checkLock(analysis: Analysis, number: number, isLock: boolean): Check {
  const register = analysis.register(number);
  const { state } = analysis;
  const { map } = register;
  if (!register.scalar.isConst)
    return reject(
      EINVAL,
      `R${number} doesn't have constant offset. bpf_spin_lock has to be at the constant offset`,
    );
  if (map === undefined) return reject(EINVAL, "kptr has no valid bpf_spin_lock");
  if (map.btf === undefined)
    return reject(EINVAL, `map '${map.name}' has to have BTF in order to use bpf_spin_lock`);
  const field = map.fields.find(({ kind }) => kind === "spin_lock");
  if (field === undefined) return reject(EINVAL, `map '${map.name}' has no valid bpf_spin_lock`);
  const at = register.off + Number(register.scalar.constant);
  if (field.offset !== at)
    return reject(EINVAL, `off ${at} doesn't point to 'struct bpf_spin_lock' that is at ${field.offset}`);
  if (isLock) {
    if (state.activeLocks > 0) return reject(EINVAL, "Locking two bpf_spin_locks are not allowed");
    state.references.push({ kind: "lock", id: register.id, insn: analysis.index, object: map });
    state.activeLocks = 1;
    state.activeLockId = register.id;
    state.activeLockObject = map;
    return undefined;
  }
  if (state.activeLocks === 0) return reject(EINVAL, "bpf_spin_unlock without taking a lock");
  if (state.activeLockId !== register.id || state.activeLockObject !== map)
    return reject(EINVAL, "bpf_spin_unlock of different lock");
  state.references = state.references.filter(({ kind }) => kind !== "lock");
  state.activeLocks = 0;
  state.activeLockId = 0;
  state.activeLockObject = undefined;
  return undefined;
}
