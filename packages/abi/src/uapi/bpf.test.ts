/** Sizes and offsets of the structures of bpf(2) and perf_event_open(2) against include/uapi/linux/{bpf,perf_event}.h. */
import { expect, test } from "vitest";
import { Layout } from "../layout.ts";
import type { StructDecl } from "../struct.ts";
import * as bpf from "./bpf.ts";
import * as perf from "./perf.ts";

const layout = Layout.natural();

test.each<[StructDecl, string, number]>([
  [bpf.bpf_attr_map_create, "map_extra", 64],
  [bpf.bpf_attr_map_create, "map_token_fd", 76],
  [bpf.bpf_attr_map_elem, "key", 8],
  [bpf.bpf_attr_map_elem, "next_key", 16],
  [bpf.bpf_attr_map_elem, "flags", 24],
  [bpf.bpf_attr_map_batch, "count", 32],
  [bpf.bpf_attr_prog_load, "prog_name", 48],
  [bpf.bpf_attr_prog_load, "log_true_size", 140],
  [bpf.bpf_attr_link_create, "bpf_cookie", 16],
  [bpf.bpf_attr_btf_load, "btf_token_fd", 36],
  [bpf.bpf_prog_info, "map_ids", 56],
  [bpf.bpf_prog_info, "btf_id", 128],
  [bpf.bpf_prog_info, "verified_insns", 216],
  [bpf.bpf_map_info, "btf_id", 64],
  [bpf.bpf_btf_info, "name_len", 24],
  [bpf.bpf_insn, "src_reg", 1],
  [bpf.bpf_insn, "imm", 4],
  [perf.perf_event_attr, "wakeup_events", 48],
  [perf.perf_event_attr, "probe_offset", 64],
  [perf.perf_event_attr, "config3", 128],
  [perf.perf_event_mmap_page, "capabilities", 40],
  [perf.perf_event_mmap_page, "data_head", 1024],
  [perf.perf_event_mmap_page, "data_size", 1048],
])("%o: %s lies at byte %i", (decl, field, offset) => {
  expect(layout.offset(decl, field)).toBe(offset);
});

test.each<[StructDecl, number]>([
  [bpf.bpf_insn, bpf.BPF_INSN_SIZE],
  [bpf.bpf_attr_prog_load, bpf.BPF_ATTR_SIZE],
  [bpf.bpf_attr_map_create, 80],
  [bpf.bpf_attr_map_batch, 56],
  [bpf.bpf_prog_info, 232],
  [bpf.bpf_map_info, 88],
  [bpf.bpf_btf_info, 32],
  [perf.perf_event_attr, perf.PERF_ATTR_SIZE.VER8],
  [perf.perf_event_header, perf.PERF_EVENT_HEADER_SIZE],
])("%o has %i bytes", (decl, size) => {
  expect(layout.size(decl)).toBe(size);
});

test("every slice of bpf_attr fits the union and has its last field", () => {
  for (const { decl, last } of Object.values(bpf.bpf_attr_slices)) {
    expect(layout.size(decl)).toBeLessThanOrEqual(bpf.BPF_ATTR_SIZE);
    expect(layout.offset(decl, last)).toBeGreaterThanOrEqual(0);
  }
});
