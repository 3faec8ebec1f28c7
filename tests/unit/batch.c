/* The places of a step: who gets one where there are more than it has. */
#include "stage/batch.h"

#include "tap.h"

#define MOST (4 * LSC_STORE_BATCH)

static struct lsc_job jobs[MOST];
static struct lsc_guest guests[MOST];
static struct lsc_batch batch;
static unsigned n_offered;

/* One with so many positions left; of equal age the later is the younger. */
static bool offer(uint32_t left, uint64_t since)
{
	struct lsc_job *job = &jobs[n_offered];
	struct lsc_guest *guest = &guests[n_offered++];

	*job = (struct lsc_job){.run = {.n = left + 5, .n_stages = 1}, .n_done = 5};
	*guest = (struct lsc_guest){.entry.key.request = n_offered, .since = since};
	if (!lsc_batch_has_place(&batch, job, guest))
		return false;
	lsc_batch_add(&batch, job, guest);
	return true;
}

static unsigned fill(unsigned n, uint32_t left)
{
	unsigned taken = 0;

	while (n--)
		taken += offer(left, 100);
	return taken;
}

static void clear(void)
{
	batch.n = 0;
	n_offered = 0;
}

/* How many prompts there are, and of what age the oldest is. */
static unsigned prompts(uint64_t *ret_oldest)
{
	unsigned n = 0;

	*ret_oldest = UINT64_MAX;
	for (unsigned i = 0; i < batch.n; i++)
		if (lsc_job_left(batch.picks[i].job) > 1) {
			n++;
			if (batch.picks[i].guest->since < *ret_oldest)
				*ret_oldest = batch.picks[i].guest->since;
		}
	return n;
}

int main(void)
{
	uint64_t oldest;

	is_int(fill(LSC_STORE_BATCH, 300), LSC_STORE_BATCH, "as many prompts as there are places");
	ok(!offer(300, 101), "a younger one has to wait");
	ok(offer(300, 7), "an older one has not");
	is_int(fill(20, 1), 20, "nor have those that decode");
	is_int(batch.n, LSC_STORE_BATCH, "all have room");
	is_int(prompts(&oldest), LSC_STORE_BATCH - 20, "in the places of prompts");
	is_int(oldest, 7, "the oldest of which stays");
	is_int(fill(LSC_STORE_BATCH - 1, 1), LSC_STORE_BATCH - 21, "decodes take all but one");
	ok(prompts(&oldest) == 1 && oldest == 7, "which is the oldest prompt's");

	clear();
	is_int(fill(LSC_STORE_BATCH + 3, 1), LSC_STORE_BATCH, "decodes alone have all places");
	ok(offer(300, 100), "until a prompt comes");
	ok(!offer(300, 100) && !offer(1, 1), "which has one, and not more");
	ok(offer(300, 50), "or an older one");
	ok(prompts(&oldest) == 1 && oldest == 50, "in place of it");
	return done_testing();
}
