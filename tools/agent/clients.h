/*
 * clients.h: the processes of MPI jobs that attached themselves (wire/client_msg.h), and their
 * slots. A slot belongs to a pid and a start time and goes when the process goes.  The file `slots`
 * in the run folder lists them for a successor, who finds the memory again through the process that
 * has it.
 */
#ifndef VCKPT_AGENT_CLIENTS_H
#define VCKPT_AGENT_CLIENTS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"
#include "wire/client_msg.h"
#include "wire/page.h"

#define VCKPT_CLIENTS_MAX 1024

struct vckpt_clients;

struct vckpt_client {
	struct vckpt_clients *all;
	pid_t pid;
	uint64_t start;
	int pidfd, memfd;
	uint64_t inode; /* of the memfd */
	const struct vckpt_slot *slot;
	struct event *death;
	int32_t rank_plus1;
	uint32_t size;
	char job[64], program[64], launcher[96];
	struct vckpt_list nodes; /* struct vckpt_client_node; a successor does not know them */
};

struct vckpt_connection;

struct vckpt_clients {
	struct event_base *base;
	const struct vckpt_log *log;
	char registry[512], path[512];
	int listen_fd;
	struct event *accept, *resume;
	struct vckpt_connection *connections; /* open ones, a list */
	unsigned n, nconnections;
	struct vckpt_client *v[VCKPT_CLIENTS_MAX];
	void (*changed)(void *arg); /* somebody went; may be NULL */
	void *arg;
	/* A process speaks (wire/client_msg.h, SAY), and its connection ends.  May be NULL. */
	void (*say)(void *arg, void *connection, pid_t pid, uid_t uid,
		    const struct vckpt_client_say *m);
	void (*gone)(void *arg, void *connection);
	void *say_arg;
};

/* Takes over the slots of a predecessor and listens on RUN_DIR/agent.sock. */
int vckpt_clients_open(struct vckpt_clients *cs, struct event_base *base, const char *run_dir,
		       const struct vckpt_log *log, struct vckpt_error *err);
void vckpt_clients_close(struct vckpt_clients *cs);

/* Sends to whoever said something; lost if he does not read. */
void vckpt_connection_send(void *connection, uint16_t type, const struct vckpt_type *mtype,
			   const void *m);

/* NULL when `pid` is not attached. */
struct vckpt_client *vckpt_clients_find(const struct vckpt_clients *cs, pid_t pid);
bool vckpt_client_gated(const struct vckpt_client *c);
bool vckpt_client_ucx_threads(const struct vckpt_client *c);
bool vckpt_client_osc_pt2pt(const struct vckpt_client *c);
uint32_t vckpt_client_depth(const struct vckpt_client *c);
/* False when the process no longer has its slot: it called exec. */
bool vckpt_client_has_slot(const struct vckpt_client *c);
void vckpt_client_drop(struct vckpt_client *c, const char *why);

/* One line of the registry; a program's name may hold blanks, a job's not.  Pure. */
int vckpt_client_to_line(const struct vckpt_client *c, char *out, size_t len);
int vckpt_client_from_line(struct vckpt_client *c, const char *line);

#endif
