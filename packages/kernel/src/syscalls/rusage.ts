/** struct rusage from the kernel's own times: what wait4, waitid and getrusage report. */
import { NSEC_PER_SEC, NSEC_PER_USEC, PAGE_SIZE, type rusage, type ViewOf } from "@alien-ts/abi";
import type { CpuTimes } from "../task/process.ts";

/** @param maxRssPages the largest resident set, in pages. */
export function fillRusage(view: ViewOf<typeof rusage>, times: CpuTimes, maxRssPages: number): void {
  view.ru_utime_sec = Math.floor(times.userNs / NSEC_PER_SEC);
  view.ru_utime_usec = Math.floor((times.userNs % NSEC_PER_SEC) / NSEC_PER_USEC);
  view.ru_stime_sec = Math.floor(times.systemNs / NSEC_PER_SEC);
  view.ru_stime_usec = Math.floor((times.systemNs % NSEC_PER_SEC) / NSEC_PER_USEC);
  view.ru_maxrss = (maxRssPages * PAGE_SIZE) / 1024;
  view.ru_minflt = times.minorFaults;
  view.ru_majflt = times.majorFaults;
  view.ru_nvcsw = times.voluntarySwitches;
  view.ru_nivcsw = times.involuntarySwitches;
}
