/** Functions of the kernel that are special to programs that run before and after them. Linux: kernel/bpf/verifier.c. */

/** None may be attached here: what they need for themselves runs there. Linux: btf_id_deny */
const DENIED: readonly string[] = [
  "migrate_disable",
  "migrate_enable",
  "___migrate_enable",
  "rcu_read_unlock_strict",
  "preempt_count_add",
  "preempt_count_sub",
  "__rcu_read_lock",
  "__rcu_read_unlock",
];
/** Linux: noreturn_deny */
const NO_RETURN: readonly string[] = [
  "__ia32_sys_exit",
  "__ia32_sys_exit_group",
  "__kunit_abort",
  "kunit_try_catch_throw",
  "__module_put_and_kthread_exit",
  "__x64_sys_exit",
  "__x64_sys_exit_group",
  "do_exit",
  "do_group_exit",
  "kthread_complete_and_exit",
  "kthread_exit",
  "make_task_dead",
];

/** Linux: the functions registered by register_btf_fmodret_id_set() */
const SLEEPABLE: readonly string[] = ["bpf_fentry_test1"];
const MODIFIABLE: readonly string[] = [
  "bpf_modify_return_test",
  "bpf_modify_return_test2",
  "bpf_modify_return_test_tp",
  ...SLEEPABLE,
];
const SYSTEM_CALL = /^__(x64|arm64|riscv|ia32)_(compat_)?sys_/;

export const isDenied = (name: string): boolean => DENIED.includes(name);
export const isNoReturn = (name: string): boolean => NO_RETURN.includes(name);

/** Errors may be injected into system calls. Linux: ALLOW_ERROR_INJECTION in SYSCALL_DEFINEx() */
export const isSystemCall = (name: string): boolean => SYSTEM_CALL.test(name);

export const hasSleepingPrograms = (name: string): boolean => SLEEPABLE.includes(name);

/** Programs may change what the function returns, beside those where errors may be injected. Linux: check_attach_modify_return() */
export const isModifiable = (name: string): boolean =>
  name.startsWith("security_") || MODIFIABLE.includes(name);
