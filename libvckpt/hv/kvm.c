#include "hv/kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* The child's exit status; the sentence for each is in the table below. */
enum step { WORKS, NO_OPEN, NO_VM, NO_MEMORY, NO_VCPU, NO_RUN, WRONG_EXIT, STEPS };

static const char *const sentences[STEPS] = {
	[WORKS] = "works",
	[NO_OPEN] = "/dev/kvm cannot be opened",
	[NO_VM] = "KVM does not create a VM",
	[NO_MEMORY] = "KVM does not take memory for a VM",
	[NO_VCPU] = "KVM does not create a vCPU",
	[NO_RUN] = "KVM does not run a vCPU",
	[WRONG_EXIT] = "a vCPU under KVM does not do what its instructions say",
};

#define MEMORY (2u << 20)

#ifdef __x86_64__
/* Where things lie in the guest's 2 MiB: one large page maps them all. */
enum { TOP = 0x1000, MIDDLE = 0x2000, LOW = 0x3000, CODE = 0x4000 };

#define ROUNDS 20000000u /* 10 ms of a processor, far beyond the limit for an interpreter */
#define PORT   0x10

/* 64-bit: eax = 0; do eax++ while (--ecx); out PORT, eax; hlt.  ecx is set from outside. */
static const unsigned char code[] = {0x31, 0xc0, 0xff, 0xc0, 0xff, 0xc9,
				     0x75, 0xfa, 0xe7, PORT, 0xf4};

static void fill(unsigned char *memory)
{
	static const uint64_t top = MIDDLE | 3, middle = LOW | 3,
			      low = 0x83; /* present, writable; large */

	memcpy(memory + TOP, &top, sizeof(top));
	memcpy(memory + MIDDLE, &middle, sizeof(middle));
	memcpy(memory + LOW, &low, sizeof(low));
	memcpy(memory + CODE, code, sizeof(code));
}

static void enter_long_mode(struct kvm_sregs *s)
{
	struct kvm_segment flat = {.limit = UINT32_MAX, .present = 1, .s = 1, .g = 1};

	s->cs = s->ss = flat;
	s->cs.selector = 8;
	s->cs.type = 11;
	s->cs.l = 1;
	s->ss.selector = 16;
	s->ss.type = 3;
	s->ss.db = 1;
	s->ds = s->es = s->fs = s->gs = s->ss;
	s->cr3 = TOP;
	s->cr4 = 1 << 5;                         /* PAE */
	s->cr0 = 1u << 31 | 1 << 5 | 1 << 4 | 1; /* PG NE ET PE */
	s->efer = 1 << 10 | 1 << 8;              /* LMA LME */
}

static enum step run_vcpu(int vcpu, int map_size)
{
	struct kvm_regs regs = {.rip = CODE, .rcx = ROUNDS, .rflags = 2};
	struct kvm_sregs sregs;
	struct kvm_run *run;
	uint32_t count;

	run = mmap(NULL, (size_t)map_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return NO_VCPU;
	enter_long_mode(&sregs);
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return NO_VCPU;
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return NO_RUN;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT)
		return WRONG_EXIT;
	memcpy(&count, (const char *)run + run->io.data_offset, sizeof(count));
	if (count != ROUNDS)
		return WRONG_EXIT;
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return NO_RUN;
	return run->exit_reason == KVM_EXIT_HLT ? WORKS : WRONG_EXIT;
}
#else
static void fill(unsigned char *memory)
{
	(void)memory;
}

static enum step run_vcpu(int vcpu, int map_size)
{
	(void)vcpu;
	(void)map_size;
	return WORKS; /* as far as it is tried on this architecture */
}
#endif

/* In the child of what may be a program with many threads: async-signal-safe calls only. */
static enum step try_all(void)
{
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY};
	int kvm, vm, vcpu;
	void *page;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return NO_OPEN;
	vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	if (vm < 0)
		return NO_VM;
	page = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return NO_MEMORY;
	fill(page);
	region.userspace_addr = (uint64_t)page;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return NO_MEMORY;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
	if (vcpu < 0)
		return NO_VCPU;
	return run_vcpu(vcpu, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL));
}

/* True if the child ended within the limit. */
static bool ended(int pidfd, uint64_t limit_ns)
{
	uint64_t deadline = vckpt_now() + limit_ns, now;
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	while ((now = vckpt_now()) < deadline)
		if (poll(&p, 1, (int)((deadline - now) / VCKPT_MS) + 1) == 1)
			return true;
	return false;
}

int vckpt_kvm_try(uint64_t limit_ns, char *why, size_t size)
{
	vckpt_autofd int pidfd = -1;
	int status = 0;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		/* A child that hangs must not keep open what its parent closes. */
		close_range(3, ~0U, 0);
		_exit(try_all());
	}
	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid < 0 || pidfd < 0) {
		snprintf(why, size, "KVM could not be tried: %s", strerror(errno));
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		return -1;
	}
	if (!ended(pidfd, limit_ns)) {
		kill(pid, SIGKILL);
		/* A vCPU that hangs in the kernel may not even die; then nobody waits for it here.
		 */
		if (ended(pidfd, VCKPT_S))
			waitpid(pid, NULL, 0);
		snprintf(why, size, "KVM is there, but a vCPU hangs in it");
		return -1;
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == WORKS)
		return 0;
	snprintf(why, size, "%s",
		 WIFEXITED(status) && WEXITSTATUS(status) < STEPS
			 ? sentences[WEXITSTATUS(status)]
			 : "the attempt to use KVM crashed");
	return -1;
}
