/** The part of socket(2) that local socket pairs need (include/linux/socket.h). */
export const AF = { UNSPEC: 0, UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;
export const SOCK = {
  STREAM: 1,
  DGRAM: 2,
  RAW: 3,
  SEQPACKET: 5,
  NONBLOCK: 0x800,
  CLOEXEC: 0x8_0000,
  TYPE_MASK: 0xf,
} as const;
export const MSG = { OOB: 1, PEEK: 2, DONTWAIT: 0x40, WAITALL: 0x100, NOSIGNAL: 0x4000 } as const;
export const SHUT = { RD: 0, WR: 1, RDWR: 2 } as const;
