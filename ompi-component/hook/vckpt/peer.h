/*
 * peer.h: which sockets a hold is about.
 */
#ifndef HOOK_VCKPT_PEER_H
#define HOOK_VCKPT_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * What is known about sockets, by the kernel's cookie: a number no other socket of this machine
 * ever has.  A descriptor that is closed and used again has another cookie, so nothing here can be
 * stale and nobody needs to watch close().  One word for each socket, read and written whole: no
 * lock.
 */
#define VCKPT_PEER_CACHE 1024

struct vckpt_peer_cache {
	_Atomic uint64_t known[VCKPT_PEER_CACHE]; /* cookie and kind, see peer.c */
};

/*
 * Whether `fd` is a TCP connection to another machine that is past its transport's handshake.
 *
 * The handshake is over once bytes went both ways: those who connect speak first, wait for an
 * answer, and then send messages (btl/tcp and UCX alike; libfabric's tcp, too).  Thread-safe; some
 * system calls the first time, one afterwards.  Keeps errno.
 */
bool vckpt_peer_is_held(struct vckpt_peer_cache *cache, int fd);

/* Whether the address is not one of this machine's own.  One question to the kernel's routing
 * table. When it does not answer, the address counts as foreign.  Keeps errno. */
bool vckpt_address_is_foreign(const struct sockaddr *sa, socklen_t len);

#endif
