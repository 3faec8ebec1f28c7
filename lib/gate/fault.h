/* What is wrong with a request of the OpenAI API: a status of HTTP and the object "error". */
#ifndef LSC_GATE_FAULT_H
#define LSC_GATE_FAULT_H

#include "base/buf.h"

struct lsc_fault {
	int status;       /* 0: nothing is wrong */
	const char *type; /* "invalid_request_error" */
	const char *code; /* NULL: null */
	char param[64];   /* "": null */
	char message[320];
	unsigned retry_s;  /* Retry-After; 0: none */
	const char *allow; /* of 405; else NULL */
};

#define LSC_FAULT_INIT                                                                             \
	{                                                                                          \
		0                                                                                  \
	}

/* Sets it, with a type that goes with the status; param and code may be NULL.  Returns -1. */
int lsc_fault_set(struct lsc_fault *fault, int status, const char *param, const char *code,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* {"error":{...}}, without a line's end. */
int lsc_fault_write(const struct lsc_fault *fault, struct lsc_buf *buf);

#endif
