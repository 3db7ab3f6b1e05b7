#include "answers.h"

#include <string.h>

#include "alone.h"
#include "hal.h"

/* Each with a frame of its own: inlined into one function, they would all stand on the stack while one of them sends. */
#if defined(__GNUC__)
#define APART __attribute__((noinline))
#else
#define APART
#endif

/* A control period that begins within this time goes first: an ATmega at 16 MHz takes 1.6 ms to write the longest. */
#define ANSWER_US 2000u

static APART void send_status(struct firmware *firmware, const struct question *question)
{
    uint8_t payload[LENGTH_STATUS_REPLY];
    struct msg_status_reply reply;

    reply.state = firmware->state;
    reply.fault = firmware->fault;
    reply.fault_detail = firmware->fault_detail;
    reply.bad_frames = firmware->receiver.bad + firmware->bad_messages;
    reply.wrong_session = firmware->wrong_session;
    reply.stale = firmware->stale;
    reply.watchdog_trips = firmware->watchdog_trips;
    reply.overruns = firmware->overruns;
    reply.unsent = firmware->unsent;
    reply.reused = firmware->reused;
    reply.crc32 = firmware->params.base_crc;
    reply.longest_tick_us = firmware->longest_tick_us;
    hal_stack(&reply.stack_bytes, &reply.stack_left);
    reply.asked_us = question->asked_us;
    reply.received_us = question->received_us;
    firmware_send(firmware, payload,
                  msg_status_reply_put(firmware_header(firmware, payload, MSG_STATUS_REPLY, firmware->session), &reply));
}

static APART void send_readings(struct firmware *firmware)
{
    uint8_t payload[LENGTH_READINGS];
    struct msg_readings reply;

    reply.state = firmware->state;
    hal_sense(reply.sensors);
    memcpy(reply.actuators, safety_torque(firmware->state) ? firmware->episode.command : robot_safe,
           sizeof reply.actuators);
    firmware_send(firmware, payload,
                  msg_readings_put(firmware_header(firmware, payload, MSG_READINGS, firmware->session), &reply));
}

static APART void send_parameters(struct firmware *firmware, const uint8_t *fields)
{
    uint8_t payload[LENGTH_PARAMS_VALUES];
    struct msg_params_read question;
    struct msg_params_values reply;

    (void)msg_params_read_get(fields, &question);
    memset(&reply, 0, sizeof reply);
    reply.offset = question.offset;
    reply.used = params_read(&firmware->params, question.offset, reply.values);
    firmware_send(
        firmware, payload,
        msg_params_values_put(firmware_header(firmware, payload, MSG_PARAMS_VALUES, firmware->session), &reply));
}

/* Whether a control period is so near, or so overdue, that writing an answer would delay it. */
static int period_near(const struct firmware *firmware)
{
    const uint32_t since_us = hal_now_us() - firmware->first_tick_us + ANSWER_US;

    return (firmware->state == STATE_RUN || firmware->state == STATE_HOLD) && firmware->episode.begun &&
           since_us - ((uint32_t)firmware->episode.tick + 1u) * (uint32_t)ROBOT_CONTROL_PERIOD_US <
               (uint32_t)0x80000000UL;
}

void answers_owed(struct firmware *firmware)
{
    const struct question *const owed = &firmware->owed;
    const uint8_t type = owed->type;

    /* a period has gone by: now, even where the next one is as near again, for it always may be */
    if (type == 0 || (owed->tick == firmware->episode.tick && period_near(firmware))) {
        return;
    }
    firmware->owed.type = 0;
    switch (type) {
    case MSG_STATUS:
        send_status(firmware, owed);
        break;
    case MSG_READ:
        send_readings(firmware);
        break;
    case MSG_PARAMS_READ:
        send_parameters(firmware, owed->fields);
        break;
    default:
        alone_report(firmware);
        break;
    }
}

int answers_question(struct firmware *firmware, const struct protocol_header *header, const uint8_t *fields)
{
    struct question *const owed = &firmware->owed;

    if (header->type != MSG_STATUS && header->type != MSG_READ && header->type != MSG_PARAMS_READ &&
        header->type != MSG_PROGRESS) {
        return 0;
    }
    /* instead of one that still waits: its host asks again if it still wants to know */
    owed->type = header->type;
    owed->tick = firmware->episode.tick;
    owed->asked_us = header->t_us;
    owed->received_us = firmware->heard_us;
    if (header->type == MSG_PARAMS_READ) {
        memcpy(owed->fields, fields, sizeof owed->fields);
    }
    answers_owed(firmware);
    return 1;
}
