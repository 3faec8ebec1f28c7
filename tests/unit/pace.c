/* The pace of steps, against made-up machines: steps stay within the stretch, prompts get what is
 * left, single delays do not matter and lasting changes do.
 */
#include "stage/pace.h"

#include "tap.h"

#define MS 1000000.0

static uint32_t state = 7;

static double noise(void)
{
	state = state * 1664525u + 1013904223u;
	return (double)(state >> 8) / (1 << 24);
}

struct machine {
	double alone_ms, row_ms; /* of decodes, and of each tile of a prompt's rows, per row */
	unsigned tile;
	double rare; /* how often a step takes 40 ms longer */
};

static double cost(const struct machine *m, uint32_t rows)
{
	uint32_t tiles = (rows + m->tile - 1) / m->tile;

	return (m->alone_ms + tiles * m->tile * m->row_ms) * (0.97 + 0.06 * noise()) +
	       (noise() < m->rare ? 40 : 0);
}

struct outcome {
	double over; /* share of the steps above 2.7 times the decodes' own */
	double rows; /* of prompts a step */
};

static struct outcome run(struct lsc_pace *pace, const struct machine *m, unsigned decodes,
			  unsigned steps)
{
	struct outcome seen = {0};

	for (unsigned i = 0; i < steps; i++) {
		uint32_t rows = lsc_pace_rows(pace, decodes, 0, 1);
		double ms = cost(m, rows);

		lsc_pace_step(pace, decodes, rows, 1, (uint64_t)(ms * MS));
		seen.over += ms > 2.7 * m->alone_ms;
		seen.rows += rows;
	}
	seen.over /= steps;
	seen.rows /= steps;
	return seen;
}

/* Requests that go round two workers: a part of them is here while the others are there, and how
 * many they are changes from step to step. */
static void test_alternation(void)
{
	const struct machine m = {10, 1, 1, 0};
	struct lsc_pace pace = LSC_PACE_INIT;
	const unsigned steps = 2000, all = 9;
	double rows = 0, over = 0, ahead = 0;

	for (unsigned i = 0; i < steps; i++) {
		unsigned here = i % 3 ? 3 + i % 4 : 0; /* 0 of 9, and 3 to 6 */
		uint32_t n = lsc_pace_rows(&pace, here, all - here, 1);
		double ms = here ? cost(&m, n) : n * m.row_ms;

		lsc_pace_step(&pace, here, n, 1, (uint64_t)(ms * MS));
		if (i < 200)
			continue;
		over += ms > 2.7 * m.alone_ms;
		rows += here ? n : 0;
		ahead += here ? 0 : n;
	}
	ok(rows > 0.6 * 10 * 2 / 3 * (steps - 200),
	   "prompts get on beside decodes of two workers: %.1f rows a step",
	   rows / (steps - 200.0) * 3 / 2);
	ok(ahead > 0 && over <= 0.01 * steps, "in short steps: %.1f%% are long",
	   100 * over / steps);
}

/* Each number of decodes is timed by itself. */
static void test_classes(void)
{
	struct lsc_pace pace = LSC_PACE_INIT;

	lsc_pace_step(&pace, 4, 0, 1, (uint64_t)(10 * MS));
	ok(lsc_pace_rows(&pace, 4, 9, 1) > 0 && lsc_pace_rows(&pace, 3, 0, 1) > 0,
	   "what was timed alone may have prompts beside it");
	is_int(lsc_pace_rows(&pace, 5, 0, 1), 0, "more decodes are timed alone first");
	is_int(lsc_pace_rows(&pace, 2, 2, 1), 0, "so are fewer, whoever else is away");
	ok(lsc_pace_rows(&pace, 0, 4, 1) > 0 &&
		   lsc_pace_rows(&pace, 0, 4, 1) < lsc_pace_rows(&pace, 0, 0, 1),
	   "who waits for decodes takes on less than who does not");
}

