/** Rules that depend on the program's type, attach type or functions. */
import { expect, test } from "vitest";
import { testPairs } from "../test/judge.ts";
import { linuxProgramType } from "./linux/program-types.ts";

const FORGET = "*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map sockets\ncall bpf_map_delete_elem";
const OPTION =
  "r2 = *(u64 *)(r1 +8)\nr3 = *(u64 *)(r1 +16)\nr4 = r2\nr4 += 1\nif r4 > r3 goto end\n…\nend: r0 = 1\nexit";

testPairs({ section: "socket" }, [
  {
    rule: "sockets are looked up in maps of sockets, but not taken out",
    section: "tc",
    code: "*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map sockets\n…",
    accepted: "call bpf_map_delete_elem",
    rejected: "call bpf_map_pop_elem",
    errno: "EINVAL",
    message: "invalid arg_type for sockmap/sockhash",
  },
  {
    rule: "a lookup of a route writes what it is given",
    section: "tc",
    code: "r2 = r10\nr2 += -64\n…\nr4 = 0\ncall bpf_fib_lookup",
    accepted: "r3 = 64",
    rejected: "r3 = 72",
    errno: "EINVAL",
    message: "invalid write to stack R2 off=-64 size=72",
  },
  {
    rule: "some helpers are for programs under the GPL",
    section: "kprobe",
    license: "MIT",
    accepted: "r1 = 9\ncall bpf_send_signal",
    rejected: "call bpf_get_current_task",
    errno: "EINVAL",
    message: "cannot call GPL-restricted function from non-GPL compatible program",
  },
  {
    rule: "stacks are for them too, but for programs of perf events",
    license: "MIT",
    maps: { stacks: { type: 7, valueSize: 64, maxEntries: 4 } },
    code: "r2 = map stacks\nr3 = 0\ncall bpf_get_stackid",
    accepted: { section: "perf_event" },
    rejected: { section: "kprobe" },
    errno: "EINVAL",
    message: "cannot call GPL-restricted function from non-GPL compatible program",
  },
  {
    rule: "programs of sessions say whether the return is wanted",
    section: "kprobe.session",
    code: "…\nexit",
    accepted: "r0 = 1",
    rejected: "r0 = 2",
    errno: "EINVAL",
    message: "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
  },
  {
    rule: "programs that may run with a socket locked do not change maps of sockets",
    code: FORGET,
    accepted: {},
    rejected: { section: "kprobe" },
    errno: "EINVAL",
    message: "cannot update sockmap in this context\ncannot pass map_type 15 into func bpf_map_delete_elem#3",
  },
  {
    rule: "socket operations only take sockets out of maps of sockets",
    section: "sockops",
    code: `r3 = *(u64 *)(r1 +184)\nif r3 == 0x0 goto out\nr4 = 0\n${FORGET.replace("call bpf_map_delete_elem", "…")}`,
    accepted: "call bpf_map_delete_elem",
    rejected: "call bpf_map_update_elem",
    errno: "EINVAL",
    message: "cannot update sockmap in this context\ncannot pass map_type 15 into func bpf_map_update_elem#2",
  },
  {
    rule: "a program that sees who sent to a unix socket cannot refuse",
    section: "cgroup/recvmsg_unix",
    code: "…\nexit",
    accepted: "r0 = 1",
    rejected: "r0 = 0",
    errno: "EINVAL",
    message: "At program exit the register R0 has smin=0 smax=0 should have been in [1, 1]",
  },
  {
    rule: "addresses of unix sockets have no numbers",
    code: "r2 = *(u32 *)(r1 +4)\nr0 = 1\nexit",
    accepted: { section: "cgroup/connect4" },
    rejected: { section: "cgroup/connect_unix" },
    errno: "EACCES",
    message: "invalid bpf_context access off=4 size=4",
  },
  {
    rule: "programs on redirected packets see the device that they leave by",
    code: "r0 = *(u32 *)(r1 +20)",
    accepted: { section: "xdp/devmap" },
    rejected: { section: "xdp" },
    errno: "EACCES",
    message: "invalid bpf_context access off=20 size=4",
  },
  {
    rule: "programs on socket options write them between their beginning and their end",
    section: "cgroup/getsockopt",
    code: OPTION,
    accepted: "*(u8 *)(r2 +0) = 0",
    rejected: "*(u16 *)(r2 +0) = 0",
    errno: "EACCES",
    message: "R2 offset is outside of the packet",
  },
  {
    rule: "values of an arena are named anywhere in it",
    section: "tc",
    accepted: "r1 = value arena+8192",
    rejected: "r1 = value arena+8193",
    errno: "ERANGE",
    message: "invalid access to map value pointer, value_size=0 off=8193",
  },
  {
    rule: "a signed range that wraps loses the piece that is out of the unsigned range",
    code: "call bpf_get_prandom_u32\n…\nif w0 s> 0x2 goto out\nif w0 s< 0x0 goto out\nr0 = r9",
    accepted: "if w0 < 0x5 goto out",
    rejected: "",
    errno: "EACCES",
    message: "R9 !read_ok",
  },
]);

