/* request_table - requests by their keys */
#include "exec/request_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define FIRST_BUCKETS 256

static bool same_key(const struct lsc_request_key *a, const struct lsc_request_key *b)
{
	return a->request == b->request && !memcmp(a->client, b->client, sizeof(a->client));
}

/* Client names are random bytes; the request's number is spread by Fibonacci hashing. */
static struct lsc_request_entry **bucket_of(const struct lsc_request_table *table,
					    const struct lsc_request_key *key)
{
	uint64_t h;

	memcpy(&h, key->client, sizeof(h));
	h = (h ^ key->request) * 0x9e3779b97f4a7c15u;
	return &table->buckets[(uint32_t)(h >> 32) & (table->n_buckets - 1)];
}

struct lsc_request_entry *lsc_request_table_find(const struct lsc_request_table *table,
						 const struct lsc_request_key *key)
{
	struct lsc_request_entry *entry = table->buckets ? *bucket_of(table, key) : NULL;

	while (entry && !same_key(&entry->key, key))
		entry = entry->next;
	return entry;
}

static void link_entry(struct lsc_request_table *table, struct lsc_request_entry *entry)
{
	struct lsc_request_entry **bucket = bucket_of(table, &entry->key);

	entry->next = *bucket;
	*bucket = entry;
}

/* Twice the buckets; without memory for them the chains grow longer. */
static void grow(struct lsc_request_table *table)
{
	struct lsc_request_table larger = {
		.n_buckets = LSC_MAX(2 * table->n_buckets, FIRST_BUCKETS), .n = table->n};
	struct lsc_request_entry *entry, *next;

	larger.buckets = calloc(larger.n_buckets, sizeof(*larger.buckets));
	if (!larger.buckets)
		return;
	for (uint32_t i = 0; i < table->n_buckets; i++)
		for (entry = table->buckets[i]; entry; entry = next) {
			next = entry->next;
			link_entry(&larger, entry);
		}
	free(table->buckets);
	*table = larger;
}

int lsc_request_table_add(struct lsc_request_table *table, struct lsc_request_entry *entry)
{
	if (table->n >= table->n_buckets)
		grow(table);
	if (!table->buckets)
		return -ENOMEM;
	link_entry(table, entry);
	table->n++;
	return 0;
}

void lsc_request_table_remove(struct lsc_request_table *table, struct lsc_request_entry *entry)
{
	struct lsc_request_entry **at = bucket_of(table, &entry->key);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	table->n--;
}

struct lsc_request_entry *lsc_request_table_next(const struct lsc_request_table *table,
						 const struct lsc_request_entry *entry)
{
	uint32_t i = 0;

	if (entry && entry->next)
		return entry->next;
	if (entry)
		i = (uint32_t)(bucket_of(table, &entry->key) - table->buckets) + 1;
	while (i < table->n_buckets && !table->buckets[i])
		i++;
	return i < table->n_buckets ? table->buckets[i] : NULL;
}

void lsc_request_table_release(struct lsc_request_table *table)
{
	free(table->buckets);
	*table = (struct lsc_request_table)LSC_REQUEST_TABLE_INIT;
}
