/* Pages of keys and values: what a request has, and lacks to go on or to begin anew. */
#include "exec/kv.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"

static struct lsc_kv kv;
static struct lsc_model_config config = {.layers = 2,
					 .kv_heads = 1,
					 .head_dim = 16,
					 .context = 1000,
					 .window = 64,
					 .window_first = 1};
static const struct lsc_request_key key = {{'c'}, 1};

static uint64_t missing(uint32_t pos, uint32_t n)
{
	return lsc_kv_missing(&kv, &key, 0, config.layers, pos, n);
}

/* Positions up to len, as an engine has them that computed so many. */
static void fill(struct lsc_kv_request *request, uint32_t len)
{
	for (uint32_t layer = 0; layer < config.layers; layer++) {
		uint32_t from = lsc_model_sees_from(&config, layer, len);

		lsc_kv_reserve(&kv, request, layer, len);
		request->layers[layer].len = len;
		lsc_kv_slide(&kv, request, layer, from);
	}
}

/* Takes what it was said to lack: whether it lacked that. */
static bool begin_anew(struct lsc_kv_request *request, uint32_t n)
{
	uint64_t lacks = missing(0, n), before = kv.used_pages;

	for (uint32_t layer = 0; layer < config.layers; layer++)
		lsc_kv_cut(&kv, request, layer, 0);
	for (uint32_t layer = 0; layer < config.layers; layer++)
		lsc_kv_reserve(&kv, request, layer, n);
	return kv.used_pages - before == lacks;
}

/* How much memory there is for the first so many bytes of the arena. */
static uint64_t resident(uint64_t bytes)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), n = bytes / page;
	unsigned char *in = malloc(n);
	uint64_t there = 0;

	if (mincore(kv.arena, n * page, in) == 0)
		for (uint64_t i = 0; i < n; i++)
			there += in[i] & 1;
	free(in);
	return there * page;
}

static void test_prepare(void)
{
	const uint64_t ahead = 32u << 20;
	uint64_t used = kv.fresh * kv.page_bytes;

	for (int i = 0; i < 3; i++)
		lsc_kv_prepare(&kv);
	ok(kv.ready > used && kv.ready < ahead, "memory comes a part at a time");
	for (int i = 0; i < 40; i++)
		lsc_kv_prepare(&kv);
	ok(kv.ready >= used + ahead && kv.ready < used + 2 * ahead, "ahead of who wants it");
	if (kv.ready == kv.arena_bytes)
		skip("the kernel gives memory on use alone");
	else
		is_int((long long)resident(kv.ready), (long long)(kv.ready / 4096 * 4096),
		       "and is there");
}

int main(void)
{
	struct lsc_kv_request *request;
	uint32_t page = LSC_PAGE_POSITIONS;

	is_int(lsc_kv_init(&kv, &config, false, 1 << 30, NULL), 0, "a cache");
	is_int(missing(0, page + 1), 4, "who is not known lacks all");
	ok(lsc_kv_reaches(NULL, &config, 0, 2, 0) && !lsc_kv_reaches(NULL, &config, 0, 2, 1),
	   "and may begin, but not go on");
	request = lsc_kv_request(&kv, &key);
	fill(request, 10 * page);
	ok(request->layers[1].first == 8 && request->pages == 12, "a window's past is given back");
	is_int(missing(10 * page, 1), 2, "a page a layer, to go on");
	is_int(missing(10 * page - 1, 1), 0, "none, within a page");
	ok(lsc_kv_reaches(request, &config, 0, 2, 10 * page), "what is there reaches its end");
	ok(!lsc_kv_reaches(request, &config, 0, 2, 10 * page + 1), "not further");
	ok(lsc_kv_reaches(request, &config, 0, 1, 5 * page) &&
		   !lsc_kv_reaches(request, &config, 0, 2, 5 * page),
	   "nor back to where the window was");
	is_int(missing(0, 10 * page), 8, "to begin anew it lacks what the window gave back");
	ok(begin_anew(request, 10 * page), "which is what it takes");
	lsc_kv_drop(&kv, &key);
	is_int(kv.used_pages, 0, "all is given back");
	test_prepare();
	lsc_kv_release(&kv);
	return done_testing();
}
