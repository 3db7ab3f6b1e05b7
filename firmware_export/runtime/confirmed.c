/* Hill climbing for returns that are noisy: the twin of esmaml_robot/adaptation/confirmed_hill_climb.py, which says what
 * each step is for. The base stays theta until the end; the incumbent is theta and the steps that were taken, in their
 * order, so what has to be remembered of it is a bit a candidate. */
#include "operators.h"

#if ADAPTATION_CANDIDATES > 0

#define PATIENCE 6u
#define MOST_REPEATS 4u
#define OVER 0xFFFFu /* cursor: the base has moved */

enum { CANDIDATE, REPEAT, CONFIRM };

struct plan {
    uint16_t incumbent, theta; /* episodes to keep for the confirmation */
};

struct noise {
    float squares;
    uint16_t freedom;
};

void confirmed_start(struct adaptation *adaptation, const struct adaptation_settings *settings)
{
    struct confirmed *const c = &adaptation->of.confirmed;

    c->phase = REPEAT;
    c->first_sigma = settings->sigma;
    c->step_sigma = settings->sigma;
}

static int moved(const struct confirmed *c)
{
    return c->at_best.count > 0;
}

float confirmed_pivot(const struct confirmed *confirmed)
{
    return moved(confirmed) ? confirmed->at_best.mean : confirmed->at_theta.mean;
}

/* Of a candidate, in its byte of `taken`. */
static uint8_t bit(uint16_t candidate)
{
    return (uint8_t)(1u << (candidate % 8u));
}

static void gather(struct noise *noise, const struct moments *moments)
{
    noise->squares = noise->squares + moments->squares;
    if (moments->count > 1) {
        noise->freedom = (uint16_t)(noise->freedom + moments->count - 1u);
    }
}

static struct noise noise_of(const struct confirmed *c)
{
    struct noise noise;

    noise.squares = c->squares;
    noise.freedom = c->freedom;
    gather(&noise, &c->at_theta);
    gather(&noise, &c->at_best);
    gather(&noise, &c->fresh);
    return noise;
}

static int incumbent_is_next(const struct adaptation *adaptation)
{
    const struct confirmed *const c = &adaptation->of.confirmed;
    const uint16_t left = (uint16_t)(adaptation->episodes - adaptation->told);

    return moved(c) && 2 * (int32_t)(c->to_confirm - c->fresh.count) >= left;
}

static int holds(const struct confirmed *c)
{
    const struct noise noise = noise_of(c);
    float each, error;

    if (c->exact) {
        return moved(c);
    }
    if (c->fresh.count == 0 || noise.freedom == 0) {
        return 0;
    }
    each = 1.0f / (float)c->fresh.count + 1.0f / (float)c->at_theta.count;
    error = moments_sqrt(noise.squares / (float)noise.freedom) * moments_sqrt(each);
    return c->fresh.mean - c->at_theta.mean > moments_t975(noise.freedom) * error;
}

/* ---- orders ---- */

struct adaptation_order confirmed_next(struct adaptation *adaptation)
{
    struct confirmed *const c = &adaptation->of.confirmed;
    const int done = adaptation->told == adaptation->episodes;

    if (done && (adaptation->cursor == OVER || !holds(c))) {
        return order_plain(ORDER_END);
    }
    if (done || c->phase != CONFIRM || incumbent_is_next(adaptation)) {
        while (adaptation->cursor < c->drawn) {
            const uint16_t at = adaptation->cursor++;
            if (c->taken[at / 8u] & bit(at)) {
                const float sigma = c->step_sigma;
                c->step_sigma = c->step_sigma * adaptation->shrink;
                return order_step(adaptation, at, sigma);
            }
        }
    }
    if (done) {
        adaptation->cursor = OVER;
        return order_plain(ORDER_KEEP);
    }
    if (c->phase == CANDIDATE && adaptation->cursor == c->drawn) {
        adaptation->cursor++;
        return order_step(adaptation, c->drawn, adaptation->sigma);
    }
    return order_run(adaptation);
}

/* ---- decisions ---- */

static struct plan plan(const struct adaptation *adaptation)
{
    const struct confirmed *const c = &adaptation->of.confirmed;
    const uint16_t eighth = (uint16_t)(adaptation->episodes / 8u);
    const uint16_t most = eighth > 2 ? eighth : 2;
    const uint16_t of_theta = c->at_theta.count;
    const struct noise noise = noise_of(c);
    struct plan found;

