/** Numbers that the JIT takes from elsewhere, under one roof. */
export { NULL_GUARD_BYTES as NULL_GUARD } from "@alien-ts/abi";
export { FRAME_BYTES, LOAD_ACQUIRE, MAX_FRAMES, MAX_MAY_GOTO, STORE_RELEASE } from "@alien-ts/bpf-isa";
