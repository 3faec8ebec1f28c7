/* Where a node keeps an image, from hot to cold (lsc-design(7)). */
#ifndef LSC_BASE_TIERS_H
#define LSC_BASE_TIERS_H

enum lsc_tier {
	LSC_TIER_GPU,
	LSC_TIER_HOST,
	LSC_TIER_DISK,
	LSC_TIERS,
};

/* "gpu", "host", "disk", as records and options spell them. */
static inline const char *lsc_tier_name(enum lsc_tier tier)
{
	static const char *const names[] = {"gpu", "host", "disk"};

	return (unsigned)tier < LSC_TIERS ? names[tier] : "nowhere";
}

/* "GPU memory", "host memory", "disk": in a sentence. */
static inline const char *lsc_tier_words(enum lsc_tier tier)
{
	static const char *const words[] = {"GPU memory", "host memory", "disk"};

	return (unsigned)tier < LSC_TIERS ? words[tier] : "nowhere";
}

#endif
