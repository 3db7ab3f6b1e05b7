#include "adaptation.h"

#include "directions.h"
#include "directions_table.h"
#include "params.h"

int adaptation_start(struct adaptation *adaptation, uint32_t seed, uint16_t queries, float sigma, float shrink)
{
    if (queries == 0 || !params_finite(sigma) || !(sigma > 0.0f) || !(shrink > 0.0f && shrink <= 1.0f)) {
        return 0;
    }
    adaptation->running = 1;
    adaptation->queries = queries;
    adaptation->told = 0;
    adaptation->seed = seed;
    adaptation->pivot = 0.0f;
    adaptation->sigma = sigma;
    adaptation->shrink = shrink;
    return 1;
}

struct adaptation_episode adaptation_ask(const struct adaptation *adaptation)
{
    struct adaptation_episode next = {0, 0.0f, 0};

    next.episode_seed = directions_fold(directions_fold(adaptation->seed, OPERATOR_EPISODES), adaptation->told);
    if (adaptation->told > 0) {
        next.direction_seed =
            directions_fold(directions_fold(adaptation->seed, OPERATOR_CANDIDATES), (uint32_t)adaptation->told - 1u);
        next.sigma = adaptation->sigma;
    }
    return next;
}

int adaptation_tell(struct adaptation *adaptation, float value)
{
    const int first = adaptation->told == 0;
    const int better = !first && value > adaptation->pivot;

    if (first || better) {
        adaptation->pivot = value;
    }
    if (better) {
        adaptation->sigma = adaptation->sigma * adaptation->shrink;
    }
    if (adaptation->told == adaptation->queries) {
        adaptation->running = 0;
    }
    adaptation->told++;
    return better;
}
