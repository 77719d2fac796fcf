/**
 * The JIT's mailbox in linear memory: what programs and JavaScript hand each other without `bigint`. Offsets in bytes.
 */
export const SCRATCH = {
  /** r0 to r10, eight bytes each: arguments and results of helpers that are called through the machine. */
  registers: 0,
  /** High word of a u64 result. */
  resultHigh: 88,
  fuel: 92,
  /** Top of the highest frame, and the top of the lowest one that a call may leave. */
  stackTop: 96,
  stackFloor: 100,
  /** Bottom of the frame that called a helper. */
  frame: 104,
  /** What a packet load read. */
  packet: 108,
  /** After a helper that interrupted: a `TAIL`, or the table slot of the program to go on with. */
  tail: 112,
  /** The context that a checked program may touch: its address, and bytes that it may read and write. */
  context: 116,
  readable: 120,
  writable: 124,
  /** Callbacks that the run may still make. */
  turns: 128,
} as const;

/** Bytes that the mailbox takes, a multiple of 8. */
export const SCRATCH_BYTES = 136;

export const TAIL = {
  /** The run ends. */
  stop: -1,
  /** The next program is not compiled: it runs through the machine. */
  interpreted: -2,
} as const;

/** Bits of the word that describes an access to JavaScript, above its size. */
export const ACCESS = { sizeMask: 0x0f, write: 0x10, aligned: 0x20 } as const;

/** Why a program stops itself; numbers that pass through WebAssembly. */
export const STOP = { outOfFuel: 0, callDepth: 1, unknownHelper: 2, badInstruction: 3, noPacket: 4 } as const;

/**
 * What programs ask of JavaScript, through one imported function: for each signature among a module's imports the host compiles
 * a wrapper, a thirtieth of a millisecond's work. The word's low byte is one of these; above it are access bits, a size, or a
 * reason.
 */
export const ASK = {
  /** (low, high, slot, frame): 0 where the access described above the low byte is refused. */
  access: 0,
  /** (slot): the program stops itself, for the reason above the low byte. */
  stop: 1,
  /** (offset): reads a packet; 0 read, 1 outside the packet, 2 there is none. */
  packet: 2,
  /** (context, frame pointer): runs the program that a helper asked for; 0 where the run must end. */
  tail: 3,
  /** (helper id, slot): 1 where the helper interrupted, 2 where there is none. */
  callRegister: 4,
} as const;

export const ASK_SHIFT = 8;
