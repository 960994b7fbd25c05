/*
 * A capture in the background leaves a guest's memory in small pages: the kernel splits the huge
 * page that holds a write-protected small one.  The next capture then walks 512 entries where there
 * was one, twice, while the guest stands still.  khugepaged puts huge pages together again, but
 * takes its time; MADV_COLLAPSE (Linux 6.1) does it now, while the guest runs.
 *
 * Only what lies there whole and small is gathered, as PAGEMAP_SCAN (Linux 6.7) shows it: the guest
 * takes no byte more than before.  And only memory whose owner asked for huge pages, as QEMU does
 * for RAM.
 */
#include "hv/capture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/process.h"

/* For headers older than the kernel. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef PAGEMAP_SCAN
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE    (1 << 6)

struct page_region {
	__u64 start, end, categories;
};

struct pm_scan_arg {
	__u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

#define REGIONS 512

struct gathering {
	pid_t pid;
	int process, pagemap;
	uint64_t huge;     /* bytes in a huge page */
	uint64_t deadline; /* CLOCK_MONOTONIC, ns */
	uint64_t gathered; /* bytes */
};

/* Bytes in a huge page; 0 where the administrator switched them off, or the kernel has none. */
static uint64_t huge_size(void)
{
	char text[128];

	if (vckpt_proc_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)) <
		    0 ||
	    strstr(text, "[never]"))
		return 0;
	vckpt_proc_read("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* False: no use to go on. */
static bool gather_region(struct gathering *g, const struct page_region *r)
{
	uint64_t at = (r->start + g->huge - 1) / g->huge * g->huge;

	for (; at + g->huge <= r->end; at += g->huge) {
		struct iovec piece = {(void *)(uintptr_t)at, g->huge};

		if (vckpt_now() > g->deadline)
			return false;
		if (syscall(SYS_process_madvise, g->process, &piece, 1, MADV_COLLAPSE, 0) > 0)
			g->gathered += g->huge;
		else if (errno == EPERM || errno == ENOSYS || errno == ESRCH)
			return false;
		/* Otherwise this one cannot be had now: pinned, or no huge page is free. */
	}
	return true;
}

static bool gather_mapping(struct gathering *g, uint64_t start, uint64_t end)
{
	struct page_region regions[REGIONS];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = REGIONS,
		.category_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO | PAGE_IS_HUGE,
		.category_inverted = PAGE_IS_PFNZERO | PAGE_IS_HUGE,
		.return_mask = PAGE_IS_PRESENT,
	};

	while (scan.start < scan.end) {
		int n = ioctl(g->pagemap, PAGEMAP_SCAN, &scan);

		if (n < 0)
			return false;
		for (int i = 0; i < n; i++)
			if (!gather_region(g, &regions[i]))
				return false;
		scan.start = scan.walk_end;
	}
	return true;
}

/* All mappings whose flags (proc(5), smaps, VmFlags) say "hg": huge pages wanted. */
static void gather_all(struct gathering *g)
{
	uint64_t start = 0, end = 0, from, to;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)g->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
			start = from;
			end = to;
		} else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg") &&
			   !gather_mapping(g, start, end)) {
			break;
		}
	}
	if (f)
		fclose(f);
}

uint64_t vckpt_hugepages_gather(pid_t pid, uint64_t deadline)
{
	struct gathering g = {.pid = pid, .huge = huge_size(), .deadline = deadline};
	char path[64];

	if (pid <= 0 || !g.huge)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	g.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	g.process = (int)syscall(SYS_pidfd_open, pid, 0);
	if (g.pagemap >= 0 && g.process >= 0)
		gather_all(&g);
	vckpt_close_fd(&g.pagemap);
	vckpt_close_fd(&g.process);
	return g.gathered;
}
