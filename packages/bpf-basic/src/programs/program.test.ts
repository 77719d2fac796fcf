/** Program tags, and what /proc/<pid>/fdinfo says of BPF files. */
import { utf8Encode } from "@alien-ts/abi";
import { asm, program } from "@alien-ts/bpf-isa";
import { expect, test } from "vitest";
import { ok, TestUser } from "../test-user.ts";
import { sha256 } from "./sha256.ts";
import { programTag } from "./tag.ts";

test.each([
  ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  [
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  ],
])("SHA-256 of %j is FIPS 180-4's", (message, digest) => {
  expect(Array.from(sha256(utf8Encode(message)), (byte) => byte.toString(16).padStart(2, "0")).join("")).toBe(
    digest,
  );
});

test.each([
  [0, "59f4a931744dcdc6"],
  [2, "614b434cd8324ecc"],
])("the program that returns %i has the tag of Linux 6.18", (value, tag) => {
  expect(programTag(program(asm.movImm(0, value), asm.exit()))).toBe(tag);
});

test("a tag does not depend on map fds", () => {
  const of = (fd: number): string => programTag(program(asm.mapValue(1, fd, fd), asm.exit()));
  expect(of(3)).toBe(of(8));
});

test("fdinfo of a program and of a map has Linux's lines", () => {
  const user = new TestUser();
  const map = ok(user.map("HASH", 4, 8, 16));
  ok(user.bpf("MAP_FREEZE", { map_fd: map }));
  expect(user.mapAt(map).fdInfo().split("\n").slice(0, 6)).toEqual([
    "map_type:\t1",
    "key_size:\t4",
    "value_size:\t8",
    "max_entries:\t16",
    "map_flags:\t0x0",
    "map_extra:\t0x0",
  ]);
  expect(user.mapAt(map).fdInfo()).toMatch(/memlock:\t\d+\nmap_id:\t1\nfrozen:\t1\n$/);
  const prog = user.programAt(ok(user.load(program(asm.movImm(0, 0), asm.exit()))));
  prog.run(user.regs());
  expect(prog.fdInfo()).toBe(
    "prog_type:\t2\nprog_jited:\t1\nprog_tag:\t59f4a931744dcdc6\nmemlock:\t4096\nprog_id:\t1\n" +
      "run_time_ns:\t0\nrun_cnt:\t1\nrecursion_misses:\t0\nverified_insns:\t2\n",
  );
});
