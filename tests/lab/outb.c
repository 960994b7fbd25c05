/* outb PORT VALUE: writes a byte to a port of the machine, as a driver would that the guest's
 * kernel does not have. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

int main(int argc, char **argv)
{
	unsigned short port = argc == 3 ? (unsigned short)strtoul(argv[1], NULL, 0) : 0;

	if (!port || ioperm(port, 1, 1) < 0) {
		fprintf(stderr, "outb PORT VALUE, by root\n");
		return 1;
	}
	outb((unsigned char)strtoul(argv[2], NULL, 0), port);
	return 0;
}
