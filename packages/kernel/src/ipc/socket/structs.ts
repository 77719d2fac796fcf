/** Sockets in kernel memory (include/linux/net.h, include/net/sock.h, af_unix.h, linux/socket.h), and numbers of the UAPI. */
import { nested, ptr, s16, s32, struct, u16, u32, u8, ulong } from "@alien-ts/abi";

export const sock_common = struct("sock_common", { skc_family: u16, skc_state: u8, skc_refcnt: s32 });

export const sock = struct("sock", {
  __sk_common: nested(sock_common),
  sk_rcvbuf: s32,
  sk_sndbuf: s32,
  sk_wmem_alloc: s32,
  sk_ack_backlog: u32,
  sk_max_ack_backlog: u32,
  sk_type: u16,
  sk_protocol: u16,
  sk_shutdown: u8,
  sk_err: s32,
  sk_socket: ptr("socket"),
});

export const unix_sock = struct("unix_sock", { sk: nested(sock), peer: ptr("sock") });

export const socket = struct("socket", {
  state: u32,
  type: s16,
  flags: ulong,
  file: ptr("file"),
  sk: ptr("sock"),
});

export const msghdr = struct("msghdr", {
  msg_name: ptr("void"),
  msg_namelen: s32,
  msg_flags: u32,
  msg_controllen: ulong,
});

/** socket.state (include/uapi/linux/net.h). */
export const SS_STATE = { UNCONNECTED: 1, CONNECTING: 2, CONNECTED: 3 } as const;
/** skc_state: those of TCP that local sockets use. */
export const TCP_STATE = { ESTABLISHED: 1, CLOSE: 7, LISTEN: 10 } as const;
/** sk_shutdown. */
export const RCV_SHUTDOWN = 1;
export const SEND_SHUTDOWN = 2;
export const SHUTDOWN_MASK = 3;

/** MSG_* that abi does not name (include/linux/socket.h). */
export const MSG_MORE = {
  CTRUNC: 0x8,
  TRUNC: 0x20,
  EOR: 0x80,
  WAITFORONE: 0x1_0000,
  CMSG_CLOEXEC: 0x4000_0000,
} as const;

export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const SCM_CREDENTIALS = 2;

/** Socket options (include/uapi/asm-generic/socket.h). */
export const SO = {
  DEBUG: 1,
  REUSEADDR: 2,
  TYPE: 3,
  ERROR: 4,
  DONTROUTE: 5,
  BROADCAST: 6,
  SNDBUF: 7,
  RCVBUF: 8,
  KEEPALIVE: 9,
  OOBINLINE: 10,
  PRIORITY: 12,
  LINGER: 13,
  REUSEPORT: 15,
  PASSCRED: 16,
  PEERCRED: 17,
  RCVLOWAT: 18,
  SNDLOWAT: 19,
  RCVTIMEO: 20,
  SNDTIMEO: 21,
  ACCEPTCONN: 30,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
  PROTOCOL: 38,
  DOMAIN: 39,
} as const;

/** net.core.{r,w}mem_default, net.core.somaxconn, net.unix.max_dgram_qlen. */
export const DEFAULT_BUFFER_BYTES = 212_992;
export const SOMAXCONN = 4096;
export const MAX_DGRAM_QLEN = 10;
