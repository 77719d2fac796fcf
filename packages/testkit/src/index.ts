/** What the project's own tests share: seeded random numbers, fakes. */
export { Prng } from "./prng.ts";
