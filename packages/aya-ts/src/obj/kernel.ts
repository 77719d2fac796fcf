/**
 * An object as it must be for the running kernel: CO-RE relocations and externs, resolved with the kernel's own BTF and symbols.
 *
 * The files are read only where the object has something to resolve, as in Aya.
 */
import { BPF_ATTACH_TYPE as ATTACH, BPF_PROG_TYPE } from "@alien-ts/abi";
import { BtfError, parseBtf } from "@alien-ts/btf";
import type { Btf } from "@alien-ts/btf";
import { FileError, ProgramError } from "../errors.ts";
import { readFile } from "../sys/files.ts";
import type { Sys } from "../sys/sys.ts";
import { readKallsyms } from "../util.ts";
import { applyCore, needsCore } from "./core.ts";
import { hasExterns, needsAddresses, resolveExterns } from "./externs.ts";
import type { ProgramSection } from "./program-sections.ts";
import type { ObjectSpec } from "./spec.ts";

const KERNEL_BTF = "/sys/kernel/btf/vmlinux";

/** Throws `FileError` where the kernel has none. */
export async function readKernelTypes(sys: Sys): Promise<Btf> {
  const types = parseBtf(await readFile(sys, KERNEL_BTF));
  if (types instanceof BtfError) throw new FileError(KERNEL_BTF, types.message, { cause: types });
  return types;
}

/** @param version KERNEL_VERSION code */
export async function forKernel(
  sys: Sys,
  spec: ObjectSpec,
  kernel: { readonly version: number; readonly types: () => Promise<Btf> },
): Promise<ObjectSpec> {
  if (!needsCore(spec) && !hasExterns(spec)) return spec;
  const types = await kernel.types();
  const addresses = needsAddresses(spec) ? await addressesByName(sys) : new Map<string, bigint>();
  const resolved = applyCore(spec, types);
  return resolveExterns(resolved, { types, version: kernel.version, address: (name) => addresses.get(name) });
}

const addressesByName = async (sys: Sys): Promise<ReadonlyMap<string, bigint>> =>
  new Map((await readKallsyms(sys)).map(([address, name]) => [name, address]));

/** Prefix of the kernel's name for a hook, and the kind of type that stands for it, by attach type. */
const TARGETS: ReadonlyMap<number, { readonly prefix: string; readonly kind: "func" | "typedef" }> = new Map([
  [ATTACH.TRACE_RAW_TP, { prefix: "btf_trace_", kind: "typedef" }],
  [ATTACH.TRACE_FENTRY, { prefix: "", kind: "func" }],
  [ATTACH.TRACE_FEXIT, { prefix: "", kind: "func" }],
  [ATTACH.MODIFY_RETURN, { prefix: "", kind: "func" }],
  [ATTACH.LSM_MAC, { prefix: "bpf_lsm_", kind: "func" }],
  [ATTACH.LSM_CGROUP, { prefix: "bpf_lsm_", kind: "func" }],
  [ATTACH.TRACE_ITER, { prefix: "bpf_iter_", kind: "func" }],
]);

/** Whether a program of this section is loaded for something that the kernel's types name (`attach_btf_id`). */
export const isForTarget = ({ type, expectedAttachType }: ProgramSection): boolean =>
  (type === BPF_PROG_TYPE.TRACING || type === BPF_PROG_TYPE.LSM) && TARGETS.has(expectedAttachType);

/** The id of what the section names. Throws `ProgramError` where the kernel has no such thing. */
export function targetId(program: string, section: ProgramSection, types: Btf): number {
  const { prefix, kind } = TARGETS.get(section.expectedAttachType)!;
  const name = `${prefix}${section.target}`;
  const id = types.find(name, kind);
  if (id !== undefined) return id;
  const problem =
    section.target === ""
      ? `its section names no target: expected SEC("${section.kind}/NAME")`
      : `the kernel's types have no ${kind} ${name}`;
  throw new ProgramError("NotFound", `program ${program}: ${problem}`);
}
