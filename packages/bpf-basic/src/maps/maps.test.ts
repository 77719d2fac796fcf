/** One suite over every supported map type, and the errnos of Linux where implementations are known to differ from it. */
import {
  BPF_ELEM,
  BPF_F,
  type BPF_MAP_TYPE,
  E2BIG,
  EBADF,
  EBUSY,
  EEXIST,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOMEM,
  ENOSPC,
  ENOTSUPP,
  EPERM,
  type Errno,
  isErr,
  type Result,
} from "@alien-ts/abi";
import { describe, expect, test } from "vitest";
import { FakeKernel } from "../fake-kernel.ts";
import { le, ok, TestUser } from "../test-user.ts";
import { mapTypes } from "./types.ts";

type TypeName = keyof typeof BPF_MAP_TYPE;
type Check = Result<unknown>;

/** Sizes with which a type can be made, and how many bytes a value has in a system call on two CPUs. */
const shapes = {
  HASH: { key: 4, value: 4, user: 4 },
  ARRAY: { key: 4, value: 4, user: 4 },
  PERF_EVENT_ARRAY: { key: 4, value: 4, user: 4 },
  PERCPU_HASH: { key: 4, value: 4, user: 16 },
  PERCPU_ARRAY: { key: 4, value: 4, user: 16 },
  LRU_HASH: { key: 4, value: 4, user: 4 },
  LRU_PERCPU_HASH: { key: 4, value: 4, user: 16 },
  QUEUE: { key: 0, value: 4, user: 4 },
  STACK: { key: 0, value: 4, user: 4 },
} as const satisfies Partial<Record<TypeName, unknown>>;
type Supported = keyof typeof shapes;
const supported = Object.keys(shapes) as Supported[];
const hashes = ["HASH", "PERCPU_HASH", "LRU_HASH", "LRU_PERCPU_HASH"] as const;
const arrays = ["ARRAY", "PERCPU_ARRAY"] as const;

/** Of `count` in the attributes of batch commands. */
const COUNT_OFFSET = 32;

const make = (user: TestUser, type: Supported, entries = 4, flags = 0): number =>
  ok(user.map(type, shapes[type].key, shapes[type].value, entries, { map_flags: flags }));
const value = (type: Supported, n: number): number[] =>
  shapes[type].user === 4 ? le(n) : [...le(n, 8), ...le(n + 1, 8)];

test("the rows that are supported are those of this suite", () => {
  const names = Object.entries(mapTypes).flatMap(([name, row]) => (row.supported ? [name] : []));
  expect(names.sort()).toEqual([...supported].sort());
});

