/** What happens where the verifier itself is wrong, or the types it is told are no kernel's. */
import { expect, test } from "vitest";
import { declare } from "../test/declare.ts";
import { judge } from "../test/judge.ts";

test("an assertion that fails refuses the program as Linux does, and the host goes on", () => {
  const answer = judge({
    section: "kprobe",
    types: "int main(void *ctx); int seen(void *task, void *vma, void *ctx);",
    env: { kernelBtf: declare("struct task_struct { int pid; };") },
    code: `
      call bpf_get_current_task_btf
      r1 = r0
      r2 = 0
      r3 = function seen
      r4 = 0
      r5 = 0
      call bpf_find_vma
      r0 = 0
      exit
      seen: r0 = 0
      exit`,
  });
  expect(answer.errno).toBe("EFAULT");
  expect(answer.log).toContain("verifier bug: a kernel with tasks has mappings");
});
