/**
 * The rules behind Linux's messages, in words for people who meet them for the first time: a row each with the messages that it
 * covers, what must hold, and what to do. The first row that fits the last line of a message counts, else one that fits a line
 * before; `ruleOf` always finds one.
 */
export interface Rule {
  /** A short name that does not change: for filters and for searching. */
  readonly id: string;
  readonly pattern: RegExp;
  /** What must hold, as a sentence. */
  readonly statement: string;
  /** What usually helps. */
  readonly advice: string;
}

const row = (id: string, pattern: RegExp, statement: string, advice: string): Rule => ({
  id,
  pattern,
  statement,
  advice,
});

/** Of a pointer that was one until something that the program did: the path tells, not the message. */
export const ENDED_POINTER = row(
  "ended-pointer",
  /(?:)/,
  "A pointer is used only as long as what it points to is there.",
  "Finish with the object before it is given back (bpf_ringbuf_submit(), bpf_sk_release(), …). Pointers into a packet end at every call that may move it, such as bpf_skb_pull_data(): read data and data_end anew behind it, and compare again.",
);

const RULES: readonly Rule[] = [
  row(
    "privileges",
    /prohibited for !root|leaks addr|pointer comparison prohibited|CAP_BPF|CAP_PERFMON|capabilities that the loader lacks/,
    "Programs of loaders without CAP_PERFMON keep addresses to themselves, and do what is forbidden on no path, not even on one that a processor takes by mistake.",
    "Load the program with CAP_BPF and CAP_PERFMON (or as root). Otherwise return, store and compare numbers, not pointers, and bound an index with a mask (`index & 15`) where it is used.",
  ),
  row(
    "uninitialised-register",
    /!read_ok/,
    "A register is read only after it was written, on every path.",
    "Give the variable a value on every path that leads here. A call leaves nothing in r1 to r5: what is needed after it must be kept in a variable (r6 to r9, or the stack).",
  ),
  row(
    "null-check",
    /_or_null|Possibly NULL pointer|null-check it first/,
    "A pointer that may be NULL is compared with NULL before it is used.",
    "Put a check before the use, such as `if (!value) return 0;`. The check must be of the same pointer: after another lookup the old check says nothing.",
  ),
  row(
    "number-as-pointer",
    /invalid mem access '(scalar|inv)'/,
    "Only pointers are followed; a number is not a pointer, even if it holds an address.",
    "Memory behind an address from a register, an argument or another structure is read with bpf_probe_read_kernel() or bpf_probe_read_user(), or BPF_CORE_READ(). If this was a pointer once, arithmetic or a spill of part of it has made it a number.",
  ),
  row(
    "packet-bounds",
    /invalid access to packet|outside of the packet|pkt pointer/,
    "Bytes of a packet are used only after a comparison with the packet's end has shown that they are there.",
    "Compare before the access: `if (data + sizeof(*header) > data_end) return …;`. The same pointer must be used for the comparison and the access: where an offset that varies was added, compare the new pointer again; the offset needs an upper bound first.",
  ),
  row(
    "size",
    /min value is negative, either use|unbounded memory access, use|invalid zero-sized|alloc_size|call: invalid \S+ (from|to) stack R\d+ off=/,
    "A helper is told a size that is known to be no larger than the memory it is given, and not negative.",
    "Bound the size before the call: `if (n > sizeof(buffer)) n = sizeof(buffer);` with an unsigned n, or `n &= sizeof(buffer) - 1` where that is a power of two. What is compared and what is passed must be the same variable.",
  ),
  row(
    "bounds",
    /outside of the allowed memory range|unbounded memory access|min value is negative|invalid access to map|invalid access to memory|unbounded min value|makes .* pointer be out of bounds|invalid (variable )?buffer|pointer offset .* is not allowed/,
    "An access lies inside its object, whatever the offset may be.",
    "Bound the index before it is used: `if (index >= SIZE) return 0;`, or `index &= SIZE - 1` for a power of two. Use an unsigned type, or also check that it is not negative; compare the very variable that is the index, as the last thing before the access.",
  ),
  row(
    "stack-size",
    /combined stack size|call stack/,
    "All functions that are active at once use at most 512 bytes of stack together.",
    "Keep large buffers in a map (a per-CPU array of one element) instead of on the stack, and call less deeply.",
  ),
  row(
    "uninitialised-stack",
    /invalid (indirect )?read from stack/,
    "Bytes of the stack are read, also by helpers, only after they were written.",
    "Initialise structures whole: `struct key key = {};` also clears the padding between members, or use __builtin_memset().",
  ),
  row(
    "stack-bounds",
    /stack (off|R\d)|invalid.*stack|misaligned stack/,
    "An access to the stack lies inside the 512 bytes of its function, whatever the index may be.",
    "Bound the index of a local array before it is used (`if (i >= sizeof(buffer)) return 0;`, with an unsigned i), or mask it. Buffers of more than 512 bytes belong into a map (a per-CPU array of one element).",
  ),
  row(
    "context",
    /invalid bpf_context access|dereference of modified ctx|variable ctx access|ctx ptr/,
    "The context is read and written only at the fields that this type of program has, through the pointer as it was given.",
    "Look up which fields this program type may use; read the field through the unchanged context pointer, with the field's own size.",
  ),
  row(
    "loop-end",
    /infinite loop|back-edge|too large|too complex|processed \d+ insn/i,
    "The verifier comes to the end of every loop within a million instructions.",
    "Give the loop a small constant bound (`for (int i = 0; i < 16; i++)`), use bpf_loop() or bpf_for() for many turns, or move a part of the program into a function of its own that is not static.",
  ),
  row(
    "map-type",
    /cannot pass map_type|expected prog array map|cannot be used in prog|isn't map pointer|progs cannot use/,
    "A helper works on the kinds of maps that it is made for, and programs use maps that suit them.",
    "Check the map's type (`__uint(type, …)`) and the helper: bpf_map_lookup_elem() is for hashes, arrays and the like, bpf_tail_call() for program arrays, bpf_perf_event_output() for perf event arrays, bpf_ringbuf_… for ring buffers.",
  ),
  row(
    "unknown-helper",
    /unknown func|invalid func|cannot use helper|not allowed$|is not allowed|cannot call GPL/,
    "A program calls the helpers that its type may call; some are for GPL-compatible programs only.",
    'Check that the program type has this helper; a program that calls GPL helpers says `char LICENSE[] SEC("license") = "GPL";`.',
  ),
  row(
    "argument-type",
    /type=\S* expected=|is not a known constant|expected pointer|arg#?\d/,
    "A helper's arguments have the types that it takes.",
    "Compare the call with the helper's manual (bpf-helpers(7)): pointers to the stack or to map values must be such, sizes constants or bounded, the context the unchanged one.",
  ),
  row(
    "reference-leak",
    /Unreleased reference|reference leak|has not been acquired|leave reference|would lead to reference leak/,
    "What was acquired is released, on every path, exactly once.",
    "Release it before every return, also in the branches for errors: bpf_sk_release(), bpf_ringbuf_submit() or bpf_ringbuf_discard(), bpf_obj_drop().",
  ),
  row(
    "lock",
    /lock/,
    "Locks are taken one at a time and given back in the same function, and little is called between.",
    "Take the lock as late and give it back as early as possible; call nothing that is not allowed under it.",
  ),
  row(
    "return-value",
    /register R0 (has|is not)|At program exit|At callback return|At async callback/,
    "The program's result is one of those that its type may give.",
    "Return one of the constants of this program type; set the result on every path.",
  ),
  row(
    "pointer-arithmetic",
    /pointer arithmetic|bitwise operator|pointer comparison|partial copy of pointer|leaks addr|subtract|pointer \+= pointer|sign-extension part/,
    "To a pointer only numbers are added, with 64-bit additions and subtractions, and addresses are not given away.",
    "Keep the pointer as it is and add a bounded number to it; do other arithmetic on numbers.",
  ),
  row(
    "unreachable",
    /unreachable insn|jump out of range|last insn|jump into the middle|fell through|dead code/,
    "Every instruction can be reached, and jumps stay inside their function.",
    "Programs from a compiler do not have this: look at instructions that were written by hand or removed.",
  ),
  row(
    "read-only",
    /cannot write|read-only|write into map forbidden|read from map forbidden|frame pointer is read only|only read is supported/,
    "Memory is written only where the program may write.",
    "Write to a copy on the stack or in a map; check the map's flags and what this program type may change.",
  ),
  row(
    "division",
    /div by zero|invalid shift/,
    "Constant divisors are not zero, and constant shifts are smaller than the register.",
    "Correct the constant.",
  ),
  row(
    "alignment",
    /misaligned/,
    "Accesses are aligned where alignment is asked for.",
    "Access the bytes one by one, or load without strict alignment.",
  ),
  row(
    "types",
    /btf|BTF|struct|kptr|ptr_/,
    "Kernel objects are used as their types say.",
    "Check the type that the pointer has, the member that is accessed, and that the object is still trusted: not read through another pointer, not after its section ended.",
  ),
  row(
    "malformed",
    /reserved|unknown opcode|invalid BPF|uses|R\d+ is invalid|invalid insn/,
    "Instructions are well-formed.",
    "Programs from a compiler do not have this: look at instructions that were written by hand, or at the compiler's -mcpu option.",
  ),
];

const OTHER = row(
  "other",
  /(?:)/,
  "The verifier's log has the details.",
  "Run with --log-level 2 and read the last lines: the state of the registers before the instruction shows what the verifier knew.",
);

/**
 * @param lines of the message, without states.
 * @param isCall of a call: memory that it is given may be too small for the size that it is told.
 */
export function ruleOf(lines: readonly string[], isCall: boolean): Rule {
  for (const line of lines.toReversed()) {
    const text = isCall ? `call: ${line}` : line;
    const rule = RULES.find(({ pattern }) => pattern.test(text));
    if (rule !== undefined) return rule;
  }
  return OTHER;
}