describe.each(supported)("%s", (type) => {
  const shape = shapes[type];

  test("is freed with its last fd", () => {
    const user = new TestUser();
    const fd = make(user, type);
    expect(user.engine.maps.size).toBe(1);
    user.kernel.close(fd);
    expect(user.engine.maps.size).toBe(0);
    expect(user.allocations).toBe(user.baseline);
  });

  test("that does not fit into memory answers ENOMEM and leaks nothing, at every allocation", () => {
    const answers = Array.from({ length: 20 }, (_, allowed) => {
      const user = new TestUser();
      user.kernel.allocationsLeft = allowed;
      const fd = user.map(type, shape.key, shape.value, 4);
      if (!isErr(fd)) user.kernel.close(fd);
      expect(user.allocations).toBe(user.baseline);
      return isErr(fd) ? fd : "made";
    });
    expect([answers[0], answers.at(-1)]).toEqual([ENOMEM, "made"]);
    expect(new Set(answers)).toEqual(new Set([ENOMEM, "made"]));
  });

  test.each<[string, (user: TestUser) => Check, Errno]>([
    ["no entries", (u) => u.map(type, shape.key, shape.value, 0), EINVAL],
    ["no value", (u) => u.map(type, shape.key, 0, 1), EINVAL],
    ["a wrong key size", (u) => u.map(type, shape.key === 0 ? 4 : 0, shape.value, 1), EINVAL],
    ["unknown flags", (u) => u.map(type, shape.key, shape.value, 1, { map_flags: 1 << 30 }), EINVAL],
    [
      "both access modes",
      (u) => u.map(type, shape.key, shape.value, 1, { map_flags: BPF_F.RDONLY | BPF_F.WRONLY }),
      EINVAL,
    ],
    [
      "both program access modes",
      (u) => u.map(type, shape.key, shape.value, 1, { map_flags: BPF_F.RDONLY_PROG | BPF_F.WRONLY_PROG }),
      EINVAL,
    ],
    [
      "a NUMA node that does not exist",
      (u) => u.map(type, shape.key, shape.value, 1, { map_flags: BPF_F.NUMA_NODE, numa_node: 7 }),
      EINVAL,
    ],
    ["map_extra", (u) => u.map(type, shape.key, shape.value, 1, { map_extra: 1 }), EINVAL],
    [
      "a key type without a value type",
      (u) => u.map(type, shape.key, shape.value, 1, { btf_key_type_id: 1 }),
      EINVAL,
    ],
    [
      "a BTF fd that is not open",
      (u) => u.map(type, shape.key, shape.value, 1, { btf_fd: 99, btf_value_type_id: 1 }),
      EBADF,
    ],
    ["a name with a space", (u) => u.map(type, shape.key, shape.value, 1, { map_name: "a b" }), EINVAL],
    [
      "a name of 16 characters",
      (u) => u.map(type, shape.key, shape.value, 1, { map_name: "0123456789abcdef" }),
      EINVAL,
    ],
    ["a network device", (u) => u.map(type, shape.key, shape.value, 1, { map_ifindex: 1 }), EINVAL],
  ])("with %s is refused", (_, create, errno) => {
    const user = new TestUser();
    expect(create(user)).toBe(errno);
    expect(user.allocations).toBe(user.baseline);
  });

  test("takes a name of 15 characters, which its struct bpf_map shows", () => {
    const user = new TestUser();
    const { map } = user.mapAt(
      ok(user.map(type, shape.key, shape.value, 1, { map_name: "a_name.with_15c" })),
    );
    expect([map.name, map.t.name, map.t.max_entries]).toEqual(["a_name.with_15c", "a_name.with_15c", 1]);
  });

  test("is refused to the unprivileged where unprivileged bpf is disabled, and some types elsewhere too", () => {
    const user = new TestUser();
    user.kernel.isRoot = false;
    expect(user.map(type, shape.key, shape.value, 1)).toBe(EPERM);
    user.kernel.unprivilegedBpfDisabled = 0;
    const row = mapTypes[type];
    expect(isErr(user.map(type, shape.key, shape.value, 1))).toBe(row.needsCapBpf);
  });

  test("made with BPF_F_RDONLY cannot be written, with BPF_F_WRONLY not be read", () => {
    const user = new TestUser();
    const key = new Uint8Array(shape.key);
    expect(user.update(make(user, type, 4, BPF_F.RDONLY), key, value(type, 1))).toBe(EPERM);
    const writeOnly = make(user, type, 4, BPF_F.WRONLY);
    expect(user.lookup(writeOnly, key, shape.user)).toBe(EPERM);
    expect(
      user.bpf("MAP_GET_NEXT_KEY", { map_fd: writeOnly, key: 0, next_key: user.place([0, 0, 0, 0]) }),
    ).toBe(EPERM);
  });

  test("that is frozen refuses writes from user space, and to be frozen again", () => {
    const user = new TestUser();
    const fd = make(user, type);
    expect(user.bpf("MAP_FREEZE", { map_fd: fd })).toBe(0);
    expect(user.update(fd, new Uint8Array(shape.key), value(type, 1))).toBe(EPERM);
    expect(user.delete(fd, new Uint8Array(shape.key))).toBe(EPERM);
    expect(user.lookup(fd, new Uint8Array(shape.key), shape.user, "MAP_LOOKUP_AND_DELETE_ELEM")).toBe(EPERM);
    expect(user.bpf("MAP_FREEZE", { map_fd: fd })).toBe(EPERM);
  });

  test("answers EFAULT to bad pointers, EBADF and EINVAL to bad fds", () => {
    const user = new TestUser();
    const map_fd = make(user, type);
    user.kernel.fds.push("other file");
    const key = shape.key === 0 ? 0 : user.place(le(0));
    const good = user.place(value(type, 1));
    for (const bad of [8, 2 ** 40, 2 ** 63]) {
      const answer = user.bpf("MAP_LOOKUP_ELEM", { map_fd, key: bad, value: good });
      expect(answer).toBe(shape.key > 0 ? EFAULT : EINVAL);
    }
    expect(user.bpf("MAP_UPDATE_ELEM", { map_fd, key, value: 8 })).toBe(EFAULT);
    expect(user.bpf("MAP_UPDATE_ELEM", { map_fd: 77, key, value: good })).toBe(EBADF);
    expect(user.bpf("MAP_UPDATE_ELEM", { map_fd: map_fd + 1, key, value: good })).toBe(EINVAL);
    expect(user.bpf("MAP_UPDATE_ELEM", { map_fd: -1, key, value: good })).toBe(EBADF);
  });

  test("knows no BPF_F_LOCK without a lock in its values, and no other flags", () => {
    const user = new TestUser();
    const map_fd = make(user, type);
    const key = new Uint8Array(shape.key);
    expect(user.update(map_fd, key, value(type, 1), BPF_ELEM.F_LOCK)).toBe(EINVAL);
    expect(user.update(map_fd, key, value(type, 1), 3)).toBe(EINVAL);
    expect(user.update(map_fd, key, value(type, 1), 2 ** 40)).toBe(EINVAL);
    expect(
      user.bpf("MAP_LOOKUP_ELEM", {
        map_fd,
        key: shape.key && user.place(key),
        value: user.place([]),
        flags: BPF_ELEM.F_LOCK,
      }),
    ).toBe(EINVAL);
  });
});

