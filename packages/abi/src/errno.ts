/**
 * Linux error numbers (include/uapi/asm-generic/errno*.h), with glibc's messages.
 *
 * What a guest can cause is a value: `Result<T> = T | Errno`. An `Errno` is one of the constants below, so that
 * comparing is a pointer comparison; `isErr` tells it from a result.
 */

export class Errno {
  readonly number: number;
  readonly name: string;
  /** strerror(3) */
  readonly message: string;
  constructor(number: number, name: string, message: string) {
    this.number = number;
    this.name = name;
    this.message = message;
  }
  toString(): string {
    return this.name;
  }
}

export type Result<T> = T | Errno;

export const isErr = (value: unknown): value is Errno => value instanceof Errno;

const byNumber: Errno[] = [];

function errno(number: number, name: string, message: string): Errno {
  const value = new Errno(number, name, message);
  byNumber[number] = value;
  return value;
}

/** The constant for `number` (positive), or undefined where Linux has none. */
export function errnoFromNumber(number: number): Errno | undefined {
  return byNumber[number];
}

export const EPERM = errno(1, "EPERM", "Operation not permitted");
export const ENOENT = errno(2, "ENOENT", "No such file or directory");
export const ESRCH = errno(3, "ESRCH", "No such process");
export const EINTR = errno(4, "EINTR", "Interrupted system call");
export const EIO = errno(5, "EIO", "Input/output error");
export const ENXIO = errno(6, "ENXIO", "No such device or address");
export const E2BIG = errno(7, "E2BIG", "Argument list too long");
export const ENOEXEC = errno(8, "ENOEXEC", "Exec format error");
export const EBADF = errno(9, "EBADF", "Bad file descriptor");
export const ECHILD = errno(10, "ECHILD", "No child processes");
export const EAGAIN = errno(11, "EAGAIN", "Resource temporarily unavailable");
export const ENOMEM = errno(12, "ENOMEM", "Cannot allocate memory");
export const EACCES = errno(13, "EACCES", "Permission denied");
export const EFAULT = errno(14, "EFAULT", "Bad address");
export const ENOTBLK = errno(15, "ENOTBLK", "Block device required");
export const EBUSY = errno(16, "EBUSY", "Device or resource busy");
export const EEXIST = errno(17, "EEXIST", "File exists");
export const EXDEV = errno(18, "EXDEV", "Invalid cross-device link");
export const ENODEV = errno(19, "ENODEV", "No such device");
export const ENOTDIR = errno(20, "ENOTDIR", "Not a directory");
export const EISDIR = errno(21, "EISDIR", "Is a directory");
export const EINVAL = errno(22, "EINVAL", "Invalid argument");
export const ENFILE = errno(23, "ENFILE", "Too many open files in system");
export const EMFILE = errno(24, "EMFILE", "Too many open files");
export const ENOTTY = errno(25, "ENOTTY", "Inappropriate ioctl for device");
export const ETXTBSY = errno(26, "ETXTBSY", "Text file busy");
export const EFBIG = errno(27, "EFBIG", "File too large");
export const ENOSPC = errno(28, "ENOSPC", "No space left on device");
export const ESPIPE = errno(29, "ESPIPE", "Illegal seek");
export const EROFS = errno(30, "EROFS", "Read-only file system");
export const EMLINK = errno(31, "EMLINK", "Too many links");
export const EPIPE = errno(32, "EPIPE", "Broken pipe");
export const EDOM = errno(33, "EDOM", "Numerical argument out of domain");
export const ERANGE = errno(34, "ERANGE", "Numerical result out of range");
export const EDEADLK = errno(35, "EDEADLK", "Resource deadlock avoided");
export const ENAMETOOLONG = errno(36, "ENAMETOOLONG", "File name too long");
export const ENOLCK = errno(37, "ENOLCK", "No locks available");
export const ENOSYS = errno(38, "ENOSYS", "Function not implemented");
export const ENOTEMPTY = errno(39, "ENOTEMPTY", "Directory not empty");
export const ELOOP = errno(40, "ELOOP", "Too many levels of symbolic links");
export const ENOMSG = errno(42, "ENOMSG", "No message of desired type");
export const EIDRM = errno(43, "EIDRM", "Identifier removed");
export const ENODATA = errno(61, "ENODATA", "No data available");
export const ETIME = errno(62, "ETIME", "Timer expired");
export const EPROTO = errno(71, "EPROTO", "Protocol error");
export const EBADMSG = errno(74, "EBADMSG", "Bad message");
export const EOVERFLOW = errno(75, "EOVERFLOW", "Value too large for defined data type");
export const EBADFD = errno(77, "EBADFD", "File descriptor in bad state");
export const EILSEQ = errno(84, "EILSEQ", "Invalid or incomplete multibyte or wide character");
export const EUSERS = errno(87, "EUSERS", "Too many users");
export const ENOTSOCK = errno(88, "ENOTSOCK", "Socket operation on non-socket");
export const EDESTADDRREQ = errno(89, "EDESTADDRREQ", "Destination address required");
export const EMSGSIZE = errno(90, "EMSGSIZE", "Message too long");
export const EPROTOTYPE = errno(91, "EPROTOTYPE", "Protocol wrong type for socket");
export const ENOPROTOOPT = errno(92, "ENOPROTOOPT", "Protocol not available");
export const EPROTONOSUPPORT = errno(93, "EPROTONOSUPPORT", "Protocol not supported");
export const ESOCKTNOSUPPORT = errno(94, "ESOCKTNOSUPPORT", "Socket type not supported");
export const EOPNOTSUPP = errno(95, "EOPNOTSUPP", "Operation not supported");
export const EAFNOSUPPORT = errno(97, "EAFNOSUPPORT", "Address family not supported by protocol");
export const EADDRINUSE = errno(98, "EADDRINUSE", "Address already in use");
export const EADDRNOTAVAIL = errno(99, "EADDRNOTAVAIL", "Cannot assign requested address");
export const ENETDOWN = errno(100, "ENETDOWN", "Network is down");
export const ENETUNREACH = errno(101, "ENETUNREACH", "Network is unreachable");
export const ECONNABORTED = errno(103, "ECONNABORTED", "Software caused connection abort");
export const ECONNRESET = errno(104, "ECONNRESET", "Connection reset by peer");
export const ENOBUFS = errno(105, "ENOBUFS", "No buffer space available");
export const EISCONN = errno(106, "EISCONN", "Transport endpoint is already connected");
export const ENOTCONN = errno(107, "ENOTCONN", "Transport endpoint is not connected");
export const ESHUTDOWN = errno(108, "ESHUTDOWN", "Cannot send after transport endpoint shutdown");
export const ETIMEDOUT = errno(110, "ETIMEDOUT", "Connection timed out");
export const ECONNREFUSED = errno(111, "ECONNREFUSED", "Connection refused");
export const EALREADY = errno(114, "EALREADY", "Operation already in progress");
export const EINPROGRESS = errno(115, "EINPROGRESS", "Operation now in progress");
export const ESTALE = errno(116, "ESTALE", "Stale file handle");
export const EDQUOT = errno(122, "EDQUOT", "Disk quota exceeded");
export const ECANCELED = errno(125, "ECANCELED", "Operation canceled");
export const EKEYREJECTED = errno(129, "EKEYREJECTED", "Key was rejected by service");
export const EOWNERDEAD = errno(130, "EOWNERDEAD", "Owner died");
export const ENOTRECOVERABLE = errno(131, "ENOTRECOVERABLE", "State not recoverable");
export const ERESTARTSYS = errno(512, "ERESTARTSYS", "Interrupted system call should be restarted");
export const ERESTARTNOINTR = errno(513, "ERESTARTNOINTR", "Restart the system call");
export const ERESTARTNOHAND = errno(514, "ERESTARTNOHAND", "Restart if no handler");
export const ENOIOCTLCMD = errno(515, "ENOIOCTLCMD", "No ioctl command");
export const ERESTART_RESTARTBLOCK = errno(
  516,
  "ERESTART_RESTARTBLOCK",
  "Restart by calling sys_restart_syscall",
);
export const ENOTSUPP = errno(524, "ENOTSUPP", "Unknown error 524");
