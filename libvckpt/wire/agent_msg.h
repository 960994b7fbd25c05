/*
 * wire/agent_msg.h: what a host (vckptd) and the agent in a guest say to each other on the
 * virtio-serial port org.vckpt.0.  The host asks, the agent answers; every answer carries the `seq`
 * of its question. Frames: wire/frame.h, not strict, nonce chosen by the host in HELLO.  Times that
 * cross the port are durations or instants of the *guest's* CLOCK_MONOTONIC, as said at each.
 */
#ifndef VCKPT_WIRE_AGENT_MSG_H
#define VCKPT_WIRE_AGENT_MSG_H

#include "wire/codec.h"

#define VCKPT_AGENT_PORT    "org.vckpt.0"
#define VCKPT_AGENT_LOWEST  1
#define VCKPT_AGENT_HIGHEST 3
/* A frame's payload at most: of a guest, and (since 3; before, as much) of a host, who names all
 * neighbours in one, however long their names are. */
#define VCKPT_AGENT_FRAME_MAX 65536
#define VCKPT_AGENT_PEERS_MAX 4096
#define VCKPT_AGENT_ASK_MAX   (VCKPT_AGENT_PEERS_MAX * 80 + VCKPT_AGENT_FRAME_MAX)

/* Numbers are never reused. */
enum vckpt_agent_msg {
	VCKPT_AGENT_HELLO = 1,   /* host: opens a session; struct vckpt_agent_hello */
	VCKPT_AGENT_WELCOME = 2, /* agent: vckpt_agent_welcome */
	VCKPT_AGENT_PREPARE = 3, /* host: vckpt_agent_ask */
	VCKPT_AGENT_READY =
		4, /* agent: vckpt_agent_reply; code VCKPT_ENOTNOW = "not now", detail says why */
	VCKPT_AGENT_HOLD = 5,     /* host: vckpt_agent_hold */
	VCKPT_AGENT_QUIET = 6,    /* agent: vckpt_agent_quiet, also when it did not become quiet */
	VCKPT_AGENT_RELEASE = 7,  /* host: vckpt_agent_ask */
	VCKPT_AGENT_RELEASED = 8, /* agent: vckpt_agent_released */
	VCKPT_AGENT_RESTORED =
		9, /* host: vckpt_agent_restored, after a restart, instead of RELEASE */
	VCKPT_AGENT_AWAKE = 10,    /* agent: vckpt_agent_reply */
	VCKPT_AGENT_INQUIRE = 11,  /* host: vckpt_agent_ask */
	VCKPT_AGENT_FINDINGS = 12, /* agent: vckpt_agent_findings */
	VCKPT_AGENT_LISTEN = 20,   /* host: vckpt_agent_listen */
	VCKPT_AGENT_NEWS = 21,     /* agent: vckpt_agent_news, as soon as there is some */
	VCKPT_AGENT_HOOK = 22,     /* since 2, host: vckpt_agent_hook */
	VCKPT_AGENT_HOOKED = 23,   /* agent: vckpt_agent_hooked, when they are done */
	VCKPT_AGENT_REWIND = 24,  /* since 2, host: vckpt_agent_rewind, before RESTORED and again */
	VCKPT_AGENT_REWOUND = 25, /* agent: vckpt_agent_rewound, when it is done */
	VCKPT_AGENT_ANEW = 26 /* agent, unasked, nonce 0: vckpt_agent_anew, the first it says on a
				 port that it has opened */
};

struct vckpt_agent_hello {
	uint32_t seq;
	uint16_t lowest, highest; /* versions the host speaks */
	char cluster[65], guest[65];
};

struct vckpt_agent_welcome {
	uint32_t seq;
	uint16_t version; /* the highest both speak; 0: none, see text */
	char gates[64]; /* makes that can be had here, best first, space between: "nic-plug socket"
			 */
	char agent[32]; /* vckpt version of the agent */
	char boot_id[40];
	uint32_t generation;  /* of the control page: how many agents this boot has seen */
	uint32_t incarnation; /* as the guest knows it */
	uint32_t processes;   /* attached at the moment */
	char text[256];       /* why version is 0 */
};

/* PREPARE, RELEASE, INQUIRE */
struct vckpt_agent_ask {
	uint32_t seq;
	uint64_t epoch;
	uint32_t incarnation;
	uint8_t freeze;          /* since 2, PREPARE: write out what HOLD is to freeze */
	struct vckpt_list peers; /* since 2, INQUIRE: struct vckpt_agent_peer; none: as known */
};

struct vckpt_agent_reply {
	uint32_t seq;
	uint16_t code;     /* enum vckpt_code */
	uint64_t retry_ns; /* VCKPT_ENOTNOW: ask again after this long, 0 unknown */
	char text[480];
};