describe.each(hashes)("%s", (type) => {
  const bytes = shapes[type].user;

  test("stores, finds, replaces and deletes", () => {
    const user = new TestUser();
    const fd = make(user, type);
    expect(user.lookup(fd, le(1), bytes)).toBe(ENOENT);
    expect(user.update(fd, le(1), value(type, 5), BPF_ELEM.EXIST)).toBe(ENOENT);
    expect(user.update(fd, le(1), value(type, 5), BPF_ELEM.NOEXIST)).toBe(0);
    expect(user.update(fd, le(1), value(type, 6), BPF_ELEM.NOEXIST)).toBe(EEXIST);
    expect(user.update(fd, le(1), value(type, 7), BPF_ELEM.EXIST)).toBe(0);
    expect(user.lookup(fd, le(1), bytes)).toEqual(value(type, 7));
    expect(user.delete(fd, le(1))).toBe(0);
    expect(user.delete(fd, le(1))).toBe(ENOENT);
    expect(user.keys(fd, 4)).toEqual([]);
  });

  test("looks up and deletes at once", () => {
    const user = new TestUser();
    const fd = make(user, type);
    ok(user.update(fd, le(1), value(type, 5)));
    expect(user.lookup(fd, le(1), bytes, "MAP_LOOKUP_AND_DELETE_ELEM")).toEqual(value(type, 5));
    expect(user.lookup(fd, le(1), bytes, "MAP_LOOKUP_AND_DELETE_ELEM")).toBe(ENOENT);
  });

  test("iterates over each key once, and starts again after a key that is gone", () => {
    const user = new TestUser();
    const fd = make(user, type, 40);
    for (let i = 0; i < 40; i++) ok(user.update(fd, le(i * 7), value(type, i)));
    const keys = user.keys(fd, 4);
    expect(new Set(keys.map(String)).size).toBe(40);
    const next_key = user.place([0, 0, 0, 0]);
    ok(user.bpf("MAP_GET_NEXT_KEY", { map_fd: fd, key: user.place(le(99_999)), next_key }));
    expect(user.read(next_key, 4)).toEqual(keys[0]);
  });

  test("gives everything in batches", () => {
    const user = new TestUser();
    const map_fd = make(user, type, 32);
    for (let i = 0; i < 20; i++) ok(user.update(map_fd, le(i), value(type, i)));
    const keys = user.place(new Uint8Array(80));
    const values = user.place(new Uint8Array(20 * bytes));
    const out_batch = user.place(le(0));
    const found: number[] = [];
    for (let in_batch = 0, isLast = false; !isLast; in_batch = out_batch) {
      const result = user.bpf("MAP_LOOKUP_BATCH", { in_batch, out_batch, keys, values, count: 12, map_fd });
      isLast = result === ENOENT;
      expect(isLast ? 0 : result).toBe(0);
      for (let i = 0; i < user.u32(user.lastAttr + COUNT_OFFSET); i++) {
        found.push(user.u32(keys + 4 * i));
        expect(user.read(values + bytes * i, bytes)).toEqual(value(type, found.at(-1)!));
      }
    }
    expect(found.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  test("with values larger than a page of keys and odd sizes keeps every byte", () => {
    const user = new TestUser();
    const size = shapes[type].user === 4 ? 13 : 2 * 16;
    const fd = ok(user.map(type, 7, shapes[type].user === 4 ? 13 : 11, 3));
    const [a, b] = [
      [1, 2, 3, 4, 5, 6, 7],
      [1, 2, 3, 4, 5, 6, 8],
    ];
    const bytesOf = (n: number): number[] =>
      Array.from({ length: size }, (_, i) => (i % 16 < 11 || size === 13 ? n + i : 0));
    ok(user.update(fd, a, bytesOf(1)));
    ok(user.update(fd, b, bytesOf(2)));
    expect(user.lookup(fd, a, size)).toEqual(bytesOf(1));
    expect(user.lookup(fd, b, size)).toEqual(bytesOf(2));
  });
});

test.each(["HASH", "PERCPU_HASH"] as const)(
  "%s: a full map answers E2BIG, with and without preallocation",
  (type) => {
    for (const flags of [0, BPF_F.NO_PREALLOC]) {
      const user = new TestUser();
      const fd = make(user, type, 3, flags);
      for (let i = 0; i < 3; i++) ok(user.update(fd, le(i), value(type, i)));
      expect(user.update(fd, le(3), value(type, 3))).toBe(E2BIG);
      expect(user.update(fd, le(2), value(type, 9))).toBe(0);
      ok(user.delete(fd, le(0)));
      expect(user.update(fd, le(3), value(type, 3))).toBe(0);
      user.kernel.close(fd);
      expect(user.allocations).toBe(user.baseline);
    }
  },
);

test.each(["LRU_HASH", "LRU_PERCPU_HASH"] as const)(
  "%s: a full map evicts what was not used, and never refuses",
  (type) => {
    const user = new TestUser();
    const fd = make(user, type, 4);
    const { map } = user.mapAt(fd);
    for (let i = 0; i < 4; i++) ok(user.update(fd, le(i), value(type, i)));
    const key = user.kernel.alloc(8);
    user.kernel.memory.u32[key >> 2] = 0;
    expect(map.lookup(key)).not.toBe(0);
    for (let i = 4; i < 7; i++) ok(user.update(fd, le(i), value(type, i)));
    expect(
      user
        .keys(fd, 4)
        .map((bytes) => bytes[0])
        .sort(),
    ).toEqual([0, 4, 5, 6]);
  },
);

test.each(["LRU_HASH", "LRU_PERCPU_HASH"] as const)("%s without preallocation is ENOTSUPP", (type) => {
  expect(new TestUser().map(type, 4, 4, 1, { map_flags: BPF_F.NO_PREALLOC })).toBe(ENOTSUPP);
});

test.each<[string, (user: TestUser) => Check, Errno]>([
  [
    "a hash with BPF_F_NO_COMMON_LRU",
    (u) => u.map("HASH", 4, 4, 1, { map_flags: BPF_F.NO_COMMON_LRU }),
    EINVAL,
  ],
  ["a hash with a value of 4 MiB", (u) => u.map("HASH", 4, 4 << 20, 1), E2BIG],
  ["a per-CPU hash with a value of 40 KiB", (u) => u.map("PERCPU_HASH", 4, 40 << 10, 1), E2BIG],
  ["a per-CPU array with a value of 40 KiB", (u) => u.map("PERCPU_ARRAY", 4, 40 << 10, 1), E2BIG],
  [
    "a per-CPU hash on a NUMA node",
    (u) => u.map("PERCPU_HASH", 4, 4, 1, { map_flags: BPF_F.NUMA_NODE }),
    EINVAL,
  ],
  ["an array with an 8-byte key", (u) => u.map("ARRAY", 8, 4, 1), EINVAL],
  ["an array with a value of 2 GiB", (u) => u.map("ARRAY", 4, 2 ** 31, 1), E2BIG],
  ["an array of 2^32 - 1 values", (u) => u.map("ARRAY", 4, 4096, 2 ** 32 - 1), ENOMEM],
  ["a hash of 2^32 - 1 elements", (u) => u.map("HASH", 4, 4, 2 ** 32 - 1), E2BIG],
  ["a mappable hash", (u) => u.map("HASH", 4, 4, 1, { map_flags: BPF_F.MMAPABLE }), EINVAL],
  ["a perf event array with 8-byte values", (u) => u.map("PERF_EVENT_ARRAY", 4, 8, 1), EINVAL],
  [
    "a perf event array read-only for programs",
    (u) => u.map("PERF_EVENT_ARRAY", 4, 4, 1, { map_flags: BPF_F.RDONLY_PROG }),
    EINVAL,
  ],
  [
    "a zero-seed hash without CAP_SYS_ADMIN",
    (u) => {
      u.kernel.isRoot = false;
      return u.map("HASH", 4, 4, 1, { map_flags: BPF_F.ZERO_SEED });
    },
    EPERM,
  ],
  ["a ring buffer, which does not exist yet", (u) => u.map("RINGBUF", 0, 0, 4096), EINVAL],
  ["map type 0", (u) => u.map("UNSPEC", 4, 4, 1), EINVAL],
  [
    "a map type beyond Linux's",
    (u) => u.bpf("MAP_CREATE", { map_type: 99, key_size: 4, value_size: 4, max_entries: 1 }),
    EINVAL,
  ],
])("%s is refused", (_, create, errno) => {
  expect(create(new TestUser())).toBe(errno);
});

describe.each(arrays)("%s", (type) => {
  const bytes = shapes[type].user;

  test("has all elements, zero at first, and ENOENT outside", () => {
    const user = new TestUser();
    const fd = make(user, type);
    expect(user.lookup(fd, le(3), bytes)).toEqual(Array.from({ length: bytes }, () => 0));
    expect(user.lookup(fd, le(4), bytes)).toBe(ENOENT);
    ok(user.update(fd, le(3), value(type, 9)));
    expect(user.lookup(fd, le(3), bytes)).toEqual(value(type, 9));
    expect(user.update(fd, le(4), value(type, 9))).toBe(E2BIG);
    expect(user.update(fd, le(0), value(type, 9), BPF_ELEM.NOEXIST)).toBe(EEXIST);
    expect(user.delete(fd, le(0))).toBe(EINVAL);
    expect(user.lookup(fd, le(0), bytes, "MAP_LOOKUP_AND_DELETE_ELEM")).toBe(ENOTSUPP);
  });

  test("iterates over its indices and starts again at 0 after one outside", () => {
    const user = new TestUser();
    const fd = make(user, type);
    expect(user.keys(fd, 4)).toEqual([le(0), le(1), le(2), le(3)]);
    const next_key = user.place(le(9));
    ok(user.bpf("MAP_GET_NEXT_KEY", { map_fd: fd, key: user.place(le(100)), next_key }));
    expect(user.u32(next_key)).toBe(0);
  });

  test("gives its values in batches", () => {
    const user = new TestUser();
    const fd = make(user, type);
    ok(user.update(fd, le(2), value(type, 8)));
    const [keys, values, cursor] = [
      user.place(new Uint8Array(16)),
      user.place(new Uint8Array(4 * bytes)),
      user.place(le(0)),
    ];
    expect(user.bpf("MAP_LOOKUP_BATCH", { out_batch: cursor, keys, values, count: 3, map_fd: fd })).toBe(0);
    expect(user.u32(keys + 8)).toBe(2);
    expect(user.read(values + 2 * bytes, bytes)).toEqual(value(type, 8));
    expect(
      user.bpf("MAP_LOOKUP_BATCH", {
        in_batch: cursor,
        out_batch: cursor,
        keys,
        values,
        count: 3,
        map_fd: fd,
      }),
    ).toBe(ENOENT);
    expect(user.u32(keys)).toBe(3);
  });
});

test("a batch tells how many it copied in the caller's attributes; a hash bucket that does not fit is ENOSPC", () => {
  const user = new TestUser();
  const fields = {
    out_batch: user.place(le(0)),
    keys: user.place(new Uint8Array(64)),
    values: user.place(new Uint8Array(64)),
  };
  const batch = (map_fd: number, count: number, in_batch = 0): Result<number> =>
    user.bpf("MAP_LOOKUP_BATCH", { ...fields, map_fd, count, in_batch });
  expect(batch(make(user, "ARRAY"), 9)).toBe(ENOENT);
  expect(user.u32(user.lastAttr + COUNT_OFFSET)).toBe(4);
  expect(batch(make(user, "HASH"), 0)).toBe(0);
  expect(batch(make(user, "QUEUE"), 1)).toBe(ENOTSUPP);
  const crowded = make(user, "HASH", 1000);
  for (let i = 0; i < 1000; i++) ok(user.update(crowded, le(i), le(i)));
  const answers = Array.from({ length: 1024 }, (_, bucket) => batch(crowded, 1, user.place(le(bucket))));
  expect(answers).toContain(ENOSPC);
  expect(batch(crowded, 1, user.place(le(1024)))).toBe(ENOENT);
});

test.each(["QUEUE", "STACK"] as const)(
  "%s: pushes, peeks, pops in its order; a full one is E2BIG unless BPF_EXIST",
  (type) => {
    const user = new TestUser();
    const fd = make(user, type, 2);
    const next = (command: "MAP_LOOKUP_ELEM" | "MAP_LOOKUP_AND_DELETE_ELEM"): Result<number[]> =>
      user.lookup(fd, [], 4, command);
    expect(next("MAP_LOOKUP_ELEM")).toBe(ENOENT);
    ok(user.update(fd, [], le(1)));
    ok(user.update(fd, [], le(2)));
    expect(user.update(fd, [], le(3))).toBe(E2BIG);
    expect(user.update(fd, [], le(3), BPF_ELEM.NOEXIST)).toBe(EINVAL);
    expect(user.update(fd, [], le(3), BPF_ELEM.EXIST)).toBe(0);
    const order = type === "QUEUE" ? [le(2), le(3)] : [le(3), le(2)];
    expect(next("MAP_LOOKUP_ELEM")).toEqual(order[0]);
    expect(next("MAP_LOOKUP_AND_DELETE_ELEM")).toEqual(order[0]);
    expect(next("MAP_LOOKUP_AND_DELETE_ELEM")).toEqual(order[1]);
    expect(next("MAP_LOOKUP_AND_DELETE_ELEM")).toBe(ENOENT);
    expect(user.lookup(fd, le(0), 4)).toBe(EINVAL);
    expect(user.delete(fd, [])).toBe(EINVAL);
    expect(user.bpf("MAP_GET_NEXT_KEY", { map_fd: fd, key: 0, next_key: user.place(le(0)) })).toBe(EINVAL);
  },
);

test("a perf event array takes perf events alone, is not read from user space, and drops entries with the map file", () => {
  const user = new TestUser();
  const fd = make(user, "PERF_EVENT_ARRAY");
  const event = ok(user.perf({ type: 1, config: 10, sample_type: 1 << 10 }));
  expect(user.update(fd, le(0), le(event))).toBe(0);
  expect(user.update(fd, le(0), le(event), BPF_ELEM.EXIST)).toBe(EINVAL);
  expect(user.update(fd, le(4), le(event))).toBe(E2BIG);
  expect(user.update(fd, le(1), le(99))).toBe(EBADF);
  expect(user.update(fd, le(1), le(fd))).toBe(EBADF);
  expect(user.lookup(fd, le(0), 4)).toBe(ENOTSUPP);
  expect(user.delete(fd, le(1))).toBe(ENOENT);
  expect(user.delete(fd, le(4))).toBe(E2BIG);
  expect(user.delete(fd, le(0))).toBe(0);
  ok(user.update(fd, le(0), le(event)));
  user.kernel.close(event);
  user.kernel.close(fd);
  expect(user.allocations).toBe(user.baseline);
});

test("an array can be mapped with BPF_F_MMAPABLE; a writable mapping keeps it from being frozen", () => {
  const user = new TestUser();
  const fd = ok(user.map("ARRAY", 4, 8, 600, { map_flags: BPF_F.MMAPABLE }));
  const file = user.mapAt(fd);
  const mapping = { pages: 2, pageOffset: 0, isShared: true, isWritable: true };
  expect(file.mmap({ ...mapping, pages: 3 })).toBe(EINVAL);
  expect(file.mmap({ ...mapping, isShared: false })).toBe(EINVAL);
  const page = ok(file.mmap(mapping));
  user.kernel.memory.u32[page >> 2] = 77;
  expect(user.lookup(fd, le(0), 8)).toEqual(le(77, 8));
  expect(user.bpf("MAP_FREEZE", { map_fd: fd })).toBe(EBUSY);
  file.mappingChanged(true, -1);
  expect(user.bpf("MAP_FREEZE", { map_fd: fd })).toBe(0);
  expect(file.mmap(mapping)).toBe(EPERM);
  user.kernel.close(fd);
  expect(user.allocations).toBe(user.baseline);
});

test.each([0, BPF_F.NO_PREALLOC])(
  "random operations on a hash with flags %i agree with a JavaScript Map",
  (map_flags) => {
    const seed = 20_240;
    let state = seed;
    const random = (n: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % n;
    };
    const user = new TestUser(new FakeKernel(1));
    const { map } = user.mapAt(ok(user.map("HASH", 6, 4, 50, { map_flags })));
    const { u32, dv } = user.kernel.memory;
    const at = user.kernel.alloc(32);
    const model = new Map<number, number>();
    /** What both answer to one operation. */
    const step = (i: number): readonly [unknown, unknown] => {
      const key = random(80);
      dv.setUint16(at + 4, key, true);
      u32[(at >> 2) + 4] = i;
      const what = random(3);
      if (what === 1) return [map.delete(at), model.delete(key) ? 0 : ENOENT];
      if (what === 2) {
        const found = map.lookup(at);
        return [found === 0 ? undefined : u32[found >> 2], model.get(key)];
      }
      const isFull = model.size === 50 && !model.has(key);
      if (!isFull) model.set(key, i);
      return [map.update(at, at + 16, 0), isFull ? E2BIG : 0];
    };
    for (let i = 0; i < 5000; i++) {
      const [actual, expected] = step(i);
      expect({ seed, i, answer: actual }).toEqual({ seed, i, answer: expected });
    }
  },
);
