/*
 * wire/host_msg.h: what a coordinator asks of a host, and what the host tells it.
 *
 * These structs are also the arguments of host/host.h: a host on this machine takes them as they
 * are, one elsewhere gets them as frames (wire/frame.h, strict) over whatever byte stream a
 * launcher gives. Each request has exactly one REPLY with its `seq`.  PROGRESS, CAPTURED and LOST
 * come unasked. Requests for one guest are done in the order they came; those of different guests
 * side by side.
 */
#ifndef VCKPT_WIRE_HOST_MSG_H
#define VCKPT_WIRE_HOST_MSG_H

#include "wire/agent_msg.h"
#include "wire/codec.h"

#define VCKPT_HOST_LOWEST    1
#define VCKPT_HOST_HIGHEST   9
#define VCKPT_HOST_FRAME_MAX (16u << 20)

#define VCKPT_NAME_MAX 65   /* cluster and guest names, with NUL */
#define VCKPT_PATH_MAX 1024 /* store path, with NUL */

/* Frame types. */
enum vckpt_host_msg {
	VCKPT_HOST_HELLO = 1,   /* coordinator, first of all; vckpt_host_hello */
	VCKPT_HOST_WELCOME = 2, /* host; vckpt_host_welcome */
	VCKPT_HOST_REQUEST = 3, /* vckpt_host_request */
	VCKPT_HOST_EVENT = 4,   /* vckpt_host_event */
	VCKPT_HOST_PING = 5     /* since 2: coordinator, answered with the same; vckpt_host_ping */
};

struct vckpt_host_hello {
	uint16_t lowest, highest;
	char who[128]; /* "vckpt checkpoint, pid 4711, user root": for the record and for refusals
			*/
};

struct vckpt_host_welcome {
	uint16_t version; /* 0: refused, see text */
	uint32_t pid;     /* of vckptd */
	char host[256];
	char release[32]; /* vckpt's version there */
	char text[256];
};

/* Whoever has sent one promises to go on: the session of a coordinator that is silent for
 * VCKPT_HOST_SILENCE_S after it ends as if it had hung up. */
struct vckpt_host_ping {
	uint32_t count;
};

#define VCKPT_HOST_PING_S    3
#define VCKPT_HOST_SILENCE_S 15

/*
 * What can be asked.  Numbers are never reused.  All are about one guest unless "host" is said.
 * The requests of an epoch carry (epoch, incarnation); a host that has seen a newer pair for the
 * cluster refuses (VCKPT_EREFUSED): an old coordinator has woken up.
 */
enum vckpt_host_op {
	VCKPT_OP_OPEN =
		1, /* host: this session works on `cluster` in `store`; EBUSY names who has it */
	VCKPT_OP_SURVEY =
		2, /* detail: what the domain is and has (docs/host-protocol.md, "survey") */
	VCKPT_OP_ADOPT =
		3, /* make the domain fit: channel, no autostart; detail: what was changed */
	VCKPT_OP_DOCTOR = 4,  /* detail: findings; guest "" = the host itself */
	VCKPT_OP_PREPARE = 5, /* engine made ready, agent asked; ENOTNOW with retry in detail */
	VCKPT_OP_HOLD =
		6, /* gate closed and quiet; ETIME = held but not quiet; detail: who was loud */
	VCKPT_OP_PAUSE = 7, /* vCPUs stand still, confirmed */
	VCKPT_OP_CUT =
		8, /* capture begun; reply when the device state is taken; CAPTURED follows */
	VCKPT_OP_RUN = 9,        /* vCPUs run again, confirmed; "already running" is success */
	VCKPT_OP_RELEASE = 10,   /* gate opened */
	VCKPT_OP_COMMITTED = 11, /* the epoch is in the catalogue: forget how to undo it */
	VCKPT_OP_ABORT = 12, /* whatever of an epoch is under way: undone; guest runs, gate open, no
				capture */
	VCKPT_OP_RESTORE = 13, /* rebuilt from (epoch), paused, every page verified */
	VCKPT_OP_WAKE = 14,    /* run, tell the agent RESTORED, gate open */
	VCKPT_OP_DESTROY = 15, /* the domain is gone; fine if it was */
	VCKPT_OP_STATUS = 16,  /* as SURVEY but cheap: state only */
	VCKPT_OP_HOST = 17,    /* host: what it is and has left; since version 2 of the protocol */
	VCKPT_OP_FIT = 18,  /* could the guest be rebuilt here from (epoch)?  detail: what keeps it
			       from that; since version 2 */
	VCKPT_OP_DISK = 19, /* paused: its disks' layers frozen, what it writes goes to new ones;
			      only for a guest whose PREPARE named "disks"; since version 2 */
	VCKPT_OP_LISTEN = 20, /* since 4: what programs in the guest ask, after timeout_ns at the
				latest; brings a verdict, see vckpt_agent_listen: parent is its
				upto, token its code, expiry_ns its retry_ns */
	VCKPT_OP_READ = 21,   /* cut, and paused by its engine: its memory is read, it may run; only
				for a guest whose PREPARE said "says_read" */
	VCKPT_OP_MIGRATE = 22, /* since 5: live to `peer`; given up after timeout_ns.  PROGRESS,
				  detail as of the reply */
	VCKPT_OP_HOOK = 23, /* host, or guest; since 5: the site's hooks are run, expiry_ns is their
			       limit; detail: what they said.  Not while the guest is held */
	VCKPT_OP_TIDY = 24  /* layers of its disks that nothing names any more are removed, while it
			       runs; detail: which.  With VCKPT_HOW_LOOK only told, and no OPEN is
			       needed: the request names the store */
};

