/* Requests by their keys: a hash table whose entries are part of what is kept of a request.
 *
 * The owner makes an entry, sets its key and adds it; it is the owner's again when it is taken out.
 * One thread uses a table.
 */
#ifndef LSC_EXEC_REQUEST_TABLE_H
#define LSC_EXEC_REQUEST_TABLE_H

#include <stdint.h>

struct lsc_request_key {
	uint8_t client[16]; /* random */
	uint64_t request;   /* of that client */
};

struct lsc_request_entry {
	struct lsc_request_key key;
	struct lsc_request_entry *next; /* in its bucket */
};

struct lsc_request_table {
	struct lsc_request_entry **buckets; /* NULL at first */
	uint32_t n_buckets;                 /* a power of two */
	uint32_t n;
};

#define LSC_REQUEST_TABLE_INIT                                                                     \
	{                                                                                          \
		0                                                                                  \
	}

/* NULL where there is none. */
struct lsc_request_entry *lsc_request_table_find(const struct lsc_request_table *table,
						 const struct lsc_request_key *key);

/* Adds one whose key is not there: 0, or -ENOMEM. */
int lsc_request_table_add(struct lsc_request_table *table, struct lsc_request_entry *entry);

/* Takes out one that is there. */
void lsc_request_table_remove(struct lsc_request_table *table, struct lsc_request_entry *entry);

/* Walks over all: next(NULL) is the first, after the last comes NULL.  Whoever removes entries on
 * the way asks for the next one before. */
struct lsc_request_entry *lsc_request_table_next(const struct lsc_request_table *table,
						 const struct lsc_request_entry *entry);

/* Frees the buckets of an empty table, or of one whose entries are freed otherwise. */
void lsc_request_table_release(struct lsc_request_table *table);

#endif
