/* chat - families of chat prompts */
#include "model/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

static const char *const family_names[] = {
	[LSC_CHAT_NONE] = "none",     [LSC_CHAT_CHATML] = "chatml",   [LSC_CHAT_LLAMA2] = "llama2",
	[LSC_CHAT_LLAMA3] = "llama3", [LSC_CHAT_MISTRAL] = "mistral",
};

void lsc_chat_release(struct lsc_chat *chat)
{
	free(chat->system);
	*chat = (struct lsc_chat)LSC_CHAT_INIT;
}

const char *lsc_chat_family_name(enum lsc_chat_family family)
{
	return family_names[family];
}

int lsc_chat_family_parse(const char *name, enum lsc_chat_family *ret_family)
{
	for (unsigned i = 0; i < LSC_ARRAY_SIZE(family_names); i++) {
		if (!strcmp(name, family_names[i])) {
			*ret_family = i;
			return 0;
		}
	}
	return -EINVAL;
}
