/** Iterators on the stack: where they are made, and that they are used where they were made. */
import { testPairs } from "../../test/judge.ts";

const at = (off: number): string => `r1 = r10\nr1 += ${off}`;
const NEW = "r2 = 0\nr3 = 4\ncall @bpf_iter_num_new";
const NEXT = "call @bpf_iter_num_next";
const DESTROY = `${at(-8)}\ncall @bpf_iter_num_destroy`;

testPairs({ section: "tc" }, [
  {
    rule: "iterators are made in slots",
    code: `…\n${NEW}\n${DESTROY}`,
    accepted: at(-8),
    rejected: at(-12),
    errno: "EINVAL",
    message: "cannot pass in iter at an offset=-12\nexpected uninitialized iter_num as arg #0",
  },
  {
    rule: "iterators are made where none is",
    code: `${at(-8)}\n${NEW}\n…\n${DESTROY}`,
    accepted: "",
    rejected: `${at(-8)}\n${NEW}`,
    errno: "EINVAL",
    message: "expected uninitialized iter_num as arg #0",
  },
  {
    rule: "iterators are advanced in their slots",
    code: `${at(-8)}\n${NEW}\n…\n${NEXT}\n${DESTROY}`,
    accepted: at(-8),
    rejected: at(-12),
    errno: "EINVAL",
    message: "cannot pass in iter at an offset=-12\nexpected an initialized iter_num as arg #0",
  },
  // Differs from Linux, which takes it for the iterator below.
  {
    rule: "there is no iterator at the frame pointer",
    code: `${at(-8)}\n${NEW}\n…\n${NEXT}\n${DESTROY}`,
    accepted: at(-8),
    rejected: at(0),
    errno: "EINVAL",
    message: "expected an initialized iter_num as arg #0",
  },
]);
