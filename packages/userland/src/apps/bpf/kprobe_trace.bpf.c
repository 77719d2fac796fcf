/* Sends the name of every file that a task opens, through a perf event array.
 * Rebuild both objects of this folder: npm run bpf-objects (clang with the BPF target, llvm-strip) */
#include "bpf.h"

#define NAME_MAX 128

struct event {
	__u32 pid;
	__u32 dfd;
	char comm[16];
	char filename[NAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} EVENTS SEC(".maps");

/* Events are too long for the stack of a program that calls others, so each CPU has one here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} SCRATCH SEC(".maps");

/* 0 traces every task; set by the loader. */
const volatile __u32 target_pid = 0;

/* long do_sys_openat2(int dfd, const char *filename, struct open_how *how) */
SEC("kprobe/do_sys_openat2")
int kprobe_trace(struct pt_regs *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	if (target_pid && pid != target_pid)
		return 0;
	__u32 zero = 0;
	struct event *event = bpf_map_lookup_elem(&SCRATCH, &zero);
	if (!event)
		return 0;
	event->pid = pid;
	event->dfd = ctx->a0;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	if (bpf_probe_read_user_str(event->filename, sizeof(event->filename), (const void *)ctx->a1) < 0)
		event->filename[0] = 0;
	bpf_perf_event_output(ctx, &EVENTS, BPF_F_CURRENT_CPU, event, sizeof(*event));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
