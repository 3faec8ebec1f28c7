/* site: what a cluster's text says, and what is wrong with one */
#include "tap.h"

#include <math.h>

#include "sim/site.h"

static struct lsc_err err;

static int parse(struct lsc_site *site, const char *text)
{
	err.text[0] = 0;
	return lsc_site_parse(site, text, strlen(text), &err);
}

static void test_good(void)
{
	struct lsc_site site = LSC_SITE_INIT;

	is_int(parse(&site, "# two kinds\nlatency=1ms start=20ms\tpayload=0.5\n\n"
			    "nodes=2 link=80mbit disk=1M/s # fast\r\n"
			    "nodes=1 link=80mbit up=8mbit\n"
			    "nodes=1 up=16mbit down=8mbit"),
	       0, "a text of all that there is");
	is_int(site.n_nodes, 4, "four nodes");
	ok(fabs(lsc_site_up(&site, 0) - 5e6) < 1 && fabs(lsc_site_down(&site, 0) - 5e6) < 1,
	   "a link counts both ways, and half of it is data");
	ok(fabs(lsc_site_up(&site, 2) - 5e5) < 1 && fabs(lsc_site_down(&site, 2) - 5e6) < 1,
	   "but where a way has a rate of its own");
	ok(site.nodes[1].disk > 1e6 && !(site.nodes[2].disk > 0), "some have disks");
	ok(site.latency > 0.0009 && site.start > 0.019, "and times");
	lsc_site_release(&site);
}

static void test_bad(void)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"nodes=2", "line 1: nodes want 'link=', or 'up=' and 'down='"},
		{"\nnodes=2 up=1gbit", "line 2: nodes want 'link=', or 'up=' and 'down='"},
		{"link=1gbit", "line 1: 'link=' wants 'nodes=' beside it"},
		{"nodes=0 link=1gbit", "line 1: '0' is not from 1 to 4096"},
		{"nodes=4000 link=1gbit\nnodes=97 link=1gbit",
		 "line 2: there are more than 4096 nodes"},
		{"nodes=1 link=0", "line 1: rate '0' is less than a byte a second"},
		{"latency=2h", NULL},
		{"latency=3601", "line 1: '3601' is more than an hour"},
		{"payload=0", "line 1: '0' is not from 0.01 to 1"},
		{"speed=3", "line 1: 'speed' is nothing that a cluster has"},
		{"nodes", "line 1: 'nodes' is not KEY=VALUE"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct lsc_site site = LSC_SITE_INIT;

		is_int(parse(&site, bad[i].text), -EINVAL, "refused: number %zu", i);
		if (bad[i].why)
			is_str(err.text, bad[i].why, "in words");
		lsc_site_release(&site);
	}
}

int main(void)
{
	test_good();
	test_bad();
	return done_testing();
}
