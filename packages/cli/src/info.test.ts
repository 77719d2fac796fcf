import { expect, test } from "vitest";
import { formatCoverage } from "./info.ts";

test("rows are counted and listed by kind, with what a simplified one leaves out", () => {
  expect(
    formatCoverage([
      { name: "vfs_read", kind: "function", fidelity: "real", leftOut: undefined, kfunc: undefined },
      { name: "sys_write", kind: "system call", fidelity: "real", leftOut: undefined, kfunc: undefined },
      {
        name: "sys_mount",
        kind: "system call",
        fidelity: "simplified",
        leftOut: "remounting",
        kfunc: undefined,
      },
    ]),
  ).toBe(`system calls: 1 real, 1 simplified, 0 stub
  sys_mount  simplified: remounting
  sys_write  real

functions: 1 real, 0 simplified, 0 stub
  vfs_read   real
`);
});
