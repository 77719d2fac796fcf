/** Objects that programs make of their own types, and pointers that they cast to the kernel's. */
import { testPairs } from "../../../test/judge.ts";

const TYPES = `
  struct bpf_refcount { u32 val; };
  struct task_struct { int pid; };
  struct node { u64 key; u64 value; };
  struct words { u64 word[64]; };
  struct more_words { u64 word[65]; };
  struct holder { u64 key; struct task_struct *task; };
  struct counted { u64 key; struct bpf_refcount count; };
  int main(void *ctx);
`;

/** The id of u32: the first structure has a member of it. */
const NUMBER = 2;

const NEW = `
…
r2 = 0
call @bpf_obj_new_impl
if r0 == 0x0 goto out
r1 = r0
r2 = 0
call @bpf_obj_drop_impl`;
const NEW_PERCPU = NEW.replaceAll("bpf_obj", "bpf_percpu_obj");

testPairs({ section: "tc", types: TYPES }, [
  {
    rule: "the type of an object is an id of 32 bits",
    code: NEW,
    accepted: "r1 = #node",
    rejected: "r1 = -1",
    message: "local type ID argument must be in range [0, U32_MAX]",
    errno: "EINVAL",
  },
  {
    rule: "objects are structures",
    code: NEW,
    accepted: "r1 = #node",
    rejected: `r1 = ${NUMBER}`,
    message: "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct",
    errno: "EINVAL",
  },
  {
    rule: "objects of each processor have at most 512 bytes",
    code: NEW_PERCPU,
    accepted: "r1 = #words",
    rejected: "r1 = #more_words",
    message: "bpf_percpu_obj_new type size (520) is greater than 512",
    errno: "EINVAL",
  },
  {
    rule: "objects of each processor are numbers",
    code: NEW_PERCPU,
    accepted: "r1 = #node",
    rejected: "r1 = #holder",
    message: "bpf_percpu_obj_new type ID argument must be of a struct of scalars",
    errno: "EINVAL",
  },
  {
    rule: "objects of each processor have nothing that the kernel keeps",
    code: NEW_PERCPU,
    accepted: "r1 = #node",
    rejected: "r1 = #counted",
    message: "bpf_percpu_obj_new type ID argument must not contain special fields",
    errno: "EINVAL",
  },
  {
    rule: "pointers are cast to structures, or to memory of any size",
    code: "…\ncall @bpf_rdonly_cast\nr0 = *(u32 *)(r0 +0)\nr0 = 0\nexit",
    accepted: "r2 = ##task_struct",
    rejected: "r2 = ##vfs_read",
    message: "kfunc bpf_rdonly_cast type ID argument must be of a struct or void",
    errno: "EINVAL",
  },
]);

const COUNT = `
…
r2 = 0
call @bpf_obj_new_impl
if r0 == 0x0 goto out
r6 = r0
r1 = r6
r2 = 0
call @bpf_refcount_acquire_impl
r1 = r0
r2 = 0
call @bpf_obj_drop_impl
r1 = r6
r2 = 0
call @bpf_obj_drop_impl`;

testPairs({ section: "tc", types: TYPES }, [
  {
    rule: "owners are counted of objects that the kernel keeps something in",
    code: COUNT,
    accepted: "r1 = #counted",
    rejected: "r1 = #node",
    message: "verifier bug: Couldn't find btf_record",
    errno: "EFAULT",
  },
]);

testPairs({ section: "tc" }, [
  {
    rule: "objects are of types that the program has brought along",
    code: "r1 = 1\nr2 = 0\ncall @bpf_obj_new_impl\nif r0 == 0x0 goto out\nr1 = r0\nr2 = 0\ncall @bpf_obj_drop_impl",
    accepted: { types: "struct node { u64 key; }; int main(void *ctx);" },
    rejected: {},
    message: "bpf_obj_new/bpf_percpu_obj_new requires prog BTF",
    errno: "EINVAL",
  },
]);
