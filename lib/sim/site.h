/* A site: a cluster that is not there, its nodes and what they can do, from a text (lsc-sim(1)).
 *
 * A line is words KEY=VALUE; # begins a comment.  A line with nodes=N adds so many nodes, which
 * come after those of the lines before; one without it is about the whole cluster.
 *
 *	nodes=N		N nodes
 *	link=RATE	of their links, as it is on the cable, each way
 *	up=RATE		what they send at, where that is another
 *	down=RATE	what they receive at
 *	disk=RATE	what they read from disk
 *
 *	payload=SHARE	of a link's rate, what is data and not heads of packets
 *	latency=TIME	from node to node
 *	start=TIME	from a command to the first plan of a cast
 */
#ifndef LSC_SIM_SITE_H
#define LSC_SIM_SITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_SITE_MAX_NODES 4096u
#define LSC_SITE_MAX_TEXT  (1u << 20)

/* 1448 bytes in each TCP segment, whose Ethernet frame takes 1538 with its preamble and gap. */
#define LSC_SITE_PAYLOAD (1448.0 / 1538.0)

struct lsc_site_node {
	double up, down; /* bytes a second, as on the cable; never 0 */
	double disk;     /* 0: there is none */
};

struct lsc_site {
	struct lsc_site_node *nodes;
	uint32_t n_nodes;
	double payload, latency, start; /* seconds */
};

#define LSC_SITE_INIT                                                                              \
	{                                                                                          \
		.payload = LSC_SITE_PAYLOAD, .latency = 50e-6,                                     \
	}

void lsc_site_release(struct lsc_site *site);

/* Bytes of data a second that a node sends and receives. */
double lsc_site_up(const struct lsc_site *site, uint32_t node);
double lsc_site_down(const struct lsc_site *site, uint32_t node);

/* Adds what a text says; -EINVAL names the line. */
int lsc_site_parse(struct lsc_site *site, const char *text, size_t len, struct lsc_err *err);

/* The same for a file; "-" is standard input. */
int lsc_site_read(struct lsc_site *site, const char *path, struct lsc_err *err);

#endif
