/* Requests by their keys: what is added is found, walked over once, and gone when it is removed. */
#include "exec/request_table.h"

#include "tap.h"

#define MANY 3000

static struct lsc_request_entry entries[MANY];

static struct lsc_request_key key_of(unsigned i)
{
	return (struct lsc_request_key){{(uint8_t)(i % 3)}, i / 3};
}

int main(void)
{
	struct lsc_request_table table = LSC_REQUEST_TABLE_INIT;
	struct lsc_request_entry *entry, *next;
	struct lsc_request_key key = key_of(0);
	unsigned found = 0, walked = 0, wrong = 0;

	ok(!lsc_request_table_find(&table, &key) && !lsc_request_table_next(&table, NULL),
	   "an empty table has nobody");
	for (unsigned i = 0; i < MANY; i++) {
		entries[i].key = key_of(i);
		lsc_request_table_add(&table, &entries[i]);
	}
	for (unsigned i = 0; i < MANY; i++) {
		key = key_of(i);
		found += lsc_request_table_find(&table, &key) == &entries[i];
	}
	is_int(found, MANY, "of three clients each request is found");
	for (entry = lsc_request_table_next(&table, NULL); entry; entry = next) {
		next = lsc_request_table_next(&table, entry);
		walked++;
		if (entry->key.client[0] == 1)
			lsc_request_table_remove(&table, entry);
	}
	is_int(walked, MANY, "all are walked over, while some go");
	is_int(table.n, MANY - MANY / 3, "which are those of one");
	for (unsigned i = 0; i < MANY; i++) {
		key = key_of(i);
		entry = lsc_request_table_find(&table, &key);
		wrong += entry != (i % 3 == 1 ? NULL : &entries[i]);
	}
	is_int(wrong, 0, "they are not found any more, the others are");
	lsc_request_table_release(&table);
	ok(!lsc_request_table_find(&table, &key), "a table that is released has nobody");
	return done_testing();
}
