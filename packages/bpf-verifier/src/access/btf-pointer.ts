/**
 * Loads through pointers to kernel structures, loads and stores through pointers to the program's own objects: the member that is
 * read gives the result, and how far it can be trusted. Linux: check_ptr_to_btf_access(), btf_struct_access().
 */
import { EACCES, EINVAL, EPERM } from "@alien-ts/abi";
import { assert } from "../assert.ts";
import type { Analysis } from "../analysis.ts";
import { isGplCompatible } from "../env.ts";
import { hasTrust } from "../linux/trusted-fields.ts";
import type { FieldTrust } from "../linux/trusted-fields.ts";
import { tnumText } from "../print.ts";
import { isTrustedPointer } from "../state/fields.ts";
import { FLAG, UNKNOWN, pointer } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { objectFields } from "../value-fields.ts";
import { Reject, reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { checkWritableMember } from "./btf-writes.ts";
import { fieldName } from "./region.ts";
import { walkStruct } from "./struct-walk.ts";
import type { Step } from "./struct-walk.ts";

export interface BtfAccess {
  readonly number: number;
  readonly off: number;
  readonly size: number;
  readonly isWrite: boolean;
}

/** Linux: in_rcu_cs(). Programs that do not sleep run inside of one. */
export const isInRcu = ({ state }: Analysis): boolean =>
  state.activeRcuLocks > 0 || state.activeLocks > 0 || !state.isInSleepable;

/** What a load gives, or the refusal. */
export const accessBtf = (analysis: Analysis, register: Register, access: BtfAccess): Register | Reject =>
  checkPointer(analysis, register, access) ?? accessMember(analysis, register, access);

/** `accessBtf` through a pointer that may be followed. */
export function accessMember(analysis: Analysis, register: Register, access: BtfAccess): Register | Reject {
  const { off, size } = access;
  const { btf } = register;
  const isObject = register.has(FLAG.ALLOC);
  const { kernelBtf } = analysis.env;
  if (access.isWrite && !isObject) {
    const written = btf === kernelBtf ? checkWritableMember(analysis, register, off, size) : undefined;
    return written ?? UNKNOWN;
  }
  if (isObject) {
    const special = objectFields(btf!, register.btfId).find(
      (field) => off < field.offset + field.size && field.offset < off + size,
    );
    if (special !== undefined) return reject(EACCES, `direct access to ${fieldName(special)} is disallowed`);
  }
  const step = walkStruct(btf!, register.btfId, off, size);
  if (step instanceof Reject) return step;
  if (isObject || step.kind === "scalar" || step.kind === "struct")
    return isObject && step.kind === "other pointer" ? untrustedMemory() : UNKNOWN;
  if (step.kind === "other pointer") return untrustedMemory();
  return loaded(analysis, register, step);
}

const untrustedMemory = (): Register => pointer("mem", { flags: FLAG.RDONLY | FLAG.UNTRUSTED });

/** What holds for the pointer, whatever it points to. */
function checkPointer(analysis: Analysis, register: Register, { number, off }: BtfAccess): Check {
  const { btf, scalar } = register;
  assert(btf !== undefined, "pointers to structures have their type");
  const { env } = analysis;
  const name = btf.type(register.btfId)?.name ?? "";
  if (!env.privileges.mayLeakPointers)
    return reject(EPERM, `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`);
  if (btf === env.kernelBtf && !isGplCompatible(env.license))
    return reject(EINVAL, `Cannot access kernel 'struct ${name}' from non-GPL compatible program`);
  if (off < 0) return reject(EACCES, `R${number} is ptr_${name} invalid negative access: off=${off}`);
  if (!scalar.isConst || scalar.tnum.value !== 0n) {
    return reject(
      EACCES,
      `R${number} is ptr_${name} invalid variable offset: off=${off}, var_off=${tnumText(scalar.tnum)}`,
    );
  }
  if (register.has(FLAG.USER))
    return reject(EACCES, `R${number} is ptr_${name} access user memory: off=${off}`);
  if (register.has(FLAG.PERCPU))
    return reject(EACCES, `R${number} is ptr_${name} access percpu memory: off=${off}`);
  return undefined;
}

/** The pointer that a member holds, with as much trust as it deserves. */
function loaded(analysis: Analysis, from: Register, step: Step & { readonly kind: "pointer" }): Register {
  const flags = trustOf(analysis, from, step);
  const { btf } = from;
  const isMaybeNull = (flags & FLAG.MAYBE_NULL) !== 0;
  return pointer("ptr_", { flags, btf, btfId: step.id, id: isMaybeNull ? analysis.newId() : 0 });
}

const KEPT = FLAG.PERCPU | FLAG.USER;
const CLEARED = FLAG.TRUSTED | FLAG.ALLOC | FLAG.NON_OWN_REF | FLAG.RCU;

function trustOf(analysis: Analysis, from: Register, step: Step & { readonly kind: "pointer" }): number {
  if (from.has(FLAG.UNTRUSTED)) return FLAG.UNTRUSTED;
  const { flags } = step;
  if (!isTrustedPointer(from) && !from.has(FLAG.RCU)) return flags & ~CLEARED;
  const structure = from.btf?.type(from.btf.resolve(from.btfId))?.name ?? "";
  const is = (trust: FieldTrust): boolean => hasTrust(trust, structure, step.field);
  if (is("trusted")) return flags | FLAG.TRUSTED;
  if (is("trusted_or_null")) return flags | FLAG.TRUSTED | FLAG.MAYBE_NULL;
  if (!isInRcu(analysis) || from.isMaybeNull) return FLAG.UNTRUSTED;
  if (is("rcu")) return flags | FLAG.RCU;
  if (is("rcu_or_null")) return (flags & ~FLAG.UNTRUSTED) | FLAG.RCU | FLAG.MAYBE_NULL;
  if ((flags & FLAG.RCU) !== 0) return flags | FLAG.MAYBE_NULL;
  return (flags & KEPT) === 0 ? flags & ~CLEARED : flags;
}
