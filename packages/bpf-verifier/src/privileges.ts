/**
 * What a loader may do, as the verifier asks it: the fields of struct bpf_verifier_env that come from capabilities. Interface:
 * `privilegesOf`. CAP_SYS_ADMIN counts as all of them; whoever asks says so in what it passes.
 */

/** Capabilities of the loading task that the verifier looks at. */
export interface Capabilities {
  /** CAP_BPF */
  readonly hasCapBpf: boolean;
  /** CAP_PERFMON */
  readonly hasCapPerfmon: boolean;
  /** CAP_NET_ADMIN; it matters for the type of the program alone. */
  readonly hasCapNetAdmin: boolean;
}

export interface Privileges {
  /** What all below comes from. */
  readonly capabilities: Capabilities;
  /** Functions, loops, a million instructions, precision of numbers. (Linux: bpf_capable) */
  readonly isCapable: boolean;
  /** Addresses may be compared, computed with, returned and stored. (Linux: allow_ptr_leaks) */
  readonly mayLeakPointers: boolean;
  /** Stack that was never written may be read. (Linux: allow_uninit_stack) */
  readonly mayReadUninitialised: boolean;
  /** Mispredicted jumps are not walked, and pointers not masked. (Linux: bypass_spec_v1) */
  readonly bypassesSpecV1: boolean;
  /** No barriers behind spills. (Linux: bypass_spec_v4) */
  readonly bypassesSpecV4: boolean;
}

/** Linux: bpf_check(), on a machine with mitigations. */
export function privilegesOf(capabilities: Capabilities): Privileges {
  const { hasCapBpf, hasCapPerfmon } = capabilities;
  return {
    capabilities,
    isCapable: hasCapBpf,
    mayLeakPointers: hasCapPerfmon,
    mayReadUninitialised: hasCapPerfmon,
    bypassesSpecV1: hasCapPerfmon,
    bypassesSpecV4: hasCapPerfmon,
  };
}

export const PRIVILEGED = privilegesOf({ hasCapBpf: true, hasCapPerfmon: true, hasCapNetAdmin: true });
export const UNPRIVILEGED = privilegesOf({ hasCapBpf: false, hasCapPerfmon: false, hasCapNetAdmin: false });
