#include "alone.h"

#include "hal.h"
#include "store.h"

/* A direction of a large policy takes a small processor milliseconds; the line wants to be served in between. */
#define TURN_US 20000u

int alone_active(const struct firmware *firmware)
{
    return firmware->progress == PROGRESS_RUNNING || firmware->progress == PROGRESS_PAUSED;
}

void alone_report(struct firmware *firmware)
{
    uint8_t payload[LENGTH_ADAPTATION];
    struct msg_adaptation message;

    message.progress = firmware->progress;
    message.operator_code = firmware->adaptation.kind;
    message.told = firmware->adaptation.told;
    message.episodes = firmware->adaptation.episodes;
    message.sigma = firmware->adaptation.sigma;
    message.pivot = adaptation_pivot(&firmware->adaptation);
    message.crc32 = firmware->params.base_crc;
    firmware_send(firmware, payload,
                  msg_adaptation_put(firmware_header(firmware, payload, MSG_ADAPTATION, firmware->session), &message));
}

void alone_end(struct firmware *firmware)
{
    if (alone_active(firmware)) {
        firmware->progress = PROGRESS_ENDED;
    }
}

static void fail(struct firmware *firmware)
{
    firmware_fault(firmware, FAULT_NOT_FINITE, 0);
    firmware_release(firmware, safety_next(firmware->state, EVENT_FAULT));
    alone_end(firmware);
    alone_report(firmware);
}

struct params_outcome alone_start(struct firmware *firmware, const struct msg_adapt *message)
{
    struct params_outcome out = {RESULT_OK, 0};
    struct adaptation_settings settings;
    uint16_t bound;

    settings.kind = message->operator_code;
    settings.options = message->options;
    settings.queries = message->queries;
    settings.parallel = message->parallel;
    settings.seed = message->operator_seed;
    settings.sigma = message->sigma;
    settings.shrink = message->shrink;
    settings.alpha = message->alpha;
    switch (adaptation_start(&firmware->adaptation, &settings, &bound)) {
    case ADAPTATION_STARTED:
        firmware->progress = PROGRESS_RUNNING;
        firmware->first_episode = message->episode_id;
        firmware->made = 0;
        firmware->unreported = 0;
        break;
    case ADAPTATION_UNKNOWN:
        out.result = RESULT_NO_OPERATOR;
        out.detail = message->operator_code;
        break;
    case ADAPTATION_OUT_OF_RANGE:
    default:
        out.result = RESULT_BAD_RANGE;
        out.detail = bound;
        break;
    }
    return out;
}

/* One order; returns whether another may follow at once. */
static int carry_out(struct firmware *firmware)
{
    struct adaptation_order order;

    if (!firmware->made) {
        params_restart(&firmware->params);
        firmware->made = 1;
    }
    order = adaptation_next(&firmware->adaptation);
    switch (order.kind) {
    case ORDER_STEP:
        if (params_step(&firmware->params, order.seed, order.factor).result != RESULT_OK) {
            fail(firmware);
            return 0;
        }
        return 1;
    case ORDER_KEEP:
        params_keep(&firmware->params);
        return 1;
    case ORDER_RUN:
        if (firmware->unreported) {
            firmware->unreported = 0;
            alone_report(firmware);
        }
        if (firmware->progress == PROGRESS_RUNNING) {
            firmware_begin_episode(firmware, firmware->first_episode + firmware->adaptation.told, order.seed);
        }
        return 0;
    case ORDER_END:
    default:
        firmware->progress = PROGRESS_DONE;
        firmware_release(firmware, safety_next(firmware->state, EVENT_DISARM));
        (void)store_save(firmware->params.base); /* whoever is not there now finds it later */
        alone_report(firmware);
        return 0;
    }
}

void alone_go_on(struct firmware *firmware)
{
    const uint32_t start = hal_now_us();
    uint32_t left = ADAPTATION_LONGEST; /* no operator orders as many steps in a row */

    while (firmware->state == STATE_ARMED && alone_active(firmware) && carry_out(firmware) && --left > 0 &&
           hal_now_us() - start < TURN_US) {
    }
}

void alone_tell(struct firmware *firmware)
{
    if (!params_finite(firmware->episode.total)) {
        fail(firmware);
        return;
    }
    adaptation_tell(&firmware->adaptation, firmware->episode.total);
    firmware->unreported = 1;
    firmware->made = 0;
}

void alone_pause(struct firmware *firmware)
{
    firmware->progress = PROGRESS_PAUSED;
    if (firmware->state == STATE_RUN) {
        firmware_end_episode(firmware, safety_next(firmware->state, EVENT_STOP), REASON_PAUSED);
    }
}

void alone_resume(struct firmware *firmware)
{
    firmware->progress = PROGRESS_RUNNING;
}
