/** Whether a member fits into its structure. Answers to the check_member and check_kflag_member operations of kernel/bpf/btf.c. */
import { EINVAL } from "@alien-ts/abi";
import { BTF_KIND } from "../types.ts";
import type { Blob, RawMember, RawType, Refusal } from "./blob.ts";

/** What a type is in the end, and its bytes; undefined for what has no size. */
export type Sizes = (id: number) => { readonly id: number; readonly size: number } | undefined;

const MODIFIERS: readonly number[] = [
  BTF_KIND.typedef,
  BTF_KIND.volatile,
  BTF_KIND.const,
  BTF_KIND.restrict,
  BTF_KIND.type_tag,
];
export const isModifier = ({ kind }: RawType): boolean => MODIFIERS.includes(kind);

const POINTER_BYTES = 8;

export interface MemberCheck {
  readonly blob: Blob;
  readonly struct: RawType;
  readonly sizes: Sizes;
}

export function checkMember(check: MemberCheck, member: RawMember): Refusal {
  const { blob, struct, sizes } = check;
  const type = blob.type(member.type)!;
  if (isModifier(type)) {
    const resolved = sizes(member.type);
    if (resolved !== undefined) return checkMember(check, { ...member, type: resolved.id });
    blob.logMember(struct, member, "Invalid member");
    return EINVAL;
  }
  const message = problemOf(check, type, member);
  if (message === undefined) return undefined;
  if (message === UNSUPPORTED)
    blob.logBasic(struct, struct.flag ? "Unsupported check_kflag_member" : "Unsupported check_member");
  else blob.logMember(struct, member, message);
  return EINVAL;
}

const UNSUPPORTED = "";
const EXCEEDS = "Member exceeds struct_size";

function problemOf(
  { blob, struct, sizes }: MemberCheck,
  type: RawType,
  member: RawMember,
): string | undefined {
  const bits = struct.flag ? member.offset >>> 24 : 0;
  const at = struct.flag ? member.offset & 0xff_ffff : member.offset;
  switch (type.kind) {
    case BTF_KIND.int:
      return struct.flag ? bitfieldProblem(blob, struct, type, bits, at) : intProblem(blob, struct, type, at);
    case BTF_KIND.enum:
    case BTF_KIND.enum64:
      return struct.flag ? enumFieldProblem(struct, bits, at) : wholeProblem(struct, at, type.word);
    case BTF_KIND.ptr:
      return bits !== 0 ? "Invalid member bitfield_size" : wholeProblem(struct, at, POINTER_BYTES);
    case BTF_KIND.struct:
    case BTF_KIND.union:
      return bits !== 0 ? "Invalid member bitfield_size" : wholeProblem(struct, at, type.word);
    case BTF_KIND.array:
      return bits !== 0
        ? "Invalid member bitfield_size"
        : wholeProblem(struct, at, sizes(member.type)?.size ?? 0);
    case BTF_KIND.float:
      return bits !== 0 ? "Invalid member bitfield_size" : floatProblem(struct, at, type.word);
    default:
      return UNSUPPORTED;
  }
}

function wholeProblem(struct: RawType, at: number, size: number): string | undefined {
  if (at % 8 !== 0) return "Member is not byte aligned";
  return struct.word - at / 8 < size ? EXCEEDS : undefined;
}

function floatProblem(struct: RawType, at: number, size: number): string | undefined {
  if (at % (8 * Math.min(POINTER_BYTES, size)) !== 0) return "Member is not properly aligned";
  return Math.floor(at / 8) + size > struct.word ? EXCEEDS : undefined;
}

const BITS_OF_U128 = 128;

function copyProblem(struct: RawType, at: number, bits: number): string | undefined {
  const start = Math.floor(at / 8);
  const copied = bits + (at % 8);
  if (copied > BITS_OF_U128) return "nr_copy_bits exceeds 128";
  return struct.word < start || struct.word - start < Math.ceil(copied / 8) ? EXCEEDS : undefined;
}

function intProblem(blob: Blob, struct: RawType, type: RawType, at: number): string | undefined {
  const data = blob.u32(type.body);
  const place = at + ((data >>> 16) & 0xff);
  return place > 0xffff_ffff ? "bits_offset exceeds U32_MAX" : copyProblem(struct, place, data & 0xff);
}

function bitfieldProblem(
  blob: Blob,
  struct: RawType,
  type: RawType,
  bits: number,
  at: number,
): string | undefined {
  if (!isRegularInt(blob, type)) return "Invalid member base type";
  const whole = blob.u32(type.body) & 0xff;
  if (bits === 0 && at % 8 !== 0) return "Invalid member offset";
  if (bits > whole) return "Invalid member bitfield_size";
  return copyProblem(struct, at, bits === 0 ? whole : bits);
}

const INT_BITS = 32;

function enumFieldProblem(struct: RawType, bits: number, at: number): string | undefined {
  if (bits === 0 && at % 8 !== 0) return "Member is not byte aligned";
  if (bits > INT_BITS) return "Invalid member bitfield_size";
  return struct.word < Math.ceil((at + (bits === 0 ? INT_BITS : bits)) / 8) ? EXCEEDS : undefined;
}

/** Whole bytes, of a number that machines have. */
export function isRegularInt(blob: Blob, { body }: RawType): boolean {
  const data = blob.u32(body);
  return ((data >>> 16) & 0xff) === 0 && [8, 16, 32, 64, 128].includes(data & 0xff);
}
