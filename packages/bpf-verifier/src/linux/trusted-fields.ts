/**
 * Members of kernel structures that are pointers as safe as what holds them, and arguments of tracepoints that may be NULL.
 * Linux: the BTF_TYPE_SAFE_* lists in kernel/bpf/verifier.c, raw_tp_null_args[] in kernel/bpf/btf.c.
 */

/** How far a member can be trusted: always, or inside an RCU section; and whether it may be NULL. */
export type FieldTrust = "trusted" | "trusted_or_null" | "rcu" | "rcu_or_null";

const FIELDS: Record<FieldTrust, readonly string[]> = {
  trusted: [
    "bpf_iter_meta.seq",
    "bpf_iter__task.meta",
    "bpf_iter__task.task",
    "linux_binprm.file",
    "file.f_inode",
  ],
  trusted_or_null: ["dentry.d_inode", "socket.sk"],
  rcu: [
    "task_struct.cpus_ptr",
    "task_struct.cgroups",
    "task_struct.real_parent",
    "task_struct.group_leader",
    "cgroup.kn",
    "css_set.dfl_cgrp",
    "cgroup_subsys_state.cgroup",
  ],
  rcu_or_null: ["mm_struct.exe_file", "sk_buff.sk", "request_sock.sk"],
};

export const hasTrust = (trust: FieldTrust, structure: string, field: string): boolean =>
  FIELDS[trust].includes(`${structure}.${field}`);

/** Structures whose referenced pointers may be read inside an RCU section. Linux: rcu_protected_types */
export const RCU_PROTECTED: readonly string[] = [
  "prog_test_ref_kfunc",
  "cgroup",
  "bpf_cpumask",
  "task_struct",
  "bpf_crypto_ctx",
];

/** Structures that maps give back to the kernel when a value ends. Linux: the callers of register_btf_id_dtor_kfuncs() */
export const DESTRUCTIBLE: readonly string[] = [
  "bpf_cpumask",
  "bpf_crypto_ctx",
  "cgroup",
  "prog_test_member",
  "prog_test_ref_kfunc",
  "task_struct",
];

/** By tracepoint: per argument, from the lowest hexadecimal digit, 1 where it may be NULL, 2 where it may be an error. */
const NULLABLE = `
sched_pi_setprio=10 sched_stick_numa=100 sched_swap_numa=100 afs_make_fs_call=10 afs_make_fs_calli=10 afs_make_fs_call1=10
afs_make_fs_call2=10 afs_protocol_error=1 afs_flock_ev=10 cachefiles_lookup=201 cachefiles_unlink=1 cachefiles_rename=1
cachefiles_prep_read=1 cachefiles_mark_active=1 cachefiles_mark_failed=1 cachefiles_mark_inactive=1 cachefiles_vfs_error=1
cachefiles_io_error=1 cachefiles_ondemand_open=1 cachefiles_ondemand_copen=1 cachefiles_ondemand_close=1
cachefiles_ondemand_read=1 cachefiles_ondemand_cread=1 cachefiles_ondemand_fd_write=1 cachefiles_ondemand_fd_release=1
ext4_mballoc_discard=10 ext4_mballoc_free=10 fib_table_lookup=100 posix_lock_inode=10 fcntl_setlk=10 locks_remove_posix=10
flock_lock_inode=10 break_lease_noblock=10 break_lease_block=10 break_lease_unblock=10 generic_delete_lease=10
time_out_leases=10 host1x_cdma_push_gather=10000 mm_khugepaged_scan_pmd=10 mm_collapse_huge_page_isolate=1
mm_khugepaged_scan_file=10 mm_khugepaged_collapse_file=10 mm_page_alloc=1 mm_page_pcpu_drain=1 mm_page_alloc_zone_locked=1
netfs_failure=10 device_pm_callback_start=10 qdisc_dequeue=1000 rxrpc_recvdata=1 rxrpc_resend=10 rxrpc_tq=10 rxrpc_client=1
kfree_skb=1000 xs_stream_read_data=1 xprt_reserve_cong=10 xprt_release_cong=10 xprt_get_cong=10 xprt_put_cong=10
tcp_send_reset=11 tcp_sendmsg_locked=100 tegra_dma_tx_status=100 tmigr_update_events=1 writeback_dirty_folio=10
folio_wait_writeback=10 mr_integ_alloc=2000 amdgpu_vm_bo_map=1 amdgpu_vm_bo_unmap=1 netfs_folioq=1
xfs_defer_create_intent=1 xfs_defer_cancel_list=1 xfs_defer_pending_finish=1 xfs_defer_pending_abort=1
xfs_defer_relog_intent=1 xfs_defer_isolate_paused=1 xfs_defer_item_pause=1 xfs_defer_item_unpause=1 xfs_defer_add_item=1
xfs_defer_cancel_item=1 xfs_defer_finish_item=1 xfs_ioc_free_eofblocks=10 xfs_blockgc_free_space=10 xfs_btree_updkeys=100
xfs_btree_overlapped_query_range=100 xfs_map_blocks_found=10000 xfs_map_blocks_alloc=10000 xfs_iomap_alloc=1000
xfs_iomap_found=1000 xfs_inodegc_flush=1 xfs_inodegc_push=1 xfs_inodegc_start=1 xfs_inodegc_stop=1 xfs_inodegc_queue=1
xfs_inodegc_throttle=1 xfs_fs_sync_fs=1 xfs_blockgc_start=1 xfs_blockgc_stop=1 xfs_blockgc_worker=1 xfs_blockgc_flush_all=1
xchk_nlinks_live_update=10 xchk_metapath_lookup=100 nfsd_dirent=1 nfsd_file_acquire=1001 nfsd_file_insert_err=1
nfsd_file_cons_err=1 nfs4_setup_sequence=1 pnfs_update_layout=10000 nfs4_inode_callback_event=200
nfs4_inode_stateid_callback_event=200 pnfs_mds_fallback_pg_init_read=10000 pnfs_mds_fallback_pg_init_write=10000
pnfs_mds_fallback_pg_get_mirror_count=10000 pnfs_mds_fallback_read_done=10000 pnfs_mds_fallback_write_done=10000
pnfs_mds_fallback_read_pagelist=10000 pnfs_mds_fallback_write_pagelist=10000 coda_dec_pic_run=10 coda_dec_pic_done=10
cfg80211_scan_done=11 rdev_set_coalesce=10 cfg80211_report_wowlan_wakeup=100 cfg80211_inform_bss_frame=100
cfg80211_michael_mic_failure=10000 wiphy_work_queue=10 wiphy_work_run=10 wiphy_work_cancel=10 wiphy_work_flush=10
hugetlbfs_alloc_inode=10 spufs_context=10 kvm_page_fault_enter=100 dpu_crtc_setup_mixer=100 binder_transaction=100
btree_path_free=100 hfi1_sdma_progress=1000 iptfs_ingress_postq_event=1000 neigh_update=10 amdtp_packet=100`;

const nullable = new Map(
  NULLABLE.trim()
    .split(/\s+/)
    .map((entry) => entry.split("=") as [string, string]),
);

/** What argument `index` of a tracepoint may be beside a valid pointer. */
export function tracepointArgument(
  tracepoint: string,
  index: number,
): { readonly isNullable: boolean; readonly isError: boolean } {
  const mask = nullable.get(tracepoint) ?? "";
  const digit = Number.parseInt(mask[mask.length - 1 - index] ?? "0", 16);
  return { isNullable: (digit & 1) !== 0, isError: (digit & 2) !== 0 };
}
