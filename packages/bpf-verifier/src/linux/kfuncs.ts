/**
 * The kernel functions that programs of Linux 6.18 may call, a row each: name, flags. Rows stand below the programs that may.
 *
 * Prototypes are not here: they come from the kernel's BTF, whose parameter names say more (`__sz`, `__nullable`, …; see
 * `call/kfunc/parameters.ts`). Linux: the `BTF_ID_FLAGS` sets and bpf_prog_type_to_kfunc_hook() in kernel/bpf/btf.c.
 */
import type { KfuncFlag, KfuncRules, ProgramRules } from "../env.ts";

const XDP = 6;
const TRACING: readonly number[] = [5, 7, 26, 29];
const CGROUP: readonly number[] = [8, 9, 13, 15, 18, 23, 25];
const SYSCALL = 31;
const STRUCT_OPS = 27;
const LSM = 29;
const KPROBE = 2;
const NETFILTER = 32;
const SK_SKB = 14;
const CLASSIFIER = 3;
const ACTION = 4;
const LWT: readonly number[] = [10, 11, 12, 19];
const ITERATOR_ATTACH = 28;
const KPROBE_SESSION = 56;

type Allows = (program: ProgramRules) => boolean;
const types =
  (...list: readonly number[]): Allows =>
  ({ type }) =>
    list.includes(type);

const GROUPS: Record<string, Allows> = {
  all: () => true,
  objects: types(CLASSIFIER, XDP, ...TRACING, ...CGROUP, SYSCALL, STRUCT_OPS),
  masks: types(...TRACING, SYSCALL, STRUCT_OPS),
  syscall: types(SYSCALL),
  crypto: types(CLASSIFIER, ACTION, XDP),
  conntrack: types(CLASSIFIER, XDP),
  packets: types(1, CLASSIFIER, ACTION, SK_SKB, NETFILTER, ...LWT, ...TRACING, ...CGROUP),
  classifiers: types(CLASSIFIER, ACTION),
  classifier: types(CLASSIFIER),
  xdp: types(XDP),
  lsm: types(LSM),
  cgroup: types(...CGROUP),
  tracing: types(...TRACING),
  tests: types(CLASSIFIER, ...TRACING, SYSCALL),
  iterators: ({ type, attachType }) => type === 26 && attachType === ITERATOR_ATTACH,
  sessions: ({ type, attachType }) => type === KPROBE && attachType === KPROBE_SESSION,
  congestion: types(STRUCT_OPS),
};

