/**
 * bpf(2), perf events and mmap for `FakeSys`: enough of a kernel to load an object, and knobs for kernels that lack things.
 * The attribute is read at the byte offsets of include/uapi/linux/bpf.h, which the code under test gets from abi.
 */
import { cString, EBADF, EEXIST, EINVAL, ENOENT } from "@alien-ts/abi";
import { FakeSys } from "./fake-sys.ts";

export interface FakeKernelOptions {
  readonly hasBtf?: boolean;
  readonly hasLinks?: boolean;
  /** Result and log of loading a named program; default: accepted. */
  readonly verify?: (
    name: string,
    logLevel: number,
    logSize: number,
  ) => { readonly result: number; readonly log: string } | undefined;
  readonly cpus?: number;
}

export interface FakeMap {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly name: string;
  readonly btf: readonly number[];
  readonly entries: Map<string, Uint8Array>;
  isFrozen: boolean;
}

export interface FakeProgram {
  readonly type: number;
  readonly name: string;
  readonly license: string;
  readonly insnCount: number;
  readonly insns: Uint8Array;
  readonly kernelVersion: number;
  readonly logLevel: number;
  readonly logSize: number;
  readonly btfFd: number;
  readonly funcInfoCount: number;
}

export class FakeKernel extends FakeSys {
  readonly maps = new Map<number, FakeMap>();
  readonly programs: FakeProgram[] = [];
  /** Sizes of attributes, which are always the same. */
  readonly attrSizes = new Set<number>();
  pins = 0;
  readonly links: (readonly [program: number, target: number])[] = [];
  readonly btfSizes: number[] = [];
  /** Start of a mapping by descriptor and file offset. */
  readonly mappings = new Map<string, number>();
  readonly ioctls: (readonly [request: number, argument: number])[] = [];
  readonly perfAttrs: DataView[] = [];
  readonly #options: FakeKernelOptions;

  constructor(options: FakeKernelOptions = {}) {
    super();
    this.#options = options;
    const cpus = options.cpus ?? 2;
    this.files.set("/sys/devices/system/cpu/possible", `0-${cpus - 1}\n`);
    this.files.set("/sys/devices/system/cpu/online", `0-${cpus - 1}\n`);
    this.files.set("/sys/bus/event_source/devices/kprobe/type", "6\n");
    this.files.set("/sys/bus/event_source/devices/kprobe/format/retprobe", "config:0\n");
    this.bpf = (command, attr) => this.#command(command, attr);
    this.overrides.set("perf_event_open", (attr = 0) => {
      this.perfAttrs.push(new DataView(this.memory.read(attr, 136).buffer));
      return this.openFd("perf");
    });
    this.overrides.set("ioctl", (_fd = 0, request = 0, argument = 0) => {
      this.ioctls.push([request, argument]);
      return 0;
    });
    this.overrides.set("mmap", (_addr = 0, length = 0, _prot = 0, _flags = 0, fd = 0, offset = 0) => {
      const at = this.pages(length);
      this.mappings.set(`${fd}+${offset}`, at);
      return at;
    });
  }

  #nextPage = 0x20_0000;

  pages(bytes: number): number {
    const at = this.#nextPage;
    this.#nextPage += bytes;
    return at;
  }

  #command(command: string, attr: DataView): number {
    this.attrSizes.add(attr.byteLength);
    const u32 = (at: number): number => attr.getUint32(at, true);
    const u64 = (at: number): number => Number(attr.getBigUint64(at, true));
    switch (command) {
      case "BTF_LOAD":
        this.btfSizes.push(u32(16));
        return this.#options.hasBtf === false ? -EINVAL.number : this.openFd("btf");
      case "MAP_CREATE":
        return this.#createMap(attr);
      case "PROG_LOAD":
        return this.#load(attr);
      case "LINK_CREATE":
        if (this.#options.hasLinks === false) return -EINVAL.number;
        if (attr.getInt32(4, true) < 0) return -EBADF.number;
        this.links.push([u32(0), u32(4)]);
        return this.openFd("link");
      case "OBJ_GET":
        return -ENOENT.number;
      case "OBJ_PIN":
        this.pins += 1;
        return 0;
      case "MAP_FREEZE":
        this.maps.get(u32(0))!.isFrozen = true;
        return 0;
      default:
        return this.#element(command, { fd: u32(0), key: u64(8), value: u64(16), flags: u64(24) });
    }
  }