/* A neighbour: a NIC of another guest of the cluster that shares a network with NIC `own` of this
 * one. */
struct vckpt_agent_peer {
	uint8_t own[6];
	uint8_t mac[6];
	char guest[65];
};

struct vckpt_agent_hold {
	uint32_t seq;
	uint64_t epoch;
	uint32_t incarnation;
	uint32_t token;     /* of this hold; marker frames carry it */
	uint64_t expiry_ns; /* duration from receipt after which the hold is over by itself */
	uint64_t quiet_ns;  /* duration after which "not quiet" is answered; still held then */
	char gate[16];      /* "nic-plug", "socket", "none" or "" for the agent's first choice */
	struct vckpt_list peers; /* struct vckpt_agent_peer */
	uint8_t freeze; /* since 2: freeze local file systems once it is quiet, to the end of the
			   hold */
};

/* Who is not held, or not quiet. */
struct vckpt_agent_loud {
	uint32_t pid;
	int32_t rank_plus1; /* 0: not a rank */
	char peer[64];      /* "10.0.0.2:1024", or the guest whose marker did not come */
	uint64_t bytes;     /* still queued */
	char what[64];      /* "send queue", "inside send", "not gated", "marker" */
};

struct vckpt_agent_quiet {
	uint32_t seq;
	uint16_t code; /* VCKPT_OK quiet, VCKPT_ETIME not, VCKPT_EREFUSED gate not to be had, ... */
	char gate[16]; /* the make that holds */
	uint64_t took_ns; /* receipt of HOLD to quiet */
	uint32_t held;    /* processes (socket) or NICs (nic-plug) held */
	struct vckpt_list
		loud; /* struct vckpt_agent_loud, the first 32; "not gated" ones even when quiet */
	char text[256];
	char frozen[256];        /* since 2: mount points of what is frozen, ", " between */
	char unfrozen[256];      /* since 2: why others, or all, are not */
	struct vckpt_list files; /* since 2: struct vckpt_agent_file, as at the last INQUIRE, with
				    their lengths now */
};

/* A file of a network file system that is open for writing. */
struct vckpt_agent_file {
	uint32_t pid, fd;
	char type[16]; /* of the file system */
	char path[256];
	uint8_t append; /* O_APPEND */
	uint64_t length, dev,
		inode; /* as the guest's kernel knows them, without asking the server */
};

/* The guest's own network counters, to tell what a hold or a restart cost. */
struct vckpt_agent_tcp {
	uint64_t out_segs, retrans_segs, timeouts, spurious_rtos, dsack_received, lost, probes;
};

struct vckpt_agent_released {
	uint32_t seq;
	uint16_t code; /* VCKPT_ETIME: the hold had expired before */
	uint64_t held_ns;
	uint64_t backlog; /* bytes that waited in the gate */
	uint64_t drops;
	struct vckpt_agent_tcp tcp;
	char text[256];
};

struct vckpt_agent_restored {
	uint32_t seq;
	uint64_t epoch;
	uint32_t incarnation;
	uint64_t wallclock;      /* the host's, ns since 1970 */
	struct vckpt_blob seed;  /* fresh randomness, 32..256 bytes */
	struct vckpt_list peers; /* struct vckpt_agent_peer */
};

enum vckpt_finding_level {
	VCKPT_FINDING_OK,
	VCKPT_FINDING_NOTE,
	VCKPT_FINDING_WARN,
	VCKPT_FINDING_BAD
};

/* One thing looked at, for `vckpt doctor` and the record of an epoch. */
struct vckpt_finding {
	char id[32]; /* "component", "outside-connection", "network-file", "launcher" ... stable */
	uint8_t level;
	char object[96];
	char text[256];
	char cure[256];
};

/* A process that attached itself. */
struct vckpt_agent_process {
	uint32_t pid;
	int32_t rank_plus1;
	uint32_t job_size;
	uint8_t gated;
	char job[64];
	char program[64];
};

struct vckpt_agent_findings {
	uint32_t seq;
	struct vckpt_list findings;  /* struct vckpt_finding */
	struct vckpt_list processes; /* struct vckpt_agent_process */
	struct vckpt_agent_tcp tcp;
	struct vckpt_list files; /* since 2: struct vckpt_agent_file */
};

/*
 * What the programs of this guest say (docs/programs.md).  The host asks, and the agent keeps the
 * question until there is something or the time is over; a second LISTEN, and any other question,
 * ends the first without an answer.
 *
 * It carries what became of requests: all up to number `upto`, and if an epoch was committed also
 * those that were pending when the hold of that epoch began; and which reports need not be told
 * again.  All of that is about this incarnation of the guest; of another, nothing is meant.
 */
