/* One step along an estimated gradient: the twin of esmaml_robot/adaptation/es_gradient.py with the sum over directions.
 * A number a direction is kept; the directions are drawn once more when the step is taken. */
#include "operators.h"
#include "protocol.h"

#if ADAPTATION_DIRECTIONS > 0

#define OVER 0xFFFFu /* cursor: the base has moved */

void gradient_start(struct adaptation *adaptation, const struct adaptation_settings *settings)
{
    struct gradient *const gradient = &adaptation->of.gradient;

    gradient->alpha = settings->alpha;
    gradient->antithetic = (settings->options & OPTION_ANTITHETIC) != 0;
    gradient->normalise = (settings->options & OPTION_NORMALISE) != 0;
    gradient->directions = gradient->antithetic ? (uint16_t)(settings->queries / 2u) : settings->queries;
}

/* What a weight is multiplied by: alpha over directions, sigma and, if wanted, the standard deviation of the returns. */
static float scale(const struct adaptation *adaptation)
{
    const struct gradient *const gradient = &adaptation->of.gradient;
    float whole = (float)gradient->directions * adaptation->sigma;

    if (gradient->normalise) {
        whole = whole * moments_sqrt(gradient->all.squares / (float)adaptation->episodes);
    }
    return gradient->alpha / whole;
}

struct adaptation_order gradient_next(struct adaptation *adaptation)
{
    const struct gradient *const gradient = &adaptation->of.gradient;
    const uint16_t at = adaptation->cursor;

    if (adaptation->told < adaptation->episodes) {
        if (adaptation->told > 0 && at == 0) {
            const uint16_t number = (uint16_t)(adaptation->told - 1u);
            const int mirrored = number >= gradient->directions;
            adaptation->cursor = 1;
            return mirrored ? order_step(adaptation, (uint16_t)(number - gradient->directions), -adaptation->sigma)
                            : order_step(adaptation, number, adaptation->sigma);
        }
        return order_run(adaptation);
    }
    if (at == OVER || !(gradient->all.squares > 0.0f)) { /* equal returns say nothing */
        return order_plain(ORDER_END);
    }
    if (at < gradient->directions) {
        adaptation->cursor = (uint16_t)(at + 1u);
        return order_step(adaptation, at, scale(adaptation) * gradient->weights[at]);
    }
    adaptation->cursor = OVER;
    return order_plain(ORDER_KEEP);
}

void gradient_tell(struct adaptation *adaptation, float value)
{
    struct gradient *const gradient = &adaptation->of.gradient;

    moments_add(&gradient->all, value);
    if (adaptation->told == 0) {
        gradient->pivot = value;
    } else {
        const uint16_t number = (uint16_t)(adaptation->told - 1u);
        if (!gradient->antithetic) {
            gradient->weights[number] = value - gradient->pivot;
        } else if (number < gradient->directions) {
            gradient->weights[number] = value;
        } else {
            float *const weight = &gradient->weights[number - gradient->directions];
            *weight = 0.5f * (*weight - value);
        }
    }
}

#endif
