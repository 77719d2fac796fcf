/** A libc over trap, init, a shell, coreutils and BPF demo programs. */
export {};
