/** The few members of kernel structures that programs may write, by program type. Linux: the types' btf_struct_access(). */
import { EACCES } from "@alien-ts/abi";
import type { Btf } from "@alien-ts/btf";
import type { Analysis } from "../analysis.ts";
import type { Register } from "../state/register.ts";
import { reject } from "../verdict.ts";
import type { Check } from "../verdict.ts";

interface Writable {
  /** Structures that it applies to, and what writes to others are told. */
  readonly structures: readonly string[];
  readonly otherwise: string;
  /** Members, as "structure.path"; all begin at offset 0 of the first structure. `*`: anywhere in the member. */
  readonly members: readonly string[];
}

const CONGESTION: Writable = {
  structures: ["tcp_sock"],
  otherwise: "only read is supported",
  members: [
    "sock.sk_pacing_rate",
    "sock.sk_pacing_status",
    "inet_connection_sock.icsk_ca_priv*",
    "inet_connection_sock.icsk_ack.pending",
    "tcp_sock.snd_cwnd",
    "tcp_sock.snd_cwnd_cnt",
    "tcp_sock.snd_cwnd_stamp",
    "tcp_sock.snd_ssthresh",
    "tcp_sock.ecn_flags",
    "tcp_sock.app_limited",
  ],
};

const CONNTRACK: Writable = {
  structures: ["nf_conn", "nf_conn___init"],
  otherwise: "only read is supported",
  members: ["nf_conn.mark"],
};

/** By program type; operations of structures by the structure. */
const BY_TYPE: Record<number, Writable> = { 3: CONNTRACK, 4: CONNTRACK, 6: CONNTRACK };
const BY_STRUCTURE: Record<string, Writable> = { tcp_congestion_ops: CONGESTION };

export function checkWritableMember(
  analysis: Analysis,
  register: Register,
  off: number,
  size: number,
): Check {
  const { programType, attach } = analysis.env;
  const rules = BY_STRUCTURE[attach?.structure ?? ""] ?? BY_TYPE[programType.type];
  const btf = register.btf!;
  const name = btf.type(btf.resolve(register.btfId))?.name ?? "";
  if (attach?.structure === "bpf_dummy_ops") return dummyState(btf, name, off, size);
  if (rules === undefined) return reject(EACCES, "only read is supported");
  if (!rules.structures.includes(name)) return reject(EACCES, rules.otherwise);
  for (const member of rules.members) {
    const range = rangeOf(btf, member.replace("*", ""));
    if (range === undefined) continue;
    const isInside = member.endsWith("*") ? off >= range.from && off < range.to : off === range.from;
    if (!isInside) continue;
    if (off + size <= range.to) return undefined;
    return reject(
      EACCES,
      `write access at off ${off} with size ${size} beyond the member of ${rules.structures[0]} ended at ${range.to}`,
    );
  }
  return reject(EACCES, `no write support to ${rules.structures[0]} at off ${off}`);
}

function dummyState(btf: Btf, name: string, off: number, size: number): Check {
  const bytes = btf.sizeOf(btf.find("bpf_dummy_ops_state", "struct") ?? 0) ?? 0;
  if (name !== "bpf_dummy_ops_state")
    return reject(EACCES, "only access to bpf_dummy_ops_state is supported");
  return off + size <= bytes ? undefined : reject(EACCES, `write access at off ${off} with size ${size}`);
}

function rangeOf(btf: Btf, path: string): { readonly from: number; readonly to: number } | undefined {
  const [structure = "", ...names] = path.split(".");
  let id = btf.find(structure, "struct");
  let from = 0;
  for (const name of names) {
    const place = id === undefined ? undefined : find(btf, id, name);
    if (place === undefined) return undefined;
    from += place.from;
    ({ id } = place);
  }
  return { from, to: from + (btf.sizeOf(id ?? 0) ?? 0) };
}

/** A member, through those without name. */
function find(btf: Btf, id: number, name: string): { from: number; id: number } | undefined {
  for (const member of btf.members(id) ?? []) {
    const from = member.bitOffset >> 3;
    if (member.name === name) return { from, id: member.type };
    if (member.name !== "") continue;
    const inner = find(btf, member.type, name);
    if (inner !== undefined) return { from: from + inner.from, id: inner.id };
  }
  return undefined;
}
