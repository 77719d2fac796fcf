/** Loads from and stores to the context, by the rows of its type. Linux: check_ctx_access() and the types' is_valid_access. */
import { EACCES } from "@alien-ts/abi";
import type { Analysis } from "../analysis.ts";
import type { ContextRow } from "../env.ts";
import { FLAG, UNKNOWN, pointer } from "../state/register.ts";
import type { Register, RegisterKind } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";
import { accessTypedContext } from "./typed-context.ts";

export interface ContextAccess {
  readonly off: number;
  readonly size: number;
  readonly isWrite: boolean;
  readonly isSigned?: boolean;
}

const isPacketKind = (kind: RegisterKind | undefined): boolean =>
  kind === "pkt" || kind === "pkt_meta" || kind === "pkt_end";

/** What a load gives, or the refusal; undefined for a store that is allowed. */
export function accessContext(analysis: Analysis, access: ContextAccess): Register | undefined | Check {
  const rules = analysis.env.programType.context;
  if (rules === undefined) return accessTypedContext(analysis, access);
  const row = rules.rows.find((candidate) => allows(candidate, access));
  if (
    row === undefined ||
    (access.isSigned === true && isPacketKind(row.gives?.kind)) ||
    !mayAccess(analysis, row, access.isWrite)
  )
    return reject(EACCES, `invalid bpf_context access off=${access.off} size=${access.size}`);
  if (access.isWrite) return undefined;
  if (row.gives === undefined) return UNKNOWN;
  const { kind, isNullable, type } = row.gives;
  if (type !== undefined) {
    const btf = analysis.env.kernelBtf;
    return pointer(kind, { flags: FLAG.TRUSTED, btf, btfId: btf?.find(type, "struct") ?? 0 });
  }
  return isNullable ? pointer(kind, { flags: FLAG.MAYBE_NULL, id: analysis.newId() }) : pointer(kind);
}

function mayAccess({ env }: Analysis, { needs }: ContextRow, isWrite: boolean): boolean {
  if (needs === undefined || isWrite !== (needs.of === "write")) return true;
  return env.privileges.capabilities[needs.capability];
}

export function allows(row: ContextRow, { off, size, isWrite }: ContextAccess): boolean {
  if (off < row.from || off + size > row.to || off % size !== 0) return false;
  if (!(isWrite ? row.writes : row.reads).includes(size)) return false;
  const inField = (off - row.from) % row.stride;
  if (inField + size > row.stride) return false;
  if (isWrite && inField !== 0 && !row.writes.includes(1))
    return row.stride === 8 && inField === 4 && size === 4;
  return inField === 0 || inField + size <= row.narrowBytes;
}