static void test_linger(void)
{
	struct lsc_pace pace = LSC_PACE_INIT;
	uint64_t linger;

	lsc_pace_step(&pace, 8, 0, 1, (uint64_t)(10 * MS));
	is_int(lsc_pace_linger_ns(&pace), 0, "nobody is waited for whose way is not known");
	for (int i = 0; i < 100; i++)
		lsc_pace_trip(&pace, (uint64_t)(0.2 * MS));
	linger = lsc_pace_linger_ns(&pace);
	ok(linger > (uint64_t)(1 * MS) && linger < (uint64_t)(2 * MS),
	   "who is back soon is, and a part of a step longer than ever: %.2f ms",
	   (double)linger / MS);
	for (int i = 0; i < 100; i++)
		lsc_pace_trip(&pace, (uint64_t)((2 + noise()) * MS));
	linger = lsc_pace_linger_ns(&pace);
	ok(linger > (uint64_t)(3 * MS), "longer where trips differ: %.2f ms", (double)linger / MS);
	lsc_pace_trip(&pace, (uint64_t)(30 * MS));
	is_int(lsc_pace_linger_ns(&pace), (long long)linger,
	       "who takes longer than a step is no trip");
}

/* A stage of several routes: steps that run a few units, and steps that run many. */
static void test_units(void)
{
	const struct machine m = {4, 0.25, 1, 0};
	struct lsc_pace pace = LSC_PACE_INIT;
	double rows = 0;

	for (unsigned i = 0; i < 2000; i++) {
		uint32_t units = noise() < 0.5 ? 2 : 26;
		uint32_t n = lsc_pace_rows(&pace, 3, 0, units);

		lsc_pace_step(&pace, 3, n, units, (uint64_t)(cost(&m, n) * units * MS));
		if (i >= 1000)
			rows += n;
	}
	ok(rows / 1000 > 12 && rows / 1000 < 18,
	   "steps of few and of many units take as many positions: %.1f", rows / 1000);
}

int main(void)
{
	const struct machine machines[] = {
		{10, 1, 1, 0},   {10, 1.8, 1, 0}, {10, 1, 4, 0},      {10, 1, 8, 0},
		{30, 0.1, 1, 0}, {5, 4, 1, 0},    {10, 0.5, 8, 0.02},
	};
	struct lsc_pace pace = LSC_PACE_INIT;
	struct outcome seen;
	struct machine m;

	is_int(lsc_pace_rows(&pace, 4, 0, 1), 0, "decodes are timed alone first");
	for (unsigned i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		double ideal;

		m = machines[i];
		ideal = m.alone_ms / m.row_ms;
		pace = (struct lsc_pace)LSC_PACE_INIT;
		run(&pace, &m, 4, 100);
		seen = run(&pace, &m, 4, 2000);
		ok(seen.over <= 0.01 + m.rare && seen.rows > 0.6 * ideal,
		   "machine %u: %.1f%% of steps are long, %.1f rows each of %.1f that would fit", i,
		   100 * seen.over, seen.rows, ideal);
	}
	m = machines[0];
	pace = (struct lsc_pace)LSC_PACE_INIT;
	run(&pace, &m, 4, 500);
	m.row_ms *= 4;
	seen = run(&pace, &m, 4, 200);
	ok(seen.over < 0.05, "prompts that cost four times as much: %.1f%% of 200 steps are long",
	   100 * seen.over);
	m.row_ms /= 8;
	run(&pace, &m, 4, 100);
	seen = run(&pace, &m, 4, 200);
	ok(seen.rows > 10, "and half as much: %.1f rows", seen.rows);
	ok(lsc_pace_rows(&pace, 0, 0, 1) >= 64, "where nothing decodes a prompt has large parts");
	for (int i = 0; i < 50; i++)
		lsc_pace_step(&pace, 0, 200, 1, (uint64_t)(2000 * MS));
	ok(lsc_pace_rows(&pace, 0, 0, 1) == 64, "but smaller ones where they are slow");

	test_linger();
	test_alternation();
	test_units();
	test_classes();
	return done_testing();
}
