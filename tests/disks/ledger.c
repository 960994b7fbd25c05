/*
 * ledger: a program whose memory and whose disks must agree.
 *
 *     ledger write COUNTER DEVICE...   counts, for ever; each number goes to a slot of each device,
 *                                      past the guest's caches, and then to the file COUNTER, which
 *                                      is in memory
 *     ledger check COUNTER DEVICE...   while no writer runs: every slot of each device must hold
 * the newest number that belongs there; "agree N", or what does not
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOT  4096
#define SLOTS 512
#define MOST  8

static volatile uint64_t *counter_at(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, SLOT) == 0)
		p = mmap(NULL, SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		return p;
	perror(path);
	exit(2);
}

/* A slot is its number over and over, each time with its place: half a write is seen. */
static void fill(uint64_t *slot, uint64_t n)
{
	for (unsigned i = 0; i < SLOT / sizeof(*slot); i++)
		slot[i] = n * 1000 + i;
}

static void write_on(volatile uint64_t *counter, const int *fd, char **names, int n)
{
	uint64_t *slot = aligned_alloc(SLOT, SLOT);

	for (uint64_t k = *counter + 1;; k++) {
		fill(slot, k);
		for (int d = 0; d < n; d++)
			if (pwrite(fd[d], slot, SLOT, (off_t)(k % SLOTS) * SLOT) != SLOT) {
				perror(names[d]);
				exit(2);
			}
		*counter = k;
	}
}

/* The newest number up to `n` whose slot is s; 0: none yet. */
static uint64_t newest(uint64_t n, uint64_t s)
{
	uint64_t back = (n % SLOTS + SLOTS - s) % SLOTS;

	return back >= n ? 0 : n - back;
}

static bool holds(const uint64_t *slot, uint64_t k)
{
	uint64_t want[SLOT / sizeof(uint64_t)] = {0};

	if (k)
		fill(want, k);
	return memcmp(slot, want, SLOT) == 0;
}

static int check(uint64_t n, const int *fd, char **names, int devices)
{
	uint64_t *slot = aligned_alloc(SLOT, SLOT);
	int bad = 0;

	for (int d = 0; d < devices; d++)
		for (uint64_t s = 0; s < SLOTS; s++) {
			if (pread(fd[d], slot, SLOT, (off_t)s * SLOT) != SLOT) {
				perror(names[d]);
				return 2;
			}
			/* The next one may be on its way: written, and not counted yet. */
			if (holds(slot, newest(n, s)) ||
			    ((n + 1) % SLOTS == s && holds(slot, n + 1)))
				continue;
			if (bad++ < 3)
				printf("%s: slot %" PRIu64 " begins with %" PRIu64
				       ", should hold %" PRIu64 "; the counter is %" PRIu64 "\n",
				       names[d], s, slot[0] / 1000, newest(n, s), n);
		}
	if (!bad)
		printf("agree %" PRIu64 "\n", n);
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	bool writes = argc > 1 && strcmp(argv[1], "write") == 0;
	volatile uint64_t *counter;
	int fd[MOST];

	if (argc < 4 || argc - 3 > MOST || (!writes && strcmp(argv[1], "check") != 0)) {
		fprintf(stderr, "usage: ledger write|check COUNTER DEVICE...\n");
		return 2;
	}
	for (int d = 0; d < argc - 3; d++) {
		fd[d] = open(argv[3 + d], (writes ? O_RDWR | O_SYNC : O_RDONLY) | O_DIRECT);
		if (fd[d] < 0) {
			perror(argv[3 + d]);
			return 2;
		}
	}
	counter = counter_at(argv[2]);
	if (writes)
		write_on(counter, fd, argv + 3, argc - 3);
	return check(*counter, fd, argv + 3, argc - 3);
}