const ROWS = `
[all]
__bpf_trap
bpf_arena_alloc_pages trusted_args sleepable arena_ret
bpf_arena_free_pages trusted_args sleepable
bpf_arena_reserve_pages trusted_args sleepable
bpf_cast_to_kern_ctx fastcall
bpf_rdonly_cast fastcall
bpf_cgroup_read_xattr rcu
bpf_copy_from_user_dynptr sleepable
bpf_copy_from_user_str sleepable
bpf_copy_from_user_str_dynptr sleepable
bpf_copy_from_user_task_dynptr sleepable trusted_args
bpf_copy_from_user_task_str sleepable
bpf_copy_from_user_task_str_dynptr sleepable trusted_args
bpf_dynptr_adjust
bpf_dynptr_clone
bpf_dynptr_copy
bpf_dynptr_is_null
bpf_dynptr_is_rdonly
bpf_dynptr_memset
bpf_dynptr_size
bpf_dynptr_slice ret_null
bpf_dynptr_slice_rdwr ret_null
bpf_get_kmem_cache
bpf_iter_bits_new iter_new
bpf_iter_bits_next iter_next ret_null
bpf_iter_bits_destroy iter_destroy
bpf_iter_css_new iter_new trusted_args rcu_protected
bpf_iter_css_next iter_next ret_null
bpf_iter_css_destroy iter_destroy
bpf_iter_css_task_new iter_new trusted_args
bpf_iter_css_task_next iter_next ret_null
bpf_iter_css_task_destroy iter_destroy
bpf_iter_dmabuf_new iter_new sleepable
bpf_iter_dmabuf_next iter_next ret_null sleepable
bpf_iter_dmabuf_destroy iter_destroy sleepable
bpf_iter_kmem_cache_new iter_new sleepable
bpf_iter_kmem_cache_next iter_next ret_null sleepable
bpf_iter_kmem_cache_destroy iter_destroy sleepable
bpf_iter_num_new iter_new
bpf_iter_num_next iter_next ret_null
bpf_iter_num_destroy iter_destroy
bpf_iter_task_new iter_new trusted_args rcu_protected
bpf_iter_task_next iter_next ret_null
bpf_iter_task_destroy iter_destroy
bpf_iter_task_vma_new iter_new rcu
bpf_iter_task_vma_next iter_next ret_null
bpf_iter_task_vma_destroy iter_destroy
bpf_local_irq_save
bpf_local_irq_restore
bpf_map_sum_elem_count trusted_args
bpf_modify_return_test_tp
bpf_preempt_disable
bpf_preempt_enable
bpf_probe_read_kernel_dynptr
bpf_probe_read_kernel_str_dynptr
bpf_probe_read_user_dynptr
bpf_probe_read_user_str_dynptr
bpf_rcu_read_lock
bpf_rcu_read_unlock
bpf_res_spin_lock ret_null
bpf_res_spin_lock_irqsave ret_null
bpf_res_spin_unlock
bpf_res_spin_unlock_irqrestore
bpf_strcasecmp
bpf_strchr
bpf_strchrnul
bpf_strcmp
bpf_strcspn
bpf_stream_vprintk_impl trusted_args
bpf_strlen
bpf_strnchr
bpf_strnlen
bpf_strnstr
bpf_strrchr
bpf_strspn
bpf_strstr
bpf_task_work_schedule_resume_impl trusted_args
bpf_task_work_schedule_signal_impl trusted_args
bpf_wq_init
bpf_wq_set_callback_impl
bpf_wq_start
bpf_xdp_metadata_rx_hash trusted_args device_bound
bpf_xdp_metadata_rx_timestamp trusted_args device_bound
bpf_xdp_metadata_rx_vlan_tag trusted_args device_bound
[objects]
bpf_obj_new_impl acquire ret_null
bpf_obj_drop_impl release
bpf_percpu_obj_new_impl acquire ret_null
bpf_percpu_obj_drop_impl release
bpf_refcount_acquire_impl acquire ret_null rcu
bpf_list_push_front_impl
bpf_list_push_back_impl
bpf_list_pop_front acquire ret_null
bpf_list_pop_back acquire ret_null
bpf_list_front ret_null
bpf_list_back ret_null
bpf_rbtree_add_impl
bpf_rbtree_remove acquire ret_null
bpf_rbtree_first ret_null
bpf_rbtree_root ret_null
bpf_rbtree_left ret_null
bpf_rbtree_right ret_null
bpf_task_acquire acquire rcu ret_null
bpf_task_release release
bpf_task_from_pid acquire ret_null
bpf_task_from_vpid acquire ret_null
bpf_task_get_cgroup1 acquire rcu ret_null
bpf_task_under_cgroup rcu
bpf_cgroup_acquire acquire rcu ret_null
bpf_cgroup_ancestor acquire rcu ret_null
bpf_cgroup_from_id acquire ret_null
bpf_cgroup_release release
bpf_send_signal_task trusted_args
bpf_lookup_user_key acquire ret_null sleepable
bpf_lookup_system_key acquire ret_null
bpf_key_put release
bpf_verify_pkcs7_signature sleepable
bpf_throw
crash_kexec destructive
[masks]
bpf_cpumask_create acquire ret_null
bpf_cpumask_acquire acquire trusted_args
bpf_cpumask_release release
bpf_cpumask_first rcu
bpf_cpumask_first_zero rcu
bpf_cpumask_first_and rcu
bpf_cpumask_set_cpu rcu
bpf_cpumask_clear_cpu rcu
bpf_cpumask_test_cpu rcu
bpf_cpumask_test_and_set_cpu rcu
bpf_cpumask_test_and_clear_cpu rcu
bpf_cpumask_setall rcu
bpf_cpumask_clear rcu
bpf_cpumask_and rcu
bpf_cpumask_or rcu
bpf_cpumask_xor rcu
bpf_cpumask_equal rcu
bpf_cpumask_intersects rcu
bpf_cpumask_subset rcu
bpf_cpumask_empty rcu
bpf_cpumask_full rcu
bpf_cpumask_copy rcu
bpf_cpumask_any_distribute rcu
bpf_cpumask_any_and_distribute rcu
bpf_cpumask_weight rcu
bpf_cpumask_populate rcu
[syscall]
bpf_crypto_ctx_create acquire ret_null sleepable
bpf_crypto_ctx_release release
bpf_crypto_ctx_acquire acquire rcu ret_null
[crypto]
bpf_crypto_decrypt rcu
bpf_crypto_encrypt rcu
[conntrack]
bpf_xdp_ct_alloc acquire ret_null
bpf_xdp_ct_lookup acquire ret_null
bpf_skb_ct_alloc acquire ret_null
bpf_skb_ct_lookup acquire ret_null
bpf_ct_insert_entry acquire ret_null release
bpf_ct_release release
bpf_ct_set_timeout trusted_args
bpf_ct_change_timeout trusted_args
bpf_ct_set_status trusted_args
bpf_ct_change_status trusted_args
bpf_ct_set_nat_info trusted_args
[packets]
bpf_dynptr_from_skb trusted_args
[classifiers]
bpf_dynptr_from_skb_meta trusted_args
[classifier]
bpf_sk_assign_tcp_reqsk trusted_args
[xdp]
bpf_dynptr_from_xdp
bpf_xdp_pull_data
bpf_xdp_get_xfrm_state acquire ret_null
bpf_xdp_xfrm_state_release release
[lsm]
bpf_get_task_exe_file acquire trusted_args ret_null
bpf_put_file release
bpf_path_d_path trusted_args
bpf_get_dentry_xattr sleepable trusted_args
bpf_get_file_xattr sleepable trusted_args
bpf_set_dentry_xattr sleepable trusted_args
bpf_remove_dentry_xattr sleepable trusted_args
[cgroup]
bpf_sock_addr_set_sun_path
bpf_sock_ops_enable_tx_tstamp trusted_args
[tracing]
css_rstat_updated
css_rstat_flush sleepable
[tests]
bpf_kfunc_call_memb_release release
bpf_kfunc_call_test_release release
[iterators]
bpf_sock_destroy trusted_args
[sessions]
bpf_session_cookie
bpf_session_is_return
[congestion]
bbr_cwnd_event
bbr_init
bbr_main
bbr_min_tso_segs
bbr_set_state
bbr_sndbuf_expand
bbr_ssthresh
bbr_undo_cwnd
cubictcp_acked
cubictcp_cong_avoid
cubictcp_cwnd_event
cubictcp_init
cubictcp_recalc_ssthresh
cubictcp_state
tcp_cong_avoid_ai
tcp_reno_cong_avoid
tcp_reno_ssthresh
tcp_reno_undo_cwnd
tcp_slow_start
`;

function makeTable(): Map<string, KfuncRules> {
  const table = new Map<string, KfuncRules>();
  let allows: Allows = () => false;
  for (const line of ROWS.trim().split("\n")) {
    const [name = "", ...flags] = line.split(" ");
    if (name.startsWith("[")) allows = GROUPS[name.slice(1, -1)]!;
    else table.set(name, { flags: new Set(flags as KfuncFlag[]), allows });
  }
  return table;
}

/** Made when a program is first verified: a boot does not wait for it. */
let table: ReadonlyMap<string, KfuncRules> | undefined;

/** Flags of the kernel function and which programs may call it; undefined for functions that none may. */
export const linuxKfunc = (name: string): KfuncRules | undefined => (table ??= makeTable()).get(name);
