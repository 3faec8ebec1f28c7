/* lsc-tier - a node's images in memory and on disk, as a daemon and as commands to it
 *
 * The daemon is lib/tier; what it says to its clients is in lsc-tier(5).
 */
#include "base/macros.h"
#include "cli/tool.h"
#include "tier/commands.h"

int main(int argc, char **argv)
{
	static const struct lsc_command commands[] = {
		{"evict", lsc_tier_evict_main, "take an image out of memory"},
		{"explain", lsc_tier_explain_main, "say why images stay, and when they go"},
		{"gc", lsc_tier_gc_main, "remove what crashes left on disk"},
		{"hold", lsc_tier_hold_main, "hold memory for a tier that may be killed"},
		{"load", lsc_tier_load_main, "have images come from disk to memory"},
		{"ls", lsc_tier_ls_main, "list images, and where they are"},
		{"pin", lsc_tier_pin_main, "keep an image where it is"},
		{"prewarm", lsc_tier_prewarm_main, "have images in memory by a given time"},
		{"rm", lsc_tier_rm_main, "remove an image from memory and disk"},
		{"serve", lsc_tier_serve_main, "be the tier of this node"},
		{"stat", lsc_tier_stat_main, "say how much there is of what"},
		{"unpin", lsc_tier_unpin_main, "let an image go when its turn comes"},
		{"watch", lsc_tier_watch_main, "say what happens, as it does"},
	};

	return lsc_tool_dispatch("lsc-tier", "Keep a node's images in memory and on disk.",
				 commands, LSC_ARRAY_SIZE(commands), argc, argv);
}
