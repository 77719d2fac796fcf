/**
 * The kernel that the programs of tests see: its structures, functions, hooks and tracepoints, as declarations in C. What lies where
 * in a structure is not what it is in Linux; names, and what is pointed to, are.
 */
export const KERNEL_TYPES = `
  struct bpf_map { u64 ops; };
  struct bpf_dynptr { u64 opaque[2]; };
  struct bpf_rb_root { u64 opaque[2]; }; struct bpf_rb_node { u64 opaque[4]; };
  struct bpf_list_head { u64 opaque[2]; }; struct bpf_list_node { u64 opaque[3]; };
  struct bpf_iter_num { u64 opaque[1]; }; struct bpf_iter_task { u64 opaque[3]; };
  struct bpf_res_spin_lock { u32 val; };
  struct __sk_buff { u32 len; }; struct sk_buff { u32 len; u64 data; };
  struct cgroup { u64 id; }; struct css_set { struct cgroup *dfl_cgrp; };
  struct task_struct { int pid; struct css_set *cgroups; struct task_struct *last_wakee; char comm[16]; };
  struct file { int flags; };
  struct btf_task { struct task_struct *task; };
  void *bpf_obj_new_impl(u64 id__k, void *meta__ign);
  void bpf_obj_drop_impl(void *p__alloc, void *meta__ign);
  void *bpf_percpu_obj_new_impl(u64 id__k, void *meta__ign);
  void bpf_percpu_obj_drop_impl(void *p__alloc, void *meta__ign);
  void *bpf_refcount_acquire_impl(void *p__refcounted_kptr, void *meta__ign);
  int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta__ign, u64 off);
  struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);
  struct bpf_list_node *bpf_list_front(struct bpf_list_head *head);
  int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node, u8 (*less)(struct bpf_rb_node *a, struct bpf_rb_node *b), void *meta__ign, u64 off);
  struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node);
  struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root);
  struct task_struct *bpf_task_acquire(struct task_struct *p);
  struct task_struct *bpf_task_from_pid(int pid);
  void bpf_task_release(struct task_struct *p);
  struct cgroup *bpf_cgroup_acquire(struct cgroup *p);
  void bpf_cgroup_release(struct cgroup *p);
  int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *p__uninit);
  void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk);
  u32 bpf_dynptr_size(const struct bpf_dynptr *p);
  int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit);
  int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
  int *bpf_iter_num_next(struct bpf_iter_num *it);
  void bpf_iter_num_destroy(struct bpf_iter_num *it);
  int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, u32 flags);
  struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it);
  void bpf_iter_task_destroy(struct bpf_iter_task *it);
  void bpf_rcu_read_lock(void); void bpf_rcu_read_unlock(void);
  void bpf_preempt_disable(void); void bpf_preempt_enable(void);
  void bpf_local_irq_save(u64 *flags__irq_flag); void bpf_local_irq_restore(u64 *flags__irq_flag);
  int bpf_res_spin_lock(struct bpf_res_spin_lock *lock); void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock);
  int bpf_res_spin_lock_irqsave(struct bpf_res_spin_lock *lock, u64 *flags__irq_flag);
  void bpf_res_spin_unlock_irqrestore(struct bpf_res_spin_lock *lock, u64 *flags__irq_flag);
  void bpf_throw(u64 cookie); void __bpf_trap(void);
  void *bpf_rdonly_cast(const void *obj__ign, u32 id__k);
  void *bpf_cast_to_kern_ctx(void *obj);
  int bpf_map_sum_elem_count(const struct bpf_map *map__map);
  int bpf_copy_from_user_str(void *dst, u32 dst__sz, const void *unsafe__ign, u64 flags);
  void __bpf_trace_task(void *data, struct task_struct *task, struct bpf_map *map);
  typedef void btf_trace_task;
  int vfs_read(struct file *file, u64 count);
  int bpf_lsm_file_open(struct file *file);
`;
