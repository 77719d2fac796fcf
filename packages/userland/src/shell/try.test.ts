import { expect, test } from "vitest";
import { run } from "../testing/run.ts";
import { PROGRAMS } from "../programs.ts";
test("x", async () => {
  for (const s of ["echo hi", "echo a | cat", "x=$(echo b; echo c); echo \"$x\"", "(cd /etc; pwd); pwd; /bin/echo ext; for i in 1 2; do echo $i; done | while read x; do echo got $x; done"]) {
    const r = await run(["/bin/sh", "-c", s], { programs: PROGRAMS });
    console.log(s, JSON.stringify([r.stdout, r.stderr, r.status]));
  }
});
