/* agenda: what is due first comes first, in the order of numbers where it is due at once */
#include "tap.h"

#include "base/macros.h"
#include "load/random.h"
#include "sim/agenda.h"

static struct lsc_err err;

static void test_order(void)
{
	struct lsc_agenda agenda = LSC_AGENDA_INIT;
	uint32_t number = 77;

	ok(lsc_agenda_next(&agenda, &number) >= LSC_NEVER && number == 77, "nothing is due");
	is_int(lsc_agenda_reserve(&agenda, 4, &err), 0, "room");
	lsc_agenda_set(&agenda, 3, 1);
	lsc_agenda_set(&agenda, 1, 1);
	lsc_agenda_set(&agenda, 2, 0.5);
	lsc_agenda_set(&agenda, 2, 2);
	lsc_agenda_next(&agenda, &number);
	is_int(number, 1, "the least number of those that are due at once");
	lsc_agenda_set(&agenda, 1, LSC_NEVER);
	lsc_agenda_set(&agenda, 1, LSC_NEVER);
	lsc_agenda_next(&agenda, &number);
	is_int(number, 3, "then the next");
	lsc_agenda_set(&agenda, 3, LSC_NEVER);
	ok(lsc_agenda_next(&agenda, &number) == 2 && number == 2, "then what was put off");
	lsc_agenda_release(&agenda);
}

/* Against a search of all. */
static void test_many(void)
{
	enum { N = 500, ROUNDS = 20000 };
	struct lsc_agenda agenda = LSC_AGENDA_INIT;
	struct lsc_random random = lsc_random_of(1, 0, 0);
	static double at[N];
	bool good = lsc_agenda_reserve(&agenda, N / 2, &err) == 0 &&
		    lsc_agenda_reserve(&agenda, N, &err) == 0;

	for (uint32_t i = 0; i < N; i++)
		at[i] = LSC_NEVER;
	for (uint32_t round = 0; good && round < ROUNDS; round++) {
		uint32_t i = lsc_random_below(&random, N), first = 0, best = 0;
		double next;

		at[i] = lsc_random_below(&random, 3) ? lsc_random_below(&random, 1000) : LSC_NEVER;
		lsc_agenda_set(&agenda, i, at[i]);
		for (uint32_t k = 1; k < N; k++)
			best = at[k] < at[best] ? k : best;
		next = lsc_agenda_next(&agenda, &first);
		good = next >= LSC_NEVER
			       ? at[best] >= LSC_NEVER
			       : first == best && !(next < at[best]) && !(next > at[best]);
	}
	ok(good, "%u changes of %u times: the first is what a search finds", ROUNDS, N);
	lsc_agenda_release(&agenda);
}

int main(void)
{
	test_order();
	test_many();
	return done_testing();
}