  #createMap(attr: DataView): number {
    const u32 = (at: number): number => attr.getUint32(at, true);
    if (u32(4) === 0 && u32(0) === 1) return -EINVAL.number;
    const fd = this.openFd("map");
    this.maps.set(fd, {
      type: u32(0),
      keySize: u32(4),
      valueSize: u32(8),
      maxEntries: u32(12),
      flags: u32(16),
      name: cString(new Uint8Array(attr.buffer, attr.byteOffset + 28, 16)),
      btf: [u32(48), u32(52), u32(56)],
      entries: new Map(),
      isFrozen: false,
    });
    return fd;
  }

  #load(attr: DataView): number {
    const u32 = (at: number): number => attr.getUint32(at, true);
    const u64 = (at: number): number => Number(attr.getBigUint64(at, true));
    const program: FakeProgram = {
      type: u32(0),
      insnCount: u32(4),
      insns: this.memory.read(u64(8), u32(4) * 8),
      license: cString(this.memory.read(u64(16), 32)),
      logLevel: u32(24),
      logSize: u32(28),
      kernelVersion: u32(40),
      name: cString(new Uint8Array(attr.buffer, attr.byteOffset + 48, 16)),
      btfFd: u32(72),
      funcInfoCount: u32(88),
    };
    this.programs.push(program);
    const verdict = this.#options.verify?.(program.name, program.logLevel, program.logSize);
    if (verdict === undefined) return this.openFd("prog");
    if (program.logSize > 0) {
      this.memory.write(
        u64(32),
        Uint8Array.from([...verdict.log, "\0"], (character) => character.charCodeAt(0)),
      );
    }
    return verdict.result;
  }

  #element(command: string, at: { fd: number; key: number; value: number; flags: number }): number {
    const map = this.maps.get(at.fd);
    if (map === undefined) return -EBADF.number;
    const bytes = at.key === 0 ? "" : this.memory.read(at.key, map.keySize).join(",");
    const perCpu = map.type === 5 || map.type === 6;
    const size = perCpu ? Math.ceil(map.valueSize / 8) * 8 * (this.#options.cpus ?? 2) : map.valueSize;
    const known = map.entries.get(bytes);
    switch (command) {
      case "MAP_UPDATE_ELEM":
        if (at.flags === 1 && known !== undefined) return -EEXIST.number;
        map.entries.set(
          map.keySize === 0 ? String(map.entries.size) : bytes,
          this.memory.read(at.value, size),
        );
        return 0;
      case "MAP_LOOKUP_ELEM":
        if (known === undefined) return -ENOENT.number;
        this.memory.write(at.value, known);
        return 0;
      case "MAP_LOOKUP_AND_DELETE_ELEM":
        return this.#pop(map, at.value);
      case "MAP_DELETE_ELEM":
        return map.entries.delete(bytes) ? 0 : -ENOENT.number;
      case "MAP_GET_NEXT_KEY":
        return this.#nextKey(map, at.key === 0 ? undefined : bytes, at.value);
      default:
        return -EINVAL.number;
    }
  }

  #pop(map: FakeMap, into: number): number {
    const [key, value] = map.entries.entries().next().value ?? [];
    if (key === undefined || value === undefined) return -ENOENT.number;
    map.entries.delete(key);
    this.memory.write(into, value);
    return 0;
  }

  #nextKey(map: FakeMap, after: string | undefined, into: number): number {
    const keys = Array.from(map.entries.keys());
    const next = keys[after === undefined ? 0 : keys.indexOf(after) + 1];
    if (next === undefined) return -ENOENT.number;
    this.memory.write(into, Uint8Array.from(next.split(","), Number));
    return 0;
  }
}
