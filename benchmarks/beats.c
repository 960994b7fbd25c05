/*
 * beats FIFO OUT
 *
 * Notes when bytes arrive in FIFO: for each read a line "SECONDS BYTES", seconds since 1970 by this
 * machine's clock, is appended to OUT at once. Ends when it is killed. FIFO is held open for
 * writing too, so that writers may come and go. Exit status: 1 if a file cannot be opened or
 * written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char bytes[4096];
	FILE *out;
	int in;

	if (argc != 3) {
		fprintf(stderr, "usage: beats FIFO OUT\n");
		return 1;
	}
	in = open(argv[1], O_RDWR | O_CLOEXEC);
	out = fopen(argv[2], "ae");
	if (in < 0 || !out) {
		fprintf(stderr, "beats: %s: %s\n", argv[in < 0 ? 1 : 2], strerror(errno));
		return 1;
	}
	setlinebuf(out);
	for (;;) {
		ssize_t n = read(in, bytes, sizeof(bytes));
		struct timespec t;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 1;
		clock_gettime(CLOCK_REALTIME, &t);
		if (fprintf(out, "%lld.%06ld %zd\n", (long long)t.tv_sec, t.tv_nsec / 1000, n) < 0)
			return 1;
	}
}
