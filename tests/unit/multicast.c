/* multicast: simulated casts take what arithmetic says, where it says anything, and what was
 * measured is near where it was measured (tests/bench/results/cast.md) */
#include "tap.h"

#include <math.h>

#include "base/macros.h"
#include "sim/multicast.h"

#define RATE  25e6 /* bytes a second, of data */
#define BYTES (64ull << 20)
#define COPY  ((double)BYTES / RATE)

static struct lsc_err err;
static struct lsc_site site = LSC_SITE_INIT;
static struct lsc_cargo cargo;

static const struct lsc_system *named(const char *name)
{
	const struct lsc_system *systems[LSC_SYSTEM_MAX];
	unsigned n;

	if (lsc_systems_parse(name, systems, &n, &err) < 0 || n != 1)
		abort();
	return systems[0];
}

/* So many nodes that are alike, and no latency. */
static void make_site(uint32_t nodes)
{
	char text[96];

	lsc_site_release(&site);
	snprintf(text, sizeof(text), "payload=1 latency=0\nnodes=%u link=200mbit disk=5M/s", nodes);
	if (lsc_site_parse(&site, text, strlen(text), &err) < 0)
		abort();
}

static bool cast(const char *name, uint32_t sources, uint32_t receivers,
		 struct lsc_multicast_result *ret_result)
{
	const struct lsc_multicast_options options = {
		.site = &site, .cargo = &cargo, .sources = sources, .receivers = receivers};
	int r = lsc_multicast_run(named(name), &options, ret_result, &err);

	if (r < 0)
		printf("# %s from %u to %u: %s\n", name, sources, receivers, err.text);
	return r == 0;
}

/* Seconds until all have everything, in copies over one link; less than 0: it failed. */
static double copies(const char *name, uint32_t sources, uint32_t receivers, double *ret_covered)
{
	struct lsc_multicast_result result;
	double all;

	make_site(sources + receivers);
	if (!cast(name, sources, receivers, &result))
		return -1;
	all = result.all / COPY;
	if (ret_covered)
		*ret_covered = result.covered / COPY;
	lsc_multicast_release(&result);
	return all;
}

static uint32_t log2_up(uint32_t n)
{
	uint32_t log = 0;

	while ((1u << log) < n)
		log++;
	return log;
}

static bool near(double got, double want, double off, const char *name, uint32_t n)
{
	if (fabs(got - want) <= off * want)
		return true;
	printf("# %s, %u receivers: %.4f copies, want %.4f\n", name, n, got, want);
	return false;
}

static void test_rounds(void)
{
	bool good = true;
	double covered = 0;

	for (uint32_t n = 1; n <= 40; n++)
		good = near(copies("lambdascale", 1, n, NULL), (16 + log2_up(n + 1) - 1) / 16.0,
			    1e-5, "lambdascale", n) &&
		       good;
	ok(good, "a binomial pipeline of 16 blocks: 16 + ceil(log2 N) - 1 rounds");
	for (uint32_t n = 4; n <= 12; n += 4)
		good = near(copies("lambdascale", 4, n, &covered),
			    (16 + log2_up(n / 4 + 1) - 1) / 16.0, 1e-5, "lambdascale", n) &&
		       near(covered, 0.25, 1e-5, "lambdascale covers", n) && good;
	ok(good, "of 4 sources: everything is there after a quarter");
	for (uint32_t n = 1; n <= 12; n++) {
		double pieces = cargo.n_pieces;

		good = near(copies("chain", 1, n, NULL), (pieces + n - 1) / pieces, 1e-4, "chain",
			    n) &&
		       near(copies("sequential", 1, n, NULL), n, 1e-4, "sequential", n) && good;
	}
	ok(good, "a chain takes a piece more for each hop, one after another a copy each");
	ok(near(copies("tree", 1, 6, NULL), 2, 0.01, "tree", 6) &&
		   near(copies("faasnet", 1, 14, NULL), 2, 0.06, "faasnet", 14),
	   "a binary tree sends all of it twice");
}

/* What links that were alike took, over one plain copy. */
static void test_measured(void)
{
	static const struct {
		uint32_t sources, receivers;
		double covered, all;
	} cases[] = {
		{1, 1, 0, 1.001},     {1, 2, 0, 1.004},     {1, 4, 0, 1.007},
		{1, 8, 0, 1.012},     {1, 16, 0, 1.025},    {2, 4, 0.503, 1.004},
		{2, 8, 0.507, 1.016}, {4, 4, 0.252, 1.001}, {4, 8, 0.254, 1.009},
	};
	bool good = true;

	for (size_t i = 0; i < LSC_ARRAY_SIZE(cases); i++) {
		uint32_t n = cases[i].receivers;
		double covered = 0;

		good = near(copies("lsc", cases[i].sources, n, &covered), cases[i].all, 0.1, "lsc",
			    n) &&
		       good;
		if (cases[i].covered > 0)
			good = near(covered, cases[i].covered, 0.1, "lsc covers", n) && good;
	}
	ok(good, "lsc-cast's own: within a tenth of what was measured");
}

