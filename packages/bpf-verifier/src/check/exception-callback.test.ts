/** Functions that run when a program throws. */
import { testPairs } from "../../test/judge.ts";

const CONTEXT = "struct __sk_buff { u32 len; };";
const MAIN = "global int main(struct __sk_buff *skb) __thrown(cb);";
const CALLBACK = `${CONTEXT} global int cb(u64 cookie); ${MAIN}`;
const THROWS = "r1 = 64\ncall @bpf_throw\nr0 = 0\nexit";
const ZERO = "r0 = 0\nexit";
const ONE = "cb: r0 = 1\nexit";

// Programs on packets of a control group return 0 or 1.
testPairs({ section: "cgroup_skb/ingress", types: CALLBACK }, [
  {
    rule: "a number that is thrown may be anything where a function makes the result of it",
    accepted: `${THROWS}\n${ONE}`,
    rejected: { code: THROWS, types: `${CONTEXT} global int main(struct __sk_buff *skb);` },
    errno: "EINVAL",
    message: "At program exit the register R1 has smin=64 smax=64 should have been in [0, 1]",
  },
  {
    rule: "what that function returns is the result of the program",
    code: `${THROWS}\ncb: …\nexit`,
    accepted: "r0 = 0",
    rejected: "r0 = r1",
    errno: "EINVAL",
    message: "At program exit the register R0 has unknown scalar value should have been in [0, 1]",
  },
  {
    rule: "the function is looked at though the program never throws",
    code: `${ZERO}\ncb: …\nexit`,
    accepted: "r0 = 1",
    rejected: "r0 = r2",
    errno: "EACCES",
    message: "R2 !read_ok",
  },
  ...["int cb(void)", "int cb(u64 a, u64 b)", "int cb(struct __sk_buff *skb)"].map((declaration) => ({
    rule: `it takes a number, unlike ${declaration}`,
    code: `${THROWS}\n${ONE}`,
    accepted: {},
    rejected: { types: `${CONTEXT} global ${declaration}; ${MAIN}` },
    errno: "EINVAL",
    message: "exception cb only supports single integer argument",
  })),
  {
    rule: "it returns a number",
    code: `${THROWS}\n${ONE}`,
    accepted: {},
    rejected: { types: `${CONTEXT} global void cb(u64 a); ${MAIN}` },
    errno: "EINVAL",
    message: "Global function cb() doesn't return scalar. Only those are supported.",
  },
  {
    rule: "it does not throw",
    code: `${THROWS}\ncb: …`,
    accepted: ZERO,
    rejected: THROWS,
    errno: "EINVAL",
    message: "bpf_throw kfunc (insn 5) cannot be called from callback subprog 1",
  },
  {
    rule: "it is not called",
    code: `r1 = 64\n…\nr0 = 0\nexit\n${ONE}`,
    accepted: "r0 = 0",
    rejected: "call cb",
    errno: "EINVAL",
    message: "insn 1 cannot call exception cb directly",
  },
  {
    rule: "functions that it calls do not tail call",
    types: `${CALLBACK} int last(u64 a);`,
    code: `${THROWS}\ncb: r1 = 0\ncall last\n${ZERO}\nlast: …\n${ZERO}`,
    accepted: "",
    rejected: "if r1 == 0x0 goto pc+1\ncall bpf_tail_call",
    errno: "EINVAL",
    message: "cannot tail call within exception cb",
  },
  {
    rule: "it is global",
    code: `${THROWS}\n${ONE}`,
    accepted: {},
    rejected: { types: `${CONTEXT} int cb(u64 cookie); ${MAIN}` },
    errno: "EINVAL",
    message: "exception callback 'cb' must have global linkage",
  },
  {
    rule: "it is declared",
    accepted: `${THROWS}\n${ONE}`,
    rejected: { code: THROWS, types: `${CONTEXT} ${MAIN}` },
    errno: "ENOENT",
    message: "exception callback 'cb' could not be found in BTF",
  },
  {
    rule: "it is there",
    accepted: `${THROWS}\n${ONE}`,
    rejected: THROWS,
    errno: "EINVAL",
    message: "exception callback type id not found in func_info",
  },
  {
    rule: "there is one",
    code: `${THROWS}\n${ONE}`,
    accepted: {},
    rejected: { types: CALLBACK.replace("__thrown(cb)", "__thrown(cb) __thrown(cb)") },
    errno: "EEXIST",
    message: "multiple exception callback tags for main subprog",
  },
  {
    rule: "it is not the program itself",
    accepted: `${THROWS}\n${ONE}`,
    rejected: { code: THROWS, types: `${CONTEXT} global int main(u64 a) __thrown(main);` },
    errno: "EINVAL",
    message: "invalid exception callback insn_off in func_info: 0",
  },
  {
    rule: "it begins inside the program",
    code: `${THROWS}\n${ONE}`,
    accepted: {},
    rejected: {
      records: [
        [0, "main"],
        [6, "cb"],
      ],
    },
    errno: "EINVAL",
    message: "call to invalid destination",
  },
]);
