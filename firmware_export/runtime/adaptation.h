/*
 * adaptation.h - adaptation operators on the controller alone: the twins of esmaml_robot/adaptation/, and the same
 * decisions from the same returns, in the same float32 operations.
 *
 * No vector is kept here. A candidate is the base and some steps, each a direction's seed and a factor, so all that is
 * remembered are returns in few numbers, and which steps were taken. adaptation_next() says what to do, order by order:
 *
 *     STEP seed factor   candidate += factor * direction(seed)
 *     KEEP               base = candidate
 *     RUN seed           one episode of the candidate, with this episode seed; then adaptation_tell() its return
 *     END                it is over, and the base is the result
 *
 * The candidate is the base at the start, after KEEP and after adaptation_tell().
 */
#ifndef ADAPTATION_H
#define ADAPTATION_H

#include <stdint.h>

#include "moments.h"

/* What a board has memory for; 0 leaves the operator out. */
#ifndef ADAPTATION_CANDIDATES
#define ADAPTATION_CANDIDATES 1024 /* most queries of confirmed_hill_climb: a bit each */
#endif
#ifndef ADAPTATION_DIRECTIONS
#define ADAPTATION_DIRECTIONS 256 /* most directions of es_gradient: a float each */
#endif

#define ADAPTATION_LONGEST 65535u /* most episodes of any operator */

/* hill_climb and batch_hill_climb. */
struct climb {
    uint16_t parallel;
    uint8_t average;
    uint8_t keeping;    /* the base moves before anything else happens */
    float pivot;
    struct moments round;
    float best;         /* of the round */
    uint16_t candidate; /* that gave it */
};

/* confirmed_hill_climb. The base stays where it was; the incumbent is what the steps taken make of it. */
struct confirmed {
    struct moments at_theta, at_best, fresh;
    float squares;      /* of earlier incumbents */
    uint16_t freedom;
    uint16_t drawn;     /* candidates so far */
    uint16_t to_confirm;
    uint8_t phase;
    uint8_t rejected;
    uint8_t exact;
    float first_sigma;
    float step_sigma;   /* of the next step of the incumbent, while it is made */
#if ADAPTATION_CANDIDATES > 0
    uint8_t taken[(ADAPTATION_CANDIDATES + 7) / 8]; /* bit i: candidate i became the incumbent */
#endif
};

/* es_gradient. */
struct gradient {
    struct moments all;
    float pivot;
    float alpha;
    uint8_t antithetic;
    uint8_t normalise;
    uint16_t directions;
#if ADAPTATION_DIRECTIONS > 0
    float weights[ADAPTATION_DIRECTIONS]; /* what each direction made of the return */
#endif
};

struct adaptation {
    uint8_t kind; /* enum protocol_operator */
    uint16_t queries;
    uint16_t episodes; /* in all */
    uint16_t told;
    uint16_t cursor; /* orders given since the candidate was the base, as the operator counts them */
    uint32_t seed;
    float sigma; /* of the next step */
    float shrink;
    union {
        struct climb climb;
        struct confirmed confirmed;
        struct gradient gradient;
    } of;
};

struct adaptation_settings {
    uint8_t kind;
    uint8_t options; /* enum protocol_option */
    uint16_t queries;
    uint16_t parallel;
    uint32_t seed;
    float sigma;
    float shrink;
    float alpha;
};

enum adaptation_start_result {
    ADAPTATION_STARTED = 0,
    ADAPTATION_UNKNOWN = 1,     /* this firmware does not have the operator */
    ADAPTATION_OUT_OF_RANGE = 2 /* and `bound` is what it allows of queries, or 0 where another number is wrong */
};

enum adaptation_order_kind { ORDER_STEP, ORDER_KEEP, ORDER_RUN, ORDER_END };

struct adaptation_order {
    uint8_t kind;
    uint32_t seed;
    float factor;
};

/* Begins; leaves everything as it was if it cannot. */
enum adaptation_start_result adaptation_start(struct adaptation *adaptation, const struct adaptation_settings *settings,
                                              uint16_t *bound);

/* The next order. RUN comes again until adaptation_tell(), END for ever. */
struct adaptation_order adaptation_next(struct adaptation *adaptation);

/* The episode returned `value`, which is finite. */
void adaptation_tell(struct adaptation *adaptation, float value);

/* What a candidate must beat; of es_gradient, the return of the base. */
float adaptation_pivot(const struct adaptation *adaptation);

#endif