    found.incumbent = most;
    found.theta = 0;
    if (!moved(c)) {
        if (moments_repeat(&c->at_theta)) {
            found.incumbent = 1;
        }
        return found;
    }
    found.theta = (uint16_t)(most > of_theta ? most - of_theta : 0);
    if (noise.squares > 0.0f) {
        const float apart = c->at_best.mean - c->at_theta.mean;
        float gain = apart / moments_sqrt(noise.squares / (float)noise.freedom);
        uint16_t n;
        gain = gain - 1.0f / moments_sqrt((float)c->at_best.count);
        for (n = 1; n < most; n++) {
            const uint16_t more = (uint16_t)(n > of_theta ? n - of_theta : 0);
            const float error = moments_sqrt(1.0f / (float)n + 1.0f / (float)(of_theta + more));
            if (gain >= (moments_t975((uint16_t)(noise.freedom + n - 1u + more)) + 1.0f) * error) {
                found.incumbent = n;
                found.theta = more;
                break;
            }
        }
    }
    return found;
}

/* What runs next; `told` counts the episode that was just told. */
static void decide(const struct adaptation *adaptation, struct confirmed *c, uint16_t told)
{
    const uint16_t left = (uint16_t)(adaptation->episodes - told);
    const uint16_t runs = moved(c) ? c->at_best.count : c->at_theta.count;
    const int same_again = !moved(c) && moments_repeat(&c->at_theta);
    uint8_t phase = CANDIDATE;

    if (!c->exact) {
        const struct plan kept = plan(adaptation);
        if (left <= (uint32_t)kept.incumbent + kept.theta) {
            const uint16_t even = (uint16_t)((left + c->at_theta.count + 1u) / 2u); /* theta has some already */
            phase = CONFIRM;
            c->to_confirm = moved(c) ? (even < left ? even : left) : 0;
        } else if (c->rejected >= PATIENCE && runs < MOST_REPEATS && !same_again) {
            phase = REPEAT;
        } else {
            /* on with the next candidate */
        }
    }
    c->phase = phase;
}

/* The candidate becomes the incumbent. Returns whether it is to run a second time. */
static int take(struct adaptation *adaptation, float value)
{
    struct confirmed *const c = &adaptation->of.confirmed;
    struct noise earlier;

    earlier.squares = c->squares;
    earlier.freedom = c->freedom;
    gather(&earlier, &c->at_best); /* theta's own returns are kept, those of another incumbent leave their spread */
    c->squares = earlier.squares;
    c->freedom = earlier.freedom;
    c->taken[c->drawn / 8u] = (uint8_t)(c->taken[c->drawn / 8u] | bit(c->drawn));
    adaptation->sigma = adaptation->sigma * adaptation->shrink;
    c->drawn++;
    c->rejected = 0;
    c->at_best.count = 0;
    c->at_best.mean = 0.0f;
    c->at_best.squares = 0.0f;
    moments_add(&c->at_best, value);
    return !c->exact && noise_of(c).squares == 0.0f && adaptation->told + 1u < adaptation->episodes;
}

void confirmed_tell(struct adaptation *adaptation, float value)
{
    struct confirmed *const c = &adaptation->of.confirmed;
    const uint16_t told = (uint16_t)(adaptation->told + 1u);

    c->step_sigma = c->first_sigma;
    if (c->phase == CONFIRM) {
        moments_add(incumbent_is_next(adaptation) ? &c->fresh : &c->at_theta, value);
        return;
    }
    if (c->phase == CANDIDATE && value > confirmed_pivot(c)) {
        if (take(adaptation, value)) {
            c->phase = REPEAT;
            return;
        }
    } else if (c->phase == CANDIDATE) {
        c->drawn++;
        if (c->rejected < PATIENCE) {
            c->rejected++;
        }
    } else {
        c->rejected = 0;
        moments_add(moved(c) ? &c->at_best : &c->at_theta, value);
        if (moved(c)) {
            c->exact = noise_of(c).squares == 0.0f;
        }
    }
    decide(adaptation, c, told);
}

#endif
