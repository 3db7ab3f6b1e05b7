#include "adaptation.h"

#include <string.h>

#include "directions.h"
#include "directions_table.h"
#include "operators.h"
#include "params.h"
#include "protocol.h"

#define LEAST_CONFIRMED 5u /* below, a confirmation leaves nothing to search with */

struct adaptation_order order_plain(uint8_t kind)
{
    struct adaptation_order order = {0, 0, 0.0f};
    order.kind = kind;
    return order;
}

struct adaptation_order order_step(const struct adaptation *adaptation, uint16_t candidate, float factor)
{
    struct adaptation_order order;
    order.kind = ORDER_STEP;
    order.seed = directions_fold(directions_fold(adaptation->seed, OPERATOR_CANDIDATES), candidate);
    order.factor = factor;
    return order;
}

struct adaptation_order order_run(const struct adaptation *adaptation)
{
    struct adaptation_order order = order_plain(ORDER_RUN);
    order.seed = directions_fold(directions_fold(adaptation->seed, OPERATOR_EPISODES), adaptation->told);
    return order;
}

static int known(uint8_t kind)
{
    switch (kind) {
    case OPERATOR_HILL_CLIMB:
    case OPERATOR_BATCH_HILL_CLIMB:
        return 1;
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        return ADAPTATION_CANDIDATES > 0;
    case OPERATOR_ES_GRADIENT:
        return ADAPTATION_DIRECTIONS > 0;
    default:
        return 0;
    }
}

/* Most queries with these settings. */
static uint16_t most_queries(const struct adaptation_settings *settings)
{
    switch (settings->kind) {
    case OPERATOR_BATCH_HILL_CLIMB:
        return (uint16_t)(ADAPTATION_LONGEST / settings->parallel - 1u);
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        return ADAPTATION_CANDIDATES;
    case OPERATOR_ES_GRADIENT:
        return (uint16_t)(settings->options & OPTION_ANTITHETIC ? 2 * ADAPTATION_DIRECTIONS : ADAPTATION_DIRECTIONS);
    default:
        return ADAPTATION_LONGEST - 1u;
    }
}

/* Whether all but the number of queries is within its bounds. */
static int numbers_fit(const struct adaptation_settings *settings)
{
    if (settings->queries == 0 || !params_finite(settings->sigma) || !(settings->sigma > 0.0f)) {
        return 0;
    }
    switch (settings->kind) {
    case OPERATOR_BATCH_HILL_CLIMB:
        return settings->parallel > 0;
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        return settings->queries >= LEAST_CONFIRMED && settings->shrink > 0.0f && settings->shrink <= 1.0f;
    case OPERATOR_ES_GRADIENT:
        return params_finite(settings->alpha) && settings->alpha >= 0.0f &&
               !((settings->options & OPTION_ANTITHETIC) && settings->queries % 2u);
    default:
        return settings->shrink > 0.0f && settings->shrink <= 1.0f;
    }
}

enum adaptation_start_result adaptation_start(struct adaptation *adaptation, const struct adaptation_settings *settings,
                                              uint16_t *bound)
{
    *bound = 0;
    if (!known(settings->kind)) {
        return ADAPTATION_UNKNOWN;
    }
    if (!numbers_fit(settings)) {
        return ADAPTATION_OUT_OF_RANGE;
    }
    if (settings->queries > most_queries(settings)) {
        *bound = most_queries(settings);
        return ADAPTATION_OUT_OF_RANGE;
    }
    memset(adaptation, 0, sizeof *adaptation);
    adaptation->kind = settings->kind;
    adaptation->queries = settings->queries;
    adaptation->episodes = (uint16_t)(settings->queries + 1u);
    adaptation->seed = settings->seed;
    adaptation->sigma = settings->sigma;
    adaptation->shrink = settings->shrink;
    switch (settings->kind) {
#if ADAPTATION_CANDIDATES > 0
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        confirmed_start(adaptation, settings);
        break;
#endif
#if ADAPTATION_DIRECTIONS > 0
    case OPERATOR_ES_GRADIENT:
        gradient_start(adaptation, settings);
        break;
#endif
    default:
        climb_start(adaptation, settings);
        break;
    }
    return ADAPTATION_STARTED;
}

struct adaptation_order adaptation_next(struct adaptation *adaptation)
{
    switch (adaptation->kind) {
#if ADAPTATION_CANDIDATES > 0
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        return confirmed_next(adaptation);
#endif
#if ADAPTATION_DIRECTIONS > 0
    case OPERATOR_ES_GRADIENT:
        return gradient_next(adaptation);
#endif
    default:
        return climb_next(adaptation);
    }
}

void adaptation_tell(struct adaptation *adaptation, float value)
{
    switch (adaptation->kind) {
#if ADAPTATION_CANDIDATES > 0
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        confirmed_tell(adaptation, value);
        break;
#endif
#if ADAPTATION_DIRECTIONS > 0
    case OPERATOR_ES_GRADIENT:
        gradient_tell(adaptation, value);
        break;
#endif
    default:
        climb_tell(adaptation, value);
        break;
    }
    adaptation->told++;
    adaptation->cursor = 0;
}

float adaptation_pivot(const struct adaptation *adaptation)
{
    switch (adaptation->kind) {
#if ADAPTATION_CANDIDATES > 0
    case OPERATOR_CONFIRMED_HILL_CLIMB:
        return confirmed_pivot(&adaptation->of.confirmed);
#endif
#if ADAPTATION_DIRECTIONS > 0
    case OPERATOR_ES_GRADIENT:
        return adaptation->of.gradient.pivot;
#endif
    default:
        return adaptation->of.climb.pivot;
    }
}
