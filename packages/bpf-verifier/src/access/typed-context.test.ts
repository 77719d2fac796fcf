/** Contexts of programs that are attached to functions: what they find of the arguments, and of the result. */
import { testPairs } from "../../test/judge.ts";

testPairs({ section: "tp_btf", to: "task_newtask" }, [
  {
    rule: "a tracepoint has the arguments that it is declared with",
    accepted: "r0 = *(u64 *)(r1 +0)",
    rejected: "r0 = *(u64 *)(r1 +16)",
    message: "func 'task_newtask' doesn't have 3-th argument\ninvalid bpf_context access off=16 size=8",
    errno: "EACCES",
  },
  {
    rule: "arguments are words",
    accepted: "r0 = *(u64 *)(r1 +0)",
    rejected: "r0 = *(u32 *)(r1 +4)",
    message: "func 'task_newtask' offset 4 is not multiple of 8\ninvalid bpf_context access off=4 size=4",
    errno: "EACCES",
  },
  {
    rule: "pointers are read whole",
    accepted: "r0 = *(u64 *)(r1 +0)",
    rejected: "r0 = *(u32 *)(r1 +0)",
    message: "func 'task_newtask' size 4 must be 8\ninvalid bpf_context access off=0 size=4",
    errno: "EACCES",
  },
]);

const KERNEL = `
  struct nothing { };
  int security_file_open(struct file *file);
  struct file *security_get_initial_sid_context(u32 sid);
  int security_show(struct file *file);
  int _printk(char *format, void);
  void io_poll_task_func(struct file *request, struct nothing state);
`;
testPairs({ section: "fentry", kernel: KERNEL }, [
  {
    rule: "a result that may be changed is a number",
    section: "fmod_ret",
    code: "r0 = *(u64 *)(r1 +8)",
    accepted: { to: "security_file_open" },
    rejected: { to: "security_get_initial_sid_context" },
    message: "ret type PTR not allowed for fmod_ret\ninvalid bpf_context access off=8 size=8",
    errno: "EACCES",
  },
  {
    rule: "arguments whose number is not known are not passed on",
    code: "",
    accepted: { to: "security_file_open" },
    rejected: { to: "_printk" },
    message: "The function _printk with variable args is unsupported.",
    errno: "EINVAL",
  },
  {
    rule: "arguments have a size",
    code: "",
    accepted: { to: "security_file_open" },
    rejected: { to: "io_poll_task_func" },
    message: "The function io_poll_task_func has malformed void argument.",
    errno: "EINVAL",
  },
]);

const PATH = `
r1 = *(u64 *)(r1 +0)
r2 = r10
r2 += -8
r3 = 8
call bpf_d_path#147`;

testPairs(
  {
    section: "fentry",
    kernel:
      "struct path { u64 mnt; u64 dentry; }; int vfs_getattr(struct path *path); int vfs_open(struct path *path);",
  },
  [
    {
      rule: "names of files are asked for where no lock is held that they need",
      code: PATH,
      accepted: { to: "vfs_getattr" },
      rejected: { to: "vfs_open" },
      message: "helper call is not allowed in probe",
      errno: "EINVAL",
    },
  ],
);
