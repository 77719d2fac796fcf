/** From where in an object a pointer may be passed. Linux: check_func_arg_reg_off(). */
import { EINVAL } from "@alien-ts/abi";
import { checkContextPointer } from "../access/pointer-offset.ts";
import { FLAG } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export interface Passing {
  /** The function gives the object back. */
  readonly releases: boolean;
  readonly isDynptr: boolean;
}

/** Kinds and flags of which any part may be passed. */
const ANYWHERE: Record<string, readonly number[]> = {
  fp: [0],
  pkt: [0],
  pkt_meta: [0],
  map_key: [0],
  map_value: [0],
  mem: [0, FLAG.RDONLY, FLAG.RINGBUF],
  buf: [0, FLAG.RDONLY],
  scalar: [0],
  arena: [0],
};

const OWN = FLAG.ALLOC | FLAG.NON_OWN_REF;
/** Flags of BTF pointers of which members may be passed. */
const AT_FIXED: readonly number[] = [0, FLAG.ALLOC, FLAG.TRUSTED, FLAG.RCU, OWN, OWN | FLAG.RCU];

export function checkArgumentOffset(register: Register, number: number, passing: Passing): Check {
  const { kind, flags } = register;
  if (passing.releases) {
    if (passing.isDynptr && kind === "fp") return undefined;
    if (register.off !== 0) {
      return reject(
        EINVAL,
        `R${number} must have zero offset when passed to release func or trusted arg to kfunc`,
      );
    }
    return checkContextPointer(register, number);
  }
  if (ANYWHERE[kind]?.includes(flags) === true) return undefined;
  return checkContextPointer(register, number, kind === "ptr_" && AT_FIXED.includes(flags));
}
