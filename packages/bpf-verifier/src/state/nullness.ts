/** Pointers that may be NULL: what they become when it is known. Linux: mark_ptr_or_null_regs(). */
import { hasLock, isTrustedPointer } from "./fields.ts";
import { FLAG, NULL_REGISTER } from "./register.ts";
import type { Register } from "./register.ts";
import type { State } from "./state.ts";

const XSKMAP = 17;
const SOCKMAP = 15;
const SOCKHASH = 18;

/** The pointer without its doubt. Linux: mark_ptr_not_null_reg() */
export function notNull(register: Register): Register {
  const flags = register.flags & ~FLAG.MAYBE_NULL;
  const { map } = register;
  if (register.kind !== "map_value" || map === undefined) return register.with({ flags });
  if (map.inner !== undefined) {
    const hasTimer = map.inner.fields.some(({ kind }) => kind === "timer" || kind === "workqueue");
    return register.with({
      kind: "map_ptr",
      flags,
      map: map.inner,
      mapUid: hasTimer ? register.id : register.mapUid,
    });
  }
  // Sockets keep the map that they were found in: those of others are not the same.
  if (map.type === XSKMAP) return register.with({ kind: "xdp_sock", flags });
  if (map.type === SOCKMAP || map.type === SOCKHASH) return register.with({ kind: "sock", flags });
  return register.with({ flags });
}

/** Register `number` was found to be NULL, or not to be: so are all its copies. */
export function markNull(state: State, number: number, isNull: boolean): void {
  const { id, refId } = state.registers[number]!;
  if (isNull && refId !== 0 && refId === id)
    state.references = state.references.filter((reference) => reference.id !== id);
  state.replaceAll((register) => {
    if (!register.isMaybeNull || register.id !== id) return register;
    if (isNull) return NULL_REGISTER;
    const known = notNull(register);
    return hasLock(known) ? known : known.with({ id: 0 });
  });
}

/** Whether the pointer cannot be NULL. Linux: reg_not_null() */
export function isTrusted(register: Register): boolean {
  if (register.isMaybeNull) return false;
  switch (register.kind) {
    case "sock":
    case "tcp_sock":
    case "sock_common":
    case "map_value":
    case "map_key":
    case "map_ptr":
      return true;
    case "mem":
      return !register.has(FLAG.UNTRUSTED);
    case "ptr_":
      return isTrustedPointer(register);
    default:
      return false;
  }
}
