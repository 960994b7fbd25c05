/*
 * try-kvm [SECONDS]
 *
 * Runs some million instructions on a virtual CPU of /dev/kvm, for at most SECONDS (default 3).
 * That the device opens, and even makes machines, does not mean that they run: nested under some
 * hypervisors the first entry never returns, under others each instruction is interpreted and a
 * guest's kernel seems to hang.
 *
 * Exit status: 0 it ran, 1 it did not; one line says what happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The machine's memory: page tables, then the code; one large page maps it all. */
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE_AT = 0x4000, MEMORY = 0x200000 };
/* Some 10 ms of a real processor; minutes where KVM interprets instruction by instruction. */
enum { PORT = 0x42, COUNT = 20000000 };

/* 64-bit: count to COUNT, write the count to the port, halt. */
static const uint8_t code[] = {
	0xb9, COUNT & 255, COUNT >> 8 & 255, COUNT >> 16 & 255, COUNT >> 24, /* mov ecx, COUNT */
	0x31, 0xc0,                                                          /* xor eax, eax */
	0xff, 0xc0,                                                          /* again: inc eax */
	0xff, 0xc9,                                                          /* dec ecx */
	0x75, 0xfa,                                                          /* jnz again */
	0xe7, PORT,                                                          /* out PORT, eax */
	0xf4,                                                                /* hlt */
};

/* 64-bit mode with paging, as kernels run: some hypervisors manage only what comes before it. */
static void long_mode(struct kvm_sregs *s, char *memory)
{
	const uint64_t present = 3, large = 0x80,
		       tables[3][2] = {{PML4, PDPT | present},
				       {PDPT, PD | present},
				       {PD, 0 | present | large}};
	struct kvm_segment segment = {.limit = 0xffffffff,
				      .selector = 8,
				      .type = 11,
				      .present = 1,
				      .s = 1,
				      .l = 1,
				      .g = 1};

	for (int i = 0; i < 3; i++)
		memcpy(memory + tables[i][0], &tables[i][1], sizeof(uint64_t));
	s->cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
	s->cr3 = PML4;
	s->cr4 = 0x20;   /* PAE */
	s->efer = 0x500; /* LMA LME */
	s->cs = segment;
	segment.selector = 16;
	segment.type = 3;
	segment.l = 0;
	segment.db = 1;
	s->ds = s->es = s->fs = s->gs = s->ss = segment;
}

static int no(const char *what)
{
	printf("KVM does not work: %s: %s\n", what, strerror(errno));
	return 1;
}

/* From the start of the code to its halt; says what went wrong. */
static int run(int vcpu, struct kvm_run *state)
{
	uint32_t sum = 0;

	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			return no("running a virtual CPU");
		}
		if (state->exit_reason == KVM_EXIT_IO && state->io.port == PORT) {
			uint32_t word;

			memcpy(&word, (char *)state + state->io.data_offset, sizeof(word));
			sum = word;
		} else if (state->exit_reason == KVM_EXIT_HLT && sum == COUNT) {
			printf("KVM works\n");
			return 0;
		} else {
			printf("KVM does not work: a virtual CPU stopped with reason %u\n",
			       state->exit_reason);
			return 1;
		}
	}
}

static int try_it(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu, size;
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY};
	struct kvm_regs regs = {.rip = CODE_AT, .rflags = 2};
	struct kvm_sregs sregs;
	struct kvm_run *state;
	char *memory;

	if (kvm < 0)
		return no("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	if (vm < 0)
		return no("creating a machine");
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return no("memory");
	memcpy(memory + CODE_AT, code, sizeof(code));
	region.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return no("giving the machine memory");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
	if (vcpu < 0 || size < (int)sizeof(*state))
		return no("creating a virtual CPU");
	state = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (state == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return no("the state of the virtual CPU");
	long_mode(&sregs, memory);
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return no("setting the registers");
	return run(vcpu, state);
}

int main(int argc, char **argv)
{
	int limit = argc > 1 ? atoi(argv[1]) : 3, status = 0, fd;
	struct pollfd p;
	pid_t child;

	if (argc > 2 || limit < 1) {
		fprintf(stderr, "usage: try-kvm [SECONDS]\n");
		return 2;
	}
	child = fork();
	if (child < 0)
		return no("fork");
	if (child == 0) {
		status = try_it();
		fflush(stdout);
		_exit(status);
	}
	fd = (int)syscall(SYS_pidfd_open, child, 0);
	p = (struct pollfd){.fd = fd, .events = POLLIN};
	if (fd < 0 || poll(&p, 1, limit * 1000) != 1) {
		printf("KVM does not work: a virtual CPU did not come back within %d s\n", limit);
		kill(child, SIGKILL);
		/* It may hang where signals do not reach; then its fate is not waited for. */
		poll(&p, 1, 1000);
		waitpid(child, NULL, WNOHANG);
		return 1;
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	printf("KVM does not work: the trial died by signal %d\n", WTERMSIG(status));
	return 1;
}