const takes = (words: number): { readonly types: string } => ({
  types: `struct words { u64 word[${words}]; }; int main(void *ctx); global int f(struct words *p);`,
});
const MAIN = "int main(void *ctx);";
const NUMBER = { types: `${MAIN} int f(void *ctx);` };
const NOTHING = { types: `${MAIN} void f(void *ctx);` };
const PASS = "call f\nexit\nf: r0 = 0\nexit";
const LOADS = "call f\n…\nr0 = 0\nexit\nf: r6 = r1\nr0 = *(u32 *)skb[0]\nr0 = 1\nexit";
const TAIL_CALLS = `r6 = *(u32 *)(r1 +76)
r3 = *(u32 *)(r1 +80)
r4 = r6
r4 += 14
if r4 > r3 goto end
call f
…
end: r0 = 0
exit
f: r2 = map programs
r3 = 0
call bpf_tail_call
r0 = 0
exit`;

testPairs({ section: "socket" }, [
  {
    rule: "functions are passed contexts that the kernel does not translate as memory",
    code: PASS,
    ...takes(21),
    accepted: { section: "syscall" },
    rejected: {},
    errno: "EINVAL",
    message: "R1 type=ctx expected=fp\nCaller passes invalid args into func#1 ('f')",
  },
  {
    rule: "the context has all of the memory that a function takes",
    code: PASS,
    ...takes(22),
    accepted: { section: "syscall" },
    rejected: { section: "kprobe" },
    errno: "EINVAL",
    message: "invalid bpf_context access off=175 size=1\nCaller passes invalid args into func#1 ('f')",
  },
  {
    rule: "a function returns 0 where a packet ends before what it loads",
    code: LOADS,
    ...NUMBER,
    accepted: "if r0 == 0x0 goto pc+0",
    rejected: "if r0 == 0x1 goto pc+1\nr1 = r9",
    errno: "EACCES",
    message: "R9 !read_ok",
  },
  {
    rule: "functions that load from packets return numbers",
    code: LOADS,
    accepted: NUMBER,
    rejected: NOTHING,
    errno: "EINVAL",
    message: "LD_ABS is only allowed in functions that return 'int'.",
  },
  {
    rule: "functions that tail-call return numbers",
    code: TAIL_CALLS.slice(TAIL_CALLS.indexOf("call f")),
    accepted: NUMBER,
    rejected: NOTHING,
    errno: "EINVAL",
    message: "tail_call is only allowed in functions that return 'int'.",
  },
  {
    rule: "packet pointers of a caller end where a function tail-calls",
    section: "tc",
    code: TAIL_CALLS,
    ...NUMBER,
    accepted: "r0 = 1",
    rejected: "r0 = *(u8 *)(r6 +0)",
    errno: "EACCES",
    message: "R6 invalid mem access 'scalar'",
  },
]);

test("iterators over sockets of TCP and unix get and set options", () => {
  const mayCall = (name: string): boolean => linuxProgramType(26, 28, name)!.allowsHelper(57);
  expect(["bpf_iter_tcp", "bpf_iter_unix", "bpf_iter_udp"].map(mayCall)).toEqual([true, true, false]);
});

test("programs on unix sockets set the result where the call can still fail", () => {
  const mayCall = (attachType: number): boolean => linuxProgramType(18, attachType)!.allowsHelper(187);
  expect([49, 50, 51, 52, 53].map(mayCall)).toEqual([true, true, false, false, false]);
});
