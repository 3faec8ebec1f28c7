/* Names of nodes as people and Slurm write many at once: "a:7000,b", "node[01-16,20]",
 *"r[1-2]n[1-4]".
 *
 *	list	items, separated by commas or white space; # begins a comment up to the line's end
 *	item	a node, whose every [ranges] stands for all numbers in it, the leftmost changing
 *last; or @FILE, a file with a list (@- is standard input); or slurm:, the nodes of the surrounding
 *Slurm job ($SLURM_JOB_NODELIST)
 *	ranges	7 or 01-16, separated by commas; numbers have as many digits as a range's first
 *	node	HOST, HOST:PORT, unix:PATH; HOST is a name, an IPv4 address, or an IPv6 address in
 *		brackets (which is told from ranges by its colons)
 *
 * "tcp://" before HOST is taken off.  A host is made of letters, digits, ".", "-" and "_" and does
 * not begin with "-", so that it may stand in a command line.
 */
#ifndef LSC_SEND_NAMES_H
#define LSC_SEND_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LSC_NAMES_MAX      65536
#define LSC_NAMES_MAX_NAME 272 /* bytes of one, room for a port left (cast/message.h) */

struct lsc_names {
	char **names;
	uint32_t n, cap;
};

/* Adds what a list spells out; -EINVAL for one that is empty, broken, or over a limit, or that
 * names a file or job that is not there. */
int lsc_names_add(struct lsc_names *names, const char *list, struct lsc_err *err);

/* The same without @FILE and slurm:, as in a file. */
int lsc_names_parse(struct lsc_names *names, const char *list, struct lsc_err *err);

/* Takes out the nodes in without: those of that port, or all of a host where it names none. */
void lsc_names_exclude(struct lsc_names *names, const struct lsc_names *without);

/* Gives a port to those without one. */
int lsc_names_set_port(struct lsc_names *names, uint16_t port, struct lsc_err *err);

/* -EINVAL where a name occurs twice, in both lists together.  more may be NULL. */
int lsc_names_check_unique(const struct lsc_names *names, const struct lsc_names *more,
			   struct lsc_err *err);

void lsc_names_release(struct lsc_names *names);

bool lsc_name_has_port(const char *name); /* or needs none */

/* What routers will connect to must at least look like the address of a stage worker: -EINVAL. */
int lsc_name_check_worker(const char *text, struct lsc_err *err);

/* The host of a name with its brackets, if any, in what may be another name's storage. */
void lsc_name_host(const char *name, char host[LSC_NAMES_MAX_NAME + 1]);

#endif
