/* A policy in integers has no parameters that could be kept. */
#include "store.h"

#include "protocol.h"

void store_restore(struct params *params)
{
    (void)params;
}

struct params_outcome store_keep(const struct params *params, uint8_t keep)
{
    const struct params_outcome refused = {RESULT_FROZEN, 0};

    (void)params;
    (void)keep;
    return refused;
}
