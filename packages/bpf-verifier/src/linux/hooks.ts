/** Security hooks that programs attach to: those that may sleep, that give a truth value, that none may attach to. Linux: kernel/bpf/bpf_lsm.c. */
const PREFIX = "bpf_lsm_";

const names = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

const SLEEPABLE = names(`
bpf bpf_map bpf_map_create bpf_map_free bpf_prog bpf_prog_load bpf_prog_free bpf_token_create bpf_token_free bpf_token_cmd
bpf_token_capable bprm_check_security bprm_committed_creds bprm_committing_creds bprm_creds_for_exec bprm_creds_from_file capget
capset cred_prepare file_ioctl file_lock file_open file_post_open file_receive inode_create inode_free_security inode_getattr
inode_getxattr inode_mknod inode_need_killpriv inode_post_setxattr inode_readlink inode_removexattr inode_rename inode_rmdir
inode_setattr inode_setxattr inode_symlink inode_unlink kernel_module_request kernel_read_file kernfs_init_security path_unlink
path_mkdir path_rmdir path_truncate path_symlink path_link path_rename path_chmod path_chown mmap_file netlink_send path_notify
release_secctx sb_alloc_security sb_eat_lsm_opts sb_kern_mount sb_mount sb_remount sb_set_mnt_opts sb_show_options sb_statfs
sb_umount settime socket_accept socket_bind socket_connect socket_create socket_getpeername socket_getpeersec_dgram
socket_getsockname socket_getsockopt socket_listen socket_post_create socket_recvmsg socket_sendmsg socket_shutdown
socket_socketpair syslog task_alloc current_getsecid_subj task_getsecid_obj task_prctl task_setscheduler task_to_inode
userns_create`);

const DISABLED = names(`
vm_enough_memory inode_need_killpriv inode_getsecurity inode_listsecurity inode_copy_up_xattr getselfattr getprocattr setprocattr
key_getsecurity audit_rule_match xfrm_decode_session ismaclabel`);

const BOOLEAN = names("xfrm_state_pol_flow_match audit_rule_known inode_xattr_skipcap");

/** Objects before or after their time are given to these. */
const UNTRUSTED = names(
  "bpf_map_free bpf_prog_free file_alloc_security file_free_security sk_alloc_security sk_free_security task_free",
);

/** Hooks where the options of a socket may be read and set. */
const SOCKET_OPTIONS = names(
  "sock_graft inet_csk_clone inet_conn_established socket_post_create socket_socketpair",
);

const isIn = (set: ReadonlySet<string>, name: string | undefined): boolean =>
  name?.startsWith(PREFIX) === true && set.has(name.slice(PREFIX.length));

export const isHook = (name: string): boolean => name.startsWith(PREFIX);
export const isSleepableHook = (name: string | undefined): boolean => isIn(SLEEPABLE, name);
export const isDisabledHook = (name: string): boolean => isIn(DISABLED, name);
export const isBooleanHook = (name: string): boolean => isIn(BOOLEAN, name);
export const isUntrustedHook = (name: string): boolean => isIn(UNTRUSTED, name);
export const hasSocketOptions = (name: string | undefined): boolean => isIn(SOCKET_OPTIONS, name);
