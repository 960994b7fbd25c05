/* victim.c: a shared object with imports to change.  Built lazily bound, and with everything bound
 * and locked at load time (-Wl,-z,relro,-z,now). */
#include <sys/socket.h>
#include <sys/uio.h>

/* A pointer in data: another kind of relocation. */
ssize_t (*victim_pointer)(int, const void *, size_t, int) = send;

ssize_t victim_writev(int fd, const struct iovec *iov, int n)
{
	return writev(fd, iov, n);
}

ssize_t victim_send(int fd, const void *data, size_t n)
{
	return send(fd, data, n, MSG_DONTWAIT);
}

ssize_t victim_indirect(int fd, const void *data, size_t n)
{
	return victim_pointer(fd, data, n, MSG_DONTWAIT);
}
