/* What the parts of the server share; for server*.c alone. */
#ifndef LSC_TIER_SERVER_OWN_H
#define LSC_TIER_SERVER_OWN_H

#include "tier/client.h"
#include "tier/server.h"

struct lsc_server {
	struct lsc_loop *loop;
	struct lsc_server_options o;
	struct lsc_stock *stock;
	int fd;
	struct lsc_watch *watch;
	struct lsc_client *clients;
	unsigned n_clients;
	struct lsc_timer *retry; /* of those that are parked */
};

static inline struct lsc_stock *lsc_server_stock(struct lsc_client *client)
{
	return ((struct lsc_server *)client->server)->stock;
}

/* --- server_ask.c --- */

/* Answers the client's last packet, or lets that be done: negative errno, with words for the
 * client; -EAGAIN where it is to be tried again when something has changed.  What is not known is
 * of a later version, and gets an answer, too: whoever asks waits for one. */
int lsc_server_answer(struct lsc_client *client, struct lsc_err *err);

/* --- server_lend.c --- */

/* Sends `lent`, and the cells.  fill: the client is to fill those that are not whole. */
int lsc_server_lend(struct lsc_client *client, struct lsc_holding *holding, bool fill,
		    struct lsc_err *err);

/* Sends the manifest of what is on disk alone. */
void lsc_server_show(struct lsc_client *client, const struct lsc_holding *holding);

/* --- server_say.c --- */

/* Sends an image's record, and that of the whole node. */
void lsc_server_say_image(struct lsc_client *client, const struct lsc_holding *holding);
void lsc_server_say_node(struct lsc_client *client);
void lsc_server_say_event(struct lsc_client *client, const struct lsc_holding *holding,
			  enum lsc_stock_event event, const char *why);

/* An answer, or the end of one, that says nothing else. */
void lsc_server_say(struct lsc_client *client, const char *type);

#endif
