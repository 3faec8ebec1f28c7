/* resolve: names that take their time do not keep the loop waiting; those that are left are freed
 */
#include "tap.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/macros.h"
#include "net/link.h"
#include "net/resolve.h"

#define SLOW_MS 300

/* The resolver of this program: "slow..." takes long and is not found, "here" is this machine. */
static atomic_int asked, inside, most_inside;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		struct addrinfo **list)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		(__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");
	int now, most;

	if (hints->ai_flags & AI_NUMERICHOST)
		return real(host, port, hints, list);
	asked++;
	now = ++inside;
	for (most = most_inside;
	     now > most && !atomic_compare_exchange_weak(&most_inside, &most, now);)
		;
	if (!strncmp(host, "slow", 4))
		usleep(SLOW_MS * 1000);
	inside--;
	return strcmp(host, "here") ? EAI_NONAME : real("127.0.0.1", port, hints, list);
}

static struct lsc_loop *loop;
static struct lsc_err err;
static int called, found;

static void on_resolved(void *data, int result, struct addrinfo *list, const struct lsc_err *e)
{
	struct lsc_resolve **resolve = data;

	called++;
	found += result == 0 && list;
	err = *e;
	if (list)
		freeaddrinfo(list);
	lsc_resolve_stop(*resolve);
	*resolve = NULL;
}

static void begin(struct lsc_resolve **resolve, const char *host, struct addrinfo **ret_list)
{
	struct lsc_endpoint endpoint = {.kind = LSC_ENDPOINT_TCP, .port = 7};

	snprintf(endpoint.name, sizeof(endpoint.name), "%s", host);
	if (lsc_resolve_start(resolve, loop, &endpoint, on_resolved, resolve, ret_list, &err) < 0)
		printf("# %s\n", err.text);
}

static void wait_for(int calls)
{
	uint64_t until = lsc_clock_ns() + 20000000000u;

	while (called < calls && lsc_clock_ns() < until)
		lsc_loop_turn(loop, 50, NULL);
}

static void test_names(void)
{
	struct lsc_resolve *resolve = NULL;
	struct addrinfo *list;

	begin(&resolve, "10.1.2.3", &list);
	ok(list && !resolve && !asked, "an address needs no resolver");
	freeaddrinfo(list);
	begin(&resolve, "::1", &list);
	ok(list && !resolve && !asked, "of version 6, too");
	freeaddrinfo(list);
	begin(&resolve, "here", &list);
	ok(!list && resolve && !called, "a name does");
	wait_for(1);
	ok(called == 1 && found == 1 && !resolve, "and is found later");
	begin(&resolve, "nowhere", &list);
	wait_for(2);
	ok(called == 2 && found == 1 && err.code == EHOSTUNREACH &&
		   strstr(err.text, "cannot resolve 'nowhere'"),
	   "or not: %s", err.text);
}

static void test_many(void)
{
	struct lsc_resolve *resolves[20] = {NULL};
	struct addrinfo *list;

	called = 0;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(resolves); i++)
		begin(&resolves[i], i % 2 ? "slow.one" : "nowhere", &list);
	wait_for(20);
	ok(called == 20 && most_inside <= 8, "twenty at once, by %d threads", (int)most_inside);

	called = 0;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(resolves); i++)
		begin(&resolves[i], "slow.two", &list);
	usleep(20000);
	for (size_t i = LSC_ARRAY_SIZE(resolves); i-- > 5;)
		lsc_resolve_stop(resolves[i]);
	for (size_t i = 0; i < 5; i++)
		lsc_resolve_stop(resolves[i]);
	for (int i = 0; i < 40; i++)
		lsc_loop_turn(loop, 10, NULL);
	is_int(called, 0, "those that are left, running or not yet, are not heard of");
	begin(&resolves[0], "here", &list);
	wait_for(1);
	is_int(called, 1, "and the next one is done");
}

/* --- a link to a name --- */

static struct lsc_err why;

static int on_record(void *data, struct lsc_link *link, const struct lsc_record *record,
		     uint32_t body_len, void **ret_body, struct lsc_err *e)
{
	(void)data;
	(void)link;
	(void)record;
	(void)body_len;
	(void)ret_body;
	(void)e;
	return 0;
}

static void on_close(void *data, struct lsc_link *link, const struct lsc_err *e)
{
	(void)data;
	why = *e;
	lsc_link_close(link);
}

static const struct lsc_link_events events = {.on_record = on_record, .on_close = on_close};

static void test_link(void)
{
	struct lsc_link_options options = {.kind = "test"};
	struct lsc_endpoint endpoint;
	struct lsc_link *link;
	uint64_t longest = 0, start = lsc_clock_ns();

	lsc_endpoint_parse(&endpoint, "slow.host:7", &err);
	lsc_link_connect(&link, loop, &endpoint, &options, &events, NULL, &err);
	while (!why.code && lsc_clock_ns() - start < 5000000000u) {
		uint64_t before = lsc_clock_ns();

		lsc_loop_turn(loop, 1, NULL);
		longest = LSC_MAX(longest, lsc_clock_ns() - before);
	}
	ok(strstr(why.text, "cannot resolve 'slow.host'") != NULL, "a link to it: %s", why.text);
	ok(longest < SLOW_MS * 1000000ull / 2, "the loop went on: it was away for %.0f ms at most",
	   (double)longest / 1e6);
	lsc_link_connect(&link, loop, &endpoint, &options, &events, NULL, &err);
	lsc_loop_turn(loop, 10, NULL);
	lsc_link_close(link);
	usleep((SLOW_MS + 50) * 1000);
	ok(lsc_loop_turn(loop, 0, NULL) == 0, "a link that is closed meanwhile leaves nothing");
}

int main(void)
{
	if (lsc_loop_new(&loop, &err) < 0)
		return 1;
	test_names();
	test_many();
	test_link();
	lsc_loop_free(loop);
	return done_testing();
}
