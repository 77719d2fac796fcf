/**
 * The helpers of Linux that this kernel lacks: of each, what is missing and what a program can do instead. A load of a program
 * that reaches a call of one is refused with these words in the log.
 *
 * A block is a reason, then the helpers that it holds for, each with what it would do.
 */
import type { HelperName } from "./ids.ts";

const NOTES = `
packets do not pass through programs here, as there are no network hooks; trace the system calls that send and receive
  skb_store_bytes: writes into a packet
  skb_load_bytes: reads from a packet
  skb_load_bytes_relative: reads from a header of a packet
  l3_csum_replace: mends a packet's IP checksum
  l4_csum_replace: mends a packet's TCP or UDP checksum
  csum_diff: sums what a change does to a packet's checksum
  csum_update: adds to a packet's checksum
  csum_level: changes how deep a packet's checksum is known
  clone_redirect: sends a copy of a packet
  redirect: sends a packet to a device
  redirect_map: sends a packet to what a map holds
  redirect_neigh: sends a packet to a neighbour
  redirect_peer: sends a packet into a device's peer
  skb_vlan_push: adds a VLAN tag
  skb_vlan_pop: takes a VLAN tag off
  skb_get_tunnel_key: reads a tunnel's metadata
  skb_set_tunnel_key: sets a tunnel's metadata
  skb_get_tunnel_opt: reads a tunnel's options
  skb_set_tunnel_opt: sets a tunnel's options
  skb_change_proto: changes a packet's IP version
  skb_change_type: changes whom a packet is for
  skb_change_tail: changes a packet's length
  skb_change_head: makes room before a packet
  skb_adjust_room: makes room within a packet
  skb_pull_data: makes a packet's bytes readable
  skb_get_xfrm_state: reads a packet's IPsec state
  skb_ecn_set_ce: marks a packet as congested
  skb_set_tstamp: sets a packet's time
  skb_output: writes a packet to a perf event
  set_hash: sets a packet's hash
  set_hash_invalid: forgets a packet's hash
  get_hash_recalc: tells a packet's hash
  get_route_realm: tells a packet's routing realm
  fib_lookup: looks up a route
  check_mtu: compares a packet's length with a device's limit
  xdp_adjust_head: moves a frame's beginning
  xdp_adjust_meta: makes room for a frame's metadata
  xdp_adjust_tail: moves a frame's end
  xdp_output: writes a frame to a perf event
  xdp_get_buff_len: tells a frame's length
  xdp_load_bytes: reads from a frame
  xdp_store_bytes: writes into a frame
  lwt_push_encap: wraps a packet
  lwt_seg6_store_bytes: writes into a segment routing header
  lwt_seg6_adjust_srh: resizes a segment routing header
  lwt_seg6_action: acts on a segment routing header
  msg_redirect_map: sends a message to a socket of a map
  msg_redirect_hash: sends a message to a socket of a hash
  msg_apply_bytes: says how many bytes a verdict holds for
  msg_cork_bytes: waits for more bytes of a message
  msg_pull_data: makes a message's bytes readable
  msg_push_data: makes room within a message
  msg_pop_data: takes bytes out of a message
  load_hdr_opt: reads a TCP option
  store_hdr_opt: writes a TCP option
  reserve_hdr_opt: makes room for a TCP option
  tcp_check_syncookie: checks a SYN cookie
  tcp_gen_syncookie: makes a SYN cookie
  tcp_raw_gen_syncookie_ipv4: makes a SYN cookie from headers
  tcp_raw_gen_syncookie_ipv6: makes a SYN cookie from headers
  tcp_raw_check_syncookie_ipv4: checks a SYN cookie from headers
  tcp_raw_check_syncookie_ipv6: checks a SYN cookie from headers
  tcp_send_ack: sends an acknowledgement
sockets of the internet families do not exist here; trace the system calls on sockets
  get_socket_cookie: tells a socket's cookie
  get_socket_uid: tells a socket's owner
  get_netns_cookie: tells a network namespace's cookie
  setsockopt: sets a socket's option
  getsockopt: reads a socket's option
  bind: binds a socket before it connects
  sock_ops_cb_flags_set: chooses what a socket's program is told
  sock_map_update: puts a socket into a map
  sock_hash_update: puts a socket into a hash
  sk_redirect_map: sends a packet to a socket of a map
  sk_redirect_hash: sends a packet to a socket of a hash
  sk_select_reuseport: chooses a socket of a group
  sk_lookup_tcp: finds a TCP socket
  sk_lookup_udp: finds a UDP socket
  skc_lookup_tcp: finds a TCP socket that may be a request
  sk_release: lets go of a socket that was found
  sk_fullsock: tells a socket's whole structure
  sk_assign: chooses the socket that gets a packet
  sk_storage_get: finds a socket's storage
  sk_storage_delete: deletes a socket's storage
  tcp_sock: tells a socket's TCP state
  get_listener_sock: tells a socket's listener
  skc_to_tcp6_sock: casts a socket to TCP over IPv6
  skc_to_tcp_sock: casts a socket to TCP
  skc_to_tcp_timewait_sock: casts a socket to one that waits for its end
  skc_to_tcp_request_sock: casts a socket to a request
  skc_to_udp6_sock: casts a socket to UDP over IPv6
  skc_to_unix_sock: casts a socket to a local one
  skc_to_mptcp_sock: casts a socket to multipath TCP
  sock_from_file: finds a file's socket
control groups have no programs and no ids here; filter by pid or by comm
  get_cgroup_classid: tells the current task's network class
  skb_cgroup_classid: tells a packet's network class
  skb_under_cgroup: compares a packet's control group
  skb_cgroup_id: tells a packet's control group
  skb_ancestor_cgroup_id: tells an ancestor of a packet's control group
  sk_cgroup_id: tells a socket's control group
  sk_ancestor_cgroup_id: tells an ancestor of a socket's control group
  current_task_under_cgroup: compares the current task's control group
  get_current_cgroup_id: tells the current task's control group
  get_current_ancestor_cgroup_id: tells an ancestor of the current task's control group
  get_local_storage: finds a control group's storage
  cgrp_storage_get: finds a control group's storage
  cgrp_storage_delete: deletes a control group's storage
  sysctl_get_name: tells the parameter that is accessed
  sysctl_get_current_value: tells the parameter's value
  sysctl_get_new_value: tells what is written to the parameter
  sysctl_set_new_value: changes what is written to the parameter
  get_retval: tells what the system call will return
  set_retval: changes what the system call will return
there are no ring buffer maps; write records with perf_event_output
  ringbuf_output: copies a record into a ring buffer
  ringbuf_reserve: makes room for a record
  ringbuf_submit: hands a record to the reader
  ringbuf_discard: drops a record
  ringbuf_query: tells how full a ring buffer is
  ringbuf_reserve_dynptr: makes room for a record of any size
  ringbuf_submit_dynptr: hands such a record to the reader
  ringbuf_discard_dynptr: drops such a record
  user_ringbuf_drain: reads what a user wrote
dynptrs have no memory form here yet; use memory of a size that is known
  dynptr_from_mem: makes one of a map's value
  dynptr_read: reads from one
  dynptr_write: writes to one
  dynptr_data: tells a slice's address
stacks of calls are not walked for programs; read /proc/<pid>/stack, or the frame pointer in the context
  get_stackid: keeps the stack under a number
  get_stack: copies the stack
  get_task_stack: copies a task's stack
there is no storage at the kernel's objects, and few of their pointers are given out; read fields with probe_read_kernel
  task_pt_regs: tells a task's registers
  task_storage_get: finds a task's storage
  task_storage_delete: deletes a task's storage
  inode_storage_get: finds an inode's storage
  inode_storage_delete: deletes an inode's storage
  per_cpu_ptr: tells a CPU's copy of a variable
  this_cpu_ptr: tells this CPU's copy of a variable
  snprintf_btf: prints a structure
  seq_printf_btf: prints a structure to a file
  btf_find_by_name_kind: finds a type
  d_path: tells a file's path
  find_vma: finds a mapping of a task
  copy_from_user_task: reads a task's memory
  kptr_xchg: exchanges a pointer in a map's value
programs that have these are started through BTF (iterators, fentry, LSM, system calls), which there is none of; use kprobes
  seq_printf: prints to an iterator's file
  seq_write: writes to an iterator's file
  get_func_arg: tells an argument of the function that is traced
  get_func_ret: tells the result of the function that is traced
  get_func_arg_cnt: tells how many arguments it has
  bprm_opts_set: sets options of an exec
  ima_inode_hash: tells an inode's measured hash
  ima_file_hash: tells a file's measured hash
  sys_bpf: calls bpf(2)
  sys_close: closes a file
  kallsyms_lookup_name: finds a symbol's address
  copy_from_user: reads user memory that may have to be brought in; probe_read_user reads what is there
map values have no typed fields here yet; each program runs undisturbed on its CPU, so that a plain store needs no lock
  spin_lock: takes a lock in a map's value
  spin_unlock: lets go of it
  timer_init: makes a timer in a map's value
  timer_set_callback: chooses what a timer calls
  timer_start: starts a timer
  timer_cancel: stops a timer
there are no program array maps; call a function of the same program
  tail_call: goes on in another program
perf events here count nothing that a program may ask for; keep counts in a map
  perf_event_read: reads a counter
  perf_event_read_value: reads a counter with its times
  perf_prog_read_value: reads the counter that fired
  read_branch_records: reads the branches before a sample
  get_branch_snapshot: reads the last branches
probed functions run as they are; watch, and act from user space
  override_return: makes a function return at once
  probe_write_user: writes into a task's memory
  send_signal: sends a signal to the current task
  send_signal_thread: sends a signal to the current thread
  rc_repeat: tells of an infrared key that is held
  rc_keydown: tells of an infrared key
  rc_pointer_rel: tells of an infrared pointer
a hit is not told which probe it is of; load one program for each probe
  get_func_ip: tells the address of the probed function
  get_attach_cookie: tells the number given at attachment
namespaces are not told apart here, of which there is one of each kind; get_current_pid_tgid tells the same numbers
  get_ns_current_pid_tgid: tells pids of a namespace, of which there is one
text is not parsed or made by programs here, but for trace_printk; do it in user space, from the bytes
  strtol: parses a number
  strtoul: parses a number without a sign
  snprintf: prints into memory
  trace_vprintk: prints more than three values to the trace pipe
this clock is not kept for programs; ktime_get_ns tells the time
  jiffies64: counts ticks
  ktime_get_coarse_ns: tells the time of the last tick
  ktime_get_tai_ns: tells atomic time
`;

/** By name: what is missing, and what to do instead. */
export const absentHelpers: Readonly<Partial<Record<HelperName, string>>> = parse(NOTES);

function parse(notes: string): Partial<Record<HelperName, string>> {
  const found: Partial<Record<string, string>> = {};
  let reason = "";
  for (const line of notes.trim().split("\n")) {
    const [, name, use] = /^ {2}(\w+): (.*)$/.exec(line) ?? [];
    if (name === undefined) reason = line;
    else found[name] = `not implemented (it ${use}): ${reason}`;
  }
  return found;
}
