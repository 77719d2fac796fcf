/** Pointers that may only be used as they were given. Linux: __check_ptr_off_reg(). */
import { EACCES } from "@alien-ts/abi";
import { tnumText } from "../print.ts";
import { kindName } from "../state/register.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

export function checkContextPointer(register: Register, number: number, fixedOffsetAllowed = false): Check {
  const name = kindName(register);
  if (register.off < 0)
    return reject(EACCES, `negative offset ${name} ptr R${number} off=${register.off} disallowed`);
  if (!fixedOffsetAllowed && register.off !== 0)
    return reject(EACCES, `dereference of modified ${name} ptr R${number} off=${register.off} disallowed`);
  if (!register.scalar.isConst || register.scalar.tnum.value !== 0n)
    return reject(EACCES, `variable ${name} access var_off=${tnumText(register.scalar.tnum)} disallowed`);
  return undefined;
}
