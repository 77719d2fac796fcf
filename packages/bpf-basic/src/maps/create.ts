/** The steps of making a map that all types share: storage, `struct bpf_map`, table. A failure frees what was taken. */
import { ENOMEM, type KAddr, type Result } from "@alien-ts/abi";
import type { BpfMap, MapHost } from "./map.ts";

/** A map whose contents are `sizeBytes` zeroed bytes, built by `build` around their address. */
export function createWithStorage(
  host: MapHost,
  sizeBytes: number,
  build: (addr: KAddr, storage: KAddr) => BpfMap,
): Result<BpfMap> {
  const storage = host.ports.alloc(sizeBytes);
  if (storage === 0) return ENOMEM;
  const map = createAround(host, (addr) => build(addr, storage));
  if (map !== undefined) return map;
  host.ports.free(storage);
  return ENOMEM;
}

/** A map around contents that exist already; undefined where no memory is left for `struct bpf_map`. */
function createAround(host: MapHost, build: (addr: KAddr) => BpfMap): BpfMap | undefined {
  const addr = host.maps.allocAddr();
  if (addr === 0) return undefined;
  const map = build(addr);
  host.maps.add(map);
  return map;
}
