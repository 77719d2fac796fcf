/**
 * Registering, unregistering, enabling and disabling probes (Linux: kernel/kprobes.c).
 *
 * The breakpoint is in the text exactly while a point has an enabled probe. All four may be called from a handler, of the same
 * probe too: a hit in flight goes on with the point that it holds.
 *
 * Errors of `register_kprobe`, in the order of Linux 6.18:
 *   EINVAL  symbol and address both given, or neither (_kprobe_addr)
 *   ENOENT  unknown symbol; no symbol covers the address (_kprobe_addr)
 *   EINVAL  not in the text of the kernel or a module, blacklisted (check_kprobe_address_safe), or in one of our slots
 *   EILSEQ  misaligned, or not at an instruction's start (arch_prepare_kprobe)
 *   EINVAL  an instruction that must not be probed (arch_prepare_kprobe)
 *   ENOMEM  no slot
 */
import { EILSEQ, EINVAL, ENOENT, type Errno, isErr, type KAddr, type Result } from "@alien-ts/abi";
import type { Execution } from "./arch.ts";
import { Kprobe, type KprobeBuilder, type KprobeSpec } from "./kprobe.ts";
import type { KprobeManager } from "./manager.ts";
import { KprobePoint } from "./point.ts";

/** The probe, planted unless the builder says otherwise. */
export function register_kprobe(manager: KprobeManager, builder: KprobeBuilder): Result<Kprobe> {
  const spec = builder.build();
  const addr = probeAddress(manager, spec);
  if (isErr(addr)) return addr;
  const point = manager.points.get(addr) ?? createPoint(manager, addr);
  if (isErr(point)) return point;
  const probe = new Kprobe(spec, addr);
  probe.isRegistered = true;
  point.probes = [...point.probes, probe];
  updateText(manager, point);
  return probe;
}

/** EINVAL if it is not registered with this manager. */
export function unregister_kprobe(manager: KprobeManager, probe: Kprobe): Result<void> {
  if (manager.gone.delete(probe)) {
    probe.isRegistered = false;
    return;
  }
  const point = pointOf(manager, probe);
  if (isErr(point)) return point;
  probe.isRegistered = false;
  point.probes = point.probes.filter((other) => other !== probe);
  updateText(manager, point);
  if (point.probes.length > 0) return;
  manager.points.remove(point);
  manager.releaseIfUnused(point);
}

/** EINVAL if it is not registered with this manager, or gone. */
export const enable_kprobe = (manager: KprobeManager, probe: Kprobe): Result<void> =>
  setEnabled(manager, probe, true);

/** EINVAL if it is not registered with this manager, or gone. */
export const disable_kprobe = (manager: KprobeManager, probe: Kprobe): Result<void> =>
  setEnabled(manager, probe, false);

/**
 * Before the text [start, start + length) is unloaded: its probes are gone, the breakpoints are taken out, and no hit comes any
 * more (Linux: kprobes_module_callback, kill_kprobe). The owners still unregister them.
 */
export function kprobes_text_gone(manager: KprobeManager, start: KAddr, length: number): void {
  for (const point of manager.points.sorted()) {
    if (point.addr < start || point.addr >= start + length) continue;
    for (const probe of point.probes) {
      probe.isGone = true;
      probe.isEnabled = false;
      manager.gone.add(probe);
    }
    point.probes = [];
    updateText(manager, point);
    manager.points.remove(point);
    manager.releaseIfUnused(point);
  }
}

function setEnabled(manager: KprobeManager, probe: Kprobe, isEnabled: boolean): Result<void> {
  const point = pointOf(manager, probe);
  if (isErr(point)) return point;
  probe.isEnabled = isEnabled;
  updateText(manager, point);
}

function pointOf(manager: KprobeManager, probe: Kprobe): KprobePoint | Errno {
  const point = manager.points.get(probe.addr);
  return point?.probes.includes(probe) === true ? point : EINVAL;
}

/** Plants or removes the breakpoint, as the probes want it. */
function updateText({ ops, arch }: KprobeManager, point: KprobePoint): void {
  const isWanted = point.probes.some((probe) => probe.isEnabled);
  if (isWanted === point.isArmed) return;
  point.isArmed = isWanted;
  const breakpoint = arch.breakpoint(point.instruction.length);
  const bytes = isWanted ? breakpoint : point.instruction.subarray(0, breakpoint.length);
  ops.set_writeable_for_address(point.addr, bytes.length, (text) => text.set(bytes));
}

function probeAddress(manager: KprobeManager, { symbol, address, offset }: KprobeSpec): Result<KAddr> {
  // As in Linux, address 0 is none.
  if ((symbol === undefined) === !address) return EINVAL;
  const { ops } = manager;
  const start = symbol === undefined ? address : ops.lookup_name(symbol);
  if (start === undefined) return ENOENT;
  const addr = start + offset;
  if (manager.slots.contains(addr)) return EINVAL;
  if (ops.lookup_address(addr) === undefined) return ENOENT;
  return ops.is_kernel_text(addr) && !ops.is_blacklisted(addr) ? addr : EINVAL;
}

function createPoint(manager: KprobeManager, addr: KAddr): Result<KprobePoint> {
  const { arch, points } = manager;
  if (addr % arch.alignmentBytes !== 0 || !isInstructionStart(manager, addr)) return EILSEQ;
  const code = manager.ops.copy_text(addr, arch.instructionBytesMax);
  const length = arch.instructionLength(code);
  if (length === 0 || length > code.length) return EILSEQ;
  const instruction = code.slice(0, length);
  const execution = arch.prepare(instruction);
  if (isErr(execution)) return execution;
  const slot = fillSlot(manager, instruction, execution);
  if (isErr(slot)) return slot;
  const point = new KprobePoint(addr, instruction, execution, slot);
  points.insert(point);
  return point;
}

/** Walks the instructions from the symbol's start (Linux: arch_check_kprobe, can_probe). */
function isInstructionStart({ ops, arch, points }: KprobeManager, addr: KAddr): boolean {
  let at = ops.lookup_address(addr)?.addr ?? addr;
  while (at < addr) {
    // A breakpoint may be shorter than the instruction under it.
    const code = points.get(at)?.instruction ?? ops.copy_text(at, arch.instructionBytesMax);
    const length = arch.instructionLength(code);
    if (length === 0) return false;
    at += length;
  }
  return at === addr;
}

/** A slot with the copy, and the second breakpoint where there is no single step; 0 if the instruction is not stepped. */
function fillSlot(
  { arch, ops, slots }: KprobeManager,
  instruction: Uint8Array,
  execution: Execution,
): Result<KAddr> {
  if (execution.kind !== "step") return 0;
  const slot = slots.alloc();
  if (isErr(slot)) return slot;
  const { length } = instruction;
  const end = arch.hasSingleStep ? new Uint8Array(0) : arch.breakpoint(length);
  ops.set_writeable_for_address(slot, length + end.length, (bytes) => {
    bytes.set(instruction);
    bytes.set(end, length);
  });
  return slot;
}