struct vckpt_agent_listen {
	uint32_t seq;
	uint64_t wait_ns;
	uint64_t upto, epoch; /* upto 0: no verdict */
	uint32_t incarnation;
	uint16_t code;     /* enum vckpt_code */
	uint64_t retry_ns; /* VCKPT_ENOTNOW: ask again after this long */
	uint64_t heard;    /* reports up to this number are recorded */
	char text[256];
};

/* A request for a checkpoint that waits. */
struct vckpt_agent_wish {
	uint64_t number; /* goes up, also from one agent to its successor; of one incarnation */
	uint32_t pid, uid;
	char program[64];
	char why[256];
	uint64_t age_ns;
	uint64_t done, total; /* how far the program said it is; total 0: it did not */
};

struct vckpt_agent_report {
	uint64_t number; /* as a wish's */
	uint32_t pid, uid;
	char program[64];
	char object[64]; /* what will fail */
	char text[256];
	uint64_t within_ns; /* so long after the report; 0 unknown */
	uint32_t chance;    /* millionths */
	uint64_t age_ns;
};

struct vckpt_agent_news {
	uint32_t seq;
	uint32_t incarnation;
	struct vckpt_list wishes;  /* struct vckpt_agent_wish, all that wait */
	struct vckpt_list reports; /* struct vckpt_agent_report, those not heard yet */
	/* How far the programs are that say so, all together; since 3. */
	uint32_t tellers;
	uint64_t done, total;
};

/*
 * Hooks of the guest's site (base/hooks.h), run by a child of the agent; never while it holds.  The
 * answer comes when they are done, at the latest some seconds after limit_ns.
 */
struct vckpt_agent_hook {
	uint32_t seq;
	uint64_t epoch;
	uint32_t incarnation;
	char hook[24]; /* "pre-checkpoint" ... */
	char cluster[65], guest[65];
	char result[24];   /* what became of the epoch; "" before */
	uint64_t limit_ns; /* for all of them together */
	uint8_t all;       /* one that fails does not keep the others from being run */
};

struct vckpt_agent_hook_run {
	char name[64];
	uint32_t status;
	uint8_t late;
	uint64_t took_ns;
	char text[480];
};

struct vckpt_agent_hooked {
	uint32_t seq;
	uint16_t code;          /* VCKPT_EREFUSED: one failed, see text */
	struct vckpt_list runs; /* struct vckpt_agent_hook_run */
	char text[480];
};

/*
 * Append-only output on servers is to be cut back to its length at the cut.  Said before RESTORED,
 * in the lowest version (so all fields are of that: an agent that does not know the message drops
 * it), and again afterwards to hear what came of it.
 */
struct vckpt_agent_rewind {
	uint32_t seq;
	uint64_t epoch;
	uint32_t incarnation; /* the new one */
	uint64_t limit_ns;
};

struct vckpt_agent_rewound_file {
	uint32_t pid;
	char path[256];
	uint64_t length, was; /* at the cut; before it was cut back, 0 if it could not be seen */
	char saved[288];      /* where what was cut away lies; "" nothing was */
	uint16_t code;        /* not VCKPT_OK: it was left as it is, see text */
	char text[160];
};

struct vckpt_agent_rewound {
	uint32_t seq;
	uint16_t code;           /* not VCKPT_OK: none was cut back, see text */
	struct vckpt_list files; /* struct vckpt_agent_rewound_file */
	char text[480];
};

/* Whatever session there was, whoever says this is not in it: nothing asked there will be answered.
 * A host that has not had its WELCOME yet need not care, since that comes behind this. */
struct vckpt_agent_anew {
	uint32_t seq;        /* 0 */
	uint32_t generation; /* as in WELCOME */
};

extern const struct vckpt_type vckpt_agent_anew_type;
extern const struct vckpt_type vckpt_agent_rewind_type, vckpt_agent_rewound_type;
extern const struct vckpt_type vckpt_agent_hook_type, vckpt_agent_hooked_type;
extern const struct vckpt_type vckpt_agent_listen_type, vckpt_agent_news_type,
	vckpt_agent_wish_type, vckpt_agent_report_type;
extern const struct vckpt_type vckpt_agent_hello_type, vckpt_agent_welcome_type,
	vckpt_agent_ask_type, vckpt_agent_reply_type, vckpt_agent_hold_type, vckpt_agent_quiet_type,
	vckpt_agent_released_type, vckpt_agent_restored_type, vckpt_agent_findings_type,
	vckpt_agent_peer_type, vckpt_agent_file_type, vckpt_agent_loud_type, vckpt_finding_type,
	vckpt_agent_process_type;

#endif
