/* Chat prompts by recognised family.
 *
 * A model's own template is a Jinja program; we do not run it.  Its text is recognised as one of
 * the families below when an image is packed, and the family and its constants go into the
 * manifest.  A template that fits none leaves the model without chat: -EOPNOTSUPP.  Messages are
 * rendered as the template does, its white space included; tools are not, nor the date that
 * Llama 3.1 opens its system message with.
 */
#ifndef LSC_MODEL_CHAT_H
#define LSC_MODEL_CHAT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum lsc_chat_family {
	LSC_CHAT_NONE,
	LSC_CHAT_CHATML,
	LSC_CHAT_LLAMA2,
	LSC_CHAT_LLAMA3,
	LSC_CHAT_MISTRAL,        /* [INST] text [/INST] */
	LSC_CHAT_MISTRAL_V3,     /* [INST] text[/INST] */
	LSC_CHAT_MISTRAL_TEKKEN, /* [INST]text[/INST] */
};

struct lsc_chat {
	enum lsc_chat_family family;
	char *system; /* the system text used where a conversation has none; NULL: none */
};

#define LSC_CHAT_INIT                                                                              \
	{                                                                                          \
		LSC_CHAT_NONE, NULL                                                                \
	}

struct lsc_chat_message {
	const char *role; /* "system", "user", "assistant" */
	const char *content;
};

void lsc_chat_release(struct lsc_chat *chat);

/* Recognises a template; NONE when it is none of ours (or template_text is NULL). */
int lsc_chat_recognise(struct lsc_chat *chat, const char *template_text, struct lsc_err *err);

const char *lsc_chat_family_name(enum lsc_chat_family family); /* "chatml" */
int lsc_chat_family_parse(const char *name, enum lsc_chat_family *ret_family);

/* Appends the prompt that asks for the assistant's next turn; encode it with
 * LSC_ENCODE_SPECIAL | LSC_ENCODE_BOS (the text holds no BOS). */
int lsc_chat_render(const struct lsc_chat *chat, const struct lsc_chat_message *messages, size_t n,
		    struct lsc_buf *prompt, struct lsc_err *err);

#endif
