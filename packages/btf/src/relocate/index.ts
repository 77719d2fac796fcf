/** CO-RE relocation. */
export { CORE_RELO, essentialName } from "./access.ts";
export { CoreError, isCoreError } from "./error.ts";
export { POISON_HELPER } from "./patch.ts";
export type { Patched } from "./patch.ts";
export { CoreRelocator } from "./relocate.ts";
export { areTypesCompatible } from "./compatible.ts";
