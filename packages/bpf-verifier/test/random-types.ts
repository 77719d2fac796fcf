/** The types of random programs, and the kernel functions that they call, by BTF id. */
import type { ProgramBtf } from "../src/env.ts";
import { declare } from "./declare.ts";
import type { FunctionKind } from "./random-writer.ts";

/** `numbers` are offsets of 32-bit fields that hold numbers, `cb` of one that may be written. */
export const PROGRAMS = [
  {
    type: 3,
    attachType: 0,
    name: "sched_cls",
    data: 76,
    dataEnd: 80,
    dataMeta: 140,
    numbers: [0, 8, 68, 52],
  },
  {
    type: 8,
    attachType: 0,
    name: "cgroup_skb",
    data: 76,
    dataEnd: 80,
    dataMeta: -1,
    numbers: [0, 8, 68, 52],
  },
  { type: 6, attachType: 0, name: "xdp", data: 0, dataEnd: 4, dataMeta: 8, numbers: [12, 16] },
] as const;

export const KERNEL = declare(`
  struct bpf_dynptr { u64 opaque[2]; };
  struct bpf_iter_num { u64 opaque[1]; };
  struct __sk_buff { u32 len; }; struct sk_buff { u32 len; u64 data; }; struct xdp_md { u32 data; };
  struct xdp_buff { u64 data; };
  int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
  int *bpf_iter_num_next(struct bpf_iter_num *it);
  void bpf_iter_num_destroy(struct bpf_iter_num *it);
  int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *p__uninit);
  int bpf_dynptr_from_xdp(struct xdp_md *x, u64 flags, struct bpf_dynptr *p__uninit);
  void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
  void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
  int bpf_dynptr_adjust(const struct bpf_dynptr *p, u32 start, u32 end);
  int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit);
  u32 bpf_dynptr_size(const struct bpf_dynptr *p);
  void bpf_rcu_read_lock(void); void bpf_rcu_read_unlock(void);
  void bpf_preempt_disable(void); void bpf_preempt_enable(void);
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  void *bpf_obj_new_impl(u64 id__k, void *meta__ign);
  void bpf_obj_drop_impl(void *p__alloc, void *meta__ign);
  int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off);
  struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);
  void bpf_throw(u64 cookie);
  void bpf_local_irq_save(u64 *flags__irq_flag); void bpf_local_irq_restore(u64 *flags__irq_flag);
`);

export const kfuncId = (name: string): number => {
  const id = KERNEL.find(name, "func");
  if (id === undefined) throw new Error(`${name} is not declared`);
  return id;
};

/** Types of the program, and of its functions by kind; "nonnull" memory is 16 bytes. */
export const TYPES = declare(`
  struct bpf_spin_lock { u32 val; };
  struct locked { u64 a; struct bpf_spin_lock lock; u32 b; u64 c; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct item { u64 key; u64 more; struct bpf_list_node link; };
  struct kept { u64 a; struct item *__tag(kptr) item; u64 b; };
  struct list { struct bpf_list_head head __contains(item, link); struct bpf_spin_lock lock; u32 b; u64 c; };
  struct __sk_buff { u32 len; }; struct xdp_md { u32 data; };
  struct memory { u64 a; u64 b; };
  int static_f(int a, int b);
  global int global_numbers(int a, int b);
  global int global_memory(struct memory *p, int b);
  global int global_context(struct __sk_buff *ctx, int b);
  global int global_xdp(struct xdp_md *ctx, int b);
`);

/** The functions of a program; the main one's type is a static function's. */
export function programBtf(kind: string, functions: ReadonlyMap<number, FunctionKind>): ProgramBtf {
  const typeOf = (function_: FunctionKind): string =>
    function_.startsWith("global")
      ? function_ === "global context" && kind === "xdp"
        ? "global_xdp"
        : function_.replace(" ", "_")
      : "static_f";
  const rows = [[0, "static_f"] as const, ...[...functions].map(([at, f]) => [at, typeOf(f)] as const)];
  return {
    btf: TYPES,
    functions: rows
      .sort(([a], [b]) => a - b)
      .map(([insn, name]) => ({ insn, type: TYPES.find(name, "func")! })),
    lines: [],
  };
}

/** Objects that programs make: their type, how long they are, and where the list's link begins. */
export const ITEM = TYPES.find("item", "struct")!;
export const ITEM_BYTES = 40;
export const ITEM_LINK = 16;
