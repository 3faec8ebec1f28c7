/* The parts of lsc-top: the gate that is asked, and the terminal that is drawn on. */
#ifndef LSC_TOP_TOP_H
#define LSC_TOP_TOP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/endpoint.h"
#include "base/err.h"

/* --- signals: they come while something is waited for, and at no other time --- */

void top_signals_catch(void);

/* The one that asks to end, or 0. */
int top_signals_end(void);

/* Waits until fd may be read (or written), for so long at most: > 0 when it may, 0 when not, or
 * when a signal came; negative errno.  fd < 0: for the time alone. */
int top_wait(int fd, bool writes, double seconds);

/* --- the gate --- */

struct top_door {
	struct lsc_endpoint at;
	char where[LSC_ENDPOINT_TEXT + 16]; /* http://HOST:PORT, for people */
	char key[513];                      /* "": none */
};

/* text: http://HOST:PORT, or HOST:PORT. */
int top_door_parse(struct top_door *door, const char *text, struct lsc_err *err);

/* The first key in a file of lsc-gate's --api-key-file. */
int top_door_key(struct top_door *door, const char *path, struct lsc_err *err);

/* GET path: its status, and the answer in body; negative errno where there is none. */
int top_door_get(const struct top_door *door, const char *path, struct lsc_buf *body,
		 struct lsc_err *err);

/* --- the terminal --- */

/* Standard output, in a screen of its own; what was there comes back with the end. */
int top_screen_open(struct lsc_err *err);
void top_screen_close(void); /* also where it was not opened */
void top_screen_size(unsigned *ret_columns, unsigned *ret_lines);
void top_screen_draw(const struct lsc_buf *text); /* lines with a break each */

/* Waits until it is time to draw again: true when a person has asked to end. */
bool top_screen_wait(double seconds);

#endif
