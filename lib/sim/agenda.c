/* agenda - a heap whose entries can be moved */
#include "sim/agenda.h"

#include <stdlib.h>

#include "base/macros.h"

#define NOWHERE UINT32_MAX

void lsc_agenda_release(struct lsc_agenda *agenda)
{
	free(agenda->at);
	free(agenda->place);
	free(agenda->heap);
	*agenda = (struct lsc_agenda)LSC_AGENDA_INIT;
}

static bool grow(void **array, size_t n, size_t size)
{
	void *grown = reallocarray(*array, n, size);

	if (grown)
		*array = grown;
	return grown;
}

int lsc_agenda_reserve(struct lsc_agenda *agenda, uint32_t n, struct lsc_err *err)
{
	size_t room = LSC_MAX((size_t)n, 2 * (size_t)agenda->room);

	if (n <= agenda->room)
		return 0;
	if (!grow((void **)&agenda->at, room, sizeof(agenda->at[0])) ||
	    !grow((void **)&agenda->place, room, sizeof(agenda->place[0])) ||
	    !grow((void **)&agenda->heap, room, sizeof(agenda->heap[0])))
		return lsc_err_set(err, ENOMEM, "cannot keep an agenda of %u: %m", n);
	for (size_t i = agenda->room; i < room; i++)
		agenda->place[i] = NOWHERE;
	agenda->room = (uint32_t)room;
	return 0;
}

static bool before(const struct lsc_agenda *agenda, uint32_t a, uint32_t b)
{
	return agenda->at[a] < agenda->at[b] || (agenda->at[a] == agenda->at[b] && a < b);
}

static void put(struct lsc_agenda *agenda, uint32_t place, uint32_t number)
{
	agenda->heap[place] = number;
	agenda->place[number] = place;
}

/* A number finds its place, from where there is a gap. */
static void settle(struct lsc_agenda *agenda, uint32_t place, uint32_t number)
{
	uint32_t *heap = agenda->heap;

	while (place > 0 && before(agenda, number, heap[(place - 1) / 2])) {
		put(agenda, place, heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	for (uint32_t child; (child = 2 * place + 1) < agenda->n; place = child) {
		if (child + 1 < agenda->n && before(agenda, heap[child + 1], heap[child]))
			child++;
		if (!before(agenda, heap[child], number))
			break;
		put(agenda, place, heap[child]);
	}
	put(agenda, place, number);
}

void lsc_agenda_set(struct lsc_agenda *agenda, uint32_t number, double at)
{
	uint32_t place = agenda->place[number], last;

	agenda->at[number] = at;
	if (at < LSC_NEVER) {
		settle(agenda, place == NOWHERE ? agenda->n++ : place, number);
		return;
	}
	if (place == NOWHERE)
		return;
	agenda->place[number] = NOWHERE;
	last = agenda->heap[--agenda->n];
	if (last != number)
		settle(agenda, place, last);
}

double lsc_agenda_next(const struct lsc_agenda *agenda, uint32_t *ret_number)
{
	if (!agenda->n)
		return LSC_NEVER;
	*ret_number = agenda->heap[0];
	return agenda->at[agenda->heap[0]];
}