/* How MIGRATE, or TIDY, may be done. */
enum {
	VCKPT_HOW_POSTCOPY = 1, /* by post-copy, if it would not be over in time */
	VCKPT_HOW_STORAGE = 2,  /* disks are copied that the other host does not see */
	VCKPT_HOW_UNSAFE = 4,   /* libvirt is not to worry about disks that are cached */
	VCKPT_HOW_LOOK = 8      /* TIDY: nothing is changed, and epochs are not asked */
};

/* Which pages a capture writes. */
enum {
	VCKPT_PAGES_ALL = 0,  /* all; whoever is older than version 7 can read the epoch */
	VCKPT_PAGES_ONCE = 1, /* those that the store does not have */
	VCKPT_PAGES_EPOCH = 2 /* those that no other guest of this epoch has here */
};

enum vckpt_host_event_kind {
	VCKPT_EVENT_REPLY = 1,    /* the one answer to request `seq` */
	VCKPT_EVENT_PROGRESS = 2, /* done of total bytes of a capture or a restore */
	VCKPT_EVENT_CAPTURED =
		3, /* a capture is whole and on stable storage; detail: the store's receipt */
	VCKPT_EVENT_LOST =
		4 /* the guest or its capture failed while nobody was asking; text says how */
};

/* A NIC of a guest of the cluster.  Those whose `network` is the same text reach each other. */
struct vckpt_host_nic {
	char guest[VCKPT_NAME_MAX];
	uint8_t mac[6];
	char network[128];
};

struct vckpt_host_request {
	uint32_t seq;
	uint16_t op; /* enum vckpt_host_op */
	char cluster[VCKPT_NAME_MAX];
	char guest[VCKPT_NAME_MAX];
	char domain[256];       /* libvirt's name of the guest's domain */
	uint64_t epoch, parent; /* parent: epoch whose pages may be referred to; 0 none */
	uint32_t incarnation;
	uint64_t timeout_ns;        /* for this request; 0: the host's own default */
	uint64_t expiry_ns;         /* HOLD: the gate opens by itself after this */
	uint32_t token;             /* HOLD: of the marker frames, the same for all guests */
	char gate[16];              /* HOLD: wanted make, "" any, "none" no hold */
	char engine[16];            /* PREPARE, RESTORE: wanted engine, "" any */
	char codec[16];             /* PREPARE: "auto", "lz4", "zstd", "none", "" lz4 */
	int32_t level;              /* of the codec; 0 default.  Travels as its two's complement */
	char store[VCKPT_PATH_MAX]; /* OPEN */
	char attempt[40]; /* PREPARE..: the coordinator's lease id, names the attempt in the store
			   */
	struct vckpt_list peers; /* PREPARE, HOLD, WAKE, DOCTOR: struct vckpt_agent_peer; since 8
				    a host that was told `nics` finds them itself */
	char store_uuid[37];     /* since 2.  OPEN: of the store that is meant, "" any */
	uint64_t limit;  /* since 3.  PREPARE: bytes a second that captures may write; 0 any */
	char text[256];  /* since 4.  LISTEN: of the verdict */
	uint64_t heard;  /* since 4.  LISTEN: as there */
	char hook[24];   /* since 5.  HOOK: "pre-checkpoint", "post-checkpoint", "post-restart" */
	uint8_t freeze;  /* since 5.  PREPARE, HOLD: local file systems are to be frozen at the cut
			  */
	uint8_t release; /* since 5.  RUN: all guests are cut and read, so the gate may open with
			    it; RELEASE follows */
	uint8_t rewind;  /* since 5.  WAKE: append-only output on servers is to be cut back */
	char result[24]; /* since 5.  HOOK: what became of the epoch */
	char peer[256], data[256]; /* since 5.  MIGRATE: libvirt's URI of the other host, and where
				      QEMU sends memory ("" by host name) */
	uint32_t how;              /* since 5.  MIGRATE, TIDY: VCKPT_HOW_* */
	uint8_t suspend; /* since 6.  PREPARE: the guest stands still from the cut on, and goes at
			    COMMITTED; a host that knows it says "leaves" */
	uint8_t once;    /* since 7.  PREPARE: VCKPT_PAGES_* */
	struct vckpt_list nics; /* since 8.  OPEN, and DOCTOR of the host: struct vckpt_host_nic,
				   those of all guests, once for the session */
};

struct vckpt_host_event {
	uint32_t seq;
	uint16_t kind; /* enum vckpt_host_event_kind */
	uint16_t op;   /* of the request */
	char guest[VCKPT_NAME_MAX];
	uint16_t code; /* enum vckpt_code */
	int32_t sys;
	char text[480];
	uint64_t began_ns,
		ended_ns; /* host's CLOCK_MONOTONIC: the work itself, without the way here */
	uint64_t stop_ns,
		run_ns;       /* host's CLOCK_MONOTONIC of QEMU's STOP/RESUME events, 0 unknown */
	uint64_t done, total; /* PROGRESS: bytes */
	struct vckpt_blob detail; /* JSON text, or empty */
};

extern const struct vckpt_type vckpt_host_hello_type, vckpt_host_welcome_type,
	vckpt_host_request_type, vckpt_host_event_type, vckpt_host_ping_type, vckpt_host_nic_type;

const char *vckpt_host_op_name(unsigned op);

#endif
