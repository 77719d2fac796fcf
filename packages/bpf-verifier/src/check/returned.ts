/** Whether a result lies in its range. */
import { EINVAL } from "@alien-ts/abi";
import type { ReturnRange } from "../env.ts";
import { S64_MAX, S64_MIN } from "../scalar/scalar.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

/** Linux: verbose_invalid_scalar() */
export function checkReturned({ scalar }: Register, range: ReturnRange, who: string): Check {
  const [least, most] =
    range.is32 === true ? [BigInt(scalar.s32min), BigInt(scalar.s32max)] : [scalar.smin, scalar.smax];
  if (least >= range.min && most <= range.max) return undefined;
  const low = scalar.smin > S64_MIN ? ` smin=${scalar.smin}` : "";
  const high = scalar.smax < S64_MAX ? ` smax=${scalar.smax}` : "";
  const known = low + high === "" ? " unknown scalar value" : low + high;
  return reject(EINVAL, `${who} has${known} should have been in [${range.min}, ${range.max}]`);
}
