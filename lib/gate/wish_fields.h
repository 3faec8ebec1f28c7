/* What wish.c asks about a request's keys and messages. */
#ifndef LSC_GATE_WISH_FIELDS_H
#define LSC_GATE_WISH_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "gate/fault.h"

/* Refuses keys that are not known, and those whose values ask for what is not done. */
int lsc_wish_check_fields(const json_t *root, bool chat, struct lsc_fault *fault);

/* Makes a message's role and content the strings that a router takes. */
int lsc_wish_message(json_t *message, size_t number, struct lsc_fault *fault);

#endif
