/* Hill climbing, published forms: hill_climb.py is rounds of one candidate, batch_hill_climb.py rounds of several, or of
 * one candidate several times. */
#include <string.h>

#include "operators.h"
#include "protocol.h"

void climb_start(struct adaptation *adaptation, const struct adaptation_settings *settings)
{
    struct climb *const climb = &adaptation->of.climb;

    climb->parallel = 1;
    if (settings->kind == OPERATOR_BATCH_HILL_CLIMB) {
        climb->parallel = settings->parallel;
        climb->average = (settings->options & OPTION_AVERAGE) != 0;
        adaptation->shrink = 1.0f;
        adaptation->episodes = (uint16_t)(settings->parallel * (settings->queries + 1u));
    }
}

/* Number of the candidate that runs next, from the second round on. */
static uint16_t candidate(const struct adaptation *adaptation)
{
    const struct climb *const climb = &adaptation->of.climb;

    if (climb->average) {
        return (uint16_t)(adaptation->told / climb->parallel - 1u);
    }
    return (uint16_t)(adaptation->told - climb->parallel);
}

struct adaptation_order climb_next(struct adaptation *adaptation)
{
    struct climb *const climb = &adaptation->of.climb;

    if (climb->keeping && adaptation->cursor == 0) {
        adaptation->cursor = 1;
        return order_step(adaptation, climb->candidate, adaptation->sigma);
    }
    if (climb->keeping) {
        climb->keeping = 0;
        adaptation->cursor = 0;
        adaptation->sigma = adaptation->sigma * adaptation->shrink;
        return order_plain(ORDER_KEEP);
    }
    if (adaptation->told == adaptation->episodes) {
        return order_plain(ORDER_END);
    }
    if (adaptation->told >= climb->parallel && adaptation->cursor == 0) {
        adaptation->cursor = 1;
        return order_step(adaptation, candidate(adaptation), adaptation->sigma);
    }
    return order_run(adaptation);
}

void climb_tell(struct adaptation *adaptation, float value)
{
    struct climb *const climb = &adaptation->of.climb;
    const int first_round = adaptation->told < climb->parallel;

    if (climb->round.count == 0 || value > climb->best) {
        climb->best = value;
        climb->candidate = first_round ? 0 : candidate(adaptation);
    }
    moments_add(&climb->round, value);
    if (climb->round.count < climb->parallel) {
        return;
    }
    value = climb->average || first_round ? climb->round.mean : climb->best;
    if (first_round || value > climb->pivot) {
        climb->pivot = value;
        climb->keeping = !first_round;
    }
    memset(&climb->round, 0, sizeof climb->round);
}
