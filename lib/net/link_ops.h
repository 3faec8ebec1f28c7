/* What link.c shares with the transports: one row of link_ops[] each. */
#ifndef LSC_NET_LINK_OPS_H
#define LSC_NET_LINK_OPS_H

#include <sys/uio.h>

#include "base/buf.h"
#include "net/link.h"

/* Non-blocking: bytes moved, -EAGAIN, or negative errno; readv returns 0 at the end. */
struct lsc_link_send;

struct lsc_link_ops {
	const char *name;
	bool plain;                           /* knows no TLS: with a key, its links need a proof */
	void (*start)(struct lsc_link *link); /* connects; from the loop */
	ssize_t (*readv)(struct lsc_link *link, const struct iovec *iov, int n);
	ssize_t (*writev)(struct lsc_link *link, const struct iovec *iov, int n);
	/* The same with len bytes of a file behind them, which may be no part of what went; 0 where
	 * the file ends before them.  NULL: the body's memory is written instead. */
	ssize_t (*sendfile)(struct lsc_link *link, const struct iovec *iov, int n, int fd,
			    uint64_t offset, size_t len);
	void (*want_write)(struct lsc_link *link, bool want); /* lsc_link_ready() when it can */
	void (*shut)(struct lsc_link *link);                  /* the peer will read the end */
	void (*close)(struct lsc_link *link);                 /* a half-built or closed one too */

	/* NULL where there is nothing to it: the words for what readv returned last, or NULL; and
	 * the turn is over, though bytes may have been read ahead: sees to lsc_link_ready(). */
	const char *(*why)(const struct lsc_link *link);
	void (*read_on)(struct lsc_link *link);

	/* NULL where all bodies are bytes of the stream.  Of those of BODY_LEAST bytes and more, a
	 * transport may put the bytes where they belong by itself: mark() sends a record that has
	 * such a body, and returns 0 where it will not; then move() begins with the next bytes, as
	 * writev does, and flown() says how many more are through.  place() is asked at a body
	 * that is due, and then placed() for what is left of it. */
	ssize_t (*mark)(struct lsc_link *link, const void *record,
			const struct lsc_link_send *send);
	ssize_t (*move)(struct lsc_link *link, size_t limit);
	size_t (*flown)(struct lsc_link *link);
	int (*own)(struct lsc_link *link, const void *copy); /* of a body that moves */
	bool (*place)(struct lsc_link *link, void *body, uint32_t len);
	int (*placed)(struct lsc_link *link, uint32_t *ret_left);
	void (*skip)(struct lsc_link *link);

	/* NULL where it needs none: 0, or negative errno with words. */
	int (*find_device)(struct lsc_err *err);

	int (*listen)(struct lsc_listener **ret_listener, struct lsc_loop *loop,
		      const struct lsc_endpoint *at, struct lsc_err *err);
	void (*unlisten)(struct lsc_listener *listener);
};

enum lsc_link_state {
	LSC_LINK_CONNECTING, /* no transport yet, or TLS is not up */
	LSC_LINK_HELLO,      /* waiting for the peer's */
	LSC_LINK_PROVING,    /* and then for its `prove` or `proof` */
	LSC_LINK_OPEN,
	LSC_LINK_DOWN, /* on_close was called, or is about to be */
};

/* What arrives next. */
enum lsc_link_expect {
	LSC_EXPECT_RECORD,
	LSC_EXPECT_BODY_HEADER,
	LSC_EXPECT_BODY,
};

/* One send that is not through: its record's bytes stand in tx.buf, in order. */
struct lsc_link_send {
	uint32_t record_len; /* with the body's header */
	uint32_t body_len;
	const uint8_t *body;
	void *cookie;
	void *owned;     /* the body's copy, once the link has no owner */
	int fd;          /* where the body lies too; -1 */
	uint64_t offset; /* there */
};

struct lsc_link {
	struct lsc_loop *loop;
	const struct lsc_link_ops *ops;
	const struct lsc_link_events *events;
	void *data;
	char kind[16];
	char peer[LSC_ENDPOINT_TEXT + 16];
	enum lsc_link_state state;
	unsigned minor;    /* of the peer's hello */
	unsigned busy;     /* inside our own loops or a callback: freeing waits for their end */
	bool closed;       /* its owner closed it meanwhile */
	bool orphan;       /* finishing: sends what is queued, then waits for the peer's end */
	bool parting;      /* down, and has still to tell the peer why */
	bool aborted;      /* the peer told us why */
	bool lost_body;    /* a body's memory or file is not there any more */
	bool greeted;      /* our hello is through */
	bool shut;         /* we told the peer that nothing more comes */
	bool write_wanted; /* the transport is full; it tells when it is not */
	bool accepted;     /* not opened by us */
	bool held;         /* nothing but our hello goes out before the proof */
	uint64_t timeout_ns, unsent_bytes;
	struct lsc_endpoint endpoint; /* to connect to */

	const struct lsc_key *key;
	const struct lsc_pass *proof; /* that we have to show */
	const struct lsc_pass *(*find_proof)(void *data, const uint8_t *id);
	void *find_data;
	uint8_t *nonce;  /* that the peer is to answer; NULL: none */
	uint8_t *proved; /* id of the secret that the answer was made with */

	struct lsc_timer *flush; /* deferred to the end of the turn */
	struct lsc_timer *deadline;
	struct lsc_loop_hook at_free; /* while it finishes */
	struct lsc_rate *rate;

