/* Broadcast on a circulant graph: who gets which block when, for any number of nodes.
 *
 * J. L. Traeff, "Round-optimal n-Block Broadcast Schedules in Logarithmic Time" (2023).  The p
 * nodes form a circulant graph with q = ceil(log2 p) skips; in round k, modulo q, node r sends to
 * r + skip[k] and receives from r - skip[k], modulo p.  A node's schedule is q numbers that repeat
 * every q rounds, q blocks further on: worked out once a node, without asking the others.
 */
#ifndef LSC_PLAN_CIRCULANT_H
#define LSC_PLAN_CIRCULANT_H

#include <stdint.h>

#define LSC_CIRCULANT_LOG 17 /* nodes up to 2^16, with one to spare */

/* skip[0 .. q], of which skip[q] is nodes; returns q. */
uint32_t lsc_circulant_skips(uint32_t nodes, uint32_t skip[LSC_CIRCULANT_LOG + 1]);

/* Blocks that a node receives and sends in the rounds 0 .. q-1, counted from the first one of the
 * phase: a negative one belongs to the phase before.  The root, node 0, receives nothing: its
 * recv[] is left as it is. */
void lsc_circulant_node(uint32_t node, uint32_t q, const uint32_t skip[LSC_CIRCULANT_LOG + 1],
			int32_t recv[LSC_CIRCULANT_LOG], int32_t send[LSC_CIRCULANT_LOG]);

#endif