/* One that receives at a quarter. */
static void test_slow(void)
{
	bool good = true;
	double worst = 0;

	for (uint32_t slow = 1; slow <= 4; slow++) {
		struct lsc_multicast_result result;

		make_site(5);
		site.nodes[slow].up /= 4;
		site.nodes[slow].down /= 4;
		if (!cast("lsc", 1, 4, &result)) {
			good = false;
			continue;
		}
		for (uint32_t i = 0; i < 4; i++) {
			if (i + 1 != slow)
				worst = LSC_MAX(worst, result.done[i] / COPY);
			else
				good = good && near(result.done[i] / COPY, 4, 0.1, "slow", slow);
		}
		lsc_multicast_release(&result);
	}
	ok(good && worst < 1.2, "one of 4 at a quarter: the others at %.3f, itself by its link",
	   worst);
}

/* What links that differ took: 4 receivers at 200 Mbit/s, but for one node, and 256 MiB.  Seconds
 * until the last of the others had everything, and until that node had. */
static void test_measured_unlike(void)
{
	static const struct {
		uint32_t node;
		double rate; /* of the others' */
		double others, own;
	} cases[] = {
		{1, 0.25, 11.44, 45.1}, {2, 0.25, 11.70, 45.1}, {3, 0.25, 12.10, 45.1},
		{4, 0.25, 11.46, 45.1}, {0, 4, 12.00, 0},       {0, 0.25, 45.08, 0},
	};
	struct lsc_cargo large = LSC_CARGO_INIT;
	bool good = lsc_cargo_init(&large, 268840960, 16, 0, &err) == 0;

	for (size_t i = 0; good && i < LSC_ARRAY_SIZE(cases); i++) {
		const struct lsc_multicast_options options = {
			.site = &site, .cargo = &large, .sources = 1, .receivers = 4};
		uint32_t node = cases[i].node;
		struct lsc_multicast_result result = {0};
		double others = 0;

		make_site(5);
		site.payload = 0.9564;
		site.nodes[node].up *= cases[i].rate;
		site.nodes[node].down *= cases[i].rate;
		good = lsc_multicast_run(named("lsc"), &options, &result, &err) == 0;
		for (uint32_t k = 1; good && k <= 4; k++)
			if (k != node)
				others = LSC_MAX(others, result.done[k - 1]);
		good = good && near(others, cases[i].others, 0.1, "the others", node) &&
		       (!node || near(result.done[node - 1], cases[i].own, 0.1, "one", node));
		lsc_multicast_release(&result);
	}
	lsc_cargo_release(&large);
	ok(good, "and where one link differs");
}

static void test_others(void)
{
	struct lsc_multicast_result result;
	bool good;

	ok(near(copies("bound", 1, 8, NULL), 1, 1e-9, "bound", 8), "the bound is one copy");
	make_site(4);
	site.nodes[0].up /= 2;
	good = cast("bound", 1, 3, &result);
	ok(good && near(result.all / COPY, 2, 1e-9, "bound", 3) &&
		   near(result.covered / COPY, 2, 1e-9, "bound", 3),
	   "which a slow source makes longer");
	lsc_multicast_release(&result);
	make_site(3);
	good = cast("serverlessllm", 1, 2, &result);
	ok(good && near(result.all, (double)BYTES / (5 << 20), 1e-9, "disk", 2),
	   "disks read alone");
	lsc_multicast_release(&result);
	site.nodes[2].disk = 0;
	ok(!cast("serverlessllm", 1, 2, &result), "and have to be there");
	ok(!cast("lsc", 1, 3, &result) && !cast("lsc", 0, 2, &result) &&
		   !cast("lsc", 1, 0, &result),
	   "so have nodes");
}

/* The same, and later by what the start takes. */
static void test_again(void)
{
	struct lsc_multicast_result a, b;

	make_site(8);
	ok(cast("lsc", 2, 6, &a) && cast("lsc", 2, 6, &b) &&
		   !memcmp(a.done, b.done, 6 * sizeof(double)) && a.pieces == b.pieces &&
		   a.plans == b.plans,
	   "what is simulated twice is the same twice");
	lsc_multicast_release(&b);
	site.start = 3;
	site.latency = 0.001;
	ok(cast("lsc", 2, 6, &b) && b.all > a.all + 3 && b.all < a.all + 3.2,
	   "start and latency count");
	lsc_multicast_release(&a);
	lsc_multicast_release(&b);
}

static void test_large(void)
{
	double all = copies("lambdascale", 1, 1023, NULL);

	ok(near(all, 25 / 16.0, 1e-5, "lambdascale", 1023), "1024 nodes: %.3f copies", all);
	all = copies("lsc", 1, 199, NULL);
	ok(all >= 1 && all < 3, "200 nodes by lsc-cast: %.3f copies", all);
}

int main(void)
{
	if (lsc_cargo_init(&cargo, BYTES, 16, 0, &err) < 0)
		return 1;
	test_rounds();
	test_measured();
	test_measured_unlike();
	test_slow();
	test_others();
	test_again();
	test_large();
	lsc_cargo_release(&cargo);
	lsc_site_release(&site);
	return done_testing();
}