	struct {
		struct lsc_buf buf;
		size_t used; /* of buf */
		struct lsc_record record;
		enum lsc_link_expect expect;
		uint8_t *body; /* where the rest goes; NULL: skipped */
		uint32_t body_len, body_left;
		bool placing; /* the transport puts the body there */
	} rx;

	struct {
		struct lsc_buf buf;
		size_t used;                 /* of buf, by records that are through */
		struct lsc_link_send *sends; /* a ring */
		uint32_t first, n, cap;      /* cap: a power of two */
		uint64_t done;               /* bytes of the first send that are through */
		bool moving;                 /* the transport moves its body */
		bool by_stream;              /* and does not want that of the first */
		size_t queued;
	} tx;

	/* transports' own */
	int fd;
	struct lsc_watch *watch;
	struct lsc_resolve *resolve; /* while the endpoint's name is */
	struct addrinfo *addresses, *next_address;
	struct lsc_memory_end *memory;
	struct lsc_rdma_end *rdma;
	bool securing; /* TLS is not up yet: an accepted link is among its listener's */
	struct lsc_listener *listener;
	struct lsc_link *older, *newer;
	struct lsc_tls *tls;
	struct lsc_timer *read_on; /* of tls */
};

extern const struct lsc_link_ops lsc_link_memory_ops, lsc_link_tcp_ops, lsc_link_rdma_ops;

/* NULL: that is no link's, or not built in. */
const struct lsc_link_ops *lsc_link_ops_of(enum lsc_endpoint_kind kind);

/* Half-built, in state CONNECTING. */
struct lsc_link *lsc_link_new(struct lsc_loop *loop, const struct lsc_link_ops *ops,
			      const struct lsc_link_options *options,
			      const struct lsc_link_events *events, void *data);

/* The transport is there: says hello. */
void lsc_link_up(struct lsc_link *link);

/* Bytes came, or room did. */
void lsc_link_ready(struct lsc_link *link, bool readable, bool writable);

/* Ends it with what err says; from the loop only. */
void lsc_link_fail(struct lsc_link *link, const struct lsc_err *err);

/* The same, but the transport is still read until the peer has closed, so that it gets the last
 * bytes of the transport's own; nothing that was queued goes out. */
void lsc_link_part(struct lsc_link *link, const struct lsc_err *err);

/* --- who the other end is, on a plain link (link_proof.c) --- */

/* Asks the peer of an accepted link for a proof, behind our hello: 0 or negative errno. */
int lsc_link_ask_proof(struct lsc_link *link, struct lsc_err *err);

/* Takes the record that is due in state PROVING: 0 or negative errno. */
int lsc_link_take_proof(struct lsc_link *link, struct lsc_err *err);

/* --- TLS on a stream socket (link_tls.c) --- */

/* Begins it, on a link that is connected; then as bytes come, while link->securing. */
void lsc_link_secure(struct lsc_link *link);
void lsc_link_secure_on(struct lsc_link *link);
void lsc_link_secured(struct lsc_link *link); /* or given up; more than once is fine */

/* Room in the socket: whether there is some for the link then, or negative errno. */
int lsc_link_tls_flush(struct lsc_link *link);
ssize_t lsc_link_tls_writev(struct lsc_link *link, const struct iovec *iov, int n);
void lsc_link_tls_read_on(struct lsc_link *link);
void lsc_link_tls_shut(struct lsc_link *link);
void lsc_link_tls_close(struct lsc_link *link); /* with a last word, where that is possible */

/* Its listener is no more. */
void lsc_listener_leave(struct lsc_listener *listener);

/* What the socket is to be watched for. */
void lsc_link_watch(struct lsc_link *link);

/* --- what a link has to say (link_queue.c) --- */

/* Puts a record, and the body it announces, behind what is queued: 0 or -ENOMEM. */
int lsc_link_queue(struct lsc_link *link, const struct lsc_pack *pack, const void *body,
		   uint32_t body_len, void *cookie);

/* Puts a record behind our hello, before all else; only while nothing else has gone out. */
int lsc_link_queue_early(struct lsc_link *link, const struct lsc_pack *pack);

/* Sends what the transport and the rate take now, and sees to being called again for the rest:
 * 0 or negative errno. */
int lsc_link_write(struct lsc_link *link);

/* Copies the bodies, which were only borrowed, of an owner who will not be told any more. */
int lsc_link_own_queue(struct lsc_link *link);

/* Takes back what is queued: all, or but for our hello and what the peer has begun to get. */
void lsc_link_drop_queue(struct lsc_link *link);
void lsc_link_cut_queue(struct lsc_link *link);

/* --- listeners: each transport's own begins with this --- */

struct lsc_listener {
	struct lsc_loop *loop;
	const struct lsc_link_ops *ops;
	const struct lsc_link_events *events;
	struct lsc_link_options options;
	char kind[16];
	void *(*on_link)(void *data, struct lsc_link *link);
	void *data;
	char address[LSC_ENDPOINT_TEXT + 16];
	struct lsc_link *oldest, *newest; /* of the links whose peers have yet to show a key */
	unsigned n_securing;
};

/* A link for who has just come, or NULL; once the transport has made it whole,
 * lsc_listener_take() asks the listener's owner whether to keep it. */
struct lsc_link *lsc_listener_link(struct lsc_listener *listener);
void lsc_listener_take(struct lsc_listener *listener, struct lsc_link *link);

/* Connects two new links. */
int lsc_memory_join(struct lsc_link *a, struct lsc_link *b, struct lsc_err *err);

#endif
