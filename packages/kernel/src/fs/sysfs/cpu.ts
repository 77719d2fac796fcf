/**
 * /sys/devices/system/cpu (Linux: drivers/base/cpu.c, Documentation/ABI/testing/sysfs-devices-system-cpu). All CPUs of a machine
 * are possible, present and online; each is a core of its own in one package.
 */
import { PAGE_SIZE } from "@alien-ts/abi";
import type { Kernel } from "../../core/kernel.ts";
import { bitmap, rangeList } from "../proc/format.ts";
import { file, type SimpleDir, type SimpleFile } from "../simple.ts";
import { folder } from "./folder.ts";

/** CONFIG_NR_CPUS. */
export const NR_CPUS = 64;

const line = (text: string): SimpleFile => file(() => `${text}\n`, { size: PAGE_SIZE });

export function cpuDirectory({ cpus }: Kernel): SimpleDir {
  const ids = cpus.map(({ id }) => id);
  const all = rangeList(ids);
  return folder({
    ...Object.fromEntries(ids.map((id) => [`cpu${id}`, oneCpu(id, ids)])),
    isolated: line(""),
    kernel_max: line(String(NR_CPUS - 1)),
    offline: line(""),
    online: line(all),
    possible: line(all),
    present: line(all),
    uevent: file(() => "", { size: PAGE_SIZE, mode: 0o644, write: () => 0 }),
  });
}

/** CPU 0 cannot be taken offline, so it has no `online`. */
function oneCpu(id: number, ids: readonly number[]): SimpleDir {
  const mask = (of: readonly number[]): string =>
    bitmap(
      of.reduce((bits, one) => bits | (1n << BigInt(one)), 0n),
      ids.length,
    );
  const mapAndList = (name: string, of: readonly number[]): Record<string, SimpleFile> => ({
    [name]: line(mask(of)),
    [`${name}_list`]: line(rangeList(of)),
  });
  return folder({
    ...(id === 0 ? {} : { online: line("1") }),
    topology: folder({
      cluster_id: line("-1"),
      core_id: line(String(id)),
      ...mapAndList("core_cpus", [id]),
      ...mapAndList("core_siblings", ids),
      ...mapAndList("package_cpus", ids),
      physical_package_id: line("0"),
      ...mapAndList("thread_siblings", [id]),
    }),
    uevent: file(() => "", { size: PAGE_SIZE, mode: 0o644, write: () => 0 }),
  });
}
